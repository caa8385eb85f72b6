"""HTTP: forms. Supervisors publish them, agents and partners read them, and agents ask whether
answers are right."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from eventkit.eventstore import Answer
from eventkit.http import (
    Body,
    CauseOf,
    ClientOf,
    Id,
    Lax,
    Listing,
    Name,
    PageOf,
    Text,
    Whole,
    example,
    problems,
    require,
    time_of,
)
from services.orders.forms import form as f
from services.orders.forms import schema
from services.orders.forms.codec import document_of, form_of
from services.orders.forms.service import Forms, shipped, shipped_names
from services.orders.forms.store import Version
from services.orders.prices.pricing import Period

FieldName = Annotated[str, Field(pattern=rf"^{f.NAME.pattern}$", examples=["plan"])]
FieldOrNone = Annotated[str, Field(pattern=rf"^({f.NAME.pattern})?$", examples=["plan"])]
Currency = Annotated[str, Field(pattern=r"^([A-Z]{3})?$", examples=["EUR"])]
Code = Annotated[str, Field(pattern=rf"^{f.CODE.pattern}$", examples=["setup"])]
Country = Annotated[str, Field(pattern=rf"^{f.COUNTRY.pattern}$", examples=["FR"])]
Help = Annotated[Text, Field(max_length=f.MAX_TEXT)]
Line = Annotated[Name, Field(max_length=f.MAX_LABEL)]
# Text, because a number in JSON may be a float.
Amount = Annotated[str, Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,6})?$", examples=["29.90"])]
Percent = Annotated[str, Field(pattern=r"^[0-9]{1,4}(\.[0-9]{1,6})?$", examples=["20"])]
Key = Annotated[Text, Field(max_length=f.MAX_SCALAR)]
Scalar = bool | Annotated[int, Field(ge=-f.MAX_WHOLE, le=f.MAX_WHOLE)] | Key
FormVersion = Annotated[int, Field(ge=1, lt=2**31, examples=[1])]

_EXAMPLE: dict[str, Any] = {
    "title": "Newspaper",
    "schema": {
        "type": "object",
        "properties": {
            "edition": {"type": "string", "enum": ["daily", "weekend"]},
            "copies": {"type": "integer", "minimum": 1, "maximum": 10},
        },
        "required": ["edition", "copies"],
    },
    "fields": [
        {"name": "edition", "label": "Which edition?", "reported": True},
        {"name": "copies", "label": "How many copies?", "default": 1},
        {"name": "to", "label": "Where to?", "kind": "address", "required": True, "confirm": True},
    ],
    "currency": "EUR",
    "prices": [
        {
            "rule_id": "subscription",
            "label": "Subscription",
            "period": "monthly",
            "field": "edition",
            "amounts": {"daily": "39.90", "weekend": "14.90"},
            "quantity": "copies",
        }
    ],
    "checklist": [{"point_id": "price", "text": "The price of a month", "says": "total"}],
    "cancel_reasons": ["changed-mind", "too-expensive"],
    "after_sale_reasons": ["not-delivered"],
}


# A form as a document: what is written, and what is shown.


class WhenPart(Body):
    """Holds where the field's answer is one of these."""

    field: FieldName
    is_in: list[Scalar] = Field(min_length=1, max_length=f.MAX_VALUES)


class FieldPart(Body):
    """default: any value that the schema allows. shown_when: on a field before this one. reported:
    its answer goes to analytics. required, confirm, countries: of an address only."""

    name: FieldName
    label: Line
    help: Help = ""
    kind: Lax[f.FieldKind] = f.FieldKind.VALUE
    default: Any = None
    shown_when: WhenPart | None = None
    reported: bool = False
    required: bool = False
    confirm: bool = False
    countries: list[Country] = Field(default=[], max_length=f.MAX_COUNTRIES)


