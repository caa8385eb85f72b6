"""HTTP: a client's catalogue. Agents read it, supervisors change it."""

import json
from collections.abc import Callable, Coroutine, Mapping
from decimal import Decimal
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final

import yaml
from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field, PlainSerializer
from starlette.types import Message

from eventkit.decider import Invalid
from eventkit.eventstore import Answer
from eventkit.http import Body, CauseOf, ClientOf, Day, Id, Lax, Name, example, problems, require
from services.crm.catalogue import catalogue as c
from services.crm.catalogue.service import Catalogues

TEMPLATES: Final = Path(__file__).with_name("templates")
YAML_TYPES: Final = ("application/yaml", "application/x-yaml", "text/yaml")

Language = Annotated[str, Field(pattern=rf"^({c.LANGUAGE.pattern})?$", examples=["fr"])]
Names = Annotated[
    Name | Annotated[dict[Language, Name], Field(min_length=1)],
    Field(examples=["Billing", {"": "Billing", "fr": "Facturation"}]),
]
"""One name, or names by BCP 47 language; the name under "" is for all other languages."""
Price = Annotated[
    Decimal,
    Field(strict=False, ge=0, lt=c.MAX_PRICE, max_digits=18, decimal_places=6, examples=["29.90"]),
    PlainSerializer(str, return_type=str),
]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", examples=["EUR"])]


def names(given: str | Mapping[str, str]) -> c.Name:
    return {"": given} if isinstance(given, str) else dict(given)


class Template(StrEnum):
    """A catalogue to begin with."""

    TELECOM = "telecom"


class TopicBody(Body):
    """parent: the topic above; left out for a root. retired: may be chosen no more."""

    model_config = example({"name": {"": "Internet", "fr": "Internet"}, "parent": "technical"})

    name: Names
    parent: Id | None = None
    retired: bool = False

    def domain(self) -> c.Topic:
        return c.Topic(names(self.name), self.parent or "", self.retired)


class DispositionBody(Body):
    """closes: nothing more is expected of the call. flags: what that means for whoever counts."""

    model_config = example({"name": "Sold", "closes": True, "flags": ["completed", "sale"]})

    name: Names
    closes: bool = True
    flags: list[Lax[c.Flag]] = Field(default_factory=list)
    retired: bool = False

    def domain(self) -> c.Disposition:
        flags = tuple(sorted(set(self.flags)))
        return c.Disposition(names(self.name), self.closes, flags, self.retired)


class OfferBody(Body):
    """valid_from, valid_until: days in the client's zone, both included."""

    model_config = example(
        {"name": "Fibre 500", "price": "29.90", "currency": "EUR", "valid_until": "2026-12-31"}
    )

    name: Names
    price: Price | None = None
    currency: Currency | None = None
    valid_from: Day | None = None
    valid_until: Day | None = None
    retired: bool = False

    def domain(self) -> c.Offer:
        return c.Offer(
            names(self.name),
            self.price,
            self.currency or "",
            self.valid_from,
            self.valid_until,
            self.retired,
        )


class RefusalReasonBody(Body):
    """needs_date: such as "not now, ask again from then on". needs_text: it says nothing alone."""

    model_config = example({"name": "Not now", "needs_date": True})

    name: Names
    needs_date: bool = False
    needs_text: bool = False
    retired: bool = False

    def domain(self) -> c.RefusalReason:
        return c.RefusalReason(names(self.name), self.needs_date, self.needs_text, self.retired)


class CatalogueBody(Body):
    """Each list by id."""

    model_config = example(
        {
            "topics": {"billing": {"name": "Billing"}},
            "refusal_reasons": {"too-expensive": {"name": "Too expensive"}},
        }
    )

    topics: dict[Id, TopicBody] = Field(default_factory=dict)
    dispositions: dict[Id, DispositionBody] = Field(default_factory=dict)
    offers: dict[Id, OfferBody] = Field(default_factory=dict)
    refusal_reasons: dict[Id, RefusalReasonBody] = Field(default_factory=dict)

    def domain(self) -> c.Catalogue:
        return c.Catalogue(
            {id: each.domain() for id, each in self.topics.items()},
            {id: each.domain() for id, each in self.dispositions.items()},
            {id: each.domain() for id, each in self.offers.items()},
            {id: each.domain() for id, each in self.refusal_reasons.items()},
        )


class CatalogueVersion(BaseModel):
    """version: of the client's catalogue now. changes: the events that it took; 0 for a repeat."""

    version: int
    changes: int


class TopicView(BaseModel):
    """path: the ids from the root to the topic. selectable: nothing on the path is retired."""

    name: Names
    parent: str | None
    retired: bool
    path: list[str]
    selectable: bool


class CatalogueView(BaseModel):
    """Each list by id, retired ones included: what was said refers to them."""

    topics: dict[str, TopicView]
    dispositions: dict[str, DispositionBody]
    offers: dict[str, OfferBody]
    refusal_reasons: dict[str, RefusalReasonBody]


