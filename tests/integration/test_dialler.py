"""A campaign from its first lead to its last over the real stack: every attempt has one outcome,
every live answer an agent within two seconds or the message, and who is put on the do-not-call list
is not called from then on."""

import time
from collections import Counter

import pytest
from relais.attempts.v1 import events_pb2 as a
from relais.attempts.v1.events_pb2 import AttemptEvent

from relaisctl.stack import Stack
from tests.integration.conftest import Engines
from tests.integration.dialler_centre import PROCESSES, dialled, number, scenario

LEADS, AGENTS = 300, 12
WITHIN_US = 2_000_000


@pytest.fixture(scope="module")
def running(stack: Engines, services: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    world = scenario(tmp_path_factory.mktemp("carrier") / "scenario.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RELAIS_CARRIER_SCENARIO", str(world))
        services.start(PROCESSES)
    return services


def check(attempts: dict[str, list[AttemptEvent]]) -> Counter[int]:
    """What holds for every attempt; how many came to what."""
    results: Counter[int] = Counter()
    for id, events in attempts.items():
        kinds = [str(each.WhichOneof("body")) for each in events]
        assert kinds[0] == "started", id
        assert kinds.count("ended") == 1, f"{id}: {kinds}"
        ended = next(each for each in events if each.HasField("ended")).ended
        assert (ended.result == a.RESULT_CONNECTED) == ("connected" in kinds), f"{id}: {kinds}"
        assert (ended.result == a.RESULT_ABANDONED) == ("abandoned" in kinds), f"{id}: {kinds}"
        if "connected" in kinds:
            assert ended.waited.ToMicroseconds() <= WITHIN_US, id
        if "abandoned" in kinds:
            told = next(each for each in events if each.HasField("abandoned")).abandoned
            assert told.message_played, id
        if "greeting_ended" in kinds:
            results_of_live = (a.RESULT_CONNECTED, a.RESULT_ABANDONED, a.RESULT_HUNG_UP)
            assert ended.result in results_of_live, f"{id}: {ended}"
        assert events[0].started.allowed_by, id
        results[ended.result] += 1
    return results


@pytest.mark.timeout(300)
async def test_a_campaign_from_the_first_lead_to_the_last(stack: Engines, running: Stack) -> None:
    async with dialled(running, stack.kafka, "dialler-walk") as centre:
        await centre.agents(AGENTS)
        await centre.campaign("walk")
        leads = await centre.leads("walk", range(LEADS))
        await centre.start("walk")
        assert await centre.stopped("walk", 180) == "exhausted"
        attempts = await centre.attempts()
        results = check(attempts)
        assert len(attempts) == LEADS
        assert {events[0].origin.lead_id for events in attempts.values()} == set(leads)
        assert results[a.RESULT_CONNECTED] > LEADS / 4
        assert results[a.RESULT_NOT_DIALLED] == 0
        # Routing knows of each live answer, and of nothing else.
        live = {
            id
            for id, events in attempts.items()
            if any(each.HasField("greeting_ended") for each in events)
        }
        calls = await centre.calls()
        assert {each.call_id for each in calls} == live
        talked = {each.call_id for each in calls if each.HasField("connected")}
        connected = {
            id for id, events in attempts.items() if any(e.HasField("connected") for e in events)
        }
        assert talked == connected


@pytest.mark.timeout(300)
async def test_who_is_put_on_the_list_is_not_called_from_then_on(
    stack: Engines, running: Stack
) -> None:
    async with dialled(running, stack.kafka, "dialler-list") as centre:
        await centre.agents(4)
        await centre.campaign("list", mode="progressive")
        leads = await centre.leads("list", range(1_000, 1_120))
        await centre.start("list")
        while len(await centre.attempts()) < 20:
            assert (await centre.status("list"))[0] == "running"
        before = {events[0].origin.lead_id for events in (await centre.attempts()).values()}
        forbidden = [lead for lead in leads if lead not in before][-60:]
        await centre.forbid([number(leads[lead]) for lead in forbidden])
        at = time.time_ns() // 1000
        assert await centre.stopped("list", 120) == "exhausted"
        attempts = await centre.attempts()
        check(attempts)
        late = [
            events[0].origin.lead_id
            for events in attempts.values()
            if events[0].origin.lead_id in forbidden
            and events[0].origin.started_at.ToMicroseconds() > at
        ]
        assert not late
        held = {
            each.lead.lead_id: each.lead_held_back.forbidden_by[0].rule
            for each in await centre.lead_events()
            if each.HasField("lead_held_back")
        }
        called = {events[0].origin.lead_id for events in attempts.values()}
        assert set(held) == set(forbidden) - called
        assert set(held.values()) == {"crm.do-not-call-list/ours"}
        assert called | set(held) == set(leads)
