"""The clocks again, in the simplest way there is: look at the wall every minute, and count.

Shares nothing with clocks.py or calendar.py but the numbers of minutes. Everything happens on full
minutes, so a minute is either business time or not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Wall:
    """Opening hours: (from, to) minutes of the day, by weekday and for some dates."""

    zone: str
    weekly: Sequence[Sequence[tuple[int, int]]]
    holidays: Sequence[date]
    exceptions: Mapping[date, Sequence[tuple[int, int]]]

    def open_at(self, minute: int) -> bool:
        local = (EPOCH + timedelta(minutes=minute)).astimezone(ZoneInfo(self.zone))
        day = local.date()
        hours = self.weekly[day.weekday()]
        if day in self.holidays:
            hours = ()
        if day in self.exceptions:
            hours = self.exceptions[day]
        shown = local.hour * 60 + local.minute
        return any(opens <= shown < closes for opens, closes in hours)


@dataclass
class Stopwatch:
    target: int
    used: int = 0
    runs: bool = True
    over: bool = False
    ran_out: int | None = None

    def look(self, minute: int) -> None:
        if self.runs and not self.over and self.ran_out is None and self.used >= self.target:
            self.ran_out = minute


@dataclass
class Reference:
    """actions: (minute, word, argument) in order. After `watch`, two stopwatches to compare."""

    wall: Wall
    targets: tuple[int, int]
    actions: list[tuple[int, str, Any]] = field(default_factory=list)

    def watch(self, start: int, end: int) -> tuple[Stopwatch, Stopwatch]:
        first, resolution = Stopwatch(self.targets[0]), Stopwatch(self.targets[1])
        both = (first, resolution)
        waiting = list(self.actions)
        for minute in range(start, end + 1):
            for clock in both:
                clock.look(minute)
            while waiting and waiting[0][0] == minute:
                self._act(first, resolution, *waiting.pop(0)[1:])
                for clock in both:
                    clock.look(minute)
            if minute < end and self.wall.open_at(minute):
                for clock in both:
                    clock.used += clock.runs and not clock.over
        return both

    def _act(self, first: Stopwatch, resolution: Stopwatch, word: str, argument: Any) -> None:
        both = (first, resolution)
        match word:
            case "acknowledge":
                first.over = True
            case "pause":
                first.runs = resolution.runs = False
            case "resume":
                first.runs = resolution.runs = True
            case "close":
                first.over = resolution.over = True
            case "reopen" | "appeal":
                resolution.over = False
                first.runs = resolution.runs = True
            case "rules":
                wall, targets = argument
                self.wall = wall or self.wall
                for clock, target in zip(both, targets, strict=True):
                    if not clock.over:
                        clock.target = target
