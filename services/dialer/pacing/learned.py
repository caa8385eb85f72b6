"""What was learned of a campaign: who answers, after how long, and how long agents are busy then.

Everything is forgotten by and by, so that a drift or a jump is followed. A new one is cautious: it
expects that most people answer and that agents stay busy long. Pure: it is told what happened, in
the order in which it is heard of, and the same tale gives the same figures, so that it can be
rebuilt from attempts on record: some microseconds for each part of it.
"""

from heapq import heappop, heappush

from services.dialer.pacing.durations import Durations
from services.dialer.pacing.share import Share

SECOND = 1_000_000
PRIOR_ANSWERS = 0.6
TOO_FEW = 1 / 3
"""Of the long-run share of answers: what falls below is believed the less, the further it falls. A
carrier that loses all calls without saying so looks like people who do not answer; it must not be
flooded, since people answer at once when it works again."""

LONGEST_RING = 60
"""Seconds until a call counts, even if others are rung for longer."""
ENOUGH_TALKS = 20
"""After so many, none of which had a wrap-up, there is none."""


class Learned:
    """One campaign's. Times are microseconds since 1970, durations microseconds.

    Calls that ended by an error of the carrier are not told of: they say nothing about people.
    """

    __slots__ = (
        "_early",
        "_number",
        "answer_delay",
        "answers",
        "greeting",
        "no_answer_delay",
        "talk",
        "wrap_up",
    )

    def __init__(self) -> None:
        self.answers = Share(PRIOR_ANSWERS)
        self.answer_delay = Durations(mean=12.0, worth=4.0, memory=1000.0)
        self.no_answer_delay = Durations(mean=25.0, worth=4.0, memory=1000.0)
        self.greeting = Durations(mean=1.5, worth=4.0, memory=1000.0)
        self.talk = Durations(mean=240.0, worth=6.0, memory=500.0, smooth=15.0)
        self.wrap_up = Durations(mean=20.0, worth=6.0, memory=500.0, smooth=15.0)
        self._early: list[tuple[int, int, bool]] = []
        self._number = 0

    def answered(self, at: int, rang: int) -> None:
        """By a person, or by what counts as one; rang: from dialling to the answer."""
        self.answer_delay.add(rang / SECOND)
        self._heard(at, at - rang, True)

    def unanswered(self, at: int, lasted: int) -> None:
        """By nobody, or by a machine that was found out; lasted: from dialling to that end."""
        self.no_answer_delay.add(lasted / SECOND)
        self._heard(at, at - lasted, False)

    def _heard(self, at: int, dialled_at: int, answer: bool) -> None:
        """Counts calls in the order in which they were dialled, when those dialled before them have
        nearly all ended. Answers come sooner than the end of a call that nobody answers: in the
        order of their ends the calls of one burst look like a share that jumps up, and then down;
        believed, it makes the next burst."""
        self._number += 1
        heappush(self._early, (dialled_at, self._number, answer))
        due = at - min(LONGEST_RING, self.no_answer_delay.quantile(0.95) + 1) * SECOND
        while self._early and self._early[0][0] <= due:
            began, _, answer = heappop(self._early)
            self.answers.add(began, answer)

    def greeted(self, lasted: int) -> None:
        """From the answer to the end of the greeting."""
        self.greeting.add(lasted / SECOND)

    def talked(self, lasted: int) -> None:
        self.talk.add(lasted / SECOND)

    def wrapped_up(self, lasted: int) -> None:
        """Zero where there is no wrap-up."""
        self.wrap_up.add(lasted / SECOND)

    @property
    def answer_rate(self) -> float:
        """Live answers for each call, to dial by: never below a third of the long-run share, which
        counts again in full when there are no answers at all."""
        mean = self.answers.mean
        return max(mean, self.answers.long - mean * (1.0 - TOO_FEW) / TOO_FEW)

    def rests(self) -> tuple[int, ...]:
        """Seconds of work after a call, equally likely."""
        unheard_of = self.wrap_up.count == 0 and self.talk.count >= ENOUGH_TALKS
        if unheard_of or self.wrap_up.mean < 0.5:
            return (0,)
        return tuple(self.wrap_up.quantile(share) for share in (1 / 6, 1 / 2, 5 / 6))

    def answers_within(self, horizon: int, cautious: float = 0.0) -> list[float]:
        """The chance that a call which has rung for so many whole seconds, 0 to MAX_AGE, and still
        does, is answered by a person within `horizon` seconds more. cautious: is added to the share
        of calls that are answered."""
        share = min(1.0, self.answer_rate + cautious)
        live, other = self.answer_delay.left(), self.no_answer_delay.left()
        return [
            share
            * (live[age] - live[age + horizon])
            / (share * live[age] + (1.0 - share) * other[age])
            for age in range(MAX_AGE + 1)
        ]


MAX_AGE = 120
"""Seconds; a call that rings longer counts as ringing so long."""
