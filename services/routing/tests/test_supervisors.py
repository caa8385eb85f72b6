"""Supervisors read what they have set, with or without a worker; and every number of the live view
is the length of a list."""

import asyncio
from datetime import UTC, date, datetime
from typing import Any

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from hypothesis import given
from hypothesis import strategies as st
from relais.calls.v1.events_pb2 import Overflow as WireOverflow
from relais.pools.v1 import events_pb2 as pools
from relais.routing.v1 import pool_service_pb2 as pb
from relais.routing.v1.pool_service_pb2_grpc import PoolServiceStub

from services.routing import commands as c
from services.routing.configuration import (
    Hours,
    Interval,
    Overflow,
    Queue,
    Step,
    check_queue,
)
from services.routing.pool import AgentState, CallState
from services.routing.supervisors import bodies as b
from services.routing.supervisors.live import (
    Places,
    agents_now,
    agents_where,
    calls_where,
    queues_now,
    time_of,
)
from services.routing.tests.play import START, Play, S
from services.routing.tests.support import Published, Running

pytestmark = pytest.mark.timeout(120)


# Pure: what is set.

IDS = st.from_regex(r"[a-z][a-z0-9-]{0,5}", fullmatch=True)
SKILLS = st.dictionaries(IDS, st.integers(1, 5), max_size=3).map(
    lambda levels: tuple(sorted(levels.items()))
)
GROUPS = st.lists(IDS, max_size=3, unique=True).map(lambda groups: tuple(sorted(groups)))
SHARES = st.floats(0, 1)
FINAL = st.sampled_from([Overflow.VOICEMAIL, Overflow.CLOSE])
STEPS = st.one_of(
    st.builds(Step, st.just(0), st.just(Overflow.RELAX_SKILL), skill=IDS, level=st.integers(0, 5)),
    st.builds(Step, st.just(0), st.just(Overflow.WIDEN_GROUPS), groups=GROUPS),
    st.builds(Step, st.just(0), st.just(Overflow.MOVE_TO_QUEUE), queue_id=IDS),
    st.builds(Step, st.just(0), st.just(Overflow.MOVE_TO_POOL), queue_id=IDS, pool_id=IDS),
    st.builds(Step, st.integers(0, 0), FINAL),
)
HOURS = st.builds(
    Hours,
    st.sampled_from(["Europe/Paris", "UTC"]),
    st.lists(
        st.builds(Interval, st.integers(1, 7), st.integers(0, 700), st.integers(701, 1440)),
        max_size=4,
        unique_by=lambda each: each.weekday,
    ).map(lambda week: tuple(sorted(week, key=lambda each: each.weekday))),
    st.lists(st.dates(date(2020, 1, 1), date(2030, 1, 1)), max_size=3, unique=True).map(
        lambda days: tuple(sorted(day.isoformat() for day in days))
    ),
)
QUEUES = st.builds(
    Queue,
    IDS,
    required_skills=SKILLS,
    preferred_skills=SKILLS,
    priority=st.integers(-5, 5),
    target_seconds=st.integers(1, 600),
    target_share=SHARES,
    penalty=st.floats(0, 100),
    groups=GROUPS,
    hours=st.none() | HOURS,
    when_closed=st.builds(Step, st.just(0), FINAL),
    max_wait_seconds=st.integers(0, 600),
    when_full=FINAL,
    steps=st.lists(STEPS, max_size=3).map(tuple),
    sticky_days=st.integers(0, 30),
    base_weight=st.floats(-10, 10),
)


@given(QUEUES)
def test_what_is_shown_can_be_set_again(queue: Queue) -> None:
    check_queue(queue)
    play = Play()
    play.pool.queue(f"acme/{queue.queue_id}").config = queue
    shown = b.queue_view(play.pool.queues[f"acme/{queue.queue_id}"])
    body = shown.model_dump_json(exclude={"client_id", "queue_id", "version"})
    assert b.QueueBody.model_validate_json(body).command(queue.queue_id, 0).queue == queue


