"""What follows from an attempt: when the lead's turn is again and on which number, or why it is
over. The campaign's rules, as data. Pure.

A rule stands for a result of the telephone (`no-answer`) or an agent's disposition (`busy-now`). A
disposition goes before the result. A number has had enough after `times` of one rule, or after
`attempts_per_number`; the lead is closed when all its numbers have, or after `attempts`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from eventkit.decider import Invalid
from services.dialer.leads.commands import Close, Schedule
from services.dialer.leads.lead import CODE, NEVER_LEFT, NO_NUMBER, Lead

SECOND: Final = 1_000_000
MINUTE_S: Final = 60
HOUR_S: Final = 3_600
DAY_S: Final = 86_400
MAX_AFTER_S: Final = 366 * DAY_S
MAX_TIMES: Final = 100
MAX_RULES: Final = 200

RESULTS: Final = (
    "connected",
    "delivered",
    "voicemail",
    "machine",
    "fax",
    "abandoned",
    "hung-up",
    "no-answer",
    "busy",
    "unobtainable",
    "carrier-error",
    "not-dialled",
)
ATTEMPTS: Final = "attempts"
SKIPPED: Final = "skipped"
"""As a rule: an agent's skipped preview. As a reason: it was skipped too often."""


class Next(StrEnum):
    """SAME: that number again. OTHER: the lead's next one that has not had enough. CLOSE: none."""

    SAME = "same"
    OTHER = "other"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Rule:
    """after_s: seconds until the turn after this. times: how often this may be of one number before
    that has had enough, at least 1. reason: why the lead is closed, where it is; empty: the result
    or disposition itself."""

    then: Next
    after_s: int = 0
    times: int = 1
    reason: str = ""


DEFAULT_RESULTS: Final[Mapping[str, Rule]] = {
    # The agent's disposition decides; until there is one, nobody calls again.
    "connected": Rule(Next.CLOSE),
    "delivered": Rule(Next.CLOSE),
    "voicemail": Rule(Next.SAME, DAY_S, 2),
    "machine": Rule(Next.OTHER, 4 * HOUR_S, 4),
    "fax": Rule(Next.OTHER, MINUTE_S, 1, NO_NUMBER),
    # The United Kingdom's 72 hours, wherever it is; the law of the place is asked as well.
    "abandoned": Rule(Next.SAME, 3 * DAY_S, 2),
    "hung-up": Rule(Next.SAME, DAY_S, 2),
    "no-answer": Rule(Next.OTHER, 3 * HOUR_S, 5),
    "busy": Rule(Next.SAME, 15 * MINUTE_S, 5),
    "unobtainable": Rule(Next.OTHER, MINUTE_S, 1, NO_NUMBER),
    "carrier-error": Rule(Next.SAME, 5 * MINUTE_S, 10),
    "not-dialled": Rule(Next.SAME, 30, 50),
    SKIPPED: Rule(Next.SAME, HOUR_S, 3),
}


@dataclass(frozen=True, slots=True)
class Recycling:
    """A campaign's rules. What it does not name is as in DEFAULT_RESULTS; a disposition without a
    rule closes the lead with the disposition as the reason.

    attempts, attempts_per_number   attempts that left the centre, since the lead was opened
    """

    results: Mapping[str, Rule] = field(default_factory=dict)
    dispositions: Mapping[str, Rule] = field(default_factory=dict)
    attempts: int = 12
    attempts_per_number: int = 8

    def rule(self, because: str) -> Rule:
        """Of a result or a disposition."""
        for rules in (self.dispositions, self.results, DEFAULT_RESULTS):
            if because in rules:
                return rules[because]
        return Rule(Next.CLOSE)


DEFAULT: Final = Recycling()


