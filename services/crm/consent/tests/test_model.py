"""The tables of a list against a list kept in memory: any changes and imports, in any order."""

import asyncio
import uuid
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine

from eventkit.clock import SystemClock
from eventkit.eventstore import Cause, EventStore
from eventkit.keys import PostgresKeyRing
from eventkit.postgres import make_engine
from services.conftest import Postgres
from services.crm.consent.address import Channel
from services.crm.consent.contact import About
from services.crm.consent.donotcall import Settings
from services.crm.consent.service import Ask, Number, Services

NOW = SystemClock().now_us()
PHONES = [f"+3360000000{n}" for n in range(5)]

phones = st.sampled_from(PHONES)
ends = st.sampled_from([None, NOW - 1, NOW + 10**12])
entries = st.dictionaries(phones, ends, max_size=4)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("change"), entries, st.sets(phones, max_size=3)),
        st.tuples(st.just("import"), entries, entries),
        st.tuples(st.just("void"), entries, entries),
    ),
    max_size=8,
)


async def play(url: str, keys_url: str, given_steps: list[Any]) -> None:
    engine, keys_engine = make_engine(url), make_engine(keys_url)
    try:
        await _play(engine, PostgresKeyRing(keys_engine, {"test": bytes(32)}), given_steps)
    finally:
        await engine.dispose()
        await keys_engine.dispose()


async def _play(engine: AsyncEngine, keys: PostgresKeyRing, given_steps: list[Any]) -> None:
    client_id = f"client-{uuid.uuid4().hex[:12]}"
    cause = Cause(client_id, "ana")
    events = EventStore(engine, keys, SystemClock())
    services = Services.of(events, lambda: uuid.uuid4().hex)
    lists = services.lists
    version = (await lists.define(cause, "l", Settings("L")))["version"]
    known: dict[str, int | None] = {}
    for kind, first, second in given_steps:
        before = dict(known)
        if kind == "change":
            gone = second - first.keys()
            answer = await lists.change_numbers(cause, "l", numbers(first), sorted(gone))
            known = {n: end for n, end in known.items() if n not in gone} | first
            added = {n for n in known if n not in before or before[n] != known[n]}
            removed = {n for n in before if n not in known or before[n] != known[n]}
            assert (answer["added"], answer["removed"]) == (len(added), len(removed))
            assert answer["version"] == version + bool(added or removed)
        else:
            opened = await lists.open_import(cause, "l", None, "copy", NOW - 10**9)
            for part in (first, second):
                await lists.add_to_import(cause, "l", opened["import_id"], numbers(part))
            answer = opened
            if kind == "import":
                answer = await lists.publish_import(cause, "l", opened["import_id"])
                known = first | second
        version = answer["version"]
        assert answer["size"] == len(known)
        for phone in PHONES:
            verdict = await services.contacts.check(
                client_id, Ask(phone, Channel.VOICE, "information", NOW)
            )
            (ground,) = (each for each in verdict.grounds if each.kind is About.LIST)
            on_it = phone in known and ((end := known[phone]) is None or end > NOW)
            assert verdict.allowed is not on_it
            assert ground.version == version
    await events.close()


def numbers(given_entries: dict[str, int | None]) -> list[Number]:
    return [Number(phone, end) for phone, end in given_entries.items()]


# Not made smaller: each try is a client of its own in a real database.
@settings(
    max_examples=15,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
@given(steps)
def test_a_list_is_what_was_said_of_it(
    database: str, postgres: Postgres, given_steps: list[Any]
) -> None:
    asyncio.run(play(database, postgres.keys, given_steps))
