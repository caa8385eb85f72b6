"""Leads over HTTP, with real PostgreSQL; timers; and whose turn it is."""

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import text

from eventkit.callers import Role
from eventkit.clock import rfc3339
from eventkit.eventstore import Answer, Cause, EventStore, Transaction
from eventkit.timers import TimerWorker
from services.dialer.leads import commands as c
from services.dialer.leads import store as leads_store
from services.dialer.leads.store import LEADS
from services.dialer.tests.desk import Desk, open_desk

S = 1_000_000
HOUR = 3_600 * S
ANN: dict[str, Any] = {
    "campaign_id": "spring",
    "list_id": "may",
    "numbers": ["06 12 34 56 78", "+33 1 42 68 53 00"],
    "name": "Anaïs Lefèvre",
    "address": {"lines": "12 rue des Lilas\nParis", "postal_code": "75011", "country": "FR"},
    "attributes": {"contract": "Duo"},
    "priority": 5,
    "country": "FR",
}
SECRETS = ("612345678", "142685300", "Anaïs", "Lefèvre", "Lilas", "75011", "Duo", "REF-77")


async def added(desk: Desk, number: str = "0612345678", **more: Any) -> str:
    body = ANN | {"numbers": [number]} | more
    return str((await desk.do("/leads", body))["lead_id"])


async def execute(desk: Desk, lead_id: str, command: c.Command) -> None:
    async def work(tx: Transaction) -> Answer:
        await tx.execute(LEADS, lead_id, command)
        return {}

    await desk.store.run(Cause(desk.client_id, "dialer-worker"), work)


async def taken(
    desk: Desk, *places: str, agents: tuple[str, ...] = (), limit: int = 10
) -> list[str]:
    """Ids of leads that are due now, as the worker takes them."""
    async with desk.store.reading() as connection:
        known = await leads_store.places_of(connection, desk.client_id, "spring")
        found = await leads_store.take_due(
            connection,
            desk.client_id,
            "spring",
            desk.store.clock.now_us(),
            places or known,
            limit,
            agents,
        )
        return [each.lead_id for each in found]


async def fired(desk: Desk) -> None:
    """What is due by now has happened."""
    worker = TimerWorker(desk.store, [LEADS], poll_s=0.05)
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(0.5)
    worker.stop()
    await running


async def test_a_lead_is_added_read_and_corrected(desk: Desk) -> None:
    agent = desk.as_(Role.AGENT)
    lead_id = (await agent.do("/leads", ANN | {"reference": "REF-77"}, key="k-1"))["lead_id"]
    assert (await agent.do("/leads", ANN | {"reference": "REF-77"}, key="k-1"))["version"] == 1
    assert (await agent.do("/leads", ANN | {"reference": "REF-77"}))["lead_id"] == lead_id
    known = await agent.get(f"/leads/{lead_id}")
    assert [each["number"] for each in known["numbers"]] == ["+33612345678", "+33142685300"]
    assert [each["place"] for each in known["numbers"]] == ["FR-75", "FR-75"]
    assert (known["name"], known["status"]) == ("Anaïs Lefèvre", "waiting")
    change = {"numbers": ["+33 1 42 68 53 00", "0699999999"], "attributes": {}, "country": "FR"}
    assert (await agent.do(f"/leads/{lead_id}", change, "PATCH"))["version"] == 2
    assert (await agent.do(f"/leads/{lead_id}", change, "PATCH"))["version"] == 2
    known = await agent.get(f"/leads/{lead_id}")
    assert [each["number_id"] for each in known["numbers"]] == ["2", "3"]
    assert known["attributes"] == {}
    # An address elsewhere: the number may ring there, too.
    away = {"address": {"postal_code": "97411", "country": "FR", "region": ""}}
    await agent.do(f"/leads/{lead_id}", away, "PATCH")
    places = {each["place"] for each in (await agent.get(f"/leads/{lead_id}"))["numbers"]}
    assert all("RE" in place and "FR" in place for place in places), places
    assert await desk.names(f"/leads/{lead_id}") == ["LeadAdded", *["LeadCorrected"] * 2]
    # The number that it had is free again, the one that it has is not.
    await added(desk, "0612345678")
    taken_by = await desk.refused("/leads", ANN | {"numbers": ["0699999999"]})
    assert taken_by["lead_id"] == lead_id


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"numbers": ["12"]}, "numbers"),
        ({"numbers": []}, "numbers"),
        ({"country": "Atlantis"}, "country"),
        ({"zone": "Mars/Olympus"}, "zone"),
        ({"priority": 101}, "priority"),
        ({"address": {"country": "XX"}}, "address.country"),
        ({"name": "x" * 201}, "name"),
        ({"attributes": {"a": "\x00"}}, "attributes"),
        ({"shoe": 1}, "shoe"),
    ],
)
async def test_what_can_be_no_lead(desk: Desk, change: dict[str, Any], field: str) -> None:
    problem = await desk.refused("/leads", ANN | change, 422)
    assert problem["errors"][0]["field"].startswith(field)
    assert (await desk.get("/leads"))["items"] == []


