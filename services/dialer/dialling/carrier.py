"""The carrier, as the worker sees it: dials, joins, and says what becomes of calls."""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

import grpc

from eventkit.errors import Unavailable
from services.dialer.dialling import codec, metrics
from services.dialer.dialling.messages import CallKey, CallResult, Dial, Dialled, Known

log = logging.getLogger(__name__)

SUBSCRIBER = "relais-dialer"
WINDOW = 20_000
FIRST_PAUSE_S, MAX_PAUSE_S = 0.05, 2.0

T = TypeVar("T")


class Carrier:
    """A client of Telephony. timeout_s: of one request; each may be sent again."""

    def __init__(
        self, channel: grpc.aio.Channel, subscriber: str = SUBSCRIBER, timeout_s: float = 1.0
    ) -> None:
        self._dial = channel.unary_unary(*codec.DIAL.parts())
        self._connect = channel.unary_unary(*codec.CONNECT.parts())
        self._get = channel.unary_unary(*codec.GET_CALLS.parts())
        self._follow = channel.stream_stream(*codec.FOLLOW.parts())
        self._subscriber = subscriber
        self._timeout_s = timeout_s
        self._acknowledged = 0
        self._news = asyncio.Event()

    async def dial(self, calls: Sequence[Dial]) -> list[Dialled]:
        """In the order of the calls. Raises Unavailable: some may have been dialled."""
        return codec.dialled(await self._ask(self._dial, codec.dial_request(calls)))

    async def connect(self, key: CallKey, agent_id: str) -> bool:
        """False: it is over, or another agent has it. Raises Unavailable."""
        answer = await self._ask(self._connect, codec.connect_request(key, agent_id))
        return bool(answer.connected)

    async def look(self, keys: Sequence[CallKey]) -> list[Known]:
        """What the carrier knows of calls, in their order; what it does not know it will never
        dial. Raises Unavailable."""
        return codec.known(await self._ask(self._get, codec.get_calls_request(keys)))

    def acknowledge(self, position: int) -> None:
        """Everything up to this position is dealt with."""
        if position > self._acknowledged:
            self._acknowledged = position
            self._news.set()

    async def follow(self) -> AsyncGenerator[list[CallResult], None]:
        """What becomes of calls, for ever; what was not acknowledged comes again after a break."""
        pause = FIRST_PAUSE_S
        while True:
            try:
                async with aclosing(self._one_stream()) as stream:
                    async for results in stream:
                        pause = FIRST_PAUSE_S
                        yield results
                reason = "the stream has ended"
            except grpc.aio.AioRpcError as error:
                reason = error.code().name
            metrics.CARRIER_LOST.add(1)
            log.warning("the carrier tells nothing, again in %.2f s: %s", pause, reason)
            await asyncio.sleep(pause * (0.5 + random.random() / 2))
            pause = min(2 * pause, MAX_PAUSE_S)

    async def _one_stream(self) -> AsyncGenerator[list[CallResult], None]:
        # A carrier that has lost its memory counts from one again.
        self._acknowledged = 0
        call = self._follow(self._requests(), wait_for_ready=True)
        try:
            async for answer in call:
                yield codec.heard(answer)
        finally:
            call.cancel()

    async def _requests(self) -> AsyncGenerator[Any, None]:
        yield codec.subscribe(self._subscriber, WINDOW)
        told = 0
        while True:
            await self._news.wait()
            self._news.clear()
            if self._acknowledged > told:
                told = self._acknowledged
                yield codec.acknowledge(told)

    async def _ask(self, method: Callable[..., Awaitable[Any]], request: Any) -> Any:
        try:
            return await method(request, timeout=self._timeout_s)
        except grpc.aio.AioRpcError as error:
            raise Unavailable(f"the carrier: {error.code().name}") from error
