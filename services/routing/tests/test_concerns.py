"""Which events whom concern: nothing that is given has holes, and a break changes nothing."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from relais.calls.v1.events_pb2 import CallEvent

from services.routing.following import concerns
from services.routing.following.codec import heard
from services.routing.following.concerns import Following, Heard, Holders, Wanted

SITES = ("", "paris", "lyon")
POOLS = ("", "", "main", "other")


def publish(said: list[tuple[str, str, str, bool]], again: list[tuple[int, int]]) -> list[Heard]:
    """The log: each event with its version, and now and then a tail that is published again."""
    versions: dict[str, int] = defaultdict(int)
    log: list[Heard] = []
    for number, (stream, site, pool, over) in enumerate(said):
        versions[stream] += 1
        client = stream.partition("/")[0]
        log.append(Heard(stream, client, versions[stream], site, pool, over=over))
        for at, length in again:
            if at == number:
                log += log[-length:]
    return log


EVENTS = st.builds(
    publish,
    st.lists(
        st.tuples(
            st.sampled_from(["acme/1", "acme/2", "bolt/1"]),
            st.sampled_from(SITES),
            st.sampled_from(POOLS),
            st.sampled_from([False, False, False, True]),
        ),
        max_size=30,
    ),
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10)), max_size=2),
)
WANTED = st.builds(
    Wanted,
    st.sampled_from(SITES),
    st.sampled_from([frozenset[str](), frozenset({"acme"})]),
    st.sampled_from([frozenset[str](), frozenset({"main"})]),
)


@given(EVENTS, WANTED)
def test_from_where_it_is_named_until_it_is_over(events: list[Heard], wanted: Wanted) -> None:
    """Of a call: no event that does not concern, and those that do without a hole, in order."""
    following = Following(wanted)
    published: dict[str, dict[int, Heard]] = defaultdict(dict)
    given_of: dict[str, list[int]] = defaultdict(list)
    for offset, event in enumerate(events):
        published[event.stream][event.version] = event
        if following.take(event, offset, 0):
            given_of[event.stream].append(event.version)
    for stream, by_version in published.items():
        expected, known = [], list[Heard]()
        for version, event in sorted(by_version.items()):
            known.append(event)
            concerns = not wanted.clients or event.client_id in wanted.clients
            if wanted.site:
                concerns &= any(each.site == wanted.site for each in known)
            if wanted.pools:
                concerns &= any(each.pool in wanted.pools for each in known)
            if concerns:
                expected.append(version)
            if event.over:
                known.clear()
        heard_first = list(dict.fromkeys(given_of[stream]))
        assert heard_first == expected


@given(EVENTS, WANTED, st.integers(0, 40))
def test_who_hears_again_from_there_knows_the_same(
    events: list[Heard], wanted: Wanted, cut: int
) -> None:
    whole, again = Following(wanted), Following(wanted)
    for offset, event in enumerate(events[:cut]):
        whole.take(event, offset, 0)
    since = whole.since()
    start = min(cut, len(events)) if since is None else since
    for offset in range(start, min(cut, len(events))):
        again.take(events[offset], offset, 0)
    for offset in range(cut, len(events)):
        assert whole.take(events[offset], offset, 0) == again.take(events[offset], offset, 0)


def test_calls_that_never_end_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concerns, "OPEN_KEPT", 3)
    following = Following(Wanted(site="paris"))
    for number in range(5):
        assert following.take(Heard(f"a/{number}", "a", 1, "paris"), number, number)
    assert following.since() == 2
    assert not following.take(Heard("a/0", "a", 2), 9, 9)
    day = concerns.OPEN_KEPT_MS
    assert following.take(Heard("a/9", "a", 1, "paris"), 10, day + 4)
    assert following.since() == 4, "a day old, and not older"


def test_an_agent_is_concerned_while_a_call_is_in_hand() -> None:
    holders = Holders()
    holders.come("ann")
    holders.come("bob")
    assert holders.take(Heard("a/1", "a", given="ann")) == ["ann"]
    assert holders.take(Heard("a/1", "a", given="eve")) == ["ann"], "eve is not here"
    assert holders.take(Heard("a/1", "a", given="bob")) == ["ann", "bob"]
    assert holders.take(Heard("a/1", "a", taken="ann")) == ["ann", "bob"], "told of the end, too"
    assert holders.take(Heard("a/1", "a")) == ["bob"]
    holders.give("a/2", "bob")
    assert holders.take(Heard("a/2", "a", over=True)) == ["bob"]
    assert holders.take(Heard("a/2", "a")) == []
    holders.go("bob")
    assert holders.take(Heard("a/1", "a")) == []
    holders.give("a/3", "bob")
    assert holders.take(Heard("a/3", "a")) == [], "what comes too late is nobody's"
    holders.come("bob")
    assert holders.take(Heard("a/3", "a")) == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"queued": {"pool_id": "main"}}, {"pool": "main"}),
        ({"offered": {"agent_id": "ann", "site": "paris"}}, {"given": "ann", "site": "paris"}),
        ({"offer_expired": {"agent_id": "ann"}}, {"taken": "ann"}),
        ({"offer_declined": {"agent_id": "ann"}}, {"taken": "ann"}),
        ({"offer_withdrawn": {"agent_id": "ann"}}, {"taken": "ann"}),
        ({"assigned": {"agent_id": "ann", "site": "x"}}, {"given": "ann", "site": "x"}),
        ({"connected": {"agent_id": "ann"}}, {"given": "ann"}),
        ({"requeued": {"agent_id": "ann"}}, {"taken": "ann"}),
        ({"callback_failed": {"agent_id": "ann"}}, {"taken": "ann"}),
        ({"transferred": {"agent_id": "ann", "to_agent_id": "bob"}}, {"taken": "ann"}),
        (
            {"transferred": {"agent_id": "ann", "to_agent_id": "bob", "consulted": True}},
            {"taken": "ann", "given": "bob"},
        ),
        ({"help_requested": {"agent_id": "ann", "to_agent_id": "bob"}}, {}),
        ({"help_offered": {"agent_id": "bob", "site": "x"}}, {"given": "bob", "site": "x"}),
        ({"help_offer_ended": {"agent_id": "bob"}}, {"taken": "bob"}),
        ({"help_joined": {"agent_id": "bob"}}, {"given": "bob"}),
        ({"help_ended": {"agent_id": "bob"}}, {"taken": "bob"}),
        ({"moved_to_pool": {"pool_id": "other"}}, {"pool": "other"}),
        ({"taken_over": {"pool_id": "other", "from_pool_id": "main"}}, {"pool": "other"}),
        ({"held": {"agent_id": "ann"}}, {}),
        ({"ended": {"agent_id": "ann"}}, {"over": True}),
        ({"abandoned": {}}, {"over": True}),
        ({"overflowed": {}}, {"over": True}),
        ({"wrapped_up": {"agent_id": "ann"}}, {}),
        ({}, {}),
    ],
)
def test_what_an_event_says(body: dict[str, object], expected: dict[str, object]) -> None:
    event = CallEvent(meta={"stream_id": "a/1", "client_id": "a", "version": 7}, **body)  # type: ignore[arg-type]
    assert heard(event) == Heard("a/1", "a", 7, **expected)  # type: ignore[arg-type]
