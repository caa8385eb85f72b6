"""What crm says of calls, as what it means for attempts and their leads. Pure.

A conversion is what the campaign is for: its offer was accepted, its questionnaire was answered to
the end, or the call has one of its converting dispositions.
"""

from dataclasses import dataclass
from typing import Final

from services.dialer.attempts.attempt import Dispose
from services.dialer.campaigns.plan import Purpose, Settings

SELLING: Final = frozenset({Purpose.SALES, Purpose.WIN_BACK})


@dataclass(frozen=True, slots=True)
class Said:
    """Of one call, by one event or one request; fields that it does not speak of are empty.

    converted   None: by the campaign's own rules
    """

    at: int
    attempt_id: str
    disposition: str = ""
    agent_id: str = ""
    accepted_offer: str = ""
    refused_offer: str = ""
    refusal_reason: str = ""
    completed_questionnaire: str = ""
    converted: bool | None = None


@dataclass(frozen=True, slots=True)
class Erased:
    """A customer who wants to be forgotten."""

    customer_id: str


def dispose(said: Said, settings: Settings) -> Dispose:
    """What it means for an attempt of this campaign. An empty command says nothing of it."""
    disposition, reason = said.disposition, said.refusal_reason
    # Another offer's refusal or sale is none of this campaign's.
    if said.refused_offer and said.refused_offer != settings.offer_id:
        reason = ""
    refused = True if disposition in settings.refusing or reason else None
    return Dispose(
        said.at,
        disposition,
        said.agent_id,
        _converted(said, settings),
        reason,
        refused,
    )


def _converted(said: Said, settings: Settings) -> bool | None:
    """None: this says nothing of it. A disposition takes back only what a disposition gave."""
    if said.converted is not None:
        return said.converted
    if settings.purpose in SELLING and said.accepted_offer:
        return True if said.accepted_offer == settings.offer_id else None
    if settings.purpose is Purpose.SURVEY and said.completed_questionnaire:
        return True if said.completed_questionnaire == settings.questionnaire_id else None
    if not said.disposition:
        return None
    if said.disposition in settings.converting:
        return True
    by_disposition_alone = not settings.offer_id and not settings.questionnaire_id
    return False if settings.converting and by_disposition_alone else None
