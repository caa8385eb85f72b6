"""Every rule of `check`: what is refused, and the field that is named."""

from dataclasses import replace
from typing import Any

import pytest

from services.routing import commands as c

ID_FIELDS: list[tuple[c.Body, tuple[str, ...]]] = [
    (c.ReportCallArrived("c1"), ("call_id",)),
    (c.QueueCall("c1", "q"), ("call_id", "queue_id")),
    (c.ReportCallAbandoned("c1"), ("call_id",)),
    (c.ReportCallConnected("c1", "ann"), ("call_id",)),
    (c.ReportCallEnded("c1"), ("call_id",)),
    (c.LogInAgent("ann"), ("agent_id",)),
    (c.MakeAgentAvailable("ann"), ("agent_id",)),
    (c.StartOtherCall("ann"), ("agent_id",)),
    (c.StartBreak("ann"), ("agent_id",)),
    (c.StartWrapUp("ann"), ("agent_id",)),
    (c.LogOutAgent("ann"), ("agent_id",)),
    (c.AcceptOffer("p:1", "ann"), ("offer_id", "agent_id")),
    (c.DeclineOffer("p:1", "ann"), ("offer_id", "agent_id")),
    (c.ExpireOffer("p:1", "ann"), ("offer_id", "agent_id")),
    (c.FinishWrapUp("ann", "acme/c1"), ("agent_id",)),
]
BAD_IDS = ["", "a/b", "-a", " a", "a\n", "a" * 129, "é", "\x00", "\ud800"]


def command(body: c.Body) -> c.Command:
    client = "acme" if isinstance(body, c.CallCommand) else c.CENTRE
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
