"""How many of many leads would be skipped now, and why. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.dialer.compliance.ruleuse import RuleUse


@dataclass(frozen=True, slots=True)
class Reason:
    """leads: that this rule, in this version, forbids, perhaps beside others; alone: that nothing
    else forbids. until: when the first of them may be called; None: none ever, as far as is known.
    """

    rule: str
    version: int
    leads: int
    alone: int
    until: int | None


@dataclass(frozen=True, slots=True)
class Preview:
    """skipped, of leads. never: those of them that may never be called, as things are. reasons: the
    most frequent first."""

    leads: int
    skipped: int
    never: int
    reasons: tuple[Reason, ...]

    def __str__(self) -> str:
        if not self.skipped:
            return f"none of {self.leads:,} would be skipped"
        because = ", ".join(f"{each.rule} ({each.leads:,})" for each in self.reasons)
        return f"{self.skipped:,} of {self.leads:,} would be skipped, because of {because}"


@dataclass(slots=True)
class _Tally:
    leads: int = 0
    alone: int = 0
    until: int | None = None


def preview(answers: Iterable[tuple[Sequence[RuleUse], int | None]]) -> Preview:
    """answers: for each lead the rules that forbid it, crm's among them (none: it is allowed), and
    until when."""
    leads = skipped = never = 0
    tallies: dict[tuple[str, int], _Tally] = {}
    for forbidden_by, until in answers:
        leads += 1
        rules = {(use.rule, use.version) for use in forbidden_by}
        skipped += bool(rules)
        never += bool(rules) and until is None
        for rule in rules:
            tally = tallies.setdefault(rule, _Tally())
            tally.leads += 1
            tally.alone += len(rules) == 1
            if until is not None:
                tally.until = until if tally.until is None else min(tally.until, until)
    reasons = [
        Reason(rule, version, tally.leads, tally.alone, tally.until)
        for (rule, version), tally in tallies.items()
    ]
    reasons.sort(key=lambda each: (-each.leads, each.rule, each.version))
    return Preview(leads, skipped, never, tuple(reasons))
