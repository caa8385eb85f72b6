"""customer-events in: what crm says of calls that are attempts, and who is erased.

A batch that comes again changes nothing, so the offset is committed after it. Calls that are no
attempts, inbound ones above all, are passed over.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Final, TypeVar

from relais.customers.v1.events_pb2 import CustomerEvent

from eventkit.consumer import BatchConsumer
from eventkit.deadletter import DeadLetters
from eventkit.errors import InvalidMessage
from eventkit.records import Bad, Batch, Record
from eventkit.tasks import patiently
from eventkit.wire import decoded, microseconds
from services.dialer.attempts.attempt import ID
from services.dialer.dispositions.heard import Erased, Said
from services.dialer.dispositions.service import Dispositions

log = logging.getLogger(__name__)

TOPIC: Final = "customer-events"
GROUP: Final = "dialer-customers"
CHUNK: Final = 2_000
"""Records that are decoded at a stretch; between them the event loop has its turn."""
AT_ONCE: Final = 200
"""Calls, or customers, of one transaction."""
PATIENCE_S: Final = 60.0

T = TypeVar("T")


class Hearing:
    """The handler of a BatchConsumer over customer-events.

    known: whether a client is registered. patience_s: how long PostgreSQL may be away before the
    process stops, with its offset uncommitted.
    """

    def __init__(
        self,
        dispositions: Dispositions,
        known: Callable[[str], Awaitable[bool]],
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._dispositions = dispositions
        self._known = known
        self._patience_s = patience_s

    async def __call__(self, batch: Batch) -> list[Bad]:
        """Raises Unavailable."""
        bad: list[Bad] = []
        heard: defaultdict[str, list[tuple[Record, Said | Erased]]] = defaultdict(list)
        for number, record in enumerate(batch.records):
            if number % CHUNK == 0:
                await asyncio.sleep(0)
            try:
                one = decode(record)
            except InvalidMessage as error:
                bad.append(Bad(record, error))
                continue
            if one is not None:
                client_id, what = one
                heard[client_id].append((record, what))
        for client_id, of_client in heard.items():
            if not await self._known(client_id):
                stranger = InvalidMessage("client_id", "not registered")
                bad += [Bad(record, stranger) for record, _ in of_client]
                continue
            await self._tell(client_id, [what for _, what in of_client])
        return sorted(bad, key=lambda each: each.record.offset)

    async def _tell(self, client_id: str, heard: Sequence[Said | Erased]) -> None:
        said = [each for each in heard if isinstance(each, Said)]
        for chunk in _chunks(said):
            tell = partial(self._dispositions.heard, client_id, chunk)
            await patiently(tell, self._patience_s)
        erased = sorted({each.customer_id for each in heard if isinstance(each, Erased)})
        for ids in _chunks(erased):
            forget = partial(self._dispositions.forget, client_id, ids)
            closed = await patiently(forget, self._patience_s)
            log.info("%d customers are erased, %d leads of theirs are closed", len(ids), closed)


def _chunks(several: Sequence[T]) -> Iterator[list[T]]:
    rest = iter(several)
    while chunk := list(islice(rest, AT_ONCE)):
        yield chunk


def decode(record: Record) -> tuple[str, Said | Erased] | None:
    """The client, and what is said. None: an event that says nothing to the dialer. Raises
    InvalidMessage."""
    event = decoded(record, CustomerEvent)
    body = event.WhichOneof("body")
    if body == "erased":
        what: Said | Erased = Erased(_id("customer_id", event.customer_id))
    elif not event.call_id:
        return None
    else:
        said = _said(event, body)
        if said is None:
            return None
        what = said
    return _id("meta.client_id", event.meta.client_id), what


def _said(event: CustomerEvent, body: str | None) -> Said | None:
    at, call_id = microseconds(event.meta.occurred_at), event.call_id
    match body:
        case "call_dispositioned":
            disposed = event.call_dispositioned
            disposition = _id("disposition", disposed.disposition)
            return Said(at, _id("call_id", call_id), disposition, _agent(disposed.agent_id))
        case "offer_accepted":
            accepted = event.offer_accepted
            return Said(
                at,
                _id("call_id", call_id),
                agent_id=_agent(accepted.agent_id),
                accepted_offer=_id("offer_id", accepted.offer_id),
            )
        case "offer_refused":
            refused = event.offer_refused
            return Said(
                at,
                _id("call_id", call_id),
                agent_id=_agent(refused.agent_id),
                refused_offer=_id("offer_id", refused.offer_id),
                refusal_reason=_id("reason", refused.reason),
            )
        case "survey_completed":
            return Said(
                at,
                _id("call_id", call_id),
                completed_questionnaire=_id(
                    "questionnaire_id", event.survey_completed.questionnaire_id
                ),
            )
    return None


def _id(field: str, value: str) -> str:
    if not ID.fullmatch(value):
        raise InvalidMessage(field, "no id")
    return value


def _agent(value: str) -> str:
    return _id("agent_id", value) if value else ""


def make_consumer(
    bootstrap: str,
    dispositions: Dispositions,
    known: Callable[[str], Awaitable[bool]],
    dead_letters: DeadLetters,
    *,
    group: str = GROUP,
    max_records: int = 5_000,
    linger_s: float = 0.2,
    group_instance: str | None = None,
) -> BatchConsumer:
    """The consumer that hears what crm says, for the worker: `await consumer.run()`.

    known: whether a client is registered. group_instance: see KafkaSettings.
    """
    return BatchConsumer(
        bootstrap,
        group,
        [TOPIC],
        Hearing(dispositions, known),
        dead_letters,
        max_records=max_records,
        linger_s=linger_s,
        group_instance=group_instance,
    )
