"""gRPC for the client company's ERP: submit, get, confirm, cancel, fulfil, report, and follow.
proto/relais/orders/v1/order_service.proto.

A deadline that passes leaves a command done or not done, never half: the same again with the same
idempotency key finds out, and does it if it was not.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, Final, TypeVar

import grpc
from relais.orders.v1 import events_pb2
from relais.orders.v1 import order_service_pb2 as pb

from eventkit.decider import Invalid
from eventkit.eventstore import Answer
from eventkit.followers import (
    DEFAULT_WINDOW,
    MAX_POSITION,
    MAX_WINDOW,
    Subscribers,
    TakenOver,
)
from eventkit.rpc import Context, Method, bidi, cause_of, client_of, unary
from eventkit.wire import microseconds, timestamp
from services.orders.addresses.address import Address
from services.orders.order import events as ev
from services.orders.order import order as o
from services.orders.order.codec import (
    line_message,
    money_message,
    origin_message,
    visit_message,
)
from services.orders.order.service import Orders, Outcome, Shown, Submission
from services.orders.order.store import ORDERS

SERVICE: Final = pb.DESCRIPTOR.services_by_name["OrderService"].full_name
MAX_LINES: Final = 20
"""Of an address."""

T = TypeVar("T")

_PARTIES: Final = {
    events_pb2.PARTY_CUSTOMER: ev.Party.CUSTOMER,
    events_pb2.PARTY_CLIENT: ev.Party.CLIENT,
    events_pb2.PARTY_CENTRE: ev.Party.CENTRE,
}
_AFTER_SALE: Final = {
    pb.AFTER_SALE_RETURNED: ev.AfterSale.RETURNED,
    pb.AFTER_SALE_FAILED: ev.AfterSale.FAILED,
}
_OUTCOMES: Final = {
    pb.VISIT_OUTCOME_DONE: Outcome.DONE,
    pb.VISIT_OUTCOME_CREW_ABSENT: Outcome.CREW_ABSENT,
    pb.VISIT_OUTCOME_CUSTOMER_ABSENT: Outcome.CUSTOMER_ABSENT,
    pb.VISIT_OUTCOME_IMPOSSIBLE: Outcome.IMPOSSIBLE,
}
_STATUSES: Final = {
    ev.Status.DRAFT: pb.ORDER_STATUS_DRAFT,
    ev.Status.PLACED: pb.ORDER_STATUS_PLACED,
    ev.Status.CONFIRMED: pb.ORDER_STATUS_CONFIRMED,
    ev.Status.FULFILLED: pb.ORDER_STATUS_FULFILLED,
    ev.Status.CANCELLED: pb.ORDER_STATUS_CANCELLED,
    ev.Status.RETURNED: pb.ORDER_STATUS_RETURNED,
    ev.Status.FAILED: pb.ORDER_STATUS_FAILED,
    ev.Status.EXPIRED: pb.ORDER_STATUS_EXPIRED,
}
_VISITS: Final = {
    ev.VisitStatus.NONE: pb.VISIT_STATUS_UNSPECIFIED,
    ev.VisitStatus.SCHEDULED: pb.VISIT_STATUS_SCHEDULED,
    ev.VisitStatus.MISSED: pb.VISIT_STATUS_MISSED,
    ev.VisitStatus.DONE: pb.VISIT_STATUS_DONE,
}


def methods(service: Orders) -> dict[str, Method]:
    """OrderService, by the names of its methods."""
    edge = _Edge(service)
    return {
        "SubmitOrder": unary(pb.SubmitOrderRequest, edge.submit, "partner"),
        "GetOrder": unary(pb.GetOrderRequest, edge.get, "partner"),
        "ConfirmOrder": unary(pb.ConfirmOrderRequest, edge.confirm, "partner"),
        "CancelOrder": unary(pb.CancelOrderRequest, edge.cancel, "partner"),
        "FulfilOrder": unary(pb.FulfilOrderRequest, edge.fulfil, "partner"),
        "ReportAfterSale": unary(pb.ReportAfterSaleRequest, edge.after_sale, "partner"),
        "ReportVisitOutcome": unary(pb.ReportVisitOutcomeRequest, edge.visit_outcome, "partner"),
        "FollowOrders": bidi(pb.FollowOrdersRequest, edge.follow, "partner"),
    }


class _Edge:
    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._subscribers = Subscribers(orders.events, [ORDERS.name])

    async def submit(
        self, request: pb.SubmitOrderRequest, context: Context
    ) -> pb.SubmitOrderResponse:
        cause = await cause_of(context, request.client_id, request.idempotency_key, request)
        answer = await self._orders.submit(cause, _submission(request))
        return pb.SubmitOrderResponse(
            order_id=answer["order_id"],
            version=answer["version"],
            total=_money(answer.get("total")),
            monthly=_money(answer.get("monthly")),
            visit=_visit(answer.get("visit")),
        )

    async def get(self, request: pb.GetOrderRequest, context: Context) -> pb.GetOrderResponse:
        client_id = await client_of(request.client_id, context)
        shown = await self._orders.get(client_id, _id("order_id", request.order_id))
        return pb.GetOrderResponse(order=_order(shown))

    async def confirm(
        self, request: pb.ConfirmOrderRequest, context: Context
    ) -> pb.ConfirmOrderResponse:
        cause = await cause_of(context, request.client_id, request.idempotency_key, request)
        order_id = _id("order_id", request.order_id)
        answer = await self._orders.confirm(cause, order_id, request.reference)
        return pb.ConfirmOrderResponse(**_what(answer))

    async def cancel(
        self, request: pb.CancelOrderRequest, context: Context
    ) -> pb.CancelOrderResponse:
        cause = await cause_of(context, request.client_id, request.idempotency_key, request)
        answer = await self._orders.cancel(
            cause,
            _id("order_id", request.order_id),
            request.reason,
            _one_of(_PARTIES, "by", request.by),
            request.text,
        )
        return pb.CancelOrderResponse(**_what(answer))

    async def fulfil(
        self, request: pb.FulfilOrderRequest, context: Context
    ) -> pb.FulfilOrderResponse:
        cause = await cause_of(context, request.client_id, request.idempotency_key, request)
        answer = await self._orders.fulfil(cause, _id("order_id", request.order_id))
        return pb.FulfilOrderResponse(**_what(answer))

    async def after_sale(
        self, request: pb.ReportAfterSaleRequest, context: Context
    ) -> pb.ReportAfterSaleResponse:
        cause = await cause_of(context, request.client_id, request.idempotency_key, request)
        answer = await self._orders.after_sale(
            cause,
            _id("order_id", request.order_id),
            _one_of(_AFTER_SALE, "outcome", request.outcome),
            request.reason,
            request.text,
        )
        return pb.ReportAfterSaleResponse(**_what(answer))

    async def visit_outcome(
        self, request: pb.ReportVisitOutcomeRequest, context: Context
    ) -> pb.ReportVisitOutcomeResponse:
        cause = await cause_of(context, request.client_id, request.idempotency_key, request)
        answer = await self._orders.visit_outcome(
            cause,
            _id("order_id", request.order_id),
            _id("visit_id", request.visit_id),
            _one_of(_OUTCOMES, "outcome", request.outcome),
            request.text,
            request.send_another,
        )
        return pb.ReportVisitOutcomeResponse(**_what(answer), visit=_visit(answer.get("visit")))

    async def follow(
        self, requests: AsyncIterator[pb.FollowOrdersRequest], context: Context
    ) -> AsyncIterator[pb.FollowOrdersResponse]:
        wanted = await _subscribe(requests)
        client_id = await client_of(wanted.client_id, context)
        subscription = await self._subscribers.begin(
            client_id,
            _id("subscriber", wanted.subscriber),
            _position(wanted),
            _window(wanted),
        )
        try:
            async with aclosing(subscription.updates(_acknowledged(requests))) as updates:
                async for update in updates:
                    yield pb.FollowOrdersResponse(
                        position=update.sequence,
                        previous_position=update.previous,
                        event=events_pb2.OrderEvent.FromString(update.message),
                    )
        except TakenOver as error:
            await context.abort(grpc.StatusCode.ABORTED, str(error))


# Following.


async def _subscribe(requests: AsyncIterator[pb.FollowOrdersRequest]) -> pb.Subscribe:
    async for request in requests:
        if request.WhichOneof("request") == "subscribe":
            return request.subscribe
        break
    raise Invalid("subscribe", "the first request says who subscribes")


def _position(wanted: pb.Subscribe) -> int | None:
    if not wanted.HasField("after_position"):
        return None
    if not 0 <= wanted.after_position <= MAX_POSITION:
        raise Invalid("after_position", "a position that was given, or 0")
    return wanted.after_position


def _window(wanted: pb.Subscribe) -> int:
    if not 0 <= wanted.window <= MAX_WINDOW:
        raise Invalid("window", f"1 to {MAX_WINDOW}, or 0 for {DEFAULT_WINDOW}")
    return wanted.window or DEFAULT_WINDOW


async def _acknowledged(requests: AsyncIterator[pb.FollowOrdersRequest]) -> AsyncIterator[int]:
    async for request in requests:
        if request.WhichOneof("request") != "acknowledge":
            raise Invalid("acknowledge", "all requests after the first acknowledge")
        yield request.acknowledge.position


# Requests.


def _submission(request: pb.SubmitOrderRequest) -> Submission:
    return Submission(
        product_id=_id("product_id", request.product_id),
        customer_id=_id("customer_id", request.customer_id),
        answers=_answers(request.answers_json),
        addresses={name: _address(name, each) for name, each in request.addresses.items()},
        promotion_ids=tuple(request.promotion_ids),
        told=tuple(request.told),
        visit_starts_at=(
            microseconds(request.visit_starts_at) if request.HasField("visit_starts_at") else None
        ),
        area_id=request.area_id,
        campaign_id=request.campaign_id,
        offer_id=request.offer_id,
        reference=request.reference,
        order_id=_id("order_id", request.order_id) if request.order_id else None,
    )


def _id(field: str, value: str) -> str:
    o.check_id(field, value)
    return value


def _one_of(known: Mapping[Any, T], field: str, value: Any) -> T:
    if value not in known:
        raise Invalid(field, "not one of those that there are")
    return known[value]


def _answers(text: str) -> Mapping[str, Any]:
    """Raises Invalid, which says nothing of what is inside."""
    if not text:
        return {}
    try:
        answers = json.loads(text, parse_constant=_no_number, object_pairs_hook=_no_repetition)
    except (ValueError, RecursionError):
        raise Invalid("answers_json", "not JSON that can be read") from None
    if not isinstance(answers, dict):
        raise Invalid("answers_json", "not a JSON object")
    return answers


def _no_number(_: str) -> None:
    raise ValueError("NaN and Infinity are not JSON")


def _no_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _address(name: str, given: pb.Address) -> tuple[Address, bool]:
    if len(given.lines) > MAX_LINES:
        raise Invalid(f"addresses.{name}.lines", f"more than {MAX_LINES}")
    address = Address(
        country=given.country,
        lines=tuple(given.lines),
        postal_code=given.postal_code,
        locality=given.locality,
        region=given.region,
        as_spoken=given.as_spoken,
    )
    return address, given.confirmed


# Answers.


def _what(answer: Answer) -> dict[str, Any]:
    return {"order_id": answer["order_id"], "version": answer["version"]}


def _money(amount: Mapping[str, str] | None) -> events_pb2.Money:
    return events_pb2.Money(**amount) if amount else events_pb2.Money()


def _visit(visit: Mapping[str, Any] | None) -> events_pb2.Visit | None:
    if not visit:
        return None
    names = ("visit_id", "crew_id", "area_id", "skill")
    wire = events_pb2.Visit(**{name: visit[name] for name in names})
    wire.starts_at.FromJsonString(visit["starts_at"])
    wire.ends_at.FromJsonString(visit["ends_at"])
    return wire


def _order(shown: Shown) -> pb.Order:
    state = shown.state
    wire = pb.Order(
        order_id=shown.order_id,
        version=shown.version,
        status=_STATUSES[state.status],
        origin=origin_message(state.origin),
        answers_json=json.dumps(state.values, ensure_ascii=False),
        addresses={name: _given(each) for name, each in state.addresses.items()},
        promotion_ids=state.promotions,
        visit=visit_message(state.visit) if state.visit else None,
        visit_status=_VISITS[state.visit_status],
        reference=state.reference,
    )
    quote = shown.quote
    if quote is not None:
        wire.total.CopyFrom(money_message(quote.total, quote.currency))
        wire.monthly.CopyFrom(money_message(quote.monthly, quote.currency))
        wire.lines.extend(line_message(line, quote.currency) for line in quote.lines)
    times = {
        "placed_at": state.sale.placed_at if state.sale else None,
        "confirmed_at": state.confirmed_at,
        "fulfilled_at": state.fulfilled_at,
        "after_sale_until": state.after_sale_until,
    }
    for name, at in times.items():
        if at is not None:
            getattr(wire, name).CopyFrom(timestamp(at))
    return wire


def _given(given: ev.Given) -> pb.Address:
    address = given.address
    return pb.Address(
        country=address.country,
        lines=address.lines,
        postal_code=address.postal_code,
        locality=address.locality,
        region=address.region,
        as_spoken=address.as_spoken,
        confirmed=given.confirmed_at is not None,
    )
