"""May this number be dialled at this moment? Pure: what was dialled before, the rules and the time
come in. docs/subsystems/dialer-compliance.md

A rule is data. Each can say, for any moment, the first one from then on at which it allows the
call; together they allow it where they agree. So `until` is found: the first moment, not before the
one that was asked for, to which every rule says "now".

Times are microseconds since 1970, UTC.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache, partial
from itertools import islice

from services.dialer.compliance.hours import (
    DAY,
    HORIZON_DAYS,
    Week,
    local_day,
    midnight,
    next_open,
    open_spans,
)
from services.dialer.compliance.ruleuse import RuleUse

PURPOSES = ("information", "survey", "sales", "win-back", "payment-reminder")
MODES = ("message", "preview", "progressive", "power", "predictive")
KINDS = ("mobile", "fixed", "other")
GUARANTEED = frozenset({"preview", "progressive"})
"""Modes with an agent for every call before it is dialled."""

Holidays = Callable[[str, str, int], frozenset[date]]
"""(country, subdivision or "", year) -> the days on which it is closed."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a called telephone may be.

    country  ISO 3166-1, "" unknown. region: ISO 3166-2 (`US-FL`), "" anywhere in the country.
    zones    IANA time zones that it may lie in; none: nobody knows, so no hour is allowed.
    """

    country: str
    region: str = ""
    zones: tuple[str, ...] = ()


# Rules.


@dataclass(frozen=True, slots=True)
class Hours:
    """Calls are placed within these hours only, in every zone of the place."""

    week: Week


@dataclass(frozen=True, slots=True)
class Cap:
    """At most `limit` calls in any period that ends with the next one.

    period_us  its length; of the calendar where 0: `calendar` is `day`, `week` or `month`
    scope      `number`, `customer`, or `person`: either of the two is the same
    per        only those of the same `campaign`, `client` or `subject`; `centre`: all of them
    counts     `attempts`, or `conversations` with an agent
    length     the period in words
    """

    limit: int
    period_us: int
    calendar: str
    scope: str
    per: str
    counts: str
    length: str


@dataclass(frozen=True, slots=True)
class Rest:
    """None for a while after something: `refused`, `abandoned`, `conversation`, `attempt`, or
    `under-way`, which is one that has not ended yet.

    rest_us    since then; where 0: `days` whole days on the wall after that day
    unless_agent_guaranteed   it does not hold where an agent is free for the call beforehand
    length     of the rest, in words
    """

    after: str
    rest_us: int
    days: int
    scope: str
    per: str
    unless_agent_guaranteed: bool
    length: str


@dataclass(frozen=True, slots=True)
class Consent:
    """Only with prior consent on record."""


@dataclass(frozen=True, slots=True)
class Ring:
    """Nobody hangs up before it has rung so long."""

    seconds: int


What = Hours | Cap | Rest | Consent | Ring


@dataclass(frozen=True, slots=True)
class Rule:
    """purposes, modes, kinds: what it is about; empty: all. valid_from: its first day on the wall
    of the place, valid_until: its last. source: the law's or the house's, for people."""

    name: str
    what: What
    purposes: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    valid_from: date | None = None
    valid_until: date | None = None
    source: str = ""


@dataclass(frozen=True, eq=False)
class Jurisdiction:
    """Rules of one place, or of one who may set some.

    countries     where they hold; none: everywhere
    regions       parts of these countries that they hold in; none: all
    fallback      they hold where no other jurisdiction has the country
    calendars     (region, subdivision whose holidays it keeps beside the country's); where the
                  region is not known, all of them are kept
    """

    id: str
    version: int
    rules: tuple[Rule, ...]
    countries: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    fallback: bool = False
    calendars: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, eq=False)
class Rulebook:
    """Compared by identity: what is computed for one is remembered for it."""

    jurisdictions: tuple[Jurisdiction, ...]
    holidays: Holidays = field(default=lambda country, subdivision, year: frozenset())

    def of(self, place: Place) -> tuple[Jurisdiction, ...]:
        """Those that hold at a place; where its region is not known, those of every region."""
        return _of(self, place)


@lru_cache(maxsize=4_096)
def _of(rulebook: Rulebook, place: Place) -> tuple[Jurisdiction, ...]:
    has = any(place.country in each.countries for each in rulebook.jurisdictions)
    return tuple(each for each in rulebook.jurisdictions if _holds(each, place, has))


def _holds(jurisdiction: Jurisdiction, place: Place, has_rules: bool) -> bool:
    if jurisdiction.fallback:
        return not has_rules
    if jurisdiction.countries and place.country not in jurisdiction.countries:
        return False
    if jurisdiction.regions:
        return not place.region or place.region in jurisdiction.regions
    return True


# Questions and answers.


@dataclass(frozen=True, slots=True)
class Proposed:
    """A call that may be dialled.

    places        from the number and from the address: it has to be allowed at each
    number_key    of the number, over all clients; customer_key: within the client, "" unknown
    subject       what it is about: of caps and rests per subject; "" the campaign
    consent       crm has prior consent on record for this number and purpose
    ring_seconds  how long the campaign lets it ring
    dial_before   when the carrier has dialled it at the latest: hours have to allow it until then
    own           what the client and the campaign want on top; never less strict, as all must allow
    """

    at: int
    places: tuple[Place, ...]
    kind: str
    purpose: str
    mode: str
    client_id: str
    campaign_id: str
    number_key: bytes
    customer_key: str = ""
    subject: str = ""
    consent: bool = False
    ring_seconds: int = 0
    own: tuple[Jurisdiction, ...] = ()
    dial_before: int = 0


@dataclass(frozen=True, slots=True)
class Contact:
    """What was dialled before. at: when it was decided; ended_at: None while it is under way, and
    then it may still become anything."""

    at: int
    client_id: str
    campaign_id: str
    number_key: bytes
    purpose: str = ""
    customer_key: str = ""
    subject: str = ""
    ended_at: int | None = None
    conversation: bool = False
    refused: bool = False
    abandoned: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """uses: every rule that was asked, forbidden_by: those of them that forbid. until: the first
    moment at which all would allow it, as far as is known now; None: never, or it is allowed.
    ring_seconds: how long it has to ring at least."""

    allowed: bool
    uses: tuple[RuleUse, ...]
    forbidden_by: tuple[RuleUse, ...]
    until: int | None
    ring_seconds: int


First = Callable[[int], int | None]
"""The first moment at which something allows the call, not before this one; None: never."""


def decide(proposed: Proposed, history: Iterable[Contact], rulebook: Rulebook) -> Decision:
    """history: all that is known of the number, of every client, and of the customer."""
    contacts = tuple(history)
    uses: dict[RuleUse, bool] = {}
    firsts: list[First] = []
    ring = proposed.ring_seconds
    for place in proposed.places or (Place(""),):
        for jurisdiction, rule in _asked(proposed, place, rulebook):
            since, until = _in_force(rule, place)
            first = _first(rule, proposed, place, contacts, rulebook)
            firsts.append(partial(_while_in_force, first, since, until))
            if since <= proposed.at < until:
                if isinstance(rule.what, Ring):
                    ring = max(ring, rule.what.seconds)
                allows = first(proposed.at) == proposed.at
                said = _said(rule, allows, proposed, place, contacts, rulebook)
                use = RuleUse(f"{jurisdiction.id}.{rule.name}", jurisdiction.version, said)
                uses[use] = uses.get(use, True) and allows
    forbidden = tuple(use for use, allows in uses.items() if not allows)
    until_all = _agreed(firsts, proposed.at) if forbidden else None
    return Decision(not forbidden, tuple(uses), forbidden, until_all, ring)


def _asked(
    proposed: Proposed, place: Place, rulebook: Rulebook
) -> Iterator[tuple[Jurisdiction, Rule]]:
    for jurisdiction in (*rulebook.of(place), *proposed.own):
        for rule in jurisdiction.rules:
            if (
                (not rule.purposes or proposed.purpose in rule.purposes)
                and (not rule.modes or proposed.mode in rule.modes)
                and (not rule.kinds or proposed.kind in rule.kinds)
            ):
                yield jurisdiction, rule


_ALWAYS = -(1 << 62), 1 << 62


def _in_force(rule: Rule, place: Place) -> tuple[int, int]:
    """From the first zone's first day to the last zone's last."""
    since, until = _ALWAYS
    zones = place.zones or ("UTC",)
    if rule.valid_from:
        since = min(midnight(zone, rule.valid_from.toordinal()) for zone in zones)
    if rule.valid_until:
        until = max(midnight(zone, rule.valid_until.toordinal() + 1) for zone in zones)
    return since, until


def _while_in_force(first: First, since: int, until: int, at: int) -> int | None:
    if not since <= at < until:
        return at
    found = first(at)
    return until if until < _ALWAYS[1] and (found is None or found > until) else found


def _agreed(firsts: Sequence[First], at: int) -> int | None:
    """The first moment to which all agree: each asked pushes it further, until none does."""
    horizon = at + HORIZON_DAYS * DAY
    agreed = at
    while agreed <= horizon:
        before = agreed
        for first in firsts:
            found = first(agreed)
            if found is None:
                return None
            agreed = found
        if agreed == before:
            return agreed
    return None


def _first(
    rule: Rule,
    proposed: Proposed,
    place: Place,
    contacts: Sequence[Contact],
    rulebook: Rulebook,
) -> First:
    what = rule.what
    match what:
        case Hours():
            spare = max(proposed.dial_before - proposed.at, 0)
            calendar = _calendar(rulebook, place)
            return partial(_first_within, what.week, place.zones, calendar, spare)
        case Cap():
            mine = _mine(rule, what.scope, what.per, proposed, contacts)
            starts = sorted(
                each.at
                for each in mine
                if what.counts == "attempts" or each.conversation or each.ended_at is None
            )
            if what.period_us:
                ends = [each + what.period_us for each in starts]
                return partial(_first_below, what.limit, ends)
            return partial(_first_of_calendar, what, place.zones, starts)
        case Rest():
            if what.unless_agent_guaranteed and proposed.mode in GUARANTEED:
                return _now
            ends = [
                _end_of_rest(what, place, since)
                for each in _mine(rule, what.scope, what.per, proposed, contacts)
                if (since := _since(what.after, each)) is not None
            ]
            return partial(_first_after, max(ends, default=0))
        case Consent():
            return _now if proposed.consent else _never
        case Ring():
            return _now


def _now(at: int) -> int | None:
    return at


def _never(at: int) -> int | None:
    return None


def _first_after(end: int, at: int) -> int | None:
    return max(end, at)


def _first_below(limit: int, ends: Sequence[int], at: int) -> int | None:
    """ends: when each call leaves the period, in order."""
    if limit <= 0:
        return None
    left = [end for end in ends if end > at]
    return at if len(left) < limit else left[len(left) - limit]


def _first_of_calendar(
    cap: Cap, zones: Sequence[str], starts: Sequence[int], at: int
) -> int | None:
    if cap.limit <= 0:
        return None
    found = at
    for zone in zones or ("UTC",):
        began, ends = _calendar_period(cap.calendar, zone, found)
        while sum(began <= start < ends for start in starts) >= cap.limit:
            found = ends
            began, ends = _calendar_period(cap.calendar, zone, found)
    return found


def _calendar_period(calendar: str, zone: str, at: int) -> tuple[int, int]:
    ordinal = local_day(zone, at)
    day = date.fromordinal(ordinal)
    if calendar == "day":
        first, after = ordinal, ordinal + 1
    elif calendar == "week":
        first = ordinal - day.weekday()
        after = first + 7
    else:
        first = day.replace(day=1).toordinal()
        after = date(day.year + day.month // 12, day.month % 12 + 1, 1).toordinal()
    return midnight(zone, first), midnight(zone, after)


def _end_of_rest(rest: Rest, place: Place, since: int) -> int:
    if rest.rest_us:
        return since + rest.rest_us
    return max(
        midnight(zone, local_day(zone, since) + rest.days + 1) for zone in place.zones or ("UTC",)
    )


def _since(after: str, contact: Contact) -> int | None:
    """When what a rest is for has happened; None: it has not."""
    if after == "under-way":
        return contact.at if contact.ended_at is None else None
    ended = contact.at if contact.ended_at is None else contact.ended_at
    match after:
        case "attempt":
            return ended
        case "conversation":
            return ended if contact.conversation else None
        case "refused":
            return ended if contact.refused else None
        case _:
            return ended if contact.abandoned else None


def _mine(
    rule: Rule, scope: str, per: str, proposed: Proposed, contacts: Iterable[Contact]
) -> Iterator[Contact]:
    """The contacts that a rule counts: of the same person, about the same, for its purposes."""
    for each in contacts:
        if rule.purposes and each.purpose not in rule.purposes:
            continue
        same_client = each.client_id == proposed.client_id
        number = each.number_key == proposed.number_key
        customer = (
            same_client and bool(each.customer_key) and each.customer_key == proposed.customer_key
        )
        if not {"number": number, "customer": customer, "person": number or customer}[scope]:
            continue
        if per == "client" and not same_client:
            continue
        if per == "campaign" and not (same_client and each.campaign_id == proposed.campaign_id):
            continue
        if per == "subject" and _subject(each) != _subject(proposed):
            continue
        yield each


def _subject(of: Proposed | Contact) -> tuple[str, ...]:
    """What has none is about its campaign."""
    return (of.subject,) if of.subject else (of.client_id, of.campaign_id)


# Hours.


class _Calendar:
    """The holidays by which one place is judged, one object for each, as it is cached by."""

    __slots__ = ("country", "holidays", "subdivisions")

    def __init__(self, holidays: Holidays, country: str, subdivisions: tuple[str, ...]) -> None:
        self.holidays, self.country, self.subdivisions = holidays, country, subdivisions

    def __call__(self, year: int) -> frozenset[date]:
        return frozenset().union(
            *(self.holidays(self.country, each, year) for each in ("", *self.subdivisions))
        )


@lru_cache(maxsize=4_096)
def _calendar(rulebook: Rulebook, place: Place) -> _Calendar:
    """Where the region is not known, a holiday of any part of the country is one."""
    known = [pair for each in rulebook.of(place) for pair in each.calendars]
    return _Calendar(
        rulebook.holidays,
        place.country,
        tuple(dict.fromkeys(kept for region, kept in known if place.region in ("", region))),
    )


def _first_within(
    week: Week, zones: Sequence[str], closed: _Calendar, spare: int, at: int
) -> int | None:
    """Not later than the first moment within the hours of every zone, which are not over before
    `spare` microseconds have passed; and at once where it is one."""
    if not zones:
        return None
    found = at
    for zone in zones:
        for wanted in (0, spare) if spare else (0,):
            opens = next_open(week, zone, closed, found + wanted)
            if opens is None:
                return None
            if opens > found + wanted:
                found = opens
    return found


@dataclass(frozen=True, slots=True)
class Opening:
    """open: hours allow calls. until: when that may be another; None: it is always closed."""

    open: bool
    until: int | None


def opening(
    places: Sequence[Place],
    purpose: str,
    mode: str,
    at: int,
    rulebook: Rulebook,
    own: tuple[Jurisdiction, ...] = (),
) -> Opening:
    """Whether hours alone let anybody at these places be called, and until when that holds.

    Hours of rules that hold for a kind of number only are left to `decide`.
    """
    firsts: list[First] = []
    ends: list[int] = []
    for place in places or (Place(""),):
        anyone = Proposed(at, (place,), "", purpose, mode, "", "", b"", own=own)
        calendar = _calendar(rulebook, place)
        for _, rule in _asked(anyone, place, rulebook):
            if not isinstance(rule.what, Hours):
                continue
            since, until = _in_force(rule, place)
            within = partial(_first_within, rule.what.week, place.zones, calendar, 0)
            firsts.append(partial(_while_in_force, within, since, until))
            ends += [each for each in (since, until) if at < each < _ALWAYS[1]]
            if since <= at < until:
                for zone in place.zones:
                    spans = open_spans(rule.what.week, zone, calendar, at)
                    ends += [closes for opens, closes in islice(spans, 1) if opens <= at]
    opens = _agreed(firsts, at)
    if opens != at:
        return Opening(False, opens)
    return Opening(True, min([*ends, at + DAY]))


# Words.


def _said(
    rule: Rule,
    allows: bool,
    proposed: Proposed,
    place: Place,
    contacts: Sequence[Contact],
    rulebook: Rulebook,
) -> str:
    what = rule.what
    match what:
        case Hours():
            at, calendar = proposed.at, _calendar(rulebook, place)
            if not allows and _first_within(what.week, place.zones, calendar, 0, at) == at:
                at = proposed.dial_before
            return _said_of_hours(what.week, at, place, calendar)
        case Cap():
            return f"{_count(what, rule, proposed, place, contacts)} of {what.limit} {what.length}"
        case Rest():
            if not allows:
                return f"less than {what.length} after the last {_NOUNS[what.after]}"
            if what.unless_agent_guaranteed and proposed.mode in GUARANTEED:
                return "an agent is guaranteed"
            return f"no {_NOUNS[what.after]} in {what.length}"
        case Consent():
            return "prior consent" if allows else "no prior consent"
        case Ring():
            return f"at least {what.seconds} s"


_NOUNS = {
    "refused": "refusal",
    "abandoned": "abandoned call",
    "conversation": "conversation",
    "attempt": "call",
    "under-way": "call that has not ended",
}
_DAYS = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")
MANY_ZONES = 3


def _said_of_hours(week: Week, at: int, place: Place, closed: _Calendar) -> str:
    """By the first zone that forbids, else the first; hours are those of its day."""
    if not place.zones:
        return "its time zone is not known"
    outside = [zone for zone in place.zones if next_open(week, zone, closed, at) != at]
    zone = outside[0] if outside else place.zones[0]
    ordinal = local_day(zone, at)
    hours = week.of(ordinal, closed)
    day = date.fromordinal(ordinal)
    if not outside and len(place.zones) > 1:
        some = ", ".join(place.zones[1:MANY_ZONES])
        more = len(place.zones) - MANY_ZONES
        zone += f", {some}" + (f" and {more} more" if more > 0 else "")
    if hours:
        times = ", ".join(f"{_time(opens)}-{_time(closes)}" for opens, closes in hours)
        return f"{'outside' if outside else 'within'} {times} {zone}"
    holiday = week.holidays is not None and day in closed(day.year)
    return f"closed on {'public holidays' if holiday else _DAYS[day.weekday()]} {zone}"


def _time(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _count(
    cap: Cap, rule: Rule, proposed: Proposed, place: Place, contacts: Sequence[Contact]
) -> int:
    """Of the period that would end with this call; of a calendar's, in the zone with the most."""
    mine = [
        each.at
        for each in _mine(rule, cap.scope, cap.per, proposed, contacts)
        if cap.counts == "attempts" or each.conversation or each.ended_at is None
    ]
    if cap.period_us:
        return sum(at + cap.period_us > proposed.at for at in mine)
    began = min(
        _calendar_period(cap.calendar, zone, proposed.at)[0] for zone in place.zones or ("UTC",)
    )
    return sum(at >= began for at in mine)
