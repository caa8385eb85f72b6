"""HTTP: customers. Who they are is in bodies only, never in a URL."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field, StringConstraints
from pydantic.config import JsonDict

from eventkit.callers import Role
from eventkit.decider import Invalid
from eventkit.eventstore import Answer
from eventkit.http import (
    Body,
    CallerOf,
    CauseOf,
    ClientOf,
    Id,
    Listing,
    PageOf,
    example,
    problems,
    require,
    time_of,
)
from services.crm.customers import contact
from services.crm.customers.customer import FIELDS
from services.crm.customers.service import MAX_ROWS, Customers, Given, Outcome
from services.crm.customers.store import Known, Record

Line = Annotated[str, StringConstraints(max_length=contact.MAX_NAME)]
Contacts = Annotated[list[Line], Field(max_length=contact.MAX_CONTACTS)]
Region = Annotated[
    str,
    Field(
        max_length=2,
        description="ISO 3166 country of the numbers that are given without their country's code.",
        examples=["FR"],
    ),
]

EXAMPLE: JsonDict = {
    "number": "K-20417",
    "name": "Anaïs Lefèvre",
    "phones": ["06 12 34 56 78", "+33 1 42 68 53 00"],
    "emails": ["anais.lefevre@example.com"],
    "address": "12 rue des Lilas\n75011 Paris",
    "language": "fr",
    "time_zone": "Europe/Paris",
    "preferred_channel": "voice",
    "region": "FR",
}


class DetailsBody(Body):
    """What is named is set; null clears. number: the client's own, one customer's only.

    phones: in any usual notation. language: BCP 47. time_zone: IANA. preferred_channel: voice,
    chat or email.
    """

    number: Annotated[str, StringConstraints(max_length=contact.MAX_NUMBER)] | None = None
    name: Line | None = None
    phones: Contacts | None = None
    emails: Annotated[list[str], Field(max_length=contact.MAX_CONTACTS)] | None = None
    address: Annotated[str, StringConstraints(max_length=contact.MAX_ADDRESS)] | None = None
    language: Annotated[str, Field(max_length=100)] | None = None
    time_zone: Annotated[str, Field(max_length=100)] | None = None
    preferred_channel: Annotated[str, Field(max_length=20)] | None = None
    region: Region = ""

    def given(self) -> Given:
        values = self.model_dump(include={*FIELDS, "region"}, exclude_none=True)
        return Given(**values)

    def named(self) -> set[str]:
        return self.model_fields_set & set(FIELDS)


class NewCustomer(DetailsBody):
    """customer_id: made, if left out."""

    model_config = example(EXAMPLE)

    customer_id: Id | None = None


class Correction(DetailsBody):
    model_config = example({"language": "pt-BR", "address": None})


class Upsert(DetailsBody):
    """number says which customer is meant."""

    model_config = example(EXAMPLE)

    number: Annotated[str, StringConstraints(min_length=1, max_length=contact.MAX_NUMBER)]


class Merge(Body):
    model_config = example({"into_customer_id": "5d0c1d5e-1"})

    into_customer_id: Id


class Find(Body):
    """Exactly one of phone, email, number and name. Each word of a name begins one of theirs."""

    model_config = example({"name": "lefe ana"}, {"phone": "06 12 34 56 78", "region": "FR"})

    phone: Line | None = None
    email: Annotated[str, StringConstraints(max_length=contact.MAX_EMAIL)] | None = None
    number: Annotated[str, StringConstraints(max_length=contact.MAX_NUMBER)] | None = None
    name: Line | None = None
    region: Region = ""
    limit: Annotated[int, Field(ge=1, le=100)] = 50

    def key(self) -> tuple[str, str]:
        """(name of the field, its value). Raises Invalid."""
        given = [
            (name, value)
            for name in ("phone", "email", "number", "name")
            if (value := getattr(self, name)) is not None
        ]
        if len(given) != 1:
            raise Invalid("body", "exactly one of phone, email, number and name must be given")
        return given[0]


class ImportRow(Body):
    """Not checked here: what is no good is reported row by row."""

    number: str = ""
    name: str = ""
    phones: tuple[str, ...] = Field(default=(), strict=False)
    emails: tuple[str, ...] = Field(default=(), strict=False)
    address: str = ""
    language: str = ""
    time_zone: str = ""
    preferred_channel: str = ""


class Import(Body):
    """region: as for a single customer. dry_run: what would become of the rows; nothing changes."""

    model_config = Body.model_config | {
        "json_schema_extra": {
            "examples": [
                {
                    "dry_run": True,
                    "region": "FR",
                    "rows": [{"number": "K-1", "name": "Émile Roux", "phones": ["0612345678"]}],
                }
            ]
        }
    }

    rows: Annotated[list[ImportRow], Field(min_length=1, max_length=MAX_ROWS)]
    region: Region = ""
    dry_run: bool = False

    def given(self) -> list[Given]:
        contact.region(self.region)
        # Not model_dump: a thousand rows a request.
        return [
            Given(
                row.number,
                row.name,
                row.phones,
                row.emails,
                row.address,
                row.language,
                row.time_zone,
                row.preferred_channel,
                self.region,
            )
            for row in self.rows
        ]


class Changed(BaseModel):
    """version: of the record, the number of its events."""

    customer_id: str
    version: int


class Upserted(Changed):
    created: bool


class Grouped(Changed):
    """survivor_id: the record that stands for it now; its own id, if none does."""

    survivor_id: str


class RecordView(BaseModel):
    """One record by itself. merged_into: the record that stands for it."""

    customer_id: str
    number: str
    name: str
    phones: list[str]
    emails: list[str]
    address: str
    language: str
    time_zone: str
    preferred_channel: str
    source: str
    version: int
    registered_at: datetime
    changed_at: datetime
    merged_into: str

    @classmethod
    def of(cls, record: Record) -> "RecordView":
        values = {name: getattr(record, name) for name in cls.model_fields}
        lists = {name: list(values[name]) for name in ("phones", "emails")}
        times = {name: time_of(values[name]) for name in ("registered_at", "changed_at")}
        return cls(**(values | lists | times))


class CustomerView(BaseModel):
    """A person: the surviving record's id and version, the phones and emails of all records, and of
    every other field the first value that there is. Texts are empty where nothing is known.

    records: the surviving one first. erased_at: when all that was personal was erased.
    """

    customer_id: str
    version: int
    number: str
    name: str
    phones: list[str]
    emails: list[str]
    address: str
    language: str
    time_zone: str
    preferred_channel: str
    erased_at: datetime | None
    records: list[RecordView]

    @classmethod
    def of(cls, known: Known) -> "CustomerView":
        survivor = known.survivor
        texts = {name: known.first(name) for name in FIELDS if name not in ("phones", "emails")}
        return cls(
            customer_id=survivor.customer_id,
            version=survivor.version,
            phones=list(known.phones),
            emails=list(known.emails),
            erased_at=None if survivor.erased_at is None else time_of(survivor.erased_at),
            records=[RecordView.of(record) for record in known.records],
            **texts,
        )


class Found(BaseModel):
    """The best first: of just this name, then by the word that begins so, then by the name.

    complete: false where there are more than `limit`, or may be more because several words are
    asked for that each begin very many names: ask for longer ones.
    """

    items: list[CustomerView]
    complete: bool


class Imported(BaseModel):
    """What became of one row. customer_id: the new customer, or whom it is a duplicate of.

    row: where that is an earlier row of the request, which one, from 0. field, reason: of a
    rejected one. marks, sought: in a dry run; a row is a duplicate of an earlier accepted one, of
    another request too, if that has a mark that this one seeks.
    """

    outcome: Outcome
    customer_id: str = ""
    row: int | None = None
    field: str = ""
    reason: str = ""
    marks: list[str] = []
    sought: list[str] = []


class Report(BaseModel):
    """A line for each row, in their order."""

    lines: list[Imported]


def router(service: Customers) -> APIRouter:
    api = APIRouter(prefix="/v1/clients/{client_id}/customers", tags=["customers"])
    supervisor = [require("supervisor")]
    partner = [require("partner")]

    @api.post("", status_code=201, response_model=Changed, responses=problems(409))
    async def register_customer(cause: CauseOf, body: NewCustomer) -> Answer:
        return await service.register(cause, body.given(), "agent", body.customer_id)

    @api.put("", response_model=Upserted, responses=problems(409), dependencies=partner)
    async def upsert_customer(cause: CauseOf, caller: CallerOf, body: Upsert) -> Answer:
        """Register the customer with this number, or correct what is named. Repeat it freely."""
        return await service.upsert(cause, body.given(), body.named(), _source(caller.role))

    @api.get("", response_model=Listing[CustomerView])
    async def list_customers(client_id: ClientOf, page: PageOf) -> dict[str, Any]:
        after = page.after(str)
        known = await service.page(client_id, after[0] if after else "", page.rows)
        return page.of([CustomerView.of(each) for each in known], key=lambda e: (e.customer_id,))

    @api.post("/find", response_model=Found, dependencies=partner)
    async def find_customers(client_id: ClientOf, body: Find) -> Found:
        match body.key():
            case "phone", phone:
                found = await service.find_by_phone(client_id, phone, body.region, body.limit)
            case "email", email:
                found = await service.find_by_email(client_id, email, body.limit)
            case "number", number:
                found = await service.find_by_number(client_id, number)
            case _, name:
                found = await service.find_by_name(client_id, name, body.limit)
        items = [CustomerView.of(each) for each in found.items]
        return Found(items=items, complete=found.complete)

    @api.post(
        "/import",
        response_model=Report,
        response_model_exclude_defaults=True,
        responses=problems(409),
        dependencies=supervisor,
    )
    async def import_customers(cause: CauseOf, body: Import) -> Answer:
        """Register up to 1,000 customers; rows that are no good change nothing."""
        if body.dry_run:
            return await service.try_import(cause.client_id, body.given())
        return await service.import_rows(cause, body.given())

    @api.get("/{customer_id}", response_model=CustomerView, dependencies=partner)
    async def get_customer(client_id: ClientOf, customer_id: Id) -> CustomerView:
        """The person, also by the id of a record that was merged into another."""
        return CustomerView.of(await service.get(client_id, customer_id))

    @api.patch("/{customer_id}", response_model=Changed, responses=problems(409))
    async def correct_customer(cause: CauseOf, customer_id: Id, body: Correction) -> Answer:
        """Correct what is named of this very record, also of one that is merged."""
        return await service.correct(cause, customer_id, body.given(), body.named())

    @api.post(
        "/{customer_id}/merge",
        response_model=Grouped,
        responses=problems(409),
        dependencies=supervisor,
    )
    async def merge_customer(cause: CauseOf, customer_id: Id, body: Merge) -> Answer:
        """Both are the same person: from now on the other record stands for this one."""
        return await service.merge(cause, customer_id, body.into_customer_id)

    @api.post(
        "/{customer_id}/unmerge",
        response_model=Grouped,
        responses=problems(409),
        dependencies=supervisor,
    )
    async def unmerge_customer(cause: CauseOf, customer_id: Id) -> Answer:
        """The merge of this record was a mistake: it stands for itself again."""
        return await service.unmerge(cause, customer_id)

    return api


def _source(role: Role) -> str:
    return "partner" if role is Role.PARTNER else "agent"
