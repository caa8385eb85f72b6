"""`relaisctl kpi`: how a client's calls were answered, counted from the calls in ClickHouse.

A call counts in the day and interval in which it arrived, by the client's own clock. The counting
is one query over the view `calls` (docs/subsystems/analytics.md shows it, and how to go from a
figure to its calls); here are the client's clock, the rates and how they are shown. Orders are
counted by order_report, outbound attempts by attempt_report.
"""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import UTC, date, datetime, timedelta, timezone
from enum import StrEnum
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import typer
from clickhouse_driver import Client
from rich.table import Table

from relaisctl import attempt_report, order_report, warehouse
from relaisctl.errors import InputError, explained
from relaisctl.show import print_table
from relaisctl.warehouse import begins

DAY_S: Final = 86_400
NONE: Final = "(none)"
"""The group of calls that nobody has classified, or that have no disposition."""


class By(StrEnum):
    """What the calls are grouped by, or the orders, or the outbound attempts."""

    ALL = "all"
    QUEUE = "queue"
    AGENT = "agent"
    POLICY = "policy"
    TOPIC = "topic"
    DISPOSITION = "disposition"
    PRODUCT = "product"
    CAMPAIGN = "campaign"
    LIST = "list"
    CAMPAIGN_HOUR = "campaign-hour"
    OFFER = "offer"
    DAY = "day"
    INTERVAL = "interval"

    @property
    def column(self) -> str:
        """What a row's group is called; empty for the only row of `all`."""
        return {By.ALL: "", By.INTERVAL: "interval_start"}.get(self, self.value)


OF_ORDERS: Final = {By.PRODUCT, By.OFFER}
OF_ATTEMPTS: Final = {By.CAMPAIGN, By.LIST, By.CAMPAIGN_HOUR}
"""What calls do not have. Orders that came from a campaign: `--orders --by campaign`."""


TARGETS: Final = ("target_s", "target_share", "target_service_level")
"""What is added of each queue's own target."""


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class Sums:
    """What a group's calls add up to. Times in microseconds."""

    offered: int = 0
    answered: int = 0
    abandoned: int = 0
    answered_in_target: int = 0
    waited: int = 0
    """Of the answered."""
    handled: int = 0
    """Answered calls that have ended."""
    handle: int = 0
    """Talked and wrap-up, of the handled."""
    overflowed: int = 0
    """Offered, and ended by their queue's rules."""
    out_of_hours: int = 0
    """Sent away because they came when their queue was closed: not offered."""
    transfers: int = 0
    callbacks: int = 0
    """Calls whose customers have hung up to be called back."""
    estimated: int = 0
    """Answered calls whose customers could be told how long they would wait."""
    estimate_error: int = 0
    """By how much they were told too little or too much."""

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))

    def figures(self) -> dict[str, int | float | None]:
        """The figures by name; None where nothing can be divided by."""
        return {
            "offered": self.offered,
            "answered": self.answered,
            "abandoned": self.abandoned,
            "abandonment_rate": _ratio(self.abandoned, self.offered),
            "asa_s": _ratio(self.waited / 1e6, self.answered),
            "service_level": _ratio(self.answered_in_target, self.offered),
            "aht_s": _ratio(self.handle / 1e6, self.handled),
            "overflowed": self.overflowed,
            "out_of_hours": self.out_of_hours,
            "transfers": self.transfers,
            "callbacks": self.callbacks,
            "estimate_error_s": _ratio(self.estimate_error / 1e6, self.estimated),
        }


def _ratio(part: float, whole: int) -> float | None:
    return part / whole if whole else None


@dataclass(frozen=True, slots=True)
class Question:
    """Which calls, and how they are grouped. start and end: local days, the end exclusive.

    level: of the topics, 1 for the roots; 0: each call's own topic.
    """

    client: str
    zone: ZoneInfo
    start: date
    end: date
    by: By
    interval_s: int
    target_s: float
    level: int = 0


