"""When the measure lowers a campaign, and gives it back what it took."""

from datetime import date
from zoneinfo import ZoneInfo

import pytest

from services.dialer.campaigns import campaign as c
from services.dialer.campaigns.plan import Contract, Mode, Purpose, Settings
from services.dialer.dialling.standing import midnight, stand
from services.dialer.measure.measure import Counts, Ended, counted, total

ZONE = ZoneInfo("America/New_York")
FIRST, TODAY = date(2026, 11, 2), date(2026, 11, 20)
NOON = midnight(TODAY, ZONE) + 12 * 3600 * 1_000_000
LATER = midnight(date(2026, 12, 2), ZONE)
"""In the second period of thirty days."""


def campaign(*told: c.Command, mode: Mode = Mode.PREDICTIVE, limit: float = 0.0) -> c.Campaign:
    settings = Settings(
        "Spring",
        Purpose.SURVEY,
        mode,
        "Acme",
        "+12125550100",
        "main",
        "out",
        questionnaire_id="q",
        abandonment_message="sorry",
        target_abandonment=limit or 0.02,
        contract=Contract(limit, 1.0, 7) if limit else None,
    )
    state = c.Campaign()
    begin = midnight(FIRST, ZONE)
    for command in (c.Arrange(begin, settings), c.Start(begin), *told):
        for event in c.decide(command, state):
            state = c.evolve(state, event)
    return state


def counts(live: int, abandoned: int) -> Counts:
    waited = Ended(0, "predictive", "connected", "human", 300_000)
    dropped = Ended(0, "predictive", "abandoned", "human", 2_000_000)
    return total([counted(waited)] * (live - abandoned) + [counted(dropped)] * abandoned)


LOWER = c.LowerMode(NOON, "us", 0.5, 0.03, midnight(FIRST, ZONE), LATER)
DAYS = {TODAY: counts(100, 2)}
LOST = {TODAY: counts(100, 90)}

CASES = {
    "within the limit": (campaign(), DAYS, NOON, None),
    "nothing was dialled": (campaign(), {}, NOON, None),
    "the period cannot end within the limit": (campaign(), LOST, NOON, "us"),
    "who does not overdial has nothing to lose": (
        campaign(mode=Mode.PROGRESSIVE),
        LOST,
        NOON,
        None,
    ),
    "lowered already": (campaign(LOWER), LOST, NOON, None),
    "within the limit again": (campaign(LOWER), DAYS, NOON, "restored"),
    "another period": (campaign(LOWER), LOST, LATER, "restored"),
    "the client's stricter limit": (
        campaign(limit=0.01),
        {TODAY: counts(100, 9)},
        NOON,
        "contract",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_the_measure_says(name: str) -> None:
    state, days, now, expected = CASES[name]
    stands = stand(state, days, ZONE, now, in_uk=False)
    match stands.command:
        case c.LowerMode(measure=measure):
            assert measure == expected
            assert stands.command.period_began_at <= now < stands.command.period_ends_at
            assert c.decide(stands.command, state)
        case c.RestoreMode():
            assert expected == "restored"
            assert c.decide(stands.command, state)
        case None:
            assert expected is None
    assert stands.measure.target <= stands.measure.limit
    assert stands.connect_seconds == (1.0 if name == "the client's stricter limit" else 2.0)


def test_what_pacing_sees() -> None:
    measure = stand(campaign(), DAYS, ZONE, NOON, in_uk=False).measure
    assert (measure.live, measure.abandoned, measure.limit, measure.target) == (100, 2, 0.03, 0.02)
    assert measure.began_at == midnight(FIRST, ZONE)
    assert measure.ends_at == LATER


def test_in_britain_the_day_counts() -> None:
    days = {date(2026, 11, 19): counts(1_000, 0), TODAY: counts(2_000, 65)}
    assert stand(campaign(), days, ZONE, NOON, in_uk=False).command is None
    lowered = stand(campaign(), days, ZONE, NOON, in_uk=True).command
    assert isinstance(lowered, c.LowerMode)
    assert lowered.measure == "uk"
    assert lowered.period_ends_at == midnight(TODAY, ZONE, days_later=1)
