"""The life of one call. Pure: what happens follows from the scenario, a seed and who calls whom;
when, from the moment of dialling and what the dialer does meanwhile.

    drawn  = draw(call, scenario, seed, hour)           what is fixed before it is dialled
    result = life(call, drawn, dialled_at, [Connect(at, "a-7")], hung_up_at=None)

`life` says the whole of it, to its end. What is added at some moment changes nothing that happened
before, so a telephone system can play it as it comes: everything up to now has happened, and the
rest is a plan.

Times are microseconds, of the day since 1970.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile
from random import Random

from services.dialer.carrier.scenario import Fate, Scenario, Spread

_LONGEST = 20.0
"""Times are drawn up to so many medians: a log-normal has no end."""


class OnMachine(StrEnum):
    HANG_UP = "hang-up"
    LEAVE_MESSAGE = "leave-message"
    AS_PERSON = "as-person"


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked for. wait_us: how long a person may wait for an agent before `message` is
    played; None: it is played at once, for nobody is wanted."""

    client_id: str
    call_id: str
    to: str
    ring_for_us: int
    detect_machines: bool
    wait_us: int | None
    message: str
    on_machine: OnMachine = OnMachine.HANG_UP
    machine_message: str = ""


class Who(StrEnum):
    """Who picks up, in truth and as the carrier tells it."""

    HUMAN = "human"
    MACHINE = "machine"
    FAX = "fax"
    UNKNOWN = "unknown"


class Why(StrEnum):
    HUNG_UP = "hung-up"
    MESSAGE_PLAYED = "message-played"
    BUSY = "busy"
    NO_ANSWER = "no-answer"
    UNOBTAINABLE = "unobtainable"
    CARRIER_ERROR = "carrier-error"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Ringing:
    pass


@dataclass(frozen=True, slots=True)
class Answered:
    by: Who


@dataclass(frozen=True, slots=True)
class GreetingEnded:
    """Of a person, or of a machine that is to be dealt with as one."""


@dataclass(frozen=True, slots=True)
class Connected:
    agent_id: str


@dataclass(frozen=True, slots=True)
class MessageStarted:
    message_id: str


@dataclass(frozen=True, slots=True)
class Over:
    why: Why
    cause: str = ""
    callback_wanted: bool = False


What = Ringing | Answered | GreetingEnded | Connected | MessageStarted | Over


@dataclass(frozen=True, slots=True)
class Result:
    at: int
    what: What


@dataclass(frozen=True, slots=True)
class Connect:
    """An agent is there for the call, from `at` on."""

    at: int
    agent_id: str


# What is fixed beforehand.


@dataclass(frozen=True, slots=True)
class Drawn:
    """fails: how it is over before it rings. who: who picks up after ring_us, None: nobody ever.

    told: by whom it is answered, as the detection of machines says. stays_us: from picked up until
    hung up by whoever has picked up and not got an agent.
    """

    setup_us: int
    fails: Over | None
    who: Who | None
    told: Who
    ring_us: int
    detection_us: int
    greeting_us: int
    stays_us: int
    talk_us: int
    message_us: int
    callback: bool


