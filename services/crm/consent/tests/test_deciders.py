"""Consents and lists as tables: what was, a command, what happens; a repeat does nothing."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventkit.decider import Invalid, Rejected, fold
from services.crm.consent import address, consent, donotcall
from services.crm.consent.address import Channel
from services.crm.consent.consent import (
    ConsentErased,
    ConsentGiven,
    ConsentWithdrawn,
    EraseConsent,
    GiveConsent,
    Proof,
    WithdrawConsent,
)
from services.crm.consent.donotcall import (
    DAY,
    ChangeNumbers,
    ChangeSettings,
    CreateList,
    ImportOpened,
    ImportPublished,
    ListCreated,
    ListRetired,
    ListSettingsChanged,
    NumbersChanged,
    OpenImport,
    PublishImport,
    RetireList,
    Settings,
)

NOW = 20_000 * DAY
GIVE = GiveConsent(
    "k", Channel.VOICE, "sales", "+33612345678", "00", "", Proof.RECORDING, "rec-1", "call", "ana",
    "yes please", NOW - 100, None, NOW,
)  # fmt: skip
WITHDRAW = WithdrawConsent(
    "k", Channel.VOICE, "sales", "+33612345678", "00", "", "call", "no more", NOW - 50, NOW
)


def given_event(command: GiveConsent, customer_id: str = "") -> ConsentGiven:
    return ConsentGiven(
        command.consent_id,
        command.channel,
        command.purpose,
        command.address_hash,
        customer_id or command.customer_id,
        command.proof,
        command.taken_by,
        command.given_at,
        command.expires_at,
        command.address,
        command.reference,
        command.place,
        command.text,
    )


def withdrawn_event(command: WithdrawConsent, customer_id: str = "") -> ConsentWithdrawn:
    return ConsentWithdrawn(
        command.consent_id,
        command.channel,
        command.purpose,
        command.address_hash,
        customer_id or command.customer_id,
        command.withdrawn_at,
        command.address,
        command.place,
        command.text,
    )


ERASE = EraseConsent("k", NOW)
GIVEN, GONE = given_event(GIVE), withdrawn_event(WITHDRAW)
AGAIN = replace(GIVE, given_at=NOW - 10, reference="rec-2")
ERASED = ConsentErased("k", Channel.VOICE, "sales", NOW)


@pytest.mark.parametrize(
    ("before", "command", "expected"),
    [
        ([], GIVE, [GIVEN]),
        ([GIVEN], GIVE, []),
        ([GIVEN], replace(GIVE, at=NOW + DAY), []),
        ([GIVEN], AGAIN, [given_event(AGAIN)]),
        (
            [GIVEN],
            replace(GIVE, expires_at=NOW + 1),
            [given_event(replace(GIVE, expires_at=NOW + 1))],
        ),
        ([GIVEN], replace(GIVE, customer_id="c"), [given_event(GIVE, "c")]),
        ([given_event(GIVE, "c")], GIVE, []),
        ([given_event(GIVE, "c")], AGAIN, [given_event(AGAIN, "c")]),
        ([GIVEN], replace(GIVE, given_at=NOW - 101), Rejected),
        ([GIVEN], WITHDRAW, [GONE]),
        ([given_event(GIVE, "c")], WITHDRAW, [withdrawn_event(WITHDRAW, "c")]),
        ([GIVEN, GONE], WITHDRAW, []),
        ([GIVEN, GONE], replace(WITHDRAW, withdrawn_at=NOW - 60), []),
        (
            [GIVEN, GONE],
            replace(WITHDRAW, withdrawn_at=NOW),
            [withdrawn_event(replace(WITHDRAW, withdrawn_at=NOW))],
        ),
        ([GIVEN, GONE, withdrawn_event(replace(WITHDRAW, withdrawn_at=NOW))], AGAIN, Rejected),
        ([GIVEN, GONE], GIVE, Rejected),
        ([GIVEN, GONE], replace(GIVE, given_at=WITHDRAW.withdrawn_at), Rejected),
        ([GIVEN, GONE], AGAIN, [given_event(AGAIN)]),
        ([GIVEN, GONE, given_event(AGAIN)], WITHDRAW, Rejected),
        ([], WITHDRAW, [GONE]),
        ([GONE], GIVE, Rejected),
        ([GONE], AGAIN, [given_event(AGAIN)]),
        ([], ERASE, []),
        ([GIVEN], ERASE, [ERASED]),
        ([GONE], ERASE, [ERASED]),
        ([GIVEN, ERASED], ERASE, []),
        ([GIVEN, ERASED], GIVE, [GIVEN]),
        ([], replace(GIVE, given_at=NOW + 1), Invalid),
        ([], replace(GIVE, expires_at=GIVE.given_at), Invalid),
        ([], replace(WITHDRAW, withdrawn_at=NOW + 1), Invalid),
    ],
)
def test_consents(before, command, expected) -> None:
    state = fold(consent.DECIDER, before)
    if isinstance(expected, type):
        with pytest.raises(expected):
            consent.decide(command, state)
        return
    events = consent.decide(command, state)
    assert events == expected
    assert consent.decide(command, fold(consent.DECIDER, events, state)) == []


def test_an_erased_consent_has_another_key_when_it_begins_anew() -> None:
    before = fold(consent.DECIDER, [GIVEN])
    assert before.subject("k") == "k/0"
    after = fold(consent.DECIDER, [ERASED], before)
    assert not after.known
    assert after.subject("k") == "k/1"
    assert fold(consent.DECIDER, [given_event(GIVE, "c")], after).subject("k") == "c"


moments = st.integers(NOW - 20, NOW)
commands = st.lists(
    st.one_of(
        st.builds(
            lambda at, customer: replace(GIVE, given_at=at, customer_id=customer),
            moments,
            st.sampled_from(["", "c", "d"]),
        ),
        st.builds(lambda at: replace(WITHDRAW, withdrawn_at=at), moments),
        st.just(ERASE),
    )
)


@given(commands)
def test_the_latest_word_counts_whatever_the_order(given_commands) -> None:
    state, said = consent.Consent(), []
    for command in given_commands:
        try:
            events = consent.decide(command, state)
        except Rejected:
            continue
        state = fold(consent.DECIDER, events, state)
        assert consent.decide(command, state) == []
        said = [] if isinstance(command, EraseConsent) else [*said, command]
        gives = [each.given_at for each in said if isinstance(each, GiveConsent)]
        stops = [each.withdrawn_at for each in said if isinstance(each, WithdrawConsent)]
        allows = state.given_at is not None and state.withdrawn_at is None
        assert allows is bool(gives and (not stops or max(gives) > max(stops)))


SETTINGS = Settings("Bloctel", donotcall.Kind.REGISTRY, (Channel.VOICE,), ("sales",), 31, True)
CREATED = ListCreated("l", SETTINGS)
ADD = ChangeNumbers(5, 0, "week 47", None, NOW)
ADDED = NumbersChanged(5, 0, 5, "week 47", None)
OPEN = OpenImport("i", "copy", NOW - DAY, NOW)
OPENED = ImportOpened("i", "copy", NOW - DAY, 5)
PUBLISHED = ImportPublished("i", 3, 1, 7, "copy", NOW - DAY)


@pytest.mark.parametrize(
    ("before", "command", "expected"),
    [
        ([], CreateList("l", SETTINGS), [CREATED]),
        ([CREATED], CreateList("l", SETTINGS), []),
        ([CREATED], CreateList("l", Settings("Other")), Rejected),
        ([], CreateList("a/b", SETTINGS), Invalid),
        ([], CreateList("l", Settings("")), Invalid),
        ([], CreateList("l", Settings("x", required=True)), Invalid),
        ([], CreateList("l", Settings("x", max_age_days=0)), Invalid),
        ([], CreateList("l", Settings("x", purposes=("A",))), Invalid),
        ([], CreateList("l", Settings("x", purposes=("a", "a"))), Invalid),
        ([], ADD, Rejected),
        ([CREATED], ChangeSettings(SETTINGS), []),
        ([CREATED], ChangeSettings(Settings("x")), [ListSettingsChanged(Settings("x"), 0)]),
        ([CREATED], ADD, [ADDED]),
        ([CREATED, ADDED], replace(ADD, added=0), []),
        ([CREATED, ADDED], replace(ADD, added=0, source=""), []),
        (
            [CREATED, ADDED],
            replace(ADD, added=0, as_of=NOW),
            [NumbersChanged(0, 0, 5, "week 47", NOW)],
        ),
        (
            [CREATED, ADDED],
            ChangeNumbers(1, 2, "", None, NOW),
            [NumbersChanged(1, 2, 4, "week 47", None)],
        ),
        ([CREATED], replace(ADD, as_of=NOW + 1), Invalid),
        ([CREATED, NumbersChanged(0, 0, 0, "", NOW)], replace(ADD, as_of=NOW - 1), Rejected),
        ([CREATED, ADDED], OPEN, [OPENED]),
        ([CREATED, ADDED, OPENED], OPEN, []),
        ([CREATED, ADDED, OPENED], replace(OPEN, source="x"), Rejected),
        ([CREATED, ADDED, OPENED], replace(OPEN, import_id="j"), [replace(OPENED, import_id="j")]),
        ([CREATED, ADDED], replace(OPEN, as_of=NOW + 1), Invalid),
        ([CREATED, ADDED], replace(OPEN, import_id=""), Invalid),
        ([CREATED, ADDED, OPENED], PublishImport("i", 3, 1), [PUBLISHED]),
        ([CREATED, ADDED, OPENED, PUBLISHED], PublishImport("i", 0, 0), []),
        ([CREATED, ADDED, OPENED, PUBLISHED], OPEN, Rejected),
        ([CREATED, ADDED], PublishImport("i", 0, 0), Rejected),
        ([CREATED, ADDED, OPENED], PublishImport("j", 0, 0), Rejected),
        ([CREATED], RetireList(), [ListRetired(0)]),
        ([CREATED, ListRetired(0)], RetireList(), []),
        ([CREATED, ListRetired(0)], ADD, Rejected),
        ([CREATED, ListRetired(0)], CreateList("l", SETTINGS), Rejected),
    ],
)
def test_lists(before, command, expected) -> None:
    state = fold(donotcall.DECIDER, before)
    assert state.version == len(before)
    if isinstance(expected, type):
        with pytest.raises(expected):
            donotcall.decide(command, state)
        return
    events = donotcall.decide(command, state)
    assert events == expected
    if not isinstance(command, ChangeNumbers):  # of which the store counts anew what it changes
        assert donotcall.decide(command, fold(donotcall.DECIDER, events, state)) == []


@pytest.mark.parametrize(
    ("channel", "text", "form"),
    [
        (Channel.VOICE, "+33612345678", "tel:+33612345678"),
        (Channel.SMS, "+33612345678", "tel:+33612345678"),
        (Channel.EMAIL, "Ann.O'Hara@Example.COM", "mail:ann.o'hara@example.com"),
        (Channel.CHAT, "web:9fA3", "chat:web:9fA3"),
        (Channel.VOICE, "0612345678", None),
        (Channel.VOICE, "+33 6 12 34 56 78", None),
        (Channel.VOICE, "+0612345678", None),
        (Channel.VOICE, "+336123456789012345", None),
        (Channel.VOICE, "+33612345678\n", None),
        (Channel.VOICE, "+٣٣٦١٢٣٤٥٦٧٨", None),
        (Channel.VOICE, "", None),
        (Channel.EMAIL, "ann", None),
        (Channel.EMAIL, "ann@localhost", None),
        (Channel.EMAIL, "a b@example.com", None),
        (Channel.EMAIL, "\ud800@example.com", None),
        (Channel.EMAIL, "a@" + "b" * 300 + ".com", None),
        (Channel.CHAT, "", None),
        (Channel.CHAT, "a b", None),
    ],
)
def test_addresses(channel: Channel, text: str, form: str | None) -> None:
    if form is not None:
        assert address.normalised(channel, text) == form
        return
    with pytest.raises(Invalid) as error:
        address.normalised(channel, text)
    assert error.value.field == "address"
    assert not text or text not in str(error.value)
