"""Who works when, and serves which queues: so many, as a file says, or as it was.

Times are seconds since the local midnight that began the day; a night shift ends after 86,400.
"""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

from relaisctl.errors import InputError
from relaisctl.options import is_id
from relaisctl.replay.live import Skills
from relaisctl.replay.rerun import LEVEL, shared_skills
from relaisctl.simulation.recorded import SECOND, Call, Day, services, waiting, within

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Shift:
    """One agent from log-in to log-out.

    breaks: (begins, length), in order. A break that begins late, after a call, ends late.
    """

    agent_id: str
    begins: float
    ends: float
    skills: Skills
    breaks: tuple[tuple[float, float], ...] = ()
    groups: tuple[str, ...] = ()


Roster = Callable[[Day], Sequence[Shift]]
"""The shifts of a day."""


def of_count(agents: int, days: Iterable[Day]) -> Roster:
    """So many agents from each day's first call to its last, who share the work of the queues."""
    work = Counter[str]()
    for day in days:
        for call in day.calls:
            work[call.queue] += (call.talked or 0) + SECOND
    skills = shared_skills(work, agents)

    def roster(day: Day) -> list[Shift]:
        begins, ends = (
            (call.queued_at - day.begins) / SECOND for call in (day.calls[0], day.calls[-1])
        )
        return [
            Shift(f"agent-{number:02}", begins, ends + 1, own)
            for number, own in enumerate(skills, 1)
        ]

    return roster


# As it was ----------------------------------------------------------------------------------------

LONGEST_WRAP_UP_S = 60
LONGEST_BREAK_S = 2 * 3600


def recorded(day: Day) -> list[Shift]:
    """Who was there, as far as the services tell: from an agent's first one to the last one.

    Skills are the queues of which the agent answered somebody that day. Breaks are not recorded,
    but they show: while somebody waited whom the agent serves, the agent was not there. So between
    two services the agent was away until the last moment of such waiting, and after it there, and
    idle. A gap of at most LONGEST_WRAP_UP_S is the work after the call; one longer than
    LONGEST_BREAK_S parts two shifts. Who answered a call and is not named was there for that call.
    """
    shifts = [
        shift
        for agent_id, own in services(day.calls).items()
        for shift in _shifts(day, agent_id, own)
    ]
    unnamed = (call for call in day.calls if call.talked is not None and not call.agent)
    for number, call in enumerate(unnamed, 1):
        shifts += _shifts(day, f"unnamed-{number}", [call])
    return shifts


def _shifts(day: Day, agent_id: str, own: Sequence[Call]) -> Iterator[Shift]:
    queues = {call.queue for call in own}
    skills = tuple((queue, LEVEL) for queue in sorted(queues))
    missed = waiting(day.calls, queues) if len(own) > 1 else []

    def seconds(at: int) -> float:
        return (at - day.begins) / SECOND

    begins, until = own[0].connected, own[0].ended
    breaks: list[tuple[float, float]] = []
    for call in own[1:]:
        gap = call.connected - until
        if gap > LONGEST_BREAK_S * SECOND:
            yield Shift(agent_id, seconds(begins), seconds(until), skills, tuple(breaks))
            begins, breaks = call.connected, []
        elif gap > LONGEST_WRAP_UP_S * SECOND:
            spans = within(missed, until, call.connected)
            if spans:
                breaks.append((seconds(until), (spans[-1][1] - until) / SECOND))
        until = max(until, call.ended)
    yield Shift(agent_id, seconds(begins), seconds(until), skills, tuple(breaks))


# As a file says -----------------------------------------------------------------------------------

COLUMNS = ("agent_id", "start", "end", "skills")
MOST_SHIFTS = 100_000


