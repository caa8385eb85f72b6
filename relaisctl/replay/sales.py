"""What customers of a made-up shift order, and what becomes of it. Pure: a seed gives the same.

Agents go by the client's form: they fill it in, read addresses back, agree on a time, tell what the
checklist says, and place. Later the client's own system says how it went.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from random import Random
from typing import Any

from relaisctl.replay import desk
from relaisctl.replay.desk import Answered, Request, pick

Script = Generator[Request, dict[str, Any], None]
"""Yields requests and is sent their answers; of one that is refused, the problem document."""


@dataclass(frozen=True, slots=True)
class Product:
    """A form that comes with Relais. share: of the calls about it that end in an order. addresses:
    the form's fields. by_client: it is the client who confirms. cancelled, undone: the reasons."""

    product_id: str
    share: float
    answers: Callable[[Random], dict[str, Any]]
    addresses: tuple[str, ...]
    by_client: bool
    visit: bool
    cancelled: tuple[str, ...]
    undone: tuple[str, ...]


def _taxi(chance: Random) -> dict[str, Any]:
    return {
        "vehicle": pick(chance, {"standard": 8, "business": 2}),
        "passengers": 1 + chance.randrange(4),
        "kilometres": round(1 + chance.expovariate(1 / 8), 1),
        "night": chance.random() < 0.2,
        "telephone": "+37167001122",
        "payment": pick(chance, {"card": 3, "cash": 2}),
    }


def _loan(chance: Random) -> dict[str, Any]:
    return {
        "amount": 500 * chance.randint(4, 50),
        "term_months": chance.choice((12, 24, 36, 48, 60)),
        "purpose": pick(chance, {"car": 4, "home": 3, "education": 1, "travel": 1}),
        "born_on": "1986-05-17",
        "passport": "19AB04512",
        "employment": "retired",
        "income": 100 * chance.randint(14, 45),
        "housing": "owner",
        "telephone": "+33142861200",
    }


def _internet(chance: Random) -> dict[str, Any]:
    return {
        "plan": pick(chance, {"fibre-300": 5, "fibre-1000": 3, "dsl-50": 1}),
        "router": pick(chance, {"rented": 4, "own": 1}),
        "floor": chance.randrange(6),
        "telephone": "+441132470000",
        "payment": "transfer",
    }


def _tariff(chance: Random) -> dict[str, Any]:
    return {
        "number": "+447700900123",
        "from_tariff": pick(chance, {"start": 2, "smart": 1}),
        "to_tariff": pick(chance, {"family": 3, "unlimited": 1}),
        "roaming": chance.random() < 0.3,
        "reason": pick(chance, {"more-data": 3, "family": 2, "price": 1}),
    }


PRODUCTS = {
    ("amber-taxi", "orders.new"): Product(
        "taxi", 0.6, _taxi, ("pickup", "destination"), False, False,
        ("waited-too-long", "changed-mind"), ("not-driven", "not-paid"),
    ),
    ("meridian-bank", "loans.terms"): Product(
        "loan-application", 0.6, _loan, ("home",), True, False,
        ("refused-by-bank", "changed-mind"), ("withdrawn",),
    ),
    ("norlink", "sales.new-contract"): Product(
        "internet-connection", 0.8, _internet, ("connection",), True, True,
        ("changed-mind", "visit-too-late"), ("too-slow",),
    ),
    ("norlink", "sales.tariff-change"): Product(
        "tariff-change", 0.9, _tariff, (), True, False,
        ("too-expensive", "changed-mind"), ("withdrawn", "left"),
    ),
}  # fmt: skip
"""What may be ordered in a call of a client about a topic."""

ADDRESSES = {
    "amber-taxi": ("LV", "Rīga", ("LV-1010", "LV-1050"), ("Brīvības iela", "Elizabetes iela")),
    "meridian-bank": ("FR", "Paris", ("75002", "75011"), ("rue de la Paix", "rue Oberkampf")),
    "norlink": ("GB", "Leeds", ("LS1 4AP", "LS2 9JT"), ("Park Row", "Woodhouse Lane")),
}
"""Country, city, its postal codes, and streets."""

CREWS = 3
PUT_OFF = 0.1
"""The share of customers who want to think it over: the draft stays, and expires."""
CANCELLED, CREW_MOVED, FULFILLED, UNDONE = 0.12, 0.15, 0.7, 0.08


