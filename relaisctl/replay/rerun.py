"""Recorded calls once more, with routing of our own. Pure: who calls when, and how patient.

What the file cannot know is the patience of customers who were answered: they would have waited
for longer than they did. It is drawn from the exponential distribution that fits the file best,
given that wait (all time waited, divided by the number of those who gave up).
"""

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from math import ceil, sqrt
from random import Random

from relaisctl.replay.anonymous_bank import Call, Outcome
from relaisctl.replay.history import Recorded
from relaisctl.replay.live import SECOND, ScriptedAgent, ScriptedCall, Skills

LEVEL = 3
HALF_HOUR = 1800 * SECOND
SPARE = 1.0
"""Agents beyond the load of the busiest half hour, in square roots of that load."""


def busy_day(calls: Sequence[Recorded]) -> tuple[datetime, datetime]:
    """The first day with at least as many calls as the average one, as a window of local time."""
    days = Counter(recorded.call.day for recorded in calls)
    average = sum(days.values()) / max(1, len(days))
    day = min((day for day, count in days.items() if count >= average), default=date(1970, 1, 1))
    begins = datetime(day.year, day.month, day.day)
    return begins, begins + timedelta(days=1)


def within(calls: Sequence[Recorded], begins: datetime, ends: datetime) -> list[Recorded]:
    """The calls that arrived in a window of local time, the end excluded. Phantoms were none."""
    return [
        recorded
        for recorded in calls
        if begins <= _arrived(recorded.call) < ends and recorded.call.outcome is not Outcome.PHANTOM
    ]


def _arrived(call: Call) -> datetime:
    return datetime(call.day.year, call.day.month, call.day.day) + timedelta(seconds=call.arrived)


def script(calls: Sequence[Recorded], client_id: str, run: str, seed: int) -> list[ScriptedCall]:
    """The customers; the first calls when the play begins. `run` makes the ids new ones."""
    gave_up = sum(recorded.call.outcome is Outcome.ABANDONED for recorded in calls)
    mean = sum(recorded.call.waited_us for recorded in calls) / max(1, gave_up)
    chance = Random(seed)
    scripted: list[ScriptedCall] = []
    for recorded in calls:
        call = recorded.call
        menu = max(0, (call.vru_exit or call.arrived) - call.arrived) * SECOND
        patience = call.waited_us
        if call.outcome is Outcome.ANSWERED:
            patience += int(chance.expovariate(1 / mean)) if mean else HALF_HOUR
        scripted.append(
            ScriptedCall(
                client_id=client_id,
                call_id=f"{run}-{recorded.call_id}",
                line=call.trunk,
                customer_id=call.customer,
                after=recorded.arrived_at - calls[0].arrived_at,
                menu=menu,
                queue_id="" if call.outcome is Outcome.LEFT_BEFORE_QUEUE else call.queue,
                priority=call.priority,
                required_skills=((call.queue, 1),),
                patience=patience,
                service=call.talked_us,
            )
        )
    return scripted


def agents_needed(calls: Sequence[ScriptedCall], after_call: int) -> int:
    """Enough for the busiest half hour: its load in agents, and some more for chance."""
    work = Counter[int]()
    for call in calls:
        work[call.after // HALF_HOUR] += call.service + after_call
    load = max(work.values(), default=0) / HALF_HOUR
    return max(1, ceil(load + SPARE * sqrt(load)))


def roster(calls: Sequence[ScriptedCall], agents: int, run: str) -> list[ScriptedAgent]:
    """So many agents, who share the work of these calls."""
    work = Counter[str]()
    for call in calls:
        if call.queue_id:
            work[call.queue_id] += call.service + SECOND
    return [
        ScriptedAgent(f"agent-{number:02}.{run}", skills)
        for number, skills in enumerate(shared_skills(work, agents), 1)
    ]


def shared_skills(work: Counter[str], agents: int) -> list[Skills]:
    """Who of so many agents serves which queues. Skills are the queues.

    All know the queue with the most work; of the others, twice its share do. Each queue has
    somebody, however rare its calls are.
    """
    total = sum(work.values())
    skills: list[list[tuple[str, int]]] = [[] for _ in range(agents)]
    first = 0
    for rank, (queue, amount) in enumerate(work.most_common()):
        holders = agents if rank == 0 else min(agents, max(2, ceil(2 * agents * amount / total)))
        for place in range(first, first + holders):
            skills[place % agents].append((queue, LEVEL))
        first += holders
    return [tuple(sorted(own)) for own in skills]
