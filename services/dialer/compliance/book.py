"""The rulebook from its files: `rulebook/<jurisdiction>.yaml`, and what a client adds to it.

A file says what it is about, its version, and its rules, each of one kind:

    jurisdiction: us-fl
    version: 1
    countries: [US]
    regions: [US-FL]
    rules:
      - name: attempts-24-hours
        source: Fla. Stat. 501.616(6)(b)
        purposes: [sales, win-back]
        cap: {limit: 3, hours: 24, scope: person, per: subject, counts: attempts}

docs/subsystems/dialer-compliance.md has all kinds. Whatever changes gets another version, as that
is what attempts are recorded with.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import yaml

from eventkit.errors import InvalidMessage
from eventkit.publicholidays import public_holidays
from services.dialer.compliance import rules as r
from services.dialer.compliance.hours import HOUR, MINUTES_A_DAY, Intervals, Week
from services.dialer.compliance.place import zones_of_countries

RULEBOOK: Final = Path(__file__).parent / "rulebook"
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HOLIDAYS: Final = "holidays"
MAX_RULES: Final = 50
MAX_INTERVALS: Final = 12
MAX_DAYS: Final = 365
MAX_SOURCE: Final = 500
YEARS: Final = range(1900, 2101)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_DAY_KEY: Final = re.compile(r"[a-z-]{1,16}")
_INTERVAL: Final = re.compile(r"([01]\d|2[0-4]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")
_US_PER_DAY: Final = 24 * HOUR

Scope = Literal["number", "customer", "person"]
Per = Literal["campaign", "client", "centre", "subject"]


class CapSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Of the last `hours` or `days` (of 24 h each), or of a `calendar` day, week or month."""

    limit: int
    hours: int = 0
    days: int = 0
    calendar: Literal["", "day", "week", "month"] = ""
    scope: Scope = "person"
    per: Per = "client"
    counts: Literal["attempts", "conversations"] = "attempts"


class RestSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """For `hours` or `days` (of 24 h each), or for whole `calendar_days` after that one."""

    after: Literal["refused", "abandoned", "conversation", "attempt", "under-way"]
    hours: int = 0
    days: int = 0
    calendar_days: int = 0
    scope: Scope = "person"
    per: Per = "client"
    unless_agent_guaranteed: bool = False


