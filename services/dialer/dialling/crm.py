"""crm's word on numbers: consent and do-not-call lists, asked at the moment of dialling."""

import asyncio
from collections.abc import Sequence

import grpc

from eventkit.callers import Callers, Role
from eventkit.clock import Clock
from eventkit.errors import Unavailable
from services.dialer.dialling import codec, metrics
from services.dialer.dialling.messages import Question, Verdict

ALONG = 1_000
"""Questions of one stream."""


class Crm:
    """A client of CustomerService.CheckContacts.

    callers: signs our own token, role partner. timeout_s: for all questions of one `check`.
    """

    def __init__(
        self, channel: grpc.aio.Channel, callers: Callers, clock: Clock, timeout_s: float = 1.5
    ) -> None:
        self._stream = channel.stream_stream(*codec.CHECK_CONTACTS.parts())
        self._token = callers.own(codec.ACTOR, Role.PARTNER, clock)
        self._timeout_s = timeout_s

    async def check(self, questions: Sequence[Question]) -> list[Verdict]:
        """In the order of the questions. Raises Unavailable: crm has not answered all of them in
        time, and then nothing is known of any."""
        try:
            async with asyncio.timeout(self._timeout_s):
                parts = [questions[i : i + ALONG] for i in range(0, len(questions), ALONG)]
                return [verdict for part in parts for verdict in await self._ask(part)]
        except (TimeoutError, grpc.aio.AioRpcError) as error:
            metrics.CRM_SILENT.add(1)
            said = error.code().name if isinstance(error, grpc.aio.AioRpcError) else "no answer"
            raise Unavailable(f"crm: {said}") from error

    async def _ask(self, questions: Sequence[Question]) -> list[Verdict]:
        call = self._stream(
            (codec.question(each) for each in questions),
            metadata=(("authorization", self._token.header()),),
        )
        try:
            verdicts = [codec.verdict(answer) async for answer in call]
        finally:
            call.cancel()
        if len(verdicts) != len(questions):
            raise Unavailable(f"crm: {len(verdicts)} answers to {len(questions)} questions")
        return verdicts