def check(recycling: Recycling, name: str = "recycling") -> None:
    """Raise Invalid for rules that make no sense, with the field's path below `name`."""
    for which in ("attempts", "attempts_per_number"):
        _between(getattr(recycling, which), 1, MAX_TIMES, f"{name}.{which}")
    for which, rules in (
        ("results", recycling.results),
        ("dispositions", recycling.dispositions),
    ):
        if len(rules) > MAX_RULES:
            raise Invalid(f"{name}.{which}", f"has more than {MAX_RULES}")
        for because, rule in rules.items():
            path = f"{name}.{which}.{because}"
            if which == "results" and because not in DEFAULT_RESULTS:
                raise Invalid(path, f"must be one of {', '.join(DEFAULT_RESULTS)}")
            if which == "dispositions" and because in DEFAULT_RESULTS:
                raise Invalid(path, "is a result, and no disposition")
            if not CODE.fullmatch(because):
                raise Invalid(path, f"must match {CODE.pattern}")
            _check_rule(rule, path)


def _check_rule(rule: Rule, path: str) -> None:
    _between(rule.after_s, 0, MAX_AFTER_S, f"{path}.after_s")
    _between(rule.times, 1, MAX_TIMES, f"{path}.times")
    if rule.reason and not CODE.fullmatch(rule.reason):
        raise Invalid(f"{path}.reason", f"must match {CODE.pattern}")
    if rule.then is not Next.CLOSE and rule.after_s == 0:
        # It would be dialled again before anybody has looked.
        raise Invalid(f"{path}.after_s", "must be at least 1 second where the lead goes on")


def _between(value: int, least: int, most: int, path: str) -> None:
    if not least <= value <= most:
        raise Invalid(path, f"must be from {least:,} to {most:,}")


def follow(recycling: Recycling, lead: Lead, because: str, at: int) -> Schedule | Close:
    """What follows from the lead's attempt: the one that is under way, whose Resolve is to be
    decided, or the last one, for Dispose. because: its result or its disposition.

    A callback that was promised in this attempt comes next, unless a rule of the campaign closes
    the lead for this very disposition.
    """
    number_id = lead.attempt_number_id or lead.last_number_id
    rule = recycling.rule(because)
    promised = lead.callback is not None and not lead.callback.dialled_in
    if promised and not (because in recycling.dispositions and rule.then is Next.CLOSE):
        assert lead.callback is not None
        return Schedule(lead.callback.from_at, number_id)
    if rule.then is Next.CLOSE:
        return Close(rule.reason or because)
    open_numbers = _open_numbers(recycling, lead, number_id, because)
    calls = sum(lead.calls.values()) + bool(lead.attempt_id and because not in NEVER_LEFT)
    if not open_numbers or calls >= recycling.attempts:
        return Close(rule.reason or ATTEMPTS)
    due_at = at + rule.after_s * SECOND
    if rule.then is Next.SAME and number_id in open_numbers:
        return Schedule(due_at, number_id)
    return Schedule(due_at, open_numbers[0])


def skipped(recycling: Recycling, lead: Lead, at: int) -> Schedule | Close:
    """What follows from an agent's skipped preview."""
    rule = recycling.rule(SKIPPED)
    if rule.then is Next.CLOSE or lead.skips + 1 >= rule.times:
        return Close(rule.reason or SKIPPED)
    return Schedule(at + rule.after_s * SECOND, lead.number_id)


def _open_numbers(
    recycling: Recycling, lead: Lead, number_id: str, because: str
) -> tuple[str, ...]:
    """Those that have not had enough, this attempt counted; in the lead's order, from the one after
    `number_id` round to itself."""
    ids = [each.number_id for each in lead.numbers]
    start = ids.index(number_id) + 1 if number_id in ids else 0
    return tuple(
        id
        for id in ids[start:] + ids[:start]
        if id not in lead.barred
        and not _has_enough(recycling, lead, id, because if id == number_id else "")
    )


def _has_enough(recycling: Recycling, lead: Lead, number_id: str, because: str) -> bool:
    """because: of the attempt that is not counted in the lead yet; empty: none of this number."""
    calls = lead.calls.get(number_id, 0)
    if because and lead.attempt_id and because not in NEVER_LEFT:
        calls += 1
    if calls >= recycling.attempts_per_number:
        return True
    tries = {code: count for (id, code), count in lead.tries.items() if id == number_id}
    if because:
        tries[because] = tries.get(because, 0) + 1
    return any(
        recycling.rule(code).then is not Next.CLOSE and count >= recycling.rule(code).times
        for code, count in tries.items()
    )
