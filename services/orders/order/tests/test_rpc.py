"""Partners over gRPC: an order from the submission to what came after the sale, what is refused and
how it is said, deadlines, and following."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import grpc
import pytest
from google.protobuf import json_format, struct_pb2
from google.rpc import error_details_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status
from relais.orders.v1 import events_pb2
from relais.orders.v1 import order_service_pb2 as pb
from relais.orders.v1.events_pb2 import OrderEvent
from relais.orders.v1.order_service_pb2_grpc import OrderServiceStub
from sqlalchemy.ext.asyncio import AsyncEngine

from eventkit.callers import Role
from eventkit.eventstore import Cause, EventStore
from eventkit.keys import KeyRing
from eventkit.process import new_id
from eventkit.records import Message
from eventkit.relay import Relay
from eventkit.rpc import start_server
from eventkit.tests.support import until
from services.orders.order.rpc import SERVICE
from services.orders.order.store import ORDERS
from services.orders.order.tests.support import DAY, FORM, HOUR, MINUTE, PROMOTION, T0
from services.orders.rpc import services
from services.orders.service import Ordering
from services.orders.visits.area import Ground
from services.orders.visits.crew import Arrangement
from services.orders.visits.tests.support import CALLERS, WEEKDAYS, SetClock

Stub = Any
Code = grpc.StatusCode
EIGHT = T0 + 23 * HOUR
"""Tuesday, nine o'clock in Paris."""


