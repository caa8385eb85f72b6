"""Every rule of `check`: what is refused, and the field that is named."""

from dataclasses import replace
from typing import Any

import pytest

from services.routing import commands as c
from services.routing.configuration import ClientRules, Hours, Interval, Overflow, Queue, Step

ID_FIELDS: list[tuple[c.Body, tuple[str, ...]]] = [
    (c.ReportCallArrived("c1"), ("call_id",)),
    (c.QueueCall("c1", "q"), ("call_id", "queue_id")),
    (c.ReportCallAbandoned("c1"), ("call_id",)),
    (c.ReportCallConnected("c1", "ann"), ("call_id",)),
    (c.ReportCallEnded("c1"), ("call_id",)),
    (c.ReportCallHeld("c1"), ("call_id",)),
    (c.ReportCallResumed("c1"), ("call_id",)),
    (c.AcceptCallback("c1"), ("call_id",)),
    (c.ReportCallbackFailed("c1", "no answer"), ("call_id",)),
    (c.RequeueCall("c1", "line lost"), ("call_id",)),
    (c.TransferCall("c1", "ann", "q"), ("call_id", "agent_id")),
    (c.RequestHelp("c1", "ann"), ("call_id", "agent_id")),
    (c.CompleteTransfer("c1", "ann"), ("call_id", "agent_id")),
    (c.LeaveCall("c1", "ann"), ("call_id", "agent_id")),
    (c.TakeOverCall("c1", "q", "p2", 3, 1, 2), ("call_id", "queue_id", "from_pool_id")),
    (c.LogInAgent("ann"), ("agent_id",)),
    (c.SetAgentSkills("ann"), ("agent_id",)),
    (c.ReportConnectionLost("ann"), ("agent_id",)),
    (c.ReportConnectionRestored("ann"), ("agent_id",)),
    (c.MakeAgentAvailable("ann"), ("agent_id",)),
    (c.StartOtherCall("ann"), ("agent_id",)),
    (c.StartBreak("ann"), ("agent_id",)),
    (c.StartWrapUp("ann"), ("agent_id",)),
    (c.LogOutAgent("ann"), ("agent_id",)),
    (c.AcceptOffer("p:1", "ann"), ("offer_id", "agent_id")),
    (c.DeclineOffer("p:1", "ann"), ("offer_id", "agent_id")),
    (c.ExpireOffer("p:1", "ann"), ("offer_id", "agent_id")),
    (c.FinishWrapUp("ann", "acme/c1"), ("agent_id",)),
    (c.LogOutLostAgent("ann"), ("agent_id",)),
    (c.RemoveQueue("q"), ("queue_id",)),
]
CLOSE = Step(action=Overflow.CLOSE)
EVENING = Hours("Europe/Paris", (Interval(1, 1080, 1440),), ("2026-12-25",))
QUEUE = Queue(
    "q",
    required_skills=(("fr", 3),),
    preferred_skills=(("de", 1), ("en", 5)),
    priority=-1,
    target_share=0.75,
    groups=("day", "night"),
    hours=EVENING,
    when_closed=Step(action=Overflow.MOVE_TO_QUEUE, queue_id="night"),
    max_wait_seconds=600,
    when_full=Overflow.VOICEMAIL,
    steps=(
        Step(10, Overflow.RELAX_SKILL, "fr", 2),
        Step(10, Overflow.WIDEN_GROUPS, groups=("back-office",)),
        Step(20, Overflow.OFFER_CALLBACK),
        Step(30, Overflow.MOVE_TO_POOL, queue_id="q", pool_id="p2"),
    ),
    sticky_days=7,
    sticky_seconds=20,
)
RULES = ClientRules(0.25, 2, ("k-1", "k-0"), 5)
BAD_IDS = ["", "a/b", "-a", " a", "a\n", "a" * 129, "é", "\x00", "\ud800"]


def command(body: c.Body) -> c.Command:
    client = "acme" if isinstance(body, c.CallCommand | c.ClientCommand) else c.CENTRE
    return c.Command("p", "id", client, 0, 0, "", "", body)


def refused(command: c.Command) -> str:
    with pytest.raises(c.Invalid) as error:
        c.check(command)
    assert error.value.reason.isprintable()
    return error.value.field