async def test_a_campaign_that_there_is_not(desk: Desk) -> None:
    await desk.refused("/leads", ANN | {"campaign_id": "winter"}, 404)
    await desk.refused("/leads/nobody/close", {"reason": "sold"}, 404)


async def test_nothing_personal_in_clear(desk: Desk) -> None:
    lead_id = await added(desk, "0612345678", reference="REF-77")
    await desk.do(f"/leads/{lead_id}", {"name": "Anaïs Lefèvre Duo"}, "PATCH")
    async with desk.store.reading() as connection:
        for table in ("events", "leads", "lead_numbers", "timers", "commands"):
            columns = "stream_id, body, message" if table == "events" else "t.*"
            rows = await connection.execute(
                text(f"SELECT {columns} FROM {table} AS t WHERE client_id = :client"),
                {"client": desk.client_id},
            )
            found = " ".join(repr(tuple(row)) for row in rows)
            for secret in SECRETS:
                assert secret not in found, (table, secret)
                assert secret.encode().hex() not in found
    listed = json.dumps([await desk.get("/leads"), await desk.get(f"/leads/{lead_id}/history")])
    for secret in SECRETS:
        assert secret not in listed


async def test_forgotten(desk: Desk) -> None:
    lead_id = await added(desk)
    await desk.as_(Role.AGENT).refused(f"/leads/{lead_id}/forget", status=403)
    await desk.do(f"/leads/{lead_id}/forget")
    assert (await desk.do(f"/leads/{lead_id}/forget"))["version"] == 2
    known = await desk.get(f"/leads/{lead_id}")
    assert (known["closed_reason"], known["name"]) == ("erased", "")
    assert [each["number"] for each in known["numbers"]] == [""]
    await desk.refused(f"/leads/{lead_id}/reopen", {})
    # Nobody knows any more whose number it was.
    assert await added(desk) != lead_id
    theirs = await added(desk, "0699999999", customer_id="K-1")
    await desk.refused(f"/leads/{theirs}/forget")


async def test_turns(desk: Desk) -> None:
    low = await added(desk, "0611111111", priority=1)
    high = await added(desk, "0622222222", priority=9)
    later = await added(desk, "0633333333", priority=9, due_at="2100-01-01T00:00:00Z")
    away = await added(desk, "+13055551234", priority=9, address={}, country="US")
    closed = await added(desk, "0644444444", priority=9)
    await desk.do(f"/leads/{closed}/close", {"reason": "withdrawn"})
    found = await taken(desk)
    assert set(found[:2]) == {high, away}
    assert found[2:] == [low]
    assert await taken(desk, "FR-75") == [high, low]
    assert await taken(desk, "FR-75", limit=1) == [high]
    assert await taken(desk, "DE") == []
    await desk.do(f"/leads/{later}/callback", await window(desk, -1, 1))
    assert (await taken(desk, "FR-75"))[0] == later
    totals = (await desk.get("/campaigns/spring/leads/totals"))["items"]
    assert {(each["status"], each["reason"]): each["number"] for each in totals} == {
        ("waiting", ""): 4,
        ("closed", "withdrawn"): 1,
    }


async def test_of_two_who_take_the_same_one_gets_it(desk: Desk) -> None:
    ids = {await added(desk, f"06111111{n:02}") for n in range(10, 16)}
    now = desk.store.clock.now_us()
    both = asyncio.Barrier(2)

    async def take() -> list[str]:
        async with desk.store.engine.connect() as connection:
            await both.wait()
            found = await leads_store.take_due(
                connection, desk.client_id, "spring", now, ["FR-75"], 3
            )
            await both.wait()
            return [each.lead_id for each in found]

    first, second = await asyncio.gather(take(), take())
    assert not set(first) & set(second)
    assert set(first) | set(second) <= ids


async def window(desk: Desk, from_h: float, until_h: float, **more: Any) -> dict[str, Any]:
    now = desk.store.clock.now_us()
    return {
        "from_at": rfc3339(now + int(from_h * HOUR)),
        "until_at": rfc3339(now + int(until_h * HOUR)),
    } | more


async def test_a_personal_callback_is_only_that_agents(desk: Desk) -> None:
    lead_id = await added(desk)
    agent = desk.as_(Role.AGENT)
    promise = await window(desk, -1, 1, agent_id="ann")
    assert (await agent.do(f"/leads/{lead_id}/callback", promise))["version"] == 2
    assert (await agent.do(f"/leads/{lead_id}/callback", promise))["version"] == 2
    assert await taken(desk) == []
    assert await taken(desk, agents=("bob",)) == []
    assert await taken(desk, agents=("bob", "ann")) == [lead_id]
    item = (await agent.get("/callbacks", agent_id="ann"))["items"][0]
    assert (item["lead_id"], item["callback"]["escalated"]) == (lead_id, False)
    assert (await agent.get("/callbacks", agent_id="bob"))["items"] == []
    past = await window(desk, -2, -1)
    assert (await agent.refused(f"/leads/{lead_id}/callback", past, 422))["errors"][0] == {
        "field": "until_at",
        "reason": "must be in the future",
    }


