"""Events of campaigns and attempts as messages: each has a body of its own, and all it knows."""

from dataclasses import replace
from decimal import Decimal

import pytest
from relais.attempts.v1 import events_pb2 as attempts_pb
from relais.campaigns.v1 import events_pb2 as campaigns_pb

from eventkit.eventstore import Recorded
from eventkit.ids import event_id
from services.dialer.attempts import attempt as a
from services.dialer.attempts.codec import attempt_message
from services.dialer.campaigns import campaign as c
from services.dialer.campaigns import plan as p
from services.dialer.campaigns.codec import campaign_message
from services.dialer.compliance.ruleuse import RuleUse

T = 1_780_000_000_000_000
ORIGIN = a.Origin("spring", "may", "l-1", "cu-1", "2", 3, T, ("rang",))
SETTINGS = p.Settings(
    name="Fibre",
    purpose=p.Purpose.SALES,
    mode=p.Mode.POWER,
    seller="Acme Telecom",
    caller_id="+33123456789",
    pool_id="main",
    queue_id="fibre",
    offer_id="fibre-xl",
    ratio=1.5,
    contract=p.Contract(0.01, 1.5, 7),
    costs=p.Costs("EUR", Decimal("0.02")),
    goals=p.Goals(budget=Decimal("12.50")),
)


def stored(event: object, stream_id: str) -> Recorded[object]:
    id = event_id(stream_id, 1)
    return Recorded("acme", stream_id, 1, id, event, T + 7, T + 9, "worker", "", "")


def attempt(event: a.Event) -> attempts_pb.AttemptEvent:
    message = attempt_message(stored(event, "acme/attempt/at-1"))  # type: ignore[arg-type]
    return attempts_pb.AttemptEvent.FromString(message)


def campaign(event: c.Event) -> campaigns_pb.CampaignEvent:
    message = campaign_message(stored(event, "acme/campaign/spring"))  # type: ignore[arg-type]
    return campaigns_pb.CampaignEvent.FromString(message)


def ended(result: a.Result, by: a.AnsweredBy = a.AnsweredBy.NOBODY) -> a.AttemptEnded:
    return a.AttemptEnded(T, ORIGIN, result, "", "", by, None, None, None, "power", False)


ATTEMPTS: list[tuple[str, a.Event]] = [
    (
        "started",
        a.AttemptStarted(
            T,
            ORIGIN,
            "power",
            (RuleUse("fr.hours", 2, "open"),),
            "power",
            "2 of 1",
            "",
            T,
            "FR",
            "",
        ),
    ),
    ("answered", a.AttemptAnswered(T, ORIGIN, a.AnsweredBy.HUMAN, 1)),
    ("greeting_ended", a.AttemptGreetingEnded(T, ORIGIN)),
    ("connected", a.AttemptConnected(T, ORIGIN, "ann", 1)),
    ("abandoned", a.AttemptAbandoned(T, ORIGIN, 1, True)),
    ("ended", ended(a.Result.BUSY)),
    ("disposed", a.AttemptDisposed(T, ORIGIN, "sale", "ann", True, "")),
]
CAMPAIGNS: list[tuple[str, c.Event]] = [
    ("drafted", c.CampaignDrafted(T, SETTINGS)),
    ("revised", c.CampaignRevised(T, SETTINGS)),
    ("started", c.CampaignStarted(T)),
    ("paused", c.CampaignPaused(T, "lunch")),
    ("stopped", c.CampaignStopped(T, "budget")),
    (
        "mode_lowered",
        c.CampaignModeLowered(T, p.Mode.POWER, p.Mode.PROGRESSIVE, "us", 0.04, 0.03, T, T + 1),
    ),
    ("mode_restored", c.CampaignModeRestored(T, p.Mode.POWER)),
]


def test_no_event_is_left_out() -> None:
    assert {type(event) for _, event in ATTEMPTS} == set(a.DECIDER.events)
    assert {type(event) for _, event in CAMPAIGNS} == set(c.DECIDER.events)


@pytest.mark.parametrize(("body", "event"), ATTEMPTS, ids=lambda each: str(each)[:20])
def test_attempts(body: str, event: a.Event) -> None:
    wire = attempt(event)
    assert wire.WhichOneof("body") == body
    assert wire.attempt_id == "at-1"
    assert (wire.origin.lead_id, wire.origin.number_of_attempt) == ("l-1", 3)
    assert list(wire.origin.invented) == ["rang"]
    # When the telephone side says that it happened, whenever it was appended.
    assert wire.meta.occurred_at.ToMicroseconds() == T
    assert wire.meta.recorded_at.ToMicroseconds() == T + 9


@pytest.mark.parametrize(("body", "event"), CAMPAIGNS, ids=lambda each: str(each)[:20])
def test_campaigns(body: str, event: c.Event) -> None:
    wire = campaign(event)
    assert wire.WhichOneof("body") == body
    assert (wire.campaign_id, wire.meta.client_id) == ("spring", "acme")
    assert not wire.HasField("lead")


def test_settings_without_the_number_that_is_shown() -> None:
    wire = campaign(c.CampaignDrafted(T, SETTINGS))
    said = wire.drafted.settings
    assert (said.purpose, said.mode, said.ratio) == ("sales", "power", 1.5)
    assert (said.contract.limit, said.contract.period_days) == (0.01, 7)
    assert (said.costs.per_attempt, said.costs.per_minute) == ("0.02", "")
    assert said.goals.budget == "12.50"
    assert b"+33123456789" not in wire.SerializeToString()


def test_who_calls_back_is_said_where_anybody_does() -> None:
    said = [
        campaign(c.CampaignDrafted(T, replace(SETTINGS, callback_campaign_id=id))).drafted.settings
        for id in ("questions", "")
    ]
    assert [(each.callback_campaign_id, each.callback_within_seconds) for each in said] == [
        ("questions", 14_400),
        ("", 0),
    ]


def test_each_result_is_one_of_the_contract() -> None:
    results = {attempt(ended(each)).ended.result for each in a.Result}
    assert results == set(attempts_pb.Result.values()) - {attempts_pb.RESULT_UNSPECIFIED}
    by = {attempt(ended(a.Result.BUSY, each)).ended.answered_by for each in a.AnsweredBy}
    assert by == set(attempts_pb.AnsweredBy.values())


def test_what_is_not_known_is_not_said() -> None:
    wire = attempt(ended(a.Result.NO_ANSWER)).ended
    assert not any(wire.HasField(name) for name in ("rang", "waited", "talked"))