def interval_start(wall_s: int, offset_s: int, zone: ZoneInfo) -> datetime:
    """When the interval began of which the local clock shows `wall_s` as its start.

    wall_s: seconds of the local clock since 1970-01-01T00:00, rounded down to an interval.
    offset_s: what the clock was ahead of UTC when the call arrived.
    Where the clock was changed since then, the interval began before the change, and the offset
    was another; an interval of a clock time that was skipped begins with the change.
    """
    start = datetime.fromtimestamp(wall_s - offset_s, zone)
    if start.utcoffset() != timedelta(seconds=offset_s):
        wall = datetime(1970, 1, 1) + timedelta(seconds=wall_s)
        start = wall.replace(tzinfo=zone).astimezone(UTC).astimezone(zone)
    # A plain offset: two times of one ZoneInfo are equal when their clocks show the same.
    return start.replace(tzinfo=timezone(start.utcoffset() or timedelta()), fold=0)


_SUMS: Final = """\
    countIf(offered),
    countIf(answered),
    countIf(abandoned),
    countIf(answered AND waited_us <= %(target_us)s),
    sumIf(waited_us, answered),
    countIf(handled),
    sumIf(talked_us + wrap_up_us, handled),
    countIf(overflowed AND offered),
    countIf(out_of_hours),
    sum(transfers),
    countIf(callback_accepted),
    countIf(answered AND estimated_wait_us IS NOT NULL),
    ifNull(sumIf(abs(waited_us - estimated_wait_us), answered), 0)
FROM calls
"""
_RANGE: Final = """\
WHERE client_id = %(client)s
  AND toUnixTimestamp64Micro(arrived_at) >= %(start)s
  AND toUnixTimestamp64Micro(arrived_at) < %(end)s
"""
# A call that was heading for no queue, or that nobody took, counts in a row without a name, and
# makes such a row only if it was offered.
_NAMED: Final = (
    f"SELECT {{0}},\n{_SUMS}{_RANGE}GROUP BY {{0}} HAVING {{0}} != '' OR countIf(offered)"
)
# A call that nobody was given counts under the policy that its pool had when it was queued.
_POLICY: Final = f"""\
SELECT if(policy != '', policy, pool_policy) AS name,
{_SUMS}ASOF LEFT JOIN
(
    SELECT pool_id AS configured, occurred_at AS configured_at, policy AS pool_policy
    FROM pool_events FINAL
    WHERE event_type = 'PoolConfigured'
) AS pools ON configured = pool_id AND configured_at <= ifNull(queued_at, toDateTime64(0, 6))
{_RANGE}GROUP BY name HAVING name != '' OR countIf(offered)"""
# What was said in these calls alone: those of many years would not fit into memory.
_SAID: Final = f"""\
SELECT {{0}} AS name,
{_SUMS}LEFT JOIN
(
    SELECT call_id, topic_id, topic_path, disposition
    FROM call_outcomes
    WHERE client_id = %(client)s AND call_id IN (SELECT call_id FROM calls {_RANGE})
) AS said USING (call_id)
{_RANGE}GROUP BY name HAVING name != '' OR countIf(offered)"""
# A topic that is not as deep as the level that is asked for stands for itself, so that at every
# level each call is counted once.
_TOPIC: Final = """\
if(%(level)s = 0 OR empty(topic_path), topic_id,
   topic_path[least(toUInt64(%(level)s), length(topic_path))])"""
_SELECT: Final = {
    By.ALL: f"SELECT\n{_SUMS}{_RANGE}",
    By.QUEUE: _NAMED.format("queue_id"),
    By.AGENT: _NAMED.format("agent_id"),
    By.POLICY: _POLICY,
    By.TOPIC: _SAID.format(_TOPIC),
    By.DISPOSITION: _SAID.format("disposition"),
    By.DAY: f"SELECT toDate(arrived_at, %(zone)s) AS day,\n{_SUMS}{_RANGE}GROUP BY day",
    By.INTERVAL: f"""\
WITH timeZoneOffset(toTimeZone(arrived_at, %(zone)s)) AS offset_s,
     intDiv(toUnixTimestamp64Micro(arrived_at), 1000000) + offset_s AS wall_s
SELECT wall_s - wall_s %% %(interval_s)s AS wall_start, offset_s,
{_SUMS}{_RANGE}GROUP BY wall_start, offset_s""",
}


