"""Events as rows: Kafka records -> typed columns for ClickHouse, and the records that are none.

The columns follow from the contract: the envelope's fields and the event's own, each under its
name (a Duration as `<name>_us`, in microseconds; a Timestamp as microseconds since 1970; an enum
as its value's name, `CHANNEL_VOICE` as `voice`; a message as a column for each of its fields,
`about_kind` and `about_id`; repeated messages as a list of tuples, their fields in the order of
their numbers; skills with levels as a map; what is `_OPTIONAL` and not set as NULL). A new field
needs a migration and no code.

This is the inner loop of loading, where work per event is what costs. So values are read, checked
and converted a column at a time, and only when a column fails its check is the culprit looked for.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import available_timezones

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from relais.agents.v1.events_pb2 import AgentEvent
from relais.attempts.v1.events_pb2 import AttemptEvent
from relais.calls.v1.events_pb2 import CallEvent
from relais.campaigns.v1.events_pb2 import CampaignEvent
from relais.clients.v1.events_pb2 import ClientEvent
from relais.complaints.v1.events_pb2 import ComplaintEvent
from relais.customers.v1.events_pb2 import CustomerEvent
from relais.event.v1.meta_pb2 import EventMeta
from relais.orders.v1.events_pb2 import OrderEvent
from relais.pools.v1.events_pb2 import PoolEvent

from eventkit.errors import InvalidMessage
from eventkit.records import Bad, Record

CENTRE: Final = "centre"
"""The client of events that concern no single one; needs no registration."""
UNKNOWN: Final = "Unknown"
"""The event type of a body that these contracts do not know: kept as received, in `payload`."""
CHUNK: Final = 500
"""Messages that are decoded together. These and their columns stay in the processor's cache, which
makes decoding twice as fast as a column over a whole batch."""

DAY_US: Final = 86_400_000_000
MAX_DURATION_US: Final = 366 * DAY_US
CLIENT_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")
HELP_ID: Final = re.compile(rf"{ID.pattern}~\d{{1,9}}", re.ASCII)
"""A request for help: its call's id and a number."""
UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
DECIMAL: Final = re.compile(r"-?\d{1,30}(\.\d{1,30})?", re.ASCII)
DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)

_REQUIRED: Final = {
    "client_id",
    "occurred_at",
    "arrived_at",
    "relais.attempts.v1.Origin.campaign_id",
    "relais.attempts.v1.Origin.lead_id",
    "relais.attempts.v1.Origin.started_at",
    "relais.clients.v1.ClientRegistered.time_zone",
    "relais.orders.v1.Origin.product_id",
}
_REQUIRED_WITHIN: Final = {"relais.campaigns.v1.Lead.lead_id"}
"""What must be there where the message that has it is needed."""
_DECIMALS: Final = {
    "relais.campaigns.v1.Costs.per_agent_hour",
    "relais.campaigns.v1.Costs.per_attempt",
    "relais.campaigns.v1.Costs.per_minute",
    "relais.campaigns.v1.Goals.budget",
    "relais.complaints.v1.ComplaintRemedied.amount",
    "relais.customers.v1.SurveyQuestionAnswered.number",
    "relais.orders.v1.Money.amount",
    "relais.orders.v1.PriceLine.quantity",
}
_DAYS: Final = {
    "relais.customers.v1.OfferRefused.not_before",
    "relais.customers.v1.SurveyQuestionAnswered.date",
}
_PROMISED: Final = {
    "relais.agents.v1.AgentConnectionLost.until",
    "relais.attempts.v1.AttemptStarted.dial_before",
    "relais.calls.v1.CallCallbackFailed.again_at",
    "relais.campaigns.v1.CampaignModeLowered.period_ends_at",
    "relais.campaigns.v1.LeadAdded.due_at",
    "relais.campaigns.v1.LeadCallbackEscalated.until_at",
    "relais.campaigns.v1.LeadCallbackPromised.from_at",
    "relais.campaigns.v1.LeadCallbackPromised.until_at",
    "relais.campaigns.v1.LeadHeldBack.until",
    "relais.campaigns.v1.LeadPreviewed.expires_at",
    "relais.campaigns.v1.LeadReopened.due_at",
    "relais.campaigns.v1.LeadScheduled.due_at",
    "relais.complaints.v1.Due.first_response",
    "relais.complaints.v1.Due.resolution",
    "relais.customers.v1.ConsentGiven.expires_at",
    "relais.orders.v1.OrderAddressGiven.expires_at",
    "relais.orders.v1.OrderAnswersSaved.expires_at",
    "relais.orders.v1.OrderDrafted.expires_at",
    "relais.orders.v1.OrderFulfilled.after_sale_until",
    "relais.orders.v1.Visit.ends_at",
    "relais.orders.v1.Visit.starts_at",
}
"""Times that may lie years ahead."""
_FROM_ZERO: Final = {"relais.campaigns.v1.RuleUse.version"}
"""Versions of which 0 is one: what holds before anybody has published a version of it."""
_LONG: Final = {
    "relais.complaints.v1.ComplaintClosed.first_response_took",
    "relais.complaints.v1.ComplaintClosed.resolution_took",
}
"""Durations that may exceed a year: complaints from another system were open for as long."""
_OPTIONAL: Final = {
    "relais.attempts.v1.AttemptAbandoned.waited",
    "relais.attempts.v1.AttemptConnected.waited",
    "relais.attempts.v1.AttemptEnded.waited",
    "relais.calls.v1.CallCallbackOffered.estimated_wait",
    "relais.calls.v1.CallQueued.estimated_wait",
}
"""Durations that may be unknown, which is not the same as none at all."""
LAST_US: Final = 10_413_791_999_999_999
"""The last microsecond of 2299, which is the last of DateTime64. What is promised for longer ends
there."""
LAST_OF_PROTOBUF_US: Final = 253_402_300_799_999_999

