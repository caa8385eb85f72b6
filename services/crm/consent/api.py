"""HTTP: consents, do-not-call lists, the contact policy, the check. Addresses are in bodies only.

Agents record consents and see lists, supervisors keep lists and the policy; centre-wide lists are
for admins who see every client. Partners may check.
"""

import asyncio
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, get_args

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from eventkit.decider import Invalid
from eventkit.eventstore import Answer, Cause, Recorded
from eventkit.http import (
    Body,
    CauseOf,
    CentreCauseOf,
    CentreOf,
    ClientOf,
    Id,
    Lax,
    Listing,
    Name,
    PageOf,
    Text,
    Time,
    example,
    microseconds,
    problems,
    require,
    time_of,
)
from services.crm.consent import consent, contact, donotcall, service
from services.crm.consent.address import MAX_ADDRESS, Channel
from services.crm.consent.contact import About
from services.crm.consent.service import Services

Address = Annotated[
    str, Field(min_length=1, max_length=MAX_ADDRESS, examples=["+33612345678", "ann@example.com"])
]
"""E.164 for voice and sms; an email address; an id of a chat."""
Purpose = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", examples=["sales"])]
Words = Annotated[Text, Field(max_length=service.MAX_WORDS)]
Reference = Annotated[Text, Field(max_length=128)]
"""crm's id of a customer, or the client's own number, which may be any text."""
MaybeId = Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._:+-]{0,127})?$")]


# Consents.


class GiveConsent(Body):
    """customer: crm's id, or the client's own number. taken_by: the agent or system that heard it.

    given_at: now, if left out; expires_at: until it is withdrawn.
    """

    model_config = example(
        {
            "channel": "voice",
            "purpose": "sales",
            "address": "+33612345678",
            "proof": "recording",
            "reference": "rec-2026-11-23-0042",
            "place": "call about an invoice",
            "taken_by": "ana",
            "expires_at": "2028-11-23T00:00:00Z",
        }
    )

    channel: Lax[Channel]
    purpose: Purpose
    address: Address
    proof: Lax[consent.Proof]
    reference: Words = ""
    place: Words = ""
    taken_by: MaybeId = ""
    text: Text = ""
    customer: Reference = ""
    given_at: Time | None = None
    expires_at: Time | None = None

    def given(self) -> service.Given:
        return service.Given(
            channel=self.channel,
            purpose=self.purpose,
            address=self.address,
            proof=self.proof,
            reference=self.reference,
            place=self.place,
            taken_by=self.taken_by,
            text=self.text,
            customer=self.customer,
            given_at=microseconds(self.given_at),
            expires_at=microseconds(self.expires_at),
        )


class WithdrawConsent(Body):
    """Also for who never gave one: they object. withdrawn_at: now, if left out."""

    model_config = example(
        {
            "channel": "voice",
            "purpose": "sales",
            "address": "+33612345678",
            "place": "call",
            "text": "Do not call me again about offers.",
        }
    )

    channel: Lax[Channel]
    purpose: Purpose
    address: Address
    place: Words = ""
    text: Text = ""
    customer: Reference = ""
    withdrawn_at: Time | None = None

    def withdrawn(self) -> service.Withdrawn:
        return service.Withdrawn(
            channel=self.channel,
            purpose=self.purpose,
            address=self.address,
            place=self.place,
            text=self.text,
            customer=self.customer,
            withdrawn_at=microseconds(self.withdrawn_at),
        )


class FindConsents(Body):
    """Either a channel with an address, or a customer: crm's id, or the client's own number."""

    model_config = example({"channel": "voice", "address": "+33612345678"})

    channel: Lax[Channel] | None = None
    address: Address | None = None
    customer: Annotated[Reference, Field(min_length=1)] | None = None


class ConsentRecorded(BaseModel):
    consent_id: str
    version: int


class ConsentView(BaseModel):
    """One for each address, channel and purpose. given_at: null where there is only an objection,
    or where the person was erased."""

    consent_id: str
    channel: Channel
    purpose: str
    customer_id: str | None
    proof: consent.Proof | None
    given_at: datetime | None
    expires_at: datetime | None
    withdrawn_at: datetime | None
    version: int


