"""What supervisors do: set, and see what has come of it; look at a pool.

A change is a command in the pool's log like everything else. Whoever makes it is answered with what
the log has decided about it, which the view finds out by the same engine as the worker.
"""

from dataclasses import fields

from opentelemetry.context import Context

from eventkit.clock import Clock
from eventkit.errors import NotFound, Rejected
from services.routing import commands as c
from services.routing.configuration import check_id
from services.routing.pool import Pool
from services.routing.queues import QueueState
from services.routing.service import Reports
from services.routing.supervisors.live import time_of
from services.routing.view import Pools


class Supervision:
    """All raise Unavailable, and commands.Invalid for what is no id."""

    def __init__(self, reports: Reports, pools: Pools, clock: Clock) -> None:
        self._reports = reports
        self._pools = pools
        self.clock = clock

    async def pool(self, pool_id: str) -> Pool:
        """As of now; to be read at once, since it goes on. Raises NotFound."""
        check_id("pool_id", pool_id)
        await self._pools.refresh(pool_id)
        pool = self._pools.state(pool_id)
        if pool is None:
            raise NotFound("pool")
        return pool

    def now(self, pool: Pool) -> int:
        """By which waits are counted."""
        return time_of(pool, self.clock.now_us())

    async def queue(self, pool_id: str, client_id: str, queue_id: str) -> QueueState:
        """Raises NotFound: neither configured, nor has it ever had a call."""
        found = (await self.pool(pool_id)).queues.get(f"{client_id}/{queue_id}")
        if found is None:
            raise NotFound("queue")
        return found

    async def configure(
        self,
        pool_id: str,
        body: c.Configuration,
        *,
        client_id: str = c.CENTRE,
        actor: str = "",
        context: Context | None = None,
    ) -> Pool:
        """Put the change into the log; the pool, in which it holds.

        Raises Rejected: the version that it was made for is not there any more, the engine refuses
        it, or somebody else's is there since.
        """
        check_id("pool_id", pool_id)
        # Before, so that what becomes of our record is folded here and not hidden in a snapshot.
        await self._pools.refresh(pool_id)
        posted = await self._reports.post(
            pool_id, body, client_id=client_id, actor=actor, context=context
        )
        await self._reports.acknowledged(posted)
        offset = int(posted.acknowledged.result().offset)
        refusal = await self._pools.refusal(pool_id, offset)
        if refusal is not None:
            raise refusal
        pool = self._pools.state(pool_id)
        if pool is None or not _holds(pool, client_id, body):
            raise Rejected("somebody else has changed it since: look at it again")
        return pool


def _holds(pool: Pool, client_id: str, body: c.Configuration) -> bool:
    match body:
        case c.ConfigurePool():
            said = {each.name: getattr(body, each.name) for each in fields(body)}
            del said["expected_version"]
            return all(
                getattr(pool.settings, name) == value for name, value in said.items() if value
            )
        case c.ConfigureQueue(queue=queue):
            state = pool.queues.get(f"{client_id}/{queue.queue_id}")
            return state is not None and state.config == queue
        case c.ConfigureClient(rules=rules):
            return pool.clients.get(client_id) == rules
        case c.RemoveQueue(queue_id=queue_id):
            state = pool.queues.get(f"{client_id}/{queue_id}")
            return state is None or state.config == type(state.config)(queue_id)
