"""HTTP: promotions. Supervisors publish and withdraw them, agents see which are valid. What an
order costs is asked for with the order."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Query
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
    Time,
    example,
    microseconds,
    problems,
    require,
    time_of,
)
from services.orders.prices import promotion as p
from services.orders.prices.pricing import Period, Promotion
from services.orders.prices.service import Promotions

# Numbers are text: in JSON they may be floats.
Percent = Annotated[
    str, Field(pattern=r"^(100(\.0{1,4})?|[0-9]{1,2}(\.[0-9]{1,4})?)$", examples=["10"])
]
Amount = Annotated[str, Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,4})?$", examples=["5.00"])]
Currency = Annotated[str, Field(pattern=rf"^{p.CURRENCY.pattern}$", examples=["EUR"])]


class PromotionBody(Body):
    """One of percent, and amount with its currency. products: left out, all. of: ids of price
    rules; left out, all of the period. valid_until: no longer at that moment."""

    model_config = example(
        label="Spring offer: half the set-up fee",
        products=["internet"],
        valid_from="2026-03-01T00:00:00+01:00",
        valid_until="2026-06-01T00:00:00+02:00",
        percent="50",
        of=["setup"],
    )

    label: Name
    products: list[Id] = Field(default_factory=list, max_length=p.MAX_PRODUCTS)
    valid_from: Time
    valid_until: Time
    period: Lax[Period] = Period.ONCE
    percent: Percent | None = None
    amount: Amount | None = None
    currency: Currency | None = None
    of: list[Id] = Field(default_factory=list, max_length=p.MAX_OF)

    def domain(self, promotion_id: str) -> Promotion:
        return Promotion(
            promotion_id=promotion_id,
            label=self.label,
            products=tuple(self.products),
            valid_from=microseconds(self.valid_from),
            valid_until=microseconds(self.valid_until),
            period=self.period,
            percent=None if self.percent is None else Decimal(self.percent),
            amount=None if self.amount is None else Decimal(self.amount),
            of=tuple(self.of),
            currency=self.currency or "",
        )


class PromotionVersion(BaseModel):
    promotion_id: str
    version: int


class PromotionView(BaseModel):
    """withdrawn: it discounts nothing any more, whatever its validity."""

    promotion_id: str
    label: str
    products: list[str]
    valid_from: datetime
    valid_until: datetime
    period: Period
    percent: str | None
    amount: str | None
    currency: str | None
    of: list[str]
    withdrawn: bool


def router(service: Promotions) -> APIRouter:
    api = APIRouter(prefix="/v1/clients/{client_id}/promotions", tags=["promotions"])
    change: dict[str, Any] = {
        "response_model": PromotionVersion,
        "dependencies": [require("supervisor")],
        "responses": problems(409),
    }

    @api.get("", response_model=Listing[PromotionView], operation_id="listPromotions")
    async def promotions(
        client_id: ClientOf,
        page: PageOf,
        product_id: Annotated[Id | None, Query()] = None,
        at: Annotated[Time | None, Query()] = None,
        every: Annotated[bool, Query()] = False,
    ) -> dict[str, Any]:
        """What can be offered, by id: promotions that are valid now, or at another time, and good
        for a product. every: also those that are not valid, or withdrawn."""
        after = page.after(str)
        found = await service.list(
            client_id,
            product_id=product_id or "",
            at=microseconds(at),
            every=every,
            after=after[0] if after else "",
            limit=page.rows,
        )
        return page.of([_view(one) for one in found], key=lambda one: (one.promotion_id,))

    @api.get("/{promotion_id}", response_model=PromotionView, operation_id="getPromotion")
    async def get(client_id: ClientOf, promotion_id: Id) -> PromotionView:
        """One of them, whatever has become of it."""
        return _view(await service.get(client_id, promotion_id))

    @api.put("/{promotion_id}", operation_id="publishPromotion", **change)
    async def publish(cause: CauseOf, promotion_id: Id, body: PromotionBody) -> Answer:
        """Publish it, or publish it anew with other conditions. Orders that are placed keep their
        price."""
        return await service.publish(cause, body.domain(promotion_id))

    @api.post("/{promotion_id}/withdraw", operation_id="withdrawPromotion", **change)
    async def withdraw(cause: CauseOf, promotion_id: Id) -> Answer:
        """From now on it discounts nothing. Orders that are placed keep their price."""
        return await service.withdraw(cause, promotion_id)

    return api


def _view(found: p.Published) -> PromotionView:
    promotion = found.promotion
    assert promotion is not None
    return PromotionView(
        promotion_id=promotion.promotion_id,
        label=promotion.label,
        products=list(promotion.products),
        valid_from=time_of(promotion.valid_from),
        valid_until=time_of(promotion.valid_until),
        period=promotion.period,
        percent=None if promotion.percent is None else f"{promotion.percent:f}",
        amount=None if promotion.amount is None else f"{promotion.amount:f}",
        currency=promotion.currency or None,
        of=list(promotion.of),
        withdrawn=found.withdrawn,
    )
