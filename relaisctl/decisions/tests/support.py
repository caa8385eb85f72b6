"""What the engine decides, as it is published; and a log of a pool, without Kafka."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from eventkit.errors import BadRecord
from eventkit.records import Headers, Message, Record
from relaisctl.decisions import codec
from relaisctl.decisions.codec import Event
from services.routing import commands as c
from services.routing import events as e
from services.routing.codec import ROUTING, encode_command, encode_event
from services.routing.stream import Fold, messages
from services.routing.tests.play import Play


@dataclass(frozen=True)
class Wire:
    """One event as it stands in its topic."""

    stream_id: str
    value: bytes


class Published(Play):
    """A play that publishes."""

    def __init__(self, pool_id: str = "p") -> None:
        super().__init__(pool_id)
        self.calls: list[Wire] = []
        self.agents: list[Wire] = []
        self.pools: list[Wire] = []
        self.sent: list[e.Sent] = []

    def apply(self, command: c.Command) -> list[Any]:
        by_itself = isinstance(command.body, c.TimerCommand)
        command = replace(command, actor=ROUTING if by_itself else "desk-1")
        before = len(self.all)
        bodies = super().apply(command)
        for event in self.all[before:]:
            match event:
                case e.Sent():
                    self.sent.append(event)
                case e.CallEvent():
                    self.calls.append(Wire(event.stream_id, encode_event(command, event)))
                case e.AgentEvent():
                    self.agents.append(Wire(event.stream_id, encode_event(command, event)))
                case e.PoolEvent():
                    self.pools.append(Wire(event.stream_id, encode_event(command, event)))
        return bodies

    def events_of(self, stream: str) -> list[Event]:
        return [codec.call_event(each.value) for each in self.calls if each.stream_id == stream]

    def around(self) -> list[Event]:
        return [codec.agent_event(each.value) for each in self.agents] + [
            codec.pool_event(each.value) for each in self.pools
        ]


class Written(NamedTuple):
    """A record."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Log(Play):
    """A play that writes its commands down, and what a worker publishes for them."""

    def __init__(self, pool_id: str = "p") -> None:
        super().__init__(pool_id)
        self.commands: list[Record] = []
        self.published: list[Record] = []
        self._worker = Fold()
        self._state: Any = None

    def apply(self, command: c.Command) -> list[Any]:
        bodies = super().apply(command)
        self.write(encode_command(command), command.occurred_at)
        return bodies

    def write(self, value: bytes, at: int) -> Record:
        """A command into the log; the worker decides it."""
        key = self.pool.pool_id.encode()
        record = Written("routing-commands", 0, len(self.commands), at // 1000, key, value)
        self.commands.append(record)
        try:
            _, told = self._worker.decode(record)
            self._state, decisions = self._worker.apply(self._state, told)
        except BadRecord:
            return record
        for decision in decisions:
            for message in messages(decision):
                self.publish(message, record.timestamp)
        return record

    def publish(self, message: Message, at_ms: int) -> None:
        offset = len(self.published)
        self.published.append(Written(message.topic, 0, offset, at_ms, message.key, message.value))