class ConsentsFound(BaseModel):
    items: list[ConsentView]


class ConsentEventView(BaseModel):
    """What happened: ConsentGiven, ConsentWithdrawn or ConsentErased. Texts are empty for what it
    does not have, and for all that was the person's once the person was erased."""

    event: str
    at: datetime
    recorded_at: datetime
    recorded_by: str
    customer_id: str = ""
    address: str = ""
    proof: consent.Proof | None = None
    reference: str = ""
    place: str = ""
    taken_by: str = ""
    text: str = ""
    expires_at: datetime | None = None


class ConsentHistory(BaseModel):
    """Oldest first."""

    consent_id: str
    events: list[ConsentEventView]


# The policy.


class PolicyRule(Body):
    """consent_on: the channels that need prior consent; on the others all may be contacted who did
    not object. consent_overrides_registries: a consent that is newer than the listing overrides a
    public register, though never a list of the client's or the centre's own."""

    purpose: Purpose
    consent_on: Lax[list[Lax[Channel]]] = Field(default_factory=list)
    consent_overrides_registries: bool = False


class PublishPolicy(Body):
    """Rules of purposes that are left out are the default's."""

    model_config = example(
        {
            "rules": [
                {
                    "purpose": "sales",
                    "consent_on": ["voice", "sms", "email", "chat"],
                    "consent_overrides_registries": True,
                },
                {"purpose": "event-invitation"},
            ]
        }
    )

    rules: Annotated[list[PolicyRule], Field(max_length=contact.MAX_PURPOSES)]


class PolicyPublished(BaseModel):
    version: int


class PolicyView(BaseModel):
    """version 0: nothing but the default."""

    version: int
    rules: list[PolicyRule]


# The check.


class CheckContact(Body):
    """at: now, if left out. The answer is what is known now, for that time."""

    model_config = example({"address": "+33612345678", "channel": "voice", "purpose": "sales"})

    address: Address
    channel: Lax[Channel]
    purpose: Purpose
    at: Time | None = None

    def ask(self) -> service.Ask:
        return service.Ask(self.address, self.channel, self.purpose, microseconds(self.at))


class CheckMany(Body):
    model_config = example(
        {"questions": [{"address": "+33612345678", "channel": "voice", "purpose": "sales"}]}
    )

    questions: Annotated[list[CheckContact], Field(max_length=service.MAX_QUESTIONS)]


class GroundView(BaseModel):
    """id, version: of the consent, list (`centre/` before those that bind all clients) or policy
    that was read; version 0 where there is none."""

    allows: bool
    kind: About
    id: str
    version: int
    reason: str


class VerdictView(BaseModel):
    """Every ground that was looked at, those that forbid first. Allowed where none forbids."""

    allowed: bool
    grounds: list[GroundView]


class QuestionProblem(BaseModel):
    field: str
    reason: str


class CheckedView(BaseModel):
    """One of the two: the answer, or what was no good about the question."""

    verdict: VerdictView | None
    problem: QuestionProblem | None


class ManyChecked(BaseModel):
    """In the order of the questions."""

    items: list[CheckedView]


# Lists.


class DefineList(Body):
    """channels, purposes: what the list forbids; empty is all. max_age_days: how old a copy may be.
    required: without a copy that is young enough nobody may be contacted."""

    model_config = example(
        {
            "name": "Bloctel",
            "kind": "registry",
            "channels": ["voice"],
            "purposes": ["sales", "win-back"],
            "max_age_days": 31,
            "required": True,
        }
    )

    name: Name
    kind: Lax[donotcall.Kind] = donotcall.Kind.OWN
    channels: Lax[list[Lax[Channel]]] = Field(default_factory=list)
    purposes: Annotated[list[Purpose], Field(max_length=contact.MAX_PURPOSES)] = Field(
        default_factory=list
    )
    max_age_days: Annotated[int, Field(ge=1, le=donotcall.MAX_AGE_DAYS)] | None = None
    required: bool = False

    def settings(self) -> donotcall.Settings:
        return donotcall.Settings(
            self.name,
            self.kind,
            tuple(self.channels),
            tuple(self.purposes),
            self.max_age_days,
            self.required,
        )


