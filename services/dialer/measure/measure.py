"""The legal measure of abandonment: one set of counters, and each law's reading of it. Pure.

Counters are read by campaign and day of its client's zone. How long persons waited for an agent
after their greeting is kept in tenths of a second, so that a contract's one second is judged by the
same counters as the law's two.

us        abandoned per call answered by a live person, per campaign, in successive periods of 30
          days from its first day; not connected within 2 s of the greeting's end is abandoned
          (16 CFR 310.4(b)(4)(i)-(ii), 47 CFR 64.1200(a)(7))
uk        abandoned per abandoned and passed to an agent, per day. Of D calls that were abandoned
          and that nobody told from machines, D' = D (1 - M/(H+M)) are persons, by the H persons and
          M machines that agents came upon; so the rate of these is D'/(D'+H) = D/(D+H+M) (Ofcom,
          persistent misuse). A day is 24 hours from midnight
contract  the client's own limit, seconds and length of periods; read as `us` is

Times are microseconds since 1970, durations microseconds, rates and limits shares of 1.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from fractions import Fraction
from math import floor
from typing import Any, Final

TENTH: Final = 100_000
JUDGED_TENTHS: Final = 50
"""Waits are told apart up to 5 s; what is longer is late for every contract."""
BUCKETS: Final = JUDGED_TENTHS + 2
"""0: no wait; k: up to k tenths; the last: longer, or no agent ever came."""
NO_WAITS: Final = (0,) * BUCKETS

LIMIT: Final = 0.03
CONNECT_SECONDS: Final = 2.0
PERIOD_DAYS: Final = 30

AGENTLESS: Final = "message"
NO_PERSONS: Final = frozenset({"machine", "fax"})
LIVE: Final = frozenset({"connected", "abandoned", "hung-up"})
"""Results of calls that wanted an agent and were answered by a person."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What is counted of an attempt that has ended; the words are those of AttemptEnded.

    at             when it ended: of the day that it counts for
    answered_by    `unknown`: nobody told whether it was a person; it counts as one
    waited         since the greeting's end, until an agent came or the call was over; None: there
                   was no greeting, or nobody knows when it ended
    heard_machine  the agent says that it was an answering machine
    """

    at: int
    mode: str
    result: str
    answered_by: str
    waited: int | None = None
    heard_machine: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """Of a campaign's day.

    waits        one for each call that a live person answered, by how long they waited
    connected, dropped   those of them who talked with an agent, those who were abandoned
    unknown_connected, unknown_dropped   those of these that nobody told from machines
    machines     that agents came upon where nobody had told
    """

    waits: tuple[int, ...] = NO_WAITS
    connected: int = 0
    dropped: int = 0
    unknown_connected: int = 0
    unknown_dropped: int = 0
    machines: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return self._with(other, 1)

    def __sub__(self, other: "Counts") -> "Counts":
        return self._with(other, -1)

    def _with(self, other: "Counts", sign: int) -> "Counts":
        return Counts(
            tuple(a + sign * b for a, b in zip(self.waits, other.waits, strict=True)),
            *(getattr(self, name) + sign * getattr(other, name) for name in NUMBERS),
        )

    @property
    def live(self) -> int:
        """Calls that were answered by a live person."""
        return sum(self.waits)

    def abandoned(self, seconds: float) -> int:
        """Those of them whom no agent reached within so long; see `tenths`."""
        return sum(self.waits[tenths(seconds) + 1 :])


NUMBERS: Final = ("connected", "dropped", "unknown_connected", "unknown_dropped", "machines")
NOTHING: Final = Counts()


def total(counts: Iterable[Counts]) -> Counts:
    """Their sum."""
    every = list(counts)
    return Counts(
        tuple(map(sum, zip(*(each.waits for each in every), strict=True))) or NO_WAITS,
        *(sum(getattr(each, name) for each in every) for name in NUMBERS),
    )


def tenths(seconds: float) -> int:
    """Of a limit. What these counters cannot tell is judged by the stricter tenth, and by five
    seconds where it is longer."""
    return max(0, min(floor(Fraction(str(seconds)) * 10), JUDGED_TENTHS))


def counted(ended: Ended) -> Counts:
    """What one attempt adds. Nothing for a message without agents, and where no person answered.

    A person who hangs up while waiting was late for whatever limit is shorter than that wait; one
    who hangs up during the greeting has not waited.
    """
    if ended.mode == AGENTLESS or ended.answered_by in NO_PERSONS or ended.result not in LIVE:
        return NOTHING
    dropped, talked = ended.result == "abandoned", ended.result == "connected"
    unknown = ended.answered_by != "human"
    if ended.heard_machine and talked:
        return Counts(machines=1) if unknown else NOTHING
    bucket = BUCKETS - 1
    if ended.waited is not None and not dropped:
        bucket = min(-(-ended.waited // TENTH), bucket)
    elif ended.result == "hung-up":
        bucket = 0
    return Counts(
        (*NO_WAITS[:bucket], 1, *NO_WAITS[bucket + 1 :]),
        connected=int(talked),
        dropped=int(dropped),
        unknown_connected=int(talked and unknown),
        unknown_dropped=int(dropped and unknown),
    )


def change(before: Ended | None, after: Ended | None) -> Counts:
    """What another word on an attempt changes: it may come after the end that it is a machine."""
    return (counted(after) if after else NOTHING) - (counted(before) if before else NOTHING)


# Periods.


@dataclass(frozen=True, slots=True)
class Contract:
    """A client's stricter limit: not connected within `connect_seconds` is abandoned."""

    limit: float
    connect_seconds: float = CONNECT_SECONDS
    period_days: int = PERIOD_DAYS


