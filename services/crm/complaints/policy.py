"""What a client promises about complaints, in versions: its hours, its targets, its words. Pure.

A complaint keeps the version that it was opened under until it is put under another one by a
command: a new policy moves no promise that was made. The days of the holidays are in the event, so
that another release of a holidays' library changes no clock either.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from eventkit.decider import Decider, Invalid
from services.crm.complaints.calendar import DAY, MINUTE, Calendar
from services.crm.complaints.calendar import check as check_calendar
from services.crm.complaints.clocks import Rules, Severity, Targets
from services.crm.complaints.complaint import check_code

HOUR = 60 * MINUTE
MAX_TARGET = 366 * DAY
LONGEST = 10 * 366 * DAY
"""How long a target may take by the wall: hours that are too short for it are a mistake."""
MAX_CODES = 200


@dataclass(frozen=True, slots=True)
class Policy:
    """country, subdivision: whose public holidays are in the calendar; ISO 3166, "" for none.
    closed_days: the client's own, which are among the calendar's holidays, too.
    upheld_reasons, rejected_reasons, remedies: the codes that verdicts and remedies choose from.
    """

    calendar: Calendar
    targets: Mapping[Severity, Targets]
    upheld_reasons: tuple[str, ...]
    rejected_reasons: tuple[str, ...]
    remedies: tuple[str, ...]
    country: str = ""
    subdivision: str = ""
    closed_days: tuple[date, ...] = ()

    def rules(self, version: int) -> Rules:
        """What the clocks need of it."""
        return Rules(version, self.calendar, self.targets)


def default(zone: str) -> Policy:
    """What holds for a client that has published none: version 0."""
    office = ((9 * 60, 18 * 60),)
    return Policy(
        Calendar(zone, (office,) * 5 + ((), ())),
        {
            Severity.LOW: Targets(16 * HOUR, 90 * HOUR),
            Severity.NORMAL: Targets(8 * HOUR, 45 * HOUR),
            Severity.HIGH: Targets(4 * HOUR, 18 * HOUR),
            Severity.CRITICAL: Targets(1 * HOUR, 9 * HOUR),
        },
        (
            *("agent-error", "billing-error", "defect", "delay", "not-delivered"),
            *("poor-quality", "promise-not-kept", "wrong-information", "other"),
        ),
        (
            *("as-agreed", "customer-error", "no-fault-found", "not-our-responsibility"),
            *("not-proven", "withdrawn", "other"),
        ),
        ("apology", "refund", "replacement", "repair", "discount"),
    )


@dataclass(frozen=True, slots=True)
class PublishPolicy:
    at: int
    policy: Policy


@dataclass(frozen=True, slots=True)
class ComplaintPolicyPublished:
    """version: 1, 2, 3 ... of the client's policies."""

    at: int
    version: int
    policy: Policy


@dataclass(frozen=True, slots=True)
class Published:
    """The latest; version 0 where there is none."""

    version: int = 0
    policy: Policy | None = None


def decide(command: PublishPolicy, state: Published) -> Sequence[ComplaintPolicyPublished]:
    """The same policy again gives no event. Raises Invalid."""
    check(command.policy, command.at)
    if command.policy == state.policy:
        return []
    return [ComplaintPolicyPublished(command.at, state.version + 1, command.policy)]


def evolve(state: Published, event: ComplaintPolicyPublished) -> Published:
    return replace(state, version=event.version, policy=event.policy)


DECIDER: Decider[PublishPolicy, Published, ComplaintPolicyPublished] = Decider(
    initial=Published(), decide=decide, evolve=evolve, events=(ComplaintPolicyPublished,)
)


def check(policy: Policy, at: int) -> None:
    """Raise Invalid for the first thing that no policy can have; at: from when on it holds."""
    check_calendar(policy.calendar)
    for severity in Severity:
        name = f"targets.{severity.name.lower()}"
        targets = policy.targets.get(severity)
        if targets is None:
            raise Invalid(name, "missing")
        if not 0 < targets.first_response <= targets.resolution <= MAX_TARGET:
            raise Invalid(name, "0 < first_response <= resolution <= 366 days of business time")
        try:
            due = policy.calendar.add(at, targets.resolution)
        except OverflowError:
            due = at + LONGEST + 1
        if due - at > LONGEST:
            raise Invalid(name, "takes more than ten years in these hours")
    for name in ("upheld_reasons", "rejected_reasons", "remedies"):
        codes = getattr(policy, name)
        if not 1 <= len(codes) <= MAX_CODES or len(set(codes)) < len(codes):
            raise Invalid(name, f"1 to {MAX_CODES} codes, each once")
        for code in codes:
            check_code(name, code)
