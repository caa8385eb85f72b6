"""What the agents of a made-up shift write down after their calls. Pure: a seed gives the same.

Who called, what it was about, what was offered and why it was refused, and the complaints.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any


@dataclass(frozen=True, slots=True)
class Answered:
    """A call that an agent has answered. customer_id: the client's own number; empty: unknown."""

    client_id: str
    call_id: str
    queue_id: str
    agent_id: str
    customer_id: str


@dataclass(frozen=True, slots=True)
class Request:
    """One request to a service; `path` is below /v1/clients/<client_id>/."""

    client_id: str
    method: str
    path: str
    body: dict[str, Any]
    service: str = "crm"


@dataclass(frozen=True, slots=True)
class Desk:
    """What agents of one client choose from. topics: by queue, the ids below the queue's own, and
    how often each is what it was about. offer: what is offered in calls, and its share of calls."""

    topics: dict[str, dict[str, int]]
    offer: str = ""
    offered: float = 0.0


DESKS = {
    "amber-taxi": Desk(
        {"orders": {"new": 12, "change": 3, "late": 2}, "lost-property": {"found": 3, "missing": 2}}
    ),
    "meridian-bank": Desk(
        {
            "cards": {"blocked": 5, "limit": 3, "stolen": 1},
            "accounts": {"balance": 5, "transfer": 4, "fees": 3},
            "loans": {"terms": 3, "early-repayment": 1},
        },
        offer="gold-card",
        offered=0.15,
    ),
    "norlink": Desk(
        {
            "support": {"no-connection": 5, "slow": 4, "wi-fi": 3, "visit": 1},
            "sales": {"new-contract": 3, "tariff-change": 2},
        },
        offer="fibre-1000",
        offered=0.4,
    ),
}
REASONS = {"too-expensive": 5, "other-provider": 3, "no-need": 3, "not-now": 2}
ACCEPTED = 0.25
COMPLAINED = 0.05
SEVERITIES = {"low": 3, "normal": 5, "high": 2}
UPHELD, DECIDED = 0.6, 0.5
FIRST_NAMES = ("Ann", "Émile", "Lina", "Marek", "Olga", "Peter", "Rūta", "Sofia", "Tom", "Zoé")
LAST_NAMES = ("Bērziņš", "Carter", "Dubois", "Ivanova", "Kalniņa", "Lefèvre", "Moore", "Petit")


def set_up(client_id: str) -> Request:
    """The client's catalogue."""
    desk = DESKS[client_id]
    topics: dict[str, Any] = {queue: {"name": _title(queue)} for queue in desk.topics}
    for queue, below in desk.topics.items():
        for topic in below:
            topics[f"{queue}.{topic}"] = {"name": _title(topic), "parent": queue}
    reasons = {
        reason: {"name": _title(reason), "needs_date": reason == "not-now"} for reason in REASONS
    }
    offers = {desk.offer: {"name": _title(desk.offer)}} if desk.offer else {}
    dispositions = {"resolved": {"name": "Resolved"}, "call-back": {"name": "Call back"}}
    return Request(
        client_id,
        "POST",
        "catalogue/import",
        {
            "topics": topics,
            "dispositions": dispositions,
            "offers": offers,
            "refusal_reasons": reasons,
        },
    )


def customers(calls: Iterable[Answered], seed: int) -> dict[str, list[dict[str, Any]]]:
    """Rows of an import, by client: the customers whom the telephone system knew."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for call in calls:
        if call.customer_id:
            chance = Random(f"{seed}/{call.client_id}/{call.customer_id}")
            name = f"{chance.choice(FIRST_NAMES)} {chance.choice(LAST_NAMES)}"
            row = {"number": call.customer_id, "name": name}
            found.setdefault(call.client_id, {})[call.customer_id] = row
    return {client_id: list(rows.values()) for client_id, rows in found.items()}


def topic_of(call: Answered, seed: int) -> str:
    """What a call is about; empty: nothing is said of it."""
    below = DESKS[call.client_id].topics.get(call.queue_id)
    if not below:
        return ""
    chance = Random(f"{seed}/{call.client_id}/{call.call_id}/topic")
    return f"{call.queue_id}.{pick(chance, below)}"


def after_call(call: Answered, seed: int) -> Iterator[Request]:
    """What the agent writes about one call, in order."""
    chance = Random(f"{seed}/{call.client_id}/{call.call_id}")
    desk = DESKS[call.client_id]

    def say(path: str, **body: Any) -> Request:
        return Request(call.client_id, "POST", f"calls/{call.call_id}/{path}", body)

    if topic_id := topic_of(call, seed):
        yield say("topic", topic_id=topic_id)
    yield say("disposition", disposition="resolved" if chance.random() < 0.9 else "call-back")
    if chance.random() < desk.offered:
        if chance.random() < ACCEPTED:
            yield say(f"offers/{desk.offer}/accepted")
        else:
            reason = pick(chance, REASONS)
            until = {"not_before": f"{2027 + chance.randrange(2)}-03-01"}
            yield say(
                f"offers/{desk.offer}/refused",
                reason=reason,
                **(until if reason == "not-now" else {}),
            )
    if chance.random() < COMPLAINED:
        yield from _complaint(chance, call)


def _complaint(chance: Random, call: Answered) -> Iterator[Request]:
    complaint_id = f"{call.call_id}-complaint"

    def step(path: str, **body: Any) -> Request:
        return Request(call.client_id, "POST", f"complaints{path}", body)

    about = {"kind": "agent", "id": call.agent_id} if chance.random() < 0.5 else {"kind": "product"}
    opened = {
        "complaint_id": complaint_id,
        "severity": pick(chance, SEVERITIES),
        "about": about,
        "call_id": call.call_id,
        "text": "The customer was not content with what was said, and wants an answer.",
    }
    yield step("", **opened, **({"customer": call.customer_id} if call.customer_id else {}))
    yield step(f"/{complaint_id}/acknowledge")
    if chance.random() < DECIDED:
        yield step(f"/{complaint_id}/assign", assignee="quality-1")
        if chance.random() < UPHELD:
            yield step(f"/{complaint_id}/uphold", reasons=["wrong-information"], responsible=about)
        else:
            yield step(f"/{complaint_id}/reject", reasons=["no-fault-found"])


def pick(chance: Random, weights: dict[str, int]) -> str:
    """One of them, by its weight."""
    return chance.choices(list(weights), list(weights.values()))[0]


def _title(id: str) -> str:
    return id.replace("-", " ").capitalize()
