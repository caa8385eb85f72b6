"""`relaisctl simulate`: what would have been, with other policies, rosters and agents.

The routing engine runs in this process; no service is needed, and nothing is published. Exit codes:
2 a file or an option is unusable, 130 interrupted.
"""

import json
import os
import re
import time
from collections.abc import Sequence, Set
from datetime import date, datetime
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from relaisctl import warehouse
from relaisctl.errors import INTERRUPTED, InputError, explained
from relaisctl.replay import anonymous_bank, files, history
from relaisctl.show import Bars, Format
from relaisctl.simulation import measures, recorded, report, roster, study
from relaisctl.simulation.centre import Rules
from relaisctl.simulation.estimates import Estimates
from relaisctl.simulation.recorded import SECOND, Day
from relaisctl.simulation.roster import Change, Roster
from relaisctl.simulation.study import FEWEST_RUNS, Scenario, Study
from services.routing.commands import Invalid, check_client_id
from services.routing.configuration import Queue, check_queue
from services.routing.policies import DEFAULT, POLICIES

ZONE = ZoneInfo(anonymous_bank.TIME_ZONE)
RECORDED = "recorded"
MOST_AGENTS = 5_000


def simulate(
    data: Annotated[
        list[Path],
        typer.Option(help='A call-by-call file of Technion\'s "anonymous bank"; may be repeated.'),
    ],
    client: Annotated[
        list[str],
        typer.Option(
            metavar="ID[=QUEUE,...]",
            help="The client company whose queues these are; several may share them.",
        ),
    ],
    agents: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N|FILE|recorded",
            help="So many all day long, a roster (CSV: agent_id,start,end,skills[,groups]), or who "
            "was there. May be repeated. Default: recorded.",
        ),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(POLICIES)}. May be repeated. Default: {DEFAULT}."),
    ] = None,
    what_if: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CHANGE",
            help="Beside each roster the same with agents more or fewer: +3@10:00, "
            "-2@12:00-13:30, +1@10:00:PS,NE. May be repeated.",
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[QUEUE=]SHARE/SECONDS[*PENALTY]",
            help="Service level, of a queue or of all others. Default: 80/20.",
        ),
    ] = None,
    begins: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="First day, YYYY-MM-DD.")
    ] = None,
    ends: Annotated[
        str | None, typer.Option("--to", metavar="DATE", help="The day after the last one.")
    ] = None,
    days: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100_000,
            help="Simulate so many, the recorded ones in turn. "
            f"Default: each once, or as often as it takes for {FEWEST_RUNS}.",
        ),
    ] = None,
    wrap_up: Annotated[
        float | None,
        typer.Option(min=0, max=3600, help="Seconds after each call. Default: as the data say."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same figures.")] = 1,
    jobs: Annotated[
        int | None, typer.Option(min=1, max=256, help="Processes. Default: as many processors.")
    ] = None,
    format: Annotated[Format, typer.Option("--format")] = Format.TABLE,
) -> None:
    """Simulate recorded days with other policies, rosters and agents, and compare them."""
    with explained():
        begun = time.monotonic()
        read = _read(data)
        found = _days(read, begins, ends)
        queues = sorted({call.queue for day in found for call in day.calls})
        subject = Study(
            days=found,
            runs=study.schedule(len(found), days or max(len(found), FEWEST_RUNS), seed),
            estimates=Estimates.of(read),
            scenarios=_scenarios(
                policy or [DEFAULT],
                _rosters(agents or [RECORDED], found, set(queues)),
                [Change.of(text, set(queues)) for text in what_if or ()],
                _queues(queues, client, target or []),
            ),
            seed=seed,
            wrap_up=None if wrap_up is None else round(wrap_up * SECOND),
        )
        try:
            ran = _run(subject, jobs or os.cpu_count() or 1)
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None
        rules = subject.scenarios[0].rules
        answer = report.of(subject, ran, [measures.recorded(day, rules) for day in found])
    calls, seconds = sum(one.calls for one in ran), time.monotonic() - begun
    if format is Format.JSON:
        typer.echo(json.dumps(report.as_json(answer), indent=2, ensure_ascii=False))
    else:
        report.show(answer)
    typer.echo(f"{calls:,} calls in {seconds:.1f} s, reading included", err=True)


def _read(paths: Sequence[Path]) -> list[Day]:
    with Bars() as progress:
        task = progress.add_task("rows read", total=files.size_of(paths), text="")
        reading = files.read_files(
            paths,
            datetime.now(ZONE).date(),
            lambda size, rows: progress.show(task, size, f"{rows:,} rows"),
        )
    if reading.rejects:
        typer.echo(
            f"{len(reading.rejects):,} of {reading.rows:,} rows cannot be read and are left out",
            err=True,
        )
    calls, _ = history.identify(reading.calls, ZONE)
    return recorded.days(calls, ZONE)


def _days(days: Sequence[Day], begins: str | None, ends: str | None) -> list[Day]:
    first = warehouse.day("--from", begins) if begins else date.min
    end = warehouse.day("--to", ends) if ends else date.max
    found = [day for day in days if first <= day.day < end]
    if not found:
        raise InputError(f"no queued call from {begins or 'the beginning'} to {ends or 'the end'}")
    return found


def _rosters(names: Sequence[str], days: Sequence[Day], queues: Set[str]) -> dict[str, Roster]:
    found: dict[str, Roster] = {}
    for name in names:
        if name == RECORDED:
            found[name] = roster.recorded
        elif name.isdecimal():
            if not 1 <= int(name) <= MOST_AGENTS:
                raise InputError(f"--agents: {name} is no number from 1 to {MOST_AGENTS}")
            found[name] = roster.of_count(int(name), days)
        else:
            found[Path(name).name] = roster.read(Path(name), queues)
    return found


def _queues(
    names: Sequence[str], clients: Sequence[str], targets: Sequence[str]
) -> dict[str, tuple[str, Queue]]:
    owners = _owners(names, clients)
    promised = _targets(names, targets)
    found: dict[str, tuple[str, Queue]] = {}
    for name in names:
        share, seconds, penalty = promised.get(name) or promised[""]
        queue = Queue(
            name,
            required_skills=((name, 1),),
            target_seconds=seconds,
            target_share=share,
            penalty=penalty,
        )
        try:
            check_queue(queue)
        except Invalid as error:
            raise InputError(f"--target: {name}: {error}") from error
        found[name] = owners[name], queue
    return found


def _owners(names: Sequence[str], clients: Sequence[str]) -> dict[str, str]:
    """Whose each queue is. A client without a list has all that no other one has."""
    owners: dict[str, str] = {}
    rest = ""
    for text in clients:
        client_id, listed, own = text.partition("=")
        try:
            check_client_id(client_id)
        except Invalid as error:
            raise InputError(f"--client: {error.reason}") from error
        if not listed:
            if rest:
                raise InputError(f"--client: {rest} and {client_id} both without their queues")
            rest = client_id
        for queue in own.split(",") if listed else ():
            if queue not in names:
                raise InputError(f"--client: {queue!r} is none of the queues {', '.join(names)}")
            if queue in owners:
                raise InputError(f"--client: {queue} is {owners[queue]}'s and {client_id}'s")
            owners[queue] = client_id
    nobodys = [name for name in names if name not in owners]
    if nobodys and not rest:
        raise InputError(f"--client: the queues {', '.join(nobodys)} are no client's")
    return {name: owners.get(name, rest) for name in names}


_TARGET = re.compile(
    r"(?:([^=]+)=)?(\d{1,3}(?:\.\d+)?)/(\d{1,6})(?:\*(\d{1,6}(?:\.\d+)?))?", re.ASCII
)


def _targets(names: Sequence[str], texts: Sequence[str]) -> dict[str, tuple[float, int, float]]:
    """(share, seconds, penalty) by queue; under "" of all others."""
    found = {"": (0.8, 20, 1.0)}
    for text in texts:
        match = _TARGET.fullmatch(text)
        if not match or (match[1] and match[1] not in names):
            raise InputError(
                f"--target: {text!r} is nothing like 80/20, QUEUE=90/10 or QUEUE=90/10*3; "
                f"the queues are {', '.join(names)}"
            )
        found[match[1] or ""] = float(match[2]) / 100, int(match[3]), float(match[4] or 1)
    return found


def _scenarios(
    policies: Sequence[str],
    rosters: dict[str, Roster],
    changes: Sequence[Change],
    queues: dict[str, tuple[str, Queue]],
) -> list[Scenario]:
    for policy in policies:
        if policy not in POLICIES:
            raise InputError(f"--policy: {policy!r} is none of {', '.join(POLICIES)}")
    names = list(dict.fromkeys(policies))
    staffings = [
        (name, change.text if change else "", change.changed(base) if change else base)
        for name, base in rosters.items()
        for change in (None, *changes)
    ]
    found: list[Scenario] = []
    for name, change, staffing in staffings:
        first = len(found)
        for policy in names:
            # A policy is judged at equal staffing, a staffing with an equal policy.
            against = first if policy != names[0] else 0 if first else None
            rules = Rules(policy, queues)
            found.append(Scenario(policy, name, change, staffing, rules, against))
    return found


def _run(subject: Study, jobs: int) -> list[study.Ran]:
    with Bars() as progress:
        task = progress.add_task("days simulated", total=len(subject.runs), text="")
        return study.run(
            subject,
            min(jobs, len(subject.runs)),
            lambda runs, calls: progress.show(task, runs, f"{calls:,} calls"),
        )