def ask(clickhouse: Client, question: Question) -> dict[Any, Sums]:
    """The sums of each group, in order: by name (calls without one last) or by time."""
    rows = clickhouse.execute(
        _SELECT[question.by],
        {
            "client": question.client,
            "zone": question.zone.key,
            "start": begins(question.start, question.zone),
            "end": begins(question.end, question.zone),
            "interval_s": question.interval_s,
            "target_us": round(question.target_s * 1e6),
            "level": question.level,
        },
    )
    found: dict[Any, Sums] = {}
    for row in rows:
        group: Any = None
        match question.by:
            case By.QUEUE | By.AGENT | By.POLICY:
                group = row[0] or None
            case By.TOPIC | By.DISPOSITION:
                group = row[0] or NONE
            case By.DAY:
                group = row[0]
            case By.INTERVAL:
                group = interval_start(row[0], row[1], question.zone)
        found[group] = found.get(group, Sums()) + Sums(*row[-len(fields(Sums)) :])
    return dict(sorted(found.items(), key=lambda item: (item[0] in (None, NONE), item[0])))


_TARGETS: Final = """\
SELECT queue_id, target_seconds, target_share, service_level
FROM service_levels(client = %(client)s, from_date = %(start)s, to_date = %(end)s)"""


def targets(clickhouse: Client, client: str, start: date, end: date) -> dict[Any, dict[str, Any]]:
    """Of each queue the target of its own, and the service level by it; None where it has none."""
    values = {"client": client, "start": str(start), "end": str(end)}
    return {
        queue or None: dict(zip(TARGETS, row, strict=True))
        for queue, *row in clickhouse.execute(_TARGETS, values)
    }


def report(by: By, found: dict[Any, Sums]) -> list[dict[str, Any]]:
    """A row of figures per group; days and times as ISO 8601."""
    rows = []
    for group, sums in found.items():
        text = group.isoformat() if isinstance(group, date) else group
        rows.append(({by.column: text} if by.column else {}) | sums.figures())
    return rows


