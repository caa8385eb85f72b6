"""What the engine decides, as it is published."""

from dataclasses import dataclass, replace
from typing import Any

from relaisctl.decisions import codec
from relaisctl.decisions.codec import Event
from services.routing import commands as c
from services.routing import events as e
from services.routing.codec import ROUTING, encode_event
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
