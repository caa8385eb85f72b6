"""What a campaign is: whom it speaks for, how it dials, what it costs and aims at. Pure.

`check` refuses what no campaign can be, `check_change` what cannot be another one once it has run.
Times are microseconds since 1970, shares are between 0 and 1.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from typing import Final

from eventkit.decider import Invalid, Rejected
from services.dialer.leads import recycling
from services.dialer.leads.recycling import Recycling

MAX_NAME: Final = 200
MAX_LIST: Final = 200
MAX_PRIORITY: Final = 1000
MAX_RATIO: Final = 10.0
MAX_RATE: Final = 1000.0
MAX_CALLS: Final = 100_000
MIN_RING_SECONDS: Final = 15
"""47 CFR 64.1200(a)(6): no unanswered call is ended before 15 seconds."""
MAX_RING_SECONDS: Final = 120
LIMIT: Final = 0.03
"""Abandoned per live answer: 16 CFR 310.4(b)(4)(i)."""
CONNECT_SECONDS: Final = 2.0
MINUTES_A_DAY: Final = 1440
MAX_INTERVALS: Final = 8
CALLBACK_S: Final = 4 * 3600
MIN_CALLBACK_S: Final = 60
MAX_CALLBACK_S: Final = 30 * 86_400
MAX_AMOUNT: Final = Decimal(10**12)
PLACES: Final = 4
ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")
CODE: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
CURRENCY: Final = re.compile(r"[A-Z]{3}")

# Not "printable": joiners belong to words, too. PostgreSQL keeps no half of a surrogate pair.
_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

Week = tuple[tuple[tuple[int, int], ...], ...]
"""Seven days, Monday first; each its intervals (begins, ends) in minutes since midnight."""


class Purpose(StrEnum):
    """crm's words: consent is asked for by them."""

    INFORMATION = "information"
    SURVEY = "survey"
    SALES = "sales"
    WIN_BACK = "win-back"
    PAYMENT_REMINDER = "payment-reminder"


class Mode(StrEnum):
    """MESSAGE: no agent. PREVIEW: the agent looks first. PROGRESSIVE: one call for each free agent.
    POWER: `ratio` of them. PREDICTIVE: as many as are expected to be served."""

    MESSAGE = "message"
    PREVIEW = "preview"
    PROGRESSIVE = "progressive"
    POWER = "power"
    PREDICTIVE = "predictive"

    @property
    def overdials(self) -> bool:
        """Whether more calls are dialled than agents are free: what the measure can forbid."""
        return self in (Mode.POWER, Mode.PREDICTIVE)


class OnMachine(StrEnum):
    """What is done with an answering machine."""

    HANG_UP = "hang-up"
    LEAVE_MESSAGE = "leave-message"
    AS_PERSON = "as-person"


@dataclass(frozen=True, slots=True)
class Skill:
    """level: at least this, 1 to 5."""

    skill: str
    level: int = 1


@dataclass(frozen=True, slots=True)
class Contract:
    """The client's own limit, stricter than the law: at most `limit` of the live answers without an
    agent within `connect_seconds` of the greeting's end, in periods of so many days."""

    limit: float
    connect_seconds: float = CONNECT_SECONDS
    period_days: int = 30


@dataclass(frozen=True, slots=True)
class Costs:
    """In one ISO 4217 currency. per_minute: of an answered call, to the carrier."""

    currency: str
    per_attempt: Decimal = Decimal(0)
    per_minute: Decimal = Decimal(0)
    per_agent_hour: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Goals:
    """The campaign stops when one is reached; 0: no goal. budget: in the currency of the costs."""

    contacts: int = 0
    conversions: int = 0
    attempts: int = 0
    budget: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class WinBack:
    """Whom crm is asked for: who refused this offer for one of these reasons (empty: for any) since
    then. The campaign's own `offer_id` is what is offered instead."""

    offer_id: str
    reasons: tuple[str, ...] = ()
    since: int = 0


