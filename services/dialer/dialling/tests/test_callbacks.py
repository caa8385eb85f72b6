"""A key that is pressed in a recorded message: what is asked for, and the lead that is called back,
over a real PostgreSQL and a simulated carrier whose people all press it."""

import asyncio
import uuid
from dataclasses import replace
from typing import Any

import pytest

from eventkit.decider import fold
from eventkit.eventstore import Answer, Cause, Transaction
from services.dialer.attempts import attempt as a
from services.dialer.campaigns import campaign as c
from services.dialer.campaigns.plan import Mode, Purpose, Settings
from services.dialer.dialling import callbacks
from services.dialer.dialling.messages import CallKey
from services.dialer.dialling.recording import Recording
from services.dialer.dialling.tests.conftest import MONDAY, WORLD, Bench, S
from services.dialer.dialling.tests.test_component import ended
from services.dialer.dispositions.service import Dispositions
from services.dialer.leads import commands as leads
from services.dialer.leads.events import Address, Origin, Status
from services.dialer.leads.lead import DECIDER, Callback, Lead
from services.dialer.leads.store import LEADS, NUMBERS_TABLE, Filter, find

T = MONDAY
HOUR = 3_600 * S
SETTINGS = Settings(
    "Works in your street",
    Purpose.INFORMATION,
    Mode.MESSAGE,
    "Acme",
    "+46850000000",
    information_message="works",
    callback_campaign_id="questions",
)
HOME = Address("Storgatan 1", country="SE")
GIVEN = leads.Details(
    (leads.Given("+46701740601", "SE", "mobile"), leads.Given("+46701740602", "SE", "fixed")),
    "Ann Example",
    HOME,
    "ref-1",
    {"meter": "17"},
    "Europe/Stockholm",
    7,
)
ADDED = [
    *DECIDER.decide(leads.AddLead(Origin("works", "may", "cu-1"), GIVEN, "import", 0), Lead()),
]
DIALLED = [*ADDED, *DECIDER.decide(leads.Dial("at-1", "2", T), fold(DECIDER, ADDED))]
PRESSED = a.Over(T + 9 * S, a.Why.MESSAGE_PLAYED, callback_wanted=True)


def attempt(over: a.Over, mode: str = "message") -> a.Attempt:
    origin = a.Origin("works", "may", "l-1", "cu-1", "2", 1, T, ("allowed_by",))
    started = fold(a.DECIDER, a.decide(a.StartAttempt(origin, mode, (), T + S), a.Attempt()))
    heard = (a.Answered(T + 2 * S, a.AnsweredBy.HUMAN), a.GreetingEnded(T + 3 * S), over)
    return fold(a.DECIDER, a.decide(a.Hear(heard), started), started)


NOBODY: dict[str, tuple[a.Attempt, Settings | None, Lead]] = {
    "no key": (
        attempt(replace(PRESSED, callback_wanted=False)),
        SETTINGS,
        fold(DECIDER, DIALLED),
    ),
    "no campaign that calls back": (
        attempt(PRESSED),
        replace(SETTINGS, callback_campaign_id=""),
        fold(DECIDER, DIALLED),
    ),
    "no settings": (attempt(PRESSED), None, fold(DECIDER, DIALLED)),
    "a key in the message for whom no agent was there": (
        attempt(PRESSED, "progressive"),
        SETTINGS,
        fold(DECIDER, DIALLED),
    ),
    "erased": (
        attempt(PRESSED),
        SETTINGS,
        fold(
            DECIDER, DECIDER.decide(leads.Forget(), fold(DECIDER, DIALLED)), fold(DECIDER, DIALLED)
        ),
    ),
    "nothing of the person can be read": (
        attempt(PRESSED),
        SETTINGS,
        replace(fold(DECIDER, DIALLED), phones={}, name=""),
    ),
}


@pytest.mark.parametrize("case", NOBODY)
def test_nobody_is_to_be_called_back(case: str) -> None:
    assert callbacks.asked("acme", "at-1", *NOBODY[case]) is None


@pytest.mark.parametrize("within", [60, 14_400])
def test_what_is_asked_for(within: int) -> None:
    settings = replace(SETTINGS, callback_within_seconds=within)
    one = callbacks.asked("acme", "at-1", attempt(PRESSED), settings, fold(DECIDER, DIALLED))
    assert one is not None
    lead = fold(DECIDER, DECIDER.decide(one.add, Lead()))
    lead = fold(DECIDER, DECIDER.decide(one.promise, lead), lead)
    assert lead.origin == Origin("questions", "callback-works", "cu-1")
    # The number on which the key was pressed comes first.
    assert list(lead.phones.values()) == ["+46701740602", "+46701740601"]
    assert [each.kind for each in lead.numbers] == ["fixed", "mobile"]
    assert (lead.name, lead.address, lead.zone) == ("Ann Example", HOME, "Europe/Stockholm")
    assert (lead.source, lead.status, lead.due_at) == ("callback", Status.WAITING, T + 9 * S)
    assert lead.callback == Callback(
        T + 9 * S, T + 9 * S + within * S, agent_id="", attempt_id="at-1"
    )
    again = callbacks.asked("acme", "at-1", attempt(PRESSED), settings, fold(DECIDER, DIALLED))
    assert again == one
    other = callbacks.asked("acme", "at-2", attempt(PRESSED), settings, fold(DECIDER, DIALLED))
    assert other is not None
    assert other.lead_id != one.lead_id


