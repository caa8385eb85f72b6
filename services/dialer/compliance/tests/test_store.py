"""What was dialled before, in a real database: who sees what, and who waits for whom."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from eventkit.keys import KeyRing
from services.conftest import differences
from services.dialer.compliance import store
from services.dialer.compliance.book import load_rulebook
from services.dialer.compliance.place import places_of_key
from services.dialer.compliance.rules import Contact, Proposed, decide
from services.dialer.compliance.store import Outcome, Wanted
from services.dialer.tables import metadata

NOW = 1_800_000_000_000_000
HOUR = 3_600_000_000
NOON_IN_FLORIDA = 1_772_470_800_000_000


@pytest.fixture
def number(client_id: str) -> bytes:
    """Nobody else's."""
    return client_id.encode()


@pytest.fixture
def contact(client_id: str, number: bytes) -> Contact:
    return Contact(NOW - HOUR, client_id, "spring", number, "sales", "customer/c-1", "fibre")


async def history(
    engine: AsyncEngine, *wanted: Wanted, now: int = NOW
) -> list[tuple[Contact, ...]]:
    async with engine.connect() as connection:
        return await store.read_history(connection, wanted, now)


async def test_tables_are_as_the_code_says(engine: AsyncEngine) -> None:
    assert await differences(engine, metadata) == []


async def test_a_key_is_the_same_for_every_client_and_hides_the_number(keys: KeyRing) -> None:
    key = await store.number_key(keys, "+33639980123")
    assert key == await store.number_key(keys, "+33639980123")
    assert key != await store.number_key(keys, "+33639980124")
    assert b"639980123" not in key


async def test_it_is_found_by_number_for_all_clients_and_by_customer_for_its_own(
    engine: AsyncEngine, contact: Contact, number: bytes
) -> None:
    client = contact.client_id
    async with engine.begin() as connection:
        await store.begin(connection, [("a-1", contact)])
    [by_number, by_customer, by_both, foreign, unknown] = await history(
        engine,
        Wanted("another-client", number),
        Wanted(client, b"another number", "customer/c-1"),
        Wanted(client, number, "customer/c-1"),
        Wanted("another-client", b"another number", "customer/c-1"),
        Wanted(client, b"another number"),
    )
    assert by_number == by_customer == by_both == (contact,)
    assert foreign == unknown == ()
    assert await history(engine) == []


async def test_two_attempts_at_the_same_moment_are_two(
    engine: AsyncEngine, contact: Contact, number: bytes
) -> None:
    async with engine.begin() as connection:
        await store.begin(connection, [("a-1", contact), ("a-2", contact)])
        await store.begin(connection, [("a-1", contact)])
    assert await history(engine, Wanted(contact.client_id, number, "customer/c-1")) == [
        (contact, contact)
    ]


async def test_an_end_is_added_once_and_a_refusal_may_come_later(
    engine: AsyncEngine, contact: Contact, number: bytes
) -> None:
    client = contact.client_id
    talked = Outcome(client, "a-1", NOW - HOUR // 2, conversation=True)
    async with engine.begin() as connection:
        await store.begin(connection, [("a-1", contact)])
        await store.complete(connection, [talked])
        await store.complete(connection, [Outcome(client, "a-1", NOW, refused=True)])
        await store.complete(connection, [Outcome(client, "nobody-knows-it", NOW)])
    expected = replace(contact, ended_at=NOW - HOUR // 2, conversation=True, refused=True)
    assert await history(engine, Wanted(client, number)) == [(expected,)]


async def test_what_was_never_dialled_does_not_count(
    engine: AsyncEngine, contact: Contact, number: bytes
) -> None:
    async with engine.begin() as connection:
        await store.begin(connection, [("a-1", contact)])
        await store.complete(connection, [Outcome(contact.client_id, "a-1", NOW, dialled=False)])
    assert await history(engine, Wanted(contact.client_id, number)) == [()]


async def test_what_no_rule_looks_at_is_not_read_and_goes(
    engine: AsyncEngine, contact: Contact, number: bytes
) -> None:
    later = contact.at + store.KEPT_US
    wanted = Wanted(contact.client_id, number)
    async with engine.begin() as connection:
        await store.begin(connection, [("a-1", contact)])
    assert await history(engine, wanted, now=later - 1) == [(contact,)]
    assert await history(engine, wanted, now=later) == [()]
    async with engine.begin() as connection:
        assert await store.prune(connection, later - 1) == 0
    async with engine.begin() as connection:
        assert await store.prune(connection, later) >= 1
    assert await history(engine, wanted, now=later - 1) == [()]


@pytest.mark.parametrize("same", ["number", "customer"])
async def test_who_decides_about_the_same_waits_and_sees_what_the_other_did(
    engine: AsyncEngine, contact: Contact, number: bytes, same: str
) -> None:
    """The other order in each: without one order of the locks they would wait for ever."""
    other = Wanted("another-client", contact.client_id.encode() + b"-2", "lead/l-1")
    wanted = Wanted(
        contact.client_id,
        number if same == "number" else b"another",
        "customer/c-1" if same == "customer" else "",
    )
    first_is_in, first_may_go = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with engine.begin() as connection:
            await store.lock(connection, [wanted, other])
            first_is_in.set()
            await first_may_go.wait()
            await store.begin(connection, [("a-1", contact)])

    async def second() -> int:
        async with engine.begin() as connection:
            await store.lock(connection, [other, wanted])
            [found] = await store.read_history(connection, [wanted], NOW)
            return len(found)

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(first())
        await first_is_in.wait()
        waiting = group.create_task(second())
        await asyncio.sleep(0.2)
        assert not waiting.done()
        first_may_go.set()
    assert waiting.result() == 1


async def test_no_cap_is_overrun_by_those_who_decide_at_the_same_time(
    engine: AsyncEngine, client_id: str, number: bytes
) -> None:
    """Of twelve turns of two clients three may dial the number, whichever they are, and one at a
    time: while a call is under way, nobody."""
    book = load_rulebook()
    at = NOON_IN_FLORIDA

    async def turn(n: int) -> bool:
        client = f"{client_id}-{n % 2}"
        wanted = Wanted(client, number, f"lead/{n}")
        proposed = Proposed(
            at,
            places_of_key("US-FL@America/New_York"),
            "other",
            "sales",
            "power",
            client,
            f"k-{n}",
            number,
            f"lead/{n}",
            "fibre",
        )
        async with engine.begin() as connection:
            await store.lock(connection, [wanted, Wanted(client, f"{n}".encode())])
            [found] = await store.read_history(connection, [wanted], at)
            allowed = decide(proposed, found, book).allowed
            if allowed:
                started = Contact(
                    at, client, f"k-{n}", number, "sales", wanted.customer_key, "fibre"
                )
                await store.begin(connection, [(f"a-{n}", started)])
        if allowed:
            await asyncio.sleep(0.01)
            async with engine.begin() as connection:
                await store.complete(connection, [Outcome(client, f"a-{n}", at + 1)])
        return allowed

    dialled, waves = 0, 0
    while dialled < 3:
        waves += 1
        found = await asyncio.gather(*(turn(100 * waves + n) for n in range(12)))
        dialled += sum(found)
        assert dialled <= 3
        assert waves < 50
    assert not any(await asyncio.gather(*(turn(10_000 + n) for n in range(12))))