@pytest.mark.parametrize(("body", "names"), ID_FIELDS, ids=lambda value: type(value).__name__)
def test_ids(body: c.Body, names: tuple[str, ...]) -> None:
    c.check(command(body))
    for name in names:
        for bad in BAD_IDS:
            changed: Any = replace(body, **{name: bad})  # type: ignore[arg-type]
            assert refused(command(changed)) == name
    for bad in BAD_IDS:
        assert refused(replace(command(body), pool_id=bad)) == "pool_id"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (c.ReportCallArrived("c1", line="a b"), "line"),
        (c.ReportCallArrived("c1", customer_id="x" * 129), "customer_id"),
        (c.ReportCallConnected("c1", "a/b"), "agent_id"),
        (c.QueueCall("c1", "q", 2**31), "priority"),
        (c.QueueCall("c1", "q", -(2**31) - 1), "priority"),
        (c.QueueCall("c1", "q", 0, (("fr", 0),)), "required_skills"),
        (c.QueueCall("c1", "q", 0, (("fr", 6),)), "required_skills"),
        (c.QueueCall("c1", "q", 0, (("f r", 1),)), "required_skills"),
        (c.QueueCall("c1", "q", 0, (("fr", 1), ("fr", 2))), "required_skills"),
        (c.LogInAgent("ann", (("fr", -1),)), "skills"),
        (c.LogInAgent("ann", tuple((f"s{n}", 1) for n in range(101))), "skills"),
        (c.StartBreak("ann", "x" * 201), "reason"),
        (c.LogOutAgent("ann", "a\x00b"), "reason"),
        (c.DeclineOffer("p:1", "ann", "\ud800"), "reason"),
        (c.FinishWrapUp("ann", "no stream"), "call"),
        (c.AdvanceCall("agent"), "call"),
        (c.LogInAgent("ann", groups=("b", "a")), "groups"),
        (c.LogInAgent("ann", site="a/b"), "site"),
        (c.LogInAgent("ann", chats=51), "chats"),
        (c.LogInAgent("ann", emails=-1), "emails"),
        (c.SetAgentSkills("ann", (("fr", 6),)), "skills"),
        (c.SetAgentSkills("ann", groups=("a", "a")), "groups"),
        (c.RequeueCall("c1", "a\x00"), "reason"),
        (c.TransferCall("c1", "ann"), "queue_id"),
        (c.TransferCall("c1", "ann", "q", "bob"), "queue_id"),
        (c.TransferCall("c1", "ann", to_agent_id="a/b"), "to_agent_id"),
        (c.RequestHelp("c1", "ann", c.HelpKind.UNSPECIFIED), "kind"),
        (c.RequestHelp("c1", "ann", groups=("b", "a")), "groups"),
        (c.TakeOverCall("c1", "q", "p2", -1, 1, 2), "version"),
        (c.TakeOverCall("c1", "q", "p2", 3, -1, 2), "arrived_at"),
        (c.TakeOverCall("c1", "q", "p2", 3, 1, c.LAST_TIME + 1), "queued_at"),
        (c.ConfigurePool(policy="Best"), "policy"),
        (c.ConfigurePool(wrap_up_seconds=-2), "wrap_up_seconds"),
        (c.ConfigurePool(help_groups=("b", "a")), "help_groups"),
        (c.ConfigurePool(expected_version=-1), "expected_version"),
        (c.RemoveQueue("q", -1), "expected_version"),
        (c.ConfigurePool(-1), "offer_seconds"),
        (c.ConfigurePool(3601), "offer_seconds"),
        (c.ConfigurePool(0, 86_401), "wrap_up_seconds"),
        *[
            (c.ConfigurePool(0, 0, speed), "clock_speed")
            for speed in (0.5, -1.0, float("nan"), float("inf"), 1e9)
        ],
    ],
)
def test_values(body: c.Body, field: str) -> None:
    assert refused(command(body)) == field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"queue_id": "a/b"}, "queue_id"),
        ({"preferred_skills": (("fr", 6),)}, "preferred_skills"),
        ({"target_seconds": 0}, "target_seconds"),
        ({"target_share": 1.1}, "target_share"),
        ({"penalty": float("nan")}, "penalty"),
        ({"groups": ("b", "a")}, "groups"),
        ({"hours": replace(EVENING, zone="Europe/Nowhere")}, "hours.zone"),
        ({"hours": replace(EVENING, weekly=(Interval(8, 0, 1),))}, "hours.weekly[0].weekday"),
        ({"hours": replace(EVENING, weekly=(Interval(1, 9, 9),))}, "hours.weekly[0].closes"),
        ({"hours": replace(EVENING, holidays=("20261225",))}, "hours.holidays"),
        ({"hours": replace(EVENING, holidays=("2026-12-25",) * 2)}, "hours.holidays"),
        ({"when_closed": Step()}, "when_closed.action"),
        ({"when_closed": Step(action=Overflow.OFFER_CALLBACK)}, "when_closed.action"),
        ({"when_full": Overflow.OFFER_CALLBACK}, "when_full"),
        ({"steps": (CLOSE, Step(1, Overflow.RELAX_SKILL))}, "steps[1].skill"),
        ({"steps": (Step(1, Overflow.CLOSE), CLOSE)}, "steps[1].after_seconds"),
        ({"steps": (Step(1, Overflow.MOVE_TO_POOL, queue_id="q"),)}, "steps[0].pool_id"),
        ({"callback_attempts": 0}, "callback_attempts"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_queues(change: dict[str, Any], field: str) -> None:
    c.check(command(c.ConfigureQueue(QUEUE)))
    assert refused(command(c.ConfigureQueue(replace(QUEUE, **change)))) == field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"share": -0.1}, "share"),
        ({"floor": -1}, "floor"),
        ({"vip_customers": ("k-1", "")}, "vip_customers"),
        ({"vip_customers": ("k" * 100,) * 8_001}, "vip_customers"),
        ({"vip_priority": -1}, "vip_priority"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_client_rules(change: dict[str, Any], field: str) -> None:
    c.check(command(c.ConfigureClient(RULES)))
    assert refused(command(c.ConfigureClient(replace(RULES, **change)))) == field


def test_envelope() -> None:
    call, agent = command(c.ReportCallEnded("c1")), command(c.MakeAgentAvailable("ann"))
    for bad in ("", "Acme", "a_b", "a" * 64, "centre", "agent", "a/b"):
        assert refused(replace(call, client_id=bad)) == "client_id"
    assert refused(replace(agent, client_id="acme")) == "client_id"
    for name in ("occurred_at", "recorded_at"):
        for time in (-1, c.LAST_TIME + 1, 2**63):
            assert refused(replace(call, **{name: time})) == name  # type: ignore[arg-type]
    assert refused(replace(call, command_id="")) == "event_id"
    assert refused(replace(call, actor="a b")) == "actor"