# Over the store.


@pytest.fixture
def world() -> dict[str, Any]:
    return WORLD | {"callback": 1.0}


@pytest.fixture
def phone() -> str:
    """Nobody else's: numbers rest over all clients."""
    return f"+4670{uuid.uuid4().int % 10_000_000:07}"


async def campaigns(bench: Bench, **more: Any) -> None:
    """`works` plays a message; the agents of `questions` call back."""
    await bench.campaign("questions")
    settings = replace(SETTINGS, **more)
    await bench.tell("works", c.Arrange(bench.clock.now_us(), settings))
    await bench.tell("works", c.Start(bench.clock.now_us()))


async def pressed(bench: Bench, lead_id: str) -> tuple[str, a.Attempt]:
    """The lead's message is played, and the key pressed."""
    want = await bench.want("works", mode="message", policy="message", because="1 a second")
    assert await bench.start(want) == 1
    found = await ended(bench, lead_id)
    assert found.ended is not None
    assert (found.ended.result, found.ended.callback_wanted) == (a.Result.DELIVERED, True)
    return (await bench.state(lead_id)).last_attempt_id, found


async def of(bench: Bench, campaign_id: str) -> list[str]:
    async with bench.store.reading() as connection:
        rows = await find(connection, bench.client_id, Filter(campaign_id), "", 10)
    return [row["lead_id"] for row in rows]


async def test_who_presses_the_key_is_called_back(bench: Bench, phone: str) -> None:
    await campaigns(bench, callback_within_seconds=3_600)
    await bench.lead("ann", phone, "works", "cu-1")
    attempt_id, told = await pressed(bench, "ann")
    assert told.ended is not None
    message = await bench.state("ann")
    assert (message.status, message.closed_reason) == (Status.CLOSED, "delivered")
    [lead_id] = await of(bench, "questions")
    lead = await bench.state(lead_id)
    at = told.ended.at
    assert lead.callback == Callback(at, at + HOUR, attempt_id=attempt_id)
    assert (lead.origin, lead.source) == (
        Origin("questions", "callback-works", "cu-1"),
        "callback",
    )
    assert lead.phones == {"1": phone}
    facts = await bench.store.history(LEADS, bench.client_id, lead_id)
    assert [type(each.event).__name__ for each in facts] == ["LeadAdded", "LeadCallbackPromised"]
    assert LEADS.message is not None
    assert all(phone.encode() not in (LEADS.message(each) or b"") for each in facts)
    # It is the first whom the agents of the other campaign get, and so the promise is kept. As far
    # as the rests of numbers go, it is another day.
    bench.clock.later = 24 * HOUR
    await bench.tell_lead(lead_id, leads.EscalateCallback(at + HOUR))
    want = await bench.want("questions", calls=0, leads=((lead_id, "agent-1"),))
    assert await bench.start(want) == 1
    assert (await ended(bench, lead_id)).connected is not None
    assert (await bench.state(lead_id)).callback is None


async def test_what_is_told_twice_is_one_lead(bench: Bench, phone: str) -> None:
    await campaigns(bench)
    await bench.lead("ann", phone, "works")
    attempt_id, told = await pressed(bench, "ann")
    assert told.ended is not None
    again = [(CallKey(bench.client_id, attempt_id), (replace(PRESSED, at=told.ended.at),))]
    workers = [Recording(bench.store) for _ in range(3)]
    await asyncio.gather(*(worker.hear(bench.client_id, again) for worker in workers))
    [lead_id] = await of(bench, "questions")
    assert len(await bench.store.history(LEADS, bench.client_id, lead_id)) == 2


async def test_two_that_hear_it_at_once_add_one_lead(bench: Bench, phone: str) -> None:
    await campaigns(bench)
    await bench.lead("ann", phone, "works")
    now = bench.clock.now_us()
    await started(bench, "at-1", "ann", now)
    heard = [(CallKey(bench.client_id, "at-1"), (a.Answered(now, a.AnsweredBy.HUMAN), PRESSED))]
    workers = [Recording(bench.store) for _ in range(3)]
    await asyncio.gather(*(worker.hear(bench.client_id, heard) for worker in workers))
    [lead_id] = await of(bench, "questions")
    assert len(await bench.store.history(LEADS, bench.client_id, lead_id)) == 2


async def started(bench: Bench, attempt_id: str, lead_id: str, at: int) -> None:
    """An attempt of campaign works that no carrier knows of."""
    await bench.tell_lead(lead_id, leads.Dial(attempt_id, "1", at))
    lead = await bench.state(lead_id)
    origin = a.Origin(
        "works", "list", lead_id, lead.origin.customer_id, "1", 1, at, ("allowed_by",)
    )
    start = a.StartAttempt(origin, "message", (), at + S)
    await Recording(bench.store).tell(bench.client_id, {attempt_id: start})


