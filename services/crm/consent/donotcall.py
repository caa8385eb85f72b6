"""Lists of numbers that must not be contacted: what a list says of itself, and its versions. Pure.

The numbers are not here: there may be millions, kept as keyed hashes in rows that name the versions
from and to which they were listed (store.py; docs/adr/0027). Every event makes a new version.
"""

import re
from dataclasses import dataclass, replace
from enum import StrEnum

from eventkit.decider import Decider, Invalid, Rejected
from services.crm.consent.address import Channel, check_purpose

CENTRE = "centre"
"""The client_id of lists that bind every client."""

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")
MAX_NAME = 200
MAX_AGE_DAYS = 3_660
DAY = 86_400_000_000


class Kind(StrEnum):
    """own: people said it to the client or the centre, and no consent overrides it.
    registry: a public register, which a client's policy may let a consent override."""

    OWN = "own"
    REGISTRY = "registry"


@dataclass(frozen=True, slots=True)
class Settings:
    """channels, purposes: what the list forbids; empty is all.

    max_age_days: how old a copy may be, by its as-of date; None: any age.
    required: without a copy that is young enough, nobody may be contacted.
    """

    name: str
    kind: Kind = Kind.OWN
    channels: tuple[Channel, ...] = ()
    purposes: tuple[str, ...] = ()
    max_age_days: int | None = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class CreateList:
    list_id: str
    settings: Settings


@dataclass(frozen=True, slots=True)
class ChangeSettings:
    settings: Settings


@dataclass(frozen=True, slots=True)
class ChangeNumbers:
    """added, removed: how many numbers this really adds and removes. as_of: None leaves it."""

    added: int
    removed: int
    source: str
    as_of: int | None
    at: int


@dataclass(frozen=True, slots=True)
class OpenImport:
    """A whole new copy of the list begins to come in, in parts that count only once published."""

    import_id: str
    source: str
    as_of: int
    at: int


@dataclass(frozen=True, slots=True)
class PublishImport:
    """The copy is complete: from now on the list is what the copy says."""

    import_id: str
    added: int
    removed: int


@dataclass(frozen=True, slots=True)
class RetireList:
    """The list forbids nothing any more, for good."""


Command = CreateList | ChangeSettings | ChangeNumbers | OpenImport | PublishImport | RetireList


# Events. size: numbers on the list now.


@dataclass(frozen=True, slots=True)
class ListCreated:
    list_id: str
    settings: Settings
    size: int = 0


@dataclass(frozen=True, slots=True)
class ListSettingsChanged:
    settings: Settings
    size: int


@dataclass(frozen=True, slots=True)
class NumbersChanged:
    added: int
    removed: int
    size: int
    source: str
    as_of: int | None


@dataclass(frozen=True, slots=True)
class ImportOpened:
    import_id: str
    source: str
    as_of: int
    size: int


@dataclass(frozen=True, slots=True)
class ImportPublished:
    import_id: str
    added: int
    removed: int
    size: int
    source: str
    as_of: int


@dataclass(frozen=True, slots=True)
class ListRetired:
    size: int


Event = (
    ListCreated
    | ListSettingsChanged
    | NumbersChanged
    | ImportOpened
    | ImportPublished
    | ListRetired
)


@dataclass(frozen=True, slots=True)
class Import:
    import_id: str
    source: str
    as_of: int


@dataclass(frozen=True, slots=True)
class DoNotCallList:
    """version counts all events. size: numbers on it, those whose own time is over included."""

    settings: Settings | None = None
    version: int = 0
    size: int = 0
    source: str = ""
    as_of: int | None = None
    importing: Import | None = None
    published: str = ""
    """The import that was published last."""
    retired: bool = False


def decide(command: Command, state: DoNotCallList) -> list[Event]:
    if isinstance(command, CreateList):
        return _create(command, state)
    if state.settings is None:
        raise Rejected("there is no such list")
    if isinstance(command, RetireList):
        return [] if state.retired else [ListRetired(state.size)]
    if state.retired:
        raise Rejected("the list is retired")
    match command:
        case ChangeSettings():
            check_settings(command.settings)
            if command.settings == state.settings:
                return []
            return [ListSettingsChanged(command.settings, state.size)]
        case ChangeNumbers():
            return _change(command, state)
        case OpenImport():
            return _open(command, state)
        case PublishImport():
            return _publish(command, state)


