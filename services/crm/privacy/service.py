"""Erasing a person, and telling a person what is held: over what all capabilities keep.

An erasure is one transaction: the person's subjects are locked and marked as erased, every read
model is cleaned, the streams say so, and what is left to do is written down. Then, and as often as
it takes, the keys are destroyed and the tables swept of what was deleted. A crash leaves nothing
done, or an erasure that `finish` brings to its end: the same command again calls it, and the worker
does from time to time. docs/subsystems/crm-privacy.md.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from eventkit.decider import Invalid
from eventkit.errors import NotFound, Unavailable
from eventkit.eventstore import Answer, Category, Cause, EventStore, Transaction
from eventkit.ids import derived_id
from eventkit.postgres import SILENT, is_not_now
from services.crm.consent.service import end_consents
from services.crm.customers import store as customers
from services.crm.customers.customer import EraseCustomer
from services.crm.customers.service import CUSTOMERS
from services.crm.holding import Holding, Person
from services.crm.privacy import access, store
from services.crm.tables import metadata

log = logging.getLogger(__name__)

FINISH_EVERY_S = 30.0
SWEEP_SOON_S, SWEEP_S = 10.0, 3_600.0
"""How long one table may take: while somebody waits for it, and otherwise."""

ACCESS = Category("privacy", access.DECIDER)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Privacy:
    """holdings: of every capability that keeps something about people; their names differ.

    Raises NotFound, Invalid, Rejected and Unavailable, and nothing else that callers expect.
    """

    def __init__(
        self, events: EventStore, holdings: Sequence[Holding], ids: Callable[[], str]
    ) -> None:
        self._events = events
        self._holdings = holdings
        self._ids = ids

    async def erase(self, cause: Cause, reference: str) -> Answer:
        """Erase a customer, with all records merged into it, for good.

        reference: crm's id, or the client's own number. Answers customer_id and records; the same
        again (by crm's id: the number is gone) finishes what a crash has left.
        """

        async def work(tx: Transaction) -> Answer:
            person = await self._locked(tx, reference)
            survivor = person.customer_ids[0]
            subjects, tables = await self._clean(tx, person)
            await end_consents(tx, self._events, person)
            for customer_id in person.customer_ids:
                await tx.execute(CUSTOMERS, customer_id, EraseCustomer())
            await store.put_pending(
                tx.connection, cause.client_id, survivor, subjects, tables, tx.now
            )
            return {"customer_id": survivor, "records": len(person.customer_ids)}

        answer = await self._events.run(cause, work)
        await self._finish((cause.client_id, answer["customer_id"]), SWEEP_SOON_S)
        return answer

    async def finish(self) -> int:
        """Bring erasures to their end that have been decided; returns how many.

        Raises Unavailable when the keys' database does not answer: then they are left for later.
        """
        return await self._finish(None, SWEEP_S)

    async def finish_for_ever(self, every_s: float = FINISH_EVERY_S) -> None:
        """`finish` from time to time, until it is cancelled: for the worker."""
        while True:
            try:
                await self.finish()
            except Unavailable as error:
                log.warning("erasures are left for later: %s", error)
            await asyncio.sleep(every_s)

    async def export(self, cause: Cause, reference: str) -> dict[str, Any]:
        """Everything that is held on a customer, with all records merged into it: one document.

        That it was exported, when and by whom, is recorded before it is read. Each call reads anew:
        an idempotency key keeps it from being recorded twice, and no export is kept with it.
        """
        export_id = derived_id(cause.client_id, cause.idempotency_key or self._ids())

        async def work(tx: Transaction) -> Answer:
            person = await _person(tx, reference)
            await tx.execute(ACCESS, person.customer_ids[0], access.RecordExport(export_id))
            return {"customer_id": person.customer_ids[0]}

        answer = await self._events.run(cause, work)
        async with self._events.engine.connect() as connection:
            person = await customers.person(connection, cause.client_id, answer["customer_id"])
            if person is None:
                raise NotFound("customer")
            held = {each.name: await each.export(connection, person) for each in self._holdings}
        exported_at = _EPOCH + timedelta(microseconds=self._events.clock.now_us())
        return {
            "client_id": cause.client_id,
            "customer_id": answer["customer_id"],
            "export_id": export_id,
            "exported_at": exported_at.isoformat(),
            "known_as": list(person.references),
            "held": held,
            "history": [
                step for each in person.customer_ids for step in await self._history(cause, each)
            ],
        }

    async def _history(self, cause: Cause, customer_id: str) -> list[dict[str, Any]]:
        """What has ever been known of one record, also what was corrected since."""
        return [
            {
                "customer_id": customer_id,
                "event": type(each.event).__name__,
                "at": (_EPOCH + timedelta(microseconds=each.occurred_at)).isoformat(),
                "actor": each.actor,
                **msgspec.to_builtins(each.event),
            }
            for each in await self._events.history(CUSTOMERS, cause.client_id, customer_id)
        ]

    async def _finish(self, customer: tuple[str, str] | None, sweep_s: float) -> int:
        """Only that of one (client_id, customer_id), or all; sweep_s: how long for each table."""
        finished = 0
        async with self._events.engine.connect() as connection:
            pending = await store.find_pending(connection, customer)
        for each in pending:
            await self._events.keys.erase(each.client_id, set(each.subjects))
            try:
                await self._sweep(set(each.tables), sweep_s)
            except Unavailable:
                log.info("tables are swept later: there was no time, or no connection")
                continue
            async with self._events.engine.begin() as connection:
                await store.drop_pending(connection, each)
            finished += 1
        return finished

    async def _locked(self, tx: Transaction, reference: str) -> Person:
        """The person, whom nobody else writes about until the transaction ends."""
        await customers.lock_merges(tx.connection, tx.cause.client_id)
        person = await _person(tx, reference)
        locked: set[str] = set()
        # A record that was merged into it meanwhile is a part of it too.
        while new := set(person.customer_ids) - locked:
            await tx.forget(new)
            locked |= new
            person = await _person(tx, person.customer_ids[0])
        return person

    async def _clean(self, tx: Transaction, person: Person) -> tuple[set[str], set[str]]:
        """Clean all read models; the subjects whose keys go, and the tables that were cleaned."""
        subjects = set(person.customer_ids)
        tables: set[str] = set()
        while True:
            found: set[str] = set()
            for holding in self._holdings:
                forgotten = await holding.forget(tx.connection, person)
                found |= forgotten.subjects
                tables |= forgotten.cleaned.keys()
            new = found - subjects
            if not new:
                return subjects, tables
            # Who was writing about these has finished when we have their locks, so once more.
            await tx.forget(new)
            subjects |= new

    async def _sweep(self, tables: set[str], sweep_s: float) -> None:
        """Free what was deleted, and what the planner remembers of columns' values. Raises
        Unavailable."""
        async with self._events.engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            try:
                for name in sorted(tables & metadata.tables.keys()):
                    await driver.execute(f"VACUUM (ANALYZE) {name}", timeout=sweep_s)
            except Exception as error:
                await connection.invalidate()
                if is_not_now(error):
                    raise Unavailable(SILENT) from error
                raise


async def _person(tx: Transaction, reference: str) -> Person:
    if not reference:
        raise Invalid("customer", "must name a customer")
    client_id = tx.cause.client_id
    customer_id = await customers.resolve(tx.connection, client_id, reference)
    found = customer_id and await customers.person(tx.connection, client_id, customer_id)
    if not found:
        raise NotFound("customer")
    return found
