"""What a wish decides."""

from collections.abc import Sequence

import pytest

from eventkit.decider import Invalid, NotFound, Rejected, fold
from services.crm.complaints.wish import (
    DECIDER,
    CloseWish,
    Command,
    ExpressWish,
    MergeWish,
    Outcome,
    SupportWish,
    UnmergeWish,
    Voice,
    Wish,
    WishSupported,
    decide,
)

ANN, BEN, SALES = Voice("ann"), Voice("ben"), Voice(source="sales")
EXPRESS = ExpressWish(1, ANN, "A text message, please.")
MERGE = MergeWish(2, "a", "b", "b")
GRANT = CloseWish(3, Outcome.GRANTED)


def after(*commands: Command) -> Wish:
    state = DECIDER.initial
    for command in commands:
        state = fold(DECIDER, decide(command, state), state)
    return state


def test_each_voice_counts_once() -> None:
    state = after(EXPRESS)
    assert decide(SupportWish(2, ANN), state) == []
    (event,) = decide(SupportWish(2, BEN), state)
    assert event == WishSupported(2, BEN, "", 2)
    state = after(EXPRESS, SupportWish(2, BEN), SupportWish(3, BEN), SupportWish(4, SALES))
    assert state.voices == {ANN, BEN, SALES}


@pytest.mark.parametrize(
    ("given", "when"),
    [
        ((EXPRESS, GRANT), SupportWish(4, BEN)),
        ((EXPRESS, GRANT), MERGE),
        ((EXPRESS, GRANT), CloseWish(4, Outcome.DECLINED)),
        ((EXPRESS, MERGE), GRANT),
        ((EXPRESS, MERGE), MergeWish(4, "a", "c", "c")),
        ((EXPRESS,), MergeWish(4, "a", "a", "a")),
        ((EXPRESS,), MergeWish(4, "a", "b", "a")),
        ((EXPRESS,), ExpressWish(4, BEN, "Something else.")),
    ],
)
def test_rejected(given: Sequence[Command], when: Command) -> None:
    with pytest.raises(Rejected):
        decide(when, after(*given))


@pytest.mark.parametrize(
    "commands", [(EXPRESS,), (EXPRESS, SupportWish(2, BEN)), (EXPRESS, MERGE), (EXPRESS, GRANT)]
)
def test_a_repeat_is_nothing(commands: Sequence[Command]) -> None:
    assert decide(commands[-1], after(*commands)) == []


def test_unmerged_once() -> None:
    assert len(decide(UnmergeWish(3), after(EXPRESS, MERGE))) == 1
    assert decide(UnmergeWish(4), after(EXPRESS, MERGE, UnmergeWish(3))) == []
    assert after(EXPRESS, MERGE, UnmergeWish(3)).merged_into == ""


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (ExpressWish(1, Voice(), "x"), "customer_id"),
        (ExpressWish(1, Voice(source="Us!"), "x"), "source"),
        (ExpressWish(1, ANN, " "), "text"),
        (ExpressWish(1, ANN, "x", topic_id="a b"), "topic_id"),
    ],
)
def test_invalid(command: Command, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        decide(command, DECIDER.initial)
    assert caught.value.field == field


def test_nothing_there() -> None:
    with pytest.raises(NotFound):
        decide(GRANT, DECIDER.initial)