class NumberBody(Body):
    """A telephone number or an email address. expires_at: until when; left out: for good."""

    address: Address
    expires_at: Time | None = None


Numbers = Annotated[list[NumberBody], Field(max_length=service.MAX_NUMBERS)]


class ChangeNumbers(Body):
    """Up to 10,000 together. as_of: the date of the register's data, where that is newer now."""

    model_config = example(
        {
            "add": [{"address": "+33612345678"}],
            "remove": ["+33612345679"],
            "source": "wishes of the week",
        }
    )

    add: Numbers = Field(default_factory=list)
    remove: Annotated[list[Address], Field(max_length=service.MAX_NUMBERS)] = Field(
        default_factory=list
    )
    source: Words = ""
    as_of: Time | None = None


class OpenImport(Body):
    """as_of: the date of the copy's data."""

    model_config = example({"source": "bloctel-2026-11.csv", "as_of": "2026-11-20T00:00:00Z"})

    import_id: Id | None = None
    source: Words = ""
    as_of: Time


class AddToImport(Body):
    model_config = example({"numbers": [{"address": "+33612345678"}]})

    numbers: Numbers


class ListAnswer(BaseModel):
    """The list's version and size now."""

    list_id: str
    version: int
    size: int


class NumbersChanged(ListAnswer):
    added: int
    removed: int


class ImportOpened(ListAnswer):
    import_id: str


class ImportExtended(BaseModel):
    """numbers: how many this part has."""

    import_id: str
    numbers: int


class ListView(DefineList):
    """size: numbers on it, those whose own time is over included. importing: the open import."""

    model_config = ConfigDict(extra="forbid", strict=True)

    list_id: str
    version: int
    size: int
    source: str
    as_of: datetime | None
    importing: str | None
    retired: bool


def router(services: Services) -> APIRouter:
    """All of it, for a client and for the centre."""
    api = APIRouter()
    api.include_router(_consents(services.consents))
    api.include_router(_contact(services))
    api.include_router(
        _lists(services.lists, "/v1/clients/{client_id}", "", CauseOf, ClientOf, "supervisor")
    )
    api.include_router(
        _lists(services.lists, "/v1/centre", "Centre", CentreCauseOf, CentreOf, "admin")
    )
    return api


def _consents(consents: service.Consents) -> APIRouter:
    api = APIRouter(prefix="/v1/clients/{client_id}/consents", tags=["consent"])

    @api.post(
        "",
        status_code=201,
        response_model=ConsentRecorded,
        responses=problems(409),
        operation_id="giveConsent",
    )
    async def give(cause: CauseOf, body: GiveConsent) -> Answer:
        """Record that somebody allows to be contacted, and how it can be shown."""
        return await consents.give(cause, body.given())

    @api.post(
        "/withdraw",
        response_model=ConsentRecorded,
        responses=problems(409),
        operation_id="withdrawConsent",
    )
    async def withdraw(cause: CauseOf, body: WithdrawConsent) -> Answer:
        """Record that somebody does not allow it any more, or never did."""
        return await consents.withdraw(cause, body.withdrawn())

    @api.post("/find", response_model=ConsentsFound, operation_id="findConsents")
    async def find(client_id: ClientOf, body: FindConsents) -> dict[str, Any]:
        """The consents of an address, or of a customer and the customer's addresses."""
        if body.customer is not None and body.channel is None and body.address is None:
            rows = await consents.of_customer(client_id, body.customer)
        elif body.customer is None and body.channel is not None and body.address is not None:
            rows = await consents.of_address(client_id, body.channel, body.address)
        else:
            raise Invalid("customer", "either a customer, or a channel with an address")
        return {"items": [_consent_view(row) for row in rows]}

    @api.get("/{consent_id}", response_model=ConsentHistory, operation_id="getConsent")
    async def history(client_id: ClientOf, consent_id: Id) -> dict[str, Any]:
        """What happened to a consent, with its proofs."""
        events = await consents.history(client_id, consent_id)
        return {"consent_id": consent_id, "events": [_event_view(each) for each in events]}

    return api