class PricePart(Body):
    """Exactly one of: amount; field with amounts, by its answer; percent with of, the rules before
    it that it is a percentage of. quantity: a field whose number multiplies the amount."""

    rule_id: Code
    label: Line
    period: Lax[Period] = Period.ONCE
    when: WhenPart | None = None
    amount: Amount | None = None
    field: FieldOrNone = ""
    amounts: dict[Key, Amount] = Field(default={}, max_length=f.MAX_AMOUNTS)
    quantity: FieldOrNone = ""
    percent: Percent | None = None
    of: list[Code] = Field(default=[], max_length=f.MAX_PRICES)


class VisitPart(Body):
    """address: the field that decides the area; left out, the area is given by hand."""

    skill: Code
    minutes: Whole = Field(ge=f.VISIT_STEP, le=f.MAX_VISIT_MINUTES, multiple_of=f.VISIT_STEP)
    address: FieldOrNone = ""
    when: WhenPart | None = None


class PointPart(Body):
    """says: what it tells besides its text."""

    point_id: Code
    text: Annotated[Help, Field(min_length=1)]
    required: bool = True
    when: WhenPart | None = None
    says: Lax[f.Says] = f.Says.NOTHING


class FormDocument(Body):
    """schema: draft 2020-12, of one object whose properties are the fields of kind `value`; which
    keywords and formats it may have is in docs/subsystems/orders-forms.md. currency: ISO 4217,
    where there are prices."""

    model_config = example(_EXAMPLE)

    title: Line
    schema_: dict[str, Any] = Field(alias="schema")
    fields_: list[FieldPart] = Field(alias="fields", min_length=1, max_length=f.MAX_FIELDS)
    prices: list[PricePart] = Field(default=[], max_length=f.MAX_PRICES)
    currency: Currency = ""
    visit: VisitPart | None = None
    checklist: list[PointPart] = Field(default=[], max_length=f.MAX_POINTS)
    confirmation: Lax[f.Confirmation] = f.Confirmation.CLIENT
    draft_minutes: Whole = Field(default=24 * 60, ge=f.MIN_DRAFT_MINUTES, le=f.MAX_DRAFT_MINUTES)
    after_sale_days: Whole = Field(default=14, ge=0, le=f.MAX_AFTER_SALE_DAYS)
    visit_grace_minutes: Whole = Field(default=60, ge=0, le=f.MAX_GRACE_MINUTES)
    cancel_reasons: list[Code] = Field(min_length=1, max_length=f.MAX_REASONS)
    after_sale_reasons: list[Code] = Field(min_length=1, max_length=f.MAX_REASONS)

    def form(self) -> f.Form:
        return form_of(self.model_dump(by_alias=True))


class FaultsBody(Body):
    """answers: by field, addresses left out. partial: of a draft, where what is missing is no
    fault."""

    model_config = example(answers={"edition": "daily", "copies": 2})

    answers: dict[str, Any]
    partial: bool = False


# Answers.


class ProductVersion(BaseModel):
    product_id: str
    version: int


class Product(BaseModel):
    """version, title: of its latest form. retired: nothing new is ordered."""

    product_id: str
    version: int
    title: str
    retired: bool


class FormView(BaseModel):
    product_id: str
    version: int
    published_at: datetime
    retired: bool
    form: FormDocument


class Checked(BaseModel):
    """What is published will be what is said here."""

    form: FormDocument


class Shipped(BaseModel):
    names: list[str]


class ShippedForm(BaseModel):
    name: str
    form: FormDocument


class Fault(BaseModel):
    """field: its name, and what is below it in a list or an object; `answers`: all together."""

    field: str
    reason: str


class Faults(BaseModel):
    """fields: what is asked, given these answers, in its order, with its defaults. visit: whether
    one is needed. points: what the customer is to be told."""

    faults: list[Fault]
    fields: list[FieldPart]
    visit: bool
    points: list[PointPart]