def draw(call: Call, scenario: Scenario, seed: int, hour: int) -> Drawn:
    """The same for the same arguments, in every process. hour: 0 to 23, at the called place."""
    # What a number is, is the number's: it is a fax at every call.
    number = Random(f"{seed}/{call.to}")
    kind, has_machine = number.random(), number.random()
    chance = Random(f"{seed}/{call.client_id}/{call.call_id}/{call.to}")
    # All of it is always drawn, so that one share more or less changes nothing else of a call.
    error, busy, answers, leaves, told, presses = (chance.random() for _ in range(6))
    numbers, fate = scenario.numbers, scenario.fates.get(call.to)
    fails, who = None, None
    if fate is Fate.CARRIER_ERROR or (fate is None and error < scenario.errors):
        fails = Over(Why.CARRIER_ERROR, "no circuit available")
    elif fate is Fate.UNOBTAINABLE or (fate is None and kind < numbers.unobtainable):
        fails = Over(Why.UNOBTAINABLE, "unallocated number")
    elif fate is Fate.FAX or (fate is None and kind - numbers.unobtainable < numbers.fax):
        who = Who.FAX
    elif fate is Fate.BUSY or (fate is None and busy < scenario.busy):
        fails = Over(Why.BUSY, "user busy")
    elif fate in (Fate.HUMAN, Fate.HANGS_UP) or (fate is None and answers < scenario.human[hour]):
        who = Who.HUMAN
    elif fate is Fate.MACHINE or (fate is None and has_machine < numbers.machine):
        who = Who.MACHINE

    times = {
        name: _drawn(spread, chance, scenario.speed)
        for name, spread in (
            ("setup", scenario.setup),
            ("rings", scenario.rings),
            ("machine_rings", scenario.machine_rings),
            ("detection", scenario.detection.takes),
            ("greeting", scenario.greeting),
            ("machine_greeting", scenario.machine_greeting),
            ("patience", scenario.patience),
            ("talk", scenario.talk),
            ("machine_talk", scenario.machine_talk),
            ("message", scenario.message),
        )
    }
    human = who is Who.HUMAN
    ring_us = times["machine_rings" if who is Who.MACHINE else "rings"]
    if fate is not None:
        ring_us = min(ring_us, call.ring_for_us // 2)
    greeting_us = times["greeting" if human else "machine_greeting"]
    stays_us = greeting_us + times["patience"]
    if not human:
        # A recorder goes on for as long as anybody says anything, and a little longer.
        stays_us += times["message"] * 2
    elif fate is Fate.HANGS_UP or (fate is None and leaves < scenario.at_once):
        stays_us = greeting_us // 2
    return Drawn(
        times["setup"],
        fails,
        who,
        (who or Who.UNKNOWN) if fate is not None else _told(who, told, scenario),
        ring_us,
        times["detection"],
        greeting_us,
        stays_us,
        times["talk" if human else "machine_talk"],
        times["message"],
        human and presses < scenario.callback,
    )


def _drawn(spread: Spread, chance: Random, speed: float) -> int:
    factor = min(math.exp(spread.sigma * chance.gauss(0, 1)), _LONGEST)
    return max(1, round(spread.median_s * factor * 1e6 / speed))


def _told(who: Who | None, chance: float, scenario: Scenario) -> Who:
    detection = scenario.detection
    match who:
        case Who.HUMAN if chance < detection.human_as_machine:
            return Who.MACHINE
        case Who.HUMAN if chance - detection.human_as_machine < detection.human_as_unknown:
            return Who.UNKNOWN
        case Who.MACHINE if chance < detection.machine_as_human:
            return Who.HUMAN
    return who or Who.UNKNOWN


# What happens.


def life(
    call: Call,
    drawn: Drawn,
    dialled_at: int,
    connects: Sequence[Connect] = (),
    hung_up_at: int | None = None,
) -> tuple[Result, ...]:
    """All that happens, in order; the last is Over, and the only one.

    connects: by their times. The first one that comes before the wait is over has the call; one
    that comes before the greeting has ended is joined when it has. hung_up_at: by the dialer.
    """
    found = tuple(_life(call, drawn, dialled_at, connects))
    if hung_up_at is None or found[-1].at <= hung_up_at:
        return found
    happened = tuple(takewhile(lambda result: result.at <= hung_up_at, found))
    return (*happened, Result(hung_up_at, Over(Why.RELEASED, "hung up by the dialer")))


def _life(
    call: Call, drawn: Drawn, dialled_at: int, connects: Sequence[Connect]
) -> Iterator[Result]:
    began = dialled_at + drawn.setup_us
    if drawn.fails is not None:
        yield Result(began, drawn.fails)
        return
    yield Result(began, Ringing())
    if drawn.who is None or drawn.ring_us > call.ring_for_us:
        yield Result(began + call.ring_for_us, Over(Why.NO_ANSWER, "no answer"))
        return
    picked_up = began + drawn.ring_us
    told = picked_up + (drawn.detection_us if call.detect_machines else 0)
    by = drawn.told if call.detect_machines else Who.UNKNOWN
    # Somebody who hangs up at once has still answered: before that nothing is told of them.
    leaves = max(picked_up + drawn.stays_us, told)
    yield Result(told, Answered(by))
    if by is Who.FAX or (by is Who.MACHINE and call.on_machine is OnMachine.HANG_UP):
        yield Result(told, Over(Why.RELEASED, "fax" if by is Who.FAX else "answering machine"))
        return
    greeted = max(picked_up + drawn.greeting_us, told)
    if leaves <= greeted:
        yield Result(leaves, Over(Why.HUNG_UP, "hung up in the greeting"))
        return
    if by is Who.MACHINE and call.on_machine is OnMachine.LEAVE_MESSAGE:
        yield from _message(drawn, greeted, leaves, call.machine_message)
        return
    yield Result(greeted, GreetingEnded())
    late = greeted + (call.wait_us or 0)
    until = min(late, leaves)
    joined = next((connect for connect in connects if connect.at < until), None)
    if joined is not None and greeted < until:
        at = max(joined.at, greeted)
        yield Result(at, Connected(joined.agent_id))
        yield Result(at + drawn.talk_us, Over(Why.HUNG_UP, "hung up by the called person"))
    elif leaves < late:
        yield Result(leaves, Over(Why.HUNG_UP, "hung up before an agent was there"))
    else:
        yield from _message(drawn, late, leaves, call.message)


def _message(drawn: Drawn, at: int, leaves: int, message_id: str) -> Iterator[Result]:
    yield Result(at, MessageStarted(message_id))
    heard = at + drawn.message_us
    if leaves < heard:
        yield Result(leaves, Over(Why.HUNG_UP, "hung up in the message"))
    else:
        yield Result(heard, Over(Why.MESSAGE_PLAYED, callback_wanted=drawn.callback))
