"""What a client company lets agents choose from: topics as a tree, dispositions, offers, and the
reasons for which an offer is refused. One stream for each client. Pure.

Nothing is ever deleted, since what was said refers to it: what is retired can be chosen no more.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final, TypeVar, get_args

from eventkit.decider import Decider, Invalid

MAIN: Final = "main"
"""The id of a client's one catalogue."""
MAX_DEPTH: Final = 8
MAX_ITEMS: Final = 5_000
"""Of each list: more is no list that a person chooses from."""
MAX_NAME: Final = 200
MAX_PRICE: Final = Decimal(10) ** 12

ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")
LANGUAGE: Final = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-[A-Z]{2})?")
CURRENCY: Final = re.compile(r"[A-Z]{3}")

Name = Mapping[str, str]
"""BCP 47 language -> name. The name under "" is for all other languages."""


class Flag(StrEnum):
    """What a disposition means, for whoever counts or calls next."""

    HUMAN_ANSWERED = "human_answered"
    SALE = "sale"
    DO_NOT_CALL = "do_not_call"
    CUSTOMER_CONTACT = "customer_contact"
    NOT_INTERESTED = "not_interested"
    CALLBACK = "callback"
    COMPLETED = "completed"


@dataclass(frozen=True, slots=True)
class Topic:
    """parent: "" for a root."""

    name: Name
    parent: str = ""
    retired: bool = False


@dataclass(frozen=True, slots=True)
class Disposition:
    """closes: nothing more is expected of the call."""

    name: Name
    closes: bool = True
    flags: tuple[Flag, ...] = ()
    retired: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """valid_from, valid_until: days in the client's zone, both included; None: no limit."""

    name: Name
    price: Decimal | None = None
    currency: str = ""
    valid_from: date | None = None
    valid_until: date | None = None
    retired: bool = False

    def valid_on(self, day: date) -> bool:
        return (self.valid_from is None or self.valid_from <= day) and (
            self.valid_until is None or day <= self.valid_until
        )


@dataclass(frozen=True, slots=True)
class RefusalReason:
    """needs_date: the customer has said when to ask again. needs_text: it says nothing alone."""

    name: Name
    needs_date: bool = False
    needs_text: bool = False
    retired: bool = False


@dataclass(frozen=True, slots=True)
class Catalogue:
    topics: Mapping[str, Topic] = field(default_factory=dict)
    dispositions: Mapping[str, Disposition] = field(default_factory=dict)
    offers: Mapping[str, Offer] = field(default_factory=dict)
    refusal_reasons: Mapping[str, RefusalReason] = field(default_factory=dict)

    def path(self, topic_id: str) -> tuple[str, ...]:
        """The ids from the root down to the topic."""
        return (*reversed(list(above(self.topics, topic_id))), topic_id)

    def selectable(self, topic_id: str) -> bool:
        """Neither the topic nor one above it is retired."""
        return not any(self.topics[one].retired for one in self.path(topic_id))


# Events.


@dataclass(frozen=True, slots=True)
class TopicAdded:
    topic_id: str
    parent: str
    name: Name


@dataclass(frozen=True, slots=True)
class TopicRenamed:
    topic_id: str
    name: Name


@dataclass(frozen=True, slots=True)
class TopicMoved:
    topic_id: str
    parent: str


@dataclass(frozen=True, slots=True)
class TopicRetired:
    topic_id: str


@dataclass(frozen=True, slots=True)
class TopicReinstated:
    topic_id: str


@dataclass(frozen=True, slots=True)
class DispositionDefined:
    disposition: str
    name: Name
    closes: bool
    flags: tuple[Flag, ...]


@dataclass(frozen=True, slots=True)
class DispositionRetired:
    disposition: str


@dataclass(frozen=True, slots=True)
class OfferDefined:
    offer_id: str
    name: Name
    price: Decimal | None
    currency: str
    valid_from: date | None
    valid_until: date | None


@dataclass(frozen=True, slots=True)
class OfferRetired:
    offer_id: str


@dataclass(frozen=True, slots=True)
class RefusalReasonDefined:
    reason: str
    name: Name
    needs_date: bool
    needs_text: bool


@dataclass(frozen=True, slots=True)
class RefusalReasonRetired:
    reason: str


Event = (
    TopicAdded
    | TopicRenamed
    | TopicMoved
    | TopicRetired
    | TopicReinstated
    | DispositionDefined
    | DispositionRetired
    | OfferDefined
    | OfferRetired
    | RefusalReasonDefined
    | RefusalReasonRetired
)


# Commands: what is wanted. The events are how that differs from what is.


@dataclass(frozen=True, slots=True)
class DefineTopic:
    """Adds the topic, renames it, moves it with all that is below it, retires it, reinstates it."""

    topic_id: str
    topic: Topic