class RuleSpec(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One of hours, cap, rest, consent, ring_seconds."""

    name: str
    source: str = ""
    purposes: list[str] = []
    modes: list[str] = []
    kinds: list[str] = []
    valid_from: date | None = None
    valid_until: date | None = None
    hours: dict[str, list[str]] | None = None
    cap: CapSpec | None = None
    rest: RestSpec | None = None
    consent: Literal["required"] | None = None
    ring_seconds: int | None = None


class BookFile(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    jurisdiction: str
    version: int
    rules: list[RuleSpec]
    title: str = ""
    countries: list[str] = []
    regions: list[str] = []
    fallback: bool = False
    calendars: dict[str, str] = {}


def load_rulebook(directory: Path = RULEBOOK) -> r.Rulebook:
    """All files of a directory. Raises InvalidMessage: the file and field, and what is wrong."""
    files = sorted(
        each for each in directory.glob("*.yaml") if not each.name.endswith(".tests.yaml")
    )
    if not files:
        raise InvalidMessage(str(directory), "has no rulebook")
    return r.Rulebook(tuple(load_jurisdiction(each) for each in files), holidays_of)


def load_jurisdiction(file: Path) -> r.Jurisdiction:
    """Raises InvalidMessage, with `<file name>: <field>`."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark else "its text"
        raise InvalidMessage(f"{file.name}: {where}", "is no YAML") from error
    try:
        found = parse_jurisdiction(content)
        if found.id != file.stem:
            raise InvalidMessage("jurisdiction", f"must be as the file is called, {file.stem}")
    except InvalidMessage as error:
        raise InvalidMessage(f"{file.name}: {error.field}", error.reason) from error
    return found


def parse_jurisdiction(content: Any) -> r.Jurisdiction:
    """Raises InvalidMessage."""
    book = _convert(content, BookFile)
    _check_name("jurisdiction", book.jurisdiction)
    if book.version < 1:
        raise InvalidMessage("version", "the first is 1")
    for country in book.countries:
        if country not in zones_of_countries():
            raise InvalidMessage("countries", f"{country} is no ISO 3166-1 code")
    for region in [*book.regions, *book.calendars]:
        if region[:2] not in book.countries or region[2:3] != "-":
            raise InvalidMessage("regions", f"{region} is in none of its countries")
    for region, subdivision in book.calendars.items():
        public_holidays(region[:2], subdivision, [2026], f"calendars.{region}")
    if book.fallback and (book.countries or book.regions):
        raise InvalidMessage("fallback", "has no countries: it is for those without rules")
    return r.Jurisdiction(
        book.jurisdiction,
        book.version,
        _rules(book.rules, "rules"),
        tuple(book.countries),
        tuple(book.regions),
        book.fallback,
        tuple(book.calendars.items()),
    )


def parse_own(owner: str, version: int, content: Any) -> r.Jurisdiction:
    """Rules that a client (or campaign) adds, in the format of a file's `rules`, for everywhere:
    their names begin with the owner, `client.evening`. As every rule must allow a call, none of
    them can make it less strict. Raises InvalidMessage."""
    specs = _convert(content, list[RuleSpec], "rules")
    return r.Jurisdiction(owner, version, _rules(specs, "rules"))


def campaign_hours(week: Sequence[Intervals], version: int) -> tuple[r.Jurisdiction, ...]:
    """A campaign's own hours as a rule, `campaign.hours`. week: Monday to Sunday; empty: none."""
    if not week:
        return ()
    hours = r.Hours(Week(tuple(week)))
    return (r.Jurisdiction("campaign", version, (r.Rule("hours", hours),)),)


@cache
def holidays_of(country: str, subdivision: str, year: int) -> frozenset[date]:
    """Public holidays; none where nobody has written them down."""
    try:
        return frozenset(public_holidays(country, subdivision, [year]))
    except InvalidMessage:
        return frozenset()


# Rules.


def _rules(specs: Sequence[RuleSpec], field: str) -> tuple[r.Rule, ...]:
    if len(specs) > MAX_RULES:
        raise InvalidMessage(field, f"more than {MAX_RULES}")
    names: set[str] = set()
    found = []
    for number, spec in enumerate(specs):
        where = f"{field}[{number}]"
        found.append(_rule(spec, where))
        if spec.name in names:
            raise InvalidMessage(f"{where}.name", "is another rule's")
        names.add(spec.name)
    return tuple(found)


def _rule(spec: RuleSpec, where: str) -> r.Rule:
    _check_name(f"{where}.name", spec.name)
    for name, known in (("purposes", None), ("modes", r.MODES), ("kinds", r.KINDS)):
        if len(getattr(spec, name)) > MAX_RULES:
            raise InvalidMessage(f"{where}.{name}", f"more than {MAX_RULES}")
        for value in getattr(spec, name):
            if known is None:
                # A client's policy may have purposes of its own.
                _check_name(f"{where}.{name}", value)
            elif value not in known:
                raise InvalidMessage(f"{where}.{name}", f"must be of {', '.join(known)}")
    for name in ("valid_from", "valid_until"):
        day = getattr(spec, name)
        if day is not None and day.year not in YEARS:
            raise InvalidMessage(f"{where}.{name}", "must lie between 1900 and 2100")
    if len(spec.source) > MAX_SOURCE or not spec.source.isprintable():
        raise InvalidMessage(
            f"{where}.source", f"must be a line of at most {MAX_SOURCE} characters"
        )
    if spec.valid_from and spec.valid_until and spec.valid_until < spec.valid_from:
        raise InvalidMessage(f"{where}.valid_until", "lies before valid_from")
    return r.Rule(
        spec.name,
        _what(spec, where),
        tuple(spec.purposes),
        tuple(spec.modes),
        tuple(spec.kinds),
        spec.valid_from,
        spec.valid_until,
        spec.source,
    )


def _what(spec: RuleSpec, where: str) -> r.What:
    said = [
        name
        for name in ("hours", "cap", "rest", "consent", "ring_seconds")
        if getattr(spec, name) is not None
    ]
    if len(said) != 1:
        raise InvalidMessage(where, "must be one of hours, cap, rest, consent, ring_seconds")
    if spec.hours is not None:
        return _hours(spec.hours, f"{where}.hours")
    if spec.cap is not None:
        return _cap(spec.cap, f"{where}.cap")
    if spec.rest is not None:
        return _rest(spec.rest, f"{where}.rest")
    if spec.ring_seconds is not None:
        if not 1 <= spec.ring_seconds <= 120:
            raise InvalidMessage(f"{where}.ring_seconds", "must be 1 to 120")
        return r.Ring(spec.ring_seconds)
    return r.Consent()


def _hours(spec: Mapping[str, Sequence[str]], where: str) -> r.Hours:
    """Days or ranges of them (`mon-fri`), each once; a day that is not named is closed."""
    days: dict[int, Intervals] = {}
    holidays: Intervals | None = None
    for key, texts in spec.items():
        if not _DAY_KEY.fullmatch(key):
            raise InvalidMessage(where, "has what is no day")
        intervals = _intervals(texts, f"{where}.{key}")
        if key == HOLIDAYS:
            holidays = intervals
            continue
        first, _, last = key.partition("-")
        if first not in DAYS or (last or first) not in DAYS[DAYS.index(first) :]:
            raise InvalidMessage(f"{where}.{key}", "must be like mon, mon-fri, or holidays")
        for day in range(DAYS.index(first), DAYS.index(last or first) + 1):
            if day in days:
                raise InvalidMessage(f"{where}.{key}", f"{DAYS[day]} has hours already")
            days[day] = intervals
    if not days:
        raise InvalidMessage(where, "has no day of the week")
    return r.Hours(Week(tuple(days.get(day, ()) for day in range(7)), holidays))


def _intervals(texts: Sequence[str], where: str) -> Intervals:
    if len(texts) > MAX_INTERVALS:
        raise InvalidMessage(where, f"more than {MAX_INTERVALS} intervals")
    found: list[tuple[int, int]] = []
    for text in texts:
        match = _INTERVAL.fullmatch(text)
        if not match:
            raise InvalidMessage(where, "must be like 10:00-13:00")
        hours = [int(each) for each in match.groups()]
        opens, closes = hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]
        if not opens < closes <= MINUTES_A_DAY:
            raise InvalidMessage(where, "must end after it begins, at 24:00 at the latest")
        if found and opens < found[-1][1]:
            raise InvalidMessage(where, "must be in order, and apart")
        found.append((opens, closes))
    return tuple(found)