def router(service: Catalogues) -> APIRouter:
    api = APIRouter(
        prefix="/v1/clients/{client_id}/catalogue", tags=["catalogue"], route_class=_YamlRoute
    )
    change: dict[str, Any] = {
        "response_model": CatalogueVersion,
        "dependencies": [require("supervisor")],
        "responses": problems(409),
    }

    @api.get("", response_model=CatalogueView, operation_id="getCatalogue")
    async def get(client_id: ClientOf) -> CatalogueView:
        """All that agents choose from, retired items included."""
        return _view(await service.get(client_id))

    @api.put("/topics/{topic_id}", operation_id="defineTopic", **change)
    async def define_topic(cause: CauseOf, topic_id: Id, body: TopicBody) -> Answer:
        """Add, rename, move, retire or reinstate a topic."""
        return await service.change(cause, c.DefineTopic(topic_id, body.domain()))

    @api.put("/dispositions/{disposition}", operation_id="defineDisposition", **change)
    async def define_disposition(cause: CauseOf, disposition: Id, body: DispositionBody) -> Answer:
        """Define how a call can end for the business."""
        return await service.change(cause, c.DefineDisposition(disposition, body.domain()))

    @api.put("/offers/{offer_id}", operation_id="defineOffer", **change)
    async def define_offer(cause: CauseOf, offer_id: Id, body: OfferBody) -> Answer:
        """Define what agents can offer."""
        return await service.change(cause, c.DefineOffer(offer_id, body.domain()))

    @api.put("/refusal-reasons/{reason}", operation_id="defineRefusalReason", **change)
    async def define_refusal_reason(cause: CauseOf, reason: Id, body: RefusalReasonBody) -> Answer:
        """Define why an offer can be refused."""
        return await service.change(cause, c.DefineRefusalReason(reason, body.domain()))

    @api.post("/import", operation_id="importCatalogue", openapi_extra=_ALSO_YAML, **change)
    async def import_catalogue(cause: CauseOf, body: CatalogueBody) -> Answer:
        """Make the catalogue say what the body says, as JSON or YAML. What it does not name stays
        as it is; the same again changes nothing."""
        return await service.change(cause, c.ImportCatalogue(body.domain()))

    @api.post("/templates/{template}", operation_id="loadCatalogueTemplate", **change)
    async def load_template(cause: CauseOf, template: Template) -> Answer:
        """Import a catalogue that Relais brings along."""
        return await service.change(cause, c.ImportCatalogue(template_catalogue(template)))

    return api


_ALSO_YAML: Final = {
    "requestBody": {
        "content": {"application/yaml": {"schema": {"$ref": "#/components/schemas/CatalogueBody"}}}
    }
}


class _YamlRoute(APIRoute):
    """A body in YAML is taken as the same in JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def convert(request: Request) -> Response:
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind in YAML_TYPES:
                body = json.dumps(read_yaml(await request.body())).encode()
                headers = [
                    (name, value)
                    for name, value in request.scope["headers"]
                    if name not in (b"content-type", b"content-length")
                ]
                headers.append((b"content-type", b"application/json"))

                async def receive() -> Message:
                    return {"type": "http.request", "body": body, "more_body": False}

                request = Request({**request.scope, "headers": headers}, receive)
            return await handle(request)

        return convert


class _Loader(yaml.SafeLoader):
    """YAML of what JSON has: no dates, which are texts here, and no aliases, of which a few lines
    could make gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(data: bytes) -> Any:
    """What JSON could say, too. Raises Invalid."""
    try:
        return json.loads(json.dumps(yaml.load(data, _Loader), allow_nan=False))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        raise Invalid("body", "not YAML that can be read") from None


@cache
def template_catalogue(template: Template) -> c.Catalogue:
    """Raises what a template must not have: pydantic's ValidationError."""
    data = read_yaml((TEMPLATES / f"{template}.yaml").read_bytes())
    return CatalogueBody.model_validate(data).domain()


def _shown(name: c.Name) -> str | dict[str, str]:
    return name[""] if name.keys() == {""} else dict(name)


def _view(catalogue: c.Catalogue) -> CatalogueView:
    return CatalogueView(
        topics={
            id: TopicView(
                name=_shown(topic.name),
                parent=topic.parent or None,
                retired=topic.retired,
                path=list(catalogue.path(id)),
                selectable=catalogue.selectable(id),
            )
            for id, topic in catalogue.topics.items()
        },
        dispositions={
            id: DispositionBody(
                name=_shown(item.name),
                closes=item.closes,
                flags=list(item.flags),
                retired=item.retired,
            )
            for id, item in catalogue.dispositions.items()
        },
        offers={
            id: OfferBody.model_construct(
                name=_shown(item.name),
                price=item.price,
                currency=item.currency or None,
                valid_from=item.valid_from,
                valid_until=item.valid_until,
                retired=item.retired,
            )
            for id, item in catalogue.offers.items()
        },
        refusal_reasons={
            id: RefusalReasonBody(
                name=_shown(item.name),
                needs_date=item.needs_date,
                needs_text=item.needs_text,
                retired=item.retired,
            )
            for id, item in catalogue.refusal_reasons.items()
        },
    )
