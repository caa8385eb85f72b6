"""From leads whose turn it is to ends of attempts, and what is left when something is killed in
between. Nobody here is routing: live answers are for one agent alone."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from eventkit.errors import Unavailable
from eventkit.eventstore import Answer, Cause, Recorded, Transaction
from eventkit.ids import derived_id
from services.dialer.attempts import attempt as a
from services.dialer.attempts.store import ATTEMPTS
from services.dialer.campaigns import campaign as c
from services.dialer.campaigns.plan import Mode
from services.dialer.dialling.active import Active
from services.dialer.dialling.carrier import Carrier
from services.dialer.dialling.messages import CallKey, Known
from services.dialer.dialling.tests.conftest import Bench, S
from services.dialer.leads import commands as leads
from services.dialer.leads.events import LeadHeldBack, Status
from services.dialer.leads.store import LEADS

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def phone() -> str:
    """Nobody else's: numbers rest over all clients."""
    return f"+4670{uuid.uuid4().int % 10_000_000:07}"


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = 10) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := await condition()):
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.02)
    return found


async def history(bench: Bench, lead_id: str) -> list[Recorded[Any]]:
    return await bench.store.history(LEADS, bench.client_id, lead_id)


async def ended(bench: Bench, lead_id: str) -> a.Attempt:
    """Its last attempt, once it is over."""

    async def over() -> a.Attempt | None:
        lead = await bench.state(lead_id)
        return await bench.attempt(lead.last_attempt_id) if lead.last_attempt_id else None

    found: a.Attempt = await until(over)
    return found


async def test_a_lead_is_dialled_for_an_agent_and_talked_to(bench: Bench, phone: str) -> None:
    await bench.campaign()
    await bench.lead("ann", phone)
    assert await bench.start(await bench.want(calls=0, leads=(("ann", "agent-1"),))) == 1
    attempt = await ended(bench, "ann")
    assert attempt.started is not None
    assert attempt.ended is not None
    assert attempt.ended.result is a.Result.CONNECTED
    assert attempt.ended.agent_id == "agent-1"
    rules = {use.rule: use for use in attempt.started.allowed_by}
    assert rules["crm.do-not-call-list/ours"].version == 7
    assert {"default.hours", "centre.one-call-at-a-time"} <= set(rules)
    assert (await bench.state("ann")).status is Status.CLOSED
    # The same for the same lead and number of the attempt, whoever dials it.
    id = derived_id("attempt", bench.client_id, "ann", 1)
    facts = await bench.store.history(ATTEMPTS, bench.client_id, id)
    assert [type(each.event).__name__ for each in facts] == [
        "AttemptStarted",
        "AttemptAnswered",
        "AttemptGreetingEnded",
        "AttemptConnected",
        "AttemptEnded",
    ]
    assert not bench.session.calls.outs
    assert bench.session.calls.learned(f"{bench.client_id}/spring").talk.count == 1


async def test_without_an_agent_the_message_is_played(bench: Bench, phone: str) -> None:
    await bench.campaign()
    await bench.lead("ann", phone)
    assert await bench.start(await bench.want()) == 1
    swallowing = asyncio.create_task(_swallow(bench.session.reports))
    attempt = await ended(bench, "ann")
    swallowing.cancel()
    assert attempt.ended is not None
    assert attempt.ended.result is a.Result.ABANDONED
    assert attempt.abandoned is not None
    assert attempt.abandoned.message_played
    assert 2 * S <= attempt.abandoned.waited < 3 * S


async def _swallow(reports: Any) -> None:
    """Routing has heard of it, and has nobody."""
    while True:
        for done in reports._done:
            if not done.done():
                done.set_result(None)
        await asyncio.sleep(0.01)


