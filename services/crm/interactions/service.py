"""The use cases of interactions: what agents write about a call, and what is asked about calls."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from eventkit.decider import Invalid, NotFound, Rejected, fold
from eventkit.eventstore import Answer, Category, Cause, EventStore, Transaction
from eventkit.ids import derived_id
from services.crm.catalogue import store as catalogue
from services.crm.customers import store as customers
from services.crm.interactions import codec, store
from services.crm.interactions import interaction as i

CALLS: Final = Category(
    store.CALL,
    i.DECIDER,
    topic=codec.TOPIC,
    message=codec.message,
    project=store.project,
    subject=lambda call_id, call: store.subject_of(call_id, call.customer_id),
)

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")

Zone = Callable[[str], Awaitable[ZoneInfo]]
"""A client's time zone. Raises NotFound."""
ArticleVersion = Callable[[AsyncConnection, str, str], Awaitable[int | None]]
"""(connection, client, article) -> the version that is read now; None: no such article."""
CountHelped = Callable[[AsyncConnection, str, str, int, str], Awaitable[bool]]
"""(connection, client, article, version, call): counts it, in the transaction; a repeat is none."""
Decide = Callable[[AsyncConnection], Awaitable[i.Command]]


@dataclass(frozen=True, slots=True)
class Shown:
    """A call, and the customer whose it is, by crm's surviving id; None: not known."""

    call: store.Call
    customer_id: str | None