@dataclass(frozen=True, slots=True)
class DefineDisposition:
    disposition: str
    definition: Disposition


@dataclass(frozen=True, slots=True)
class DefineOffer:
    offer_id: str
    offer: Offer


@dataclass(frozen=True, slots=True)
class DefineRefusalReason:
    reason: str
    definition: RefusalReason


@dataclass(frozen=True, slots=True)
class ImportCatalogue:
    """Everything at once. What this catalogue does not name stays as it is."""

    catalogue: Catalogue


Command = DefineTopic | DefineDisposition | DefineOffer | DefineRefusalReason | ImportCatalogue


def decide(command: Command, state: Catalogue) -> list[Event]:
    """Errors name a field as `topics.<id>.parent` in an import, as `parent` elsewhere."""
    match command:
        case ImportCatalogue(wanted):
            return _differences(wanted, state)
        case DefineTopic(topic_id, topic):
            wanted = Catalogue(topics={topic_id: topic})
        case DefineDisposition(disposition, definition):
            wanted = Catalogue(dispositions={disposition: definition})
        case DefineOffer(offer_id, offer):
            wanted = Catalogue(offers={offer_id: offer})
        case DefineRefusalReason(reason, refusal_reason):
            wanted = Catalogue(refusal_reasons={reason: refusal_reason})
    try:
        return _differences(wanted, state)
    except Invalid as error:
        raise Invalid(error.field.rpartition(".")[2], error.reason) from None


def _differences(wanted: Catalogue, state: Catalogue) -> list[Event]:
    return [
        *_topic_events(wanted.topics, state.topics),
        *_item_events(
            "dispositions",
            wanted.dispositions,
            state.dispositions,
            _check_disposition,
            lambda id_, it: DispositionDefined(id_, it.name, it.closes, it.flags),
            DispositionRetired,
        ),
        *_item_events(
            "offers",
            wanted.offers,
            state.offers,
            _check_offer,
            lambda id_, it: OfferDefined(
                id_, it.name, it.price, it.currency, it.valid_from, it.valid_until
            ),
            OfferRetired,
        ),
        *_item_events(
            "refusal_reasons",
            wanted.refusal_reasons,
            state.refusal_reasons,
            lambda where, it: check_name(f"{where}.name", it.name),
            lambda id_, it: RefusalReasonDefined(id_, it.name, it.needs_date, it.needs_text),
            RefusalReasonRetired,
        ),
    ]


Item = TypeVar("Item", Disposition, Offer, RefusalReason)


def _item_events(
    what: str,
    wanted: Mapping[str, Item],
    present: Mapping[str, Item],
    check: Callable[[str, Item], None],
    defined: Callable[[str, Item], Event],
    retired: Callable[[str], Event],
) -> Iterator[Event]:
    _check_ids(what, wanted, present)
    for item_id, item in wanted.items():
        check(f"{what}.{item_id}", item)
        before = present.get(item_id)
        if before == item:
            continue
        if before is None or replace(before, retired=item.retired) != item:
            yield defined(item_id, item)
            before = replace(item, retired=False)
        elif before.retired:
            yield defined(item_id, item)
        if item.retired and not before.retired:
            yield retired(item_id)


def _topic_events(wanted: Mapping[str, Topic], present: Mapping[str, Topic]) -> list[Event]:
    _check_ids("topics", wanted, present)
    after = {**present, **wanted}
    for topic_id, topic in wanted.items():
        check_name(f"topics.{topic_id}.name", topic.name)
        if topic.parent and topic.parent not in after:
            raise Invalid(f"topics.{topic_id}.parent", "no such topic")
    for topic_id in wanted:
        _check_depth(topic_id, after)
    events: list[Event] = []
    # Parents first: so no topic is added below one that is not there yet, and while topics change
    # places, none is ever below itself.
    for topic_id in sorted(wanted, key=lambda one: len(list(above(after, one)))):
        topic, before = wanted[topic_id], present.get(topic_id)
        if before is None:
            events.append(TopicAdded(topic_id, topic.parent, topic.name))
            before = replace(topic, retired=False)
        if before.parent != topic.parent:
            events.append(TopicMoved(topic_id, topic.parent))
        if before.name != topic.name:
            events.append(TopicRenamed(topic_id, topic.name))
        if topic.retired and not before.retired:
            events.append(TopicRetired(topic_id))
        if before.retired and not topic.retired:
            events.append(TopicReinstated(topic_id))
    # What has moved may carry others, which nobody named, too deep.
    if any(isinstance(event, TopicMoved) for event in events):
        for topic_id in after:
            _check_depth(topic_id, after)
    return events


