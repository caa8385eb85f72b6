"""What the topics say of a centre's calls, and whether it can be true."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from typing import Any

from google.protobuf.message import DecodeError
from relais.agents.v1.events_pb2 import AgentEvent
from relais.calls.v1.events_pb2 import CallEvent
from relais.routing.v1.commands_pb2 import RoutingCommand

from eventkit.topictable import read_partition
from relaisctl.stack import load_topics

OUTCOMES = {"ended": "answered", "abandoned": "abandoned", "overflowed": "overflowed"}
_LEAVES = {*OUTCOMES, "transferred", "requeued", "callback_failed"}
_KINDS: dict[str, Any] = {"call-events": CallEvent, "agent-events": AgentEvent}
_PARTITIONS = {topic.name: topic.partitions for topic in load_topics()}


def decoded(kind: Any, value: bytes | None) -> Any:
    """None: no such message. Other tests leave rubbish on the topics that all of them share."""
    try:
        return kind.FromString(value or b"")
    except DecodeError:
        return None


@dataclass(frozen=True, slots=True)
class Fact:
    """An event, when it came first. written_at: milliseconds, by the clock of who published it."""

    body: str
    agent_id: str
    offer_id: str
    call: str
    pool_id: str
    occurred_at: int
    written_at: int


@dataclass
class Ledger:
    """Each event of these clients' calls and these pools' agents once, by stream, in order."""

    clients: set[str]
    pools: set[str]
    calls: dict[str, list[Fact]] = field(default_factory=lambda: defaultdict(list))
    agents: dict[str, list[Fact]] = field(default_factory=lambda: defaultdict(list))
    repeats: int = 0
    letters: list[tuple[RoutingCommand, str]] = field(default_factory=list)
    """Commands among the dead letters, and why."""
    _digests: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))

    async def read(self, kafka: str) -> None:
        """All topics to their end. Raises AssertionError where a stream has a hole, or an event two
        forms."""
        for topic, kind in _KINDS.items():
            for number in range(_PARTITIONS[topic]):
                async for chunk in read_partition(kafka, topic, number):
                    for record in chunk:
                        event = decoded(kind, record.value)
                        if event is not None:
                            self._take(event, record)
        async for chunk in read_partition(kafka, "routing-commands-dlq", 0):
            for record in chunk:
                command = decoded(RoutingCommand, record.value)
                if command is not None and command.pool_id in self.pools:
                    why = dict(record.headers)
                    reason = f"{why['dlq.error'].decode()}: {why['dlq.reason'].decode()}"
                    self.letters.append((command, reason))

    def _take(self, event: Any, record: Any) -> None:
        is_call = isinstance(event, CallEvent)
        if not (event.meta.client_id in self.clients if is_call else event.pool_id in self.pools):
            return
        stream, version = event.meta.stream_id, event.meta.version
        assert record.key == stream.encode()
        digest = blake2b(record.value, digest_size=16).digest()
        seen = self._digests[stream]
        if version <= len(seen):
            assert seen[version - 1] == digest, f"{stream}: version {version} has two forms"
            self.repeats += 1
            return
        assert version == len(seen) + 1, f"{stream}: a hole before version {version}"
        seen.append(digest)
        name = str(event.WhichOneof("body"))
        body = getattr(event, name)
        fact = Fact(
            name,
            getattr(body, "agent_id", "") if is_call else event.agent_id,
            getattr(body, "offer_id", ""),
            stream if is_call else getattr(body, "call", ""),
            "" if is_call else event.pool_id,
            event.meta.occurred_at.ToMicroseconds(),
            record.timestamp,
        )
        (self.calls if is_call else self.agents)[stream].append(fact)

    def story(self, stream: str) -> str:
        facts = self.calls[stream] or self.agents[stream]
        return f"{stream}: " + ", ".join(
            f"{fact.body} {fact.agent_id} {fact.offer_id}".strip() for fact in facts
        )

    # What must hold.

    def outcomes(self, acknowledged: set[str]) -> Counter[str]:
        """How these calls ended: each in one way, which fits its story."""
        found: Counter[str] = Counter()
        for stream in acknowledged:
            bodies = [fact.body for fact in self.calls[stream]]
            ends = [body for body in bodies if body in OUTCOMES]
            assert len(ends) == 1, f"{len(ends)} ends of {self.story(stream)}"
            assert ("connected" in bodies) == (ends == ["ended"]), self.story(stream)
            found[OUTCOMES[ends[0]]] += 1
        return found

    def check_calls(self) -> dict[str, tuple[str, str]]:
        """A call is offered to one agent at a time, and is one agent's at a time. Returns whom each
        offer was made, and of which call."""
        offers: dict[str, tuple[str, str]] = {}
        for stream, facts in self.calls.items():
            offered: tuple[str, str] | None = None
            has = ""
            story = self.story(stream)
            for fact in facts:
                match fact.body:
                    case "offered":
                        assert offered is None, f"offered to two: {story}"
                        assert not has, f"offered while {has} has it: {story}"
                        assert fact.offer_id not in offers, f"{fact.offer_id} is two offers"
                        offered = (fact.agent_id, fact.offer_id)
                        offers[fact.offer_id] = (fact.agent_id, stream)
                    case "offer_expired" | "offer_declined" | "offer_withdrawn":
                        assert (fact.agent_id, fact.offer_id) == offered, story
                        offered = None
                    case "assigned":
                        assert (fact.agent_id, fact.offer_id) == offered, story
                        offered, has = None, fact.agent_id
                    case "connected":
                        assert fact.agent_id == has, story
                    case "transferred" | "requeued" | "callback_failed":
                        assert fact.agent_id == has, story
                        has = ""
                    case "ended" | "abandoned" | "overflowed":
                        offered, has = None, ""
            assert offered is None, f"still offered: {story}"
            assert not has, f"{has} still has it: {story}"
        return offers

    def check_agents(self, offers: dict[str, tuple[str, str]]) -> None:
        """An agent has one offer or one call at a time, and the same ones as the calls say."""
        reserved: dict[str, tuple[str, str]] = {}
        for stream, facts in self.agents.items():
            offered = has = ""
            for fact in facts:
                match fact.body:
                    case "reserved":
                        assert not offered, f"{stream} has two offers: {offered}, {fact.call}"
                        assert not has, f"{stream} has {has}, and is offered {fact.call}"
                        offered = fact.call
                        reserved[fact.offer_id] = (fact.agent_id, fact.call)
                    case "became_busy":
                        assert not has, f"{stream} has two calls: {has}, {fact.call}"
                        assert offered == fact.call, (
                            f"{stream} has taken {fact.call}, not {offered}"
                        )
                        offered, has = "", fact.call
                    case _:
                        offered = has = ""
        assert reserved == offers
        self._check_times()

    def _check_times(self) -> None:
        """Nor do the calls' own times overlap."""
        held: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        for facts in self.calls.values():
            begun: Fact | None = None
            for fact in facts:
                if fact.body == "assigned":
                    begun = fact
                elif begun is not None and fact.body in (
                    *OUTCOMES,
                    "transferred",
                    "callback_failed",
                ):
                    held[begun.agent_id].append((begun.occurred_at, fact.occurred_at))
                    begun = None
        for agent_id, times in held.items():
            times.sort()
            for (_, ended), (began, _) in pairwise(times):
                assert began >= ended, f"{agent_id} talks to two at a time"

    def unexpected_letters(self) -> list[str]:
        """Dead letters that are nobody's coming too late."""
        over = {
            fact.offer_id
            for facts in self.calls.values()
            for fact in facts
            if fact.body in ("offer_expired", "offer_declined", "offer_withdrawn")
        }
        found = []
        for command, reason in self.letters:
            body = str(command.WhichOneof("body"))
            late = {
                # The offer had ended before the agent's click.
                "accept_offer": command.accept_offer.offer_id in over,
                "decline_offer": command.decline_offer.offer_id in over,
                # An agent was found before the customer had agreed to be called.
                "accept_callback": reason.endswith("does not wait"),
            }
            if not (reason.startswith("Rejected") and late.get(body, False)):
                found.append(f"{body} in {command.pool_id}: {reason}")
        return found