@dataclass(frozen=True, slots=True)
class Settings:
    """One campaign.

    pool_id, queue_id   where live answers are matched with agents; empty of mode message
    seller              who calls, as the recorded message says it
    caller_id           E.164, what the called person sees
    subject             what caps by subject count by; empty: the campaign itself
    offer_id            what is sold; questionnaire_id: what is asked
    converting          dispositions that are what the campaign is for
    refusing            dispositions after which the person is left in peace
    abandonment_message, information_message, machine_message  ids of recordings at the carrier
    callback_campaign_id  of mode message: the campaign whose agents call back who presses the key;
                        empty: nobody does by themselves. callback_within_seconds: of the key
    priority            the higher goes first on shared agents
    max_calls           at the same time; 0: as many as pacing says. calls_per_second: of message
    hours               its own, on the called person's wall, within the law's; empty: the law's
    starts_at, ends_at  it dials from then, and until then
    stop_when_exhausted it stops when no lead is left
    recycling           what follows from each result and disposition
    """

    name: str
    purpose: Purpose
    mode: Mode
    seller: str
    caller_id: str
    pool_id: str = ""
    queue_id: str = ""
    skills: tuple[Skill, ...] = ()
    subject: str = ""
    offer_id: str = ""
    questionnaire_id: str = ""
    converting: tuple[str, ...] = ()
    refusing: tuple[str, ...] = ("refused", "not-interested")
    priority: int = 0
    ratio: float = 1.0
    target_abandonment: float = 0.025
    contract: Contract | None = None
    costs: Costs | None = None
    goals: Goals = field(default_factory=Goals)
    ring_seconds: int = 20
    machine_detection: bool = True
    on_machine: OnMachine = OnMachine.HANG_UP
    abandonment_message: str = ""
    information_message: str = ""
    machine_message: str = ""
    max_calls: int = 0
    calls_per_second: float = 1.0
    hours: Week = ()
    starts_at: int | None = None
    ends_at: int | None = None
    stop_when_exhausted: bool = False
    win_back: WinBack | None = None
    callback_campaign_id: str = ""
    callback_within_seconds: int = CALLBACK_S
    recycling: Recycling = recycling.DEFAULT

    @property
    def wants_agents(self) -> bool:
        return self.mode is not Mode.MESSAGE

    @property
    def limit(self) -> float:
        """Of abandonment: the law's, or the stricter contract's."""
        return LIMIT if self.contract is None else min(LIMIT, self.contract.limit)


@dataclass(frozen=True, slots=True)
class Totals:
    """What a campaign has done so far: what goals and budget are held against.

    contacts       persons who talked or heard the message
    talked, answered_for   microseconds: with agents; of answered calls in all
    """

    attempts: int = 0
    contacts: int = 0
    conversions: int = 0
    talked: int = 0
    answered_for: int = 0


_MINUTE: Final = Decimal(60_000_000)


def cost(costs: Costs | None, totals: Totals) -> Decimal:
    """What has been spent, in the costs' currency. Of agents it is the time that they talked: what
    they wait and wrap up is known to routing, and counted by the reports."""
    if costs is None:
        return Decimal(0)
    return (
        costs.per_attempt * totals.attempts
        + costs.per_minute * totals.answered_for / _MINUTE
        + costs.per_agent_hour * totals.talked / (60 * _MINUTE)
    )


def reached(settings: Settings, totals: Totals) -> str:
    """The first goal that is reached, or `budget`; "" none."""
    goals = settings.goals
    for name in ("contacts", "conversions", "attempts"):
        if 0 < getattr(goals, name) <= getattr(totals, name):
            return name
    return "budget" if 0 < goals.budget <= cost(settings.costs, totals) else ""


