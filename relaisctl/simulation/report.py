"""The figures of a study, as tables for people and as one JSON object for programs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import typer
from rich.table import Table

from relaisctl.show import print_table
from relaisctl.simulation import measures, study
from relaisctl.simulation.measures import CONFIDENCE, Figures, Interval, Sums
from relaisctl.simulation.study import Ran, Scenario, Study
from services.routing.configuration import Queue

Cells = dict[str, Interval | None]
"""Figures with their intervals, by name."""

ALL = "all"
RECORDED = "as recorded"
TITLES = {
    "service_level": "in target %",
    "asa_s": "ASA s",
    "abandonment": "abandoned %",
    "shortfall": "short of targets %",
    "occupancy": "occupancy %",
    "fairness_queues": "fair to queues",
    "fairness_agents": "fair to agents",
    "estimate_error_s": "estimate off by s",
}
_PERCENT = ("service_level", "abandonment", "shortfall", "occupancy")
_INDEX = ("fairness_queues", "fairness_agents")


@dataclass(frozen=True, slots=True)
class Part:
    """Whose customers: of all queues, of a client's, or of one.

    target, target_share: what is promised, where all its queues promise the same.
    """

    kind: str
    name: str
    queues: Mapping[str, Queue]
    target: str
    target_share: float | None

    def figures(self, sums: Sums) -> Figures:
        if self.kind == ALL:
            return measures.of_all(sums, self.queues)
        return measures.of_queues(sums, self.queues)


@dataclass(frozen=True, slots=True)
class Row:
    """A scenario's figures for a part. difference: from the scenario that it is compared with."""

    part: Part
    figures: Cells
    difference: Cells | None


@dataclass(frozen=True, slots=True)
class Report:
    """What a study found. recorded: the figures of the files, which know no occupancy."""

    study: Study
    parts: list[Part]
    recorded: list[Cells]
    rows: list[list[Row]]
    """Of each scenario, in the order of the parts."""
    calls: int
    """Of each scenario."""


def parts(scenario: Scenario) -> list[Part]:
    """All queues together, each client (if there are several), and each queue that is not alone
    its client's."""
    queues = scenario.rules.queues
    clients: dict[str, list[str]] = {}
    for name, (client_id, _) in queues.items():
        clients.setdefault(client_id, []).append(name)

    def part(kind: str, name: str, names: Iterable[str]) -> Part:
        own = {each: queues[each][1] for each in names}
        targets = {(queue.target_share, queue.target_seconds) for queue in own.values()}
        if len(targets) > 1:
            return Part(kind, name, own, "", None)
        ((share, seconds),) = targets
        return Part(kind, name, own, f"{share:.0%} in {seconds} s", share)

    found = [part(ALL, ALL, queues)]
    if len(clients) > 1:
        found += [part("client", client_id, names) for client_id, names in clients.items()]
    shared = [name for name, (client_id, _) in queues.items() if len(clients[client_id]) > 1]
    return found + [part("queue", name, [name]) for name in shared]


def of(subject: Study, ran: Sequence[Ran], recorded: Sequence[Sums]) -> Report:
    """The figures of a study. recorded: of its days."""
    wanted = parts(subject.scenarios[0])
    clusters = study.by_cluster(subject, ran)
    rows: list[list[Row]] = []
    for number, scenario in enumerate(subject.scenarios):
        own = [[sums[number]] for sums in clusters]
        other = scenario.against
        pairs = [] if other is None else [[sums[number], sums[other]] for sums in clusters]
        rows.append(
            [
                Row(
                    part,
                    measures.intervals(_figures(part), own),
                    measures.intervals(_difference(part), pairs) if pairs else None,
                )
                for part in wanted
            ]
        )
    return Report(
        subject,
        wanted,
        [measures.intervals(_figures(part), [[sums] for sums in recorded]) for part in wanted],
        rows,
        sum(one.calls for one in ran) // len(subject.scenarios),
    )


def _figures(part: Part) -> Callable[[Sequence[Sums]], Figures]:
    return lambda sums: part.figures(sums[0])


def _difference(part: Part) -> Callable[[Sequence[Sums]], Figures]:
    def difference(sums: Sequence[Sums]) -> Figures:
        mine, other = part.figures(sums[0]), part.figures(sums[1])
        found: Figures = {}
        for name, value in mine.items():
            against = other[name]
            found[name] = None if value is None or against is None else value - against
        return found

    return difference


# For programs -------------------------------------------------------------------------------------


