"""What `decide` has to do whatever the rules, the history and the time: held against a reading of
the rules that is as plain as can be, and knows nothing of `until`."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from eventkit.errors import InvalidMessage
from services.dialer.compliance.book import campaign_hours, holidays_of, load_rulebook, parse_own
from services.dialer.compliance.hours import DAY, HOUR, MINUTE, Week
from services.dialer.compliance.place import places_of_key
from services.dialer.compliance.rules import (
    GUARANTEED,
    KINDS,
    MODES,
    PURPOSES,
    Cap,
    Consent,
    Contact,
    Hours,
    Jurisdiction,
    Place,
    Proposed,
    Rest,
    Ring,
    Rule,
    Rulebook,
    decide,
    opening,
)
from services.dialer.compliance.tests.test_hours import intervals

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
START = (datetime(2026, 1, 1, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
SHIPPED = load_rulebook()
PLACES = (
    "FR",
    "FR-67",
    "FR-75",
    "RE",
    "US",
    "US-FL",
    "US-FL@America/New_York US-NY",
    "US-CA US-NY",
    "GB",
    "DE",
    "AU@Australia/Lord_Howe",
    "GL@America/Nuuk",
    "LB",
    "EG FR",
    "",
)


# As one reads it.


def wall(at: int, zone: str) -> datetime:
    return (EPOCH + timedelta(microseconds=at)).astimezone(ZoneInfo(zone))


def zones_of(place: Place) -> tuple[str, ...]:
    return place.zones or ("UTC",)


def holds(jurisdiction: Jurisdiction, place: Place, book: Rulebook) -> bool:
    if jurisdiction.fallback:
        return all(place.country not in each.countries for each in book.jurisdictions)
    if not jurisdiction.countries:
        return True
    if place.country not in jurisdiction.countries:
        return False
    return not jurisdiction.regions or place.region in ("", *jurisdiction.regions)


def is_about(rule: Rule, proposed: Proposed) -> bool:
    return all(
        not wanted or said in wanted
        for wanted, said in (
            (rule.purposes, proposed.purpose),
            (rule.modes, proposed.mode),
            (rule.kinds, proposed.kind),
        )
    )


def in_force(rule: Rule, place: Place, at: int) -> bool:
    days = [wall(at, zone).date() for zone in zones_of(place)]
    return (rule.valid_from is None or max(days) >= rule.valid_from) and (
        rule.valid_until is None or min(days) <= rule.valid_until
    )


def is_holiday(day: date, place: Place, book: Rulebook) -> bool:
    calendars = {""}
    for each in book.jurisdictions:
        if holds(each, place, book):
            calendars |= {kept for region, kept in each.calendars if place.region in ("", region)}
    return any(day in book.holidays(place.country, kept, day.year) for kept in calendars)


def counts(rule: Rule, contact: Contact, proposed: Proposed, scope: str, per: str) -> bool:
    same_client = contact.client_id == proposed.client_id
    number = contact.number_key == proposed.number_key
    customer = same_client and contact.customer_key == proposed.customer_key != ""
    person = {"number": number, "customer": customer, "person": number or customer}[scope]
    campaign = same_client and contact.campaign_id == proposed.campaign_id
    if contact.subject or proposed.subject:
        subject = contact.subject == proposed.subject
    else:
        subject = campaign
    concern = {"centre": True, "client": same_client, "campaign": campaign, "subject": subject}[per]
    return person and concern and (not rule.purposes or contact.purpose in rule.purposes)


def period(calendar: str, at: int, zone: str) -> tuple[int, ...]:
    day = wall(at, zone).date()
    if calendar == "day":
        return (day.toordinal(),)
    return tuple(day.isocalendar()[:2]) if calendar == "week" else (day.year, day.month)


def allows(
    rule: Rule, proposed: Proposed, place: Place, at: int, history: list[Contact], book: Rulebook
) -> bool:
    what = rule.what
    if isinstance(what, Hours):
        if not place.zones:
            return False
        spare = max(proposed.dial_before - proposed.at, 0)
        for zone, moment in product(place.zones, (at, at + spare)):
            now = wall(moment, zone)
            hours = what.week.days[now.weekday()]
            if what.week.holidays is not None and is_holiday(now.date(), place, book):
                hours = what.week.holidays
            if not any(opens <= now.hour * 60 + now.minute < closes for opens, closes in hours):
                return False
        return True
    if isinstance(what, Cap):
        mine = [
            each.at
            for each in history
            if counts(rule, each, proposed, what.scope, what.per)
            and (what.counts == "attempts" or each.conversation or each.ended_at is None)
        ]
        if what.period_us:
            return sum(at - each < what.period_us for each in mine) < what.limit
        return all(
            sum(period(what.calendar, each, z) == period(what.calendar, at, z) for each in mine)
            < what.limit
            for z in zones_of(place)
        )
    if isinstance(what, Rest):
        if what.unless_agent_guaranteed and proposed.mode in GUARANTEED:
            return True
        for each in history:
            if not counts(rule, each, proposed, what.scope, what.per):
                continue
            ended = each.at if each.ended_at is None else each.ended_at
            happened = {
                "under-way": each.ended_at is None,
                "attempt": True,
                "conversation": each.conversation,
                "refused": each.refused,
                "abandoned": each.abandoned,
            }[what.after]
            if not happened:
                continue
            if what.rest_us and at - ended < what.rest_us:
                return False
            if what.days and any(
                (wall(at, z).date() - wall(ended, z).date()).days <= what.days
                for z in zones_of(place)
            ):
                return False
        return True
    return proposed.consent if isinstance(what, Consent) else True


def is_allowed(proposed: Proposed, at: int, history: list[Contact], book: Rulebook) -> bool:
    for place in proposed.places:
        mine = [each for each in book.jurisdictions if holds(each, place, book)]
        for jurisdiction in (*mine, *proposed.own):
            for rule in jurisdiction.rules:
                if (
                    is_about(rule, proposed)
                    and in_force(rule, place, at)
                    and not allows(rule, proposed, place, at, history, book)
                ):
                    return False
    return True


# What may come.

SCOPES = st.sampled_from(["number", "customer", "person"])
PERS = st.sampled_from(["campaign", "client", "centre", "subject"])
HOURS = st.builds(Hours, st.builds(Week, st.tuples(*[intervals()] * 7), st.none() | intervals()))
LENGTHS = st.sampled_from([HOUR, 24 * HOUR, 72 * HOUR, 30 * DAY])
CAPS = st.one_of(
    st.builds(
        Cap,
        st.integers(0, 3),
        LENGTHS,
        st.just(""),
        SCOPES,
        PERS,
        st.sampled_from(["attempts", "conversations"]),
        st.just("in a while"),
    ),
    st.builds(
        Cap,
        st.integers(1, 3),
        st.just(0),
        st.sampled_from(["day", "week", "month"]),
        SCOPES,
        PERS,
        st.sampled_from(["attempts", "conversations"]),
        st.just("in a while"),
    ),
)
RESTS = st.builds(
    lambda after, length, days, scope, per, unless: Rest(
        after, 0 if days else length, days, scope, per, unless, "a while"
    ),
    st.sampled_from(["refused", "abandoned", "conversation", "attempt", "under-way"]),
    LENGTHS,
    st.sampled_from([0, 0, 1, 7]),
    SCOPES,
    PERS,
    st.booleans(),
)
DATES = st.none() | st.dates(date(2026, 1, 1), date(2026, 12, 31))
PURPOSE = st.sampled_from(PURPOSES)
RULES = st.builds(
    Rule,
    st.just("it"),
    st.one_of(HOURS, CAPS, CAPS, RESTS, RESTS, st.just(Consent()), st.just(Ring(15))),
    st.lists(PURPOSE, max_size=2).map(tuple),
    st.lists(st.sampled_from(MODES), max_size=2).map(tuple),
    st.lists(st.sampled_from(KINDS), max_size=2).map(tuple),
    DATES,
    DATES,
).filter(lambda each: not (each.valid_from and each.valid_until))
OWN = st.lists(
    st.builds(Jurisdiction, st.sampled_from(["client", "campaign"]), st.just(1), st.tuples(RULES)),
    max_size=3,
).map(tuple)
EVERYWHERE_OPEN = Rulebook((), holidays_of)
BOOKS = st.sampled_from([SHIPPED, EVERYWHERE_OPEN])
MOMENTS = st.builds(
    lambda minutes, odd: START + minutes * MINUTE + odd,
    st.integers(0, 364 * 24 * 60),
    st.sampled_from([0, 0, 1, 12_345_678]),
)
PROPOSED = st.builds(
    Proposed,
    MOMENTS,
    st.sampled_from(PLACES).map(places_of_key),
    st.sampled_from(KINDS),
    PURPOSE,
    st.sampled_from(MODES),
    st.just("c1"),
    st.just("k1"),
    st.just(b"n1"),
    st.sampled_from(["", "p1"]),
    st.sampled_from(["", "s1"]),
    st.booleans(),
    st.integers(0, 30),
    OWN,
).flatmap(
    lambda asked: st.sampled_from([0, 2_000_000]).map(
        lambda spare: replace(asked, dial_before=asked.at + spare)
    )
)


@st.composite
def contacts(draw: st.DrawFn, before: int) -> Contact:
    at = before - draw(
        st.integers(0, 26 * 60).map(lambda minutes: minutes * MINUTE)
        | st.integers(0, 65 * 24).map(lambda hours: hours * HOUR)
    )
    ended = draw(st.none() | st.integers(0, 600_000_000).map(lambda length: at + length))
    flag = st.booleans() if ended is not None else st.just(False)
    return Contact(
        at,
        draw(st.sampled_from(["c1", "c1", "c2"])),
        draw(st.sampled_from(["k1", "k2"])),
        draw(st.sampled_from([b"n1", b"n1", b"n2"])),
        draw(PURPOSE),
        draw(st.sampled_from(["", "p1", "p2"])),
        draw(st.sampled_from(["", "s1", "s2"])),
        ended,
        draw(flag),
        draw(flag),
        draw(flag),
    )


@settings(max_examples=120, deadline=None)
@given(PROPOSED, BOOKS, st.data())
def test_it_is_allowed_when_every_rule_allows_it_and_until_is_the_first_such_moment(
    proposed: Proposed, book: Rulebook, data: st.DataObject
) -> None:
    history = data.draw(st.lists(contacts(proposed.at), max_size=6))
    answer = decide(proposed, history, book)
    assert answer.allowed == is_allowed(proposed, proposed.at, history, book)
    assert answer.allowed == (not answer.forbidden_by)
    assert set(answer.forbidden_by) <= set(answer.uses)
    assert answer.ring_seconds >= proposed.ring_seconds
    if answer.allowed:
        assert answer.until is None
        return
    if answer.until is None:
        end = proposed.at + 60 * DAY
    else:
        end = answer.until
        assert is_allowed(proposed, end, history, book)
        spare = proposed.dial_before - proposed.at
        then = replace(proposed, at=end, dial_before=end + spare)
        assert decide(then, history, book).allowed
        assert not is_allowed(proposed, end - 1, history, book)
    before = data.draw(st.integers(proposed.at, end - 1))
    assert not is_allowed(proposed, before, history, book)


@settings(max_examples=50, deadline=None)
@given(PROPOSED, BOOKS, st.data())
def test_more_history_never_allows_more_nor_sooner(
    proposed: Proposed, book: Rulebook, data: st.DataObject
) -> None:
    history = data.draw(st.lists(contacts(proposed.at), max_size=5))
    more = data.draw(st.lists(contacts(proposed.at), min_size=1, max_size=3))
    less = decide(proposed, history, book)
    answer = decide(proposed, [*history, *more], book)
    assert less.allowed or not answer.allowed
    if not less.allowed:
        assert less.until is not None or answer.until is None
        assert answer.until is None or (less.until or 0) <= answer.until


@settings(max_examples=40, deadline=None)
@given(PROPOSED, BOOKS, st.data())
def test_more_places_and_own_rules_never_allow_more(
    proposed: Proposed, book: Rulebook, data: st.DataObject
) -> None:
    history = data.draw(st.lists(contacts(proposed.at), max_size=5))
    elsewhere = data.draw(st.sampled_from(PLACES).map(places_of_key))
    own = data.draw(OWN)
    answer = decide(proposed, history, book)
    stricter = replace(proposed, places=(*proposed.places, *elsewhere), own=(*proposed.own, *own))
    assert answer.allowed or not decide(stricter, history, book).allowed


@settings(max_examples=50, deadline=None)
@given(PROPOSED, BOOKS, st.data())
def test_an_opening_holds_until_it_says(
    proposed: Proposed, book: Rulebook, data: st.DataObject
) -> None:
    """Only hours that hold for every kind of number are looked at; so with them alone."""
    hours = tuple(
        Jurisdiction(each.id, 1, (replace(each.rules[0], kinds=()),))
        for each in proposed.own
        if isinstance(each.rules[0].what, Hours)
    )
    only_hours = Rulebook(
        tuple(
            replace(each, rules=tuple(rule for rule in each.rules if isinstance(rule.what, Hours)))
            for each in book.jurisdictions
        ),
        book.holidays,
    )
    proposed = replace(proposed, own=hours, dial_before=0)
    found = opening(
        proposed.places, proposed.purpose, proposed.mode, proposed.at, only_hours, hours
    )
    assert found.open == is_allowed(proposed, proposed.at, [], only_hours)
    end = proposed.at + 7 * DAY if found.until is None else found.until
    assert end > proposed.at
    later = data.draw(st.integers(proposed.at, end - 1))
    assert is_allowed(proposed, later, [], only_hours) == found.open


def test_a_campaigns_own_hours_are_a_rule_like_any_other() -> None:
    [paris] = places_of_key("FR-75")
    at = START + 5 * DAY + 11 * HOUR  # Tuesday noon in Paris
    own = campaign_hours((((13 * 60, 14 * 60),),) * 7, 4)
    asked = Proposed(at, (paris,), "fixed", "survey", "predictive", "c", "k", b"n", own=own)
    answer = decide(asked, [], SHIPPED)
    assert [(use.rule, use.version, use.said) for use in answer.forbidden_by] == [
        ("campaign.hours", 4, "outside 13:00-14:00 Europe/Paris")
    ]
    assert answer.until == at + HOUR
    assert campaign_hours((), 4) == ()


def test_what_every_rule_said_is_on_record() -> None:
    [florida] = places_of_key("US-FL@America/New_York")
    at = START + 5 * DAY + 17 * HOUR  # noon
    before = Contact(at - HOUR, "c", "k", b"n", "sales", "p", "", at - HOUR, conversation=True)
    asked = Proposed(at, (florida,), "other", "sales", "predictive", "c", "k", b"n", "p")
    answer = decide(asked, [before], SHIPPED)
    assert answer.allowed
    assert {use.rule: use.said for use in answer.uses} == {
        "centre.one-call-at-a-time": "no call that has not ended in 2 h",
        "us.hours": "within 08:00-21:00 America/New_York",
        "us.ring": "at least 15 s",
        "us-fl.hours": "within 08:00-20:00 America/New_York",
        "us-fl.attempts-24-hours": "1 of 3 in 24 h",
    }
    assert answer.ring_seconds == 15
    assert decide(replace(asked, ring_seconds=25), [before], SHIPPED).ring_seconds == 25


def test_what_the_carrier_might_dial_after_the_closing_is_not_allowed() -> None:
    places = places_of_key("FR-75")
    closing = START + 5 * DAY + 19 * HOUR  # 20:00 in Paris
    asked = Proposed(closing - 2_000_001, places, "fixed", "sales", "power", "c", "k", b"n")
    in_time = replace(asked, dial_before=asked.at + 2_000_000)
    assert decide(in_time, [], SHIPPED).allowed
    late = decide(replace(in_time, at=asked.at + 1, dial_before=closing), [], SHIPPED)
    assert [(use.rule, use.said) for use in late.forbidden_by] == [
        ("fr.hours", "outside 10:00-13:00, 14:00-20:00 Europe/Paris")
    ]
    assert late.until == closing + 14 * HOUR


def test_a_rule_that_ends_forbids_until_then() -> None:
    [paris] = places_of_key("FR-75")
    at = START + 5 * DAY
    refused = Contact(at - HOUR, "c", "k", b"n", "survey", ended_at=at - HOUR, refused=True)
    rest = Rest("refused", 30 * DAY, 0, "number", "client", False, "30 days")
    rules = (Rule("rest", rest, valid_until=date(2026, 1, 9)),)
    own = (Jurisdiction("client", 1, rules),)
    asked = Proposed(at, (paris,), "fixed", "survey", "power", "c", "k", b"n", own=own)
    answer = decide(asked, [refused], EVERYWHERE_OPEN)
    # The 9th is its last day; the 10th begins at 23:00 UTC.
    assert answer.until == START + 8 * DAY + 23 * HOUR


def test_a_rule_that_begins_is_waited_for_as_one_that_holds() -> None:
    [paris] = places_of_key("FR-75")
    at = START + 5 * DAY + 2 * HOUR  # 3:00 on the 6th
    noon = Rule("noon", Hours(Week((((720, 780),),) * 7)))
    evening = Rule("evening", Hours(Week((((1140, 1200),),) * 7)), valid_from=date(2026, 1, 6))
    from_tomorrow = replace(evening, valid_from=date(2026, 1, 7))
    for rule, expected in ((evening, None), (from_tomorrow, START + 5 * DAY + 11 * HOUR)):
        own = (Jurisdiction("client", 1, (noon, rule)),)
        asked = Proposed(at, (paris,), "fixed", "survey", "power", "c", "k", b"n", own=own)
        assert decide(asked, [], EVERYWHERE_OPEN).until == expected


# What somebody may send as rules.

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=5,
)
NEARLY = st.fixed_dictionaries(
    {"name": st.sampled_from(["it", "that", ""])},
    optional={
        "hours": st.dictionaries(
            st.sampled_from(["mon", "mon-fri", "sat-mon", "holidays", "\ud800"]),
            st.lists(st.sampled_from(["09:00-12:00", "12:00-24:00", "24:00-24:30"]), max_size=2),
            max_size=2,
        )
        | ANYTHING,
        "cap": st.fixed_dictionaries(
            {"limit": st.integers(-1, 3)},
            optional={"hours": st.integers(-1, 9000), "days": st.integers(0, 400)},
        )
        | ANYTHING,
        "rest": st.fixed_dictionaries(
            {"after": st.sampled_from(["refused", "abandoned", "x"])},
            optional={"calendar_days": st.integers(0, 400), "hours": st.integers(0, 9000)},
        ),
        "valid_from": st.sampled_from(["2026-01-01", "0001-01-01", "9999-12-31", 5]),
        "purposes": st.lists(st.sampled_from(["sales", "S"]), max_size=2) | ANYTHING,
        "consent": st.just("required"),
        "source": st.text(max_size=5),
    },
)


@settings(max_examples=150, deadline=None)
@given(ANYTHING | st.lists(NEARLY, max_size=2), PROPOSED)
def test_whatever_is_sent_as_rules_is_refused_or_can_be_asked(
    content: object, proposed: Proposed
) -> None:
    try:
        own = parse_own("client", 1, content)
    except InvalidMessage:
        return
    answer = decide(replace(proposed, own=(own,)), [], SHIPPED)
    assert answer.allowed == is_allowed(replace(proposed, own=(own,)), proposed.at, [], SHIPPED)