def attempts_left(settings: Settings, totals: Totals) -> int | None:
    """How many more may be started before the goal of attempts or the budget stops it, so that
    neither is overshot by a whole turn; None: no end to it. At least 0."""
    left: list[int] = []
    if settings.goals.attempts:
        left.append(settings.goals.attempts - totals.attempts)
    costs, budget = settings.costs, settings.goals.budget
    if costs is not None and budget and costs.per_attempt:
        left.append(int((budget - cost(costs, totals)) // costs.per_attempt))
    return max(0, min(left)) if left else None


def check(settings: Settings) -> None:
    """Raise Invalid, with the field's name, for the first thing that no campaign can have."""
    _line("name", settings.name)
    _line("seller", settings.seller)
    _match("caller_id", settings.caller_id, E164, "must be a number in E.164, such as +33123456789")
    for name in ("subject", "offer_id", "questionnaire_id"):
        if value := getattr(settings, name):
            _id(name, value)
    _ids("converting", settings.converting)
    _ids("refusing", settings.refusing)
    both = set(settings.converting) & set(settings.refusing)
    if both:
        raise Invalid("converting", "has a disposition that is a refusal, too")
    _check_purpose(settings)
    _check_agents(settings)
    _check_messages(settings)
    _check_callbacks(settings)
    _within("priority", settings.priority, 0, MAX_PRIORITY)
    _within("ratio", settings.ratio, 1.0, MAX_RATIO)
    _within("max_calls", settings.max_calls, 0, MAX_CALLS)
    _above("calls_per_second", settings.calls_per_second, MAX_RATE)
    _within("ring_seconds", settings.ring_seconds, MIN_RING_SECONDS, MAX_RING_SECONDS)
    _check_limits(settings)
    _check_money(settings)
    _check_hours(settings.hours)
    recycling.check(settings.recycling)
    starts, ends = settings.starts_at, settings.ends_at
    if ends is not None and ends <= (starts or 0):
        raise Invalid("ends_at", "must be after starts_at")


def _check_purpose(settings: Settings) -> None:
    purpose = settings.purpose
    if purpose is Purpose.SURVEY and not settings.questionnaire_id:
        raise Invalid("questionnaire_id", "a survey has one")
    if purpose is not Purpose.SURVEY and settings.questionnaire_id:
        raise Invalid("questionnaire_id", "is of a survey only")
    if purpose in (Purpose.SALES, Purpose.WIN_BACK) and not (
        settings.offer_id or settings.converting
    ):
        raise Invalid("offer_id", "what is sold, or else the dispositions that are a sale")
    if purpose is Purpose.INFORMATION and settings.mode is not Mode.MESSAGE:
        raise Invalid("mode", "an informational campaign plays a message: it has no agents")
    if settings.mode is Mode.MESSAGE and purpose not in (
        Purpose.INFORMATION,
        Purpose.PAYMENT_REMINDER,
    ):
        raise Invalid("mode", f"a recorded message is no way to do {purpose}")
    if settings.win_back is None:
        return
    if purpose is not Purpose.WIN_BACK:
        raise Invalid("win_back", "is of a win-back campaign only")
    _id("win_back.offer_id", settings.win_back.offer_id)
    if settings.win_back.offer_id == settings.offer_id:
        raise Invalid("win_back.offer_id", "what was refused is not offered again")
    _ids("win_back.reasons", settings.win_back.reasons)


def _check_agents(settings: Settings) -> None:
    for name in ("pool_id", "queue_id"):
        value = getattr(settings, name)
        if settings.wants_agents:
            _id(name, value)
        elif value:
            raise Invalid(name, "a campaign without agents has none")
    if settings.skills and not settings.wants_agents:
        raise Invalid("skills", "a campaign without agents needs none")
    if len(settings.skills) > MAX_LIST:
        raise Invalid("skills", f"more than {MAX_LIST}")
    for number, needed in enumerate(settings.skills):
        _id(f"skills[{number}].skill", needed.skill)
        _within(f"skills[{number}].level", needed.level, 1, 5)
    if len({needed.skill for needed in settings.skills}) < len(settings.skills):
        raise Invalid("skills", "names a skill twice")


def _check_messages(settings: Settings) -> None:
    needed = {
        "abandonment_message": settings.wants_agents,
        "information_message": not settings.wants_agents,
        "machine_message": settings.on_machine is OnMachine.LEAVE_MESSAGE,
    }
    why = {
        "abandonment_message": "whoever finds no agent in time is told who has called",
        "information_message": "what is to be said",
        "machine_message": "what is left on the machine",
    }
    for name, is_needed in needed.items():
        value = getattr(settings, name)
        if value:
            _id(name, value)
        if is_needed and not value:
            raise Invalid(name, why[name])
        if value and not is_needed:
            raise Invalid(name, "would never be played")
    if settings.on_machine is OnMachine.LEAVE_MESSAGE and not settings.machine_detection:
        raise Invalid("machine_detection", "without it no machine is known to leave a message on")


def _check_callbacks(settings: Settings) -> None:
    within = settings.callback_within_seconds
    _within("callback_within_seconds", within, MIN_CALLBACK_S, MAX_CALLBACK_S)
    if not settings.callback_campaign_id:
        return
    if settings.mode is not Mode.MESSAGE:
        raise Invalid("callback_campaign_id", "is of mode message only: agents promise callbacks")
    _id("callback_campaign_id", settings.callback_campaign_id)


def _check_limits(settings: Settings) -> None:
    contract = settings.contract
    if contract is not None:
        _above("contract.limit", contract.limit, LIMIT)
        _above("contract.connect_seconds", contract.connect_seconds, CONNECT_SECONDS)
        if Decimal(str(contract.connect_seconds)) % Decimal("0.1"):
            raise Invalid("contract.connect_seconds", "must be whole tenths: so waits are counted")
        _within("contract.period_days", contract.period_days, 1, 366)
    _above("target_abandonment", settings.target_abandonment, settings.limit)


def _check_money(settings: Settings) -> None:
    costs, goals = settings.costs, settings.goals
    if costs is not None:
        _match("costs.currency", costs.currency, CURRENCY, "must be an ISO 4217 code, such as EUR")
        for name in ("per_attempt", "per_minute", "per_agent_hour"):
            _amount(f"costs.{name}", getattr(costs, name))
    _amount("goals.budget", goals.budget)
    if goals.budget and costs is None:
        raise Invalid("goals.budget", "nothing is known of costs that it could be held against")
    for name in ("contacts", "conversions", "attempts"):
        _within(f"goals.{name}", getattr(goals, name), 0, 10**12)


def _check_hours(hours: Week) -> None:
    if not hours:
        return
    if len(hours) != 7:
        raise Invalid("hours", "needs seven days, Monday first")
    for day in hours:
        if len(day) > MAX_INTERVALS:
            raise Invalid("hours", f"more than {MAX_INTERVALS} intervals a day")
        for begins, ends in day:
            if not 0 <= begins < ends <= MINUTES_A_DAY:
                raise Invalid("hours", "an interval ends after it begins, within 00:00 and 24:00")
        if any(before[1] >= after[0] for before, after in pairwise(day)):
            raise Invalid("hours", "intervals are in order and do not touch")
    if not any(hours):
        raise Invalid("hours", "no hour is left to call in")


_FIXED: Final[Mapping[str, str]] = {
    "purpose": "consent was asked for it",
    "subject": "caps are counted by it",
    "offer_id": "what was sold until now is counted by it",
    "questionnaire_id": "what was answered until now is counted by it",
}


def check_change(before: Settings, after: Settings) -> None:
    """Raise Rejected for what cannot be another one once the campaign has been started."""
    for name, why in _FIXED.items():
        if getattr(before, name) != getattr(after, name):
            raise Rejected(f"stays as it is once the campaign has run: {why}", name)
    if before.wants_agents != after.wants_agents:
        raise Rejected("a campaign that has run does not win or lose its agents", "mode")
    if before.costs is not None and (
        after.costs is None or before.costs.currency != after.costs.currency
    ):
        raise Rejected("stays as it is once the campaign has run", "costs.currency")


def _line(name: str, text: str) -> None:
    if not text.strip() or len(text) > MAX_NAME or _UNFIT.search(text):
        raise Invalid(name, f"must be one line of 1 to {MAX_NAME} characters")


def _match(name: str, text: str, pattern: re.Pattern[str], reason: str) -> None:
    if not pattern.fullmatch(text):
        raise Invalid(name, reason)


def _id(name: str, value: str) -> None:
    _match(name, value, ID, f"must match ^{ID.pattern}$")


def _ids(name: str, ids: Sequence[str]) -> None:
    if len(ids) > MAX_LIST:
        raise Invalid(name, f"more than {MAX_LIST}")
    for each in ids:
        _id(name, each)
    if len(set(ids)) < len(ids):
        raise Invalid(name, "must have each once")


def _within(name: str, number: float, least: float, most: float) -> None:
    # Also for what is no number: it is not within.
    if not least <= number <= most:
        raise Invalid(name, f"must be {least:g} to {most:g}")


def _above(name: str, number: float, most: float) -> None:
    if not 0 < number <= most:
        raise Invalid(name, f"must be above 0, and not above {most:g}")


def _amount(name: str, amount: Decimal) -> None:
    if not amount.is_finite() or not 0 <= amount <= MAX_AMOUNT:
        raise Invalid(name, f"must be 0 to {MAX_AMOUNT:f}")
    exponent = amount.normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    if -exponent > PLACES:
        raise Invalid(name, f"must not have more than {PLACES} decimal places")