def _check_depth(topic_id: str, topics: Mapping[str, Topic]) -> None:
    for depth, one in enumerate(above(topics, topic_id), 2):
        if one == topic_id:
            raise Invalid(f"topics.{topic_id}.parent", "a topic cannot be below itself")
        if depth > MAX_DEPTH:
            raise Invalid(f"topics.{topic_id}.parent", f"deeper than {MAX_DEPTH} levels")


def above(topics: Mapping[str, Topic], topic_id: str) -> Iterator[str]:
    """The topic's ancestors, the nearest first. Endless where the topics are no tree."""
    while topic_id := topics[topic_id].parent:
        yield topic_id


# What is no catalogue.


def _check_ids(what: str, wanted: Mapping[str, object], present: Mapping[str, object]) -> None:
    if any(not ID.fullmatch(one) for one in wanted):
        raise Invalid(what, f"an id must match ^{ID.pattern}$")
    if len(wanted.keys() | present.keys()) > MAX_ITEMS:
        raise Invalid(what, f"more than {MAX_ITEMS}")


def check_name(where: str, name: Name) -> None:
    """A name in one language at least. Raises Invalid."""
    if not name:
        raise Invalid(where, "missing")
    for language, text in name.items():
        if language and not LANGUAGE.fullmatch(language):
            raise Invalid(where, "names are by BCP 47 language, such as fr or pt-BR")
        if not text.strip() or len(text) > MAX_NAME:
            raise Invalid(where, f"must have 1 to {MAX_NAME} characters")
        if not text.isprintable():
            raise Invalid(where, "has characters that cannot be printed")


def _check_disposition(where: str, item: Disposition) -> None:
    check_name(f"{where}.name", item.name)
    if list(item.flags) != sorted(set(item.flags)):
        raise Invalid(f"{where}.flags", "must be sorted, each flag once")


def _check_offer(where: str, item: Offer) -> None:
    check_name(f"{where}.name", item.name)
    if (item.price is None) != (not item.currency):
        raise Invalid(f"{where}.currency", "a price has a currency, and nothing else has")
    if item.currency and not CURRENCY.fullmatch(item.currency):
        raise Invalid(f"{where}.currency", "must be an ISO 4217 code, such as EUR")
    if item.price is not None and not (item.price.is_finite() and 0 <= item.price < MAX_PRICE):
        raise Invalid(f"{where}.price", "must be an amount of money, not negative")
    if item.valid_from and item.valid_until and item.valid_until < item.valid_from:
        raise Invalid(f"{where}.valid_until", "lies before valid_from")


# State.


def evolve(state: Catalogue, event: Event) -> Catalogue:
    match event:
        case TopicAdded(topic_id, parent, name):
            return _with_topic(state, topic_id, Topic(name, parent))
        case TopicRenamed(topic_id, name):
            return _with_topic(state, topic_id, replace(state.topics[topic_id], name=name))
        case TopicMoved(topic_id, parent):
            return _with_topic(state, topic_id, replace(state.topics[topic_id], parent=parent))
        case TopicRetired(topic_id):
            return _with_topic(state, topic_id, replace(state.topics[topic_id], retired=True))
        case TopicReinstated(topic_id):
            return _with_topic(state, topic_id, replace(state.topics[topic_id], retired=False))
        case DispositionDefined(id_, name, closes, flags):
            disposition = Disposition(name, closes, tuple(flags))
            return replace(state, dispositions={**state.dispositions, id_: disposition})
        case DispositionRetired(id_):
            gone = replace(state.dispositions[id_], retired=True)
            return replace(state, dispositions={**state.dispositions, id_: gone})
        case OfferDefined(id_, name, price, currency, valid_from, valid_until):
            offer = Offer(name, price, currency, valid_from, valid_until)
            return replace(state, offers={**state.offers, id_: offer})
        case OfferRetired(id_):
            gone_offer = replace(state.offers[id_], retired=True)
            return replace(state, offers={**state.offers, id_: gone_offer})
        case RefusalReasonDefined(id_, name, needs_date, needs_text):
            reason = RefusalReason(name, needs_date, needs_text)
            return replace(state, refusal_reasons={**state.refusal_reasons, id_: reason})
        case RefusalReasonRetired(id_):
            gone_reason = replace(state.refusal_reasons[id_], retired=True)
            return replace(state, refusal_reasons={**state.refusal_reasons, id_: gone_reason})


def _with_topic(state: Catalogue, topic_id: str, topic: Topic) -> Catalogue:
    return replace(state, topics={**state.topics, topic_id: topic})


DECIDER: Decider[Command, Catalogue, Event] = Decider(Catalogue(), decide, evolve, get_args(Event))