def test_public_holidays_become_days() -> None:
    asked = {
        "zone": "Europe/Paris",
        "holidays": ["2026-08-14"],
        "holidays_of": "FR",
        "years": [2026],
        "weekly": {"monday": ["13:00-18:00", "08:30-12:00"], "sunday": ["00:00-24:00"]},
    }
    hours = b.HoursBody.model_validate(asked).domain(datetime(2026, 11, 23, tzinfo=UTC))
    assert {"2026-07-14", "2026-08-14", "2026-12-25"} <= set(hours.holidays)
    assert not any(day.startswith("2027") for day in hours.holidays)
    assert hours.weekly == (
        Interval(1, 510, 720),
        Interval(1, 780, 1080),
        Interval(7, 0, 1440),
    )
    part = b.HoursBody(zone="UTC", holidays_of="DE-BY").domain(datetime(2026, 1, 1, tzinfo=UTC))
    assert {"2026-01-06", "2027-01-06", "2028-01-06"} <= set(part.holidays), "this year and two"


# Pure: what is shown.


def busy() -> Play:
    """Two queues; agents in many states."""
    play = Play()
    play.tell(c.ConfigureQueue(Queue("q", target_seconds=60)))
    for name in ("ann", "bob"):
        play.tell(c.LogInAgent(name, (("fr", 3),), ("day",), "paris"))
        play.tell(c.MakeAgentAvailable(name))
    play.tell(c.LogInAgent("eve"))
    play.tell(c.StartBreak("eve", "lunch"))
    for number in range(5):
        play.now += S
        play.tell(c.QueueCall(f"c{number}", "q", 5 if number == 4 else 0))
    play.tell(c.QueueCall("b1", "other"), client="bolt")
    offer = play.pool.calls["acme/c0"]
    play.tell(c.AcceptOffer(offer.offer_id, offer.agent_id))
    play.tell(c.ReportCallConnected("c0", offer.agent_id))
    play.tell(c.RequestHelp("c0", offer.agent_id, groups=("nobody",)))
    play.now += 10 * S
    return play


def test_every_number_is_the_length_of_a_list() -> None:
    play = busy()
    now = play.now
    numbers = {(each.state.key): each for each in queues_now(play.pool, now)}
    assert set(numbers) == {"acme/q", "bolt/other"}
    q = numbers["acme/q"]
    assert (q.waiting, q.offered, q.connected) == (3, 1, 1)
    assert q.longest_wait == now - play.pool.calls["acme/c2"].queued_at == 12 * S
    assert q.service_level == 1.0
    for key, each in numbers.items():
        for state, number in (
            (CallState.WAITING, each.waiting),
            (CallState.OFFERED, each.offered),
            (CallState.ASSIGNED, each.assigned),
            (CallState.CONNECTED, each.connected),
        ):
            assert number == len(calls_where(play.pool, state, key, "", ""))
    assert sum(each.waiting for each in numbers.values()) == len(
        calls_where(play.pool, CallState.WAITING, "", "", "")
    )
    agents = agents_now(play.pool, now)
    assert [each.state for each in agents] == list(AgentState)
    for found in agents:
        assert found.count == len(agents_where(play.pool, found.state, "", ""))
    assert len(agents_where(play.pool, None, "paris", "day")) == 2
    assert calls_where(play.pool, None, "", "bolt", "")[0].call_id == "b1"


def test_places_are_those_of_the_matching() -> None:
    play = busy()
    places = Places(play.pool)
    calls = play.pool.calls
    assert [places.of(calls[f"acme/c{number}"]) for number in range(5)] == [None, None, 2, 3, 1]
    assert places.of(calls["bolt/b1"]) == 1
    # Who becomes free is offered what has the first place.
    offered = next(each for each in calls.values() if each.state is CallState.OFFERED)
    play.tell(c.AcceptOffer(offered.offer_id, offered.agent_id))
    play.tell(c.ReportCallConnected(offered.call_id, offered.agent_id))
    play.tell(c.ReportCallEnded(offered.call_id), at=play.now)
    play.wait(30)
    assert calls["acme/c4"].state is CallState.OFFERED


def test_whose_time_counts() -> None:
    play = Play()
    play.tell(c.LogInAgent("ann"))
    assert time_of(play.pool, START + 5 * S) == START + 5 * S
    assert time_of(play.pool, START - 5 * S) == START
    assert time_of(play.pool, START + 48 * 3600 * S) == START, "replayed: another day"
    play.tell(c.ConfigurePool(clock_speed=60))
    assert time_of(play.pool, START + 5 * S) == START


# Over HTTP.