def _contact(services: Services) -> APIRouter:
    api = APIRouter(prefix="/v1/clients/{client_id}/contact", tags=["consent"])

    @api.post(
        "/check",
        response_model=VerdictView,
        dependencies=[require("partner")],
        operation_id="checkContact",
    )
    async def check(client_id: ClientOf, body: CheckContact) -> contact.Verdict:
        """May the client contact this address for this purpose now, and why (not)?"""
        return await services.contacts.check(client_id, body.ask())

    @api.post(
        "/check-many",
        response_model=ManyChecked,
        dependencies=[require("partner")],
        operation_id="checkContacts",
    )
    async def check_many(client_id: ClientOf, body: CheckMany) -> dict[str, Any]:
        """The same for up to 1,000 questions; one that is no good does not spoil the others."""

        async def one(question: CheckContact) -> dict[str, Any]:
            try:
                verdict = await services.contacts.check(client_id, question.ask())
            except Invalid as error:
                problem = {"field": error.field, "reason": error.reason}
                return {"verdict": None, "problem": problem}
            return {"verdict": verdict, "problem": None}

        return {"items": await asyncio.gather(*map(one, body.questions))}

    @api.get("/policy", response_model=PolicyView, operation_id="getContactPolicy")
    async def policy(client_id: ClientOf) -> dict[str, Any]:
        """What each purpose needs: the client's own rules and those of the default."""
        found = await services.policies.get(client_id)
        return {"version": found.version, "rules": [_rule_view(each) for each in found.all_rules]}

    @api.put(
        "/policy",
        response_model=PolicyPublished,
        responses=problems(409),
        dependencies=[require("supervisor")],
        operation_id="publishContactPolicy",
    )
    async def publish(cause: CauseOf, body: PublishPolicy) -> Answer:
        """Replace the client's own rules."""
        rules = [
            contact.Rule(each.purpose, tuple(each.consent_on), each.consent_overrides_registries)
            for each in body.rules
        ]
        return await services.policies.publish(cause, rules)

    return api


def _lists(
    lists: service.Lists, prefix: str, whose: str, cause_of: Any, client_of: Any, role: str
) -> APIRouter:
    """The same paths for a client's lists and for the centre's; `whose` is in their operations'
    ids, `role` is who may change them."""
    api = APIRouter(prefix=f"{prefix}/do-not-call-lists", tags=["do-not-call"])
    change: dict[str, Any] = {"dependencies": [require(role)], "responses": problems(409)}
    cause_dependency = get_args(cause_of)[1]
    client_dependency = get_args(client_of)[1]

    @api.get("", response_model=Listing[ListView], operation_id=f"get{whose}DoNotCallLists")
    async def all(page: PageOf, client_id: str = client_dependency) -> dict[str, Any]:
        """The lists, retired ones too."""
        after = page.after(str)
        rows = await lists.all(client_id, "" if after is None else after[0], page.rows)
        return page.of([_list_view(row) for row in rows], key=lambda each: (each.list_id,))

    @api.get("/{list_id}", response_model=ListView, operation_id=f"get{whose}DoNotCallList")
    async def get(list_id: Id, client_id: str = client_dependency) -> ListView:
        """A list: its settings, version and size. Who is on it, nobody can read."""
        return _list_view(await lists.get(client_id, list_id))

    @api.put(
        "/{list_id}",
        response_model=ListAnswer,
        operation_id=f"define{whose}DoNotCallList",
        **change,
    )
    async def define(list_id: Id, body: DefineList, cause: Cause = cause_dependency) -> Answer:
        """Make a list, or change its settings: a new version."""
        return await lists.define(cause, list_id, body.settings())

    @api.post(
        "/{list_id}/numbers",
        response_model=NumbersChanged,
        operation_id=f"change{whose}DoNotCallNumbers",
        **change,
    )
    async def numbers(list_id: Id, body: ChangeNumbers, cause: Cause = cause_dependency) -> Answer:
        """Add and remove numbers: a new version, unless all of it is so already."""
        return await lists.change_numbers(
            cause, list_id, _numbers(body.add), body.remove, body.source, microseconds(body.as_of)
        )

    @api.post(
        "/{list_id}/imports",
        status_code=201,
        response_model=ImportOpened,
        operation_id=f"open{whose}DoNotCallImport",
        **change,
    )
    async def open(list_id: Id, body: OpenImport, cause: Cause = cause_dependency) -> Answer:
        """Begin a whole new copy of the list. Its parts count once it is published."""
        as_of = microseconds(body.as_of)
        return await lists.open_import(cause, list_id, body.import_id, body.source, as_of)

    @api.post(
        "/{list_id}/imports/{import_id}/numbers",
        response_model=ImportExtended,
        operation_id=f"extend{whose}DoNotCallImport",
        **change,
    )
    async def extend(
        list_id: Id, import_id: Id, body: AddToImport, cause: Cause = cause_dependency
    ) -> Answer:
        """A part of the copy."""
        return await lists.add_to_import(cause, list_id, import_id, _numbers(body.numbers))

    @api.post(
        "/{list_id}/imports/{import_id}/publish",
        response_model=NumbersChanged,
        operation_id=f"publish{whose}DoNotCallImport",
        **change,
    )
    async def publish(list_id: Id, import_id: Id, cause: Cause = cause_dependency) -> Answer:
        """From now on the list is what the import says."""
        return await lists.publish_import(cause, list_id, import_id)

    @api.post(
        "/{list_id}/retire",
        response_model=ListAnswer,
        operation_id=f"retire{whose}DoNotCallList",
        **change,
    )
    async def retire(list_id: Id, cause: Cause = cause_dependency) -> Answer:
        """The list forbids nothing any more, for good."""
        return await lists.retire(cause, list_id)

    return api


