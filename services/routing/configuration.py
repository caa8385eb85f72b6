"""What supervisors set for queues and clients, and the rules that make it valid. Pure.

A pool takes its configuration from its own log, like everything else that it knows. Whether a queue
is open is asked of the zone data that comes with Relais (the `tzdata` package, pinned), so that the
same log gives the same answer on every machine.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import IntEnum
from zoneinfo import ZoneInfo, available_timezones

Skills = tuple[tuple[str, int], ...]
"""(skill, level) pairs, sorted, each skill once. An agent's levels, or a call's least levels."""

Groups = tuple[str, ...]
"""Sorted, each once."""

MINUTES_A_DAY = 24 * 60
MAX_STEPS = 20
MAX_HOLIDAYS = 1_000
MAX_INTERVALS = 100
MAX_GROUPS = 50
MAX_VIPS = 50_000
MAX_VIPS_LENGTH = 800_000
"""Of all their ids: a message has a mebibyte at most."""
MAX_DAYS = 366
MAX_WAIT = 7 * 86_400


class Invalid(ValueError):
    """A value that no command may have: `field` says where, `reason` why."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class Overflow(IntEnum):
    """What is done for a call that has waited too long. As on the wire."""

    UNSPECIFIED = 0
    RELAX_SKILL = 1
    """Lower one skill's least level, or ask for it no longer (level 0)."""
    WIDEN_GROUPS = 2
    """Let more groups of agents serve it. No groups: every group."""
    MOVE_TO_QUEUE = 3
    MOVE_TO_POOL = 4
    OFFER_CALLBACK = 5
    VOICEMAIL = 6
    CLOSE = 7


FINAL = (Overflow.VOICEMAIL, Overflow.CLOSE)
"""What ends a call."""


@dataclass(frozen=True, slots=True)
class Step:
    """Taken when a call has waited `after_seconds` in the queue."""

    after_seconds: int = 0
    action: Overflow = Overflow.UNSPECIFIED
    skill: str = ""
    level: int = 0
    groups: Groups = ()
    queue_id: str = ""
    pool_id: str = ""


@dataclass(frozen=True, slots=True)
class Interval:
    """weekday: 1 (Monday) to 7. opens, closes: minutes since midnight on the client's wall."""

    weekday: int
    opens: int
    closes: int


