"""The import of one list: opened, filled in parts, finished. Pure.

The parts are no events: a million lines are a thousand of them, and each is written with its leads.
What the import came to is said once, when it is finished.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from eventkit.decider import Decider, NotFound, Rejected


class Duplicates(StrEnum):
    """What becomes of a line with a number that is known already. MERGE: what it says more is added
    to the lead that is known."""

    REJECT = "reject"
    KEEP = "keep"
    MERGE = "merge"


class Scope(StrEnum):
    """Where a number has to be known for a line to be a duplicate: each has the ones before it in
    it. Other clients' leads are counted, and never more than that."""

    LIST = "list"
    CAMPAIGN = "campaign"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Plan:
    """What holds for every line. header, columns: lines.columns_of. country, priority: assumed
    where a line does not say. due_at: microseconds since 1970."""

    campaign_id: str
    list_id: str
    header: tuple[str, ...]
    columns: Mapping[str, str] = field(default_factory=dict)
    country: str = ""
    priority: int = 0
    due_at: int = 0
    duplicates: Duplicates = Duplicates.REJECT
    scope: Scope = Scope.CAMPAIGN


@dataclass(frozen=True, slots=True)
class Counts:
    """Lines. added: leads that are new, those among them that are kept duplicates in `kept`.
    duplicates: of known leads, and not added, those among them that were merged in `merged`.
    elsewhere: added, and a number of theirs is another client's lead's too."""

    added: int = 0
    rejected: int = 0
    duplicates: int = 0
    kept: int = 0
    merged: int = 0
    elsewhere: int = 0


NOTHING: Final = Counts()


def total(counts: Iterable[Counts]) -> Counts:
    several = list(counts)
    return Counts(
        *(sum(getattr(each, name) for each in several) for name in Counts.__dataclass_fields__)
    )


# Events. Their names are stored: they do not change.


@dataclass(frozen=True, slots=True)
class ImportOpened:
    plan: Plan


@dataclass(frozen=True, slots=True)
class LeadsImported:
    campaign_id: str
    list_id: str
    counts: Counts


Event = ImportOpened | LeadsImported


@dataclass(frozen=True, slots=True)
class OpenImport:
    plan: Plan


@dataclass(frozen=True, slots=True)
class FinishImport:
    counts: Counts


Command = OpenImport | FinishImport


@dataclass(frozen=True, slots=True)
class Import:
    plan: Plan | None = None
    finished: bool = False
    counts: Counts = NOTHING


def decide(command: Command, state: Import) -> Sequence[Event]:
    """Raises NotFound and Rejected."""
    match command:
        case OpenImport(plan):
            if state.plan is None:
                return [ImportOpened(plan)]
            if state.plan != plan:
                raise Rejected("the import was opened with other settings", "import_id")
            return []
        case FinishImport(counts):
            if state.plan is None:
                raise NotFound("import")
            if state.finished:
                return []
            return [LeadsImported(state.plan.campaign_id, state.plan.list_id, counts)]


def evolve(state: Import, event: Event) -> Import:
    match event:
        case ImportOpened(plan):
            return Import(plan)
        case LeadsImported(counts=counts):
            return Import(state.plan, True, counts)


DECIDER: Final[Decider[Command, Import, Event]] = Decider(
    Import(), decide, evolve, (ImportOpened, LeadsImported)
)