def _create(command: CreateList, state: DoNotCallList) -> list[Event]:
    if not ID.fullmatch(command.list_id):
        raise Invalid("list_id", f"must match {ID.pattern}")
    check_settings(command.settings)
    if state.settings is None:
        return [ListCreated(command.list_id, command.settings)]
    if state.retired or command.settings != state.settings:
        raise Rejected("there is a list of that id")
    return []


def check_settings(settings: Settings) -> None:
    """Raise Invalid for the first setting that breaks a rule."""
    if not 0 < len(settings.name) <= MAX_NAME:
        raise Invalid("name", f"must have 1 to {MAX_NAME} characters")
    for position, purpose in enumerate(settings.purposes):
        check_purpose(purpose, f"purposes.{position}")
    for field, values in (("channels", settings.channels), ("purposes", settings.purposes)):
        if len(set(values)) != len(values):
            raise Invalid(field, "names one of them twice")
    if settings.max_age_days is not None and not 0 < settings.max_age_days <= MAX_AGE_DAYS:
        raise Invalid("max_age_days", f"must lie between 1 and {MAX_AGE_DAYS}")
    if settings.required and settings.max_age_days is None:
        raise Invalid("max_age_days", "must be set for a list that is required")


def _change(command: ChangeNumbers, state: DoNotCallList) -> list[Event]:
    _check_as_of(command.as_of, command.at, state)
    source = command.source or state.source
    as_of = state.as_of if command.as_of is None else command.as_of
    nothing = not command.added and not command.removed
    if nothing and (source, as_of) == (state.source, state.as_of):
        return []
    size = state.size + command.added - command.removed
    return [NumbersChanged(command.added, command.removed, size, source, as_of)]


def _open(command: OpenImport, state: DoNotCallList) -> list[Event]:
    if not ID.fullmatch(command.import_id):
        raise Invalid("import_id", f"must match {ID.pattern}")
    begun = Import(command.import_id, command.source, command.as_of)
    if begun == state.importing:
        return []
    if state.published == command.import_id:
        raise Rejected("the import is published")
    if state.importing is not None and state.importing.import_id == command.import_id:
        raise Rejected("the import was opened with another source or date")
    _check_as_of(command.as_of, command.at, state)
    return [ImportOpened(command.import_id, command.source, command.as_of, state.size)]


def _publish(command: PublishImport, state: DoNotCallList) -> list[Event]:
    if state.published == command.import_id:
        return []
    check_importing(command.import_id, state)
    assert state.importing is not None
    return [
        ImportPublished(
            command.import_id,
            command.added,
            command.removed,
            state.size + command.added - command.removed,
            state.importing.source,
            state.importing.as_of,
        )
    ]


def check_importing(import_id: str, state: DoNotCallList) -> None:
    """Raise Rejected unless this import is the open one."""
    if state.importing is None or state.importing.import_id != import_id:
        raise Rejected("the import is not open: another has been opened since, or none")


def _check_as_of(as_of: int | None, at: int, state: DoNotCallList) -> None:
    if as_of is None:
        return
    if as_of > at:
        raise Invalid("as_of", "must not lie in the future")
    if state.as_of is not None and as_of < state.as_of:
        raise Rejected("the list is of a later date already")


def evolve(state: DoNotCallList, event: Event) -> DoNotCallList:
    state = replace(state, version=state.version + 1)
    match event:
        case ListCreated() | ListSettingsChanged():
            return replace(state, settings=event.settings)
        case NumbersChanged():
            return replace(state, size=event.size, source=event.source, as_of=event.as_of)
        case ImportOpened():
            return replace(state, importing=Import(event.import_id, event.source, event.as_of))
        case ImportPublished():
            return replace(
                state,
                size=event.size,
                source=event.source,
                as_of=event.as_of,
                importing=None,
                published=event.import_id,
            )
        case ListRetired():
            return replace(state, retired=True, importing=None)


DECIDER: Decider[Command, DoNotCallList, Event] = Decider(
    initial=DoNotCallList(),
    decide=decide,
    evolve=evolve,
    events=(
        ListCreated,
        ListSettingsChanged,
        NumbersChanged,
        ImportOpened,
        ImportPublished,
        ListRetired,
    ),
)
