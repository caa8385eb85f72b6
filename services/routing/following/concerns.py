"""Which calls concern whom. Pure.

A telephone system is concerned from the first event of a call that names its site and pool until
the call is over, wherever the call goes in between: so what it is told of a call has no holes. An
agent is concerned while a call is offered to them, theirs, or one that they help with.
"""

from dataclasses import dataclass, field

OPEN_KEPT = 100_000
OPEN_KEPT_MS = 24 * 3_600_000
"""Calls that have not ended are forgotten when there are so many, or the first event of theirs that
concerned somebody is so old."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What of a call's event says whom it concerns.

    site, pool: those that it names, "" none. given, taken: agents who from now on are offered the
    call, have it or help with it, and those who no longer do. over: no agent will do anything for
    the customer any more.
    """

    stream: str
    client_id: str
    version: int = 0
    site: str = ""
    pool: str = ""
    given: str = ""
    taken: str = ""
    over: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a subscriber wants to follow; nothing said: everything."""

    site: str = ""
    clients: frozenset[str] = frozenset()
    pools: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Open:
    offset: int
    at: int
    site: bool
    pool: bool
    version: int = -1


@dataclass(slots=True)
class Following:
    """The calls of one partition that concern a subscriber, as a fold over its events."""

    wanted: Wanted
    _open: dict[str, _Open] = field(default_factory=dict)

    def take(self, heard: Heard, offset: int, at: int) -> bool:
        """Whether the event concerns the subscriber, and was not given since the call was named.

        at: milliseconds, of the record.
        """
        wanted = self.wanted
        if wanted.clients and heard.client_id not in wanted.clients:
            return False
        if not wanted.site and not wanted.pools:
            return True
        found = self._open.get(heard.stream)
        site, pool = heard.site == wanted.site, heard.pool in wanted.pools
        if found is None:
            if not ((wanted.site and site) or pool):
                return False
            found = self._open[heard.stream] = _Open(offset, at, not wanted.site, not wanted.pools)
            self._forget(at)
        if heard.version <= found.version:
            return False  # published again by a worker that took over
        found.version = heard.version
        found.site |= site
        found.pool |= pool
        if heard.over:
            self._open.pop(heard.stream, None)
        return found.site and found.pool

    def since(self) -> int | None:
        """The first event that has to be heard again to know the same."""
        return next(iter(self._open.values())).offset if self._open else None

    def _forget(self, at: int) -> None:
        while True:
            oldest = next(iter(self._open))
            if len(self._open) <= OPEN_KEPT and self._open[oldest].at >= at - OPEN_KEPT_MS:
                return
            del self._open[oldest]


class Holders:
    """Which of the agents who are here are concerned by which call."""

    def __init__(self) -> None:
        self._here: dict[str, set[str]] = {}
        """By agent: the streams of calls."""
        self._holders: dict[str, set[str]] = {}
        """By stream: the agents."""

    def come(self, agent_id: str) -> None:
        self._here.setdefault(agent_id, set())

    def go(self, agent_id: str) -> None:
        for stream in self._here.pop(agent_id, ()):
            self._drop(stream, agent_id)

    def give(self, stream: str, agent_id: str) -> None:
        """What is known from elsewhere, for an agent who is here."""
        if agent_id in self._here:
            self._here[agent_id].add(stream)
            self._holders.setdefault(stream, set()).add(agent_id)

    def take(self, heard: Heard) -> list[str]:
        """Those concerned by this event, who are here."""
        if heard.given:
            self.give(heard.stream, heard.given)
        holders = self._holders.get(heard.stream)
        if holders is None:
            return []
        concerned = sorted(holders)
        for agent_id in concerned if heard.over else (heard.taken,):
            if agent_id in holders:
                self._here[agent_id].discard(heard.stream)
                self._drop(heard.stream, agent_id)
        return concerned

    def _drop(self, stream: str, agent_id: str) -> None:
        holders = self._holders[stream]
        holders.discard(agent_id)
        if not holders:
            del self._holders[stream]
