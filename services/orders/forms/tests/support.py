"""Forms to test with, and forms over HTTP in this process."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI

from eventkit.callers import Callers, Role
from eventkit.http import make_app
from services.orders.forms.api import router
from services.orders.forms.codec import document_of, form_of
from services.orders.forms.form import Form
from services.orders.forms.service import Forms

MAX_BODY = 512 << 10
CALLERS = Callers({"test": bytes(32)})


def part(name: str, **more: Any) -> dict[str, Any]:
    """A field of a document."""
    return {"name": name, "label": name.title(), **more}


def document(properties: Any, fields: Sequence[Any] = (), **more: Any) -> dict[str, Any]:
    """A form's document. fields: left out, one for each property. Of `more`, the keywords of the
    schema begin with `schema_`."""
    schema = {"type": "object", "properties": properties}
    schema |= {key[7:]: value for key, value in more.items() if key.startswith("schema_")}
    return {
        "title": "Test",
        "schema": schema,
        "fields": list(fields) or [part(name) for name in properties],
        "cancel_reasons": ["other"],
        "after_sale_reasons": ["other"],
    } | {key: value for key, value in more.items() if not key.startswith("schema_")}


def make(properties: Any, fields: Sequence[Any] = (), **more: Any) -> Form:
    """The same as a form, which nobody has checked."""
    return form_of(document(properties, fields, **more))


def when(field: str, *is_in: Any) -> dict[str, Any]:
    return {"field": field, "is_in": list(is_in)}


def same(form: Form) -> Form:
    """By way of its document."""
    return form_of(document_of(form))


ADDRESS = {
    "country": "FR",
    "lines": ["1 rue de la Paix"],
    "postal_code": "75002",
    "locality": "Paris",
}

ANSWERS: dict[str, dict[str, Any]] = {
    "taxi": {
        "pickup_time": "later",
        "pickup_at": "2026-11-24T06:30:00+01:00",
        "vehicle": "standard",
        "passengers": 2,
        "luggage": 3,
        "child_seat": "none",
        "kilometres": 31.4,
        "night": True,
        "telephone": "+33 6 12 34 56 78",
        "payment": "card",
    },
    "loan-application": {
        "amount": 12_000,
        "term_months": 48,
        "purpose": "car",
        "born_on": "1984-02-29",
        "passport": "12AB34567",
        "employment": "employed",
        "employer": "Boulangerie Martin",
        "employed_since": "2019-09-01",
        "income": 2_350,
        "housing": "rent",
        "rent": 780,
        "other_loans": False,
        "telephone": "+33 1 42 68 53 00",
    },
    "internet-connection": {
        "plan": "fibre-300",
        "router": "bought",
        "routers": 2,
        "fixed_ip": True,
        "installation": "technician",
        "floor": 3,
        "telephone": "+33 6 12 34 56 78",
        "payment": "debit",
        "iban": "FR7630006000011234567890189",
    },
    "tariff-change": {
        "number": "+33 6 12 34 56 78",
        "from_tariff": "start",
        "to_tariff": "family",
        "starts": "on-a-day",
        "starts_on": "2026-12-01",
        "bound_months": 0,
        "extra_cards": 2,
    },
}
"""Right answers to the shipped forms, by name."""


class Api:
    """Calls of one caller, who sees `client_id`; `path` is below the client."""

    def __init__(self, http: httpx.AsyncClient, client_id: str, role: Role) -> None:
        self.http = http
        self.client_id = client_id
        now = time.time_ns() // 1000
        token = CALLERS.issue("ana", [client_id], role, now, 3600)
        self.headers = {"Authorization": f"Bearer {token}"}

    def as_(self, role: Role) -> "Api":
        return Api(self.http, self.client_id, role)

    async def call(self, method: str, path: str, body: Any = None, **more: Any) -> httpx.Response:
        """more: httpx's, such as content or params."""
        path = f"/v1/clients/{self.client_id}{path}"
        if body is not None:
            more["json"] = body
        headers = self.headers | more.pop("headers", {})
        return await self.http.request(method, path, headers=headers, **more)

    async def ok(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        answer = await self.call(method, path, body, **more)
        assert answer.is_success, answer.text
        return answer.json()

    async def publish(self, product_id: str, document: Any) -> int:
        answer = await self.ok("POST", f"/products/{product_id}/forms", document)
        return int(answer["version"])


def application(forms: Forms) -> FastAPI:
    async def known(_: str) -> bool:
        return True

    app = make_app("orders", "1", CALLERS, known, max_body=MAX_BODY)
    app.include_router(router(forms))
    return app


@asynccontextmanager
async def serving(forms: Forms) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application(forms))
    async with httpx.AsyncClient(transport=transport, base_url="http://orders") as http:
        yield http
