"""Which places may be called now by hours alone: so that leads of closed ones are not even taken.

What is found out for a place is remembered until its hours change.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from services.dialer.compliance.hours import DAY
from services.dialer.compliance.place import places_of_key
from services.dialer.compliance.rules import Jurisdiction, Opening, Rulebook, opening

MAX_KNOWN = 50_000

Own = tuple[Jurisdiction, ...]


@dataclass(frozen=True)
class OpenPlaces:
    """places: by `place.place_key`. Jurisdictions of `own` are compared by identity: keep them."""

    rulebook: Rulebook
    _known: dict[tuple[str, str, str, Own], tuple[int, int, Opening]] = field(default_factory=dict)

    def at(self, place: str, purpose: str, mode: str, now: int, own: Own = ()) -> Opening:
        """Raises ValueError for what is no place's key."""
        key = place, purpose, mode, own
        known = self._known.get(key)
        if known is not None and known[0] <= now < known[1]:
            return known[2]
        found = opening(places_of_key(place), purpose, mode, now, self.rulebook, own)
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[key] = now, now + DAY if found.until is None else found.until, found
        return found

    def among(
        self, places: Iterable[str], purpose: str, mode: str, now: int, own: Own = ()
    ) -> list[str]:
        """Those that are open, in their order."""
        return [each for each in places if self.at(each, purpose, mode, now, own).open]
