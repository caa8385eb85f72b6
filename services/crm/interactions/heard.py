"""What events say of something, put together. Pure.

Events may come twice, late, and in any order: each group of facts keeps the version of the event
that said it, and the highest version counts. So the order does not matter, nor how the events are
cut into batches; merge.Merge does to rows what `AllHeard.hear` does here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Groups = Mapping[str, tuple[str, ...]]
"""Group -> the names of the facts that one event says together, so that a later one replaces them
together."""


@dataclass(slots=True)
class Heard:
    """All that some events say of one thing. facts: group -> (version, its values)."""

    version: int
    first_at: int
    facts: dict[str, tuple[int, tuple[Any, ...]]] = field(default_factory=dict)


class AllHeard(dict[tuple[str, str], Heard]):
    """By (client, id)."""

    def hear(
        self,
        key: tuple[str, str],
        version: int,
        at: int,
        facts: Iterable[tuple[str, tuple[Any, ...]]],
    ) -> None:
        """Add what one event says. at: when it occurred, microseconds since 1970."""
        heard = self.get(key)
        if heard is None:
            heard = self[key] = Heard(version, at)
        else:
            heard.version = max(heard.version, version)
            heard.first_at = min(heard.first_at, at)
        for group, values in facts:
            known = heard.facts.get(group)
            if known is None or known[0] < version:
                heard.facts[group] = (version, values)
