"""How a campaign's mode dials: a small file for each policy, and its name here."""

from collections.abc import Mapping

from services.dialer.pacing.policies import message, power, predictive, progressive
from services.dialer.pacing.scene import Policy

POLICIES: Mapping[str, Policy] = {
    "message": message.dial,
    "preview": progressive.dial,
    "progressive": progressive.dial,
    "power": power.dial,
    "predictive": predictive.dial,
}
