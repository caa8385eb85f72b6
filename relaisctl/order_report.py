"""`relaisctl kpi --by product`, or with `--orders`: what was sold, and what has become of it since.

The counting is the view `order_kpi`: docs/subsystems/analytics.md explains it, and how to go from a
figure to its orders. An order counts once: in the day of its placement, or of its first word while
it is not placed. Its cancellation, its return and its failure count beside that placement, whenever
they came. Amounts of different currencies are never added.
"""

import csv
import io
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final

from babel.numbers import get_currency_precision
from clickhouse_driver import Client
from rich.table import Table

from relaisctl.show import print_table

OCCASIONS: Final = {
    "all": "calls",
    "product": "orders",
    "agent": "calls",
    "campaign": "orders",
    "offer": "offers",
    "queue": "calls",
    "day": "calls",
}
"""What orders can be grouped by, and what `conversion` is a share of: answered calls, offers that
were answered in calls, or orders that were begun."""

COUNTS: Final = (
    *("drafted", "placed", "occasions", "converted", "conversion", "cancelled"),
    *("cancellation_rate", "fulfilled", "returned", "failed", "after_sale_failure_rate"),
)
AMOUNTS: Final = ("revenue", "net_revenue", "monthly", "net_monthly")
"""By currency. Net: of orders that are neither cancelled nor returned nor failed."""

_SELECT: Final = f"""\
SELECT name, {", ".join((*COUNTS, *AMOUNTS))}
FROM order_kpi(client = %(client)s, from_date = %(start)s, to_date = %(end)s, by = %(by)s)
ORDER BY name = '', name"""


def ask(clickhouse: Client, client: str, start: date, end: date, by: str) -> list[dict[str, Any]]:
    """A row of figures per group, by name; what has none (no agent, no campaign) is last, as None.

    start, end: days of the client's, the end exclusive. by: of OCCASIONS. Rates are None where
    there is nothing to divide by; amounts are decimals as text, by currency.
    """
    rows = []
    values = {"client": client, "start": str(start), "end": str(end), "by": by}
    for name, *figures in clickhouse.execute(_SELECT, values):
        row = dict(zip((*COUNTS, *AMOUNTS), figures, strict=True))
        for amount in AMOUNTS:
            row[amount] = {
                currency: exact(sum, currency) for currency, sum in sorted(row[amount].items())
            }
        rows.append(({} if by == "all" else {by: name or None}) | row)
    if by == "all" and not rows:
        rows = [_NOTHING]
    return [row | {"conversion_of": OCCASIONS[by]} for row in rows]


_NOTHING: Final[dict[str, Any]] = {
    **{name: None if name.endswith(("rate", "conversion")) else 0 for name in COUNTS},
    **{name: {} for name in AMOUNTS},
}


def exact(amount: Decimal, currency: str) -> str:
    """With the digits that the currency has; with more where the amount has them."""
    digits = f"{amount:f}".partition(".")[2].rstrip("0")
    return f"{amount:.{max(len(digits), get_currency_precision(currency))}f}"


def as_csv(by: str, rows: Sequence[dict[str, Any]]) -> str:
    """A column for each amount and currency: `revenue_EUR`."""
    currencies = sorted({currency for row in rows for name in AMOUNTS for currency in row[name]})
    amounts = [(name, currency) for name in AMOUNTS for currency in currencies]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    plain = [*([] if by == "all" else [by]), *COUNTS, "conversion_of"]
    writer.writerow([*plain, *(f"{name}_{currency}" for name, currency in amounts)])
    for row in rows:
        sums = [row[name].get(currency) for name, currency in amounts]
        writer.writerow([*(row[name] for name in plain), *sums])
    return text.getvalue()


def show(by: str, rows: Sequence[dict[str, Any]]) -> None:
    """Print a table for people."""
    table = Table(box=None, pad_edge=False)
    if by != "all":
        table.add_column(by)
    for title in (
        *("drafted", "placed", OCCASIONS[by], "converted", "conv %", "cancelled", "canc %"),
        *("fulfilled", "returned", "failed", "after-sale %"),
        *("revenue", "net", "a month", "net a month"),
    ):
        table.add_column(title, justify="right")
    for row in rows:
        shown = [
            percent(row[name]) if name.endswith(("rate", "conversion")) else f"{row[name]:,}"
            for name in COUNTS
        ]
        shown += [money(row[name]) for name in AMOUNTS]
        table.add_row(*([] if by == "all" else [row[by] or "-"]), *shown)
    print_table(table)


def percent(rate: float | None) -> str:
    """A share as per cent."""
    return "-" if rate is None else f"{rate:.1%}"


def money(amounts: dict[str, str]) -> str:
    """Amounts by currency, a line for each."""
    return "\n".join(f"{Decimal(sum):,} {currency}" for currency, sum in amounts.items()) or "-"
