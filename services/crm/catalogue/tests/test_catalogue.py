"""A client's catalogue: what a definition leads to, and what is always so of the tree of topics."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventkit.decider import Invalid, fold
from eventkit.eventcodec import EventCodec
from services.crm.catalogue.api import Template, template_catalogue
from services.crm.catalogue.catalogue import (
    DECIDER,
    MAX_DEPTH,
    MAX_ITEMS,
    Catalogue,
    Command,
    DefineDisposition,
    DefineOffer,
    DefineRefusalReason,
    DefineTopic,
    Disposition,
    DispositionDefined,
    DispositionRetired,
    Flag,
    ImportCatalogue,
    Offer,
    OfferDefined,
    OfferRetired,
    RefusalReason,
    RefusalReasonDefined,
    RefusalReasonRetired,
    Topic,
    TopicAdded,
    TopicMoved,
    TopicReinstated,
    TopicRenamed,
    TopicRetired,
)

N = {"": "name"}
FR = {"": "name", "fr": "nom"}
BILLING = TopicAdded("billing", "", N)
INVOICE = TopicAdded("invoice", "billing", N)
SOLD = DispositionDefined("sold", N, True, (Flag.SALE,))
FIBRE = OfferDefined("fibre", N, Decimal("29.90"), "EUR", None, date(2026, 12, 31))
FIBRE_OFFER = Offer(N, Decimal("29.90"), "EUR", None, date(2026, 12, 31))
NOT_NOW = RefusalReasonDefined("not-now", N, True, False)

TABLE: list[tuple[Sequence[Any], Command, Sequence[Any]]] = [
    # Topics.
    ([], DefineTopic("billing", Topic(N)), [BILLING]),
    ([BILLING], DefineTopic("billing", Topic(N)), []),
    ([BILLING], DefineTopic("invoice", Topic(N, "billing")), [INVOICE]),
    ([BILLING], DefineTopic("billing", Topic(FR)), [TopicRenamed("billing", FR)]),
    ([BILLING, INVOICE], DefineTopic("invoice", Topic(N)), [TopicMoved("invoice", "")]),
    ([BILLING], DefineTopic("billing", Topic(N, retired=True)), [TopicRetired("billing")]),
    (
        [BILLING, TopicRetired("billing")],
        DefineTopic("billing", Topic(FR)),
        [TopicRenamed("billing", FR), TopicReinstated("billing")],
    ),
    # The others.
    ([], DefineDisposition("sold", Disposition(N, True, (Flag.SALE,))), [SOLD]),
    ([SOLD], DefineDisposition("sold", Disposition(N, True, (Flag.SALE,))), []),
    (
        [SOLD],
        DefineDisposition("sold", Disposition(N, True, (Flag.SALE,), retired=True)),
        [DispositionRetired("sold")],
    ),
    (
        [SOLD, DispositionRetired("sold")],
        DefineDisposition("sold", Disposition(N, True, (Flag.SALE,))),
        [SOLD],
    ),
    (
        [SOLD],
        DefineDisposition("sold", Disposition(FR, retired=True)),
        [DispositionDefined("sold", FR, True, ()), DispositionRetired("sold")],
    ),
    ([], DefineOffer("fibre", FIBRE_OFFER), [FIBRE]),
    ([FIBRE], DefineOffer("fibre", Offer(N, Decimal("29.9"), "EUR", None, date(2026, 12, 31))), []),
    (
        [FIBRE],
        DefineOffer("fibre", Offer(N, retired=True)),
        [OfferDefined("fibre", N, None, "", None, None), OfferRetired("fibre")],
    ),
    ([], DefineRefusalReason("not-now", RefusalReason(N, needs_date=True)), [NOT_NOW]),
    (
        [],
        DefineRefusalReason("old", RefusalReason(N, retired=True)),
        [RefusalReasonDefined("old", N, False, False), RefusalReasonRetired("old")],
    ),
    # A whole catalogue: only what differs, those above first, and what is not named stays.
    (
        [BILLING, SOLD],
        ImportCatalogue(
            Catalogue(
                {"paper": Topic(N, "invoice"), "invoice": Topic(N, "billing")},
                offers={"fibre": FIBRE_OFFER},
            )
        ),
        [INVOICE, TopicAdded("paper", "invoice", N), FIBRE],
    ),
    (
        # Who was below is above now.
        [BILLING, INVOICE],
        ImportCatalogue(Catalogue({"billing": Topic(N, "invoice"), "invoice": Topic(N)})),
        [TopicMoved("invoice", ""), TopicMoved("billing", "invoice")],
    ),
]


@pytest.mark.parametrize(("before", "command", "events"), TABLE)
def test_decide(before: Sequence[Any], command: Command, events: Sequence[Any]) -> None:
    state = fold(DECIDER, before)
    assert list(DECIDER.decide(command, state)) == list(events)
    assert list(DECIDER.decide(command, fold(DECIDER, events, state))) == []


DEEP = [
    TopicAdded(f"t{depth}", f"t{depth - 1}" if depth > 1 else "", N)
    for depth in range(1, MAX_DEPTH + 1)
]

WRONG: list[tuple[Sequence[Any], Command, str]] = [
    ([], DefineTopic("billing", Topic({})), "name"),
    ([], DefineTopic("billing", Topic({"": " "})), "name"),
    ([], DefineTopic("billing", Topic({"": "x" * 201})), "name"),
    ([], DefineTopic("billing", Topic({"": "a\0b"})), "name"),
    ([], DefineTopic("billing", Topic({"": "\ud800"})), "name"),
    ([], DefineTopic("billing", Topic({"French": "nom"})), "name"),
    ([], DefineTopic("no id", Topic(N)), "topics"),
    ([], DefineTopic("billing", Topic(N, "nobody")), "parent"),
    ([], DefineTopic("billing", Topic(N, "billing")), "parent"),
    ([BILLING, INVOICE], DefineTopic("billing", Topic(N, "invoice")), "parent"),
    (DEEP, DefineTopic("deeper", Topic(N, f"t{MAX_DEPTH}")), "parent"),
    ([*DEEP, BILLING], DefineTopic("t1", Topic(N, "billing")), "parent"),
    (
        [BILLING],
        ImportCatalogue(Catalogue({"a": Topic(N, "b"), "b": Topic(N, "a"), "c": Topic(N, "a")})),
        "topics.a.parent",
    ),
    (
        [],
        ImportCatalogue(Catalogue({"a": Topic(N, "b"), "b": Topic(N, "nobody")})),
        "topics.b.parent",
    ),
    ([], DefineDisposition("sold", Disposition(N, flags=(Flag.SALE, Flag.SALE))), "flags"),
    ([], DefineOffer("fibre", Offer(N, price=Decimal(1))), "currency"),
    ([], DefineOffer("fibre", Offer(N, currency="EUR")), "currency"),
    ([], DefineOffer("fibre", Offer(N, Decimal(1), "euro")), "currency"),
    ([], DefineOffer("fibre", Offer(N, Decimal(-1), "EUR")), "price"),
    ([], DefineOffer("fibre", Offer(N, Decimal("NaN"), "EUR")), "price"),
    (
        [],
        DefineOffer("fibre", Offer(N, valid_from=date(2026, 2, 1), valid_until=date(2026, 1, 1))),
        "valid_until",
    ),
    ([], DefineRefusalReason("x" * 129, RefusalReason(N)), "refusal_reasons"),
    (
        [],
        ImportCatalogue(Catalogue(topics={f"t{n}": Topic(N) for n in range(MAX_ITEMS + 1)})),
        "topics",
    ),
]


@pytest.mark.parametrize(("before", "command", "field"), WRONG)
def test_what_makes_no_sense(before: Sequence[Any], command: Command, field: str) -> None:
    with pytest.raises(Invalid) as error:
        DECIDER.decide(command, fold(DECIDER, before))
    assert error.value.field == field


def test_an_offer_is_valid_on_its_first_and_its_last_day() -> None:
    offer = Offer(N, valid_from=date(2026, 1, 1), valid_until=date(2026, 1, 31))
    days = [date(2025, 12, 31), date(2026, 1, 1), date(2026, 1, 31), date(2026, 2, 1)]
    assert [offer.valid_on(day) for day in days] == [False, True, True, False]
    assert Offer(N).valid_on(days[0])


def test_what_is_below_a_retired_topic_is_not_selectable() -> None:
    state = fold(DECIDER, [BILLING, INVOICE, TopicRetired("billing")])
    assert state.path("invoice") == ("billing", "invoice")
    assert not state.selectable("invoice")
    assert fold(DECIDER, [TopicReinstated("billing")], state).selectable("invoice")


def test_events_survive_being_stored() -> None:
    codec = EventCodec(DECIDER.events)
    for event in (BILLING, SOLD, FIBRE, NOT_NOW, TopicMoved("a", "b"), OfferRetired("fibre")):
        name, body, personal = codec.encode(event)
        assert personal is None
        assert codec.decode(name, body.decode(), None) == event


def test_the_template_is_a_catalogue() -> None:
    wanted = ImportCatalogue(template_catalogue(Template.TELECOM))
    events = DECIDER.decide(wanted, Catalogue())
    state = fold(DECIDER, events)
    assert state == wanted.catalogue
    assert all(state.selectable(topic) for topic in state.topics)
    assert DECIDER.decide(wanted, state) == []
    assert state.refusal_reasons["not-now"].needs_date
    for items in (state.topics, state.dispositions, state.refusal_reasons):
        assert all({"", "fr", "ru"} == each.name.keys() for each in items.values())


IDS = st.sampled_from([f"t{number}" for number in range(12)])
TOPICS = st.builds(
    Topic,
    st.sampled_from([N, FR]),
    st.one_of(st.just(""), IDS),
    st.booleans(),
)
COMMANDS = st.one_of(
    st.builds(DefineTopic, IDS, TOPICS),
    st.builds(ImportCatalogue, st.builds(Catalogue, st.dictionaries(IDS, TOPICS, max_size=12))),
)


@given(st.lists(COMMANDS, max_size=30))
def test_whatever_is_wanted_topics_stay_a_tree(commands: list[Command]) -> None:
    state = Catalogue()
    for command in commands:
        try:
            events = DECIDER.decide(command, state)
        except Invalid:
            continue
        after = fold(DECIDER, events, state)
        # It says what was wanted, nothing that was there is gone, and a repeat is none.
        if isinstance(command, DefineTopic):
            wanted = {command.topic_id: command.topic}
        else:
            assert isinstance(command, ImportCatalogue)
            wanted = dict(command.catalogue.topics)
        assert after.topics == {**state.topics, **wanted}
        assert DECIDER.decide(command, after) == []
        for topic_id in after.topics:
            path = after.path(topic_id)
            assert len(path) == len(set(path)) <= MAX_DEPTH
        state = after


@given(st.lists(COMMANDS, max_size=10))
def test_at_no_event_is_a_topic_below_itself_or_below_nothing(commands: list[Command]) -> None:
    state = Catalogue()
    for command in commands:
        try:
            events = DECIDER.decide(command, state)
        except Invalid:
            continue
        for event in events:
            state = DECIDER.evolve(state, event)
            for topic_id in state.topics:
                seen = {topic_id}
                while parent := state.topics[topic_id].parent:
                    assert parent in state.topics
                    assert parent not in seen
                    seen.add(parent)
                    topic_id = parent
