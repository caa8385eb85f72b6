"""What topics, the dialer's database and the carrier's journal say of a run, and what must hold.

The rules of places are written down again here, in a few lines, so that the rulebook is not checked
against itself.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
from relais.attempts.v1 import events_pb2 as a
from relais.attempts.v1.events_pb2 import AttemptEvent
from relais.campaigns.v1.events_pb2 import CampaignEvent

from eventkit.topictable import read_partition
from relaisctl.stack import load_topics
from tests.integration.routing_ledger import decoded

SECOND = 1_000_000
DIAL_WITHIN = 2 * SECOND
PARTITIONS = {topic.name: topic.partitions for topic in load_topics()}
TOPICS: dict[str, Any] = {"attempt-events": AttemptEvent, "campaign-events": CampaignEvent}
AGENTLESS = "message"
LIVE = (a.RESULT_CONNECTED, a.RESULT_ABANDONED, a.RESULT_HUNG_UP)
DEBT_ATTEMPTS = 7
"""12 CFR 1006.14: in seven days, of one debt; and none in seven days after a conversation."""


@dataclass(frozen=True, slots=True)
class Number:
    """opens, closes: hours of the wall there within which it may be called."""

    number: str
    zone: str
    opens: int = 8
    closes: int = 21

    def may_ring(self, at: int) -> bool:
        local = datetime.fromtimestamp(at / SECOND, ZoneInfo(self.zone))
        return self.opens <= local.hour < self.closes


@dataclass(frozen=True, slots=True)
class Call:
    """A call that the carrier has dialled. results: as it has them, oldest first."""

    dialled_at: int
    over_at: int
    results: tuple[str, ...]
    cause: str


@dataclass
class Attempt:
    client_id: str
    attempt_id: str
    events: list[AttemptEvent] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str]:
        return self.client_id, self.attempt_id

    @property
    def lead(self) -> tuple[str, str]:
        return self.client_id, self.events[0].origin.lead_id

    @property
    def campaign(self) -> tuple[str, str]:
        return self.client_id, self.events[0].origin.campaign_id

    @property
    def started_at(self) -> int:
        return self.events[0].origin.started_at.ToMicroseconds()

    @property
    def end(self) -> AttemptEvent:
        return next(each for each in self.events if each.HasField("ended"))

    @property
    def result(self) -> int:
        return self.end.ended.result

    @property
    def ended_at(self) -> int:
        return self.end.meta.occurred_at.ToMicroseconds()

    @property
    def story(self) -> str:
        kinds = [str(each.WhichOneof("body")) for each in self.events]
        return f"{self.client_id}/{self.attempt_id}: {', '.join(kinds)}"


@dataclass
class Ledger:
    """clients: whose events are read. repeats: events that were published again."""

    clients: frozenset[str]
    repeats: int = 0
    published: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """By topic: values by event_id."""
    attempts: dict[tuple[str, str], Attempt] = field(default_factory=dict)
    leads: dict[tuple[str, str], list[CampaignEvent]] = field(default_factory=dict)
    calls: dict[tuple[str, str], Call] = field(default_factory=dict)

    # Reading.

    async def read(self, kafka: str, journal: Path) -> None:
        streams: dict[str, dict[int, Any]] = defaultdict(dict)
        for topic, kind in TOPICS.items():
            values = self.published[topic] = {}
            for partition in range(PARTITIONS[topic]):
                async for chunk in read_partition(kafka, topic, partition):
                    for record in chunk:
                        event = decoded(kind, record.value)
                        if event is not None and event.meta.client_id in self.clients:
                            self._take(values, streams, event, record.value or b"")
        for stream, events in streams.items():
            versions = list(events)
            assert versions == list(range(1, len(versions) + 1)), f"{stream}: {versions}"
            self._file(list(events.values()))
        self._read_journal(journal)

    def _take(
        self, values: dict[str, bytes], streams: dict[str, dict[int, Any]], event: Any, value: bytes
    ) -> None:
        meta = event.meta
        if meta.event_id in values:
            assert values[meta.event_id] == value, f"{meta.event_id} is two events"
            self.repeats += 1
            return
        values[meta.event_id] = value
        streams[meta.stream_id][meta.version] = event

    def _file(self, events: list[Any]) -> None:
        first = events[0]
        if isinstance(first, AttemptEvent):
            attempt = Attempt(first.meta.client_id, first.attempt_id, events)
            self.attempts[attempt.key] = attempt
        elif first.HasField("lead"):
            self.leads[first.meta.client_id, first.lead.lead_id] = events

    def _read_journal(self, journal: Path) -> None:
        with closing(sqlite3.connect(journal)) as database:
            results: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
            for client_id, call_id, what, detail in database.execute(
                "SELECT client_id, call_id, what, detail FROM results ORDER BY position"
            ):
                results[client_id, call_id].append((what, detail))
            for client_id, call_id, dialled_at, over_at in database.execute(
                "SELECT client_id, call_id, dialled_at, over_at FROM calls"
                " WHERE dialled_at IS NOT NULL"
            ):
                key = client_id, call_id
                if client_id in self.clients:
                    whats = tuple(what for what, _ in results[key])
                    detail = results[key][-1][1] if whats else ""
                    self.calls[key] = Call(dialled_at, over_at, whats, detail)

    # What must hold.

    def check_carrier(self) -> None:
        """Every call is an attempt's, was dialled once and in time, and is over once."""
        for key, call in self.calls.items():
            story = f"{key}: {call}"
            assert key in self.attempts, f"no attempt has it: {story}"
            assert call.results.count("over") == 1, story
            assert call.results[-1] == "over", story
            assert len(set(call.results)) == len(call.results), story
            started_at = self.attempts[key].started_at
            assert started_at <= call.dialled_at <= started_at + DIAL_WITHIN, story

    def check_attempts(self) -> Counter[str]:
        """Each has one end, which is what the carrier says of it. How many came to what."""
        found: Counter[str] = Counter()
        for attempt in self.attempts.values():
            kinds = [str(each.WhichOneof("body")) for each in attempt.events]
            assert kinds[0] == "started", attempt.story
            assert kinds.count("started") == kinds.count("ended") == 1, attempt.story
            assert len(set(kinds)) == len(kinds), attempt.story
            assert attempt.events[0].started.allowed_by, attempt.story
            call = self.calls.get(attempt.key)
            story = f"{attempt.story}; {call}"
            result = attempt.result
            assert (call is None) == (result == a.RESULT_NOT_DIALLED), story
            if call is not None:
                connected = "connected" in call.results
                assert connected == (result == a.RESULT_CONNECTED), story
                assert connected == ("connected" in kinds), story
                late = "greeting_ended" in kinds and "message-started" in call.results
                with_agents = attempt.end.ended.mode != AGENTLESS
                if with_agents and late:
                    assert result == a.RESULT_ABANDONED, story
            found[a.Result.Name(result)[7:].lower()] += 1
        return found

    def check_leads(self, ids: Iterable[tuple[str, str]]) -> Counter[str]:
        """One attempt at a time, and something follows from each. How leads stand now."""
        stands: Counter[str] = Counter()
        of_lead: dict[tuple[str, str], list[Attempt]] = defaultdict(list)
        for attempt in self.attempts.values():
            of_lead[attempt.lead].append(attempt)
        for key in ids:
            events = self.leads[key]
            story = f"{key}: {[str(each.WhichOneof('body')) for each in events]}"
            dialled: list[str] = []
            under_way = ""
            for event in events:
                body = str(event.WhichOneof("body"))
                if body == "lead_dialled":
                    assert not under_way, f"two attempts at once: {story}"
                    under_way = event.lead_dialled.attempt_id
                    dialled.append(under_way)
                elif body in ("lead_scheduled", "lead_closed"):
                    attempt_id = getattr(event, body).attempt_id
                    if under_way and attempt_id == under_way:
                        under_way = ""
            assert not under_way, f"nothing has followed from {under_way}: {story}"
            attempts = sorted(of_lead[key], key=lambda each: each.started_at)
            assert [each.attempt_id for each in attempts] == dialled, story
            assert [each.events[0].origin.number_of_attempt for each in attempts] == list(
                range(1, len(attempts) + 1)
            ), story
            for before, after in pairwise(attempts):
                assert before.ended_at <= after.started_at, f"{before.story}; {after.story}"
            last = str(events[-1].WhichOneof("body"))
            stands[last] += 1
        assert set(of_lead) <= set(ids)
        return stands

    def check_rules(
        self,
        numbers: Mapping[tuple[str, str], Number],
        forbidden: Mapping[tuple[str, str], int],
        debts: Mapping[tuple[str, str], str],
    ) -> None:
        """numbers: of leads. forbidden: when crm had accepted that a client's number is not called
        any more. debts: what campaigns that collect one are about."""
        rang: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
        of_debt: dict[tuple[str, str, str], list[Attempt]] = defaultdict(list)
        for attempt in self.attempts.values():
            number = numbers[attempt.lead]
            call = self.calls.get(attempt.key)
            assert number.may_ring(attempt.started_at), f"{attempt.story}: {number}"
            since = forbidden.get((attempt.client_id, number.number))
            assert since is None or attempt.started_at <= since, (
                f"{attempt.story} was decided {(attempt.started_at - since) / SECOND:.3f} s"
                " after crm had accepted that it is not called any more"
            )
            if call is None:
                continue
            assert number.may_ring(call.dialled_at), f"{attempt.story}: {number}"
            rang[number.number].append((call.dialled_at, call.over_at, attempt.story))
            if attempt.campaign in debts:
                subject = debts[attempt.campaign]
                of_debt[attempt.client_id, subject, number.number].append(attempt)
        for calls in rang.values():
            for (_, over_at, one), (dialled_at, _, other) in pairwise(sorted(calls)):
                assert over_at <= dialled_at, f"called twice at once: {one}; {other}"
        for attempts in of_debt.values():
            attempts.sort(key=lambda each: each.started_at)
            stories = "; ".join(each.story for each in attempts)
            assert len(attempts) <= DEBT_ATTEMPTS, stories
            talked = [each for each in attempts if each.result == a.RESULT_CONNECTED]
            assert len(talked) <= 1, stories
            assert not talked or attempts[-1] is talked[0], stories

    async def check_store(self, database: str) -> int:
        """What is on the topics is in the store, and the other way round. How many events."""
        connection = await asyncpg.connect(database)
        try:
            for topic, values in self.published.items():
                rows = await connection.fetch(
                    "SELECT event_id::text, message FROM events"
                    " WHERE topic = $1 AND client_id = ANY ($2)",
                    topic,
                    list(self.clients),
                )
                stored = {row["event_id"]: bytes(row["message"]) for row in rows}
                assert stored.keys() == values.keys(), topic
                assert stored == values, topic
            await self._check_measure(connection)
        finally:
            await connection.close()
        return sum(map(len, self.published.values()))

    async def _check_measure(self, connection: Any) -> None:
        """The counters of the legal measure are what the events come to."""
        counted: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for attempt in self.attempts.values():
            ended = attempt.end.ended
            person = ended.answered_by in (a.ANSWERED_BY_HUMAN, a.ANSWERED_BY_UNKNOWN)
            if ended.mode != AGENTLESS and person and ended.result in LIVE:
                counted[attempt.campaign]["live"] += 1
                counted[attempt.campaign]["connected"] += ended.result == a.RESULT_CONNECTED
                counted[attempt.campaign]["dropped"] += ended.result == a.RESULT_ABANDONED
        rows = await connection.fetch(
            "SELECT client_id, campaign_id, waits, connected, dropped FROM measures"
            " WHERE client_id = ANY ($1)",
            list(self.clients),
        )
        kept: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for row in rows:
            kept[row["client_id"], row["campaign_id"]].update(
                live=sum(row["waits"]), connected=row["connected"], dropped=row["dropped"]
            )
        assert {key: dict(+of) for key, of in kept.items()} == {
            key: dict(+of) for key, of in counted.items()
        }

    def totals(self, campaign: tuple[str, str]) -> tuple[int, dict[str, int]]:
        """Attempts of a campaign that were dialled, and what all of them came to, in the edges'
        words."""
        mine = [each for each in self.attempts.values() if each.campaign == campaign]
        results = Counter(a.Result.Name(each.result)[7:].lower().replace("_", "-") for each in mine)
        return len(mine) - results["not-dialled"], dict(results)


def now_us() -> int:
    return round(datetime.now(UTC).timestamp() * SECOND)
