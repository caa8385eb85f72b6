"""What is said of a call, as what it means for an attempt of this campaign."""

from dataclasses import replace

import pytest

from services.dialer.attempts.attempt import Dispose
from services.dialer.campaigns.plan import Mode, Purpose, Settings
from services.dialer.dispositions.heard import Said, dispose

SALES = Settings(
    name="Fibre",
    purpose=Purpose.SALES,
    mode=Mode.PROGRESSIVE,
    seller="Acme",
    caller_id="+33123456789",
    offer_id="fibre",
    refusing=("refused",),
)
BY_DISPOSITION = replace(SALES, offer_id="", converting=("sale",))
SURVEY = replace(SALES, purpose=Purpose.SURVEY, offer_id="", questionnaire_id="q-1")
REMINDER = replace(SALES, purpose=Purpose.PAYMENT_REMINDER, offer_id="", converting=("promised",))

CASES: dict[str, tuple[Said, Settings, Dispose]] = {
    "the offer is accepted": (
        Said(5, "a", accepted_offer="fibre", agent_id="ann"),
        SALES,
        Dispose(5, agent_id="ann", converted=True),
    ),
    "another offer is accepted": (Said(5, "a", accepted_offer="tv"), SALES, Dispose(5)),
    "an offer is accepted in a survey": (Said(5, "a", accepted_offer="q-1"), SURVEY, Dispose(5)),
    "the offer is refused": (
        Said(5, "a", refused_offer="fibre", refusal_reason="too-expensive"),
        SALES,
        Dispose(5, refusal_reason="too-expensive", refused=True),
    ),
    "another offer is refused": (
        Said(5, "a", refused_offer="tv", refusal_reason="too-expensive"),
        SALES,
        Dispose(5),
    ),
    "a refusal by its disposition": (
        Said(5, "a", "refused"),
        SALES,
        Dispose(5, "refused", refused=True),
    ),
    "some other disposition": (Said(5, "a", "call-later"), SALES, Dispose(5, "call-later")),
    # The offer's acceptance stands beside the disposition, in whatever order they come.
    "a disposition of a sale with an offer": (Said(5, "a", "sale"), SALES, Dispose(5, "sale")),
    "a sale by its disposition": (
        Said(5, "a", "sale"),
        BY_DISPOSITION,
        Dispose(5, "sale", converted=True),
    ),
    "no sale after all": (
        Said(5, "a", "call-later"),
        BY_DISPOSITION,
        Dispose(5, "call-later", converted=False),
    ),
    "the questions are answered": (
        Said(5, "a", completed_questionnaire="q-1"),
        SURVEY,
        Dispose(5, converted=True),
    ),
    "other questions are answered": (
        Said(5, "a", completed_questionnaire="q-2"),
        SURVEY,
        Dispose(5),
    ),
    "a promise to pay": (
        Said(5, "a", "promised"),
        REMINDER,
        Dispose(5, "promised", converted=True),
    ),
    "the agent knows": (
        Said(5, "a", "refused", converted=True),
        SALES,
        Dispose(5, "refused", converted=True, refused=True),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_it_means(case: str) -> None:
    said, settings, command = CASES[case]
    assert dispose(said, settings) == command
