"""Whatever happens to a complaint, its clocks are those of somebody who counts the minutes."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventkit.decider import Rejected, fold
from services.crm.complaints import complaint as m
from services.crm.complaints.calendar import ALWAYS, DAY, MINUTE, Calendar
from services.crm.complaints.clocks import Rules, Severity, Targets
from services.crm.complaints.tests.reference import Reference, Wall

PLACES = [
    ("Europe/Paris", date(2026, 3, 27)),
    ("Europe/Paris", date(2026, 10, 23)),
    ("America/New_York", date(2026, 10, 30)),
    ("Australia/Lord_Howe", date(2026, 4, 3)),
    ("America/Sao_Paulo", date(2018, 11, 2)),
    ("Asia/Kolkata", date(2026, 1, 1)),
]
"""A zone, and a day before its clocks change."""
MINUTES_A_DAY = 1440
DAYS = 8

hours = st.sampled_from(
    [ALWAYS, ((540, 1080),), ((540, 720), (780, 1080)), ((0, 150), (1400, 1440)), ((121, 187),), ()]
)
targets = st.tuples(st.integers(1, 600), st.integers(0, 3_000)).map(
    lambda pair: (pair[0], pair[0] + pair[1])
)


@st.composite
def policies(draw: st.DrawFn, zone: str, first: date, version: int) -> tuple[Rules, Wall]:
    days = [first + timedelta(days=n) for n in range(DAYS)]
    weekly = tuple(draw(hours) for _ in range(7))
    if not any(weekly):
        weekly = (ALWAYS, *weekly[1:])
    holidays = tuple(sorted(draw(st.sets(st.sampled_from(days), max_size=2))))
    exceptions = draw(st.dictionaries(st.sampled_from(days), hours, max_size=2))
    by_severity = {severity: draw(targets) for severity in Severity}
    rules = Rules(
        version,
        Calendar(zone, weekly, holidays, exceptions),
        {s: Targets(a * MINUTE, b * MINUTE) for s, (a, b) in by_severity.items()},
    )
    return rules, Wall(zone, weekly, holidays, exceptions)


ANYTHING = (
    *("acknowledge", "pause", "resume", "severity", "policy", "uphold", "close"),
    *("reopen", "appeal", "timer"),
)


def sensible(state: m.Complaint) -> tuple[str, ...]:
    """What is not refused now, so that a run comes to every corner of a complaint's life."""
    if state.phase is m.Phase.CLOSED:
        return "reopen", "appeal", "timer"
    words = ["severity", "policy", "timer", "pause" if state.paused is None else "resume"]
    if state.acknowledged_at is None:
        words.append("acknowledge")
    elif state.phase is m.Phase.OPEN and state.paused is None:
        words += ["uphold"] * 2
    if state.verdict is not None:
        words += ["close", "appeal"]
    return tuple(words)


STEPS = st.one_of(st.integers(0, 240), st.integers(0, 1_000), st.integers(-300, 0))


def targets_of(rules: Rules, severity: Severity) -> tuple[int, int]:
    both = rules.targets[severity]
    return both.first_response // MINUTE, both.resolution // MINUTE


