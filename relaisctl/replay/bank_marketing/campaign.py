"""What happened in a bank's telesales campaigns, as events in the order in which it happened. Pure.

A campaign is a month of the file, a list what is known of its customers' contact and of earlier
campaigns. Of the last attempt to a customer the file has the day, the length and the outcome. All
else is made up from a seed, the same for the same row whatever else the file has, and is named in
`invented`: when on the day, how long it rang, who talked, and of the attempts before it everything
but their number.

Times are microseconds since 1970-01-01T00:00:00Z, lengths microseconds.
"""

import calendar
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta, tzinfo
from itertools import groupby
from random import Random
from typing import Final

from eventkit.ids import derived_id
from relaisctl.replay.bank_marketing.rows import Row
from relaisctl.replay.history import moment

SECOND_US: Final = 1_000_000
OPENS_S: Final = 9 * 3600
OPEN_S: Final = 11 * 3600
"""The hours of dialling, local: 9 to 20."""
AGENTS: Final = 40
RESULTS: Final = {"no-answer": 60, "machine": 20, "busy": 15, "carrier-error": 5}
"""How attempts may have ended that reached nobody, and how often."""
SEED: Final = 1

_LAST: Final = ("started_at", "mode", "rang", "greeting_ended", "waited", "agent_id")
_IN_VAIN: Final = ("started_at", "mode", "result", "rang")


@dataclass(frozen=True, slots=True)
class Contact:
    """A customer of a campaign: the row, the day of the last attempt, and ids that depend on these
    and the seed alone."""

    lead_id: str
    campaign_id: str
    list_id: str
    day: date
    row: Row


@dataclass(frozen=True, slots=True)
class Lead:
    """On every event of a lead."""

    lead_id: str
    list_id: str


@dataclass(frozen=True, slots=True)
class Origin:
    """On every event of an attempt."""

    lead: Lead
    attempt_id: str
    number_of_attempt: int
    started_at: int
    invented: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CampaignDrafted:
    name: str


@dataclass(frozen=True, slots=True)
class CampaignStarted:
    pass


@dataclass(frozen=True, slots=True)
class CampaignStopped:
    reason: str


@dataclass(frozen=True, slots=True)
class LeadAdded:
    """kind: of its only number."""

    kind: str
    due_at: int


@dataclass(frozen=True, slots=True)
class LeadDialled:
    attempt_id: str


@dataclass(frozen=True, slots=True)
class LeadScheduled:
    due_at: int
    attempt_id: str
    because: str


@dataclass(frozen=True, slots=True)
class LeadClosed:
    reason: str
    attempt_id: str


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    pass


@dataclass(frozen=True, slots=True)
class AttemptAnswered:
    by: str
    rang: int


@dataclass(frozen=True, slots=True)
class AttemptGreetingEnded:
    pass


@dataclass(frozen=True, slots=True)
class AttemptConnected:
    agent_id: str
    waited: int


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """rang, waited: None where nobody answered, and where nobody was to wait."""

    result: str
    answered_by: str = ""
    rang: int | None = None
    agent_id: str = ""
    waited: int | None = None
    talked: int = 0


@dataclass(frozen=True, slots=True)
class AttemptDisposed:
    disposition: str
    agent_id: str
    converted: bool


Body = (
    CampaignDrafted
    | CampaignStarted
    | CampaignStopped
    | LeadAdded
    | LeadDialled
    | LeadScheduled
    | LeadClosed
    | AttemptStarted
    | AttemptAnswered
    | AttemptGreetingEnded
    | AttemptConnected
    | AttemptEnded
    | AttemptDisposed
)


@dataclass(frozen=True, slots=True)
class Event:
    """The version-th event (1, 2, ...) of a campaign, of a lead, or of an attempt."""

    campaign_id: str
    about: Lead | Origin | None
    version: int
    occurred_at: int
    body: Body


def identify(rows: Iterable[tuple[Row, date]], seed: int) -> Iterator[Contact]:
    """Rows with their days, in the order of the file. Equal rows are different customers: nothing
    says which is which, so they are numbered within their day."""
    seen: Counter[str] = Counter()
    today: date | None = None
    for row, day in rows:
        if day != today:
            seen.clear()
            today = day
        seen[row.same] += 1
        name = f"term-deposit-{day:%Y-%m}" + ("" if seed == SEED else f".{seed}")
        lead_id = derived_id(name, day.isoformat(), row.same, seen[row.same])
        yield Contact(lead_id, name, f"{row.contact}.{row.earlier}", day, row)


def in_time_order(contacts: Iterable[Contact], zone: tzinfo, now: int) -> Iterator[Event]:
    """All events by time, none past `now`: campaigns follow each other, as months do."""
    for campaign_id, members in groupby(contacts, lambda contact: contact.campaign_id):
        month = list(members)
        events = _campaign(campaign_id, month[0].day, zone)
        for contact in month:
            events += lead_events(contact, zone)
        events.sort(key=lambda event: event.occurred_at)  # stable: a stream's own keep their order
        for event in events:
            yield event if event.occurred_at <= now else replace(event, occurred_at=now)


