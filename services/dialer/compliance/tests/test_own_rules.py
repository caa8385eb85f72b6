"""Rules that a client adds, in a real database: published in versions, and held to."""

import asyncio

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from eventkit.errors import InvalidMessage
from services.dialer.compliance.book import load_rulebook
from services.dialer.compliance.place import places_of_key
from services.dialer.compliance.rules import Proposed, decide
from services.dialer.compliance.store import OwnRules, publish_rules, published_rules

NOON = 1_772_449_200_000_000
"""Monday the 2nd of March 2026, 12:00 in Paris."""
MORNINGS = [{"name": "mornings", "hours": {"mon-fri": ["10:00-12:00"]}}]
ONCE = [{"name": "once", "valid_from": "2026-01-01", "cap": {"limit": 1, "days": 90}}]


async def publish(engine: AsyncEngine, client_id: str, rules: object) -> int:
    async with engine.begin() as connection:
        return await publish_rules(connection, client_id, rules, NOON, "supervisor-1")


async def test_they_are_published_in_versions_and_the_same_again_is_none(
    engine: AsyncEngine, client_id: str
) -> None:
    versions = [
        await publish(engine, client_id, rules)
        for rules in (MORNINGS, MORNINGS, ONCE, MORNINGS, [])
    ]
    assert versions == [1, 1, 2, 3, 4]
    async with engine.connect() as connection:
        assert await published_rules(connection, client_id) == (4, [])
        assert await published_rules(connection, client_id, 2) == (2, ONCE)
        assert await published_rules(connection, client_id, 5) is None
        assert await published_rules(connection, "nobody") is None


async def test_they_are_asked_with_the_law_and_named_by_their_version(
    engine: AsyncEngine, client_id: str
) -> None:
    await publish(engine, client_id, ONCE)
    await publish(engine, client_id, MORNINGS)
    known = OwnRules()
    async with engine.connect() as connection:
        found = await known.read(connection, [client_id, "nobody"])
        again = await known.read(connection, [client_id])
    assert found.keys() == {client_id}
    # What is computed for rules is remembered for the object that they are.
    assert again[client_id] is found[client_id]
    asked = Proposed(
        NOON,
        places_of_key("FR-75"),
        "mobile",
        "sales",
        "power",
        client_id,
        "spring",
        b"n",
        own=(found[client_id],),
    )
    answer = decide(asked, [], load_rulebook())
    assert [(use.rule, use.version, use.said) for use in answer.forbidden_by] == [
        ("client.mornings", 2, "outside 10:00-12:00 Europe/Paris")
    ]
    assert answer.until == NOON + 22 * 3_600_000_000


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        ({"name": "it"}, "rules"),
        ([{"name": "it"}], r"rules\[0\]"),
        ([{"name": "it", "cap": {"limit": "many", "days": 1}}], r"rules\[0\]\.cap\.limit"),
        ([{"name": "it", "hours": {"mon": ["9-5"]}}], r"rules\[0\]\.hours\.mon"),
    ],
)
async def test_what_is_no_rule_changes_nothing(
    engine: AsyncEngine, client_id: str, rules: object, field: str
) -> None:
    await publish(engine, client_id, MORNINGS)
    with pytest.raises(InvalidMessage, match=f"^{field}"):
        await publish(engine, client_id, rules)
    async with engine.connect() as connection:
        assert await published_rules(connection, client_id) == (1, MORNINGS)


async def test_who_publishes_at_the_same_time_gets_the_next_version(
    engine: AsyncEngine, client_id: str
) -> None:
    several = [[{"name": f"ring-{n}", "ring_seconds": 20 + n}] for n in range(5)]
    found = await asyncio.gather(*(publish(engine, client_id, rules) for rules in several))
    assert sorted(found) == [1, 2, 3, 4, 5]
