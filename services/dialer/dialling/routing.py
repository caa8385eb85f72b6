"""Routing, as the worker sees it: who is there, and what it is told of calls."""

from collections.abc import Sequence

import grpc
from aiokafka.errors import KafkaError

from eventkit.clock import Clock
from eventkit.errors import Unavailable
from eventkit.producer import Producer
from services.dialer.dialling import codec
from services.dialer.dialling.messages import Need, PoolNow, Told

EMPTY = PoolNow(0, (), ())


class Routing:
    """producer: of routing-commands, linger_ms=0: somebody is on the line. timeout_s: of a look at
    a pool."""

    def __init__(
        self, channel: grpc.aio.Channel, producer: Producer, clock: Clock, timeout_s: float = 1.0
    ) -> None:
        self._pool = channel.unary_unary(*codec.GET_POOL.parts())
        self._list = channel.unary_unary(*codec.LIST_AGENTS.parts())
        self._producer = producer
        self._clock = clock
        self._timeout_s = timeout_s

    async def look(self, pool_id: str) -> PoolNow:
        """Who is there now; nobody in a pool that routing does not know. Raises Unavailable."""
        try:
            request = codec.LIST_AGENTS.request(pool_id=pool_id)
            return codec.pool_now(await self._list(request, timeout=self._timeout_s))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return EMPTY
            raise Unavailable(f"routing: {error.code().name}") from error

    async def needs(self, pool_id: str) -> dict[str, Need]:
        """What the pool's queues ask of agents, by `<client>/<queue>`. Raises Unavailable."""
        try:
            request = codec.GET_POOL.request(pool_id=pool_id)
            return codec.needs(await self._pool(request, timeout=self._timeout_s))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return {}
            raise Unavailable(f"routing: {error.code().name}") from error

    async def tell(self, told: Sequence[tuple[str, Told]]) -> None:
        """Put reports about calls into the logs of their pools, in order. Repeats are harmless.
        Returns when Kafka has them; raises Unavailable."""
        now = self._clock.now_us()
        try:
            await self._producer.send_many([codec.command(pool, each, now) for pool, each in told])
        except KafkaError as error:
            raise Unavailable(f"Kafka: {error!r}") from error
