"""What follows at once from what is heard of calls: for routing, for the carrier, for what is
learned. Pure; the store comes later, since somebody is on the line.

What is heard again changes nothing.
"""

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from services.dialer.attempts import attempt as a
from services.dialer.dialling import messages as m
from services.dialer.dialling.turn import AGENTLESS, SECOND, Out
from services.dialer.pacing.learned import Learned
from services.dialer.pacing.scene import Carrier

ERRORS_FOR = 30 * SECOND
"""So long an error of the carrier counts."""
REMEMBERED = 5_000
"""Calls that are over, whose agents may still work after them."""
RATE_FOR = 60 * SECOND
"""Over so long the rate of others' calls is counted."""
_ERRORS = (a.Why.CARRIER_ERROR, a.Why.RELEASED)


@dataclass(frozen=True, slots=True)
class Tell:
    """Put it into a pool's log."""

    pool_id: str
    told: m.Told


@dataclass(frozen=True, slots=True)
class Join:
    """Ask the carrier to connect an agent."""

    key: m.CallKey
    agent_id: str


Act = Tell | Join


class Calls:
    """The calls that are out, by their stream; what was learned, by campaign; and how the carrier
    does. Whoever starts anew fills it from the attempts on record: `put` and `learn`."""

    def __init__(self) -> None:
        self.outs: dict[str, Out] = {}
        self._learned: dict[str, Learned] = {}
        self._decided: deque[tuple[int, bool]] = deque()
        self._over_of: dict[str, str] = {}
        self._others: defaultdict[str, deque[int]] = defaultdict(deque)

    def put(self, out: Out) -> None:
        self.outs[out.key.stream_id] = out

    def drop(self, key: m.CallKey) -> None:
        """It was never dialled."""
        self.outs.pop(key.stream_id, None)

    def learned(self, campaign: str) -> Learned:
        found = self._learned.get(campaign)
        if found is None:
            found = self._learned[campaign] = Learned()
        return found

    def carrier(self, now: int, lines: int) -> Carrier:
        """lines: how many more it takes."""
        while self._decided and self._decided[0][0] < now - ERRORS_FOR:
            self._decided.popleft()
        errors = sum(is_error for _, is_error in self._decided)
        return Carrier(lines, len(self._decided), errors)

    def of_pool(self, pool_id: str) -> dict[str, Out]:
        return {stream: out for stream, out in self.outs.items() if out.pool_id == pool_id}

    # What the carrier says.

    def hear(self, result: m.CallResult) -> Iterator[Act]:
        out = self.outs.get(result.key.stream_id)
        heard = result.heard
        if out is None or heard is None:
            return
        match heard:
            case a.Answered():
                self._answered(out, heard)
            case a.GreetingEnded(at):
                yield from self._greeted(out, at)
            case a.Connected(at, agent_id):
                if not out.connected_at:
                    out.connected_at, out.talks_to = at, agent_id
                    if out.told:
                        yield _tell(out, at, m.AgentConnected(agent_id))
            case a.MessageStarted(at):
                if out.told and not (out.connected_at or out.nobody):
                    yield _tell(out, at, m.Abandoned())
                out.nobody = True
            case a.Over():
                yield from self._over(out, heard)

    def _answered(self, out: Out, heard: a.Answered) -> None:
        if out.answered_at or out.nobody:
            return
        self._decide(heard.at, is_error=False)
        takes = heard.by.is_person or (out.as_person and heard.by is a.AnsweredBy.MACHINE)
        if takes:
            out.answered_at = heard.at
            self.learned(out.campaign).answered(heard.at, heard.at - out.dialled_at)
        else:
            out.nobody = True
            self.learned(out.campaign).unanswered(heard.at, heard.at - out.dialled_at)

    def _greeted(self, out: Out, at: int) -> Iterator[Act]:
        if out.greeting_ended_at or out.nobody:
            return
        out.greeting_ended_at = at
        if out.answered_at:
            self.learned(out.campaign).greeted(at - out.answered_at)
        if out.mode == AGENTLESS:
            return
        if out.agent_id:
            out.talks_to = out.agent_id
            yield Join(out.key, out.agent_id)
            return
        out.told = True
        yield _tell(out, at, m.Arrived(out.customer_id))
        yield _tell(out, at, m.Queued(out.queue_id, out.priority, out.skills))

    def _over(self, out: Out, over: a.Over) -> Iterator[Act]:
        stream = out.key.stream_id
        del self.outs[stream]
        learned = self.learned(out.campaign)
        if not out.answered_at and not out.nobody:
            is_error = over.why in _ERRORS
            self._decide(over.at, is_error=is_error)
            if not is_error:
                learned.unanswered(over.at, over.at - out.dialled_at)
        if out.connected_at:
            learned.talked(over.at - out.connected_at)
            self._over_of[stream] = out.campaign
            if len(self._over_of) > REMEMBERED:
                del self._over_of[next(iter(self._over_of))]
        if out.told:
            yield _tell(out, over.at, m.Ended() if out.connected_at else m.Abandoned())

    def _decide(self, at: int, *, is_error: bool) -> None:
        self._decided.append((at, is_error))

    # What routing says.

    def news(self, news: m.News) -> Join | None:
        match news:
            case m.Assigned():
                return self._assigned(news)
            case m.QueuedCall(call, pool_id, at):
                if call.stream_id not in self.outs:
                    self._others[pool_id].append(at)
            case m.WrappedUp(call, lasted):
                if campaign := self._over_of.pop(call.stream_id, ""):
                    self.learned(campaign).wrapped_up(lasted)
        return None

    def inbound_rate(self, pool_id: str, now: int) -> float:
        """How many calls of others come to a pool a second."""
        times = self._others[pool_id]
        while times and times[0] < now - RATE_FOR:
            times.popleft()
        return len(times) * SECOND / RATE_FOR

    def _assigned(self, news: m.Assigned) -> Join | None:
        """None: it is none of ours, or over, or the carrier has somebody already."""
        out = self.outs.get(news.attempt.stream_id)
        if out is None or not out.told or out.connected_at or out.nobody:
            return None
        out.talks_to = news.agent_id
        return Join(out.key, news.agent_id)

    def refused(self, join: Join) -> None:
        """The carrier has not connected them."""
        out = self.outs.get(join.key.stream_id)
        if out is not None and not out.connected_at and out.talks_to == join.agent_id:
            out.talks_to = ""

    # What is on record.

    def learn(self, row: Mapping[str, Any]) -> None:
        """From an attempt that has ended: the same as was learned while it was heard."""
        learned = self.learned(f"{row['client_id']}/{row['campaign_id']}")
        by = a.AnsweredBy(row["answered_by"])
        if row["result"] in (a.Result.CARRIER_ERROR, a.Result.NOT_DIALLED):
            return
        answered_at = row["answered_at"]
        if by.is_person and answered_at is not None:
            learned.answered(answered_at, answered_at - row["started_at"])
            if row["greeting_ended_at"] is not None:
                learned.greeted(row["greeting_ended_at"] - answered_at)
        else:
            at = row["ended_at"] if answered_at is None else answered_at
            learned.unanswered(at, at - row["started_at"])
        if row["talked"] is not None:
            learned.talked(row["talked"])


def _tell(out: Out, at: int, what: Any) -> Tell:
    return Tell(out.pool_id, m.Told(out.key, at, what))