def router(service: Forms) -> APIRouter:
    api = APIRouter(prefix="/v1/clients/{client_id}", tags=["forms"])
    read: dict[str, Any] = {"dependencies": [require("partner")]}
    change: dict[str, Any] = {
        "response_model": ProductVersion,
        "dependencies": [require("supervisor")],
        "responses": problems(409),
    }
    one = "/products/{product_id}/forms"

    @api.get("/products", response_model=Listing[Product], operation_id="listProducts", **read)
    async def products(client_id: ClientOf, page: PageOf) -> dict[str, Any]:
        """All products, by their id, retired ones too."""
        after = page.after(str)
        found = await service.list(client_id, after[0] if after else "", page.rows)
        return page.of(found, key=lambda each: (each["product_id"],))

    @api.post(one, status_code=201, operation_id="publishForm", **change)
    async def publish(cause: CauseOf, product_id: Id, body: FormDocument) -> Answer:
        """The next version of a product's form; the same form again gives none. Orders that there
        are keep the version that they were taken with."""
        return await service.publish(cause, product_id, body.form())

    @api.get(one, response_model=FormView, operation_id="getForm", **read)
    async def current(client_id: ClientOf, product_id: Id) -> dict[str, Any]:
        """The latest version."""
        return _view(product_id, await service.show(client_id, product_id))

    @api.get(
        f"{one}/versions/{{version}}",
        response_model=FormView,
        operation_id="getFormVersion",
        **read,
    )
    async def version(client_id: ClientOf, product_id: Id, version: FormVersion) -> dict[str, Any]:
        """One version, which never changes."""
        return _view(product_id, await service.show(client_id, product_id, version))

    @api.post(
        f"{one}/versions/{{version}}/faults", response_model=Faults, operation_id="checkAnswers"
    )
    async def faults(
        client_id: ClientOf, product_id: Id, version: FormVersion, body: FaultsBody
    ) -> dict[str, Any]:
        """Everything that is wrong with answers, and what is asked because of them. Keeps
        nothing."""
        form = await service.version(client_id, product_id, version)
        found = schema.faults(form, body.answers, partial=body.partial)
        shown = {field.name for field in form.shown(body.answers)}
        points = {point.point_id for point in form.points_for(body.answers)}
        document = document_of(form)
        return {
            "faults": [{"field": field, "reason": reason} for field, reason in found],
            "fields": [field for field in document["fields"] if field["name"] in shown],
            "visit": form.visit_for(body.answers) is not None,
            "points": [one for one in document["checklist"] if one["point_id"] in points],
        }

    @api.post(f"{one}/retire", operation_id="retireProduct", **change)
    async def retire(cause: CauseOf, product_id: Id) -> Answer:
        """Nothing new is ordered; orders that there are go on."""
        return await service.retire(cause, product_id)

    @api.post(f"{one}/restore", operation_id="restoreProduct", **change)
    async def restore(cause: CauseOf, product_id: Id) -> Answer:
        """It can be ordered again."""
        return await service.restore(cause, product_id)

    @api.post(
        "/forms/check",
        response_model=Checked,
        operation_id="checkForm",
        dependencies=[require("supervisor")],
    )
    async def check(client_id: ClientOf, body: FormDocument) -> dict[str, Any]:
        """What publication would say; changes nothing."""
        form = body.form()
        schema.check_form(form)
        return {"form": document_of(form)}

    @api.get("/forms/shipped", response_model=Shipped, operation_id="listShippedForms", **read)
    async def examples(client_id: ClientOf) -> dict[str, Any]:
        """The examples that come with Relais."""
        return {"names": list(shipped_names())}

    @api.get(
        "/forms/shipped/{name}", response_model=ShippedForm, operation_id="getShippedForm", **read
    )
    async def shipped_form(client_id: ClientOf, name: Id) -> dict[str, Any]:
        """One of them, to publish it with one's own prices and reasons."""
        return {"name": name, "form": shipped(name)}

    @api.post("/forms/shipped/{name}", status_code=201, operation_id="publishShippedForm", **change)
    async def publish_shipped(cause: CauseOf, name: Id) -> Answer:
        """Publish an example as it is: the product has its name."""
        return await service.publish_shipped(cause, name)

    return api


def _view(product_id: str, found: Version) -> dict[str, Any]:
    return {
        "product_id": product_id,
        "version": found.version,
        "published_at": time_of(found.published_at),
        "retired": found.retired,
        "form": document_of(found.form),
    }
