"""`relaisctl kpi --by campaign`, list or campaign-hour, or with `--attempts`: outbound calls.

The counting is the view `campaign_kpi`: docs/subsystems/analytics.md defines each figure, and shows
how to go from one to its attempts. An attempt counts in the day and hour in which it was started,
by the client's clock. What the law measures has periods of its own: a campaign shows the worst of
those that the range touches.
"""

import csv
import io
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, Final

import typer
from clickhouse_driver import Client
from rich.table import Table

from relaisctl.order_report import exact, money, percent
from relaisctl.show import print_table

GROUPS: Final = {
    "all": (),
    "campaign": ("campaign",),
    "list": ("list",),
    "campaign-hour": ("campaign", "hour"),
    "day": ("day",),
}
"""What attempts can be grouped by, and what a row's group is called."""

FIGURES: Final = (
    *("attempts", "contacts", "contact_rate", "attempts_per_contact"),
    *("leads_attempted", "leads_contacted", "lead_contact_rate"),
    *("connected", "converted", "conversion", "conversion_per_attempt"),
    *("talked_s", "agent_s", "talk_share", "live", "abandoned", "abandonment_rate"),
    *("leads", "penetration", "exhaustion"),
)
AMOUNTS: Final = ("cost", "cost_per_sale")
"""By currency."""
MEASURES: Final = ("us", "uk", "contract")
RATES: Final = tuple(f"{measure}_{what}" for measure in MEASURES for what in ("rate", "compliant"))

_SELECT: Final = f"""\
SELECT name, hour, {", ".join((*FIGURES, *AMOUNTS))}
FROM campaign_kpi(client = %(client)s, from_date = %(start)s, to_date = %(end)s, by = %(by)s)
ORDER BY name = '', name, hour"""
_MEASURED: Final = """\
SELECT if(%(by)s = 'campaign', campaign_id, '') AS name, measure, max(rate), min(compliant)
FROM abandonment(client = %(client)s)
WHERE last_day >= %(start)s AND first_day < %(end)s
GROUP BY name, measure"""


def ask(clickhouse: Client, client: str, start: date, end: date, by: str) -> list[dict[str, Any]]:
    """A row of figures per group; what has none (no list) is last, as None.

    start, end: days of the client's, the end exclusive. by: of GROUPS. Rates are shares, None where
    there is nothing to divide by; amounts are decimals as text, by currency. Rows by campaign, and
    the one of all, have RATES: of the worst period, and whether all are within the limit.
    """
    values = {"client": client, "start": str(start), "end": str(end), "by": by}
    rows = []
    for name, hour, *found in clickhouse.execute(_SELECT, values):
        row = dict(zip((*FIGURES, *AMOUNTS), found, strict=True))
        for amount in AMOUNTS:
            row[amount] = {
                currency: exact(round(sum, 4), currency)
                for currency, sum in sorted(row[amount].items())
            }
        rows.append(dict(zip(GROUPS[by], (name or None, hour), strict=False)) | row)
    if by == "all" and not rows:
        rows = [dict(_NOTHING)]
    if by in ("all", "campaign"):
        measured = {
            (name, measure): (rate, bool(compliant))
            for name, measure, rate, compliant in clickhouse.execute(_MEASURED, values)
        }
        for row in rows:
            for measure in MEASURES:
                rate, compliant = measured.get((row.get("campaign") or "", measure), (None, None))
                row |= {f"{measure}_rate": rate, f"{measure}_compliant": compliant}
    return rows


_COUNTED: Final = {
    *("attempts", "contacts", "leads_attempted", "leads_contacted", "connected", "converted"),
    *("talked_s", "agent_s", "live", "abandoned"),
}
_NOTHING: Final[dict[str, Any]] = {
    **{name: 0 if name in _COUNTED else None for name in FIGURES},
    **{name: {} for name in AMOUNTS},
}


def as_csv(by: str, rows: Sequence[dict[str, Any]]) -> str:
    """A column for each amount and currency: `cost_EUR`."""
    currencies = sorted({currency for row in rows for name in AMOUNTS for currency in row[name]})
    amounts = [(name, currency) for name in AMOUNTS for currency in currencies]
    plain = [*GROUPS[by], *FIGURES, *(RATES if by in ("all", "campaign") else ())]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*plain, *(f"{name}_{currency}" for name, currency in amounts)])
    for row in rows:
        sums = [row[name].get(currency) for name, currency in amounts]
        writer.writerow([*(row[name] for name in plain), *sums])
    return text.getvalue()


def show(by: str, rows: Sequence[dict[str, Any]]) -> None:
    """Print a table for people."""
    shown: dict[str, tuple[str, Callable[[Any], str]]] = {
        "attempts": ("attempts", _count),
        "contacts": ("contacts", _count),
        "contact_rate": ("contact %", percent),
        "attempts_per_contact": ("per contact", _decimal),
        "leads_contacted": ("leads", _count),
        "converted": ("converted", _count),
        "conversion": ("conv %", percent),
        "talked_s": ("talk h", lambda seconds: _decimal(seconds / 3600)),
    }
    # Of these only what there is: a replayed file has no agents' states and no costs.
    others: dict[str, tuple[str, Callable[[Any], str]]] = {
        "talk_share": ("talk share %", percent),
        "abandonment_rate": ("abandoned %", percent),
        **{f"{measure}_rate": (f"{measure} worst %", percent) for measure in MEASURES},
        "cost": ("cost", money),
        "cost_per_sale": ("per sale", money),
        "penetration": ("penetration %", percent),
        "exhaustion": ("exhausted %", percent),
    }
    shown |= {name: how for name, how in others.items() if any(row.get(name) for row in rows)}
    table = Table(box=None, pad_edge=False)
    for name in GROUPS[by]:
        table.add_column(name)
    for title, _ in shown.values():
        table.add_column(title, justify="right")
    for row in rows:
        group = ["-" if row[name] is None else str(row[name]) for name in GROUPS[by]]
        values = [
            text(row[name]) + ("!" if row.get(name.replace("_rate", "_compliant")) is False else "")
            for name, (_, text) in shown.items()
        ]
        table.add_row(*group, *values)
    print_table(table)
    if any(row.get(f"{measure}_compliant") is False for row in rows for measure in MEASURES):
        typer.echo("! above the limit in at least one period")


def _count(count: int) -> str:
    return f"{count:,}"


def _decimal(number: float | None) -> str:
    return "-" if number is None else f"{number:,.1f}"
