"""What was learned of a campaign: who answers, after how long, and how long agents are busy then.

Everything is forgotten by and by, so that a drift or a jump is followed. A new one is cautious: it
expects that everybody answers and that agents stay busy long. Times are microseconds since 1970,
durations microseconds. Pure: it is told what happened, in the order in which it is heard of, and
the same tale gives the same figures, so that it can be rebuilt from attempts on record.
"""

from services.dialer.pacing.durations import Durations
from services.dialer.pacing.share import Share

SECOND = 1_000_000


class Learned:
    """One campaign's. `answered` and `unanswered` are for each call that ended without an error of
    the carrier: an error says nothing about people."""

    def __init__(self) -> None:
        self.answers = Share(prior=0.6, weight=10.0)
        self.answer_delay = Durations(mean=12.0, weight=4.0, memory=1000.0)
        self.no_answer_delay = Durations(mean=25.0, weight=4.0, memory=1000.0)
        self.greeting = Durations(mean=1.5, weight=4.0, memory=1000.0)
        self.talk = Durations(mean=240.0, weight=6.0, memory=600.0)
        self.wrap_up = Durations(mean=20.0, weight=6.0, memory=600.0)

    def answered(self, at: int, rang: int) -> None:
        """By a person, or by what counts as one."""
        self.answers.add(at, True)
        self.answer_delay.add(rang / SECOND)

    def unanswered(self, at: int, lasted: int) -> None:
        """By nobody, or by a machine that was found out; lasted: from dialling to that end."""
        self.answers.add(at, False)
        self.no_answer_delay.add(lasted / SECOND)

    def greeted(self, lasted: int) -> None:
        """From the answer to the end of the greeting."""
        self.greeting.add(lasted / SECOND)

    def talked(self, lasted: int) -> None:
        self.talk.add(lasted / SECOND)

    def wrapped_up(self, lasted: int) -> None:
        """Zero where there is no wrap-up."""
        self.wrap_up.add(lasted / SECOND)
