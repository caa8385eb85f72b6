"""One record's decisions, and the law of merging: no cycle, undoing restores."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventkit.decider import Invalid, NotFound, Rejected, fold
from services.crm.customers.customer import (
    DECIDER,
    Command,
    CorrectCustomer,
    Customer,
    CustomerCorrected,
    CustomerErased,
    CustomerMerged,
    CustomerRegistered,
    CustomerUnmerged,
    Details,
    EraseCustomer,
    Event,
    MergeCustomer,
    RegisterCustomer,
    UnmergeCustomer,
    survivor,
)

ANN = Details(number="K-1", name="Ann", phones=("+33612345678",), language="fr")
KNOWN = CustomerRegistered(
    "agent", number="K-1", name="Ann", phones=("+33612345678",), language="fr"
)
INTO_B = MergeCustomer("a", "b", "b")


def decide(given: Sequence[Event], command: Command) -> list[Event]:
    return list(DECIDER.decide(command, fold(DECIDER, given)))


@pytest.mark.parametrize(
    ("given", "command", "expected"),
    [
        ([], RegisterCustomer(ANN, "agent"), [KNOWN]),
        ([KNOWN], RegisterCustomer(ANN, "import"), []),
        (
            [KNOWN],
            CorrectCustomer(Details(name="Anne"), frozenset({"name"})),
            [CustomerCorrected(("name",), name="Anne")],
        ),
        ([KNOWN], CorrectCustomer(ANN, frozenset({"name", "phones"})), []),
        ([KNOWN], CorrectCustomer(Details(name="Anne"), frozenset()), []),
        (
            [KNOWN],
            CorrectCustomer(Details(), frozenset({"phones", "language"})),
            [CustomerCorrected(("phones", "language"))],
        ),
        ([KNOWN], INTO_B, [CustomerMerged("b")]),
        ([KNOWN, CustomerMerged("b")], INTO_B, []),
        ([KNOWN, CustomerMerged("b")], UnmergeCustomer(), [CustomerUnmerged("b")]),
        ([KNOWN, CustomerMerged("b"), CustomerUnmerged("b")], UnmergeCustomer(), []),
        ([KNOWN, CustomerMerged("b"), CustomerUnmerged("b")], INTO_B, [CustomerMerged("b")]),
        ([KNOWN], MergeCustomer("a", "b", "c"), [CustomerMerged("b")]),
        ([KNOWN], EraseCustomer(), [CustomerErased()]),
        ([KNOWN, CustomerMerged("b")], EraseCustomer(), [CustomerErased()]),
        ([KNOWN, CustomerErased()], EraseCustomer(), []),
    ],
)
def test_decides(given: list[Event], command: Command, expected: list[Event]) -> None:
    assert decide(given, command) == expected
    assert decide([*given, *expected], command) == []


@pytest.mark.parametrize(
    ("given", "command", "error", "reason"),
    [
        ([], RegisterCustomer(Details(language="fr"), "agent"), Invalid, "name: a customer needs"),
        ([KNOWN], RegisterCustomer(Details(name="Bob"), "agent"), Rejected, "another customer's"),
        (
            [KNOWN],
            CorrectCustomer(Details(), frozenset({"name", "number", "phones"})),
            Invalid,
            "needs a name",
        ),
        ([], CorrectCustomer(ANN, frozenset({"name"})), NotFound, "customer"),
        ([], INTO_B, NotFound, "customer"),
        ([], UnmergeCustomer(), NotFound, "customer"),
        ([], EraseCustomer(), NotFound, "customer"),
        ([KNOWN], MergeCustomer("a", "a", "a"), Invalid, "into_customer_id"),
        ([KNOWN], MergeCustomer("a", "b", "a"), Rejected, "merged into this customer"),
        ([KNOWN], MergeCustomer("a", "b", "b", erased=True), Rejected, "has been erased"),
        ([KNOWN, CustomerMerged("c")], INTO_B, Rejected, "is merged into c: undo that first"),
        ([KNOWN], UnmergeCustomer(), Rejected, "merged into no other"),
        ([KNOWN, CustomerErased()], RegisterCustomer(ANN, "agent"), Rejected, "erased"),
        ([KNOWN, CustomerErased()], CorrectCustomer(ANN, frozenset()), Rejected, "erased"),
        ([KNOWN, CustomerErased()], INTO_B, Rejected, "erased"),
        ([KNOWN, CustomerErased()], UnmergeCustomer(), Rejected, "erased"),
    ],
)
def test_refuses(given: list[Event], command: Command, error: type[Exception], reason: str) -> None:
    with pytest.raises(error, match=reason):
        decide(given, command)


def test_a_merge_changes_no_record() -> None:
    before = fold(DECIDER, [KNOWN])
    merged = fold(DECIDER, [CustomerMerged("b")], before)
    assert merged.details == before.details
    assert replace(fold(DECIDER, [CustomerUnmerged("b")], merged), unmerged=False) == before


def test_nothing_personal_is_left_of_the_erased() -> None:
    assert fold(DECIDER, [KNOWN, CustomerErased()]).details == Details()


IDS = "abcdef"
ONE = st.sampled_from(IDS)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("merge"), ONE, ONE),
        st.tuples(st.just("unmerge"), ONE, ONE),
        st.tuples(st.just("erase"), ONE, ONE),
    ),
    max_size=40,
)


class Centre:
    """Six customers, and what the service does with them."""

    def __init__(self) -> None:
        self.customers = {id: fold(DECIDER, [KNOWN]) for id in IDS}

    @property
    def merged_into(self) -> dict[str, str]:
        return {id: customer.merged_into for id, customer in self.customers.items()}

    def step(self, kind: str, id: str, other: str) -> bool:
        command: Command
        if kind == "merge":
            into = self.customers[other]
            end = survivor(self.merged_into, other)
            command = MergeCustomer(id, other, end, into.erased)
        elif kind == "unmerge":
            command = UnmergeCustomer()
        else:
            command = EraseCustomer()
        try:
            events = DECIDER.decide(command, self.customers[id])
        except (Invalid, Rejected):
            return False
        self.customers[id] = fold(DECIDER, events, self.customers[id])
        return bool(events)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_every_record_has_a_survivor_whatever_is_merged(steps: list[tuple[str, str, str]]) -> None:
    centre = Centre()
    for step in steps:
        centre.step(*step)
        for id in IDS:
            end, hops = id, 0
            while centre.merged_into[end]:
                end, hops = centre.merged_into[end], hops + 1
                assert hops < len(IDS)
            assert survivor(centre.merged_into, id) == end


@settings(max_examples=300, deadline=None)
@given(STEPS, ONE, ONE, STEPS)
def test_undoing_a_merge_restores_who_is_whom(
    steps: list[tuple[str, str, str]], id: str, other: str, between: list[tuple[str, str, str]]
) -> None:
    """Also when other merges came in between: they stay, and only this one is gone."""
    with_merge, without = Centre(), Centre()
    for step in steps:
        with_merge.step(*step)
        without.step(*step)
    if not with_merge.step("merge", id, other):
        return
    # In between, what neither needs nor touches the merge.
    for kind, one, two in between:
        ends = {survivor(with_merge.merged_into, each) for each in (one, two)}
        if (
            kind == "merge"
            and id not in (one, two)
            and survivor(with_merge.merged_into, id) not in ends
        ):
            with_merge.step(kind, one, two)
            without.step(kind, one, two)
    assert with_merge.step("unmerge", id, other)
    assert with_merge.merged_into == without.merged_into


def test_the_initial_state_is_nobody() -> None:
    assert DECIDER.initial == Customer()
