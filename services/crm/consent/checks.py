"""Checks as they come, many in one question to PostgreSQL.

A check waits for no timer: while one statement is under way those that come gather, and are the
next one. Nothing is kept between them but the settings of lists in a version, so that an answer is
never older than its question.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from eventkit.errors import Unavailable
from eventkit.keys import KeyRing
from eventkit.postgres import SILENT, is_not_now
from services.crm.consent import address, store
from services.crm.consent.address import Channel
from services.crm.consent.contact import Evidence, Question, Verdict, decide_contact
from services.crm.consent.donotcall import CENTRE

MAX_BATCH = 500
CONNECTIONS = 2
"""Statements under way at once: one is read here while PostgreSQL answers the other."""


@dataclass(eq=False, slots=True)
class _Waiting:
    wanted: store.Wanted
    answer: "asyncio.Future[Evidence]"


class Checks:
    """May this address be contacted? Raises Invalid and Unavailable."""

    def __init__(self, engine: AsyncEngine, keys: KeyRing) -> None:
        self._engine = engine
        self._keys = keys
        self._known = store.KnownLists()
        self._waiting: list[_Waiting] = []
        self._running: set[asyncio.Task[None]] = set()

    async def check(self, client_id: str, address_: str, question: Question) -> Verdict:
        """The answer for one address, by what is known once the question was asked."""
        wanted = await self._wanted(client_id, address_, question.channel, question.purpose)
        waiting = _Waiting(wanted, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._start()
        return decide_contact(question, await waiting.answer)

    async def _wanted(
        self, client_id: str, text: str, channel: Channel, purpose: str
    ) -> store.Wanted:
        address.check_purpose(purpose)
        form = address.normalised(channel, text)
        of_client = await self._keys.index(client_id, form)
        of_centre = await self._keys.index(CENTRE, form)
        consent = store.consent_id(of_client, channel, purpose)
        return store.Wanted(client_id, of_client, of_centre, consent)

    def _start(self) -> None:
        if self._waiting and len(self._running) < CONNECTIONS:
            task = asyncio.create_task(self._work())
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _work(self) -> None:
        """Answer what waits, until nothing does."""
        # All that became ready in this turn of the loop goes into the first statement.
        await asyncio.sleep(0)
        while self._waiting:
            batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
            batch = [each for each in batch if not each.answer.done()]
            try:
                found = await self._read([each.wanted for each in batch])
            except BaseException as error:
                for each in batch:
                    if not each.answer.done():
                        each.answer.set_exception(_as_told(error))
                if not isinstance(error, Exception):
                    raise
                continue
            for each, evidence in zip(batch, found, strict=True):
                if not each.answer.done():
                    each.answer.set_result(evidence)
            # Their callers answer before the next statement takes the processor.
            await asyncio.sleep(0)

    async def _read(self, wanted: Sequence[store.Wanted]) -> list[Evidence]:
        if not wanted:
            return []
        async with self._engine.connect() as connection:
            try:
                return await store.read_evidence(connection, wanted, self._known)
            except BaseException:
                # The driver was used past SQLAlchemy, which does not know what state it is in.
                await connection.invalidate()
                raise


def _as_told(error: BaseException) -> BaseException:
    if isinstance(error, asyncio.CancelledError):
        return Unavailable("the service stops")
    return Unavailable(SILENT) if is_not_now(error) else error
