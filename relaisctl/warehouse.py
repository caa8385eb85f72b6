"""What reports ask of ClickHouse: a connection, a client's clock, and days as people write them."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from clickhouse_driver import Client
from clickhouse_driver.errors import Error, ErrorCodes, ServerException

from eventkit.settings import load
from relaisctl.errors import InputError, UnreachableError
from relaisctl.stack.settings import Environment
from relaisctl.stack.stack import Stack

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MISSING: Final = {ErrorCodes.UNKNOWN_TABLE, ErrorCodes.UNKNOWN_DATABASE}


@contextmanager
def connected(lacks: str) -> Iterator[Client]:
    """A connection. Raises UnreachableError, which names what a ClickHouse without tables lacks."""
    # What the driver logs of a server that does not answer is said once, by us.
    logging.getLogger("clickhouse_driver").setLevel(logging.CRITICAL)
    url = Stack.of(load(Environment).stack_settings()).addresses["clickhouse"]
    try:
        with Client.from_url(url) as client:
            yield client
    except ServerException as error:
        if error.code in _MISSING:
            reason = f"it has no {lacks} yet: has the analytics loader run?"
        else:
            reason = str(error.message).partition(". Stack trace:")[0].strip()
        raise UnreachableError(f"ClickHouse (RELAIS_CLICKHOUSE): {reason}") from error
    except (Error, OSError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreachableError(f"ClickHouse (RELAIS_CLICKHOUSE): {reason}") from error


def zones(clickhouse: Client) -> dict[str, ZoneInfo]:
    """The clients that are registered, in order, and their clocks."""
    rows = clickhouse.execute("SELECT client_id, time_zone FROM clients ORDER BY client_id")
    return {client: ZoneInfo(zone) for client, zone in rows}


def zone(clickhouse: Client, client: str) -> ZoneInfo:
    """A client's clock. Raises InputError where it is not registered."""
    known = zones(clickhouse)
    if client not in known:
        names = ", ".join(known) or "none yet"
        raise InputError(f"--client: {client!r} is not registered; these are: {names}")
    return known[client]


def begins(day: date, zone: ZoneInfo) -> int:
    """The first microsecond of a local day, since 1970 in UTC."""
    return micros(datetime(day.year, day.month, day.day, tzinfo=zone))


def micros(moment: datetime) -> int:
    """Microseconds since 1970 of a moment that knows its zone."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def day(option: str, text: str) -> date:
    """A day as it was written for an option. Raises InputError."""
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"{option}: {text!r} is no date of the form YYYY-MM-DD") from None


def days(from_: str, to: str) -> tuple[date, date]:
    """The first day of a range, and the day after its last. Raises InputError."""
    start, end = day("--from", from_), day("--to", to)
    if start >= end:
        raise InputError(f"--to: {to} is not after --from {from_} (--to is exclusive)")
    return start, end