LAW: Final = Contract(LIMIT)


@dataclass(frozen=True, slots=True)
class Reading:
    """A measure of one period.

    measure     `us`, `uk`, `contract`
    number      of the period, from 1; first_day, last_day: the days that it has
    live, abandoned   what the rate is of; of `uk` by the estimate, so not always whole
    compliant   the rate is at most the limit
    left        how many more may be abandoned as of now, before the rate is above it; negative:
                so many too many
    """

    measure: str
    number: int
    first_day: date
    last_day: date
    live: float
    abandoned: float
    rate: float
    limit: float
    compliant: bool
    left: int

    def to_json(self) -> dict[str, Any]:
        dates = {"first_day": self.first_day.isoformat(), "last_day": self.last_day.isoformat()}
        return asdict(self) | dates


@dataclass(frozen=True, slots=True)
class Report:
    """Of one campaign: every period so far and the one that runs."""

    us: tuple[Reading, ...]
    uk: tuple[Reading, ...]
    contract: tuple[Reading, ...] = ()
    uk_total: Reading | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "us": [each.to_json() for each in self.us],
            "uk": [each.to_json() for each in self.uk],
            "uk_total": self.uk_total.to_json() if self.uk_total else None,
            "contract": [each.to_json() for each in self.contract],
        }


Days = Mapping[date, Counts]
"""Of one campaign: counters by day of its client's zone; days without calls may be left out."""