async def test_who_is_on_the_list_is_held_back_for_good(bench: Bench, phone: str) -> None:
    await bench.campaign()
    await bench.lead("ann", phone)
    bench.crm.forbidden.add(phone)
    assert await bench.start(await bench.want()) == 0
    lead = await bench.state("ann")
    assert (lead.status, lead.closed_reason) == (Status.CLOSED, "do-not-call")
    held = [each.event for each in await history(bench, "ann")][1]
    assert isinstance(held, LeadHeldBack)
    assert held.forbidden_by[0].rule == "crm.do-not-call-list/ours"
    assert held.until is None
    assert not await bench.open()


async def test_a_silent_crm_allows_nobody(bench: Bench, phone: str) -> None:
    await bench.campaign()
    await bench.lead("ann", phone)
    async with grpc.aio.insecure_channel("127.0.0.1:1") as nowhere:
        bench.session.starting.crm._stream = nowhere.stream_stream("/nobody/There")
        with pytest.raises(Unavailable, match="crm"):
            await bench.start(await bench.want())
    assert len(await history(bench, "ann")) == 1
    assert not await bench.open()


async def test_of_two_campaigns_that_want_the_same_number_at_once_one_has_it(
    bench: Bench, phone: str
) -> None:
    for name in ("spring", "autumn"):
        await bench.campaign(name)
        await bench.lead(f"ann-{name}", phone, name)
    wants = [
        await bench.want(name, calls=0, leads=((f"ann-{name}", "agent-1"),))
        for name in ("spring", "autumn")
    ]
    counts = await asyncio.gather(*(bench.start(want) for want in wants))
    assert sorted(counts) == [0, 1]
    [held] = [
        each.event
        for name in ("spring", "autumn")
        for each in await history(bench, f"ann-{name}")
        if isinstance(each.event, LeadHeldBack)
    ]
    assert [use.rule for use in held.forbidden_by] == ["centre.one-call-at-a-time"]
    assert held.until is not None


async def test_so_it_is_within_one_transaction(bench: Bench, phone: str) -> None:
    await bench.campaign()
    await bench.lead("ann", phone)
    await bench.lead("bob", phone)
    assert await bench.start(await bench.want()) == 1


async def test_of_two_turns_that_take_the_same_lead_one_has_it(bench: Bench, phone: str) -> None:
    await bench.campaign()
    await bench.lead("ann", phone)
    want = await bench.want()
    counts = await asyncio.gather(*(bench.start(want) for _ in range(3)))
    assert sum(counts) == 1
    assert (await bench.state("ann")).attempts == 1


async def test_who_pauses_a_campaign_stops_what_is_not_dialled(bench: Bench, phone: str) -> None:
    await bench.campaign()
    await bench.lead("ann", phone)
    want = await bench.want()
    await bench.tell("spring", c.Pause(bench.clock.now_us()))
    assert await bench.start(want) == 0
    assert (await bench.state("ann")).status is Status.WAITING


async def test_a_lead_is_shown_and_then_dialled_for_who_has_accepted_it(
    bench: Bench, phone: str
) -> None:
    await bench.campaign(mode=Mode.PREVIEW)
    await bench.lead("ann", phone)
    assert await bench.start(await bench.want(calls=1, show_to=("agent-1",))) == 0
    lead = await bench.state("ann")
    assert lead.preview is not None
    assert lead.preview.agent_id == "agent-1"
    assert not await bench.open()
    assert await bench.start(await bench.want(calls=5)) == 0, "somebody looks at it"
    await bench.tell_lead("ann", leads.AcceptPreview("agent-1", bench.clock.now_us()))
    direct = await bench.want(mode="preview", calls=0, leads=(("ann", "agent-1"),))
    assert await bench.start(direct) == 1
    attempt = await ended(bench, "ann")
    assert attempt.ended is not None
    assert (attempt.ended.result, attempt.ended.mode) == (a.Result.CONNECTED, "preview")