def kpi(
    client: Annotated[str, typer.Option(help="The client company.")],
    from_: Annotated[str, typer.Option("--from", metavar="DATE", help="First day, YYYY-MM-DD.")],
    to: Annotated[str, typer.Option("--to", metavar="DATE", help="The day after the last one.")],
    by: Annotated[By, typer.Option(help="A row for each.")] = By.ALL,
    interval: Annotated[str, typer.Option(help="With --by interval: 15m, 30m, 1h ...")] = "30m",
    level: Annotated[
        int, typer.Option(help="With --by topic: 1 for the roots; 0: each call's own.", min=0)
    ] = 0,
    sl_seconds: Annotated[float, typer.Option(help="Service level: answered within.")] = 20.0,
    own_targets: Annotated[
        bool,
        typer.Option("--targets", help="With --by queue: each queue's own service level, too."),
    ] = False,
    orders: Annotated[
        bool,
        typer.Option("--orders", help="Of orders, as --by product and offer always are."),
    ] = False,
    attempts: Annotated[
        bool,
        typer.Option(
            "--attempts",
            help="Of outbound attempts, as --by campaign, list and campaign-hour are.",
        ),
    ] = False,
    format: Annotated[Format, typer.Option("--format")] = Format.TABLE,
) -> None:
    """Show how calls were answered, what was sold, or what became of outbound campaigns: by the
    client's own clock."""
    orders = orders or by in OF_ORDERS
    attempts = attempts or (by in OF_ATTEMPTS and not orders)
    with explained():
        start, end = warehouse.days(from_, to)
        interval_s = _interval(interval)
        if not 0 <= sl_seconds < math.inf:
            raise InputError(f"--sl-seconds: {sl_seconds} is no number of seconds from 0 up")
        if level and by is not By.TOPIC:
            raise InputError("--level: only --by topic has levels")
        if own_targets and (orders or attempts or by is not By.QUEUE):
            raise InputError("--targets: only calls --by queue have targets of their own")
        if orders and by not in order_report.OCCASIONS:
            raise InputError(f"--orders: they are not counted --by {by}")
        if attempts and orders:
            raise InputError("--attempts: either these or --orders")
        if attempts and by not in attempt_report.GROUPS:
            raise InputError(f"--attempts: they are not counted --by {by}")
        lacks = "orders" if orders else "attempts" if attempts else "calls"
        with warehouse.connected(lacks) as clickhouse:
            zone = warehouse.zone(clickhouse, client)
            if orders:
                rows = order_report.ask(clickhouse, client, start, end, by)
            elif attempts:
                rows = attempt_report.ask(clickhouse, client, start, end, by)
            else:
                question = Question(client, zone, start, end, by, interval_s, sl_seconds, level)
                rows = report(by, ask(clickhouse, question))
                if own_targets:
                    found = targets(clickhouse, client, start, end)
                    rows = [row | found.get(row["queue"], dict.fromkeys(TARGETS)) for row in rows]
    match format:
        case Format.JSON:
            typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        case Format.CSV:
            if orders:
                text = order_report.as_csv(by, rows)
            elif attempts:
                text = attempt_report.as_csv(by, rows)
            else:
                text = _csv(by, rows, own_targets)
            typer.echo(text, nl=False)
        case Format.TABLE if orders:
            order_report.show(by, rows)
        case Format.TABLE if attempts:
            attempt_report.show(by, rows)
        case Format.TABLE:
            _print_table(by, rows, sl_seconds)


def _interval(text: str) -> int:
    match = re.fullmatch(r"([1-9]\d{0,3})([mh])", text, re.ASCII)
    seconds = int(match[1]) * {"m": 60, "h": 3600}[match[2]] if match else 0
    if seconds == 0 or DAY_S % seconds:
        raise InputError(
            f"--interval: {text!r} is not a number of minutes or hours that a day can be "
            "divided into, such as 15m, 30m or 1h"
        )
    return seconds


def _csv(by: By, rows: Sequence[dict[str, Any]], own_targets: bool) -> str:
    names = [*([by.column] if by.column else []), *Sums().figures()]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*names, *TARGETS] if own_targets else names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _print_table(by: By, rows: Sequence[dict[str, Any]], sl_seconds: float) -> None:
    shown: dict[str, tuple[str, Callable[[Any], str]]] = {
        "offered": ("offered", _count),
        "answered": ("answered", _count),
        "abandoned": ("abandoned", _count),
        "abandonment_rate": ("abandoned %", _percent),
        "asa_s": ("ASA s", _seconds),
        "service_level": (f"in {sl_seconds:g} s %", _percent),
        "aht_s": ("AHT s", _seconds),
    }
    # Of these only what there is: few centres do all of it.
    others: dict[str, tuple[str, Callable[[Any], str]]] = {
        "overflowed": ("overflowed", _count),
        "out_of_hours": ("out of hours", _count),
        "transfers": ("transfers", _count),
        "callbacks": ("callbacks", _count),
        "estimate_error_s": ("estimate off by s", _seconds),
        "target_s": ("target s", _seconds),
        "target_share": ("target %", _percent),
        "target_service_level": ("in target %", _percent),
    }
    shown |= {name: how for name, how in others.items() if any(row.get(name) for row in rows)}
    table = Table(box=None, pad_edge=False)
    if by.column:
        table.add_column(by.value)
    for title, _ in shown.values():
        table.add_column(title, justify="right")
    for row in rows:
        values = [text(row[name]) for name, (_, text) in shown.items()]
        table.add_row(*([row[by.column] or "-"] if by.column else []), *values)
    print_table(table)


def _count(count: int) -> str:
    return f"{count:,}"


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.1%}"


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:,.1f}"
