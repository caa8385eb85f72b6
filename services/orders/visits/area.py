"""An area that crews serve: a part of a country, by the beginnings of its postal codes. Pure.

One stream each. That no two areas have the same prefix is for whoever sees all of them to check.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from eventkit.decider import Decider, Invalid, NotFound

MAX_LABEL = 200
MAX_PREFIXES = 2_000
COUNTRY = re.compile(r"[A-Z]{2}")
PREFIX = re.compile(r"[A-Z0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class Ground:
    """What an area is.

    country   ISO 3166-1, two letters; "" for an area that no address leads to: it is chosen by hand
    prefixes  of postal codes as `compact` makes them, sorted, each once; () for the whole country,
              where no longer prefix of another area holds
    """

    label: str
    country: str = ""
    prefixes: tuple[str, ...] = ()

    def covers(self) -> tuple[str, ...]:
        """The prefixes, of which "" is the whole country's."""
        return (self.prefixes or ("",)) if self.country else ()


@dataclass(frozen=True, slots=True)
class DrawArea:
    """Draw an area, or draw it otherwise."""

    ground: Ground


@dataclass(frozen=True, slots=True)
class DissolveArea:
    """No address leads to it any more; its prefixes are free for others."""


Command = DrawArea | DissolveArea


@dataclass(frozen=True, slots=True)
class AreaDrawn:
    ground: Ground


@dataclass(frozen=True, slots=True)
class AreaDissolved:
    pass


Event = AreaDrawn | AreaDissolved


@dataclass(frozen=True, slots=True)
class Area:
    ground: Ground | None = None
    dissolved: bool = False


def decide(command: Command, state: Area) -> Sequence[Event]:
    """Raises Invalid and NotFound."""
    match command:
        case DrawArea(ground):
            check(ground)
            if state.ground == ground and not state.dissolved:
                return []
            return [AreaDrawn(ground)]
        case DissolveArea():
            if state.ground is None:
                raise NotFound("area")
            return [] if state.dissolved else [AreaDissolved()]


def evolve(state: Area, event: Event) -> Area:
    match event:
        case AreaDrawn(ground):
            return Area(ground)
        case AreaDissolved():
            return replace(state, dissolved=True)


DECIDER: Decider[Command, Area, Event] = Decider(
    initial=Area(), decide=decide, evolve=evolve, events=(AreaDrawn, AreaDissolved)
)


def check(ground: Ground) -> None:
    """Raise Invalid for the first thing that is wrong."""
    label = ground.label
    if not label.strip() or len(label) > MAX_LABEL or not label.isprintable():
        raise Invalid("label", f"must be one line of 1 to {MAX_LABEL} characters")
    if ground.country and not COUNTRY.fullmatch(ground.country):
        raise Invalid("country", "must be two letters of ISO 3166-1, such as FR")
    if ground.prefixes and not ground.country:
        raise Invalid("country", "missing: postal codes are a country's")
    if len(ground.prefixes) > MAX_PREFIXES:
        raise Invalid("prefixes", f"more than {MAX_PREFIXES}")
    if any(not PREFIX.fullmatch(prefix) for prefix in ground.prefixes):
        raise Invalid("prefixes", "each must be 1 to 12 capital letters and digits")
    if any(a >= b for a, b in zip(ground.prefixes, ground.prefixes[1:], strict=False)):
        raise Invalid("prefixes", "not sorted, or one twice")


def compact(postal_code: str) -> str:
    """A postal code without what people put between its parts: `sw1a 1aa` is SW1A1AA."""
    return "".join(one for one in postal_code.upper() if one.isalnum())


def prefixes_of(postal_code: str) -> list[str]:
    """Every prefix that an area with this postal code in it may have, "" among them."""
    code = compact(postal_code)[:12]
    return [code[:length] for length in range(len(code) + 1)]
