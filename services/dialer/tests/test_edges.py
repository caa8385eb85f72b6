"""Campaigns and attempts over HTTP, with real PostgreSQL behind them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from eventkit.callers import Role
from eventkit.eventstore import EventStore
from services.dialer.attempts import attempt as a
from services.dialer.campaigns.plan import Totals
from services.dialer.tests.desk import ABANDONED, NOBODY, SALES, TALKED, Desk, S, open_desk


@pytest.fixture
async def desk(store: EventStore, client_id: str) -> AsyncIterator[Desk]:
    async with open_desk(store, client_id) as desk:
        yield desk


FULL: dict[str, Any] = SALES | {
    "skills": [{"skill": "fibre", "level": 3}],
    "subject": "fibre",
    "converting": ["sale"],
    "refusing": ["No-Thanks"],
    "priority": 7,
    "ratio": 2.5,
    "target_abandonment": 0.01,
    "contract": {"limit": 0.01, "connect_seconds": 1.5, "period_days": 7},
    "costs": {
        "currency": "EUR",
        "per_attempt": "0.02",
        "per_minute": "0.06",
        "per_agent_hour": "24.00",
    },
    "goals": {"contacts": 100, "conversions": 10, "attempts": 1000, "budget": "50"},
    "ring_seconds": 25,
    "machine_detection": True,
    "on_machine": "leave-message",
    "machine_message": "call-us",
    "max_calls": 50,
    "calls_per_second": 2.0,
    "hours": [[{"begins": "10:00", "ends": "13:00"}]] * 6 + [[]],
    "starts_at": "2026-01-01T00:00:00Z",
    "ends_at": "2099-01-01T00:00:00Z",
    "stop_when_exhausted": True,
    "win_back": None,
    "callback_campaign_id": None,
    "callback_within_seconds": 7_200,
    "recycling": {
        "results": {
            "busy": {"then": "same", "after_seconds": 600, "times": 3, "reason": "never-free"}
        },
        "dispositions": {
            "call-later": {"then": "other", "after_seconds": 60, "times": 2, "reason": None}
        },
        "attempts": 5,
        "attempts_per_number": 4,
    },
    "information_message": None,
    "questionnaire_id": None,
}


async def test_what_is_arranged_is_shown(desk: Desk) -> None:
    assert await desk.do("/campaigns/spring", FULL, "PUT") == {
        "campaign_id": "spring",
        "version": 1,
        "status": "draft",
    }
    shown = await desk.get("/campaigns/spring")
    assert shown["settings"] == FULL
    # So what was read can be sent again, and changes nothing.
    assert (await desk.do("/campaigns/spring", shown["settings"], "PUT"))["version"] == 1


async def test_from_the_draft_to_the_stop(desk: Desk) -> None:
    await desk.campaign()
    assert (await desk.do("/campaigns/spring/start"))["version"] == 2
    await desk.do("/campaigns/spring/pause", {"reason": "lunch"})
    shown = await desk.get("/campaigns/spring")
    assert (shown["status"], shown["status_reason"]) == ("paused", "lunch")
    await desk.do("/campaigns/spring/start")
    await desk.do("/campaigns/spring/stop")
    await desk.refused("/campaigns/spring/start")
    assert await desk.names("/campaigns/spring") == [
        "CampaignDrafted",
        "CampaignStarted",
        "CampaignPaused",
        "CampaignStarted",
        "CampaignStopped",
    ]


async def test_an_idempotency_key_has_one_effect(desk: Desk) -> None:
    first = await desk.do("/campaigns/spring", SALES, "PUT", key="k1")
    await desk.do("/campaigns/spring", SALES | {"priority": 3}, "PUT")
    assert await desk.do("/campaigns/spring", SALES, "PUT", key="k1") == first
    assert (await desk.get("/campaigns/spring"))["settings"]["priority"] == 3


MESSAGE: dict[str, Any] = {
    "name": "Works in your street",
    "purpose": "information",
    "mode": "message",
    "seller": "Acme Telecom",
    "caller_id": "+33123456789",
    "information_message": "works",
    "callback_campaign_id": "questions",
}


async def test_it_starts_where_the_campaign_that_calls_back_can(desk: Desk) -> None:
    assert (await desk.do("/campaigns/works", MESSAGE, "PUT"))["status"] == "draft"

    async def refused(reason: str, path: str = "/campaigns/works/start", *body: Any) -> None:
        method = "PUT" if body else "POST"
        problem = await desk.refused(path, *body, method=method)
        assert problem["errors"] == [{"field": "callback_campaign_id", "reason": reason}]

    await refused("there is no such campaign")
    await desk.do("/campaigns/questions", MESSAGE | {"callback_campaign_id": None}, "PUT")
    await refused("the campaign has no agents to call back")
    assert (await desk.get("/campaigns/works"))["status"] == "draft"
    await desk.do("/campaigns/questions", SALES, "PUT")
    await desk.do("/campaigns/works/start")
    # While it runs, too; nothing is revised then.
    nobody = MESSAGE | {"callback_campaign_id": "nobody"}
    await refused("there is no such campaign", "/campaigns/works", nobody)
    shown = (await desk.get("/campaigns/works"))["settings"]
    assert (shown["callback_campaign_id"], shown["callback_within_seconds"]) == (
        "questions",
        14_400,
    )
    await desk.do("/campaigns/works/pause")
    await desk.do("/campaigns/questions/stop")
    await refused("the campaign is stopped, for good")
    itself = await desk.refused(
        "/campaigns/works", MESSAGE | {"callback_campaign_id": "works"}, 422, "PUT"
    )
    assert itself["errors"][0]["field"] == "callback_campaign_id"


async def test_who_wants_to_be_called_back_is_found(desk: Desk) -> None:
    pressed = (
        a.Answered(9 * S, a.AnsweredBy.HUMAN),
        a.Over(20 * S, a.Why.MESSAGE_PLAYED, callback_wanted=True),
    )
    await desk.dialled("at-1", *pressed)
    await desk.dialled("at-2", *NOBODY)
    for wanted, id in ((True, "at-1"), (False, "at-2")):
        [found] = (await desk.get("/attempts", callback_wanted=wanted))["items"]
        assert (found["attempt_id"], found["callback_wanted"]) == (id, wanted)
    assert await desk.listed("/leads", "lead_id", closed_reason="no-answer") == ["lead-at-2"]


WRONG = [
    ("callback_campaign_id", {"callback_campaign_id": "questions"}),
    ("callback_within_seconds", {"callback_within_seconds": 59}),
    ("caller_id", {"caller_id": "+33999"}),
    ("caller_id", {"caller_id": "+9991234567890"}),
    ("costs.currency", {"costs": {"currency": "XQX"}}),
    ("ring_seconds", {"ring_seconds": 14}),
    ("abandonment_message", {"abandonment_message": None}),
    ("target_abandonment", {"contract": {"limit": 0.01}}),
    ("hours", {"hours": [[{"begins": "10:00", "ends": "09:00"}]] * 7}),
    ("recycling.results.bsy", {"recycling": {"results": {"bsy": {"then": "close"}}}}),
]


@pytest.mark.parametrize(("field", "change"), WRONG, ids=lambda each: str(each)[:30])
async def test_what_is_wrong_is_named_and_changes_nothing(
    desk: Desk, field: str, change: dict[str, Any]
) -> None:
    told = await desk.refused("/campaigns/spring", SALES | change, 422, "PUT")
    assert field in {each["field"].removeprefix("body.") for each in told["errors"]}, told
    await desk.refused("/campaigns/spring", status=404, method="GET")


async def test_who_may_do_what(desk: Desk) -> None:
    await desk.campaign()
    agent, partner = desk.as_(Role.AGENT), desk.as_(Role.PARTNER)
    await agent.refused("/campaigns/spring/stop", status=403)
    await agent.refused("/campaigns/spring", SALES, 403, "PUT")
    await partner.refused("/campaigns", status=403, method="GET")
    assert (await partner.get("/campaigns/spring"))["status"] == "running"
    assert (await agent.get("/campaigns"))["items"][0]["campaign_id"] == "spring"


async def test_lists_have_pages_and_filters(desk: Desk) -> None:
    for name in ("a", "b", "c"):
        await desk.do(f"/campaigns/{name}", SALES, "PUT")
    await desk.do("/campaigns/b/start")
    assert await desk.listed("/campaigns", "campaign_id") == ["a", "b", "c"]
    assert await desk.listed("/campaigns", "campaign_id", status="draft") == ["a", "c"]
    assert await desk.listed("/campaigns", "campaign_id", purpose="survey") == []


async def test_what_a_campaign_comes_to(desk: Desk) -> None:
    await desk.campaign(
        costs={"currency": "EUR", "per_attempt": "1", "per_agent_hour": "60"},
        goals={"contacts": 4, "budget": "10"},
    )
    await desk.dialled("at-1", *TALKED)
    await desk.dialled("at-2", *ABANDONED)
    await desk.dialled("at-3", *NOBODY)
    await desk.dialled("at-4")
    await desk.do("/attempts/at-1/dispose", {"disposition": "sale", "converted": True})
    live = await desk.get("/campaigns/spring/live")
    # Four attempts and a minute of an agent's.
    spent = 4 + 59.7 / 60
    assert float(live.pop("spent")) == pytest.approx(spent, abs=1e-4)
    assert live.pop("goals") == {"contacts": 0.25, "budget": pytest.approx(spent / 10, abs=1e-4)}
    assert live == {
        "campaign_id": "spring",
        "status": "running",
        "mode": "predictive",
        "lowered": None,
        "attempts": 4,
        "open": 1,
        "results": {"abandoned": 1, "connected": 1, "no-answer": 1},
        "contacts": 1,
        "conversions": 1,
        "contact_rate": 0.25,
        "conversion_rate": 1.0,
        "talked_seconds": 59.7,
        "currency": "EUR",
    }


async def test_a_goal_stops_it_and_nothing_is_counted_twice(desk: Desk) -> None:
    await desk.campaign(goals={"attempts": 2})
    await desk.dialled("at-1", *NOBODY)
    service = desk.dialer.campaigns

    def ours(running: list[Any]) -> list[Any]:
        return [totals for found, totals in running if found.client_id == desk.client_id]

    assert ours(await service.running()) == [Totals(attempts=1)]
    assert not await service.count(desk.client_id, "spring", Totals(attempts=1))
    await desk.dialled("at-2", *NOBODY)
    (totals,) = ours(await service.running())
    assert await service.count(desk.client_id, "spring", totals)
    shown = await desk.get("/campaigns/spring")
    assert (shown["status"], shown["status_reason"]) == ("stopped", "attempts")
    assert ours(await service.running()) == []


async def test_an_attempt_and_why_it_was_allowed(desk: Desk) -> None:
    await desk.campaign()
    await desk.dialled("at-1", *TALKED, customer_id="cu-1", at=1_780_000_000 * S)
    shown = await desk.get("/attempts/at-1")
    assert shown["allowed_by"] == [{"rule": "fr.hours", "version": 3, "said": "within 10:00-13:00"}]
    assert (shown["result"], shown["agent_id"]) == ("connected", "ann")
    assert shown["rang_seconds"] == 9
    assert shown["waited_seconds"] == 0.3
    assert shown["talked_seconds"] == 59.7
    assert shown["started_at"] == "2026-05-28T20:26:40Z"
    assert shown["ended_at"] == "2026-05-28T20:27:50Z"
    assert await desk.names("/attempts/at-1") == [
        "AttemptStarted",
        "AttemptAnswered",
        "AttemptGreetingEnded",
        "AttemptConnected",
        "AttemptEnded",
    ]
    history = (await desk.get("/attempts/at-1/history"))["items"]
    assert history[0]["details"]["dial_before"] == "2026-05-28T20:26:42Z"
    assert history[-1]["details"]["talked"] == 59.7
    await desk.refused("/attempts/at-9", status=404, method="GET")


async def test_attempts_are_found(desk: Desk) -> None:
    await desk.campaign()
    await desk.campaign("autumn")
    t = 1_780_000_000 * S
    await desk.dialled("at-1", *TALKED, customer_id="cu-1", at=t)
    await desk.dialled("at-2", *ABANDONED, at=t + S)
    await desk.dialled("at-3", *NOBODY, campaign_id="autumn", at=t + 2 * S)
    await desk.dialled("at-4", at=t + 3 * S)

    async def found(**query: Any) -> list[str]:
        return await desk.listed("/attempts", "attempt_id", **query)

    assert await found() == ["at-4", "at-3", "at-2", "at-1"]
    assert await found(campaign_id="spring") == ["at-4", "at-2", "at-1"]
    assert await found(result="abandoned") == ["at-2"]
    assert await found(result="open") == ["at-4"]
    assert await found(customer_id="cu-1") == ["at-1"]
    assert await found(agent_id="ann") == ["at-1"]
    assert await found(lead_id="lead-at-3") == ["at-3"]
    assert await found(
        started_from="2026-05-28T20:26:41Z", started_before="2026-05-28T20:26:42Z"
    ) == ["at-2"]
    assert (await desk.call("GET", "/attempts", result="lost")).status_code == 422
