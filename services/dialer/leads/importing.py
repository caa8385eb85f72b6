"""What becomes of the lines of one part of an import. Pure: who is known already comes in.

A line is added, a duplicate of a lead or of an earlier line, or rejected for a reason.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Final

from eventkit.decider import Invalid
from services.dialer.leads.commands import Details
from services.dialer.leads.events import Origin
from services.dialer.leads.listimport import Counts, Duplicates
from services.dialer.leads.merging import merged

ADDED: Final = "added"
DUPLICATE: Final = "duplicate"
MERGED: Final = "merged"
KEPT: Final = "kept"
REJECTED: Final = "rejected"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A line that could be a lead. keys: of its numbers, and it has at least one."""

    line: int
    lead_id: str
    origin: Origin
    details: Details
    keys: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """A line that is no good."""

    line: int
    field: str
    reason: str

    @classmethod
    def of(cls, line: int, invalid: Invalid) -> "Refused":
        return cls(line, invalid.field or "", invalid.reason)


@dataclass(slots=True)
class Outcome:
    """added: new leads by id, as they are to be. merges: for leads that are known, what they are
    to learn. said: of each line that was not simply added, what became of it."""

    added: dict[str, Candidate] = field(default_factory=dict)
    merges: dict[str, list[Candidate]] = field(default_factory=dict)
    said: list[dict[str, Any]] = field(default_factory=list)
    kept: int = 0
    merged: int = 0
    duplicates: int = 0
    rejected: int = 0
    elsewhere: int = 0

    @property
    def counts(self) -> Counts:
        return Counts(
            len(self.added),
            self.rejected,
            self.duplicates,
            self.kept,
            self.merged,
            self.elsewhere,
        )


def settle(
    lines: Iterable[Candidate | Refused],
    policy: Duplicates,
    twins: Mapping[bytes, str],
    existing: Set[str],
    elsewhere: Set[bytes],
) -> Outcome:
    """twins: the lead with a number's key within the scope. existing: ids among the lines' that are
    leads already. elsewhere: keys of other clients' leads."""
    outcome = Outcome()
    first: dict[bytes, str] = {}
    for line in lines:
        if isinstance(line, Refused):
            outcome.rejected += 1
            said = {"line": line.line, "outcome": REJECTED, "reason": line.reason}
            outcome.said.append(said | ({"field": line.field} if line.field else {}))
            continue
        same_id = line.lead_id in existing or line.lead_id in outcome.added
        twin = line.lead_id if same_id else _known(line.keys, twins, first)
        if twin and (same_id or policy is not Duplicates.KEEP):
            _repeat(line, twin, policy, outcome)
        else:
            outcome.added[line.lead_id] = line
            outcome.elsewhere += not elsewhere.isdisjoint(line.keys)
            if twin:
                outcome.kept += 1
                outcome.said.append({"line": line.line, "outcome": KEPT, "lead_id": twin})
        # A lead that was merged with this line has its numbers, too.
        holder = twin if policy is Duplicates.MERGE and twin else line.lead_id
        for key in line.keys:
            first.setdefault(key, holder)
    return outcome


def _known(keys: Sequence[bytes], twins: Mapping[bytes, str], first: Mapping[bytes, str]) -> str:
    for found in (twins, first):
        for key in keys:
            if key in found:
                return found[key]
    return ""


def _repeat(line: Candidate, twin: str, policy: Duplicates, outcome: Outcome) -> None:
    outcome.duplicates += 1
    said = DUPLICATE
    if policy is Duplicates.MERGE:
        said = MERGED
        outcome.merged += 1
        new = outcome.added.get(twin)
        if new is None:
            outcome.merges.setdefault(twin, []).append(line)
        else:
            outcome.added[twin] = Candidate(
                new.line,
                twin,
                new.origin,
                merged(new.details, line.details),
                tuple(dict.fromkeys(new.keys + line.keys)),
            )
    outcome.said.append({"line": line.line, "outcome": said, "lead_id": twin})
