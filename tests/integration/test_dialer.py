"""A campaign from its first lead to its last over the real stack: every attempt has one outcome,
every live answer an agent within two seconds or the message, and who is put on the do-not-call list
is not called from then on."""

import time
from collections import Counter

import pytest
from relais.attempts.v1 import events_pb2 as a
from relais.attempts.v1.events_pb2 import AttemptEvent

from eventkit.clock import SystemClock, rfc3339
from relaisctl.stack import Stack
from tests.integration.conftest import Engines
from tests.integration.dialer_centre import HUMANS, PROCESSES, dialled, number, scenario

LEADS, AGENTS = 300, 12
WITHIN_US = 2_000_000


@pytest.fixture(scope="module")
def running(stack: Engines, services: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    # Whoever hears a message to its end wants to be called back.
    world = scenario(tmp_path_factory.mktemp("carrier") / "scenario.json", callback=1.0)
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
        if "greeting_ended" in kinds and events[0].started.mode != "message":
            results_of_live = (a.RESULT_CONNECTED, a.RESULT_ABANDONED, a.RESULT_HUNG_UP)
            assert ended.result in results_of_live, f"{id}: {ended}"
        assert events[0].started.allowed_by, id
        results[ended.result] += 1
    return results


@pytest.mark.timeout(300)
async def test_a_campaign_from_the_first_lead_to_the_last(stack: Engines, running: Stack) -> None:
    async with dialled(running, stack.kafka, "dialer-walk") as centre:
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
    async with dialled(running, stack.kafka, "dialer-list") as centre:
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


def of_lead(attempts: dict[str, list[AttemptEvent]], lead_id: str) -> list[AttemptEvent]:
    """The events of its attempts that have ended."""
    return [
        each
        for events in attempts.values()
        if events[0].origin.lead_id == lead_id and events[-1].HasField("ended")
        for each in events
    ]


@pytest.mark.timeout(120)
async def test_an_agent_looks_first_and_is_the_one_who_is_connected(
    stack: Engines, running: Stack
) -> None:
    async with dialled(running, stack.kafka, "dialer-preview") as centre:
        await centre.agents(1)
        [agent] = centre.agent_ids
        await centre.campaign("preview", mode="preview")
        [skipped, lead] = await centre.leads("preview", HUMANS[:2])
        await centre.start("preview")

        async def shown() -> str:
            path = f"{centre.dialer}/leads?status=previewed&agent_id={agent}"
            return "".join(each["lead_id"] for each in (await centre.ask("GET", path))["items"])

        first = await centre.until(shown)
        assert not await centre.attempts(), "nobody is called before the agent says so"
        path = f"{centre.dialer}/leads/{first}/preview"
        await centre.ask("POST", f"{path}/skip", {"agent_id": agent, "reason": "wrong-language"})
        [second] = {skipped, lead} - {first}
        assert await centre.until(shown) == second
        await centre.report_agent(agent, "on-call")
        path = f"{centre.dialer}/leads/{second}/preview"
        await centre.ask("POST", f"{path}/accept", {"agent_id": agent})

        async def ended() -> list[AttemptEvent]:
            return of_lead(await centre.attempts(), second)

        events = await centre.until(ended)
        assert events[0].started.mode == "preview"
        assert events[0].started.agent_id == agent
        assert events[-1].ended.result == a.RESULT_CONNECTED
        assert events[-1].ended.agent_id == agent
        assert not of_lead(await centre.attempts(), first)
        assert not await centre.calls(), "routing has nothing to decide"


@pytest.mark.timeout(120)
async def test_who_has_promised_to_call_is_the_one_who_is_connected(
    stack: Engines, running: Stack
) -> None:
    async with dialled(running, stack.kafka, "dialer-promise") as centre:
        await centre.agents(3)
        promising = centre.agent_ids[1]
        await centre.report_agent(promising, "on-break", reason="lunch")
        await centre.campaign("promise", mode="progressive", stop_when_exhausted=False)
        later = SystemClock().now_us() + 3_600_000_000
        [promised] = await centre.leads("promise", HUMANS[10:11], due_at=rfc3339(later))
        window = {"from_at": rfc3339(later - 3_601_000_000), "until_at": rfc3339(later)}
        body = window | {"agent_id": promising}
        await centre.ask("POST", f"{centre.dialer}/leads/{promised}/callback", body)
        await centre.start("promise")
        [other] = await centre.leads("promise", HUMANS[11:12])

        async def ended(lead_id: str) -> list[AttemptEvent]:
            return of_lead(await centre.attempts(), lead_id)

        events = await centre.until(lambda: ended(other))
        assert events[-1].ended.result == a.RESULT_CONNECTED
        assert not await ended(promised), "others are free, and it is not theirs"
        await centre.report_agent(promising, "available")
        events = await centre.until(lambda: ended(promised))
        assert events[-1].ended.agent_id == promising
        assert events[0].started.agent_id == promising
        lead = await centre.ask("GET", f"{centre.dialer}/leads/{promised}")
        assert lead["callback"] is None, "the promise is kept"


@pytest.mark.timeout(120)
async def test_a_message_needs_no_agents(stack: Engines, running: Stack) -> None:
    async with dialled(running, stack.kafka, "dialer-message") as centre:
        await centre.campaign("questions")
        await centre.campaign(
            "message",
            purpose="information",
            mode="message",
            pool_id=None,
            queue_id=None,
            questionnaire_id=None,
            abandonment_message=None,
            information_message="closed-on-friday",
            machine_message="closed-on-friday",
            on_machine="leave-message",
            calls_per_second=20,
            max_calls=10,
            callback_campaign_id="questions",
        )
        await centre.leads("message", range(2_000, 2_030))
        people = await centre.leads("message", HUMANS[20:30])
        await centre.start("message")
        assert await centre.stopped("message", 60) == "exhausted"
        attempts = await centre.attempts()
        results = check(attempts)
        assert len(attempts) == 40
        assert results[a.RESULT_VOICEMAIL] > 0
        for lead in people:
            [*_, end] = of_lead(attempts, lead)
            assert end.ended.result in (a.RESULT_DELIVERED, a.RESULT_HUNG_UP)
        assert results[a.RESULT_DELIVERED] > 5
        assert not await centre.calls()
        # Who pressed the key is a lead of the campaign with agents, once.
        pressed = {id for id, events in attempts.items() if events[-1].ended.callback_wanted}
        assert len(pressed) > 5
        told = [each for each in await centre.lead_events() if each.campaign_id == "questions"]
        added = [each for each in told if each.HasField("lead_added")]
        promised = [each for each in told if each.HasField("lead_callback_promised")]
        assert sorted(each.lead_callback_promised.attempt_id for each in promised) == sorted(
            pressed
        )
        assert {each.lead_added.source for each in added} == {"callback"}
        ids = sorted(each.lead.lead_id for each in added)
        assert sorted(each.lead.lead_id for each in promised) == ids
        waiting = (await centre.ask("GET", f"{centre.dialer}/callbacks?limit=100"))["items"]
        assert sorted(each["lead_id"] for each in waiting) == ids
        out = 0
        for _, change in sorted(
            (each.meta.occurred_at.ToMicroseconds(), 1 if each.HasField("started") else -1)
            for events in attempts.values()
            for each in events
            if each.HasField("started") or each.HasField("ended")
        ):
            out += change
            assert out <= 10