def _numbers(bodies: Iterable[NumberBody]) -> list[service.Number]:
    return [service.Number(each.address, microseconds(each.expires_at)) for each in bodies]


def _rule_view(rule: contact.Rule) -> PolicyRule:
    return PolicyRule(
        purpose=rule.purpose,
        consent_on=list(rule.consent_on),
        consent_overrides_registries=rule.consent_overrides_registries,
    )


def _consent_view(row: Any) -> ConsentView:
    return ConsentView(
        consent_id=row.consent_id,
        channel=row.channel,
        purpose=row.purpose,
        customer_id=row.customer_id or None,
        proof=row.proof or None,
        given_at=time_of(row.given_at),
        expires_at=time_of(row.expires_at),
        withdrawn_at=time_of(row.withdrawn_at),
        version=row.version,
    )


def _event_view(recorded: Recorded[consent.Event]) -> ConsentEventView:
    event = recorded.event
    view = ConsentEventView(
        event=type(event).__name__,
        at=time_of(recorded.occurred_at),
        recorded_at=time_of(recorded.recorded_at),
        recorded_by=recorded.actor,
    )
    match event:
        case consent.ConsentGiven():
            return view.model_copy(
                update={
                    "at": time_of(event.given_at),
                    "customer_id": event.customer_id,
                    "address": event.address,
                    "proof": event.proof,
                    "reference": event.reference,
                    "place": event.place,
                    "taken_by": event.taken_by,
                    "text": event.text,
                    "expires_at": time_of(event.expires_at),
                }
            )
        case consent.ConsentWithdrawn():
            return view.model_copy(
                update={
                    "at": time_of(event.withdrawn_at),
                    "customer_id": event.customer_id,
                    "address": event.address,
                    "place": event.place,
                    "text": event.text,
                }
            )
        case consent.ConsentErased():
            return view


def _list_view(row: Any) -> ListView:
    return ListView(
        list_id=row.list_id,
        name=row.name,
        kind=donotcall.Kind(row.kind),
        channels=[Channel(each) for each in row.channels],
        purposes=row.purposes,
        max_age_days=row.max_age_days,
        required=row.required,
        version=row.version,
        size=row.size,
        source=row.source,
        as_of=time_of(row.as_of),
        importing=row.importing or None,
        retired=row.retired,
    )