async def test_what_others_say_of_an_attempt_meanwhile_is_not_overwritten(
    bench: Bench, phone: str
) -> None:
    await bench.campaign()
    await bench.lead("ann", phone)
    assert await bench.start(await bench.want(calls=0, leads=(("ann", "agent-1"),))) == 1
    [id] = await bench.open()
    assert len(bench.session.recording.memory) == 1

    async def work(tx: Transaction) -> Answer:
        said = a.Dispose(bench.clock.now_us(), "promised-to-pay", converted=True)
        await tx.execute(ATTEMPTS, id, said)
        return {}

    await bench.store.run(Cause(bench.client_id, "agent-1"), work)
    attempt = await ended(bench, "ann")
    assert attempt.disposed is not None
    assert attempt.disposed.disposition == "promised-to-pay"
    assert attempt.ended is not None
    assert attempt.ended.result is a.Result.CONNECTED
    facts = await bench.store.history(ATTEMPTS, bench.client_id, id)
    assert [each.version for each in facts] == list(range(1, 7))
    assert (await bench.state("ann")).last_because == "promised-to-pay"
    assert len(bench.session.recording.memory) == 0, "it is over"


# After a kill.


async def test_what_the_carrier_never_had_is_never_dialled(bench: Bench, phone: str) -> None:
    """Killed between the commit and the carrier."""
    await bench.campaign()
    await bench.lead("ann", phone)
    async with grpc.aio.insecure_channel("127.0.0.1:1") as nowhere:
        there = bench.session.starting.carrier
        object.__setattr__(bench.session.starting, "carrier", Carrier(nowhere, "nobody"))
        await bench.start(await bench.want())
        object.__setattr__(bench.session.starting, "carrier", there)
    [id] = await bench.open()
    key = CallKey(bench.client_id, id)
    assert key in bench.session.recovery.doubted
    bench.clock.later = 15 * S
    await bench.session.recovery.look_into()
    attempt = await ended(bench, "ann")
    assert attempt.ended is not None
    assert attempt.ended.result is a.Result.NOT_DIALLED
    lead = await bench.state("ann")
    assert (lead.status, lead.attempt_id) == (Status.WAITING, "")
    assert await there.look([key]) == [Known.UNKNOWN]
    assert not bench.session.calls.outs
    # And its turn comes again, as another attempt.
    bench.clock.later = 120 * S
    assert await bench.start(await bench.want(calls=0, leads=(("ann", "agent-1"),))) == 1
    second = await until(lambda: _other(bench, id))
    assert second.ended.result is a.Result.CONNECTED


async def _other(bench: Bench, first: str) -> a.Attempt | None:
    lead = await bench.state("ann")
    if lead.last_attempt_id in ("", first):
        return None
    return await bench.attempt(lead.last_attempt_id)


async def test_what_the_carrier_has_goes_on(bench: Bench, phone: str) -> None:
    """Killed between the carrier and its answer: the next one hears of the call."""
    await bench.campaign()
    await bench.lead("ann", phone)
    assert await bench.start(await bench.want(calls=0, leads=(("ann", "agent-1"),))) == 1
    bench.session.calls.outs.clear()
    await bench.session._remember()
    attempt = await ended(bench, "ann")
    assert attempt.ended is not None
    assert attempt.ended.result in (a.Result.CONNECTED, a.Result.ABANDONED)
    bench.clock.later = 15 * S
    await bench.session.recovery.look_into()
    assert not await bench.open()


async def test_one_of_all_workers_works(engine: AsyncEngine) -> None:
    working: list[int] = []

    def work(number: int) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            working.append(number)
            try:
                await asyncio.Event().wait()
            finally:
                working.remove(number)

        return run

    workers = [Active(engine, work(number), lock=4711) for number in range(2)]
    tasks = [asyncio.create_task(each.run()) for each in workers]

    async def one_works() -> bool:
        return len(working) == 1 and all(each.is_ready for each in workers)

    await until(one_works)
    [first] = working
    workers[first].stop()
    await tasks[first]

    async def other_works() -> bool:
        return working == [1 - first]

    await until(other_works)
    workers[1 - first].stop()
    await tasks[1 - first]
    assert not working