async def test_whom_the_campaign_knows_by_the_number_is_promised_it_there(
    bench: Bench, phone: str
) -> None:
    await campaigns(bench)
    now = bench.clock.now_us()
    for name in ("ann", "ann-too"):
        await bench.lead(name, phone, "works")
        await started(bench, f"at-{name}", name, now)
    heard = [
        (CallKey(bench.client_id, f"at-{name}"), (replace(PRESSED, at=now + number * S),))
        for number, name in enumerate(("ann", "ann-too"))
    ]
    recording = Recording(bench.store)
    await recording.hear(bench.client_id, heard)
    [lead_id] = await of(bench, "questions")
    first = (await bench.state(lead_id)).callback
    assert first is not None
    assert first.attempt_id == "at-ann-too"
    # Also later, when it has been closed.
    await bench.tell_lead(lead_id, leads.Close("answered"))
    await bench.lead("ann-again", phone, "works")
    await started(bench, "at-3", "ann-again", now)
    await recording.hear(bench.client_id, [(CallKey(bench.client_id, "at-3"), (PRESSED,))])
    assert await of(bench, "questions") == [lead_id]
    lead = await bench.state(lead_id)
    assert lead.status is Status.WAITING
    assert lead.callback is not None
    assert lead.callback.attempt_id == "at-3"


@pytest.mark.parametrize("why", ["no campaign", "it is stopped", "it wants no calls any more"])
async def test_where_nobody_calls_back_a_supervisor_finds_it(
    bench: Bench, phone: str, why: str
) -> None:
    await campaigns(bench, callback_campaign_id="" if why == "no campaign" else "questions")
    if why == "it is stopped":
        await bench.tell("questions", c.Stop(bench.clock.now_us()))
    if why == "it wants no calls any more":
        # The number is known there, as one that is not to be called.
        now = bench.clock.now_us()
        await bench.lead("first", phone, "works")
        await started(bench, "at-1", "first", now)
        await Recording(bench.store).hear(
            bench.client_id, [(CallKey(bench.client_id, "at-1"), (replace(PRESSED, at=now),))]
        )
        [known] = await of(bench, "questions")
        await bench.tell_lead(known, leads.Close("do-not-call"))
    before = await of(bench, "questions")
    await bench.lead("ann", phone, "works")
    now = bench.clock.now_us()
    await started(bench, "at-ann", "ann", now)
    heard = (a.Answered(now, a.AnsweredBy.HUMAN), replace(PRESSED, at=now))
    await Recording(bench.store).hear(
        bench.client_id, [(CallKey(bench.client_id, "at-ann"), heard)]
    )
    assert (await bench.attempt("at-ann")).ended is not None
    assert await of(bench, "questions") == before
    async with bench.store.reading() as connection:
        wanted = Filter("works", status="closed", closed_reason="callback-wanted")
        rows = await find(connection, bench.client_id, wanted, "", 10)
    assert [(row["lead_id"], row["last_because"]) for row in rows] == [("ann", "delivered")]


@pytest.mark.parametrize("how", ["erased here", "its key alone is gone yet"])
async def test_an_erased_customer_is_not_called_back(bench: Bench, phone: str, how: str) -> None:
    await campaigns(bench)
    now = bench.clock.now_us()
    for name, number, customer in (
        ("ann", phone, "cu-1"),
        ("bob", f"{phone[:-1]}{9 - int(phone[-1])}", "cu-2"),
    ):
        await bench.lead(name, number, "works", customer)
        await started(bench, f"at-{name}", name, now)
    if how == "erased here":
        await Dispositions(bench.store).forget(bench.client_id, ["cu-1"])
    else:
        await bench.store.keys.erase(bench.client_id, ["cu-1"])
    heard = [
        (CallKey(bench.client_id, f"at-{name}"), (replace(PRESSED, at=now),))
        for name in ("ann", "bob")
    ]
    await Recording(bench.store).hear(bench.client_id, heard)
    [lead_id] = await of(bench, "questions")
    assert (await bench.state(lead_id)).origin.customer_id == "cu-2"
    assert (await bench.attempt("at-ann")).ended is not None
    assert (await bench.state("ann")).status is Status.CLOSED


async def test_the_numbers_of_who_is_called_back_are_known(bench: Bench, phone: str) -> None:
    """By keyed hashes, so that a list which has the number is told of the duplicate."""
    await campaigns(bench)
    await bench.lead("ann", phone, "works")
    await pressed(bench, "ann")
    [lead_id] = await of(bench, "questions")

    async def work(tx: Transaction) -> Answer:
        t = NUMBERS_TABLE.c
        rows = await tx.connection.execute(
            NUMBERS_TABLE.select().where(t.client_id == bench.client_id, t.lead_id == lead_id)
        )
        return {"keys": len(rows.all())}

    assert await bench.store.run(Cause(bench.client_id, "tester"), work) == {"keys": 1}
