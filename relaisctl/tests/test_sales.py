"""What customers of the demo order: the same for the same seed, step by step as agents do it."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from relaisctl.replay import sales, shift
from relaisctl.replay.desk import Answered, Request

CALLS = [
    Answered(company.client_id, f"r1-{queue.queue_id}-{n}", queue.queue_id, "a-1", f"c{n % 7}")
    for company in shift.COMPANIES
    for queue in company.queues
    for n in range(200)
]
CHECKLIST = [{"point_id": "amount", "required": True}, {"point_id": "extra", "required": False}]
SLOTS = [{"starts_at": f"2026-11-2{day}T09:00:00Z"} for day in range(4, 9)]


def orders_of(request: Request) -> dict[str, Any]:
    """What orders answers to what is asked."""
    match request.method, request.path.rpartition("/")[2]:
        case "GET", "slots?limit=40":
            return {"slots": SLOTS}
        case "GET", _:
            return {"checklist": CHECKLIST}
    return {}


def played(
    call: Answered, seed: int, answer: Callable[[Request], dict[str, Any]] = orders_of
) -> list[Request]:
    """Every request of the order that is taken in a call; none where there is no order."""
    product = sales.taken(call, seed)
    if product is None:
        return []
    script = sales.order(call, product, f"crm-{call.customer_id}", seed)
    made = [next(script)]
    while True:
        try:
            made.append(script.send(answer(made[-1])))
        except StopIteration:
            return made


def steps(requests: list[Request]) -> list[str]:
    """`orders/<id>/a/b` as `a/b`."""
    return [request.path.split("/", 2)[-1] for request in requests]


def test_a_seed_gives_the_same() -> None:
    def all_of(seed: int) -> list[list[Request]]:
        return [played(call, seed) for call in CALLS]

    assert all_of(1) == all_of(1) != all_of(2)


def test_every_product_is_ordered_and_set_up() -> None:
    sold = Counter(
        requests[0].body["product_id"] for call in CALLS if (requests := played(call, 1))
    )
    assert sold.keys() == {product.product_id for product in sales.PRODUCTS.values()}
    published = [
        request.path.rpartition("/")[2]
        for company in shift.COMPANIES
        for request in sales.set_up(company.client_id)
        if "shipped" in request.path
    ]
    assert sorted(published) == sorted(sold)


def test_an_order_goes_by_the_form() -> None:
    endings = Counter[str]()
    for call in CALLS:
        requests = played(call, 1)
        if not requests:
            continue
        assert {each.service for each in requests} == {"orders"}
        assert requests[0].body["customer_id"] == f"crm-{call.customer_id}"
        said = steps(requests)
        for field in (each for each in said if each.startswith("addresses/")):
            assert field.endswith("/confirm") or f"{field}/confirm" in said
        endings[said[-1]] += 1
        if "place" in said:
            placed = said.index("place")
            assert said[placed - 1] == "points/amount/tick"
            assert "points/extra/tick" not in said
            visit = requests[0].body["product_id"] == "internet-connection"
            assert ("visit" in said[:placed]) == visit
            if "fulfil" in said and requests[0].body["product_id"] != "taxi":
                assert said.index("confirm") < said.index("fulfil")
    assert {"place", "confirm", "cancel", "fulfil", "after-sale", "visit"} <= endings.keys()
    assert any(ending.startswith("addresses/") for ending in endings)  # thought over, and left


def test_a_slot_that_is_gone_is_replaced_by_the_next() -> None:
    def busy(request: Request) -> dict[str, Any]:
        if request.path.endswith("/visit"):
            return {"next_slots": [{"starts_at": "2026-12-24T09:00:00Z"}]}
        return orders_of(request)

    visits = [
        [each.body["starts_at"] for each in requests if each.path.endswith("/visit")]
        for call in CALLS
        if (requests := played(call, 1, busy))
    ]
    agreed = [each for each in visits if each]
    assert agreed
    assert all(set(each[1::2]) == {"2026-12-24T09:00:00Z"} for each in agreed)
