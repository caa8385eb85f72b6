"""What is the same, different, missing, extra or not yet there."""

from collections.abc import Callable, Iterable, Sequence

import pytest
from relais.agents.v1.events_pb2 import AgentEvent
from relais.calls.v1.events_pb2 import CallEvent

from eventkit.records import Record
from relaisctl.decisions.ledger import Kind, Ledger, Names, field_differences
from relaisctl.decisions.proof import Counts, Proof, Refold, Window
from relaisctl.decisions.tests.support import Log, Written
from services.routing import commands as c
from services.routing.codec import encode_command
from services.routing.configuration import Overflow, Step

ALL = 1 << 60
"""The worker says to have published everything."""


@pytest.fixture
def log() -> Log:
    """Two calls: one talks and is wrapped up by a timer, one is given to another pool."""
    log = Log()
    log.queue("west", steps=(Step(10, Overflow.MOVE_TO_POOL, pool_id="other", queue_id="q"),))
    log.agent("ana")
    log.call("c-1")
    log.accept("c-1")
    log.connect("c-1")
    log.call("c-2", "west")
    log.wait(30)
    log.end("c-1")
    log.wait(60)
    log.tell(c.ReportCallAbandoned("c-2"))
    return log


def proved(
    log: Log,
    published: Iterable[Record] | None = None,
    window: Window | None = None,
    until: int | None = ALL,
    later: Sequence[str] = (),
) -> tuple[Counts, Proof]:
    proof = Proof("p", window or Window())
    for decided in Refold("p").decide(log.commands):
        proof.decide(decided)
    proof.seal()
    for record in log.published if published is None else published:
        proof.publish(record)
    return proof.settle(until, frozenset(later)), proof


def test_what_was_published_is_decided_again(log: Log) -> None:
    counts, proof = proved(log)
    assert counts.proved
    assert counts.commands == counts.replayed == len(log.commands)
    assert counts.decisions == counts.identical == len(log.published) > 15
    assert not proof.shown
    topics = {record.topic for record in log.published}
    assert topics == {"call-events", "agent-events", "pool-events", "routing-commands"}


def test_other_pools_in_the_topics_are_not_ours(log: Log) -> None:
    other = Log("other")
    other.agent("leo")
    other.call("c-9")
    counts, _ = proved(log, log.published + other.published + other.commands)
    assert counts.proved
    assert counts.identical == len(log.published)


def test_what_another_pool_decides_for_a_report_that_was_passed_on_is_not_ours(log: Log) -> None:
    other = Log("other")
    for record in log.published:
        if record.topic == "routing-commands":
            other.write(record.value or b"", record.timestamp * 1000)
    bodies = [
        CallEvent.FromString(record.value or b"").WhichOneof("body")
        for record in other.published
        if record.topic == "call-events"
    ]
    assert bodies == ["taken_over", "abandoned"]
    counts, _ = proved(log, log.published + other.published + other.commands)
    assert counts.proved
    assert counts.identical == len(log.published)


def test_what_was_published_again_is_no_difference(log: Log) -> None:
    counts, _ = proved(log, log.published + log.published[5:])
    assert counts.proved
    assert counts.published_again == len(log.published) - 5


def find(log: Log, topic: str, body: str) -> tuple[int, CallEvent | AgentEvent]:
    """The first event with this body, and where it stands."""
    message: type[CallEvent | AgentEvent] = CallEvent if topic == "call-events" else AgentEvent
    for number, record in enumerate(log.published):
        if record.topic == topic:
            event = message.FromString(record.value or b"")
            if event.WhichOneof("body") == body:
                return number, event
    raise LookupError(body)


def with_value(record: Record, value: bytes) -> Written:
    topic, partition, offset = record.topic, record.partition, record.offset
    return Written(topic, partition, offset, record.timestamp, record.key, value)


def forge(
    log: Log, topic: str, body: str, change: Callable[[CallEvent | AgentEvent], None]
) -> tuple[int, Written]:
    number, event = find(log, topic, body)
    change(event)
    return number, with_value(log.published[number], event.SerializeToString())


def test_an_altered_event_is_different(log: Log) -> None:
    def other_agent(event: CallEvent | AgentEvent) -> None:
        assert isinstance(event, CallEvent)
        event.offered.agent_id = "leo"

    number, altered = forge(log, "call-events", "offered", other_agent)
    published: list[Record] = [*log.published]
    published[number] = altered
    counts, proof = proved(log, published)
    assert (counts.different, counts.missing, counts.extra) == (1, 0, 0)
    assert counts.identical == len(log.published) - 1
    [shown] = proof.shown
    assert shown.kind is Kind.DIFFERENT
    assert shown.published == altered
    assert log.commands[shown.offset].timestamp == altered.timestamp


def test_a_second_version_beside_the_true_one_is_different(log: Log) -> None:
    number, _ = find(log, "call-events", "offered")
    forged = with_value(
        log.published[number], (log.published[number].value or b"") + b"\xba\x06\x00"
    )
    for published in ([*log.published, forged], [forged, *log.published]):
        counts, _ = proved(log, published)
        assert (counts.different, counts.identical) == (1, len(log.published) - 1)


def test_another_key_is_different(log: Log) -> None:
    record = log.published[0]
    forged = Written(record.topic, 0, 0, record.timestamp, b"elsewhere", record.value)
    assert proved(log, [forged, *log.published[1:]])[0].different == 1


