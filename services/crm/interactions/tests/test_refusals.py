"""Who refused offer X for reason Y since DATE: the list for win-back."""

from datetime import UTC, date, datetime
from typing import Any

import sqlalchemy as sa

from eventkit.eventstore import Cause
from services.crm.customers.store import CUSTOMERS
from services.crm.interactions.tests.conftest import Centre
from services.crm.interactions.tests.events import call


async def said(
    centre: Centre, call_id: str, customer: str, answer: str, day: str = "", **more: Any
) -> None:
    """An answer to the offer `fibre`. day: of November 2026, at noon."""
    at = None
    if day:
        at = int(datetime(2026, 11, int(day), 12, tzinfo=UTC).timestamp()) * 1_000_000
    service = centre.service
    cause = Cause(centre.client_id, "ann", occurred_at=at)
    if customer:
        await service.attribute(cause, call_id, customer)
    if answer == "accepted":
        await service.accept(cause, call_id, "fibre")
    else:
        await service.refuse(cause, call_id, "fibre", answer, **more)


async def refusers(centre: Centre, offer: str = "fibre", **query: Any) -> list[str]:
    page = await centre.get(f"/offers/{offer}/refusals", **query)
    return [item["customer_id"] for item in page["items"]]


async def test_by_reason_and_since_a_day_of_the_clients(centre: Centre) -> None:
    a, b, c = [await centre.register(number) for number in ("a", "b", "c")]
    await said(centre, "1", a, "too-expensive", "1")
    await said(centre, "2", b, "too-expensive", "20")
    await said(centre, "3", c, "other-provider", "21", text="Has fibre already.")
    assert await refusers(centre) == [c, b, a]
    assert await refusers(centre, reason="too-expensive") == [b, a]
    assert await refusers(centre, reason="too-expensive", since="2026-11-20") == [b]
    assert await refusers(centre, since="2026-11-21") == [c]
    assert await refusers(centre, "mobile") == []
    assert (await centre.http.get("/offers/nobody/refusals")).status_code == 404
    assert (await centre.http.get("/offers/fibre/refusals?since=yesterday")).status_code == 422
    [item] = (await centre.get("/offers/fibre/refusals", reason="other-provider"))["items"]
    assert item == {
        "customer_id": c,
        "offer_id": "fibre",
        "reason": "other-provider",
        "not_before": None,
        "text": "Has fibre already.",
        "refused_at": "2026-11-21T12:00:00Z",
        "call_id": "3",
        "agent_id": "ann",
    }


async def test_a_day_begins_where_the_client_is(centre: Centre) -> None:
    customer = await centre.register("a")
    late = int(datetime(2026, 11, 19, 23, 30, tzinfo=UTC).timestamp()) * 1_000_000
    cause = Cause(centre.client_id, "ann", occurred_at=late)  # half past midnight in Paris
    await centre.service.attribute(cause, "1", customer)
    await centre.service.refuse(cause, "1", "fibre", "too-expensive")
    assert await refusers(centre, since="2026-11-20") == [customer]
    assert await refusers(centre, since="2026-11-21") == []


async def test_who_may_be_asked_again(centre: Centre) -> None:
    a, b = [await centre.register(number) for number in ("a", "b")]
    await said(centre, "1", a, "not-now", "1", not_before=date(2026, 12, 1))
    await said(centre, "2", b, "not-now", "2", not_before=date(2027, 1, 1))
    assert await refusers(centre, not_before_until="2026-11-30") == []
    assert await refusers(centre, not_before_until="2026-12-01") == [a]
    assert await refusers(centre, not_before_until="2027-01-01") == [b, a]
    everything = {"reason": "not-now", "since": "2026-11-02", "not_before_until": "2027-01-01"}
    assert await refusers(centre, **everything) == [b]
    assert await refusers(centre, **everything | {"reason": "too-expensive"}) == []


async def test_who_accepts_later_is_left_out_and_who_accepted_before_is_not(
    centre: Centre,
) -> None:
    a, b, c = [await centre.register(number) for number in ("a", "b", "c")]
    await said(centre, "1", a, "too-expensive", "1")
    await said(centre, "2", a, "accepted", "2")
    await said(centre, "3", b, "accepted", "1")
    await said(centre, "4", b, "too-expensive", "2")
    # The last answer of a call counts.
    await said(centre, "5", c, "too-expensive", "3")
    await said(centre, "5", c, "accepted", "4")
    assert await refusers(centre) == [b]
    await said(centre, "5", c, "other-provider", "5")
    assert await refusers(centre) == [c, b]
    assert await refusers(centre, reason="too-expensive") == [b]


async def test_each_customer_once_also_when_merged(centre: Centre) -> None:
    a, b = [await centre.register(number) for number in ("a", "b")]
    await said(centre, "1", a, "too-expensive", "1")
    await said(centre, "2", a, "too-expensive", "2")
    await said(centre, "3", b, "too-expensive", "3")
    assert await refusers(centre) == [b, a]
    await centre.customers.merge(centre.cause, b, a)
    assert await refusers(centre) == [a]
    await said(centre, "4", b, "accepted", "4")
    assert await refusers(centre) == []
    await centre.customers.unmerge(centre.cause, b)
    # That acceptance was given when b was a: it is a's.
    assert await refusers(centre) == [b]


async def test_a_refusal_in_a_call_whose_customer_is_known_later(centre: Centre) -> None:
    await said(centre, "call-1", "", "too-expensive")
    assert await refusers(centre) == []
    await centre.call_events(*call(centre.client_id, "call-1", customer="K-7"))
    assert await refusers(centre) == []
    customer = await centre.register("K-7")
    assert await refusers(centre) == [customer]


async def test_the_erased_are_left_out(centre: Centre) -> None:
    a, b = [await centre.register(number) for number in ("a", "b")]
    await said(centre, "1", a, "too-expensive", "1")
    await said(centre, "2", b, "too-expensive", "2")
    async with centre.store.engine.begin() as connection:
        await connection.execute(
            CUSTOMERS.update()
            .where(CUSTOMERS.c.client_id == centre.client_id, CUSTOMERS.c.customer_id == a)
            .values(erased_at=1)
        )
    assert await refusers(centre) == [b]


async def test_page_by_page(centre: Centre) -> None:
    customers = [await centre.register(f"k{number}") for number in range(7)]
    for number, customer in enumerate(customers):
        await said(centre, f"call-{number}", customer, "too-expensive", str(1 + number // 2))
    whole = await refusers(centre)
    assert sorted(whole) == sorted(customers)
    found, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = await centre.get("/offers/fibre/refusals", **query)
        found += [item["customer_id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert found == whole


async def test_the_view_says_the_same_in_sql(centre: Centre) -> None:
    a, b = [await centre.register(number) for number in ("a", "b")]
    await said(centre, "1", a, "too-expensive", "1")
    await said(centre, "2", a, "other-provider", "2")
    await said(centre, "3", b, "too-expensive", "3", text="Twenty at most.")
    await said(centre, "4", b, "accepted", "4")
    query = sa.text(
        "SELECT DISTINCT ON (customer_id) customer_id, reason, refused_at, text FROM refusals"
        " WHERE client_id = :client_id AND offer_id = 'fibre' AND reason = 'too-expensive'"
        " AND refused_at >= '2026-11-01' ORDER BY customer_id, refused_at DESC"
    )
    async with centre.store.engine.connect() as connection:
        [row] = await connection.execute(query, {"client_id": centre.client_id})
    assert tuple(row) == (a, "too-expensive", datetime(2026, 11, 1, 12, tzinfo=UTC), "")
