"""What customers and departments would like: expressed, supported, merged, granted, declined. Pure.

A wish counts its voices: whoever expressed or supported it, each customer and each department once.
Merged into another it keeps its own voices, and the other counts them as its own; unmerged it takes
them along. That no circle is made of merges is for whoever sees all wishes to check: `into_root` of
the command.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from eventkit.decider import Decider, Invalid, NotFound, Personal, Rejected
from services.crm.complaints.complaint import CUSTOMER, check_code, check_id, check_text


class Outcome(StrEnum):
    GRANTED = "granted"
    DECLINED = "declined"


@dataclass(frozen=True, slots=True)
class Voice:
    """Who wants it: a customer (crm's id), or a department (its code as source)."""

    customer_id: str = ""
    source: str = CUSTOMER


@dataclass(frozen=True, slots=True)
class ExpressWish:
    at: int
    voice: Voice
    text: str
    call_id: str = ""
    topic_id: str = ""


@dataclass(frozen=True, slots=True)
class SupportWish:
    at: int
    voice: Voice
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class MergeWish:
    """into_root: what the other wish is itself merged into, at the end of the chain."""

    at: int
    wish_id: str
    into: str
    into_root: str


@dataclass(frozen=True, slots=True)
class UnmergeWish:
    at: int


@dataclass(frozen=True, slots=True)
class CloseWish:
    at: int
    outcome: Outcome
    text: str = ""


Command = ExpressWish | SupportWish | MergeWish | UnmergeWish | CloseWish


@dataclass(frozen=True, slots=True)
class WishExpressed:
    at: int
    voice: Voice
    call_id: str
    topic_id: str
    text: Personal[str]


@dataclass(frozen=True, slots=True)
class WishSupported:
    """supporters: all voices of this wish, those of wishes merged into it left out."""

    at: int
    voice: Voice
    call_id: str
    supporters: int


@dataclass(frozen=True, slots=True)
class WishMerged:
    at: int
    into: str


@dataclass(frozen=True, slots=True)
class WishUnmerged:
    at: int
    from_: str


@dataclass(frozen=True, slots=True)
class WishClosed:
    at: int
    outcome: Outcome
    text: Personal[str]


Event = WishExpressed | WishSupported | WishMerged | WishUnmerged | WishClosed


@dataclass(frozen=True, slots=True)
class Wish:
    expressed: WishExpressed | None = None
    at: int = 0
    voices: frozenset[Voice] = frozenset()
    merged_into: str = ""
    closed: WishClosed | None = None

    @property
    def customer_id(self) -> str:
        return self.expressed.voice.customer_id if self.expressed else ""


def decide(command: Command, state: Wish) -> Sequence[Event]:
    """Raises Invalid, Rejected and NotFound."""
    now = max(command.at, state.at)
    if isinstance(command, ExpressWish):
        return _express(command, state)
    if state.expressed is None:
        raise NotFound("wish")
    match command:
        case SupportWish():
            _check(command.voice, command.call_id)
            if command.voice in state.voices:
                return []
            _require_open("supported", state)
            count = len(state.voices) + 1
            return [WishSupported(now, command.voice, command.call_id, count)]
        case MergeWish():
            if state.merged_into == command.into:
                return []
            _require_open("merged", state)
            if state.merged_into:
                raise Rejected("cannot be merged: it is merged into another wish; unmerge it first")
            if command.wish_id in (command.into, command.into_root):
                raise Rejected("cannot be merged: the other wish is merged into this one, or is it")
            return [WishMerged(now, command.into)]
        case UnmergeWish():
            return [WishUnmerged(now, state.merged_into)] if state.merged_into else []
        case CloseWish():
            check_text("text", command.text)
            if state.closed is not None:
                if state.closed.outcome is command.outcome:
                    return []
                raise Rejected(f"cannot be {command.outcome.value}: it is closed")
            if state.merged_into:
                raise Rejected("cannot be closed: it is merged into another wish; close that one")
            return [WishClosed(now, command.outcome, command.text)]


def _express(command: ExpressWish, state: Wish) -> list[Event]:
    _check(command.voice, command.call_id)
    if command.topic_id:
        check_id("topic_id", command.topic_id)
    check_text("text", command.text, required=True)
    made = WishExpressed(command.at, command.voice, command.call_id, command.topic_id, command.text)
    if state.expressed is None:
        return [made]
    if replace(made, at=0, text="") == replace(state.expressed, at=0, text=""):
        return []
    raise Rejected("another wish has this id already")


def _check(voice: Voice, call_id: str) -> None:
    check_code("source", voice.source)
    if voice.customer_id:
        check_id("customer_id", voice.customer_id)
    elif voice.source == CUSTOMER:
        raise Invalid("customer_id", "missing: which customer, or else which department (source)")
    if call_id:
        check_id("call_id", call_id)


def _require_open(done: str, state: Wish) -> None:
    if state.closed is not None:
        raise Rejected(f"cannot be {done}: it is {state.closed.outcome.value}")


def evolve(state: Wish, event: Event) -> Wish:
    match event:
        case WishExpressed():
            return Wish(event, event.at, frozenset({event.voice}))
        case WishSupported():
            return replace(state, at=event.at, voices=state.voices | {event.voice})
        case WishMerged():
            return replace(state, at=event.at, merged_into=event.into)
        case WishUnmerged():
            return replace(state, at=event.at, merged_into="")
        case WishClosed():
            return replace(state, at=event.at, closed=event)


DECIDER: Decider[Command, Wish, Event] = Decider(
    initial=Wish(),
    decide=decide,
    evolve=evolve,
    events=(WishExpressed, WishSupported, WishMerged, WishUnmerged, WishClosed),
)
