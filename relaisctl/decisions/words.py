"""Lengths, moments, skills and lists as people say them."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

SECOND = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def length(us: int) -> str:
    """20 ms, 4.2 s, 3 min 20 s, 1 h 4 min, 2 d 3 h."""
    if us < 0:
        return f"-{length(-us)}"
    if 0 < us < SECOND:
        return f"{max(1, us // 1000)} ms"
    tenths = us // (SECOND // 10)
    if tenths < 100 and tenths % 10:
        return f"{tenths / 10:.1f} s"
    seconds = us // SECOND
    for unit, size, part, part_size in _UNITS:
        if seconds >= size:
            whole, rest = divmod(seconds, size)
            rest //= part_size
            return f"{whole} {unit} {rest} {part}" if rest else f"{whole} {unit}"
    return f"{seconds} s"


_UNITS = (("d", 86_400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1))


def local(us: int, zone: ZoneInfo) -> datetime:
    """Microseconds since 1970, on the zone's clocks."""
    return (_EPOCH + timedelta(microseconds=us)).astimezone(zone)


def day(us: int, zone: ZoneInfo) -> str:
    """Monday 23 November 2026."""
    moment = local(us, zone)
    return f"{moment:%A} {moment.day} {moment:%B %Y}"


def clock(us: int, zone: ZoneInfo, *, exact: bool = False) -> str:
    """10:01:05, or 10:01:05.020."""
    return local(us, zone).strftime("%H:%M:%S.%f")[: 12 if exact else 8]


def listed(words: Iterable[str], last: str = "and") -> str:
    """a, b and c."""
    found = list(words)
    if len(found) < 2:
        return "".join(found)
    return f"{', '.join(found[:-1])} {last} {found[-1]}"


def skills(pairs: Iterable[tuple[str, int]]) -> str:
    """bank ≥ 2 and english ≥ 3."""
    return listed(f"{skill} ≥ {level}" for skill, level in pairs)


def number(value: float) -> str:
    """184.5, 12, 1,204.25: as short as two decimals allow."""
    text = f"{value:,.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("", "-0") else text


def versions(missing: Sequence[int]) -> str:
    """version 4; versions 4 and 5; versions 4 to 9."""
    if len(missing) == 1:
        return f"version {missing[0]}"
    if len(missing) == 2:
        return f"versions {missing[0]} and {missing[1]}"
    return f"versions {missing[0]} to {missing[-1]}"