# Descriptors are Any here: the stubs of protobuf's two implementations contradict each other.
Column = list[Any]
Errors = dict[int, InvalidMessage]
"""The first fault of each row that has one, by the row's place in its column."""


@dataclass
class Rows:
    """Decoded records. Value i of every column belongs to records[i]; `bad` ones have no row."""

    records: list[Record] = field(default_factory=list)
    columns: dict[str, Column] = field(default_factory=dict)
    bad: list[Bad] = field(default_factory=list)

    def refuse(self, errors: Errors) -> None:
        """Move these rows to `bad`."""
        if not errors:
            return
        self.bad += [Bad(self.records[row], error) for row, error in sorted(errors.items())]
        keep = [row for row in range(len(self.records)) if row not in errors]
        self.records = [self.records[row] for row in keep]
        self.columns = {name: [col[row] for row in keep] for name, col in self.columns.items()}

    def clients(self) -> set[str]:
        """The clients that have rows, but for the centre itself."""
        return set(self.columns.get("client_id", ())) - {CENTRE}

    def refuse_clients(self, unknown: Set[str]) -> None:
        """Move the rows of these clients to `bad`."""
        self.refuse(
            {
                row: InvalidMessage("client_id", f"{client!r} is not registered")
                for row, client in enumerate(self.columns["client_id"])
                if client in unknown
            }
            if unknown
            else {}
        )