def problem(answer: httpx.Response, status: int) -> tuple[str, str]:
    """Field and reason."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    [error, *_] = answer.json()["errors"]
    return error["field"], error["reason"]


def good(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_settings_are_read_as_they_were_set(http: httpx.AsyncClient, pool: str) -> None:
    path = f"/v1/pools/{pool}"
    assert (await http.get(path)).status_code == 404
    first = good(await http.put(path, json={"policy": "service-level", "missed_offers": 2}))
    assert first["version"] == 1
    assert (first["policy"], first["missed_offers"], first["offer_seconds"]) == (
        *("service-level", 2),
        20,
    )
    assert good(await http.get(path)) == first
    same = good(await http.put(path, json={"policy": "service-level", "missed_offers": 2}))
    assert same["version"] == 1, "the same again is no change"
    changed = {"offer_seconds": 15, "restricted_groups": ["b", "a"], "expected_version": 1}
    second = good(await http.put(path, json=changed))
    assert (second["version"], second["policy"]) == (2, "longest-idle")
    assert second["restricted_groups"] == ["a", "b"]
    changed["offer_seconds"] = 16
    field, reason = problem(await http.put(path, json=changed), 409)
    assert (field, reason) == ("expected_version", "version 2 is there, not 1")
    assert problem(await http.put(path, json={"policy": "coin"}), 409)[0] == "policy"
    assert problem(await http.put(path, json={"offer_seconds": -1}), 422)[0] == "offer_seconds"
    assert problem(await http.put(path, json={"clock_speed": 0.5}), 422)[0] == "clock_speed"
    assert problem(await http.put(path, json={"speed": 2}), 422)[0] == "speed"
    assert good(await http.get(path)) == second


async def test_queues_and_clients(http: httpx.AsyncClient, pool: str) -> None:
    path = f"/v1/pools/{pool}/queues/acme/cards"
    body = {
        "required_skills": {"bank": 2},
        "target_seconds": 30,
        "hours": {
            "zone": "Europe/Paris",
            "weekly": {"monday": ["08:00-12:00", "13:00-19:00"]},
            "holidays_of": "FR",
            "years": [2026],
        },
        "steps": [
            {"after_seconds": 60, "action": "relax_skill", "skill": "bank", "level": 1},
            {"after_seconds": 180, "action": "offer_callback"},
        ],
    }
    first = good(await http.put(path, json=body))
    assert (first["version"], first["client_id"], first["queue_id"]) == (1, "acme", "cards")
    assert "2026-07-14" in first["hours"]["holidays"]
    assert good(await http.get(path)) == first
    again = {name: first[name] for name in b.QueueFields.model_fields}
    assert good(await http.put(path, json=again)) == first
    second = good(await http.put(path, json={"priority": 3, "expected_version": 1}))
    assert (second["version"], second["hours"], second["priority"]) == (2, None, 3)
    assert problem(await http.put(path, json=body | {"expected_version": 1}), 409) == (
        "expected_version",
        "version 2 is there, not 1",
    )
    refused: list[tuple[dict[str, Any], str]] = [
        ({"target_share": 2}, "target_share"),
        ({"required_skills": {"bank": 6}}, "required_skills"),
        ({"hours": {"zone": "Mars/Base"}}, "hours.zone"),
        ({"hours": {"zone": "UTC", "weekly": {"monday": ["9-12"]}}}, "hours.weekly.monday.0"),
        (
            {"hours": {"zone": "UTC", "weekly": {"monday": ["12:00-09:00"]}}},
            "hours.weekly.monday.0",
        ),
        ({"hours": {"zone": "UTC", "holidays_of": "XX"}}, "hours.holidays_of.country"),
        ({"hours": {"zone": "UTC", "holidays_of": "FR-XX"}}, "hours.holidays_of.subdivision"),
        ({"steps": [{"action": "teleport"}]}, "steps.0.action"),
        ({"steps": [{"action": "relax_skill"}]}, "steps[0].skill"),
        ({"when_closed": {"action": "offer_callback"}}, "when_closed.action"),
        ({"expected_version": -1}, "expected_version"),
    ]
    for wrong, field in refused:
        assert problem(await http.put(path, json=wrong), 422)[0] == field
    unknown = f"/v1/pools/{pool}/queues/nobody/cards"
    assert problem(await http.put(unknown, json={}), 422)[0] == "client_id"

    other = f"/v1/pools/{pool}/queues/acme/other"
    good(await http.put(other, json={}))
    listing = good(await http.get(f"/v1/pools/{pool}/queues", params={"limit": 1}))
    assert [each["queue_id"] for each in listing["items"]] == ["cards"]
    rest = good(
        await http.get(f"/v1/pools/{pool}/queues", params={"limit": 1, "cursor": listing["next"]})
    )
    assert [each["queue_id"] for each in rest["items"]] == ["other"]
    assert rest["next"] is None

    assert problem(await http.delete(path, params={"expected_version": 7}), 409)[0] == (
        "expected_version"
    )
    assert good(await http.delete(path, params={"expected_version": 2})) == {"version": 3}
    assert good(await http.get(path))["priority"] == 0
    gone = await http.delete(f"/v1/pools/{pool}/queues/acme/never")
    assert gone.status_code == 404

    rules = f"/v1/pools/{pool}/clients/acme"
    nothing = good(await http.get(rules))
    assert (nothing["version"], nothing["share"], nothing["vip_customers"]) == (0, 0.0, [])
    set_ = {"share": 0.25, "floor": 2, "vip_customers": ["k-2", "k-1"], "vip_priority": 9}
    client = good(await http.put(rules, json=set_))
    assert client["vip_customers"] == ["k-1", "k-2"]
    assert (client["version"], client["share"]) == (1, 0.25)
    assert good(await http.get(rules)) == client
    assert problem(await http.put(rules, json={"share": 1.5}), 422)[0] == "share"


async def test_a_change_holds_without_a_restart_and_is_an_event(
    http: httpx.AsyncClient, worker: Running, published: Published, pool: str
) -> None:
    good(await http.put(f"/v1/pools/{pool}/queues/acme/q", json={"required_skills": {"fr": 3}}))
    report = {"pool_id": pool}
    skills = {"skills": [{"skill": "de", "level": 3}]}
    await http.post(f"/v1/agents/ann-{pool}/logged-in", json=report | skills)
    await http.post(f"/v1/agents/ann-{pool}/available", json=report)
    await http.post(f"/v1/calls/acme/{pool}-1/queued", json=report | {"queue_id": "q"})
    await published.wait_for(f"acme/{pool}-1", "arrived", "queued")
    # Without waiting for the worker: the view is the log's own.
    good(await http.put(f"/v1/pools/{pool}/queues/acme/q", json={}))
    await http.post(f"/v1/calls/acme/{pool}-2/queued", json=report | {"queue_id": "q"})
    await published.wait_for(f"acme/{pool}-2", "arrived", "queued", "offered")


async def test_of_two_who_change_the_same_one_is_told(http: httpx.AsyncClient, pool: str) -> None:
    path = f"/v1/pools/{pool}/queues/acme/q"
    good(await http.put(path, json={"priority": 1}))

    async def change(priority: int) -> int:
        answer = await http.put(path, json={"priority": priority, "expected_version": 1})
        if answer.status_code == 200:
            assert answer.json()["priority"] == priority
            assert answer.json()["version"] == 2
        return answer.status_code

    outcomes = await asyncio.gather(*(change(priority) for priority in range(10, 30)))
    assert sorted(outcomes) == [200, *[409] * 19]


async def test_the_live_view_and_what_its_numbers_count(
    http: httpx.AsyncClient, worker: Running, published: Published, pool: str
) -> None:
    report = {"pool_id": pool}
    good(await http.put(f"/v1/pools/{pool}/queues/acme/q", json={"target_seconds": 60}))
    for name in ("ann", "bob"):
        agent = {"skills": [{"skill": "fr", "level": 3}], "site": "paris", "groups": ["day"]}
        await http.post(f"/v1/agents/{name}-{pool}/logged-in", json=report | agent)
    await http.post(f"/v1/agents/ann-{pool}/available", json=report)
    for number in range(4):
        call = report | {"queue_id": "q", "priority": number}
        await http.post(f"/v1/calls/acme/{pool}-{number}/queued", json=call)
    live = good(await http.get(f"/v1/pools/{pool}/live"))
    [queue] = live["queues"]
    assert (queue["client_id"], queue["queue_id"], queue["open"]) == ("acme", "q", True)
    assert (queue["waiting"], queue["offered"], queue["connected"]) == (3, 1, 0)
    assert live["waiting"] == 3
    assert queue["longest_wait_s"] > 0
    assert (queue["target_seconds"], queue["service_level"]) == (60, None)
    for state in ("waiting", "offered", "assigned", "connected"):
        params = {"queue": "acme/q", "state": state}
        calls = good(await http.get(f"/v1/pools/{pool}/calls", params=params))["items"]
        assert len(calls) == queue[state]
        assert all(call["state"] == state for call in calls)
    for agents in live["agents"]:
        params = {"state": agents["state"]}
        found = good(await http.get(f"/v1/pools/{pool}/agents", params=params))["items"]
        assert len(found) == agents["count"]
    waiting = good(await http.get(f"/v1/pools/{pool}/calls", params={"state": "waiting"}))
    assert [(each["call_id"], each["place"]) for each in waiting["items"]] == [
        (f"{pool}-1", 3),
        (f"{pool}-2", 2),
        (f"{pool}-3", 1),
    ]
    detail = good(await http.get(f"/v1/pools/{pool}/calls/acme/{pool}-0"))
    assert (detail["state"], detail["agent_id"]) == ("offered", f"ann-{pool}")
    assert detail["why"]["rule"]
    assert detail["offer_expires_at"]
    ann = good(await http.get(f"/v1/pools/{pool}/agents/ann-{pool}"))
    assert (ann["state"], ann["offered"], ann["site"]) == ("reserved", f"acme/{pool}-0", "paris")
    assert ann["skills"] == {"fr": 3}
    assert (await http.get(f"/v1/pools/{pool}/agents/nobody")).status_code == 404
    assert (await http.get(f"/v1/pools/{pool}/calls/acme/nothing")).status_code == 404
    assert (await http.get("/v1/pools/never-heard-of/live")).status_code == 404
    wrong = await http.get(f"/v1/pools/{pool}/calls", params={"queue": "q"})
    assert problem(wrong, 422)[0] == "queue"
    wrong = await http.get(f"/v1/pools/{pool}/calls", params={"state": "lost"})
    assert problem(wrong, 422)[0] == "state"
    wrong = await http.get(f"/v1/pools/{pool}/agents", params={"cursor": "bm9wZQ"})
    assert problem(wrong, 422)[0] == "cursor"


# Over gRPC.


async def test_the_same_over_grpc(api: Running, http: httpx.AsyncClient, pool: str) -> None:
    address = f"127.0.0.1:{api.environment['RELAIS_ROUTING_GRPC_PORT']}"
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = PoolServiceStub(channel)  # type: ignore[no-untyped-call]

        async def refused(answer: Any, code: grpc.StatusCode) -> str:
            """The field."""
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await answer
            assert error.value.code() is code
            status = rpc_status.from_call(error.value)  # type: ignore[arg-type]
            assert status is not None
            if code is grpc.StatusCode.INVALID_ARGUMENT:
                bad = error_details_pb2.BadRequest()
                assert status.details[0].Unpack(bad)
                return str(bad.field_violations[0].field)
            failed = error_details_pb2.PreconditionFailure()
            assert status.details[0].Unpack(failed)
            return str(failed.violations[0].subject)

        settings = await stub.ConfigurePoolSettings(
            pb.ConfigurePoolSettingsRequest(
                pool_id=pool,
                settings=pools.PoolConfigured(policy="affine", lost_seconds=90),
                actor="sue",
            )
        )
        assert settings.settings.config_version == 1
        assert settings.settings.offer_seconds == 20

        queue = pools.Queue(
            queue_id="q",
            target_seconds=25,
            target_share=0.8,
            penalty=1,
            when_closed=pools.Step(action=WireOverflow.OVERFLOW_CLOSE),
            when_full=WireOverflow.OVERFLOW_CLOSE,
            wait_weight=1,
            callback_attempts=3,
            callback_retry_seconds=300,
        )
        asked = pools.QueueConfigured(queue=queue)
        request = pb.ConfigureQueueRequest(pool_id=pool, client_id="acme", queue=asked)
        set_ = await stub.ConfigureQueue(request)
        assert set_.queue == pools.QueueConfigured(config_version=1, queue=queue)
        assert good(await http.get(f"/v1/pools/{pool}/queues/acme/q"))["version"] == 1
        request.queue.queue.priority = 5
        request.queue.config_version = 7
        field = await refused(stub.ConfigureQueue(request), grpc.StatusCode.FAILED_PRECONDITION)
        assert field == "expected_version"
        request.queue.queue.target_share = 3
        field = await refused(stub.ConfigureQueue(request), grpc.StatusCode.INVALID_ARGUMENT)
        assert field == "target_share"
        field = await refused(
            stub.ConfigureQueue(pb.ConfigureQueueRequest(pool_id=pool, client_id="acme")),
            grpc.StatusCode.INVALID_ARGUMENT,
        )
        assert field == "queue.queue"

        rules = pools.ClientRules(share=0.5, vip_customers=["k-1"], vip_priority=3)
        wanted = pools.ClientConfigured(rules=rules)
        client = await stub.ConfigureClient(
            pb.ConfigureClientRequest(pool_id=pool, client_id="acme", client=wanted)
        )
        assert client.client.config_version == 1
        found = await stub.GetPool(pb.GetPoolRequest(pool_id=pool))
        assert found.settings == settings.settings
        assert [each.configured for each in found.queues] == [set_.queue]
        assert [each.configured for each in found.clients] == [client.client]
        removed = await stub.RemoveQueue(
            pb.RemoveQueueRequest(pool_id=pool, client_id="acme", queue_id="q", expected_version=1)
        )
        assert removed.config_version == 2
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.GetPool(pb.GetPoolRequest(pool_id="never-heard-of"))
        assert error.value.code() is grpc.StatusCode.NOT_FOUND


async def test_who_is_there_and_what_waits_for_them(
    api: Running, http: httpx.AsyncClient, worker: Running, published: Published, pool: str
) -> None:
    report = {"pool_id": pool}
    ann, bob, eve = (f"{name}-{pool}" for name in ("ann", "bob", "eve"))
    for name in (ann, bob, eve):
        agent = {"skills": [{"skill": "fr", "level": 3}], "groups": ["day"]}
        await http.post(f"/v1/agents/{name}/logged-in", json=report | agent)
    await http.post(f"/v1/agents/{eve}/logged-out", json=report)
    await http.post(f"/v1/agents/{ann}/available", json=report)
    for number in range(4):
        call = report | {"queue_id": "q", "priority": 7 if number > 1 else 0}
        await http.post(f"/v1/calls/acme/{pool}-{number}/queued", json=call)
    await published.wait_for(f"acme/{pool}-0", "arrived", "queued", "offered")
    address = f"127.0.0.1:{api.environment['RELAIS_ROUTING_GRPC_PORT']}"
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = PoolServiceStub(channel)  # type: ignore[no-untyped-call]

        async def listed() -> Any:
            return await stub.ListAgents(pb.ListAgentsRequest(pool_id=pool))

        found = await listed()
        first, second = found.agents
        assert (first.agent_id, second.agent_id) == (ann, bob)
        assert (first.state, first.offered) == (AgentState.RESERVED, f"acme/{pool}-0")
        assert (second.state, second.offered) == (AgentState.LOGGED_IN, "")
        assert [(each.skill, each.level) for each in second.skills] == [("fr", 3)]
        assert list(second.groups) == ["day"]
        assert found.as_of.ToMicroseconds() >= first.since.ToMicroseconds() > 0
        waiting = [(w.client_id, w.queue_id, w.priority, w.calls) for w in found.waiting]
        assert waiting == [("acme", "q", 0, 1), ("acme", "q", 7, 2)]

        connected = report | {"agent_id": ann}
        await http.post(f"/v1/calls/acme/{pool}-0/connected", json=connected)
        await http.post(f"/v1/agents/{ann}/on-break", json=report | {"reason": "lunch"})
        first = (await listed()).agents[0]
        assert (first.state, first.leaving) == (AgentState.BUSY, True)
        [call] = first.calls
        assert (call.call, call.queue_id) == (f"acme/{pool}-0", "q")
        assert call.connected_at.ToMicroseconds() >= first.since.ToMicroseconds()

        await http.post(f"/v1/calls/acme/{pool}-0/ended", json=report)
        first = (await listed()).agents[0]
        assert (first.state, list(first.calls)) == (AgentState.WRAP_UP, [])
        assert first.wrap_up_ends_at.ToMicroseconds() > first.since.ToMicroseconds()

        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.ListAgents(pb.ListAgentsRequest(pool_id="never-heard-of"))
        assert error.value.code() is grpc.StatusCode.NOT_FOUND
