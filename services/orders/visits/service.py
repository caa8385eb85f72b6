"""The use cases of visits: who is free when, a booking, and what crews and areas there are."""

from collections.abc import Awaitable, Callable
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from eventkit.clock import Clock
from eventkit.eventstore import EventStore, Transaction
from services.orders.addresses.address import Address
from services.orders.visits.slots import Booking, Slot, Want

__all__ = ["Booking", "Slot", "Visits", "Want"]


class Visits:
    """zone: of a client, for crews that have none of their own.

    Raises NotFound, Invalid, Rejected and Unavailable.
    """

    def __init__(
        self, events: EventStore, zone: Callable[[str], Awaitable[ZoneInfo]], clock: Clock
    ) -> None:
        self.events = events
        self._zone = zone
        self._clock = clock

    async def area_of(self, connection: AsyncConnection, client_id: str, address: Address) -> str:
        """The area that an address lies in: that of the longest prefix of its postal code."""
        raise NotImplementedError

    async def free(
        self, client_id: str, want: Want, *, from_at: int, days: int, limit: int
    ) -> list[Slot]:
        """The first `limit` slots within so many days."""
        raise NotImplementedError

    async def book(
        self,
        tx: Transaction,
        order_id: str,
        visit_id: str,
        want: Want,
        starts_at: int,
        *,
        replacing: str = "",
    ) -> Booking:
        """Book a crew, in the order's own transaction."""
        raise NotImplementedError

    async def book_soonest(
        self,
        tx: Transaction,
        order_id: str,
        visit_id: str,
        want: Want,
        not_before: int,
        *,
        replacing: str = "",
        avoid_crew: str = "",
    ) -> Booking:
        """Book the crew that can be there first."""
        raise NotImplementedError