def test_what_is_not_there_is_missing(log: Log) -> None:
    counts, proof = proved(log, log.published[:-3])
    assert (counts.missing, counts.not_yet_published) == (3, 0)
    assert not counts.proved
    assert [each.kind for each in proof.shown] == [Kind.MISSING] * 3


def test_the_tail_is_not_yet_published(log: Log) -> None:
    last = len(log.commands) - 1
    counts, _ = proved(log, log.published[:-1], until=last)
    assert counts.proved
    assert (counts.missing, counts.not_yet_published) == (0, 1)


def test_where_the_worker_says_nothing_the_tail_begins_behind_what_was_published(log: Log) -> None:
    hole = [*log.published[:4], *log.published[5:-1]]
    counts, _ = proved(log, hole, until=None)
    assert (counts.missing, counts.not_yet_published) == (1, 1)
    assert proved(log, [], until=None)[0].not_yet_published == len(log.published)


@pytest.mark.parametrize("topic", ["call-events", "agent-events"])
@pytest.mark.parametrize("causation", ["known", "unknown"])
def test_a_forged_event_is_extra(log: Log, topic: str, causation: str) -> None:
    def next_version(event: CallEvent | AgentEvent) -> None:
        event.meta.version += 100
        event.meta.event_id = "forged"
        if causation == "unknown":
            event.meta.causation_id = "nobody"

    body = "connected" if topic == "call-events" else "reserved"
    _, forged = forge(log, topic, body, next_version)
    counts, proof = proved(log, [*log.published, forged, forged])
    assert (counts.extra, counts.identical) == (1, len(log.published))
    assert [each.published for each in proof.shown] == [forged]


def test_what_later_commands_lead_to_is_not_forged(log: Log) -> None:
    def from_later(event: CallEvent | AgentEvent) -> None:
        event.meta.event_id, event.meta.causation_id = "new", "later"

    _, new = forge(log, "agent-events", "reserved", from_later)
    assert proved(log, [*log.published, new], later=["later"])[0].proved
    assert proved(log, [*log.published, new])[0].extra == 1


def test_a_call_that_has_moved_is_another_pool_s(log: Log) -> None:
    def by_the_other(event: CallEvent | AgentEvent) -> None:
        event.meta.event_id, event.meta.causation_id = "new", "the other pool's"

    _, taken = forge(log, "call-events", "moved_to_pool", by_the_other)
    assert proved(log, [*log.published, taken])[0].proved


def test_refused_and_idle_commands_are_counted(log: Log) -> None:
    log.write(b"rubbish", log.now)
    refused = c.Command("p", "no-1", "acme", log.now, log.now, "", "", c.ReportCallConnected("c-8"))
    log.write(encode_command(refused), log.now)
    repeat = log.commands[-3]
    log.write(repeat.value or b"", log.now)
    log.tell(c.MakeAgentAvailable("ana"))
    counts, _ = proved(log)
    assert counts.proved
    assert (counts.refused, counts.without_effect) == (2, 1)
    # To the other pool: the call, the report that it was abandoned, and its repeat.
    assert len([each for each in log.published if each.topic == "routing-commands"]) == 3


def test_a_window_leaves_out_what_was_decided_before_and_after(log: Log) -> None:
    since, until = log.commands[5].timestamp, log.commands[9].timestamp
    inside = [each for each in log.commands if since <= each.timestamp < until]
    counts, _ = proved(log, window=Window(since, until))
    assert counts.proved
    assert counts.commands == len(log.commands)
    assert counts.replayed == len(inside) < len(log.commands)
    assert 0 < counts.identical == counts.decisions < len(log.published)


def test_only_the_first_differences_are_shown(log: Log) -> None:
    counts, proof = proved(log, [])
    assert counts.missing == len(log.published)
    assert len(proof.shown) == 10


def test_what_cannot_be_decoded_is_counted(log: Log) -> None:
    bad = with_value(log.published[0], b"\xff")
    counts, _ = proved(log, [*log.published, bad])
    assert counts.proved
    assert counts.unreadable == 1


# The parts.


def test_names() -> None:
    names = Names()
    for name in ("b", "a", "b"):
        names.add(name)
    names.seal()
    assert ("a" in names, "b" in names, "c" in names) == (True, True, False)


def test_one_id_with_two_contents_needs_both() -> None:
    """A report that is forwarded to another pool, and told twice: recorded at two times."""
    ledger = Ledger()
    for value in (b"one", b"two"):
        ledger.decided("id", "routing-commands", b"p", value, 7)
    ledger.seal()
    one = Written("routing-commands", 0, 0, 0, b"p", b"one")
    assert ledger.published("id", one) is None
    assert [each.number for each in ledger.unpublished()] == [1]
    assert ledger.published("id", one._replace(value=b"two")) is None
    assert ledger.identical() == 2
    different = ledger.published("id", one._replace(value=b"three"))
    assert different is not None
    assert (different.kind, ledger.different()) == (Kind.DIFFERENT, 1)


def test_field_differences() -> None:
    one = {"a": {"b": 1, "c": [1, {"d": 2}]}, "e": "x"}
    other = {"a": {"b": 2, "c": [1, {"d": 3}]}, "f": [1]}
    assert field_differences(one, other) == [
        ("a.b", 1, 2),
        ("a.c[1].d", 2, 3),
        ("e", "x", None),
        ("f", None, [1]),
    ]
    assert field_differences({"a": [1]}, {"a": [1, 2]}) == [("a", [1], [1, 2])]
