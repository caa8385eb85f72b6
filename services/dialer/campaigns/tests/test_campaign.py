"""The life of a campaign, and what none can be."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventkit.decider import Invalid, NotFound, Rejected, fold
from services.dialer.campaigns import campaign as c
from services.dialer.campaigns import plan as p
from services.dialer.leads import recycling as r

T = 1_780_000_000_000_000
HOUR = 3_600_000_000
SALES = p.Settings(
    name="Fibre for former customers",
    purpose=p.Purpose.SALES,
    mode=p.Mode.PREDICTIVE,
    seller="Acme Telecom",
    caller_id="+33123456789",
    pool_id="main",
    queue_id="fibre",
    offer_id="fibre-xl",
    abandonment_message="sorry",
    costs=p.Costs("EUR", Decimal("0.02"), Decimal("0.06"), Decimal(24)),
    goals=p.Goals(contacts=100, conversions=10, attempts=1000, budget=Decimal(50)),
)
MESSAGE = replace(
    SALES,
    purpose=p.Purpose.INFORMATION,
    mode=p.Mode.MESSAGE,
    pool_id="",
    queue_id="",
    offer_id="",
    abandonment_message="",
    information_message="works",
)
LOWER = c.LowerMode(T + 9, "us", 0.031, 0.03, T, T + 720 * HOUR)
DRAFTED = c.CampaignDrafted(T, SALES)
STARTED = c.CampaignStarted(T + 1)
LOWERED = c.CampaignModeLowered(
    T + 9, p.Mode.PREDICTIVE, p.Mode.PROGRESSIVE, "us", 0.031, 0.03, T, T + 720 * HOUR
)
PAUSED = c.CampaignPaused(T + 2, "by-hand")
STOPPED = c.CampaignStopped(T + 3, "by-hand")
POWER = replace(SALES, mode=p.Mode.POWER, ratio=2.0)
PROGRESSIVE = replace(SALES, mode=p.Mode.PROGRESSIVE)
ENDING = replace(SALES, ends_at=T + 100)
EXHAUSTIBLE = replace(SALES, stop_when_exhausted=True)

Case = tuple[Sequence[c.Event], c.Command, Sequence[c.Event] | type[Exception]]
CASES: dict[str, Case] = {
    "drafted": ([], c.Arrange(T, SALES), [DRAFTED]),
    "drafted twice": ([DRAFTED], c.Arrange(T, SALES), []),
    "revised": ([DRAFTED], c.Arrange(T, POWER), [c.CampaignRevised(T, POWER)]),
    "revised while it runs": (
        [DRAFTED, STARTED],
        c.Arrange(T, replace(SALES, priority=5)),
        [c.CampaignRevised(T, replace(SALES, priority=5))],
    ),
    "another purpose before it runs": (
        [DRAFTED],
        c.Arrange(T, MESSAGE),
        [c.CampaignRevised(T, MESSAGE)],
    ),
    "another offer while it runs": (
        [DRAFTED, STARTED],
        c.Arrange(T, replace(SALES, offer_id="dsl")),
        Rejected,
    ),
    "without agents while it runs": (
        [DRAFTED, STARTED],
        c.Arrange(
            T,
            replace(MESSAGE, purpose=p.Purpose.SALES, mode=p.Mode.PROGRESSIVE, offer_id="fibre-xl"),
        ),
        Invalid,
    ),
    "another currency while it runs": (
        [DRAFTED, STARTED],
        c.Arrange(T, replace(SALES, costs=p.Costs("USD"))),
        Rejected,
    ),
    "revised after the stop": ([DRAFTED, STOPPED], c.Arrange(T, POWER), Rejected),
    "started": ([DRAFTED], c.Start(T + 1), [STARTED]),
    "started twice": ([DRAFTED, STARTED], c.Start(T + 5), []),
    "started after a pause": ([DRAFTED, STARTED, PAUSED], c.Start(T + 1), [STARTED]),
    "started after the stop": ([DRAFTED, STARTED, STOPPED], c.Start(T + 5), Rejected),
    "started too late": ([c.CampaignDrafted(T, ENDING)], c.Start(T + 100), Rejected),
    "started, and unknown": ([], c.Start(T), NotFound),
    "paused": ([DRAFTED, STARTED], c.Pause(T + 2), [PAUSED]),
    "paused twice": ([DRAFTED, STARTED, PAUSED], c.Pause(T + 4), []),
    "paused as a draft": ([DRAFTED], c.Pause(T + 4), Rejected),
    "paused for no code": ([DRAFTED, STARTED], c.Pause(T, "Ann is ill"), Invalid),
    "stopped": ([DRAFTED, STARTED], c.Stop(T + 3), [STOPPED]),
    "stopped as a draft": ([DRAFTED], c.Stop(T + 3), [STOPPED]),
    "stopped twice": ([DRAFTED, STOPPED], c.Stop(T + 4), []),
    "lowered": ([DRAFTED, STARTED], LOWER, [LOWERED]),
    "lowered twice": ([DRAFTED, STARTED, LOWERED], LOWER, []),
    "lowered, and paused": ([DRAFTED, STARTED, PAUSED], LOWER, []),
    "lowered where nothing is overdialled": (
        [c.CampaignDrafted(T, PROGRESSIVE), STARTED],
        LOWER,
        [],
    ),
    "lowered by what is no measure": ([DRAFTED, STARTED], replace(LOWER, measure="fr"), Invalid),
    "restored": (
        [DRAFTED, STARTED, LOWERED],
        c.RestoreMode(T + 99),
        [c.CampaignModeRestored(T + 99, p.Mode.PREDICTIVE)],
    ),
    "restored twice": ([DRAFTED, STARTED], c.RestoreMode(T + 99), []),
    "counted, below": ([DRAFTED, STARTED], c.Count(T, p.Totals(999, 99, 9)), []),
    "counted, conversions": (
        [DRAFTED, STARTED],
        c.Count(T, p.Totals(500, 50, 10)),
        [c.CampaignStopped(T, "conversions")],
    ),
    "counted, attempts": (
        [DRAFTED, STARTED],
        c.Count(T, p.Totals(1000, 50, 1)),
        [c.CampaignStopped(T, "attempts")],
    ),
    # 10.00 for attempts, 10.00 for 10,000 s of calls, 30.00 for 4,500 s of agents.
    "counted, budget": (
        [DRAFTED, STARTED],
        c.Count(T, p.Totals(500, 50, 1, talked=4_500_000_000, answered_for=10_000_000_000)),
        [c.CampaignStopped(T, "budget")],
    ),
    "counted, and paused": ([DRAFTED, STARTED, PAUSED], c.Count(T, p.Totals(1000)), []),
    "counted, no lead is left": (
        [c.CampaignDrafted(T, EXHAUSTIBLE), STARTED],
        c.Count(T, p.Totals(), 0),
        [c.CampaignStopped(T, "exhausted")],
    ),
    "counted, no lead is left, and it waits for more": (
        [DRAFTED, STARTED],
        c.Count(T, p.Totals(), 0),
        [],
    ),
    "its end": (
        [c.CampaignDrafted(T, ENDING), STARTED],
        c.End(T + 100),
        [c.CampaignStopped(T + 100, "ended")],
    ),
    "its end, of a pause": (
        [c.CampaignDrafted(T, ENDING), STARTED, PAUSED],
        c.End(T + 100),
        [c.CampaignStopped(T + 100, "ended")],
    ),
    "its end, which was moved": (
        [c.CampaignDrafted(T, replace(ENDING, ends_at=T + 200)), STARTED],
        c.End(T + 100),
        [],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_decisions(case: str) -> None:
    given_, command, then = CASES[case]
    state = fold(c.DECIDER, given_)
    if isinstance(then, type):
        with pytest.raises(then):
            c.decide(command, state)
    else:
        assert list(c.decide(command, state)) == list(then)


def test_lowered_stays_lowered_over_a_pause_and_another_ratio() -> None:
    state = fold(c.DECIDER, [DRAFTED, STARTED, LOWERED, PAUSED, STARTED])
    assert state.mode is p.Mode.PROGRESSIVE
    assert fold(c.DECIDER, [c.CampaignRevised(T, POWER)], state).mode is p.Mode.PROGRESSIVE
    restored = fold(c.DECIDER, [c.CampaignModeRestored(T, p.Mode.PREDICTIVE)], state)
    assert restored.mode is p.Mode.PREDICTIVE


def test_a_mode_that_does_not_overdial_needs_nothing_given_back() -> None:
    state = fold(c.DECIDER, [DRAFTED, STARTED, LOWERED, c.CampaignRevised(T, PROGRESSIVE)])
    assert (state.mode, state.lowered) == (p.Mode.PROGRESSIVE, None)


def test_it_dials_while_it_runs_from_its_start_to_its_end() -> None:
    settings = replace(SALES, starts_at=T + 10, ends_at=T + 20)
    running = fold(c.DECIDER, [c.CampaignDrafted(T, settings), STARTED])
    assert [running.dials(T + at) for at in (9, 10, 19, 20)] == [False, True, True, False]
    assert not fold(c.DECIDER, [PAUSED], running).dials(T + 15)
    assert not c.Campaign().dials(T)


def test_the_first_start_counts() -> None:
    """Periods of the measure begin with its day."""
    state = fold(c.DECIDER, [DRAFTED, STARTED, PAUSED, c.CampaignStarted(T + 50)])
    assert state.started_at == T + 1


def test_how_many_may_still_be_started() -> None:
    assert p.attempts_left(SALES, p.Totals(990)) == 10
    assert p.attempts_left(SALES, p.Totals(5000)) == 0
    # 50.00, of which 49.95 are spent: two at 0.02.
    spent = p.Totals(500, talked=int(Decimal("39.95") / 24 * 3600 * 1_000_000))
    assert p.attempts_left(SALES, spent) == 2
    assert p.attempts_left(replace(SALES, goals=p.Goals(conversions=1)), p.Totals(9)) is None


DAY = ((600, 780), (840, 1200))
WRONG: dict[str, tuple[str, p.Settings]] = {
    "no name": ("name", replace(SALES, name=" ")),
    "two lines": ("name", replace(SALES, name="a\nb")),
    "no seller": ("seller", replace(SALES, seller="")),
    "a number as it is dialled at home": ("caller_id", replace(SALES, caller_id="0123456789")),
    "no pool": ("pool_id", replace(SALES, pool_id="")),
    "no queue": ("queue_id", replace(SALES, queue_id="")),
    "a queue without agents": ("queue_id", replace(MESSAGE, queue_id="q")),
    "a pool without agents": ("pool_id", replace(MESSAGE, pool_id="q")),
    "skills without agents": ("skills", replace(MESSAGE, skills=(p.Skill("fibre"),))),
    "a skill's level": ("skills[0].level", replace(SALES, skills=(p.Skill("fibre", 6),))),
    "a skill twice": ("skills", replace(SALES, skills=(p.Skill("fibre"), p.Skill("fibre", 3)))),
    "nothing to sell": ("offer_id", replace(SALES, offer_id="")),
    "nothing to ask": ("questionnaire_id", replace(SALES, purpose=p.Purpose.SURVEY)),
    "a question in a sale": ("questionnaire_id", replace(SALES, questionnaire_id="q")),
    "information by agents": ("mode", replace(SALES, purpose=p.Purpose.INFORMATION)),
    "sold by a recording": ("mode", replace(MESSAGE, purpose=p.Purpose.SALES, offer_id="x")),
    "asked by a recording": (
        "mode",
        replace(MESSAGE, purpose=p.Purpose.SURVEY, questionnaire_id="x"),
    ),
    "win-back of nobody's": ("win_back", replace(SALES, win_back=p.WinBack("dsl"))),
    "the refused offer again": (
        "win_back.offer_id",
        replace(SALES, purpose=p.Purpose.WIN_BACK, win_back=p.WinBack("fibre-xl")),
    ),
    "no reason": (
        "win_back.reasons",
        replace(SALES, purpose=p.Purpose.WIN_BACK, win_back=p.WinBack("dsl", ("Too dear",))),
    ),
    "both a sale and a refusal": ("converting", replace(SALES, converting=("refused",))),
    "a code twice": ("converting", replace(SALES, converting=("sale", "sale"))),
    "no code": ("refusing", replace(SALES, refusing=("No!",))),
    "nothing said to whom is abandoned": (
        "abandonment_message",
        replace(SALES, abandonment_message=""),
    ),
    "an apology without agents": ("abandonment_message", replace(MESSAGE, abandonment_message="x")),
    "no message": ("information_message", replace(MESSAGE, information_message="")),
    "a message nobody plays": ("information_message", replace(SALES, information_message="x")),
    "nothing to leave": ("machine_message", replace(SALES, on_machine=p.OnMachine.LEAVE_MESSAGE)),
    "left on what is not known": (
        "machine_detection",
        replace(
            SALES,
            on_machine=p.OnMachine.LEAVE_MESSAGE,
            machine_message="x",
            machine_detection=False,
        ),
    ),
    "called back by agents of its own": (
        "callback_campaign_id",
        replace(SALES, callback_campaign_id="questions"),
    ),
    "called back by no id": (
        "callback_campaign_id",
        replace(MESSAGE, callback_campaign_id="Ann's questions"),
    ),
    "called back at once": (
        "callback_within_seconds",
        replace(MESSAGE, callback_campaign_id="questions", callback_within_seconds=59),
    ),
    "called back some day": (
        "callback_within_seconds",
        replace(MESSAGE, callback_campaign_id="questions", callback_within_seconds=2_592_001),
    ),
    "priority": ("priority", replace(SALES, priority=-1)),
    "ratio": ("ratio", replace(SALES, ratio=0.5)),
    "no number": ("ratio", replace(SALES, ratio=float("nan"))),
    "rings too short": ("ring_seconds", replace(SALES, ring_seconds=14)),
    "rings too long": ("ring_seconds", replace(SALES, ring_seconds=121)),
    "rate": ("calls_per_second", replace(MESSAGE, calls_per_second=0)),
    "calls": ("max_calls", replace(SALES, max_calls=-1)),
    "aims above the law": ("target_abandonment", replace(SALES, target_abandonment=0.031)),
    "aims above the contract": (
        "target_abandonment",
        replace(SALES, contract=p.Contract(0.01), target_abandonment=0.02),
    ),
    "a contract laxer than the law": (
        "contract.limit",
        replace(SALES, contract=p.Contract(0.05)),
    ),
    "a contract that waits longer": (
        "contract.connect_seconds",
        replace(SALES, contract=p.Contract(0.03, 3.0)),
    ),
    "a contract that cannot be judged": (
        "contract.connect_seconds",
        replace(SALES, contract=p.Contract(0.03, 1.25)),
    ),
    "a period of nothing": (
        "contract.period_days",
        replace(SALES, contract=p.Contract(0.03, period_days=0)),
    ),
    "currency": ("costs.currency", replace(SALES, costs=p.Costs("eur"))),
    "cost": ("costs.per_minute", replace(SALES, costs=p.Costs("EUR", per_minute=Decimal(-1)))),
    "places": (
        "costs.per_attempt",
        replace(SALES, costs=p.Costs("EUR", per_attempt=Decimal("0.00001"))),
    ),
    "a budget without costs": ("goals.budget", replace(SALES, costs=None)),
    "goal": ("goals.contacts", replace(SALES, goals=p.Goals(contacts=-1))),
    "six days": ("hours", replace(SALES, hours=(DAY,) * 6)),
    "no hour": ("hours", replace(SALES, hours=((),) * 7)),
    "hours in disorder": ("hours", replace(SALES, hours=(DAY[::-1],) * 7)),
    "past midnight": ("hours", replace(SALES, hours=(((600, 1441),),) * 7)),
    "ends before it starts": ("ends_at", replace(SALES, starts_at=T, ends_at=T)),
    "again at once": (
        "recycling.results.busy.after_s",
        replace(SALES, recycling=r.Recycling({"busy": r.Rule(r.Next.SAME)})),
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_no_campaign_can_be(case: str) -> None:
    field, settings = WRONG[case]
    with pytest.raises(Invalid) as refusal:
        c.decide(c.Arrange(T, settings), c.Campaign())
    assert refusal.value.field == field


CALLS_BACK: dict[str, tuple[Sequence[c.Event], str]] = {
    "nobody's": ([], "no such campaign"),
    "a draft": ([DRAFTED], ""),
    "it runs": ([DRAFTED, STARTED], ""),
    "a pause": ([DRAFTED, STARTED, PAUSED], ""),
    "stopped": ([DRAFTED, STARTED, STOPPED], "stopped"),
    "without agents": ([c.CampaignDrafted(T, MESSAGE)], "no agents"),
}


@pytest.mark.parametrize("case", CALLS_BACK)
def test_who_calls_back(case: str) -> None:
    given_, reason = CALLS_BACK[case]
    said = c.no_callbacks(fold(c.DECIDER, given_))
    assert bool(said) == bool(reason)
    assert reason in said


commands = st.one_of(
    st.builds(c.Arrange, st.just(T), st.sampled_from([SALES, POWER, PROGRESSIVE, ENDING])),
    st.builds(c.Start, st.integers(T, T + 200)),
    st.builds(c.Pause, st.integers(T, T + 200)),
    st.builds(c.Stop, st.integers(T, T + 200)),
    st.just(LOWER),
    st.builds(c.RestoreMode, st.just(T)),
    st.builds(c.Count, st.just(T), st.builds(p.Totals, st.integers(0, 1200))),
    st.builds(c.End, st.integers(T, T + 200)),
)


@given(st.lists(commands, max_size=30))
def test_whatever_is_wanted(wanted: list[Any]) -> None:
    """A repeat changes nothing, nothing follows a stop, and only what overdials is lowered."""
    state = c.Campaign()
    for command in wanted:
        try:
            events = c.decide(command, state)
        except (Rejected, NotFound):
            continue
        assert not events or state.status is not c.Status.STOPPED
        state = fold(c.DECIDER, events, state)
        assert list(c.decide(command, state)) == []
        assert state.settings is not None
        assert state.lowered is None or state.settings.mode.overdials