@dataclass
class Erp:
    """A partner's program."""

    stub: Stub
    client_id: str
    ordering: Ordering
    clock: SetClock
    store: EventStore

    def token(self, role: Role = Role.PARTNER) -> list[tuple[str, str]]:
        issued = CALLERS.issue("erp", [self.client_id], role, time.time_ns() // 1000, 3600)
        return [("authorization", f"Bearer {issued}")]

    async def ask(self, method: str, request: Any, **more: Any) -> Any:
        return await getattr(self.stub, method)(request, **{"metadata": self.token(), **more})

    async def refused(self, method: str, request: Any, **more: Any) -> "Refusal":
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.ask(method, request, **more)
        return Refusal.of(caught.value)

    def submission(self, key: str = "", **more: Any) -> pb.SubmitOrderRequest:
        """Of an order that can be placed."""
        request = pb.SubmitOrderRequest(
            client_id=self.client_id,
            idempotency_key=key,
            product_id="line",
            customer_id="cu-1",
            answers_json=json.dumps({"plan": "fast", "install": "crew", "routers": 2}),
            addresses={
                "home": pb.Address(
                    country="FR",
                    lines=["1 rue A"],
                    postal_code="75002",
                    locality="Paris",
                    as_spoken="un, rue A",
                    confirmed=True,
                )
            },
            promotion_ids=["ten"],
            told=["passport", "when", "amount"],
            campaign_id="camp-1",
            offer_id="offer-1",
            reference="SO-1",
        )
        request.visit_starts_at.FromMicroseconds(EIGHT)
        name: Any
        for name, value in more.items():
            request.ClearField(name)
            if name == "addresses":
                for field, address in value.items():
                    request.addresses[field].CopyFrom(address)
            elif isinstance(value, list):
                getattr(request, name).extend(value)
            elif name == "visit_starts_at":
                if value:
                    request.visit_starts_at.FromMicroseconds(value)
            else:
                setattr(request, name, value)
        return request

    async def submit(self, key: str = "", **more: Any) -> pb.SubmitOrderResponse:
        answer: pb.SubmitOrderResponse = await self.ask("SubmitOrder", self.submission(key, **more))
        return answer

    async def get(self, order_id: str) -> pb.Order:
        request = pb.GetOrderRequest(client_id=self.client_id, order_id=order_id)
        order: pb.Order = (await self.ask("GetOrder", request)).order
        return order

    async def events(self, order_id: str) -> list[str]:
        found = await self.store.history(ORDERS, self.client_id, order_id)
        assert [each.version for each in found] == list(range(1, len(found) + 1))
        return [type(each.event).__name__ for each in found]


@dataclass
class Refusal:
    """A status. fields: of what was wrong; more: what helps to go on."""

    code: grpc.StatusCode
    fields: list[str]
    more: dict[str, Any]

    @classmethod
    def of(cls, error: grpc.aio.AioRpcError) -> "Refusal":
        status = rpc_status.from_call(error)  # type: ignore[arg-type]
        fields: list[str] = []
        more: dict[str, Any] = {}
        for detail in status.details if status is not None else ():
            bad, failed = error_details_pb2.BadRequest(), error_details_pb2.PreconditionFailure()
            struct = struct_pb2.Struct()
            if detail.Unpack(bad):
                fields += [each.field for each in bad.field_violations]
            elif detail.Unpack(failed):
                fields += [each.subject for each in failed.violations]
            elif detail.Unpack(struct):
                more |= json_format.MessageToDict(struct)
        return cls(error.code(), fields, more)


class Topic:
    """Where the relay publishes to."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def send_many(self, messages: Sequence[Message]) -> None:
        self.messages += messages

    def of(self, client_id: str) -> list[bytes | None]:
        mine = f"{client_id}/".encode()
        return [each.value for each in self.messages if (each.key or b"").startswith(mine)]


@pytest.fixture
async def topic(engine: AsyncEngine) -> AsyncIterator[Topic]:
    topic = Topic()
    relay = Relay(engine, topic, poll_s=0.1)  # type: ignore[arg-type]
    running = asyncio.create_task(relay.run())
    yield topic
    relay.stop()
    await running


@pytest.fixture
async def erp(engine: AsyncEngine, keys: KeyRing, client_id: str) -> AsyncIterator[Erp]:
    """With the form `line`, a promotion, and two crews who come to Paris on weekdays."""
    clock = SetClock(T0)
    store = EventStore(engine, keys, clock)

    async def zone(_: str) -> ZoneInfo:
        return ZoneInfo("Europe/Paris")

    ordering = Ordering.over(store, zone, clock, new_id)
    cause = Cause(client_id, "sue")
    await ordering.forms.publish(cause, "line", FORM)
    await ordering.promotions.publish(cause, PROMOTION)
    await ordering.visits.draw(cause, "paris", Ground("Paris", "FR", ("75",)))
    for crew in ("crew-1", "crew-2"):
        arrangement = Arrangement(crew, "Europe/Paris", WEEKDAYS, ("paris",), ("fibre",), 0)
        await ordering.visits.arrange(cause, crew, arrangement)
    server, port = await start_server("127.0.0.1:0", services(ordering), CALLERS)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = OrderServiceStub  # its code has no types
        yield Erp(stub(channel), client_id, ordering, clock, store)
    await server.stop(None)
    await store.close()


async def test_submitted_once_and_shown(erp: Erp) -> None:
    first = await erp.submit("once")
    assert await erp.submit("once") == first
    assert (first.total.amount, first.total.currency) == ("79.80", "EUR")
    assert first.monthly.amount == "40.00"
    assert first.visit.starts_at.ToMicroseconds() == EIGHT
    assert first.visit.area_id == "paris"
    order = await erp.get(first.order_id)
    assert (order.order_id, order.version) == (first.order_id, first.version)
    assert order.status == pb.ORDER_STATUS_PLACED
    assert order.origin == events_pb2.Origin(
        product_id="line",
        form_version=1,
        customer_id="cu-1",
        agent_id=order.origin.agent_id,
        campaign_id="camp-1",
        offer_id="offer-1",
        channel="partner",
    )
    said = {"plan": "fast", "install": "crew", "routers": 2, "floor": 0, "invoice": "none"}
    assert json.loads(order.answers_json) == said
    home = order.addresses["home"]
    assert (home.postal_code, home.as_spoken, home.confirmed) == ("75002", "un, rue A", True)
    assert list(order.promotion_ids) == ["ten"]
    assert (order.total, order.monthly) == (first.total, first.monthly)
    assert [line.line_id for line in order.lines if line.discount] == ["ten"]
    assert {line.line_id for line in order.lines if line.monthly} == {"plan"}
    assert order.visit == first.visit
    assert order.visit_status == pb.VISIT_STATUS_SCHEDULED
    assert order.reference == "SO-1"
    assert order.placed_at.ToMicroseconds() == T0
    for name in ("confirmed_at", "fulfilled_at", "after_sale_until"):
        assert not order.HasField(name)


async def test_from_placed_to_returned(erp: Erp) -> None:
    """Also: what is repeated with its key is answered as it was, and changes nothing."""
    made = await erp.submit(order_id="o-1")

    async def twice(method: str, request: Any) -> Any:
        request.client_id, request.order_id, request.idempotency_key = erp.client_id, "o-1", method
        first = await erp.ask(method, request)
        assert await erp.ask(method, request) == first
        return first

    await twice("ConfirmOrder", pb.ConfirmOrderRequest(reference="ERP-7"))
    order = await erp.get("o-1")
    assert (order.status, order.reference) == (pb.ORDER_STATUS_CONFIRMED, "ERP-7")
    assert order.confirmed_at.ToMicroseconds() == T0

    erp.clock.now = EIGHT + 30 * MINUTE
    missed = pb.ReportVisitOutcomeRequest(
        visit_id=made.visit.visit_id,
        outcome=pb.VISIT_OUTCOME_CREW_ABSENT,
        text="Nobody rang.",
        send_another=True,
    )
    another = (await twice("ReportVisitOutcome", missed)).visit
    assert another.crew_id != made.visit.crew_id
    assert another.starts_at.ToMicroseconds() >= erp.clock.now
    order = await erp.get("o-1")
    assert (order.visit, order.visit_status) == (another, pb.VISIT_STATUS_SCHEDULED)

    erp.clock.now = another.ends_at.ToMicroseconds()
    done = pb.ReportVisitOutcomeRequest(
        client_id=erp.client_id,
        order_id="o-1",
        visit_id=another.visit_id,
        outcome=pb.VISIT_OUTCOME_DONE,
    )
    await erp.ask("ReportVisitOutcome", done)
    await twice("FulfilOrder", pb.FulfilOrderRequest())
    order = await erp.get("o-1")
    assert (order.status, order.visit_status) == (
        pb.ORDER_STATUS_FULFILLED,
        pb.VISIT_STATUS_DONE,
    )
    assert order.after_sale_until.ToMicroseconds() == erp.clock.now + 14 * DAY

    erp.clock.now += DAY
    sale = pb.ReportAfterSaleRequest(
        outcome=pb.AFTER_SALE_RETURNED, reason="withdrawn", text="Slow."
    )
    await twice("ReportAfterSale", sale)
    assert (await erp.get("o-1")).status == pb.ORDER_STATUS_RETURNED
    assert (await erp.events("o-1"))[-6:] == [
        "OrderConfirmed",
        "OrderVisitMissed",
        "OrderVisitRescheduled",
        "OrderVisitDone",
        "OrderFulfilled",
        "OrderReturned",
    ]


async def test_cancelled(erp: Erp) -> None:
    await erp.submit(order_id="o-1")
    request = pb.CancelOrderRequest(
        client_id=erp.client_id,
        order_id="o-1",
        reason="changed-mind",
        by=events_pb2.PARTY_CUSTOMER,
        text="She moves.",
    )
    await erp.ask("CancelOrder", request)
    order = await erp.get("o-1")
    assert order.status == pb.ORDER_STATUS_CANCELLED
    refusal = await erp.refused(
        "ConfirmOrder", pb.ConfirmOrderRequest(client_id=erp.client_id, order_id="o-1")
    )
    assert refusal.code is Code.FAILED_PRECONDITION
    # Its crew is free again, so that both are.
    crews = {(await erp.submit(order_id=id)).visit.crew_id for id in ("o-2", "o-3")}
    assert crews == {"crew-1", "crew-2"}


CUSTOMER = events_pb2.PARTY_CUSTOMER
DEEP = "[" * 30_000 + "]" * 30_000
HOME = pb.Address(country="FR", lines=["1 rue A"], postal_code="75002", locality="Paris")


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"client_id": "another"}, Code.NOT_FOUND, None),
        ({"product_id": "nothing"}, Code.NOT_FOUND, None),
        ({"product_id": "a/b"}, Code.INVALID_ARGUMENT, "product_id"),
        ({"customer_id": ""}, Code.INVALID_ARGUMENT, "customer_id"),
        ({"customer_id": "x" * 200}, Code.INVALID_ARGUMENT, "customer_id"),
        ({"order_id": "a b"}, Code.INVALID_ARGUMENT, "order_id"),
        ({"answers_json": "{"}, Code.INVALID_ARGUMENT, "answers_json"),
        ({"answers_json": "[]"}, Code.INVALID_ARGUMENT, "answers_json"),
        ({"answers_json": '{"floor": NaN}'}, Code.INVALID_ARGUMENT, "answers_json"),
        ({"answers_json": '{"floor": 1, "floor": 2}'}, Code.INVALID_ARGUMENT, "answers_json"),
        ({"answers_json": DEEP}, Code.INVALID_ARGUMENT, "answers_json"),
        ({"answers_json": f'{{"floor": {"9" * 5_000}}}'}, Code.INVALID_ARGUMENT, "answers_json"),
        ({"answers_json": '{"plan": "fa\\u0000st"}'}, Code.INVALID_ARGUMENT, "answers.plan"),
        ({"answers_json": '{"note": "\\ud800"}'}, Code.INVALID_ARGUMENT, "answers.note"),
        ({"answers_json": '{"plan": "gold"}'}, Code.INVALID_ARGUMENT, "answers.plan"),
        ({"answers_json": '{"nothing": 1}'}, Code.INVALID_ARGUMENT, "answers.nothing"),
        (
            {
                "addresses": {
                    "home": pb.Address(country="FR", lines=["1"], postal_code="7", locality="Paris")
                }
            },
            Code.INVALID_ARGUMENT,
            "addresses.home.postal_code",
        ),
        (
            {"addresses": {"home": pb.Address(country="FR", lines=["1 rue A"] * 21)}},
            Code.INVALID_ARGUMENT,
            "addresses.home.lines",
        ),
        ({"addresses": {"garage": HOME}}, Code.NOT_FOUND, None),
        ({"told": ["nothing"]}, Code.NOT_FOUND, None),
        ({"promotion_ids": ["nothing"]}, Code.NOT_FOUND, None),
        ({"visit_starts_at": T0 - HOUR}, Code.FAILED_PRECONDITION, "starts_at"),
        ({"area_id": "lyon"}, Code.FAILED_PRECONDITION, "area_id"),
        ({"reference": "a\0b"}, Code.INVALID_ARGUMENT, "reference"),
        ({"idempotency_key": "a b"}, Code.INVALID_ARGUMENT, "idempotency_key"),
    ],
)
async def test_refused(
    erp: Erp, change: dict[str, Any], code: grpc.StatusCode, field: str | None
) -> None:
    refusal = await erp.refused("SubmitOrder", erp.submission(**change))
    assert (refusal.code, refusal.fields) == (code, [] if field is None else [field])


async def test_a_slot_that_is_taken_says_which_are_next(erp: Erp) -> None:
    for order_id in ("o-1", "o-2"):
        await erp.submit(order_id=order_id)
    refusal = await erp.refused("SubmitOrder", erp.submission(order_id="o-3"))
    assert (refusal.code, refusal.fields) == (Code.FAILED_PRECONDITION, ["starts_at"])
    [first, *_] = slots = refusal.more["next_slots"]
    assert first["starts_at"] == "2026-11-24T09:00:00Z"
    assert len(slots) == 5
    with pytest.raises(grpc.aio.AioRpcError, match="no such order"):
        await erp.get("o-3")


async def test_what_is_missing_is_said(erp: Erp) -> None:
    refusal = await erp.refused("SubmitOrder", erp.submission(order_id="o-1", told=["when"]))
    assert refusal.code is Code.FAILED_PRECONDITION
    fields = [each["field"] for each in refusal.more["missing"]]
    assert fields == ["checklist.passport", "checklist.amount"]
    assert await erp.events("o-1") == [], "or not at all"


@pytest.mark.parametrize(
    ("method", "request_", "field"),
    [
        ("CancelOrder", pb.CancelOrderRequest(order_id="o-1", reason="changed-mind"), "by"),
        ("CancelOrder", pb.CancelOrderRequest(order_id="o-1", reason="x", by=CUSTOMER), "reason"),
        (
            "CancelOrder",
            json_format.ParseDict({"order_id": "o-1", "by": 77}, pb.CancelOrderRequest()),
            "by",
        ),
        ("ReportAfterSale", pb.ReportAfterSaleRequest(order_id="o-1", reason="x"), "outcome"),
        ("ReportVisitOutcome", pb.ReportVisitOutcomeRequest(order_id="o-1"), "visit_id"),
        (
            "ReportVisitOutcome",
            pb.ReportVisitOutcomeRequest(order_id="o-1", visit_id="v"),
            "outcome",
        ),
        ("ConfirmOrder", pb.ConfirmOrderRequest(order_id="o-1", reference="\0"), "reference"),
        ("GetOrder", pb.GetOrderRequest(order_id="a/b"), "order_id"),
    ],
)
async def test_nonsense_is_named(erp: Erp, method: str, request_: Any, field: str) -> None:
    await erp.submit(order_id="o-1")
    before = await erp.events("o-1")
    request_.client_id = erp.client_id
    refusal = await erp.refused(method, request_)
    assert (refusal.code, refusal.fields) == (Code.INVALID_ARGUMENT, [field])
    assert await erp.events("o-1") == before


async def test_every_method_needs_a_client_of_ones_own(erp: Erp) -> None:
    for name, method in services(erp.ordering)[SERVICE].items():
        if name == "FollowOrders":
            continue
        request = method.request(client_id="another")
        assert (await erp.refused(name, request)).code is Code.NOT_FOUND
        assert (await erp.refused(name, request, metadata=[])).code is Code.UNAUTHENTICATED


async def test_a_deadline_leaves_it_done_once_or_not_at_all(erp: Erp) -> None:
    """And the same again finds out which, and does it if it was not."""
    rng = random.Random(5)
    told = ["passport", "amount", "socket"]
    answers = json.dumps({"plan": "slow", "install": "self"})
    outcomes: Counter[str] = Counter()

    async def one(number: int) -> None:
        request = erp.submission(
            f"key-{number}", told=told, answers_json=answers, visit_starts_at=0
        )
        try:
            await erp.ask("SubmitOrder", request, timeout=10 ** rng.uniform(-3, 0))
            outcomes["in time"] += 1
        except grpc.aio.AioRpcError as error:
            assert error.code() is Code.DEADLINE_EXCEEDED  # noqa: PT017
            outcomes["too late"] += 1
        made = await erp.ask("SubmitOrder", request)
        found = await erp.events(made.order_id)
        assert len(found) == made.version
        assert found.count("OrderDrafted") == found.count("OrderPlaced") == 1
        cancel = pb.CancelOrderRequest(
            client_id=erp.client_id,
            idempotency_key=f"cancel-{number}",
            order_id=made.order_id,
            reason="too-late",
            by=events_pb2.PARTY_CLIENT,
        )
        try:
            await erp.ask("CancelOrder", cancel, timeout=10 ** rng.uniform(-3, 0))
        except grpc.aio.AioRpcError as error:
            assert error.code() is Code.DEADLINE_EXCEEDED  # noqa: PT017
            done = (await erp.events(made.order_id)).count("OrderCancelled")
            outcomes["too late, and done" if done else "too late, and not done"] += 1
        assert (await erp.ask("CancelOrder", cancel)).version == made.version + 1
        assert (await erp.events(made.order_id)).count("OrderCancelled") == 1

    for start in range(0, 80, 4):
        await asyncio.gather(*(one(number) for number in range(start, start + 4)))
    print(dict(outcomes))
    assert outcomes["too late"] > 0
    assert outcomes["in time"] > 0


# Following.


class Follower:
    """A stream of one subscriber."""

    def __init__(self, erp: Erp, subscriber: str = "erp", **subscribe: Any) -> None:
        self._call = erp.stub.FollowOrders(metadata=erp.token())
        self._first = pb.FollowOrdersRequest(
            subscribe=pb.Subscribe(client_id=erp.client_id, subscriber=subscriber, **subscribe)
        )
        self.heard: list[pb.FollowOrdersResponse] = []

    async def say(self, request: pb.FollowOrdersRequest | None = None) -> None:
        """Subscribe, if nothing else."""
        await self._call.write(request or self._first)

    async def hear(self, count: int) -> None:
        async with asyncio.timeout(20):
            for _ in range(count):
                self.heard.append(await self._call.read())

    async def acknowledge(self, position: int) -> None:
        acknowledge = pb.Acknowledge(position=position)
        await self.say(pb.FollowOrdersRequest(acknowledge=acknowledge))

    async def leave(self) -> grpc.StatusCode:
        await self._call.done_writing()
        return await self.end()

    async def end(self) -> grpc.StatusCode:
        async with asyncio.timeout(20):
            with suppress(grpc.aio.AioRpcError):
                await self._rest()
            code: grpc.StatusCode = await self._call.code()
            return code

    async def refused(self) -> Refusal:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await asyncio.wait_for(self._rest(), 20)
        return Refusal.of(caught.value)

    async def _rest(self) -> None:
        while isinstance(update := await self._call.read(), pb.FollowOrdersResponse):
            self.heard.append(update)

    def break_off(self) -> None:
        self._call.cancel()


async def test_followed_and_resumed(erp: Erp, topic: Topic) -> None:
    version = (await erp.submit(order_id="o-1")).version
    follower = Follower(erp)
    await follower.say()
    await follower.hear(version)
    await follower.acknowledge(follower.heard[2].position)
    assert await follower.leave() is Code.OK
    versions = [update.event.meta.version for update in follower.heard]
    assert versions == list(range(1, version + 1))
    assert [update.previous_position for update in follower.heard] == [
        0,
        *(update.position for update in follower.heard[:-1]),
    ]

    async def published() -> bool:  # the relay sends what has a number already
        return len(topic.of(erp.client_id)) == version

    await until(published, "all updates on the topic")
    told = [update.event for update in follower.heard]
    assert told == [OrderEvent.FromString(value) for value in topic.of(erp.client_id)]

    again = Follower(erp)
    await again.say()
    await again.hear(version - 3)
    assert again.heard == follower.heard[3:]
    again.break_off()
    everything = Follower(erp, after_position=0, window=10_000)
    await everything.say()
    await everything.hear(version)
    assert everything.heard == follower.heard
    everything.break_off()


@pytest.mark.parametrize(
    ("subscribe", "field"),
    [
        ({"subscriber": ""}, "subscriber"),
        ({"subscriber": "a b"}, "subscriber"),
        ({"window": -1}, "window"),
        ({"window": 10_001}, "window"),
        ({"after_position": -1}, "after_position"),
        ({"after_position": 2**62}, "after_position"),
    ],
)
async def test_nobody_follows_like_this(erp: Erp, subscribe: dict[str, Any], field: str) -> None:
    follower = Follower(erp, **{"subscriber": "erp", **subscribe})
    await follower.say()
    refusal = await follower.refused()
    assert (refusal.code, refusal.fields) == (Code.INVALID_ARGUMENT, [field])


async def test_the_first_request_subscribes_and_no_other(erp: Erp) -> None:
    early = Follower(erp)
    await early.acknowledge(1)
    assert (await early.refused()).fields == ["subscribe"]
    silent = Follower(erp)
    assert await silent.leave() is Code.INVALID_ARGUMENT
    twice = Follower(erp)
    await twice.say()
    await twice.say()
    assert (await twice.refused()).fields == ["acknowledge"]
    foreign = erp.stub.FollowOrders(metadata=erp.token())
    subscribe = pb.Subscribe(client_id="another", subscriber="erp")
    await foreign.write(pb.FollowOrdersRequest(subscribe=subscribe))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await foreign.read()
    assert caught.value.code() is Code.NOT_FOUND


async def test_an_acknowledgement_of_what_was_not_sent(erp: Erp, topic: Topic) -> None:
    version = (await erp.submit(order_id="o-1")).version
    follower = Follower(erp)
    await follower.say()
    await follower.hear(version)
    await follower.acknowledge(follower.heard[-1].position + 1)
    refusal = await follower.refused()
    assert (refusal.code, refusal.fields) == (Code.INVALID_ARGUMENT, ["position"])


async def test_a_newer_stream_takes_over(erp: Erp, topic: Topic) -> None:
    version = (await erp.submit(order_id="o-1")).version
    older, newer = Follower(erp), Follower(erp)
    await older.say()
    await older.hear(version)
    await newer.say()
    await newer.hear(version)
    assert await older.end() is Code.ABORTED
    await erp.submit(order_id="o-2")
    await newer.hear(version)
    assert newer.heard[-1].event.order_id == "o-2"
    newer.break_off()
