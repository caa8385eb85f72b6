"""Crews, areas, slots and what is booked through HTTP, with real PostgreSQL."""

from typing import Any

import pytest

from eventkit.callers import Role
from services.orders.visits.service import Visits
from services.orders.visits.slots import QUARTER
from services.orders.visits.tests.support import Api, Desk, SetClock, us

AREA = {"label": "Paris and around", "country": "FR", "prefixes": ["75", "92 1", "92-1", "93"]}
CREW: dict[str, Any] = {
    "label": "Van 12",
    "areas": ["paris"],
    "skills": ["fibre", "cable", "fibre"],
    "week": {"tuesday": ["08:00-12:00", "13:00-17:00"], "saturday": ["09:00-12:00"]},
    "travel_minutes": 30,
}
SEARCH = {"area_id": "paris", "skill": "fibre", "minutes": 60}


@pytest.fixture
async def van(api: Api, desk: Desk) -> None:
    """Van 12, of the desk's area."""
    await api.ok("PUT", "/crews/van-12", CREW)


async def test_a_crew_from_the_first_day_to_the_last(api: Api, van: None) -> None:
    shown = await api.ok("GET", "/crews/van-12")
    empty = {day: [] for day in ("monday", "wednesday", "thursday", "friday", "sunday")}
    assert shown == {
        **CREW,
        "crew_id": "van-12",
        "zone": "Europe/Paris",
        "skills": ["cable", "fibre"],
        "week": {**empty, **CREW["week"]},
        "retired": False,
        "days_off": [],
    }
    same = await api.ok("PUT", "/crews/van-12", CREW)
    assert same == {"crew_id": "van-12", "version": 1, "without_crew": []}
    off = {"first": "2026-12-24", "last": "2026-12-25", "hours": "12:00-24:00"}
    assert (await api.ok("POST", "/crews/van-12/days-off", off))["version"] == 2
    assert (await api.ok("POST", "/crews/van-12/days-off", {"first": "2026-12-25"}))["version"] == 3
    assert (await api.ok("GET", "/crews/van-12"))["days_off"] == [
        {"day": "2026-12-24", "hours": ["12:00-24:00"]},
        {"day": "2026-12-25", "hours": ["00:00-24:00"]},
    ]
    await api.ok("POST", "/crews/van-12/days-off/give-back", {**off, "hours": "00:00-18:00"})
    assert (await api.ok("GET", "/crews"))["items"][0]["days_off"] == [
        {"day": "2026-12-24", "hours": ["18:00-24:00"]},
        {"day": "2026-12-25", "hours": ["18:00-24:00"]},
    ]
    assert (await api.ok("POST", "/crews/van-12/retire"))["version"] == 5
    assert (await api.ok("GET", "/crews/van-12"))["retired"]
    assert (await api.call("POST", "/crews/van-12/days-off", {"first": "2026-12-28"})).is_error
    again = await api.ok("PUT", "/crews/van-12", {**CREW, "zone": "Asia/Kathmandu"})
    assert again["version"] == 6
    shown = await api.ok("GET", "/crews/van-12")
    assert (shown["zone"], shown["retired"], shown["days_off"]) == ("Asia/Kathmandu", False, [])


