"""Who presses the key in a recorded message to be called back: what follows from it. Pure.

Where the campaign names one that calls back, the person becomes a lead of that one, with a promise
for anybody to keep, from the key on. A promise is kept, or escalated, as any other is.
"""

from dataclasses import dataclass
from typing import Final

from eventkit.ids import derived_id
from services.dialer.attempts import attempt as a
from services.dialer.campaigns.plan import Settings
from services.dialer.leads import merging
from services.dialer.leads.commands import AddLead, Details, PromiseCallback
from services.dialer.leads.events import Origin
from services.dialer.leads.lead import ERASED, Lead

SOURCE: Final = "callback"
SECOND: Final = 1_000_000
MAX_LIST: Final = 128


@dataclass(frozen=True, slots=True)
class Asked:
    """The lead that it becomes, and what is promised to it; `lead_id` is of the attempt, so what is
    told twice is one lead. Where the campaign knows a number already, its lead has the promise."""

    lead_id: str
    add: AddLead
    promise: PromiseCallback


def is_wanted(attempt: a.Attempt) -> bool:
    """Of a call without agents: who was abandoned is called again by the campaign's own rule."""
    ended = attempt.ended
    return ended is not None and ended.callback_wanted and not attempt.wants_agent


def asked(
    client_id: str, attempt_id: str, attempt: a.Attempt, settings: Settings | None, lead: Lead
) -> Asked | None:
    """lead: of the attempt. None: nobody wants it, no campaign does it, the person was erased."""
    if settings is None or not settings.callback_campaign_id or not is_wanted(attempt):
        return None
    assert attempt.started is not None
    assert attempt.ended is not None
    known = merging.details_of(lead)
    if lead.closed_reason == ERASED or not known.numbers:
        return None
    # First the one on which the key was pressed.
    pressed = lead.phones.get(attempt.started.origin.number_id)
    numbers = tuple(sorted(known.numbers, key=lambda each: each.phone != pressed))
    at, origin = attempt.ended.at, attempt.started.origin
    return Asked(
        derived_id(client_id, "callback", attempt_id),
        AddLead(
            Origin(
                settings.callback_campaign_id,
                f"{SOURCE}-{origin.campaign_id}"[:MAX_LIST],
                lead.origin.customer_id,
            ),
            Details(numbers, known.name, known.address, zone=known.zone),
            SOURCE,
            at,
        ),
        # By the telephone's clock: what was heard late, even too late, is escalated in time.
        PromiseCallback(
            at, at + settings.callback_within_seconds * SECOND, at, attempt_id=attempt_id
        ),
    )
