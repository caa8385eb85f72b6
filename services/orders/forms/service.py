"""What supervisors do with forms; and the forms that orders are taken with."""

import builtins
import json
from collections import OrderedDict
from functools import cache
from importlib import resources
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from eventkit.decider import NotFound, Rejected
from eventkit.eventstore import Answer, Cause, EventStore, Transaction
from services.orders.forms import form as f
from services.orders.forms import schema, store
from services.orders.forms.codec import form_of
from services.orders.forms.store import FORMS

CACHED: Final = 256
"""Versions that are kept in memory."""


class Forms:
    """Commands answer {"product_id", "version"}, the version of the latest form. They raise
    Invalid, Rejected and NotFound."""

    def __init__(self, events: EventStore) -> None:
        self._events = events
        self._versions: OrderedDict[tuple[str, str, int], f.Form] = OrderedDict()

    async def publish(self, cause: Cause, product_id: str, form: f.Form) -> Answer:
        """The product's next version; the same form again gives none."""
        schema.check_form(form)
        return await self._do(cause, product_id, f.PublishForm(product_id, form))

    async def publish_shipped(self, cause: Cause, name: str) -> Answer:
        """One of the examples as the client's own: the product has the example's name."""
        return await self.publish(cause, name, form_of(shipped(name)))

    async def retire(self, cause: Cause, product_id: str) -> Answer:
        """Nothing new is ordered; orders that there are keep their version."""
        return await self._do(cause, product_id, f.RetireForm())

    async def restore(self, cause: Cause, product_id: str) -> Answer:
        return await self._do(cause, product_id, f.RestoreForm())

    async def _do(self, cause: Cause, product_id: str, command: f.Command) -> Answer:
        async def work(tx: Transaction) -> Answer:
            change = await tx.execute(FORMS, product_id, command)
            return {"product_id": product_id, "version": change.after.version}

        return await self._events.run(cause, work)

    async def current(
        self, connection: AsyncConnection | None, client_id: str, product_id: str
    ) -> tuple[int, f.Form]:
        """What a new order is taken with: (version, form). connection: of a transaction under way,
        so that it is not asked for another one. Raises NotFound; Rejected for a retired product."""
        found = await self._read(connection, client_id, product_id, None)
        if found.retired:
            raise Rejected("the product is retired: nothing new is ordered", "product_id")
        return found.version, found.form

    async def version(
        self,
        client_id: str,
        product_id: str,
        version: int,
        connection: AsyncConnection | None = None,
    ) -> f.Form:
        """One version, for ever. Raises NotFound."""
        key = (client_id, product_id, version)
        form = self._versions.get(key)
        if form is None:
            form = (await self._read(connection, client_id, product_id, version)).form
            self._versions[key] = form
            if len(self._versions) > CACHED:
                self._versions.popitem(last=False)
        else:
            self._versions.move_to_end(key)
        return form

    async def show(
        self, client_id: str, product_id: str, version: int | None = None
    ) -> store.Version:
        """A version, or the latest, of a retired product, too. Raises NotFound."""
        return await self._read(None, client_id, product_id, version)

    async def _read(
        self,
        connection: AsyncConnection | None,
        client_id: str,
        product_id: str,
        version: int | None,
    ) -> store.Version:
        if connection is None:
            async with self._events.reading() as connection:
                found = await store.read(connection, client_id, product_id, version)
        else:
            found = await store.read(connection, client_id, product_id, version)
        if found is None:
            raise NotFound("product" if version is None else "form")
        return found

    async def list(self, client_id: str, after: str, limit: int) -> builtins.list[store.Row]:
        """As `store.products`."""
        async with self._events.reading() as connection:
            return await store.products(connection, client_id, after, limit)


# The examples that are shipped.


@cache
def shipped_names() -> tuple[str, ...]:
    folder = resources.files(__package__) / "shipped"
    names = (one.name for one in folder.iterdir() if one.name.endswith(".json"))
    return tuple(sorted(name.removesuffix(".json") for name in names))


def shipped(name: str) -> dict[str, Any]:
    """The document of one. Raises NotFound."""
    if name not in shipped_names():
        raise NotFound("shipped form")
    file = resources.files(__package__) / "shipped" / f"{name}.json"
    document: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return document