class Limits:
    """The latest time that each of these records may name: a day after the record's own timestamp.

    Not a day after the wall clock's time: the same record must be judged the same in a replay.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records
        self.lowest = min([record.timestamp for record in records]) * 1000 + DAY_US

    def __getitem__(self, row: int) -> int:
        return self._records[row].timestamp * 1000 + DAY_US

    def of(self, rows: Sequence[int]) -> "Limits":
        """The limits of these rows, in this order."""
        return Limits([self._records[row] for row in rows])


Convert = Callable[[Column, Limits, Errors], Column]


@dataclass(frozen=True)
class _Field:
    """A field of the envelope, of an event, or of the message itself.

    within      "meta", the name of the event in the message's oneof, or ""
    default     what rows have whose event has no such field
    convert     values as read -> the column; adds to Errors
    """

    within: str
    column: str
    default: Any
    pick: Callable[[Any], Any]
    convert: Convert


class _Kind:
    """One event type: its fields, read from many messages at once."""

    def __init__(self, event_type: str, fields: Sequence[_Field]) -> None:
        self.event_type = event_type
        self.fields = fields
        self._within = {one.within: attrgetter(one.within) for one in fields if one.within}

    def read(self, messages: list[Any], records: list[Record], into: Rows) -> None:
        """Add the rows of these messages, and those that cannot be rows to `bad`."""
        errors: Errors = {}
        limits = Limits(records)
        chunk = Rows(records)
        parts = {"": messages}
        for name, pick in self._within.items():
            parts[name] = [*map(pick, messages)]
        for one in self.fields:
            values = [*map(one.pick, parts[one.within])]
            chunk.columns[one.column] = one.convert(values, limits, errors)
        chunk.refuse(errors)
        into.records += chunk.records
        into.bad += chunk.bad
        for name, column in chunk.columns.items():
            into.columns.setdefault(name, []).extend(column)


class Table:
    """How the messages of one topic become rows of one table.

    ids: the message's own fields, beside the envelope and the event.
    needed: which events must have such an id; without a word, each must.
    """

    def __init__(
        self,
        topic: str,
        name: str,
        message: type[Message],
        ids: Sequence[str],
        needed: Mapping[str, Set[str]] = MappingProxyType({}),
    ) -> None:
        self.topic = topic
        self.name = name
        self._parse: Callable[[bytes], Any] = message.FromString
        described: Any = message.DESCRIPTOR
        # stream_id says nothing that the other ids do not say.
        envelope = [
            column
            for one in EventMeta.DESCRIPTOR.fields
            if one.name != "stream_id"
            for column in _fields(one, "meta")
        ]

        def common(kind: str) -> list[_Field]:
            return envelope + [
                column
                for id_ in ids
                for column in _fields(
                    described.fields_by_name[id_], "", kind in needed.get(id_, {kind})
                )
            ]

        self._kinds = {"": _Kind(UNKNOWN, common(""))}
        for body in described.oneofs_by_name["body"].fields:
            own = [column for one in body.message_type.fields for column in _fields(one, body.name)]
            self._kinds[body.name] = _Kind(body.message_type.name, common(body.name) + own)
        self._defaults = {
            one.column: one.default for kind in self._kinds.values() for one in kind.fields
        }

    @property
    def columns(self) -> set[str]:
        """Every column that rows can have."""
        return {*self._defaults, "event_type", "payload", "kafka_partition", "kafka_offset"}

    def decode(self, records: Sequence[Record]) -> Rows:
        """The rows of one partition's records, those of one event type together.

        Columns in which all of these records have the default are left out.
        """
        bad: list[Bad] = []
        parts: dict[str, Rows] = {}
        for start in range(0, len(records), CHUNK):
            groups: dict[str, tuple[list[Any], list[Record]]] = {}
            for message, record in self._messages(records[start : start + CHUNK], bad):
                kind = message.WhichOneof("body") or ""
                if kind not in groups:
                    groups[kind] = ([], [])
                group = groups[kind]
                group[0].append(message)
                group[1].append(record)
            for kind, group in groups.items():
                self._kinds[kind].read(*group, parts.setdefault(kind, Rows()))
        return self._join(parts, bad)

    def _messages(self, records: Sequence[Record], bad: list[Bad]) -> Iterable[tuple[Any, Record]]:
        parse = self._parse
        try:
            return zip([parse(record.value) for record in records], records, strict=True)  # type: ignore[arg-type]
        except (DecodeError, TypeError):
            return self._one_by_one(records, bad)

    def _one_by_one(
        self, records: Sequence[Record], bad: list[Bad]
    ) -> Iterator[tuple[Any, Record]]:
        for record in records:
            try:
                yield parse(self._parse, record), record
            except InvalidMessage as error:
                bad.append(Bad(record, error))

    def _join(self, parts: Mapping[str, Rows], bad: list[Bad]) -> Rows:
        rows = Rows(bad=bad)
        for kind, part in parts.items():
            bad += part.bad
            rows.records += part.records
            part.columns["event_type"] = [self._kinds[kind].event_type] * len(part.records)
            if not kind:
                part.columns["payload"] = [record.value for record in part.records]
        # What is not sent costs nothing: columns that hold nothing but their default are left out.
        filled = {
            name
            for part in parts.values()
            for name, column in part.columns.items()
            if any(column) or (self._defaults.get(name, "") is None and 0 in column)
        }
        for name in sorted(filled):
            column = rows.columns[name] = []
            for part in parts.values():
                default = [self._defaults.get(name, "")]
                column += part.columns.get(name, default * len(part.records))
        rows.columns["kafka_partition"] = [record.partition for record in rows.records]
        rows.columns["kafka_offset"] = [record.offset for record in rows.records]
        return rows


def parse(decode: Callable[[bytes], Any], record: Record) -> Any:
    """The message in a record. Raises InvalidMessage."""
    if record.value is None:
        raise InvalidMessage("", "the record has no value")
    try:
        return decode(record.value)
    except DecodeError as error:
        raise InvalidMessage("", f"cannot be decoded: {error}") from None


def _fields(
    described: Any, within: str, required: bool = False, path: str = ""
) -> Iterator[_Field]:
    """How a field is read, by its type; and by its name where the name says what it must be.

    path: of the message that has the field, within the event; its fields are columns of their own.
    """
    message = described.message_type
    if message is None or message.file.package == "google.protobuf" or described.is_repeated:
        yield _field(described, within, required, path)
        return
    for one in message.fields:
        needed = required and one.full_name in _REQUIRED_WITHIN
        yield from _fields(one, within, needed, f"{path}{described.name}.")


def _field(described: Any, within: str, required: bool, path: str) -> _Field:
    name: str = path.replace(".", "_") + described.name
    column = name
    default: Any = 0
    convert: Convert = _as_it_is
    message = described.message_type.full_name if described.message_type else ""
    pick: Callable[[Any], Any] = attrgetter(path + described.name)
    required = required or not _REQUIRED.isdisjoint((described.name, described.full_name))
    if message == "google.protobuf.Duration":
        longest = LAST_US if described.full_name in _LONG else MAX_DURATION_US
        column, convert = f"{name}_us", partial(_durations, name, longest)
        if described.full_name in _OPTIONAL:
            default, pick, convert = None, partial(_if_set, described.name), _known(convert)
    elif described.full_name in _PROMISED:
        convert = partial(_promises, name)
    elif message == "google.protobuf.Timestamp":
        convert = partial(_times, name, required)
    elif message and described.message_type.GetOptions().map_entry:
        default, convert = {}, _maps
    elif message and (level := _level(described.message_type)):
        default, convert = {}, partial(_levels, attrgetter(level))
    elif message:
        default, convert = [], partial(_tuples, name, _parts(described.message_type))
    elif described.is_repeated:
        default, convert = [], _lists
    elif described.enum_type is not None:
        default, convert = "", partial(_enum, name, enum_names(described.enum_type))
    elif described.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        default = ""
        if name == "event_id":  # the envelope's
            column, convert = "event_id_text", _event_ids
        elif name == "time_zone":
            convert = partial(_zones, required)
        elif name == "client_id":
            convert = partial(_ids, name, CLIENT_ID, required)
        elif described.full_name in _DECIMALS:
            convert = partial(_texts, name, "decimal", DECIMAL.fullmatch)
        elif described.full_name in _DAYS:
            convert = partial(_texts, name, "day", _day)
        elif _is_id(described):
            pattern = HELP_ID if described.name == "help_id" else ID
            convert = partial(_ids, name, pattern, required)
    elif name == "version" and described.full_name not in _FROM_ZERO:
        convert = _versions
    return _Field(within, column, default, pick, convert)


def _level(message: Any) -> str:
    """The level's name, of a message that is a skill and a level; else nothing."""
    names = [one.name for one in message.fields]
    return names[1] if len(names) == 2 and names[0] == "skill" else ""


