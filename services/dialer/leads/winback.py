"""Who refused an offer, as crm knows it: whom a win-back campaign calls when there is a better one.

    async with CrmCustomers("http://crm:8084", callers, clock) as crm:
        async for customer_id in crm.refusers("acme", "fibre", ["too-expensive"], since): ...

Raises Unavailable while crm does not answer.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self

import httpx

from eventkit.callers import Callers, Role
from eventkit.clock import Clock
from eventkit.errors import Unavailable

ACTOR: Final = "dialer"
TIMEOUT_S: Final = 10.0
PAGE: Final = 200


@dataclass(frozen=True, slots=True)
class Person:
    """What crm knows of a customer. customer_id: of the surviving record."""

    customer_id: str
    name: str
    phones: tuple[str, ...]
    address: str
    zone: str


class CrmCustomers:
    """A client of crm's REST edge, with a token of its own that callers signs."""

    def __init__(
        self,
        url: str,
        callers: Callers,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        # Refusals are for agents, and no partner's.
        self._token = callers.own(ACTOR, Role.AGENT, clock)
        self._clock = clock
        self._http = httpx.AsyncClient(
            base_url=url, timeout=TIMEOUT_S, transport=transport, trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def refusers(
        self, client_id: str, offer_id: str, reasons: Sequence[str], since: int
    ) -> AsyncIterator[str]:
        """Customers who have refused the offer for one of the reasons (none: for any) at `since` or
        later, have not accepted it after that, and may be asked again today. Each once."""
        now = datetime.fromtimestamp(self._clock.now_us() // 1_000_000, UTC)
        began = datetime.fromtimestamp(since // 1_000_000, UTC)
        query: dict[str, str | int] = {
            "limit": PAGE,
            "not_before_until": now.date().isoformat(),
        }
        if since > 0:
            # A day of the client's zone: the one before it has the whole of ours in any zone.
            query["since"] = (began - timedelta(days=1)).date().isoformat()
        seen: set[str] = set()
        for reason in reasons or [""]:
            async for item in self._items(
                f"/v1/clients/{client_id}/offers/{offer_id}/refusals",
                query | ({"reason": reason} if reason else {}),
            ):
                customer_id = str(item["customer_id"])
                if datetime.fromisoformat(item["refused_at"]) >= began and customer_id not in seen:
                    seen.add(customer_id)
                    yield customer_id

    async def person(self, client_id: str, customer_id: str) -> Person | None:
        """None: erased, or unknown."""
        found = await self._get(f"/v1/clients/{client_id}/customers/{customer_id}", {})
        if found is None or found["erased_at"] is not None:
            return None
        return Person(
            found["customer_id"],
            found["name"],
            tuple(found["phones"]),
            found["address"],
            found["time_zone"],
        )

    async def _items(self, path: str, query: dict[str, str | int]) -> AsyncIterator[dict[str, Any]]:
        while True:
            page = await self._get(path, query)
            if page is None:
                return
            for item in page["items"]:
                yield item
            if page["next"] is None:
                return
            query = query | {"cursor": page["next"]}

    async def _get(self, path: str, query: dict[str, str | int]) -> Any:
        """None: there is no such thing."""
        try:
            headers = {"Authorization": self._token.header()}
            answer = await self._http.get(path, params=query, headers=headers)
        except httpx.TransportError as error:
            raise Unavailable(f"crm does not answer ({type(error).__name__})") from error
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if not answer.is_success:
            raise Unavailable(f"crm: {answer.status_code}")
        return answer.json()