def set_up(client_id: str) -> list[Request]:
    """The client's forms, and who makes the visits."""
    sold = [each for (client, _), each in PRODUCTS.items() if client == client_id]
    made = [_request(client_id, "POST", f"forms/shipped/{each.product_id}") for each in sold]
    if not any(each.visit for each in sold):
        return made
    country, city, codes, _ = ADDRESSES[client_id]
    area = {"label": city, "country": country, "prefixes": sorted({code[:2] for code in codes})}
    days = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
    crew = {
        "areas": [city.lower()],
        "skills": ["internet-install"],
        "week": {day: ["08:00-12:00", "13:00-18:00"] for day in days},
        "travel_minutes": 30,
    }
    return [
        *made,
        _request(client_id, "PUT", f"areas/{city.lower()}", **area),
        *(
            _request(client_id, "PUT", f"crews/van-{number}", label=f"Van {number}", **crew)
            for number in range(1, CREWS + 1)
        ),
    ]


def taken(call: Answered, seed: int) -> Product | None:
    """What is ordered in a call; None: nothing."""
    product = PRODUCTS.get((call.client_id, desk.topic_of(call, seed)))
    if product is None or not call.customer_id:
        return None
    chance = Random(f"{seed}/{call.client_id}/{call.call_id}/sold")
    return product if chance.random() < product.share else None


def order(call: Answered, product: Product, customer_id: str, seed: int) -> Script:
    """One order, from the first word on. customer_id: crm's."""
    chance = Random(f"{seed}/{call.client_id}/{call.call_id}/order")
    order_id = f"{call.call_id}-order"

    def step(path: str, **body: Any) -> Request:
        return _request(call.client_id, "POST", f"orders/{order_id}/{path}", **body)

    def look(path: str = "") -> Request:
        return _request(call.client_id, "GET", f"orders/{order_id}{path}")

    yield _request(
        call.client_id,
        "POST",
        "orders",
        order_id=order_id,
        product_id=product.product_id,
        customer_id=customer_id,
        call_id=call.call_id,
        agent_id=call.agent_id,
        answers=product.answers(chance),
    )
    for field in product.addresses:
        yield step(f"addresses/{field}", **_address(chance, call.client_id))
        yield step(f"addresses/{field}/confirm")
    if chance.random() < PUT_OFF:
        return
    if product.visit:
        yield from _agree(chance, step, (yield look("/slots?limit=40"))["slots"])
    for point in (yield look())["checklist"]:
        if point["required"]:
            yield step(f"points/{point['point_id']}/tick")
    yield step("place")
    yield from _afterwards(chance, product, order_id, step, look)


def _agree(
    chance: Random, step: Callable[..., Request], slots: list[dict[str, Any]], **reason: str
) -> Script:
    """On a time. Somebody else may have been faster: then on one that is left."""
    wanted = chance.choice(slots)["starts_at"]
    problem = yield step("visit", starts_at=wanted, **reason)
    if "next_slots" in problem:
        yield step("visit", starts_at=problem["next_slots"][0]["starts_at"], **reason)


def _afterwards(
    chance: Random,
    product: Product,
    order_id: str,
    step: Callable[..., Request],
    look: Callable[..., Request],
) -> Script:
    if chance.random() < CANCELLED:
        yield step("cancel", reason=chance.choice(product.cancelled), by="customer")
        return
    if product.by_client:
        yield step("confirm", reference=f"ERP-{order_id}")
    if product.visit:
        if chance.random() < CREW_MOVED:
            yield from _agree(chance, step, (yield look("/slots?limit=40"))["slots"], reason="crew")
        return
    if chance.random() < FULFILLED:
        yield step("fulfil")
        if chance.random() < UNDONE:
            reason = chance.choice(product.undone)
            yield step("after-sale", outcome="failed", reason=reason)


def _address(chance: Random, client_id: str) -> dict[str, Any]:
    country, city, codes, streets = ADDRESSES[client_id]
    line = f"{chance.randint(1, 90)} {chance.choice(streets)}"
    code = chance.choice(codes)
    return {"country": country, "lines": [line], "postal_code": code, "locality": city}


def _request(client_id: str, method: str, path: str, **body: Any) -> Request:
    return Request(client_id, method, path, body, "orders")