async def test_a_callback_that_nobody_kept_is_escalated(desk: Desk) -> None:
    other, lead_id = await added(desk, "0699999999", priority=100), await added(desk)
    promise = await window(desk, -1, 0.3 / 3600, agent_id="ann")
    await desk.do(f"/leads/{lead_id}/callback", promise)
    assert await taken(desk) == [other]
    await asyncio.sleep(0.4)
    await fired(desk)
    assert await taken(desk) == [lead_id, other]
    late = (await desk.get("/callbacks", escalated=True))["items"]
    assert [each["lead_id"] for each in late] == [lead_id]
    await fired(desk)
    names = await desk.names(f"/leads/{lead_id}")
    assert names == ["LeadAdded", "LeadCallbackPromised", "LeadCallbackEscalated"]


async def test_a_callback_that_was_kept_is_not(desk: Desk) -> None:
    lead_id = await added(desk)
    await desk.do(f"/leads/{lead_id}/callback", await window(desk, -1, 0.5 / 3600))
    now = desk.store.clock.now_us()
    await execute(desk, lead_id, c.Dial("a1", "1", now))
    await execute(desk, lead_id, c.Resolve("a1", "no-answer", c.Schedule(now + HOUR)))
    await asyncio.sleep(0.6)
    await fired(desk)
    assert (await desk.get("/callbacks"))["items"] == []
    assert "LeadCallbackEscalated" not in await desk.names(f"/leads/{lead_id}")


async def test_previews(desk: Desk) -> None:
    lead_id = await added(desk)
    agent = desk.as_(Role.AGENT)
    accept, skip = f"/leads/{lead_id}/preview/accept", f"/leads/{lead_id}/preview/skip"
    await agent.refused(accept, {"agent_id": "ann"})

    async def offer(agent_id: str, seconds: float = 60) -> None:
        now = desk.store.clock.now_us()
        await execute(desk, lead_id, c.OfferPreview(agent_id, now + int(seconds * S), now))

    await offer("ann")
    assert await taken(desk) == []
    assert (await agent.get("/leads", agent_id="ann"))["items"][0]["status"] == "previewed"
    await agent.refused(skip, {"agent_id": "bob", "reason": "tired"})
    await agent.refused(skip, {"agent_id": "ann", "reason": ""}, 422)
    assert (await agent.do(skip, {"agent_id": "ann", "reason": "wrong-language"}))["status"]
    assert await taken(desk) == []  # it rests, by the rule `skipped`
    await desk.do(f"/leads/{lead_id}/callback", await window(desk, -1, 1))
    await offer("bob", 0.2)
    await asyncio.sleep(0.3)
    await agent.refused(accept, {"agent_id": "bob"})
    await fired(desk)
    assert await taken(desk) == [lead_id]
    await offer("bob")
    await agent.do(accept, {"agent_id": "bob"})
    await agent.do(accept, {"agent_id": "bob"})
    now = desk.store.clock.now_us()
    await execute(desk, lead_id, c.Dial("a1", "1", now))
    assert (await desk.names(f"/leads/{lead_id}"))[-3:] == [
        "LeadPreviewed",
        "LeadPreviewAccepted",
        "LeadDialled",
    ]


async def test_closed_and_reopened(desk: Desk) -> None:
    lead_id = await added(desk)
    await desk.as_(Role.AGENT).do(f"/leads/{lead_id}/close", {"reason": "wrong-person"})
    assert await taken(desk) == []
    await desk.as_(Role.AGENT).refused(f"/leads/{lead_id}/reopen", {}, 403)
    await desk.do(f"/leads/{lead_id}/reopen", {})
    assert await taken(desk) == [lead_id]


async def test_lists_by_filter_page_by_page(desk: Desk) -> None:
    await desk.campaign("autumn")
    ids = {await added(desk, f"06111111{n:02}") for n in range(10, 15)}
    other = await added(desk, campaign_id="autumn", list_id="june", customer_id="K-1")
    assert set(await desk.listed("/leads", "lead_id")) == ids | {other}
    assert set(await desk.listed("/leads", "lead_id", campaign_id="spring")) == ids
    assert await desk.listed("/leads", "lead_id", list_id="june") == [other]
    assert await desk.listed("/leads", "lead_id", customer_id="K-1") == [other]
    assert await desk.listed("/leads", "lead_id", status="closed") == []
    await desk.as_(Role.PARTNER).refused("/leads", ANN, 403)


async def test_another_client_sees_nothing(desk: Desk, store: EventStore) -> None:
    lead_id = await added(desk)
    async with open_desk(store, "client-other") as theirs:
        assert (await theirs.call("GET", f"/leads/{lead_id}")).status_code == 404