class Run:
    """A complaint, the policies that there are, and what the reference is told."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.zone, self.first = data.draw(st.sampled_from(PLACES))
        self.policies: list[tuple[Rules, Wall]] = []
        self.publish()
        rules, wall = self.policies[0]
        since = (self.first - date(1970, 1, 1)).days * MINUTES_A_DAY
        self.start = since + data.draw(st.integers(0, 2 * MINUTES_A_DAY))
        self.wall_clock = self.start
        self.state = m.DECIDER.initial
        self.ran_out: dict[str, list[int]] = {"first_response": [], "resolution": []}
        severity = data.draw(st.sampled_from(Severity))
        self.reference = Reference(wall, targets_of(rules, severity))
        self.do(m.OpenComplaint(self.start * MINUTE, rules, m.Details(), severity))

    def publish(self) -> None:
        version = len(self.policies) + 1
        self.policies.append(self.data.draw(policies(self.zone, self.first, version)))

    def do(self, command: m.Command) -> bool:
        """Whether it did anything."""
        try:
            events = m.decide(command, self.state)
        except Rejected:
            return False
        before = self.state
        self.state = fold(m.DECIDER, events, self.state)
        for event in events:
            if isinstance(event, m.ComplaintClockRanOut):
                self.ran_out[event.clock].append(event.at)
        assert [event.at for event in events] == sorted(event.at for event in events)
        assert not events or events[0].at >= before.at
        if not isinstance(command, m.RunOutClock | m.ReopenComplaint | m.AppealComplaint):
            assert m.decide(command, self.state) == [], "a repeat"
        return bool(events)

    def timer(self, until: int) -> None:
        """The worker, which may be late but says the due time."""
        while ready := sorted(
            (due, clock) for clock, due in m.timers(self.state).items() if due <= until
        ):
            for due, clock in ready:
                assert self.do(m.RunOutClock(due, clock))
                assert not self.do(m.RunOutClock(due, clock))

    def step(self, word: str) -> None:
        self.wall_clock = max(self.wall_clock + self.data.draw(STEPS), self.start)
        self.wall_clock = min(self.wall_clock, self.end)
        at = self.wall_clock * MINUTE
        if word == "timer":
            self.timer(at)
            return
        rules = self.policies[self.state.policy_version - 1][0]
        minute = max(at, self.state.at) // MINUTE
        acts: Mapping[str, Any] = {
            "acknowledge": m.AcknowledgeComplaint(at, rules),
            "pause": m.PauseComplaint(at, rules, "documents"),
            "resume": m.ResumeComplaint(at, rules),
            "uphold": m.UpholdComplaint(
                at, ("defect",), m.Subject(m.SubjectKind.CLIENT), "", frozenset({"defect"})
            ),
            "close": m.CloseComplaint(at, rules),
            "reopen": m.ReopenComplaint(at, rules, "no-remedy", str(at)),
            "appeal": m.AppealComplaint(at, rules, str(at)),
        }
        if word in acts:
            if self.do(acts[word]):
                self.reference.actions.append((minute, word, None))
        elif word == "severity":
            severity = self.data.draw(st.sampled_from(Severity))
            if self.do(m.ChangeSeverity(at, rules, severity)):
                changed = (None, targets_of(rules, severity))
                self.reference.actions.append((minute, "rules", changed))
        else:
            if self.data.draw(st.booleans()):
                self.publish()
            new, wall = self.policies[-1]
            if self.do(m.ApplyPolicy(at, rules, new)):
                changed = (wall, targets_of(new, self.state.severity))
                self.reference.actions.append((minute, "rules", changed))

    @property
    def end(self) -> int:
        return self.start + DAYS * MINUTES_A_DAY


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_clocks_are_right_to_the_minute(data: st.DataObject) -> None:
    run = Run(data)
    for _ in range(data.draw(st.integers(0, 25))):
        is_sensible = data.draw(st.integers(0, 4)) > 0
        run.step(data.draw(st.sampled_from(sensible(run.state) if is_sensible else ANYTHING)))
    end = run.end * MINUTE
    run.timer(end)
    watched = run.reference.watch(run.start, run.end)
    state, clocks = run.state, run.state.clocks
    assert clocks is not None
    calendar = run.policies[state.policy_version - 1][0].calendar
    for name, clock, stopwatch in zip(
        ("first_response", "resolution"),
        (clocks.first_response, clocks.resolution),
        watched,
        strict=True,
    ):
        assert clock.used_at(calendar, end) == stopwatch.used * MINUTE, name
        expected = [] if stopwatch.ran_out is None else [stopwatch.ran_out * MINUTE]
        assert run.ran_out[name] == expected, name
        assert clock.ran_out_at == (expected[0] if expected else None)
        if clock.due is not None:
            left = stopwatch.target - stopwatch.used
            assert calendar.business_time(end, clock.due) == left * MINUTE
            assert clock.due - end < 60 * DAY
