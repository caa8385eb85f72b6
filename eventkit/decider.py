"""What a domain file is made of, and all of ours that it may import. Pure.

A decider is three things: a state to begin with, `decide(command, state) -> events`, and
`evolve(state, event) -> state`. A decision that repeats what has happened gives no events; one that
the domain refuses raises `Rejected`, one whose input makes no sense raises `Invalid`. Time and ids
come in with the command.

    @dataclass(frozen=True, slots=True)
    class Noted:
        note_id: str
        text: Personal[str]          # sealed in the event store with the customer's key
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Annotated, Any, Generic, TypeVar

from eventkit.errors import InvalidMessage, NotFound, Rejected

__all__ = ["PERSONAL", "Decider", "Invalid", "NotFound", "Personal", "Rejected", "fold"]

Invalid = InvalidMessage
"""`Invalid(field, reason)`: bad input, whatever the state. HTTP 422, gRPC INVALID_ARGUMENT."""

T = TypeVar("T")
C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E")

PERSONAL = "personal"
Personal = Annotated[T, PERSONAL]
"""Marks a field of an event that is a person's: a text, a tuple of texts, or a mapping of texts.

After the person has been erased it reads as the empty value of its type.
"""


@dataclass(frozen=True)
class Decider(Generic[C, S, E]):
    """One kind of stream. `events` are all its event types; the classes' names are stored."""

    initial: S
    decide: Callable[[C, S], Sequence[E]]
    evolve: Callable[[S, E], S]
    events: tuple[type[Any], ...]


def fold(decider: Decider[C, S, E], events: Iterable[E], state: S | None = None) -> S:
    """The state after these events, from `state` or from the beginning."""
    return reduce(decider.evolve, events, decider.initial if state is None else state)
