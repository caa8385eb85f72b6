"""The use cases of promotions. Prices themselves are asked for with an order: pricing.quote."""

from collections.abc import Iterable

from sqlalchemy.ext.asyncio import AsyncConnection

from eventkit.decider import Invalid, NotFound
from eventkit.eventstore import Answer, Cause, EventStore, Transaction
from services.orders.prices import promotion as p
from services.orders.prices import store
from services.orders.prices.currency import digits
from services.orders.prices.pricing import Promotion, places
from services.orders.prices.store import PROMOTIONS


class Promotions:
    """Raises NotFound, Invalid and Unavailable."""

    def __init__(self, events: EventStore) -> None:
        self._events = events

    async def publish(self, cause: Cause, promotion: Promotion) -> Answer:
        """promotion_id, version. Also again, with other conditions; the same changes nothing."""
        if promotion.amount is not None and promotion.currency:
            allowed = digits(promotion.currency)
            if places(promotion.amount) > allowed:
                reason = f"must not have more decimal places than the currency has, {allowed}"
                raise Invalid("amount", reason)
        return await self._do(cause, promotion.promotion_id, p.PublishPromotion(promotion))

    async def withdraw(self, cause: Cause, promotion_id: str) -> Answer:
        """promotion_id, version."""
        return await self._do(cause, promotion_id, p.WithdrawPromotion())

    async def _do(self, cause: Cause, promotion_id: str, command: p.Command) -> Answer:
        async def work(tx: Transaction) -> Answer:
            change = await tx.execute(PROMOTIONS, promotion_id, command)
            return {"promotion_id": promotion_id, "version": change.version}

        return await self._events.run(cause, work)

    async def many(
        self, connection: AsyncConnection, client_id: str, ids: Iterable[str]
    ) -> dict[str, Promotion]:
        """By id, for pricing.quote, which checks that they are valid. Unknown and withdrawn ones
        are missing."""
        return await store.many(connection, client_id, ids)

    async def get(self, client_id: str, promotion_id: str) -> p.Published:
        """Also one that is withdrawn."""
        async with self._events.reading() as connection:
            found = await store.find(connection, client_id, promotion_id=promotion_id)
        if not found:
            raise NotFound("promotion")
        return found[0]

    async def list(
        self,
        client_id: str,
        *,
        product_id: str,
        at: int | None,
        every: bool,
        after: str,
        limit: int,
    ) -> list[p.Published]:
        """By id. product_id: those that are good for it; empty: for any. at: those that are valid
        then; None is now. every: whatever their validity, and the withdrawn ones, too."""
        if at is None:
            at = self._events.clock.now_us()
        async with self._events.reading() as connection:
            return await store.find(
                connection,
                client_id,
                product_id=product_id,
                at=None if every else at,
                after=after,
                limit=limit,
            )