def _if_set(name: str, message: Any) -> Any:
    return getattr(message, name) if message.HasField(name) else None


def _is_id(described: Any) -> bool:
    """Whether a text is an id that Relais has given. The envelope's ids have forms of their own;
    a Subject's `id` is what others call their orders and products."""
    name: str = described.name
    return described.containing_type != EventMeta.DESCRIPTOR and (
        name == "line" or name.endswith("_id")
    )


def enum_names(enum: Any) -> dict[int, str]:
    """number -> name in lower case, without the enum's prefix; empty for what is unspecified."""
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return {
        value.number: value.name.removeprefix(prefix).lower() if value.number else ""
        for value in enum.values
    }


def _as_it_is(values: Column, _: Limits, errors: Errors) -> Column:
    return values


def micros(value: Any) -> int:
    """A Timestamp or Duration in microseconds."""
    return int(value.seconds * 1_000_000 + value.nanos // 1000)


def _all_micros(values: Column) -> list[int]:
    return [value.seconds * 1_000_000 + value.nanos // 1000 for value in values]


def _times(name: str, required: bool, values: Column, limits: Limits, errors: Errors) -> Column:
    times = _all_micros(values)
    if min(times) < required or max(times) > limits.lowest:
        for row, time in enumerate(times):
            if fault := time_fault(time, limits[row], required):
                errors.setdefault(row, InvalidMessage(name, fault))
    return times


def time_fault(time: int, limit: int, required: bool) -> str:
    """What is wrong with a time (microseconds, 0 where it was not set), or nothing."""
    if time == 0 and required:
        return "missing"
    if time < 0:
        return "before 1970"
    return "more than a day after the record's own timestamp" if time > limit else ""


def _promises(name: str, values: Column, _: Limits, errors: Errors) -> Column:
    times = _all_micros(values)
    if min(times) < 0 or max(times) > LAST_US:
        for row, time in enumerate(times):
            if not 0 <= time <= LAST_OF_PROTOBUF_US:
                fault = "before 1970" if time < 0 else "after the year 9999"
                errors.setdefault(row, InvalidMessage(name, fault))
        times = [min(time, LAST_US) for time in times]
    return times


def _durations(name: str, longest: int, values: Column, _: Limits, errors: Errors) -> Column:
    durations = _all_micros(values)
    if min(durations) < 0 or max(durations) > longest:
        for row, duration in enumerate(durations):
            if fault := duration_fault(duration, longest):
                errors.setdefault(row, InvalidMessage(name, fault))
    return durations


def duration_fault(duration: int, longest: int = MAX_DURATION_US) -> str:
    """What is wrong with a duration (microseconds), or nothing."""
    if 0 <= duration <= longest:
        return ""
    years = longest // MAX_DURATION_US
    limit = "a year" if years == 1 else f"{years} years"
    return f"{duration / 1e6} s is not between nothing and {limit}"


def _known(convert: Convert) -> Convert:
    """The same for values of which some are None, and stay so."""

    def convert_known(values: Column, limits: Limits, errors: Errors) -> Column:
        rows = [row for row, value in enumerate(values) if value is not None]
        if not rows:
            return values
        faults: Errors = {}
        known = iter(convert([values[row] for row in rows], limits.of(rows), faults))
        for place, fault in faults.items():
            errors.setdefault(rows[place], fault)
        return [None if value is None else next(known) for value in values]

    return convert_known


def _versions(values: Column, _: Limits, errors: Errors) -> Column:
    if min(values) < 1:
        for row, version in enumerate(values):
            if version < 1:
                errors.setdefault(row, InvalidMessage("version", f"{version} is less than 1"))
    return values


def _enum(name: str, names: dict[int, str], values: Column, _: Limits, errors: Errors) -> Column:
    if not set(values) <= names.keys():
        for row, value in enumerate(values):
            if value not in names:
                errors.setdefault(row, InvalidMessage(name, f"{value} has no meaning"))
    return [*map(names.get, values)]


def _ids(
    name: str,
    pattern: re.Pattern[str],
    required: bool,
    values: Column,
    _: Limits,
    errors: Errors,
) -> Column:
    wrong = {text for text in set(values) if not pattern.fullmatch(text)}
    if not required:
        wrong.discard("")
    for row, text in enumerate(values) if wrong else ():
        if text in wrong:
            errors.setdefault(row, InvalidMessage(name, id_fault(text, pattern)))
    return values


def id_fault(text: str, pattern: re.Pattern[str]) -> str:
    """What is wrong with an id, or nothing. Never what it was: it may be a name."""
    if pattern.fullmatch(text):
        return ""
    return "is no id" if text else "missing"


def _levels(level: Callable[[Any], int], values: Column, limits: Limits, errors: Errors) -> Column:
    """Skills with levels -> {skill: level}."""
    levels = [{one.skill: level(one) for one in value} if value else {} for value in values]
    for row, one in enumerate(levels) if any(levels) else ():
        if wrong := [skill for skill in one if not ID.fullmatch(skill)]:
            errors.setdefault(row, InvalidMessage("skill", id_fault(wrong[0], ID)))
    return levels


def _maps(values: Column, _: Limits, errors: Errors) -> Column:
    return [*map(dict, values)]


def _parts(message: Any) -> list[_Field]:
    """The fields of a message that is a row's several times, those of messages within as well."""
    return [one for field in message.fields for one in _fields(field, "")]


def _tuples(
    name: str, parts: Sequence[_Field], values: Column, limits: Limits, errors: Errors
) -> Column:
    """Repeated messages -> lists of tuples; each part is checked as it would be on its own."""
    rows = [row for row, value in enumerate(values) for _ in value]
    if not rows:
        return [[] for _ in values]
    ones = [one for value in values for one in value]
    faults: Errors = {}
    columns = [part.convert([*map(part.pick, ones)], limits.of(rows), faults) for part in parts]
    for place, fault in sorted(faults.items()):
        errors.setdefault(rows[place], InvalidMessage(f"{name}_{fault.field}", fault.reason))
    tuples = zip(*columns, strict=True)
    return [[next(tuples) for _ in value] for value in values]


def _lists(values: Column, _: Limits, errors: Errors) -> Column:
    return [*map(list, values)]


def _texts(
    name: str,
    what: str,
    fits: Callable[[str], object],
    values: Column,
    _: Limits,
    errors: Errors,
) -> Column:
    """Texts that are empty or of one form. What they were is not told: it may be personal."""
    for row, text in enumerate(values) if any(values) else ():
        if text and not fits(text):
            errors.setdefault(row, InvalidMessage(name, f"is no {what}"))
    return values


def _day(text: str) -> bool:
    """Whether the text is a day of the calendar, YYYY-MM-DD."""
    try:
        return bool(DAY.fullmatch(text) and date.fromisoformat(text))
    except ValueError:
        return False


def _zones(required: bool, values: Column, _: Limits, errors: Errors) -> Column:
    wrong = set(values) - available_timezones()
    if not required:
        wrong.discard("")
    for row, zone in enumerate(values) if wrong else ():
        if zone in wrong:
            errors.setdefault(row, InvalidMessage("time_zone", f"{zone[:64]!r} is no time zone"))
    return values


def _event_ids(values: Column, _: Limits, errors: Errors) -> Column:
    if not _are_uuids(values):
        for row, text in enumerate(values):
            if not UUID.fullmatch(text):
                fault = f"{text[:64]!r} is no UUID" if text else "missing"
                errors.setdefault(row, InvalidMessage("event_id", fault))
    return values


def _are_uuids(texts: list[str]) -> bool:
    """All at once: 36 characters each, hyphens where they belong, otherwise hexadecimal digits."""
    joined = "".join(texts)
    if set(map(len, texts)) != {36}:
        return False
    if any(joined[place::36].count("-") != len(texts) for place in (8, 13, 18, 23)):
        return False
    try:
        return len(bytes.fromhex(joined.replace("-", ""))) == 16 * len(texts)
    except ValueError:
        return False


CLIENT_EVENTS: Final = Table("client-events", "client_events", ClientEvent, ())
CALL_EVENTS: Final = Table("call-events", "call_events", CallEvent, ("call_id",))
AGENT_EVENTS: Final = Table(
    "agent-events", "agent_events", AgentEvent, ("agent_id", "pool_id"), {"pool_id": set()}
)
CUSTOMER_EVENTS: Final = Table(
    "customer-events",
    "customer_events",
    CustomerEvent,
    ("customer_id", "call_id"),
    {
        "customer_id": {"registered", "corrected", "merged", "unmerged", "erased"},
        "call_id": {
            "call_attributed",
            "call_noted",
            "call_classified",
            "call_dispositioned",
            "offer_accepted",
            "offer_refused",
            "article_helped",
        },
    },
)
COMPLAINT_EVENTS: Final = Table(
    "complaint-events", "complaint_events", ComplaintEvent, ("complaint_id",)
)
ORDER_EVENTS: Final = Table("order-events", "order_events", OrderEvent, ("order_id", "origin"))
POOL_EVENTS: Final = Table("pool-events", "pool_events", PoolEvent, ("pool_id",))
CAMPAIGN_EVENTS: Final = Table(
    "campaign-events",
    "campaign_events",
    CampaignEvent,
    ("campaign_id", "lead"),
    {
        "lead": {
            body.name
            for body in CampaignEvent.DESCRIPTOR.oneofs_by_name["body"].fields
            if body.name.startswith("lead_")
        }
    },
)
ATTEMPT_EVENTS: Final = Table(
    "attempt-events", "attempt_events", AttemptEvent, ("attempt_id", "origin")
)
TABLES: Final[Mapping[str, Table]] = {
    table.topic: table
    for table in (
        CLIENT_EVENTS,
        CALL_EVENTS,
        AGENT_EVENTS,
        CUSTOMER_EVENTS,
        COMPLAINT_EVENTS,
        ORDER_EVENTS,
        POOL_EVENTS,
        CAMPAIGN_EVENTS,
        ATTEMPT_EVENTS,
    )
}


def registered_client(record: Record) -> str:
    """The client that a record of client-events registers. Raises InvalidMessage."""
    rows = CLIENT_EVENTS.decode([record])
    for bad in rows.bad:
        raise bad.error
    if rows.columns["event_type"] != ["ClientRegistered"]:
        raise InvalidMessage("body", "registers no client")
    client: str = rows.columns["client_id"][0]
    return client