def count_events(row: Row) -> int:
    """How many events a row has, but for one more of each machine that answered."""
    return 1 + 4 * row.attempts + (4 if row.talked_s else 0)


def _campaign(campaign_id: str, day: date, zone: tzinfo) -> list[Event]:
    """It has the whole month; so its events are the same whatever rows the file has of it."""
    first = day.replace(day=1)
    begins, ends = moment(first, 0, zone), moment(_next_month(first), 0, zone)
    name = f"Term deposits, {calendar.month_name[first.month]} {first.year}"
    return [
        Event(campaign_id, None, 1, begins, CampaignDrafted(name)),
        Event(campaign_id, None, 2, begins, CampaignStarted()),
        Event(campaign_id, None, 3, ends, CampaignStopped("exhausted")),
    ]


def _next_month(first: date) -> date:
    return (first + timedelta(days=31)).replace(day=1)


def lead_events(contact: Contact, zone: tzinfo) -> list[Event]:
    """A lead's own events and those of its attempts, in the order in which they happened."""
    row, lead = contact.row, Lead(contact.lead_id, contact.list_id)
    chance = Random(contact.lead_id)
    starts = [moment(day, second, zone) for day, second in _starts(contact, chance)]
    kind = {"cellular": "mobile", "telephone": "fixed"}.get(row.contact, "other")
    events: list[Event] = []
    versions: Counter[str] = Counter()

    def happened(at: int, about: Lead | Origin, body: Body) -> None:
        stream = about.attempt_id if isinstance(about, Origin) else about.lead_id
        versions[stream] += 1
        events.append(Event(contact.campaign_id, about, versions[stream], at, body))

    happened(moment(contact.day.replace(day=1), 0, zone), lead, LeadAdded(kind, starts[0]))
    for number, at in enumerate(starts, 1):
        last = number == row.attempts
        talks = last and row.talked_s > 0
        origin = Origin(lead, f"{lead.lead_id}-{number}", number, at, _LAST if talks else _IN_VAIN)
        happened(at, lead, LeadDialled(origin.attempt_id))
        happened(at, origin, AttemptStarted())
        told = _talk(row, chance) if talks else _in_vain(chance)
        for after, body in told:
            happened(at + after, origin, body)
        over = at + told[-1][0]
        if talks:
            reason = "sold" if row.sold else "refused"
            happened(over, lead, LeadClosed(reason, origin.attempt_id))
        elif last:
            happened(over, lead, LeadClosed("attempts", origin.attempt_id))
        else:
            assert isinstance(told[-1][1], AttemptEnded)
            scheduled = LeadScheduled(
                max(starts[number], over), origin.attempt_id, told[-1][1].result
            )
            happened(over, lead, scheduled)
    return events


def _starts(contact: Contact, chance: Random) -> list[tuple[date, int]]:
    """When each attempt was started: local days, and seconds since their midnight.

    The last one is on the row's day. Those before it lie in the hours of dialling since the first
    of the month, about evenly, and leave room for each other.
    """
    row, last = contact.row, contact.day
    days = [last.replace(day=number) for number in range(1, last.day + 1)]
    days = [day for day in days if day.weekday() < 5 or day == last]
    earliest = min(300 * row.attempts, OPEN_S * 9 // 10)
    latest = max(earliest, OPEN_S - row.talked_s - 60)
    second = chance.randint(earliest, latest)
    room = (len(days) - 1) * OPEN_S + second
    before = row.attempts - 1
    places = [int(room * (n + 0.8 * chance.random()) / before) for n in range(before)]
    return [(days[place // OPEN_S], OPENS_S + place % OPEN_S) for place in [*places, room]]


def _in_vain(chance: Random) -> list[tuple[int, Body]]:
    """What came of an attempt that reached nobody: how long after its start."""
    [result] = chance.choices(list(RESULTS), list(RESULTS.values()))
    rang = _us(chance.uniform(4, 25))
    if result != "machine":
        return [(rang, AttemptEnded(result))]
    ended = AttemptEnded(result, "machine", rang)
    return [(rang, AttemptAnswered("machine", rang)), (rang + _us(3), ended)]


def _talk(row: Row, chance: Random) -> list[tuple[int, Body]]:
    """What came of an attempt that reached the customer: how long after its start."""
    rang, greeting, waited = (
        _us(chance.uniform(*span)) for span in ((3, 25), (0.6, 2), (0.1, 1.5))
    )
    agent_id = f"agent-{chance.randint(1, AGENTS):02}"
    talked = row.talked_s * SECOND_US
    greeted = rang + greeting
    ended = AttemptEnded("connected", "human", rang, agent_id, waited, talked)
    disposition = "sold" if row.sold else "refused"
    over = greeted + waited + talked
    return [
        (rang, AttemptAnswered("human", rang)),
        (greeted, AttemptGreetingEnded()),
        (greeted + waited, AttemptConnected(agent_id, waited)),
        (over, ended),
        (over, AttemptDisposed(disposition, agent_id, row.sold)),
    ]


def _us(seconds: float) -> int:
    """To the millisecond: nothing here is known any better."""
    return round(seconds * 1000) * 1000