def read(path: Path, queues: Set[str]) -> Roster:
    """A file with columns agent_id, start, end (HH:MM), skills, and perhaps groups. All days alike.

    skills: queues with a level or without one, `PS:3 NE`. An end that is not after the start is on
    the next day. An agent with several rows has several shifts. Raises InputError with the line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            shifts = list(_rows(path, csv.DictReader(lines, skipinitialspace=True), queues))
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: is no CSV text: {error}") from error
    if not shifts:
        raise InputError(f"{path}: has no agent")
    return lambda day: shifts


def _rows(path: Path, rows: "csv.DictReader[str]", queues: Set[str]) -> Iterator[Shift]:
    missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
    if missing:
        raise InputError(f"{path}: line 1: no column {', '.join(missing)}")
    busy_until: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        where = f"{path}: line {rows.line_num}"
        values = {name: (row.get(name) or "").strip() for name in (*COLUMNS, "groups")}
        agent_id = values["agent_id"]
        if not is_id(agent_id):
            raise InputError(f"{where}: agent_id: {agent_id!r} is no id")
        begins = clock(f"{where}: start", values["start"])
        ends = clock(f"{where}: end", values["end"])
        ends += DAY_S if ends <= begins else 0
        others = busy_until.setdefault(agent_id, [])
        if any(begins < until and since < ends for since, until in others):
            raise InputError(f"{where}: start: {agent_id} has another shift at that time")
        others.append((begins, ends))
        skills = _skills(f"{where}: skills", values["skills"], queues)
        groups = tuple(sorted(set(_words(values["groups"]))))
        yield Shift(agent_id, begins, ends, skills, (), groups)


def _skills(where: str, text: str, queues: Set[str]) -> Skills:
    found: dict[str, int] = {}
    for word in _words(text):
        queue, _, level = word.partition(":")
        if queue not in queues:
            raise InputError(
                f"{where}: {queue!r} is none of the queues {', '.join(sorted(queues))}"
            )
        if level not in ("", "1", "2", "3", "4", "5"):
            raise InputError(f"{where}: {word!r} has no level from 1 to 5")
        found[queue] = int(level or LEVEL)
    if not found:
        raise InputError(f"{where}: empty")
    return tuple(sorted(found.items()))


def _words(text: str) -> list[str]:
    return re.split(r"[\s;,|]+", text) if text else []


def clock(where: str, text: str) -> float:
    """Seconds since midnight. Raises InputError that begins with `where`."""
    match = re.fullmatch(r"(\d{1,2}):([0-5]\d)", text, re.ASCII)
    seconds = int(match[1]) * 3600.0 + int(match[2]) * 60.0 if match else -1.0
    if not 0 <= seconds <= DAY_S:
        raise InputError(f"{where}: {text!r} is no time of day HH:MM")
    return seconds


# What if ------------------------------------------------------------------------------------------

_CHANGE = re.compile(
    r"([+-])(\d{1,4})(?:@(\d{1,2}:\d\d)(?:-(\d{1,2}:\d\d))?)?(?::([^:@]+))?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Change:
    """So many agents more (or fewer, if negative) from a time of day to another.

    skills: of who comes.
    """

    text: str
    agents: int
    begins: float
    ends: float
    skills: Skills

    @staticmethod
    def of(text: str, queues: Set[str]) -> "Change":
        """From `+3`, `+3@10:00`, `-2@12:00-13:30` or `+1@10:00:PS,NE`. Raises InputError."""
        match = _CHANGE.fullmatch(text.replace(" ", ""))
        if not match or not int(match[2]):
            raise InputError(
                f"--what-if: {text!r} is nothing like +3@10:00, -2@12:00-13:30 or +1@10:00:PS,NE"
            )
        sign, count, begins, ends, skills = match.groups()
        change = Change(
            text,
            int(sign + count),
            clock("--what-if", begins) if begins else 0.0,
            clock("--what-if", ends) if ends else DAY_S,
            _skills("--what-if", skills or " ".join(queues), queues),
        )
        if change.ends <= change.begins:
            raise InputError(f"--what-if: {text!r} ends before it begins")
        return change

    def changed(self, roster: Roster) -> Roster:
        """The roster with the change. Who leaves: who would have been there for the longest."""

        def changed(day: Day) -> list[Shift]:
            shifts = list(roster(day))
            if self.agents > 0:
                taken = {shift.agent_id for shift in shifts}
                free = (f"extra-{n}" for n in range(1, len(taken) + self.agents + 1))
                names = [name for name in free if name not in taken][: self.agents]
                return shifts + [Shift(name, self.begins, self.ends, self.skills) for name in names]
            there = Counter[str]()
            for shift in shifts:
                there[shift.agent_id] += round(
                    max(0.0, min(shift.ends, self.ends) - max(shift.begins, self.begins))
                )
            longest = sorted((-seconds, name) for name, seconds in there.items() if seconds)
            leave = {name for _, name in longest[: -self.agents]}
            return [
                part
                for shift in shifts
                for part in (self._without(shift) if shift.agent_id in leave else [shift])
            ]

        return changed

    def _without(self, shift: Shift) -> Iterator[Shift]:
        """What is left of a shift."""
        for begins, ends in (
            (shift.begins, min(shift.ends, self.begins)),
            (max(shift.begins, self.ends), shift.ends),
        ):
            if begins < ends:
                breaks = tuple(one for one in shift.breaks if begins <= one[0] < ends)
                yield replace(shift, begins=begins, ends=ends, breaks=breaks)