class Interactions:
    """ids: makes a new id. article_version, count_helped: the knowledge base's. Nothing but
    NotFound, Invalid, Rejected and Unavailable is raised that a caller has to expect.

    An agent's first word about a call also fixes whose call it is, where the telephone system named
    a customer and crm knows them: from then on the texts are sealed with that customer's key.
    """

    def __init__(
        self,
        events: EventStore,
        ids: Callable[[], str],
        zone: Zone,
        article_version: ArticleVersion,
        count_helped: CountHelped,
    ) -> None:
        self._events = events
        self._ids = ids
        self._zone = zone
        self._article_version = article_version
        self._count_helped = count_helped

    async def attribute(self, cause: Cause, call_id: str, customer_id: str) -> Answer:
        """Say whose call it was. customer_id: crm's id or the client's own number."""

        async def command(connection: AsyncConnection) -> i.Command:
            found = await customers.resolve(connection, cause.client_id, customer_id)
            if found is None:
                raise NotFound("customer")
            return i.AttributeCall(found, i.Source.AGENT)

        return await self._say(cause, call_id, command)

    async def write_note(
        self, cause: Cause, call_id: str, text: str, note_id: str | None = None
    ) -> Answer:
        """Write something down. The answer has the note's id."""
        new = note_id or self._new_id(cause)
        return await self._say(cause, call_id, i.WriteNote(new, cause.actor, text))

    async def edit_note(self, cause: Cause, call_id: str, note_id: str, text: str) -> Answer:
        return await self._say(cause, call_id, i.EditNote(note_id, cause.actor, text))

    async def classify(self, cause: Cause, call_id: str, topic_id: str) -> Answer:
        """Say what the call was about, by a topic that may be chosen."""

        async def command(connection: AsyncConnection) -> i.Command:
            path = await catalogue.topic_path(connection, cause.client_id, topic_id)
            if path is None:
                raise Invalid("topic_id", "no such topic")
            if not await catalogue.topic_exists(connection, cause.client_id, topic_id):
                raise Rejected("the topic is retired", "topic_id")
            return i.ClassifyCall(path, cause.actor)

        return await self._say(cause, call_id, command)

    async def disposition(self, cause: Cause, call_id: str, disposition: str) -> Answer:
        """Say how the call ended for the business."""

        async def command(connection: AsyncConnection) -> i.Command:
            found = await catalogue.disposition(connection, cause.client_id, disposition)
            if found is None:
                raise Invalid("disposition", "no such disposition")
            if found.retired:
                raise Rejected("the disposition is retired", "disposition")
            return i.DispositionCall(disposition, cause.actor)

        return await self._say(cause, call_id, command)

    async def accept(self, cause: Cause, call_id: str, offer_id: str) -> Answer:
        """The customer takes the offer. Raises Rejected where it is not valid on that day."""
        day = await self._day(cause)

        async def command(connection: AsyncConnection) -> i.Command:
            offer = await catalogue.offer(connection, cause.client_id, offer_id)
            if offer is None:
                raise NotFound("offer")
            if offer.retired or not offer.valid_on(day):
                raise Rejected("the offer is not valid on this day", "offer_id")
            return i.AcceptOffer(offer_id, cause.actor)

        return await self._say(cause, call_id, command)

    async def refuse(
        self,
        cause: Cause,
        call_id: str,
        offer_id: str,
        reason: str,
        not_before: date | None = None,
        text: str = "",
    ) -> Answer:
        """The customer does not take the offer, for a reason of the client's list."""
        day = await self._day(cause)

        async def command(connection: AsyncConnection) -> i.Command:
            if await catalogue.offer(connection, cause.client_id, offer_id) is None:
                raise NotFound("offer")
            why = await catalogue.refusal_reason(connection, cause.client_id, reason)
            if why is None:
                raise Invalid("reason", "no such refusal reason")
            if why.retired:
                raise Rejected("the refusal reason is retired", "reason")
            return i.RefuseOffer(
                offer_id,
                cause.actor,
                reason,
                not_before,
                text,
                day,
                needs_date=why.needs_date,
                needs_text=why.needs_text,
            )

        return await self._say(cause, call_id, command)

    async def article_helped(self, cause: Cause, call_id: str, article_id: str) -> Answer:
        """The agent found the answer in the article's present version."""

        async def command(connection: AsyncConnection) -> i.Command:
            version = await self._article_version(connection, cause.client_id, article_id)
            if version is None:
                raise NotFound("article")
            return i.RecordHelp(article_id, version, cause.actor)

        return await self._say(cause, call_id, command)

    async def _say(self, cause: Cause, call_id: str, what: i.Command | Decide) -> Answer:
        if not ID.fullmatch(call_id):
            raise Invalid("call_id", f"must match ^{ID.pattern}$")

        async def work(tx: Transaction) -> Answer:
            command = await what(tx.connection) if callable(what) else what
            before, version = await tx.load(CALLS, call_id)
            known = await self._known_by_telephone(tx, call_id, before)
            events = i.decide(known, before) if known is not None else []
            events = [*events, *i.decide(command, fold(i.DECIDER, events, before))]
            for change in await tx.append(CALLS, [(call_id, before, version, events)]):
                version = change.version
            if isinstance(command, i.RecordHelp):
                helped = (command.article_id, command.article_version, call_id)
                await self._count_helped(tx.connection, cause.client_id, *helped)
            answer: Answer = {"call_id": call_id, "version": version}
            if isinstance(command, i.WriteNote):
                answer["note_id"] = command.note_id
            return answer

        return await self._events.run(cause, work)

    async def _known_by_telephone(
        self, tx: Transaction, call_id: str, call: i.Call
    ) -> i.AttributeCall | None:
        if call.customer_id:
            return None
        client_id = tx.cause.client_id
        reference = await store.telephone_reference(tx.connection, client_id, call_id)
        if reference is None:
            return None
        found = await customers.resolve(tx.connection, client_id, reference)
        return None if found is None else i.AttributeCall(found, i.Source.TELEPHONE)

    async def _day(self, cause: Cause) -> date:
        """The day of what is said, where the client is."""
        zone = await self._zone(cause.client_id)
        at = self._events.clock.now_us() if cause.occurred_at is None else cause.occurred_at
        return (EPOCH + timedelta(microseconds=at)).astimezone(zone).date()

    def _new_id(self, cause: Cause) -> str:
        """With an idempotency key always the same, so that a retry means the same note."""
        if cause.idempotency_key is None:
            return self._ids()
        return derived_id(cause.client_id, cause.idempotency_key)

    # Questions.

    async def timeline(
        self, client_id: str, customer_id: str, before: store.Place | None, limit: int
    ) -> list[tuple[store.Place, store.Call | sa.Row[Any]]]:
        """All that there is of a customer, the newest first. Raises NotFound."""
        async with self._events.engine.connect() as connection:
            person = await customers.person(connection, client_id, customer_id)
            if person is None:
                raise NotFound("customer")
            return await store.timeline(connection, person, before, limit)

    async def call(self, client_id: str, call_id: str) -> Shown:
        """One call with everything on it. Raises NotFound."""
        async with self._events.engine.connect() as connection:
            found = await store.call(connection, client_id, call_id)
            if found is None:
                raise NotFound("call")
            reference = found.row.reference
            customer_id = None
            if reference is not None:
                customer_id = await customers.resolve(connection, client_id, reference)
            return Shown(found, customer_id)

    async def refusals(
        self,
        client_id: str,
        offer_id: str,
        reason: str,
        since: date | None,
        may_ask_on: date | None,
        before: tuple[int, str] | None,
        limit: int,
    ) -> Sequence[sa.Row[Any]]:
        """Who has refused an offer and not accepted it since. since: a day in the client's zone.
        Raises NotFound for an offer that the client does not have."""
        since_us = None
        if since is not None:
            midnight = datetime.combine(since, time(), await self._zone(client_id))
            since_us = (midnight - EPOCH) // timedelta(microseconds=1)
        wanted = store.Wanted(offer_id, reason, since_us, may_ask_on)
        async with self._events.engine.connect() as connection:
            if await catalogue.offer(connection, client_id, offer_id) is None:
                raise NotFound("offer")
            return await store.refusals(connection, client_id, wanted, before, limit)
