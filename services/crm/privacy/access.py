"""What was told, and to whom: a record of each export, without a byte of what was in it. Pure.

A stream for each customer. That a customer was erased is in the customer's own stream.
"""

from dataclasses import dataclass

from eventkit.decider import Decider


@dataclass(frozen=True, slots=True)
class RecordExport:
    export_id: str


@dataclass(frozen=True, slots=True)
class PersonExported:
    """Everything that is held on the person was handed to the event's actor."""

    export_id: str


Exports = frozenset[str]


def decide(command: RecordExport, exports: Exports) -> list[PersonExported]:
    return [] if command.export_id in exports else [PersonExported(command.export_id)]


def evolve(exports: Exports, event: PersonExported) -> Exports:
    return exports | {event.export_id}


DECIDER: Decider[RecordExport, Exports, PersonExported] = Decider(
    initial=frozenset(), decide=decide, evolve=evolve, events=(PersonExported,)
)