def _cap(spec: CapSpec, where: str) -> r.Cap:
    if not 0 <= spec.limit <= 1000:
        raise InvalidMessage(f"{where}.limit", "must be 0 to 1000")
    length, words = _length(where, hours=spec.hours, days=spec.days, calendar=spec.calendar)
    return r.Cap(
        spec.limit, length, spec.calendar, spec.scope, spec.per, spec.counts, f"in {words}"
    )


def _rest(spec: RestSpec, where: str) -> r.Rest:
    length, words = _length(
        where, hours=spec.hours, days=spec.days, calendar_days=spec.calendar_days
    )
    return r.Rest(
        spec.after,
        length,
        spec.calendar_days,
        spec.scope,
        spec.per,
        spec.unless_agent_guaranteed,
        words,
    )


def _length(
    where: str, *, hours: int = 0, days: int = 0, calendar: str = "", calendar_days: int = 0
) -> tuple[int, str]:
    """Microseconds, 0 where the calendar says; and in words."""
    given = {"hours": hours, "days": days, "calendar_days": calendar_days}
    for name, value in given.items():
        if not 0 <= value <= MAX_DAYS * (24 if name == "hours" else 1):
            raise InvalidMessage(f"{where}.{name}", f"must be at most {MAX_DAYS} days")
    if sum(map(bool, (hours, days, calendar, calendar_days))) != 1:
        raise InvalidMessage(where, "must say one length")
    if calendar:
        return 0, f"a {calendar}"
    if calendar_days:
        return 0, f"{calendar_days} whole days"
    return hours * HOUR + days * _US_PER_DAY, f"{hours} h" if hours else f"{days} days"


def _check_name(field: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidMessage(field, f"must match {_NAME.pattern}")


def _convert(content: Any, kind: Any, within: str = "") -> Any:
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        field = f"{within}{path.rstrip('`')}".lstrip(".") or "its content"
        raise InvalidMessage(field, reason[:1].lower() + reason[1:]) from error
