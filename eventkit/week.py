"""Hours of the days of a week in requests and answers: "09:00-12:30", on somebody's wall."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, Field

from eventkit.http import Body

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

Span = tuple[int, int]
"""From and to, minutes since midnight; the second at most 1440."""


def span(text: str) -> Span:
    """Of "09:00-12:30": (540, 750)."""
    begins, _, ends = text.partition("-")
    return _minutes(begins), _minutes(ends)


def spans(texts: Iterable[str]) -> tuple[Span, ...]:
    """In order."""
    return tuple(sorted(map(span, texts)))


def text(of: Span) -> str:
    """Of (540, 750): "09:00-12:30"."""
    return "-".join(f"{minutes // 60:02}:{minutes % 60:02}" for minutes in of)


def _minutes(clock: str) -> int:
    hours, _, minutes = clock.partition(":")
    return int(hours) * 60 + int(minutes)


def in_order(value: str) -> str:
    """Raises ValueError where the end is not after the beginning."""
    begins, ends = span(value)
    if begins >= ends:
        raise ValueError("must end after it begins, within 00:00 and 24:00")
    return value


Interval = Annotated[
    str,
    Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"),
    AfterValidator(in_order),
    Field(examples=["09:00-12:30"]),
]
Hours = Annotated[list[Interval], Field(max_length=12)]


class Week(Body):
    """Opening hours of each day; a day left out, or without intervals, is closed."""

    monday: Hours = Field(default_factory=list)
    tuesday: Hours = Field(default_factory=list)
    wednesday: Hours = Field(default_factory=list)
    thursday: Hours = Field(default_factory=list)
    friday: Hours = Field(default_factory=list)
    saturday: Hours = Field(default_factory=list)
    sunday: Hours = Field(default_factory=list)

    def days(self) -> tuple[tuple[Span, ...], ...]:
        """Of Monday to Sunday."""
        return tuple(spans(getattr(self, day)) for day in DAYS)


def week_of(days: Iterable[Iterable[Span]]) -> Week:
    """Of Monday to Sunday."""
    return Week.model_validate(
        {day: list(map(text, each)) for day, each in zip(DAYS, days, strict=True)}
    )