@dataclass(frozen=True, slots=True)
class Hours:
    """When a queue is open. zone: IANA name; holidays: closed days, YYYY-MM-DD, sorted."""

    zone: str
    weekly: tuple[Interval, ...] = ()
    holidays: tuple[str, ...] = ()

    def open_at(self, at: int) -> bool:
        """at: microseconds since the epoch."""
        local = datetime.fromtimestamp(at // 1_000_000, UTC).astimezone(ZoneInfo(self.zone))
        day = local.date().isoformat()
        place = bisect_right(self.holidays, day)
        if place and self.holidays[place - 1] == day:
            return False
        minute, weekday = local.hour * 60 + local.minute, local.isoweekday()
        return any(
            each.weekday == weekday and each.opens <= minute < each.closes for each in self.weekly
        )


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue of one client. The defaults are those of a queue that nobody has configured.

    required_skills   added to what a call asks for itself
    preferred_skills  of two agents who can, the one who has more of these goes first
    target_seconds, target_share   the contract's service level: this share within so many seconds
    penalty           what a missed call costs, relative to other queues; at least 0
    groups            who serves it; empty: everybody outside the pool's restricted groups
    hours             None: always open
    when_closed       for calls that come outside of the hours
    max_wait_seconds  0: no limit; then when_full (VOICEMAIL or CLOSE) ends the call
    sticky_days, sticky_seconds   who served the customer in the last days is worth waiting so long
    base_weight, wait_weight      policy `affine`: base + wait_weight * seconds waited
    wrap_up_seconds   0: the pool's
    callback_attempts, callback_retry_seconds   how often a callback is tried, and how far apart
    """

    queue_id: str
    required_skills: Skills = ()
    preferred_skills: Skills = ()
    priority: int = 0
    target_seconds: int = 20
    target_share: float = 0.8
    penalty: float = 1.0
    groups: Groups = ()
    hours: Hours | None = None
    when_closed: Step = Step(action=Overflow.CLOSE)
    max_wait_seconds: int = 0
    when_full: Overflow = Overflow.CLOSE
    steps: tuple[Step, ...] = ()
    sticky_days: int = 0
    sticky_seconds: int = 0
    base_weight: float = 0.0
    wait_weight: float = 1.0
    wrap_up_seconds: int = 0
    callback_attempts: int = 3
    callback_retry_seconds: int = 300


@dataclass(frozen=True, slots=True)
class ClientRules:
    """What protects one client among those that share a pool's agents.

    share   of the agents who work: while fewer serve the client, its calls go before others'
    floor   of the agents who could serve the client, so many are not given to others' calls
    vip_customers, vip_priority   the customers whose calls' priority is raised by so much
    """

    share: float = 0.0
    floor: int = 0
    vip_customers: tuple[str, ...] = ()
    vip_priority: int = 0


ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")
MIN_LEVEL, MAX_LEVEL = 1, 5
MAX_SKILLS = 100
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1


def check_queue(queue: Queue) -> None:
    """Raise Invalid for the first value that breaks a rule."""
    check_id("queue_id", queue.queue_id)
    check_skills("required_skills", queue.required_skills)
    check_skills("preferred_skills", queue.preferred_skills)
    check_range("priority", queue.priority, INT32_MIN, INT32_MAX)
    check_range("target_seconds", queue.target_seconds, 1, MAX_WAIT)
    check_range("target_share", queue.target_share, 0.0, 1.0)
    check_range("penalty", queue.penalty, 0.0, 1e6)
    check_groups("groups", queue.groups)
    if queue.hours is not None:
        _check_hours(queue.hours)
    _check_step("when_closed", queue.when_closed)
    if queue.when_closed.action not in (*FINAL, Overflow.MOVE_TO_QUEUE, Overflow.MOVE_TO_POOL):
        raise Invalid("when_closed.action", "must end the call or move it elsewhere")
    check_range("max_wait_seconds", queue.max_wait_seconds, 0, MAX_WAIT)
    if queue.when_full not in FINAL:
        raise Invalid("when_full", "must be voicemail or close")
    if len(queue.steps) > MAX_STEPS:
        raise Invalid("steps", f"at most {MAX_STEPS} steps")
    before = 0
    for number, step in enumerate(queue.steps):
        _check_step(f"steps[{number}]", step)
        if step.after_seconds < before:
            raise Invalid(f"steps[{number}].after_seconds", "must not be before the step before it")
        before = step.after_seconds
    check_range("sticky_days", queue.sticky_days, 0, MAX_DAYS)
    check_range("sticky_seconds", queue.sticky_seconds, 0, MAX_WAIT)
    check_range("base_weight", queue.base_weight, -1e9, 1e9)
    check_range("wait_weight", queue.wait_weight, 0.0, 1e6)
    check_range("wrap_up_seconds", queue.wrap_up_seconds, 0, 86_400)
    check_range("callback_attempts", queue.callback_attempts, 1, 20)
    check_range("callback_retry_seconds", queue.callback_retry_seconds, 1, MAX_WAIT)


def check_client_rules(rules: ClientRules) -> None:
    """Raise Invalid for the first value that breaks a rule."""
    check_range("share", rules.share, 0.0, 1.0)
    check_range("floor", rules.floor, 0, 100_000)
    check_range("vip_priority", rules.vip_priority, 0, INT32_MAX)
    if len(rules.vip_customers) > MAX_VIPS:
        raise Invalid("vip_customers", f"at most {MAX_VIPS} customers")
    if sum(map(len, rules.vip_customers)) > MAX_VIPS_LENGTH:
        raise Invalid("vip_customers", f"at most {MAX_VIPS_LENGTH} characters in all")
    for customer in rules.vip_customers:
        check_id("vip_customers", customer)


def _check_step(field: str, step: Step) -> None:
    check_range(f"{field}.after_seconds", step.after_seconds, 0, MAX_WAIT)
    match step.action:
        case Overflow.UNSPECIFIED:
            raise Invalid(f"{field}.action", "missing")
        case Overflow.RELAX_SKILL:
            check_id(f"{field}.skill", step.skill)
            check_range(f"{field}.level", step.level, 0, MAX_LEVEL)
        case Overflow.WIDEN_GROUPS:
            check_groups(f"{field}.groups", step.groups)
        case Overflow.MOVE_TO_QUEUE:
            check_id(f"{field}.queue_id", step.queue_id)
        case Overflow.MOVE_TO_POOL:
            check_id(f"{field}.pool_id", step.pool_id)
            check_id(f"{field}.queue_id", step.queue_id)


def _check_hours(hours: Hours) -> None:
    if hours.zone not in available_timezones():
        raise Invalid("hours.zone", f"no time zone {shown(hours.zone)}")
    if len(hours.weekly) > MAX_INTERVALS:
        raise Invalid("hours.weekly", f"at most {MAX_INTERVALS} intervals")
    for number, each in enumerate(hours.weekly):
        field = f"hours.weekly[{number}]"
        check_range(f"{field}.weekday", each.weekday, 1, 7)
        check_range(f"{field}.opens", each.opens, 0, MINUTES_A_DAY - 1)
        check_range(f"{field}.closes", each.closes, each.opens + 1, MINUTES_A_DAY)
    if len(hours.holidays) > MAX_HOLIDAYS:
        raise Invalid("hours.holidays", f"at most {MAX_HOLIDAYS} days")
    for day in hours.holidays:
        try:
            if date.fromisoformat(day).isoformat() != day:
                raise ValueError
        except ValueError:
            raise Invalid("hours.holidays", f"no day YYYY-MM-DD: {shown(day)}") from None
    if list(hours.holidays) != sorted(set(hours.holidays)):
        raise Invalid("hours.holidays", "must be sorted, each day once")


def check_id(field: str, value: str) -> None:
    if not ID.fullmatch(value):
        raise Invalid(field, f"must match ^{ID.pattern}$, got {shown(value)}")


def check_skills(field: str, skills: Skills) -> None:
    if len(skills) > MAX_SKILLS:
        raise Invalid(field, f"at most {MAX_SKILLS} skills")
    for skill, level in skills:
        check_id(field, skill)
        if not MIN_LEVEL <= level <= MAX_LEVEL:
            raise Invalid(field, f"the level of {skill} must lie between 1 and 5, got {level}")
    names = [skill for skill, _ in skills]
    if len(set(names)) < len(names):
        raise Invalid(field, "names a skill twice")


def sorted_groups(groups: Iterable[str]) -> Groups:
    """One order for equal groups, so that they are one key."""
    return tuple(sorted(set(groups)))


def check_groups(field: str, groups: Groups) -> None:
    if len(groups) > MAX_GROUPS:
        raise Invalid(field, f"at most {MAX_GROUPS} groups")
    for group in groups:
        check_id(field, group)
    if list(groups) != sorted(set(groups)):
        raise Invalid(field, "must be sorted, each group once")


def check_range(field: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise Invalid(field, f"must lie between {low} and {high}, got {value}")


def shown(value: str) -> str:
    """A rejected value as an error message may carry it: short and printable."""
    return ascii(value if len(value) <= 40 else value[:40] + "...")