def period_of(first_day: date, day: date, period_days: int) -> tuple[int, date, date]:
    """(number, first day, last day) of the period that a day lies in. Days before the first one, of
    calls that were under way when a clock was set, belong to period 1."""
    number = max(0, (day - first_day).days // period_days)
    begins = first_day + timedelta(days=number * period_days)
    return number + 1, begins, begins + timedelta(days=period_days - 1)


def successive(
    days: Days, first_day: date, today: date, terms: Contract = LAW, measure: str = "us"
) -> tuple[Reading, ...]:
    """All periods from the first day to today's, those without calls too."""
    periods: dict[int, list[Counts]] = {}
    for day, counts in days.items():
        periods.setdefault(period_of(first_day, day, terms.period_days)[0], []).append(counts)
    last = period_of(first_day, max([today, first_day, *days]), terms.period_days)[0]
    found = []
    for number in range(1, last + 1):
        begins = first_day + timedelta(days=(number - 1) * terms.period_days)
        ends = begins + timedelta(days=terms.period_days - 1)
        counts = total(periods.get(number, ()))
        abandoned = Fraction(counts.abandoned(terms.connect_seconds))
        live = Fraction(counts.live)
        found.append(_reading(measure, number, begins, ends, live, abandoned, terms.limit))
    return tuple(found)


def uk(days: Days, limit: float = LIMIT) -> tuple[Reading, ...]:
    """One for each day with calls: 24 hours from midnight of the client's zone."""
    return tuple(
        _uk_reading(number, day, day, days[day], limit)
        for number, day in enumerate(sorted(days), start=1)
    )


def uk_total(days: Days, first_day: date, today: date, limit: float = LIMIT) -> Reading:
    """Of all days together."""
    return _uk_reading(1, first_day, max(today, first_day), total(days.values()), limit)


def uk_rate(counts: Counts) -> float:
    """The estimate; 0 where there is nothing to estimate."""
    abandoned, live = _uk(counts)
    return float(abandoned / live) if live else 0.0


def _uk(counts: Counts) -> tuple[Fraction, Fraction]:
    """Persons who were abandoned, by the estimate, and these with those who talked to an agent."""
    dropped = Fraction(counts.dropped)
    known = counts.unknown_connected + counts.machines
    if known:
        dropped -= Fraction(counts.unknown_dropped * counts.machines, known)
    return dropped, dropped + counts.connected


def _uk_reading(number: int, first: date, last: date, counts: Counts, limit: float) -> Reading:
    abandoned, live = _uk(counts)
    return _reading("uk", number, first, last, live, abandoned, limit)


def _reading(
    measure: str,
    number: int,
    first: date,
    last: date,
    live: Fraction,
    abandoned: Fraction,
    limit: float,
) -> Reading:
    allowed = _exact(limit) * live
    return Reading(
        measure,
        number,
        first,
        last,
        _plain(live),
        _plain(abandoned),
        float(abandoned / live) if live else 0.0,
        limit,
        abandoned <= allowed,
        floor(allowed - abandoned),
    )


def _plain(number: Fraction) -> float:
    return int(number) if number.denominator == 1 else float(number)


def _exact(limit: float) -> Fraction:
    """0.03 as it was written: 3 of 100 are not above it because of a binary digit."""
    return Fraction(str(limit))


def report(days: Days, first_day: date, today: date, contract: Contract | None = None) -> Report:
    """What audit shows. first_day: the campaign's; today: in the same zone."""
    return Report(
        successive(days, first_day, today),
        uk(days),
        successive(days, first_day, today, contract, "contract") if contract else (),
        uk_total(days, first_day, today),
    )


# What pacing needs.


@dataclass(frozen=True, slots=True)
class Standing:
    """How a campaign stands now: the reading that leaves the least room, and the others.

    connect_seconds   within which an agent has to be there, for all of them
    """

    strictest: Reading
    readings: tuple[Reading, ...]
    connect_seconds: float


def standing(
    days: Days, first_day: date, today: date, contract: Contract | None = None, in_uk: bool = False
) -> Standing:
    """in_uk: the campaign calls British numbers, so that the day's estimate counts too.

    The reading with the least room comes first, in calls that may still be abandoned; of equals the
    one with the smaller limit.
    """
    readings = [successive(days, first_day, today)[-1]]
    if in_uk:
        readings.append(_uk_reading(1, today, today, days.get(today, NOTHING), LIMIT))
    if contract:
        readings.append(successive(days, first_day, today, contract, "contract")[-1])
    strictest = min(readings, key=lambda each: (each.left, each.limit))
    seconds = min([CONNECT_SECONDS, *([contract.connect_seconds] if contract else [])])
    return Standing(strictest, tuple(readings), seconds)


def cannot_end_within(reading: Reading, expected_remaining_live: float) -> bool:
    """Whether the period is above its limit at its end even if nobody is abandoned any more.

    expected_remaining_live: live answers to come until the period's end, at most.
    """
    expected = Fraction(max(expected_remaining_live, 0.0))
    return Fraction(reading.abandoned) > _exact(reading.limit) * (Fraction(reading.live) + expected)


UNKNOWN_DAY: Final = 200
"""Live answers of a day, where no day is over yet: what a handful of agents has at least. Without
it the first call of a campaign that is abandoned would be more than its period could ever bear."""


def expected_remaining_live(days: Days, today: date, last_day: date) -> float:
    """A forecast by the days so far: today's rest and each day to come, by the mean of the last
    seven days that had calls, and by how many of the days since then had some.

    On the first day as many are still to come as came, and at least UNKNOWN_DAY.
    """
    so_far = days.get(today, NOTHING).live
    to_come = max((last_day - today).days, 0)
    known = [day for day in sorted(days) if day < today and days[day].live][-7:]
    if not known:
        a_day = max(so_far, UNKNOWN_DAY)
        return a_day + a_day * to_come
    mean = sum(days[day].live for day in known) / len(known)
    share = len(known) / (today - known[0]).days
    return max(mean - so_far, 0.0) + mean * share * to_come
