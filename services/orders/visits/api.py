"""HTTP: crews, the areas that they serve, free slots, and what is booked. Supervisors say how crews
work; agents see it; partners see slots. A visit is booked with its order, and nowhere else."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AfterValidator, BaseModel, Field

from eventkit.eventstore import Answer
from eventkit.http import (
    Body,
    CauseOf,
    ClientOf,
    Day,
    Id,
    Listing,
    Name,
    PageOf,
    Time,
    Whole,
    example,
    microseconds,
    problems,
    require,
    time_of,
)
from eventkit.week import DAYS, in_order, span, text
from services.orders.visits import area as a
from services.orders.visits import crew as c
from services.orders.visits.service import SEARCH_DAYS, Visits
from services.orders.visits.slots import (
    MAX_INTERVALS,
    MAX_MINUTES,
    MAX_TRAVEL_MINUTES,
    MINUTES_A_DAY,
    Intervals,
    Slot,
    Want,
    intervals_of,
    week_of,
)
from services.orders.visits.store import Row

MAX_SLOTS = 1_500
"""Of one search: all half hours of a month."""

Interval = Annotated[
    str,
    Field(
        pattern=r"^([01][0-9]|2[0-3]):(00|15|30|45)-(([01][0-9]|2[0-3]):(00|15|30|45)|24:00)$",
        examples=["08:00-12:30"],
    ),
    AfterValidator(in_order),
]
Hours = Annotated[list[Interval], Field(max_length=MAX_INTERVALS)]
Zone = Annotated[str, Field(max_length=100, examples=["Europe/Paris"])]
Country = Annotated[str, Field(pattern=rf"^{a.COUNTRY.pattern}$", examples=["FR"])]
PostalPrefix = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 -]{0,15}$", examples=["750", "SW1"])
]


# Bodies.


class WorkingWeek(Body):
    """Working hours on the crew's wall, in quarters of an hour; a day left out is no working day.
    A night shift is two intervals: to 24:00, and from 00:00 on."""

    monday: Hours = Field(default_factory=list)
    tuesday: Hours = Field(default_factory=list)
    wednesday: Hours = Field(default_factory=list)
    thursday: Hours = Field(default_factory=list)
    friday: Hours = Field(default_factory=list)
    saturday: Hours = Field(default_factory=list)
    sunday: Hours = Field(default_factory=list)

    def domain(self) -> tuple[Intervals, ...]:
        return tuple(tuple(map(span, getattr(self, day))) for day in DAYS)


class CrewBody(Body):
    """label: of the van or the company, of no person. zone: IANA; left out: the client's, as it is
    now. areas: that there are. travel_minutes: from one visit to the next, in quarters of an
    hour; bookings that are made keep the time that they were made with."""

    model_config = example(
        label="Van 12",
        areas=["paris"],
        skills=["fibre"],
        week={"monday": ["08:00-12:00", "13:00-17:00"], "saturday": ["09:00-12:00"]},
        travel_minutes=30,
    )

    label: Name
    zone: Zone | None = None
    areas: list[Id] = Field(min_length=1, max_length=c.MAX_AREAS)
    skills: list[Id] = Field(min_length=1, max_length=c.MAX_SKILLS)
    week: WorkingWeek
    travel_minutes: Whole = Field(default=0, ge=0, le=MAX_TRAVEL_MINUTES, multiple_of=15)

    def domain(self) -> c.Arrangement:
        if self.zone is not None:
            c.check_zone("zone", self.zone)
        return c.Arrangement(
            self.label,
            self.zone or "",
            self.week.domain(),
            tuple(sorted(set(self.areas))),
            tuple(sorted(set(self.skills))),
            self.travel_minutes,
        )


class DaysOffBody(Body):
    """Both days included; last: left out: the first alone. hours: of each of the days; left out:
    the whole of each."""

    model_config = example(first="2026-12-24", last="2026-12-31")

    first: Day
    last: Day | None = None
    hours: Interval | None = None

    def domain(self) -> c.DaysOff:
        begins, ends = span(self.hours) if self.hours else (0, MINUTES_A_DAY)
        return c.DaysOff(self.first, self.last or self.first, begins, ends)


class AreaBody(Body):
    """country and prefixes: of postal codes, however they are written; of several areas an address
    lies in that with the longest prefix. Without prefixes: the rest of the country. Without a
    country: no address leads to it, it is chosen by hand."""

    model_config = example(label="Paris and around", country="FR", prefixes=["75", "92", "93"])

    label: Name
    country: Country | None = None
    prefixes: list[PostalPrefix] = Field(default=[], max_length=a.MAX_PREFIXES)

    def domain(self) -> a.Ground:
        prefixes = sorted({a.compact(prefix) for prefix in self.prefixes})
        return a.Ground(self.label, self.country or "", tuple(prefixes))


# Answers.


class VisitWithoutCrew(BaseModel):
    visit_id: str
    order_id: str
    starts_at: datetime


class CrewChanged(BaseModel):
    """version: of the crew. without_crew: the visits that it has and does not make as things are;
    they keep their booking until somebody moves them."""

    crew_id: str
    version: int
    without_crew: list[VisitWithoutCrew]


class DayOff(BaseModel):
    day: date
    hours: list[str]


class CrewView(BaseModel):
    """days_off: from about today on."""

    crew_id: str
    label: str
    zone: str
    areas: list[str]
    skills: list[str]
    week: dict[str, list[str]]
    travel_minutes: int
    retired: bool
    days_off: list[DayOff]


class AreaChanged(BaseModel):
    area_id: str
    version: int


class AreaView(BaseModel):
    area_id: str
    label: str
    country: str | None
    prefixes: list[str]


class SlotView(BaseModel):
    """crews: how many are free then."""

    starts_at: datetime
    ends_at: datetime
    crews: int


class Slots(BaseModel):
    slots: list[SlotView]


class BookedView(BaseModel):
    """without_crew: its crew does not make it as things are."""

    visit_id: str
    order_id: str
    crew_id: str
    area_id: str
    skill: str
    starts_at: datetime
    ends_at: datetime
    without_crew: bool


def router(service: Visits) -> APIRouter:
    api = APIRouter(prefix="/v1/clients/{client_id}")
    _crews(api, service)
    _areas(api, service)
    _visits(api, service)
    return api


def _crews(api: APIRouter, service: Visits) -> None:
    change: dict[str, Any] = {
        "response_model": CrewChanged,
        "dependencies": [require("supervisor")],
        "responses": problems(409),
        "tags": ["crews"],
    }

    @api.put("/crews/{crew_id}", operation_id="arrangeCrew", **change)
    async def arrange(cause: CauseOf, crew_id: Id, body: CrewBody) -> Answer:
        """Register a crew, or say how it works from now on; one that was retired works again.

        Accepted whatever is booked; the answer lists what it does not make any more."""
        return await service.arrange(cause, crew_id, body.domain())

    @api.post("/crews/{crew_id}/days-off", operation_id="takeDaysOff", **change)
    async def take(cause: CauseOf, crew_id: Id, body: DaysOffBody) -> Answer:
        """The crew does not work then, from today to two years ahead, whatever is booked."""
        return await service.take_days_off(cause, crew_id, body.domain())

    @api.post("/crews/{crew_id}/days-off/give-back", operation_id="giveBackDaysOff", **change)
    async def give_back(cause: CauseOf, crew_id: Id, body: DaysOffBody) -> Answer:
        """The crew works then after all."""
        return await service.give_back_days_off(cause, crew_id, body.domain())

    @api.post("/crews/{crew_id}/retire", operation_id="retireCrew", **change)
    async def retire(cause: CauseOf, crew_id: Id) -> Answer:
        """The crew makes no visit any more."""
        return await service.retire(cause, crew_id)

    @api.get("/crews", response_model=Listing[CrewView], operation_id="listCrews", tags=["crews"])
    async def crews(
        client_id: ClientOf, page: PageOf, area_id: Id | None = None, skill: Id | None = None
    ) -> dict[str, Any]:
        """By id, retired ones included."""
        after = page.after(str)
        rows = await service.crews(
            client_id,
            area_id=area_id or "",
            skill=skill or "",
            after=after[0] if after else "",
            limit=page.rows,
        )
        return page.of(list(map(_crew, rows)), key=lambda each: (each.crew_id,))

    @api.get("/crews/{crew_id}", response_model=CrewView, operation_id="getCrew", tags=["crews"])
    async def crew(client_id: ClientOf, crew_id: Id) -> CrewView:
        return _crew(await service.crew(client_id, crew_id))


def _areas(api: APIRouter, service: Visits) -> None:
    change: dict[str, Any] = {
        "response_model": AreaChanged,
        "dependencies": [require("supervisor")],
        "responses": problems(409),
        "tags": ["areas"],
    }

    @api.put("/areas/{area_id}", operation_id="drawArea", **change)
    async def draw(cause: CauseOf, area_id: Id, body: AreaBody) -> Answer:
        """Draw an area, or draw it otherwise. Refused where another area has one of the prefixes:
        `taken` says which, and whose."""
        return await service.draw(cause, area_id, body.domain())

    @api.post("/areas/{area_id}/dissolve", operation_id="dissolveArea", **change)
    async def dissolve(cause: CauseOf, area_id: Id) -> Answer:
        """No address leads there any more; what is booked stays booked."""
        return await service.dissolve(cause, area_id)

    @api.get("/areas", response_model=Listing[AreaView], operation_id="listAreas", tags=["areas"])
    async def areas(client_id: ClientOf, page: PageOf) -> dict[str, Any]:
        """By id."""
        after = page.after(str)
        rows = await service.areas(client_id, after[0] if after else "", page.rows)
        found = [AreaView(**{**row, "country": row["country"] or None}) for row in rows]
        return page.of(found, key=lambda each: (each.area_id,))


def _visits(api: APIRouter, service: Visits) -> None:
    @api.get(
        "/visits/slots",
        response_model=Slots,
        operation_id="listSlots",
        dependencies=[require("partner")],
        tags=["visits"],
    )
    async def slots(
        client_id: ClientOf,
        area_id: Id,
        skill: Id,
        minutes: Annotated[Whole, Query(ge=1, le=MAX_MINUTES, examples=[90])],
        begin: Annotated[Time | None, Query(alias="from", description="Left out: now.")] = None,
        days: Annotated[Whole, Query(ge=1, le=SEARCH_DAYS)] = 14,
        limit: Annotated[Whole, Query(ge=1, le=MAX_SLOTS)] = 50,
    ) -> Slots:
        """When a visit may begin: half hours at which a crew of the area with the skill is free,
        up to 90 days ahead. What is free now may be booked by somebody else the moment after."""
        found = await service.free(
            client_id,
            Want(area_id, skill, minutes),
            from_at=0 if begin is None else microseconds(begin),
            days=days,
            limit=limit,
        )
        return Slots(slots=list(map(_slot, found)))

    @api.get(
        "/visits", response_model=Listing[BookedView], operation_id="listVisits", tags=["visits"]
    )
    async def visits(
        client_id: ClientOf,
        page: PageOf,
        crew_id: Id | None = None,
        area_id: Id | None = None,
        day: Annotated[
            Day | None, Query(description="In the client's zone. Left out: all from now on.")
        ] = None,
        without_crew: bool | None = None,
    ) -> dict[str, Any]:
        """What is booked, by its start: a crew's or an area's day, or what has to be moved."""
        after = page.after(int, str)
        rows = await service.bookings(
            client_id,
            crew_id=crew_id or "",
            area_id=area_id or "",
            day=day,
            without_crew=without_crew,
            after=after,
            limit=page.rows,
        )
        return page.of(
            list(map(_booked, rows)),
            key=lambda each: (microseconds(each.starts_at), each.visit_id),
        )


def _crew(row: Row) -> CrewView:
    week = week_of(row["week"])
    days_off: Mapping[int, int] = row["days_off"]
    return CrewView(
        crew_id=row["crew_id"],
        label=row["label"],
        zone=row["zone"],
        areas=row["areas"],
        skills=row["skills"],
        week={day: list(map(text, hours)) for day, hours in zip(DAYS, week, strict=True)},
        travel_minutes=row["travel_minutes"],
        retired=row["retired"],
        days_off=[
            DayOff(day=c.day_of(day), hours=list(map(text, intervals_of(quarters))))
            for day, quarters in days_off.items()
        ],
    )


def _slot(slot: Slot) -> SlotView:
    return SlotView(
        starts_at=time_of(slot.starts_at), ends_at=time_of(slot.ends_at), crews=slot.crews
    )


def _booked(row: Row) -> BookedView:
    return BookedView(
        visit_id=row["visit_id"],
        order_id=row["order_id"],
        crew_id=row["crew_id"],
        area_id=row["area_id"],
        skill=row["skill"],
        starts_at=time_of(row["starts_at"]),
        ends_at=time_of(row["ends_at"]),
        without_crew=not row["fits"],
    )