def as_json(report: Report) -> dict[str, Any]:
    subject = report.study
    return {
        "days": len(subject.days),
        "from": subject.days[0].day.isoformat(),
        "to": subject.days[-1].day.isoformat(),
        "runs": len(subject.runs),
        "calls": report.calls,
        "seed": subject.seed,
        "confidence": CONFIDENCE,
        "recorded": [
            _place(part) | {"figures": _cells(cells)}
            for part, cells in zip(report.parts, report.recorded, strict=True)
        ],
        "scenarios": [
            {
                "policy": scenario.policy,
                "agents": scenario.agents,
                "what_if": scenario.what_if,
                "against": scenario.against,
                "parts": [
                    _place(row.part)
                    | {"figures": _cells(row.figures)}
                    | ({} if row.difference is None else {"difference": _cells(row.difference)})
                    for row in rows
                ],
            }
            for scenario, rows in zip(subject.scenarios, report.rows, strict=True)
        ],
    }


def _place(part: Part) -> dict[str, Any]:
    target = {} if part.target_share is None else {"target_share": part.target_share}
    return {"kind": part.kind, "name": part.name} | target


def _cells(cells: Mapping[str, Interval | None]) -> dict[str, Any]:
    return {
        name: None if cell is None else {"value": cell.value, "plus_minus": cell.half}
        for name, cell in cells.items()
    }


# For people ---------------------------------------------------------------------------------------


def show(report: Report) -> None:
    """Print the tables."""
    subject = report.study
    first, last = subject.days[0].day, subject.days[-1].day
    days = f"{len(subject.days)} recorded days" if len(subject.days) > 1 else "one recorded day"
    over = "the recorded days" if len(subject.days) > 1 else "the runs, given this day's arrivals"
    typer.echo(
        f"{days} ({first} to {last}), {len(subject.runs):,} simulated, {report.calls:,} calls"
        f" in each scenario, seed {subject.seed}\n"
        f"± {CONFIDENCE:.0%} confidence, Student's t by the jackknife over {over}\n"
    )
    _show_scenarios(report)
    if len(subject.scenarios) > 1:
        _show_differences(report)
    _show_parts(report)


def _table(*columns: str, figures: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column)
    for name in figures:
        table.add_column(TITLES[name], justify="right")
    return table


def _names(subject: Study) -> list[tuple[str, ...]]:
    """What tells the scenarios apart."""
    return [(one.policy, f"{one.agents} {one.what_if}".strip()) for one in subject.scenarios]


def _show_scenarios(report: Report) -> None:
    table = _table("policy", "agents", figures=list(TITLES))
    table.add_row(RECORDED, "", *(_shown(name, report.recorded[0].get(name)) for name in TITLES))
    for names, rows in zip(_names(report.study), report.rows, strict=True):
        table.add_row(*names, *(_shown(name, rows[0].figures[name]) for name in TITLES))
    print_table(table)


def _show_differences(report: Report) -> None:
    typer.echo("\ndifferences, customers being the same (* surely not zero)")
    table = _table("policy", "agents", "from", "", figures=list(TITLES))
    names = _names(report.study)
    for scenario, own, rows in zip(report.study.scenarios, names, report.rows, strict=True):
        if scenario.against is None:
            continue
        policy, agents = names[scenario.against]
        first = (*own, policy if agents == own[1] else agents)
        kinds = {row.part.kind for row in rows}
        for row in rows:
            if row.part.kind == "queue" and "client" in kinds:
                continue  # the JSON has them
            cells = row.difference or {}
            told = first if row.part.kind == ALL else ("", "", "")
            shown = (_shown(name, cells.get(name), "+") for name in TITLES)
            table.add_row(*told, row.part.name, *shown)
    print_table(table)


def _show_parts(report: Report) -> None:
    figures = list(measures.of_queues(Sums(), ()))
    typer.echo()
    table = _table("", "target", "policy", "agents", figures=figures)
    for place, part in enumerate(report.parts[1:], 1):
        recorded = report.recorded[place]
        table.add_row(
            part.name,
            part.target,
            RECORDED,
            "",
            *(_shown(name, recorded[name]) for name in figures),
        )
        for names, rows in zip(_names(report.study), report.rows, strict=True):
            table.add_row("", "", *names, *(_shown(n, rows[place].figures[n]) for n in figures))
    print_table(table)


def _shown(name: str, cell: Interval | None, sign: str = "") -> str:
    if cell is None:
        return "-"
    scale, digits = (100, 1) if name in _PERCENT else (1, 3 if name in _INDEX else 1)
    text = f"{cell.value * scale:{sign},.{digits}f}"
    if cell.half is not None:
        text += f" ± {cell.half * scale:,.{digits}f}"
    return text + ("*" if sign and cell.excludes_zero else " " if sign else "")
