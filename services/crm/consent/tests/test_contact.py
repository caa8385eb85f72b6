"""Who may be contacted: the cases one by one, and what holds whatever is known."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventkit.decider import Invalid
from services.crm.consent.address import PURPOSES, Channel
from services.crm.consent.contact import (
    About,
    ContactPolicyPublished,
    Evidence,
    Ground,
    KnownConsent,
    Listed,
    Policy,
    PublishPolicy,
    Question,
    Rule,
    SeenList,
    decide_contact,
    decide_policy,
    evolve_policy,
)
from services.crm.consent.donotcall import DAY, Kind, Settings

NOW = 20_000 * DAY
VOICE = Channel.VOICE
SELL = Question(VOICE, "sales", NOW)
INFORM = Question(VOICE, "information", NOW)

GIVEN = KnownConsent("k", 1, NOW - 10 * DAY, None, None)
WITHDRAWN = replace(GIVEN, version=2, withdrawn_at=NOW - DAY)
EXPIRED = replace(GIVEN, expires_at=NOW)
LATER = replace(GIVEN, given_at=NOW + 1)
OBJECTION = KnownConsent("k", 1, None, None, NOW - DAY)

OWN = SeenList("acme", "own", 7, Settings("Own"), None)
REGISTRY = SeenList(
    "centre",
    "bloctel",
    31,
    Settings("Bloctel", Kind.REGISTRY, (VOICE,), ("sales", "information"), 31),
    NOW - DAY,
)
REQUIRED = replace(REGISTRY, settings=replace(REGISTRY.settings, required=True))
HIT = Listed(NOW - 20 * DAY, None)
HIT_SINCE = Listed(NOW - 5 * DAY, None)
OVERRIDES = Policy(
    3, (Rule("sales", (VOICE,), True), Rule("information", (), True), Rule("fair", (VOICE,)))
)


@pytest.mark.parametrize(
    ("question", "evidence", "allowed", "decisive"),
    [
        (SELL, Evidence(), False, (About.NO_CONSENT, "", 0, "none-given")),
        (SELL, Evidence(consent=GIVEN), True, (About.CONSENT, "k", 1, "given")),
        (SELL, Evidence(consent=WITHDRAWN), False, (About.CONSENT, "k", 2, "withdrawn")),
        (SELL, Evidence(consent=EXPIRED), False, (About.CONSENT, "k", 1, "expired")),
        (
            replace(SELL, at=NOW - 1),
            Evidence(consent=EXPIRED),
            True,
            (About.CONSENT, "k", 1, "given"),
        ),
        (SELL, Evidence(consent=LATER), False, (About.CONSENT, "k", 1, "not-given-yet")),
        (SELL, Evidence(consent=OBJECTION), False, (About.CONSENT, "k", 1, "withdrawn")),
        (INFORM, Evidence(), True, (About.NO_CONSENT, "", 0, "not-needed")),
        (INFORM, Evidence(consent=EXPIRED), True, (About.CONSENT, "k", 1, "expired")),
        (INFORM, Evidence(consent=OBJECTION), False, (About.CONSENT, "k", 1, "withdrawn")),
        (INFORM, Evidence(consent=WITHDRAWN), False, (About.CONSENT, "k", 2, "withdrawn")),
        # A policy of the client's: a purpose of its own, and channels.
        (
            replace(INFORM, purpose="fair"),
            Evidence(OVERRIDES),
            False,
            (About.NO_CONSENT, "", 0, "none-given"),
        ),
        (
            Question(Channel.EMAIL, "sales", NOW),
            Evidence(OVERRIDES),
            True,
            (About.POLICY, "sales", 3, "consent-not-needed"),
        ),
        # Lists: a hit, no hit, another purpose, an entry whose time is over.
        (INFORM, Evidence(lists=(OWN,)), True, (About.LIST, "own", 7, "not-listed")),
        (
            INFORM,
            Evidence(lists=(replace(OWN, listed=HIT),)),
            False,
            (About.LIST, "own", 7, "listed"),
        ),
        (
            INFORM,
            Evidence(lists=(replace(OWN, listed=Listed(0, NOW)),)),
            True,
            (About.LIST, "own", 7, "not-listed"),
        ),
        (
            INFORM,
            Evidence(lists=(replace(OWN, listed=Listed(0, NOW + 1)),)),
            False,
            (About.LIST, "own", 7, "listed"),
        ),
        (
            INFORM,
            Evidence(lists=(replace(REGISTRY, listed=HIT),)),
            False,
            (About.LIST, "centre/bloctel", 31, "listed"),
        ),
        # A consent overrides a register where the policy says so, if it is newer.
        (
            SELL,
            Evidence(consent=GIVEN, lists=(replace(REGISTRY, listed=HIT),)),
            False,
            (About.LIST, "centre/bloctel", 31, "listed"),
        ),
        (
            SELL,
            Evidence(OVERRIDES, GIVEN, (replace(REGISTRY, listed=HIT),)),
            True,
            (About.LIST, "centre/bloctel", 31, "overridden-by-consent"),
        ),
        (
            SELL,
            Evidence(OVERRIDES, GIVEN, (replace(REGISTRY, listed=HIT_SINCE),)),
            False,
            (About.LIST, "centre/bloctel", 31, "listed"),
        ),
        (
            SELL,
            Evidence(OVERRIDES, WITHDRAWN, (replace(REGISTRY, listed=HIT),)),
            False,
            (About.LIST, "centre/bloctel", 31, "listed"),
        ),
        # ... and never the client's own.
        (
            SELL,
            Evidence(OVERRIDES, GIVEN, (replace(OWN, listed=HIT),)),
            False,
            (About.LIST, "own", 7, "listed"),
        ),
        # A copy's age: 31 days are allowed, a moment more is not.
        (
            INFORM,
            Evidence(lists=(replace(REQUIRED, as_of=NOW - 31 * DAY),)),
            True,
            (About.LIST, "centre/bloctel", 31, "not-listed"),
        ),
        (
            INFORM,
            Evidence(lists=(replace(REQUIRED, as_of=NOW - 31 * DAY - 1),)),
            False,
            (About.LIST, "centre/bloctel", 31, "out-of-date"),
        ),
        (
            INFORM,
            Evidence(lists=(replace(REGISTRY, as_of=NOW - 31 * DAY - 1),)),
            True,
            (About.LIST, "centre/bloctel", 31, "out-of-date"),
        ),
        (
            INFORM,
            Evidence(lists=(replace(REQUIRED, as_of=None),)),
            False,
            (About.LIST, "centre/bloctel", 31, "never-loaded"),
        ),
        (
            SELL,
            Evidence(OVERRIDES, GIVEN, (replace(REQUIRED, as_of=NOW - 32 * DAY, listed=HIT),)),
            False,
            (About.LIST, "centre/bloctel", 31, "out-of-date"),
        ),
        # An erased person's address, until somebody consents again.
        (INFORM, Evidence(erased_at=NOW - DAY), False, (About.ERASED, "", 0, "erased")),
        (
            SELL,
            Evidence(consent=GIVEN, erased_at=NOW - DAY),
            True,
            (About.ERASED, "", 0, "consent-since"),
        ),
        (
            INFORM,
            Evidence(consent=EXPIRED, erased_at=NOW - DAY),
            False,
            (About.ERASED, "", 0, "erased"),
        ),
    ],
)
def test_verdicts(
    question: Question, evidence: Evidence, allowed: bool, decisive: tuple[About, str, int, str]
) -> None:
    verdict = decide_contact(question, evidence)
    assert verdict.allowed is allowed
    found = [g for g in verdict.grounds if (g.kind, g.id, g.version, g.reason) == decisive]
    assert len(found) == 1, verdict.grounds
    if decisive[0] is not About.POLICY:
        # What decides against comes first; in the tables nothing else forbids what is allowed.
        assert allowed or found[0].allows is False


def test_a_list_is_named_only_where_it_applies() -> None:
    lists = (
        OWN,
        REGISTRY,
        replace(OWN, list_id="mails", settings=Settings("Mails", channels=(Channel.EMAIL,))),
        replace(OWN, list_id="polls", settings=Settings("Polls", purposes=("survey",))),
    )
    verdict = decide_contact(INFORM, Evidence(lists=lists))
    named = {(ground.id, ground.version) for ground in verdict.grounds if ground.kind == About.LIST}
    assert named == {("own", 7), ("centre/bloctel", 31)}


def test_an_unknown_purpose_is_an_error_and_not_a_no() -> None:
    with pytest.raises(Invalid) as error:
        decide_contact(Question(VOICE, "sails", NOW), Evidence())
    assert error.value.field == "purpose"


times = st.integers(NOW - 50 * DAY, NOW + 50 * DAY)
maybe_times = st.none() | times
consents = st.builds(
    KnownConsent, st.just("k"), st.integers(1, 9), maybe_times, maybe_times, maybe_times
)
lists = st.builds(
    SeenList,
    st.sampled_from(["acme", "centre"]),
    st.sampled_from("abcdef"),
    st.integers(1, 9),
    st.builds(
        Settings,
        st.just("A list"),
        st.sampled_from(Kind),
        st.sampled_from([(), (VOICE,), (Channel.SMS, Channel.EMAIL)]),
        st.sampled_from([(), ("sales",), ("survey", "information")]),
        st.sampled_from([None, 31]),
        st.booleans(),
    ),
    maybe_times,
    st.none() | st.builds(Listed, times, maybe_times),
)
policies = st.builds(
    Policy,
    st.integers(1, 9),
    st.lists(
        st.builds(
            Rule,
            st.sampled_from(PURPOSES),
            st.sampled_from([(), (VOICE,), tuple(Channel)]),
            st.booleans(),
        ),
        unique_by=lambda rule: rule.purpose,
    ).map(tuple),
)
evidences = st.builds(
    Evidence,
    policies,
    st.none() | consents,
    st.lists(lists, max_size=6, unique_by=lambda seen: (seen.client_id, seen.list_id)).map(tuple),
    maybe_times,
)
questions = st.builds(Question, st.sampled_from(Channel), st.sampled_from(PURPOSES), times)


@given(questions, evidences, st.randoms())
def test_the_order_of_what_is_known_changes_nothing(question, evidence, random) -> None:
    shuffled = list(evidence.lists)
    random.shuffle(shuffled)
    verdict = decide_contact(question, evidence)
    assert decide_contact(question, replace(evidence, lists=tuple(shuffled))) == verdict
    assert verdict.allowed is all(ground.allows for ground in verdict.grounds)
    assert list(verdict.grounds) == sorted(verdict.grounds, key=lambda g: (g.allows, g.kind, g.id))


@given(questions, evidences)
def test_each_list_that_applies_is_named_once_with_its_version(question, evidence) -> None:
    named = [
        (ground.id, ground.version)
        for ground in decide_contact(question, evidence).grounds
        if ground.kind is About.LIST
    ]
    applying = [
        (seen.name, seen.version)
        for seen in evidence.lists
        if question.channel in (seen.settings.channels or tuple(Channel))
        and question.purpose in (seen.settings.purposes or PURPOSES)
    ]
    assert sorted(named) == sorted(applying)


@given(questions, evidences, lists)
def test_another_list_never_allows_what_was_forbidden(question, evidence, another) -> None:
    more = replace(evidence, lists=(*evidence.lists, replace(another, list_id="more")))
    if decide_contact(question, more).allowed:
        assert decide_contact(question, evidence).allowed


@given(questions, evidences)
def test_withdrawn_by_then_is_never_allowed(question, evidence) -> None:
    if evidence.consent is None:
        return
    withdrawn = replace(evidence.consent, withdrawn_at=question.at)
    verdict = decide_contact(question, replace(evidence, consent=withdrawn))
    assert not verdict.allowed
    assert Ground(False, About.CONSENT, "k", withdrawn.version, "withdrawn") in verdict.grounds


@given(questions, evidences)
def test_consent_never_beats_an_own_list(question, evidence) -> None:
    own = SeenList("acme", "own", 1, Settings("Own"), None, Listed(NOW - 99 * DAY, None))
    listed = replace(evidence, lists=(*evidence.lists, own))
    assert not decide_contact(question, listed).allowed


def test_a_policy_is_published_once() -> None:
    command = PublishPolicy((Rule("sales", (VOICE,)), Rule("fair")))
    (event,) = decide_policy(command, Policy())
    assert event == ContactPolicyPublished(command.rules)
    policy = evolve_policy(Policy(), event)
    assert policy.version == 1
    assert decide_policy(command, policy) == []
    assert {rule.purpose for rule in policy.all_rules} == {*PURPOSES, "fair"}


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        ((Rule("Sales"),), "rules.0.purpose"),
        ((Rule("a"), Rule("a")), "rules.1.purpose"),
        ((Rule("a", (VOICE, VOICE)),), "rules.0.consent_on"),
        (tuple(Rule(f"p{n}") for n in range(101)), "rules"),
    ],
)
def test_policies_that_make_no_sense(rules: tuple[Rule, ...], field: str) -> None:
    with pytest.raises(Invalid) as error:
        decide_policy(PublishPolicy(rules), Policy())
    assert error.value.field == field