async def test_crews_page_by_page(api: Api, desk: Desk) -> None:
    await desk.area("lyon", "69")
    for number in range(5):
        areas = ["lyon", "paris"] if number % 2 else ["paris"]
        await api.ok("PUT", f"/crews/van-{number}", {**CREW, "areas": areas})
    first = await api.ok("GET", "/crews", limit=2, area_id="lyon")
    assert [item["crew_id"] for item in first["items"]] == ["van-1", "van-3"]
    assert first["next"] is None
    found, query = [], {"limit": 2, "skill": "cable"}
    while True:
        page = await api.ok("GET", "/crews", **query)
        found += [item["crew_id"] for item in page["items"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert found == [f"van-{number}" for number in range(5)]
    assert (await api.ok("GET", "/crews", skill="nothing"))["items"] == []


async def test_areas(api: Api, desk: Desk, visits: Visits) -> None:
    await visits.dissolve(desk.cause, "paris")
    assert await api.ok("PUT", "/areas/around", AREA) == {"area_id": "around", "version": 1}
    assert (await api.ok("PUT", "/areas/around", AREA))["version"] == 1
    await api.ok("PUT", "/areas/rest", {"label": "The rest", "country": "FR"})
    await api.ok("PUT", "/areas/hand", {"label": "By hand"})
    assert (await api.ok("GET", "/areas"))["items"] == [
        {**AREA, "area_id": "around", "prefixes": ["75", "921", "93"]},
        {"area_id": "hand", "label": "By hand", "country": None, "prefixes": []},
        {"area_id": "rest", "label": "The rest", "country": "FR", "prefixes": []},
    ]
    refused = await api.call("PUT", "/areas/other", AREA)
    assert refused.status_code == 409
    assert refused.json()["taken"] == {"75": "around", "921": "around", "93": "around"}
    assert (await api.call("PUT", "/areas/x", {"label": "X", "country": "FR"})).json()["taken"] == {
        "": "rest"
    }
    assert (await api.ok("POST", "/areas/around/dissolve"))["version"] == 2
    assert await api.ok("PUT", "/areas/other", AREA)
    assert (await api.call("POST", "/areas/nowhere/dissolve")).status_code == 404


async def test_slots(api: Api, van: None) -> None:
    partner = api.as_(Role.PARTNER)
    found = (await partner.ok("GET", "/visits/slots", **SEARCH))["slots"]
    assert found[0] == {
        "starts_at": "2026-11-24T07:00:00Z",
        "ends_at": "2026-11-24T08:00:00Z",
        "crews": 1,
    }
    # Two Tuesdays with seven and seven, two Saturdays with five.
    assert len(found) == 2 * 14 + 2 * 5
    query = {**SEARCH, "from": "2026-11-28T10:45:00+01:00", "days": 1, "limit": 2}
    found = (await partner.ok("GET", "/visits/slots", **query))["slots"]
    assert [slot["starts_at"] for slot in found] == ["2026-11-28T10:00:00Z"]


async def test_what_is_booked(api: Api, desk: Desk, van: None, clock: SetClock) -> None:
    for number in range(3):
        await desk.book(us("2026-11-24T08:00") + number * 6 * QUARTER, f"v-{number}")
    await desk.book("2026-11-28T09:00", "v-3")
    lost = await api.ok("POST", "/crews/van-12/days-off", {"first": "2026-11-28"})
    assert lost["without_crew"] == [
        {"visit_id": "v-3", "order_id": "o-v-3", "starts_at": "2026-11-28T08:00:00Z"}
    ]

    async def listed(**query: Any) -> list[str]:
        found: list[str] = []
        query["limit"] = 2
        while True:
            page = await api.ok("GET", "/visits", **query)
            found += [item["visit_id"] for item in page["items"]]
            if page["next"] is None:
                return found
            query["cursor"] = page["next"]

    assert await listed() == ["v-0", "v-1", "v-2", "v-3"]
    assert await listed(day="2026-11-24", crew_id="van-12") == ["v-0", "v-1", "v-2"]
    assert await listed(day="2026-11-25") == await listed(crew_id="van-13") == []
    assert await listed(area_id="paris", without_crew=True) == ["v-3"]
    assert await listed(area_id="lyon") == []
    clock.now = us("2026-11-24T09:00")
    # What is over is not shown, unless its day is asked for.
    assert await listed(without_crew=False) == ["v-1", "v-2"]
    assert await listed(day="2026-11-24") == ["v-0", "v-1", "v-2"]
    (item,) = (await api.ok("GET", "/visits", without_crew=True))["items"]
    assert item == {
        "visit_id": "v-3",
        "order_id": "o-v-3",
        "crew_id": "van-12",
        "area_id": "paris",
        "skill": "fibre",
        "starts_at": "2026-11-28T08:00:00Z",
        "ends_at": "2026-11-28T09:00:00Z",
        "without_crew": True,
    }


NONSENSE: list[tuple[str, str, Any, str]] = [
    ("PUT", "/crews/a b", CREW, "crew_id"),
    ("PUT", "/crews/x", {**CREW, "label": "a\nb"}, "label"),
    ("PUT", "/crews/x", {**CREW, "zone": "Mars"}, "zone"),
    ("PUT", "/crews/x", {**CREW, "areas": []}, "areas"),
    ("PUT", "/crews/x", {**CREW, "week": {}}, "week"),
    ("PUT", "/crews/x", {**CREW, "week": {"monday": ["12:00-08:00"]}}, "week.monday.0"),
    ("PUT", "/crews/x", {**CREW, "week": {"monday": ["08:10-12:00"]}}, "week.monday.0"),
    ("PUT", "/crews/x", {**CREW, "week": {"monday": ["08:00-12:00"] * 2}}, "week"),
    ("PUT", "/crews/x", {**CREW, "travel_minutes": 20}, "travel_minutes"),
    ("PUT", "/crews/x", {**CREW, "driver": "Ann"}, "driver"),
    ("POST", "/crews/van-12/days-off", {"first": "2026-11-22"}, "first"),
    ("POST", "/crews/van-12/days-off", {"first": "0001-01-01"}, "first"),
    ("POST", "/crews/van-12/days-off", {"first": "9999-12-31"}, "last"),
    ("POST", "/crews/van-12/days-off", {"first": 20_000}, "first"),
    (
        "POST",
        "/crews/van-12/days-off/give-back",
        {"first": "2026-12-02", "last": "2026-12-01"},
        "last",
    ),
    ("PUT", "/areas/x", {**AREA, "country": "fr"}, "country"),
    ("PUT", "/areas/x", {"label": "x", "prefixes": ["75"]}, "country"),
    ("PUT", "/areas/x", {**AREA, "prefixes": [""]}, "prefixes.0"),
    ("PUT", "/areas/x", {**AREA, "prefixes": ["%"]}, "prefixes.0"),
    ("GET", "/visits/slots?area_id=paris&skill=x&minutes=0", None, "minutes"),
    ("GET", "/visits/slots?area_id=paris&skill=x&minutes=1441", None, "minutes"),
    ("GET", "/visits/slots?area_id=paris&skill=x&minutes=60&days=32", None, "days"),
    ("GET", "/visits/slots?area_id=paris&skill=x&minutes=60&from=2026-11-23", None, "from"),
    (
        "GET",
        "/visits/slots?area_id=paris&skill=x&minutes=60&from=9999-12-31T23:59:59Z",
        None,
        "from",
    ),
    ("GET", "/visits?day=9999-12-31", None, "day"),
    ("GET", "/visits?cursor=WzFd", None, "cursor"),
]


async def test_what_makes_no_sense(api: Api, van: None) -> None:
    for method, path, body, field in NONSENSE:
        answer = await api.call(method, path, body)
        assert answer.status_code == 422, (path, body, answer.text)
        assert field in [each["field"] for each in answer.json()["errors"]], (path, body)
    assert (await api.ok("GET", "/crews/van-12"))["days_off"] == []
    assert [item["crew_id"] for item in (await api.ok("GET", "/crews"))["items"]] == ["van-12"]


async def test_what_there_is_not(api: Api, van: None) -> None:
    for method, path, body in (
        ("GET", "/crews/nobody", None),
        ("POST", "/crews/nobody/retire", None),
        ("POST", "/crews/nobody/days-off", {"first": "2026-12-24"}),
        ("GET", "/visits/slots?area_id=atlantis&skill=x&minutes=60", None),
    ):
        assert (await api.call(method, path, body)).status_code == 404, path


async def test_who_may_do_what(api: Api, van: None) -> None:
    agent, partner = api.as_(Role.AGENT), api.as_(Role.PARTNER)
    for method, path, body in (
        ("PUT", "/crews/x", CREW),
        ("POST", "/crews/van-12/days-off", {"first": "2026-12-24"}),
        ("POST", "/crews/van-12/days-off/give-back", {"first": "2026-12-24"}),
        ("POST", "/crews/van-12/retire", None),
        ("PUT", "/areas/x", AREA),
        ("POST", "/areas/paris/dissolve", None),
    ):
        assert (await agent.call(method, path, body)).status_code == 403
    for path in ("/crews", "/crews/van-12", "/areas", "/visits"):
        assert (await agent.call("GET", path)).is_success
        assert (await partner.call("GET", path)).status_code == 403
    assert (await partner.call("GET", "/visits/slots", **SEARCH)).is_success


async def test_the_examples_are_taken(api: Api, desk: Desk) -> None:
    document = (await api.http.get("/openapi.json")).json()
    examples = {
        name: schema["examples"][0]
        for name, schema in document["components"]["schemas"].items()
        if name.endswith("Body")
    }
    await desk.visits.dissolve(desk.cause, "paris")
    await api.ok("PUT", "/areas/paris", examples.pop("AreaBody"))
    await api.ok("PUT", "/crews/van-12", examples.pop("CrewBody"))
    await api.ok("POST", "/crews/van-12/days-off", examples.pop("DaysOffBody"))
    assert examples == {}
