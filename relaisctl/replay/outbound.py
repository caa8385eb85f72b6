"""A made-up survey by telephone: whom, with what campaign, and what they answer. Pure.

The numbers are of a place where people may be called at this hour, so that it can be played at any
time of any day.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

CLIENT = "norlink"
QUEUE = "outbound"
CALLER_ID = "+12125550100"
AGENTS = 12
WRAP_UP_S = 1
"""After a call; the carrier of a demo is so many times as fast."""
PERSONS = 200
FORBIDDEN = 15
"""So many of them are on the client's do-not-call list."""
AREAS = {
    "America/New_York": "212",
    "America/Chicago": "312",
    "America/Denver": "303",
    "America/Los_Angeles": "213",
    "Pacific/Honolulu": "808",
    "Pacific/Guam": "671",
    "America/Puerto_Rico": "787",
}
OPENS, CLOSES = 8, 20
"""Hours on the wall there; the law's last one is left out: a play takes a while."""
ANSWERS = {"completed": 6, "refused": 3, "wrong-person": 1}


def number(index: int, now: datetime | None = None) -> str:
    """In E.164, for an index below 7,000,000. now: see `prefix`."""
    return f"{prefix(now)}{2_340_000 + index}"


def prefix(now: datetime | None = None) -> str:
    """What seven digits follow. now: with a zone, by default this moment.

    American ones; for an hour or two nobody in America may be called, and London has its morning.
    """
    now = now or datetime.now(UTC)
    for zone, area in AREAS.items():
        if OPENS <= now.astimezone(ZoneInfo(zone)).hour < CLOSES:
            return f"+1{area}"
    return "+44207"


def campaign(pool_id: str) -> dict[str, Any]:
    """As the dialer's API takes it: each number is tried up to three times, until none is left."""
    again = {"then": "same", "after_seconds": 5, "times": 2}
    close = {"then": "close"}
    return {
        "name": "How content are you with your line?",
        "purpose": "survey",
        "mode": "predictive",
        "seller": "Norlink Internet",
        "caller_id": CALLER_ID,
        "pool_id": pool_id,
        "queue_id": QUEUE,
        "questionnaire_id": "content",
        "abandonment_message": "norlink-sorry",
        "converting": ["completed"],
        "costs": {
            "currency": "GBP",
            "per_attempt": "0.01",
            "per_minute": "0.02",
            "per_agent_hour": "18",
        },
        "stop_when_exhausted": True,
        "recycling": {
            "attempts": 3,
            "results": {
                "no-answer": again,
                "busy": again,
                "machine": again,
                "carrier-error": again,
                "not-dialled": again,
                "abandoned": close,
                "hung-up": close,
            },
        },
    }


def people(seed: int, run: str, now: datetime | None = None) -> Iterator[dict[str, Any]]:
    """As the dialer's API takes leads. run: makes their numbers new ones."""
    first = Random(f"{seed}/{run}").randrange(6_000_000)
    for index in range(PERSONS):
        yield {"list_id": "subscribers", "numbers": [number(first + index, now)]}


def said(seed: int, attempt_id: str) -> str:
    """The disposition of a call that an agent had."""
    chance = Random(f"{seed}/{attempt_id}")
    return chance.choices(list(ANSWERS), list(ANSWERS.values()))[0]
