"""Keys in a real PostgreSQL: sealed and opened, erased, found by several processes, rotated."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from eventkit.errors import Rejected, Unavailable
from eventkit.keys import (
    CHUNK,
    MIGRATIONS,
    DataKey,
    KeySettings,
    MasterKeyMissing,
    PostgresKeyRing,
    SubjectKey,
    Unreadable,
    _Cache,
    migrate_keys,
)
from eventkit.namedsecrets import new_secret, parse_secrets
from eventkit.postgres import make_engine
from eventkit.settings import load

ONE, TWO, THREE = (os.urandom(32) for _ in range(3))


@pytest.fixture
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    engine = make_engine(database, pool_size=20)
    await migrate_keys(engine)
    yield engine
    await engine.dispose()


@pytest.fixture
def ring(engine: AsyncEngine) -> PostgresKeyRing:
    return PostgresKeyRing(engine, {"one": ONE})


async def key_of(ring: PostgresKeyRing, client_id: str, subject: str) -> DataKey:
    return (await ring.ensure(client_id, [subject]))[subject]


@given(st.binary(), st.binary(), st.binary())
def test_only_the_same_key_and_context_open(plain: bytes, context: bytes, other: bytes) -> None:
    key, another = SubjectKey(os.urandom(32)), SubjectKey(os.urandom(32))
    sealed = key.seal(plain, context)
    assert key.open(sealed, context) == plain
    assert key.seal(plain, context) != sealed
    assert len(sealed) == len(plain) + 28
    if other != context:
        with pytest.raises(Unreadable):
            key.open(sealed, other)
    with pytest.raises(Unreadable):
        another.open(sealed, context)
    for broken in (b"", sealed[:11], sealed[:-1], bytes([sealed[0] ^ 1]) + sealed[1:]):
        with pytest.raises(Unreadable):
            key.open(broken, context)


async def test_each_subject_has_a_key_of_its_own(
    engine: AsyncEngine, ring: PostgresKeyRing
) -> None:
    # Ids that would be the same if a slash were no boundary, too.
    subjects = [("a", "b/c"), ("a", "b"), ("b", "b"), ("a-b", "c"), ("a", "b-c")]
    sealed = {each: (await key_of(ring, *each)).seal(b"Ana", b"") for each in subjects}
    afresh = PostgresKeyRing(engine, {"one": ONE})
    for each in subjects:
        key = (await afresh.find(each[0], [each[1]]))[each[1]]
        for other in subjects:
            if other == each:
                assert key.open(sealed[other], b"") == b"Ana"
            else:
                with pytest.raises(Unreadable):
                    key.open(sealed[other], b"")


async def test_find_makes_nothing(engine: AsyncEngine, ring: PostgresKeyRing) -> None:
    await ring.ensure("acme", ["here"])
    for each in (ring, PostgresKeyRing(engine, {"one": ONE})):
        assert set(await each.find("acme", ["here", "there"])) == {"here"}
        assert await each.find("globex", ["here"]) == {}
        assert await each.find("acme", []) == {} == await each.ensure("acme", [])


async def test_thousands_at_once(engine: AsyncEngine, ring: PostgresKeyRing) -> None:
    subjects = [f"c-{n}" for n in range(CHUNK + 10)]
    made = await ring.ensure("acme", [*subjects, subjects[0]])
    assert list(dict.fromkeys(made)) == sorted(subjects)
    sealed = {subject: key.seal(subject.encode(), b"") for subject, key in made.items()}
    afresh = PostgresKeyRing(engine, {"one": ONE})
    found = await afresh.find("acme", subjects)
    assert all(found[each].open(sealed[each], b"") == each.encode() for each in subjects)


async def test_two_processes_make_one_key(engine: AsyncEngine) -> None:
    rings = [PostgresKeyRing(engine, {"one": ONE}) for _ in range(8)]
    for round in range(5):
        subjects = [f"{round}-{n}" for n in range(50)]
        # In other orders: who made keys in the order given would wait for another for ever.
        orders = [subjects[n:] + subjects[:n] for n in range(len(rings))]
        found = await asyncio.gather(
            *(ring.ensure("acme", order) for ring, order in zip(rings, orders, strict=True))
        )
        for subject in subjects:
            sealed = found[0][subject].seal(b"Ana", b"")
            assert {keys[subject].open(sealed, b"") for keys in found} == {b"Ana"}
    indexes = await asyncio.gather(*(ring.index("acme", "+33") for ring in rings))
    assert len(set(indexes)) == 1


async def test_the_erased_stay_erased(engine: AsyncEngine, ring: PostgresKeyRing) -> None:
    keys = await ring.ensure("acme", ["ana", "bob"])
    await ring.ensure("globex", ["ana"])
    for _ in range(2):
        await ring.erase("acme", ["ana", "never seen"])
    for each in (ring, PostgresKeyRing(engine, {"one": ONE})):
        assert set(await each.find("acme", ["ana", "bob", "never seen"])) == {"bob"}
        for subject in ("ana", "never seen"):
            with pytest.raises(Rejected, match="erased"):
                await each.ensure("acme", [subject, "new"])
        assert set(await each.find("globex", ["ana"])) == {"ana"}
        assert keys["bob"].open((await key_of(each, "acme", "bob")).seal(b"", b""), b"") == b""
    async with engine.connect() as connection:
        rows = await connection.execute(
            text("SELECT * FROM subject_keys WHERE erased_at IS NOT NULL")
        )
        for row in rows:
            assert (row.wrapped, row.master) == (None, None)


async def test_another_process_notices_an_erasure(engine: AsyncEngine) -> None:
    now = 0.0
    ours = PostgresKeyRing(engine, {"one": ONE})
    theirs = PostgresKeyRing(engine, {"one": ONE}, cache_s=10, monotonic=lambda: now)
    await theirs.ensure("acme", ["ana"])
    await ours.erase("acme", ["ana"])
    now = 9.9
    assert set(await theirs.find("acme", ["ana"])) == {"ana"}
    now = 10.0
    assert await theirs.find("acme", ["ana"]) == {}
    with pytest.raises(Rejected):
        await theirs.ensure("acme", ["ana"])


def test_the_cache_is_bounded() -> None:
    cache, key = _Cache(2, 10.0), SubjectKey(os.urandom(32))
    for subject in ("a", "b", "a", "c"):
        cache.put("acme", {subject: key}, 0.0)
    assert set(cache.get("acme", "abc", 1.0)) == {"a", "c"}


async def test_a_wrapped_key_is_of_no_use_in_another_row(
    engine: AsyncEngine, ring: PostgresKeyRing
) -> None:
    await ring.ensure("acme", ["ana", "bob"])
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "UPDATE subject_keys SET wrapped ="
                " (SELECT wrapped FROM subject_keys WHERE subject = 'ana') WHERE subject = 'bob'"
            )
        )
    afresh = PostgresKeyRing(engine, {"one": ONE})
    with pytest.raises(MasterKeyMissing):
        await afresh.find("acme", ["bob"])


async def test_an_index_is_the_clients_own(engine: AsyncEngine, ring: PostgresKeyRing) -> None:
    number = await ring.index("acme", "+33612345678")
    assert len(number) == 32
    assert await PostgresKeyRing(engine, {"one": ONE}).index("acme", "+33612345678") == number
    others = {await ring.index(*each) for each in (("acme", "+336"), ("centre", "+33612345678"))}
    assert number not in others
    assert await ring.index("acme", "\ud800")


Held = dict[tuple[str, str], bytes | None]
"""What was sealed for whom; None: erased."""


# The examples share a database; each has clients of its own.
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("seal"), st.sampled_from("abc"), st.sampled_from("xyz")),
            st.tuples(st.just("erase"), st.sampled_from("abc"), st.sampled_from("xyz")),
            st.tuples(st.just("rotate"), st.sampled_from(["one", "two", "three"]), st.just("")),
        ),
        max_size=12,
    )
)
def test_after_any_history_the_last_master_reads_all(
    database: str, steps: list[tuple[str, str, str]]
) -> None:
    """Whatever was sealed, erased and rotated: with the last master key alone, and a fresh process,
    everything but the erased is readable, and every index is what it was."""
    asyncio.run(_history(database, steps))


async def _history(database: str, steps: list[tuple[str, str, str]]) -> None:
    engine = make_engine(database)
    await migrate_keys(engine)
    masters, mark = {"one": ONE, "two": TWO, "three": THREE}, uuid.uuid4().hex[:8]
    first = "one"
    ring = PostgresKeyRing(engine, masters)
    await ring.rotate()
    held: Held = {}
    indexes = {client: await ring.index(mark + client, "v") for client in "abc"}
    for step, client, subject in steps:
        if step == "rotate":
            first = client
            ring = PostgresKeyRing(engine, {first: masters[first]} | masters)
            assert await ring.rotate(batch=2) == 0
        elif step == "erase":
            await ring.erase(mark + client, [subject])
            held[client, subject] = None
        elif held.get((client, subject), b"") is not None:
            key = await key_of(ring, mark + client, subject)
            held[client, subject] = key.seal(subject.encode(), client.encode())
    last = PostgresKeyRing(engine, {first: masters[first]})
    await last.check()
    for (client, subject), sealed in held.items():
        found = await last.find(mark + client, [subject])
        assert set(found) == (set() if sealed is None else {subject})
        if sealed is not None:
            assert found[subject].open(sealed, client.encode()) == subject.encode()
    for client, index in indexes.items():
        assert await last.index(mark + client, "v") == index
    await engine.dispose()


async def test_a_rotation_while_services_run(engine: AsyncEngine) -> None:
    """Processes that have both keys, the old one first, go on making keys: what the rotation has
    passed by, it does again, and it says what is left when they do not stop."""
    old = PostgresKeyRing(engine, {"one": ONE, "two": TWO}, cache_s=0)
    new = PostgresKeyRing(engine, {"two": TWO, "one": ONE}, cache_s=0)
    sealed = {
        subject: key.seal(subject.encode(), b"")
        for subject, key in (await old.ensure("acme", [f"c-{n}" for n in range(500)])).items()
    }
    steps: list[tuple[int, int]] = []
    stop = asyncio.Event()

    async def serve(ring: PostgresKeyRing) -> None:
        count = 0
        while not stop.is_set():
            count += 1
            subject = f"{id(ring)}-{count}"
            sealed[subject] = (await key_of(ring, "acme", subject)).seal(subject.encode(), b"")
            found = await ring.find("acme", ["c-7", "c-400"])
            assert found["c-7"].open(sealed["c-7"], b"") == b"c-7"

    serving = [asyncio.create_task(serve(ring)) for ring in (old, new)]
    await new.rotate(lambda done, total: steps.append((done, total)), batch=50)
    stop.set()
    await asyncio.gather(*serving)
    assert await new.rotate() == 0
    assert steps == sorted(steps)
    assert all(done <= total for done, total in steps)
    only = PostgresKeyRing(engine, {"two": TWO})
    found = await only.find("acme", list(sealed))
    assert all(found[each].open(sealed[each], b"") == each.encode() for each in sealed)


async def test_a_rotation_goes_on_where_it_was_broken_off(engine: AsyncEngine) -> None:
    await PostgresKeyRing(engine, {"one": ONE}).ensure("acme", [f"c-{n}" for n in range(100)])
    new = PostgresKeyRing(engine, {"two": TWO, "one": ONE})

    def break_off(done: int, _: int) -> None:
        if done >= 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await new.rotate(break_off, batch=20)
    assert {each.master: each.subject_keys for each in await new.status()} == {"one": 60, "two": 40}
    seen: list[int] = []
    assert await new.rotate(lambda done, total: seen.append(total), batch=20) == 0
    assert seen[0] == 60


async def test_which_master_key_is_missing_is_said(engine: AsyncEngine) -> None:
    ring = PostgresKeyRing(engine, {"new": TWO})
    await ring.ensure("acme", ["ana"])
    await ring.index("acme", "x")
    await ring.ensure("acme", ["gone"])
    await ring.erase("acme", ["gone"])
    await PostgresKeyRing(engine, {"new": TWO}).check()
    lacks = PostgresKeyRing(engine, {"old": ONE})
    wrong = PostgresKeyRing(engine, {"new": ONE})
    asks: list[Callable[[PostgresKeyRing], Awaitable[object]]] = [
        lambda ring: ring.find("acme", ["ana"]),
        lambda ring: ring.ensure("acme", ["ana"]),
        lambda ring: ring.index("acme", "x"),
    ]
    for ask in asks:
        with pytest.raises(MasterKeyMissing, match=r"'new'.*has only old"):
            await ask(lacks)
        with pytest.raises(MasterKeyMissing, match="'new' of this process is not the one"):
            await ask(wrong)
    with pytest.raises(MasterKeyMissing, match="'new'"):
        await lacks.check()
    with pytest.raises(MasterKeyMissing, match="'new'"):
        await PostgresKeyRing(engine, {"old": ONE, "older": TWO}).rotate()


async def test_a_database_that_does_not_answer() -> None:
    engine = make_engine("postgresql://postgres:@127.0.0.1:1/keys")
    ring = PostgresKeyRing(engine, {"one": ONE})
    for ask in (
        ring.check(),
        ring.ensure("acme", ["ana"]),
        ring.find("acme", ["ana"]),
        ring.erase("acme", ["ana"]),
        ring.index("acme", "x"),
        ring.rotate(),
    ):
        with pytest.raises(Unavailable):
            await ask


async def test_migrations_are_applied_once(database: str) -> None:
    engines = [make_engine(database) for _ in range(4)]
    for _ in range(2):
        await asyncio.gather(*map(migrate_keys, engines))
    async with engines[0].connect() as connection:
        applied = await connection.scalars(text("SELECT number FROM keys_migrations"))
        assert sorted(applied) == list(range(1, len(MIGRATIONS) + 1))
    for engine in engines:
        await engine.dispose()


def test_master_keys_are_checked_at_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong, told in (
        ("", "RELAIS_MASTER_KEYS: no master key"),
        (new_secret("a", 16), "RELAIS_MASTER_KEYS: master key 'a' is not of 32 bytes"),
        ("abc", "RELAIS_MASTER_KEYS: entry 1 is not of the form id:base64"),
    ):
        monkeypatch.setenv("RELAIS_MASTER_KEYS", wrong)
        with pytest.raises(SystemExit):
            load(KeySettings)
        said = capsys.readouterr().err.strip()
        assert said == told
    fresh = f"{new_secret('b')},{new_secret('a')}"
    monkeypatch.setenv("RELAIS_MASTER_KEYS", fresh)
    read = load(KeySettings)
    assert list(read.masters()) == ["b", "a"]
    assert read.masters() == parse_secrets(fresh)
    assert fresh not in repr(read)
