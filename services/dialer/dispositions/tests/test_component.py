"""What crm and agents say of calls, with real PostgreSQL: attempts, leads, what rests look at."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa
from aiokafka import ConsumerRecord
from relais.customers.v1 import events_pb2 as pb
from relais.event.v1.meta_pb2 import EventMeta

from eventkit.callers import Role
from eventkit.errors import BadRecord
from eventkit.eventstore import EventStore
from eventkit.records import Bad, Batch
from eventkit.wire import timestamp
from services.dialer.attempts import attempt as a
from services.dialer.compliance.store import CONTACTS_TABLE
from services.dialer.dispositions.service import Dispositions
from services.dialer.dispositions.stream import Hearing
from services.dialer.leads.lead import Lead
from services.dialer.leads.store import LEADS
from services.dialer.tests.desk import NOBODY, TALKED, Desk, open_desk

AT = 1_790_000_000_000_000
LATER = {
    "dispositions": {"call-later": {"then": "same", "after_seconds": 3600, "times": 5}},
}


@pytest.fixture
async def desk(store: EventStore, client_id: str) -> AsyncIterator[Desk]:
    async with open_desk(store, client_id) as desk:
        await desk.campaign(recycling=LATER)
        yield desk


def said(client_id: str, call_id: str, **body: Any) -> pb.CustomerEvent:
    meta = EventMeta(client_id=client_id, occurred_at=timestamp(AT))
    return pb.CustomerEvent(meta=meta, call_id=call_id, **body)


def disposed(disposition: str) -> dict[str, Any]:
    return {"call_dispositioned": pb.CallDispositioned(disposition=disposition, agent_id="ann")}


def batch_of(values: list[bytes]) -> Batch:
    records = [
        ConsumerRecord("customer-events", 0, number, 0, 0, b"k", value, None, 1, len(value), ())
        for number, value in enumerate(values)
    ]
    return Batch("customer-events", 0, 0, len(values), records)


async def hear(desk: Desk, *events: pb.CustomerEvent | bytes) -> list[Bad]:
    async def known(client_id: str) -> bool:
        return client_id == desk.client_id

    values = [each if isinstance(each, bytes) else each.SerializeToString() for each in events]
    return await Hearing(Dispositions(desk.store), known)(batch_of(values))


async def lead(desk: Desk, attempt_id: str) -> Lead:
    return (await desk.store.load(LEADS, desk.client_id, f"lead-{attempt_id}"))[0]


async def contact(desk: Desk, attempt_id: str) -> sa.RowMapping:
    t = CONTACTS_TABLE.c
    query = sa.select(CONTACTS_TABLE).where(
        t.client_id == desk.client_id, t.attempt_id == attempt_id
    )
    async with desk.store.reading() as connection:
        return (await connection.execute(query)).mappings().one()


async def test_a_sale_that_crm_tells(desk: Desk) -> None:
    await desk.dialled("at-1", *TALKED)
    accepted = pb.OfferAccepted(offer_id="fibre-xl", agent_id="ann")
    for _ in range(2):  # at least once
        assert not await hear(
            desk,
            said(desk.client_id, "at-1", offer_accepted=accepted),
            said(desk.client_id, "at-1", **disposed("sale")),
            said(desk.client_id, "an-inbound-call", **disposed("advice")),
        )
        shown = await desk.get("/attempts/at-1")
        assert shown["version"] == 7
        assert shown["disposed"] == {
            "at": "2026-09-21T14:13:20Z",
            "disposition": "sale",
            "agent_id": "ann",
            "converted": True,
            "refusal_reason": None,
        }
        live = await desk.get("/campaigns/spring/live")
        assert (live["conversions"], live["conversion_rate"]) == (1, 1.0)
    assert (await lead(desk, "at-1")).closed_reason == "sale"


async def test_a_disposition_opens_the_lead_again_by_the_campaigns_rule(desk: Desk) -> None:
    await desk.dialled("at-1", *TALKED)
    assert (await lead(desk, "at-1")).closed_reason == "connected"
    assert not await hear(desk, said(desk.client_id, "at-1", **disposed("call-later")))
    state = await lead(desk, "at-1")
    assert (state.status.value, state.due_at) == ("waiting", AT + 3_600_000_000)


async def test_of_a_call_that_goes_on_the_lead_hears_with_its_end(desk: Desk) -> None:
    await desk.dialled("at-1", *TALKED[:-1])
    assert not await hear(desk, said(desk.client_id, "at-1", **disposed("call-later")))
    assert (await desk.get("/attempts/at-1"))["disposed"]["disposition"] == "call-later"
    assert (await lead(desk, "at-1")).status.value == "dialling"


async def test_a_refusal_is_what_rests_look_at(desk: Desk) -> None:
    await desk.dialled("at-1", *TALKED)
    await desk.dialled("at-2", *TALKED)
    refused = pb.OfferRefused(offer_id="fibre-xl", agent_id="ann", reason="too-expensive")
    assert not await hear(desk, said(desk.client_id, "at-1", offer_refused=refused))
    row = await contact(desk, "at-1")
    assert (row["conversation"], row["refused"], row["abandoned"]) == (True, True, False)
    assert not (await contact(desk, "at-2"))["refused"]


async def test_an_agent_says_it_by_hand(desk: Desk) -> None:
    await desk.dialled("at-1", *TALKED)
    ann = desk.as_(Role.AGENT)
    body = {"disposition": "refused", "refusal_reason": "not-now"}
    first = await ann.do("/attempts/at-1/dispose", body, key="k-1")
    assert first == {"attempt_id": "at-1", "version": 6, "converted": False}
    assert await ann.do("/attempts/at-1/dispose", body, key="k-1") == first
    assert (await lead(desk, "at-1")).closed_reason == "refused"
    await ann.refused("/attempts/at-9/dispose", body, 404)
    told = await ann.refused("/attempts/at-1/dispose", {"disposition": "No!"}, 422)
    assert told["errors"][0]["field"] == "disposition"


async def test_that_it_was_a_machine_after_all(desk: Desk) -> None:
    """It is no conversation, and no live answer for the measure."""
    await desk.dialled("at-1", *TALKED)
    assert (await contact(desk, "at-1"))["conversation"]
    await desk.do("/attempts/at-1/dispose", {"disposition": a.ANSWERING_MACHINE})
    state, _ = await desk.dialer.attempts.get(desk.client_id, "at-1")
    assert state.heard_machine


async def test_the_erased_are_not_called_any_more(desk: Desk) -> None:
    await desk.dialled("at-1", *NOBODY, customer_id="cu-1")
    await desk.dialled("at-2", customer_id="cu-1")
    await desk.dialled("at-3", *NOBODY, customer_id="cu-2")
    meta = EventMeta(client_id=desk.client_id, occurred_at=timestamp(AT))
    erased = pb.CustomerEvent(meta=meta, customer_id="cu-1", erased=pb.CustomerErased())
    for _ in range(2):
        assert not await hear(desk, erased)
        for attempt_id, reason in (("at-1", "erased"), ("at-2", "erased"), ("at-3", "no-answer")):
            state = await lead(desk, attempt_id)
            assert state.closed_reason == reason
            assert bool(state.phones) == (reason != "erased"), "nothing of theirs can be read"


@pytest.mark.parametrize(
    ("event", "field"),
    [
        (b"\xffrubbish", ""),
        (said("no such client!", "at-1", **disposed("sale")), "meta.client_id"),
        (said("somebody", "at-1", **disposed("sale")), "client_id"),
        (said("somebody", "at-1", **disposed("a sale!")), "disposition"),
    ],
    ids=["rubbish", "client", "stranger", "code"],
)
async def test_what_makes_no_sense_goes_to_the_dead_letters(
    desk: Desk, event: pb.CustomerEvent | bytes, field: str
) -> None:
    await desk.dialled("at-1", *TALKED)
    (bad,) = await hear(desk, event, said(desk.client_id, "at-1", **disposed("sale")))
    assert isinstance(bad.error, BadRecord)
    assert getattr(bad.error, "field", "") == field
    assert (await desk.get("/attempts/at-1"))["disposed"]["disposition"] == "sale"
