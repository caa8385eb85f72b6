"""The world that is simulated, as data: who answers when, how long things take, what fails. Pure.

Times are seconds of the simulated world; shares are between 0 and 1. `default.yaml` is one to start
from, `loading.load_scenario` reads others.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

HOURS = 24
MAX_S = 86_400.0


class Fate(StrEnum):
    """What a number does whenever it is called, where it is fixed."""

    HUMAN = "human"
    MACHINE = "machine"
    FAX = "fax"
    BUSY = "busy"
    NO_ANSWER = "no-answer"
    UNOBTAINABLE = "unobtainable"
    CARRIER_ERROR = "carrier-error"
    HANGS_UP = "hangs-up"
    """A person, who is gone before the greeting has ended."""


class Failing(StrEnum):
    """How a carrier is out."""

    CALLS = "calls"
    """What is dialled meanwhile ends with a carrier error."""
    SERVICE = "service"
    """Requests are answered with UNAVAILABLE; calls go on."""


class _Data:
    # For whoever reads it from a file: a name that is not known here is a mistake.
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012
    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Spread(_Data):
    """Log-normally distributed times: half of them are below `median_s`; two thirds within a
    factor of e^sigma of it. 0 for sigma: all the same."""

    median_s: float
    sigma: float = 0.0

    def __post_init__(self) -> None:
        _check(0 < self.median_s <= MAX_S, "median_s", f"must be above 0, at most {MAX_S:g}")
        _check(0 <= self.sigma <= 3, "sigma", "must be between 0 and 3")


@dataclass(frozen=True, slots=True)
class Numbers(_Data):
    """Shares of all numbers; a number is the same at each call."""

    unobtainable: float = 0.0
    fax: float = 0.0
    machine: float = 0.0
    """Those with an answering machine, among the rest."""

    def __post_init__(self) -> None:
        _shares(unobtainable=self.unobtainable, fax=self.fax, machine=self.machine)
        _check(self.unobtainable + self.fax <= 1, "fax", "is above 1 together with unobtainable")


@dataclass(frozen=True, slots=True)
class Detection(_Data):
    """How right the detection of machines is, and how long it takes; with the rest of chance it
    tells right."""

    takes: Spread
    human_as_machine: float = 0.0
    human_as_unknown: float = 0.0
    machine_as_human: float = 0.0

    def __post_init__(self) -> None:
        _shares(
            human_as_machine=self.human_as_machine,
            human_as_unknown=self.human_as_unknown,
            machine_as_human=self.machine_as_human,
        )
        _check(
            self.human_as_machine + self.human_as_unknown <= 1,
            "human_as_unknown",
            "is above 1 together with human_as_machine",
        )


@dataclass(frozen=True, slots=True)
class Outage(_Data):
    """In seconds since the journal was begun."""

    begins_s: float
    ends_s: float
    of: Failing = Failing.CALLS

    def __post_init__(self) -> None:
        _check(self.begins_s >= 0, "begins_s", "must not be below 0")
        _check(self.ends_s > self.begins_s, "ends_s", "must be after begins_s")


@dataclass(frozen=True, slots=True)
class Scenario(_Data):
    """Everything of the simulated world but the seed.

    human       the chance that a person picks up who is not busy, for each hour at the called place
    errors      share of calls that the carrier loses before it rings
    busy        share of calls to numbers that could be reached
    at_once     share of persons who hang up in their greeting
    setup       from dialled to ringing, or to an error
    rings       until a person picks up; longer than the call may ring: no answer
    patience    of a person from the greeting's end, waiting or listening to a message
    talk        with an agent; machine_talk until an agent has noticed that it is a machine
    message     how long a message lasts
    callback    share of those who hear a message to its end and press the key for a callback
    capacity    calls at once; one more is a carrier error
    speed       so many simulated seconds pass in one of the clock's
    fates       what single numbers, in E.164, do at each call; detection is right about them
    """

    human: tuple[float, ...]
    greeting: Spread
    machine_greeting: Spread
    setup: Spread
    rings: Spread
    machine_rings: Spread
    detection: Detection
    patience: Spread
    talk: Spread
    machine_talk: Spread
    message: Spread
    numbers: Numbers = field(default_factory=Numbers)
    errors: float = 0.0
    busy: float = 0.0
    at_once: float = 0.0
    callback: float = 0.0
    capacity: int = 10_000
    speed: float = 1.0
    outages: tuple[Outage, ...] = ()
    fates: Mapping[str, Fate] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(len(self.human) == HOURS, "human", f"must have {HOURS} hours")
        for hour, share in enumerate(self.human):
            _check(0 <= share <= 1, f"human[{hour}]", "must be between 0 and 1")
        _shares(errors=self.errors, busy=self.busy, at_once=self.at_once, callback=self.callback)
        _check(self.capacity > 0, "capacity", "must be above 0")
        _check(0 < self.speed <= 1000, "speed", "must be above 0, at most 1000")

    def outage(self, of: Failing, since_us: int) -> bool:
        """Whether that is out, since_us microseconds of the clock after the journal was begun."""
        at_s = since_us * self.speed / 1e6
        return any(out.of is of and out.begins_s <= at_s < out.ends_s for out in self.outages)


def _shares(**shares: float) -> None:
    for name, share in shares.items():
        _check(0 <= share <= 1, name, "must be between 0 and 1")


def _check(right: bool, name: str, reason: str) -> None:
    if not right:
        raise ValueError(f"{name}: {reason}")
