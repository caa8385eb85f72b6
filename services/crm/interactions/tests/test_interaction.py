"""What agents say of a call: given, when, then."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import pytest
from relais.customers.v1.events_pb2 import CustomerEvent

from eventkit.decider import Invalid, NotFound, Rejected, fold
from eventkit.eventcodec import EventCodec
from eventkit.eventstore import Recorded
from eventkit.ids import event_id
from services.crm.interactions.codec import message
from services.crm.interactions.interaction import (
    DECIDER,
    AcceptOffer,
    ArticleHelped,
    AttributeCall,
    CallAttributed,
    CallClassified,
    CallDispositioned,
    CallNoted,
    ClassifyCall,
    Command,
    DispositionCall,
    EditNote,
    NoteEdited,
    OfferAccepted,
    OfferRefused,
    RecordHelp,
    RefuseOffer,
    Source,
    TextsMoved,
    WriteNote,
)

DAY = date(2026, 11, 23)
LATER = date(2027, 1, 15)
MINE = CallAttributed("c-1", Source.AGENT)
BY_PHONE = CallAttributed("c-1", Source.TELEPHONE)
NOTE = CallNoted("n-1", "ann", "Moves in May.", "")
REFUSED = OfferRefused("fibre", "ann", "not-now", LATER, "After moving.", "")
ACCEPTED = OfferAccepted("fibre", "ann", "")
CLASSIFIED = CallClassified("invoice", ("billing", "invoice"), "ann", "")
HELPED = ArticleHelped("router", 3, "ann", "")


def refuse(reason: str = "not-now", not_before: date | None = LATER, text: str = "") -> RefuseOffer:
    return RefuseOffer("fibre", "ann", reason, not_before, text, DAY)


TABLE: list[tuple[Sequence[Any], Command, Sequence[Any]]] = [
    # Whose call it was.
    ([], AttributeCall("c-1", Source.AGENT), [MINE]),
    ([], AttributeCall("c-1", Source.TELEPHONE), [BY_PHONE]),
    ([BY_PHONE], AttributeCall("c-1", Source.AGENT), []),
    ([MINE], AttributeCall("c-2", Source.AGENT), [CallAttributed("c-2", Source.AGENT)]),
    ([MINE], AttributeCall("c-2", Source.TELEPHONE), []),
    (
        [NOTE, REFUSED],
        AttributeCall("c-1", Source.AGENT),
        [MINE, TextsMoved({"n-1": "Moves in May."}, {"fibre": "After moving."})],
    ),
    ([ACCEPTED, CLASSIFIED], AttributeCall("c-1", Source.AGENT), [MINE]),
    # Notes.
    ([], WriteNote("n-1", "ann", "Moves in May."), [NOTE]),
    ([NOTE], WriteNote("n-1", "bob", "Moves in May."), []),
    (
        [MINE, NOTE],
        EditNote("n-1", "bob", "Moves in June."),
        [NoteEdited("n-1", "bob", "Moves in June.", "c-1")],
    ),
    ([NOTE], EditNote("n-1", "bob", "Moves in May."), []),
    # What it was about, how it ended.
    ([], ClassifyCall(("billing", "invoice"), "ann"), [CLASSIFIED]),
    ([CLASSIFIED], ClassifyCall(("billing", "invoice"), "bob"), []),
    (
        [CLASSIFIED],
        ClassifyCall(("billing",), "bob"),
        [CallClassified("billing", ("billing",), "bob", "")],
    ),
    ([], DispositionCall("resolved", "ann"), [CallDispositioned("resolved", "ann", "")]),
    (
        [CallDispositioned("resolved", "ann", "")],
        DispositionCall("call-back", "ann"),
        [CallDispositioned("call-back", "ann", "")],
    ),
    ([CallDispositioned("resolved", "ann", "")], DispositionCall("resolved", "bob"), []),
    # Offers: the last answer counts.
    ([], AcceptOffer("fibre", "ann"), [ACCEPTED]),
    ([ACCEPTED], AcceptOffer("fibre", "ann"), []),
    ([REFUSED], AcceptOffer("fibre", "ann"), [ACCEPTED]),
    ([], refuse(text="After moving."), [REFUSED]),
    ([REFUSED], refuse(text="After moving."), []),
    ([ACCEPTED], refuse(text="After moving."), [REFUSED]),
    (
        [REFUSED],
        refuse("too-expensive", None),
        [OfferRefused("fibre", "ann", "too-expensive", None, "", "")],
    ),
    ([], refuse(not_before=DAY, text="x"), [OfferRefused("fibre", "ann", "not-now", DAY, "x", "")]),
    # Articles.
    ([], RecordHelp("router", 3, "ann"), [HELPED]),
    ([HELPED], RecordHelp("router", 3, "bob"), []),
    ([HELPED], RecordHelp("router", 4, "ann"), [ArticleHelped("router", 4, "ann", "")]),
]


@pytest.mark.parametrize(("before", "command", "events"), TABLE)
def test_decide(before: Sequence[Any], command: Command, events: Sequence[Any]) -> None:
    state = fold(DECIDER, before)
    assert list(DECIDER.decide(command, state)) == list(events)
    assert list(DECIDER.decide(command, fold(DECIDER, events, state))) == []


WRONG: list[tuple[Sequence[Any], Command, type[Exception]]] = [
    ([NOTE], WriteNote("n-1", "ann", "Something else."), Rejected),
    ([], WriteNote("n-1", "ann", " "), Invalid),
    ([], WriteNote("n-1", "ann", "x" * 10_001), Invalid),
    ([], WriteNote("n-1", "ann", "a\0b"), Invalid),
    ([], WriteNote("n-1", "ann", "\udc80"), Invalid),
    ([], EditNote("n-1", "ann", "Moves in May."), NotFound),
    ([NOTE], EditNote("n-1", "ann", ""), Invalid),
    ([], refuse(not_before=date(2026, 11, 22)), Invalid),
    ([], RefuseOffer("fibre", "ann", "not-now", None, "", DAY, needs_date=True), Invalid),
    ([], RefuseOffer("fibre", "ann", "other", None, "", DAY, needs_text=True), Invalid),
    ([], RefuseOffer("fibre", "ann", "other", None, "a\0", DAY), Invalid),
]


@pytest.mark.parametrize(("before", "command", "error"), WRONG)
def test_what_is_refused(before: Sequence[Any], command: Command, error: type[Exception]) -> None:
    with pytest.raises(error):
        DECIDER.decide(command, fold(DECIDER, before))


def test_texts_that_moved_are_read_where_the_first_ones_are_gone() -> None:
    gone = [CallNoted("n-1", "ann", "", "c-1"), OfferRefused("fibre", "ann", "x", None, "", "c-1")]
    moved = TextsMoved({"n-1": "Moves in May."}, {"fibre": "After moving."})
    call = fold(DECIDER, [*gone, CallAttributed("c-2", Source.AGENT), moved])
    assert call.notes == {"n-1": "Moves in May."}
    assert call.answers["fibre"] is not None
    assert call.answers["fibre"].text == "After moving."
    after = fold(DECIDER, [NoteEdited("n-1", "ann", "In June.", "c-2"), ACCEPTED], call)
    assert after.notes == {"n-1": "In June."}
    assert after.answers == {"fibre": None}


EVENTS = [
    MINE,
    TextsMoved({"n-1": "a"}, {"fibre": "b"}),
    NOTE,
    NoteEdited("n-1", "ann", "Moves in June.", "c-1"),
    CLASSIFIED,
    CallDispositioned("resolved", "ann", "c-1"),
    ACCEPTED,
    REFUSED,
    HELPED,
]


@pytest.mark.parametrize("event", EVENTS)
def test_events_survive_being_stored_and_their_texts_do_not_survive_the_key(event: Any) -> None:
    codec = EventCodec(DECIDER.events)
    name, body, personal = codec.encode(event)
    assert codec.decode(name, body.decode(), personal) == event
    without = codec.decode(name, body.decode(), None)
    texts = {"Moves in May.", "Moves in June.", "After moving."}
    assert not any(text in repr(without) for text in texts)
    assert not any(text in body.decode() for text in texts)


@pytest.mark.parametrize("event", EVENTS)
def test_messages_carry_ids_and_nothing_personal(event: Any) -> None:
    stream = "acme/call/call-7"
    recorded = Recorded(
        "acme", stream, 3, event_id(stream, 3), event, 1_000_001, 2_000_002, "ann", "corr", "cause"
    )
    sent = message(recorded)
    if isinstance(event, NoteEdited | TextsMoved):
        assert sent is None
        return
    assert sent is not None
    assert b"oves" not in sent
    read = CustomerEvent.FromString(sent)
    assert (read.call_id, read.customer_id) == ("call-7", event.customer_id)
    assert (read.meta.event_id, read.meta.version) == (event_id(stream, 3), 3)
    assert read.meta.occurred_at.ToMicroseconds() == 1_000_001
    body = getattr(read, read.WhichOneof("body") or "")
    assert type(body).__name__ == type(event).__name__
    for field in body.DESCRIPTOR.fields:
        said = getattr(body, field.name)
        if field.name == "path":
            assert tuple(said) == event.path
        elif field.name == "not_before":
            assert said == (event.not_before.isoformat() if event.not_before else "")
        else:
            assert said == getattr(event, field.name)
