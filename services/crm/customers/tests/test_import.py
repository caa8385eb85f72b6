"""Imports: through HTTP, and by the command against a server that listens."""

import asyncio
import csv
import json
import os
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner

from eventkit.callers import Role
from eventkit.eventstore import EventStore
from eventkit.http import serve
from relaisctl.customers import app
from services.crm.customers.tests.support import Api, make_api, token

DIRT: list[tuple[dict[str, Any], str, str]] = [
    ({"number": "K-1", "phones": ["call me"]}, "phones", "must be a telephone number"),
    ({"number": "K-2", "phones": ["061234"]}, "phones", "no number that its country"),
    ({"number": "K-3", "emails": ["ann@"]}, "emails", "must be an email address"),
    ({"number": "K-4", "language": "français"}, "language", "BCP 47"),
    ({"number": "K-5", "time_zone": "Mars/Olympus"}, "time_zone", "IANA"),
    ({"number": "K-6", "preferred_channel": "pigeon"}, "preferred_channel", "one of voice"),
    ({"number": "K-7", "name": "x" * 201}, "name", "more than 200"),
    ({"number": "K-8", "name": "A\x00nn"}, "name", "no text"),
    ({"number": "x" * 129}, "number", "more than 128"),
    ({"number": "K-9", "address": "x" * 1_001}, "address", "more than 1,000"),
    ({"number": "K-10", "phones": ["0612345678"] * 21}, "phones", "more than 20"),
    ({"name": "Nothing Else"}, "number", "a number, a phone or an email"),
    ({}, "number", "a number, a phone or an email"),
]


async def imported(api: Api, rows: list[dict[str, Any]], key: str = "", **more: Any) -> list[Any]:
    body = {"rows": rows, "region": "FR"} | more
    answer = await api.ok("POST", "/import", body, key)
    return list(answer["lines"])


def outcomes(lines: list[Any]) -> list[str]:
    return [line["outcome"] for line in lines]


@pytest.mark.parametrize("dry_run", [False, True])
async def test_dirt_is_rejected_row_by_row(api: Api, dry_run: bool) -> None:
    rows = [{"number": "K-0", "name": "Good"}, *(row for row, _, _ in DIRT), {"number": "K-99"}]
    lines = await imported(api, rows, dry_run=dry_run)
    assert outcomes(lines) == ["accepted", *["rejected"] * len(DIRT), "accepted"]
    for line, (row, field, reason) in zip(lines[1:-1], DIRT, strict=True):
        assert line["field"] == field
        assert reason in line["reason"]
        for value in row.values():
            assert not isinstance(value, str) or value not in line["reason"]
    found = [] if dry_run else [lines[0]["customer_id"]]
    assert await api.find(number="K-0") == found
    assert await api.find(name="nothing") == []


async def test_duplicates_of_the_client_and_within(api: Api) -> None:
    known = await api.register(number="K-1", name="Ann", phones=["+33612345678"])
    other = await api.register(name="Zoé Roux", emails=["Zoe@example.com"])
    rows: list[dict[str, Any]] = [
        {"number": "K-1", "name": "Somebody else"},
        {"number": "K-2", "name": "Ann", "phones": ["06 12 34 56 78"]},
        {"name": "ANN", "phones": ["06 12 34 56 78"]},
        {"name": "Bob", "phones": ["06 12 34 56 78"]},
        {"phones": ["06 12 34 56 78"]},
        {"name": "roux, zoe", "emails": ["x@example.com", "zoe@EXAMPLE.com"]},
        {"number": "K-2", "name": "Once more"},
        {"name": "Carl", "emails": ["carl@example.com"]},
        {"name": "carl", "emails": ["CARL@example.com"], "phones": ["01 42 68 53 00"]},
        {"name": "Carl", "phones": ["01 42 68 53 00"]},
        {"number": "K-3", "name": "Dora", "phones": ["01 42 68 53 99"]},
        {"name": "Dora", "phones": ["01 42 68 53 99"]},
    ]
    expected = [
        ("duplicate", known),
        ("accepted", None),  # another number, another customer, of one family
        ("duplicate", known),
        ("accepted", None),
        ("duplicate", None),
        ("duplicate", other),
        ("duplicate", 1),
        ("accepted", None),
        ("duplicate", 7),
        ("accepted", None),  # nothing of the row before it was taken in
        ("accepted", None),
        ("duplicate", 10),
    ]
    tried = await imported(api, rows, dry_run=True)
    lines = await imported(api, rows)
    for row, (outcome, whom) in enumerate(expected):
        line = lines[row]
        assert line["outcome"] == tried[row]["outcome"] == outcome, row
        if isinstance(whom, str):
            assert line["customer_id"] == tried[row]["customer_id"] == whom
        if isinstance(whom, int):
            assert line["row"] == tried[row]["row"] == whom
            assert line["customer_id"] == lines[whom]["customer_id"]
    accepted = [line["customer_id"] for line in lines if line["outcome"] == "accepted"]
    assert len(set(accepted)) == 5
    listed = (await api.ok("GET", "?limit=100"))["items"]
    assert {each["customer_id"] for each in listed} == {known, other, *accepted}
    assert {each["records"][0]["source"] for each in listed} == {"agent", "import"}
    assert outcomes(await imported(api, rows)) == ["duplicate"] * len(rows)


async def test_repeated_with_its_key_it_says_the_same(api: Api) -> None:
    rows = [{"number": f"K-{n}"} for n in range(5)]
    answers = await asyncio.gather(*(imported(api, rows, key="chunk-1") for _ in range(3)))
    assert answers[0] == answers[1] == answers[2]
    assert outcomes(answers[0]) == ["accepted"] * 5
    assert len((await api.ok("GET"))["items"]) == 5


async def test_the_same_rows_at_once_make_each_customer_once(api: Api) -> None:
    numbered = [{"number": f"K-{n}", "name": f"Ann {n}"} for n in range(40)]
    unnumbered = [{"name": f"Bob {n}", "emails": [f"b{n}@example.com"]} for n in range(40)]
    rows: list[dict[str, Any]] = [*numbered, *unnumbered]
    answers = await asyncio.gather(
        *(imported(api, rows if n % 2 else rows[::-1]) for n in range(4)),
        *(api.call("POST", "", {"number": f"K-{n}", "name": "Agent's"}) for n in range(40)),
    )
    ids = [
        line["customer_id"]
        for lines in answers[:4]
        for line in lines
        if line["outcome"] == "accepted"
    ]
    ids += [each.json()["customer_id"] for each in answers[4:] if each.status_code == 201]
    assert len(ids) == len(set(ids)) == 80


async def test_too_many_rows_and_no_rows(api: Api) -> None:
    for rows in ([], [{"number": f"K-{n}"} for n in range(1_001)]):
        answer = await api.call("POST", "/import", {"rows": rows})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "rows"
    answer = await api.call("POST", "/import", {"rows": [{"number": "K"}], "region": "XX"})
    assert answer.json()["errors"][0]["field"] == "region"
    full = [{"number": f"K-{n}", "name": "Ann"} for n in range(1_000)]
    assert Counter(outcomes(await imported(api, full))) == {"accepted": 1_000}


async def test_nothing_personal_is_kept_with_the_answer(
    api: Api, engine: AsyncEngine, client_id: str
) -> None:
    rows = [
        {"number": "Qwx-1", "name": "Qwxann", "phones": ["0612345678"]},
        {"number": "Qwx-2", "name": "Qwxann", "phones": ["Qwxphone"]},
    ]
    await imported(api, rows, key="k-1")
    async with engine.connect() as connection:
        for table in ("commands", "events"):
            kept = await connection.scalars(
                text(f"SELECT t::text FROM {table} t WHERE client_id = :c"), {"c": client_id}
            )
            dump = str(kept.all()).lower()
            assert dump
            assert "qwx" not in dump


# The command.

HEADER = "Number;First name;Last name;Phone;E-mail;Language\n"


def lines_of(count: int) -> str:
    return "".join(
        f"K-{n};Ann{n % 7};Roux{n};06 12 {n // 10_000:02} {n // 100 % 100:02} {n % 100:02};"
        f"ann{n}@example.com;fr\n"
        for n in range(count)
    )


class Command:
    """relaisctl against a server that listens: in a thread, or in a process that can be killed."""

    def __init__(self, environment: dict[str, str], client_id: str) -> None:
        self._environment = environment
        self._client_id = client_id

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "from relaisctl.customers import app; app()"),
            *(*arguments, "--client", self._client_id),
            env=os.environ | self._environment | {"PYTHONPATH": ".:proto"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        runner = CliRunner(env=self._environment)
        given = [*arguments, "--client", self._client_id]
        done = await asyncio.to_thread(runner.invoke, app, given)
        return done.exit_code, done.stdout, done.stderr

    async def json(self, *arguments: str) -> Any:
        code, out, err = await self.run(*arguments, "--format", "json")
        assert code == 0, err
        return json.loads(out)


@pytest.fixture
async def command(store: EventStore, client_id: str, tmp_path: Path) -> Any:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    stop = asyncio.Event()
    server = asyncio.create_task(serve(make_api(store), "127.0.0.1", port, stop))
    async with httpx.AsyncClient() as http:
        for _ in range(200):
            try:
                await http.get(f"http://127.0.0.1:{port}/health/live")
                break
            except httpx.TransportError:
                await asyncio.sleep(0.05)
    environment = {
        "RELAIS_CRM": f"http://127.0.0.1:{port}",
        "RELAIS_TOKEN": token([client_id], Role.SUPERVISOR),
        "RELAIS_HOME": str(tmp_path / "home"),
    }
    yield Command(environment, client_id)
    stop.set()
    await server


def report_of(path: Path) -> dict[int, dict[str, str]]:
    with path.open(newline="") as file:
        return {int(row["line"]): row for row in csv.DictReader(file)}


async def test_a_file(command: Command, api: Api, tmp_path: Path) -> None:
    path, report = tmp_path / "customers.csv", tmp_path / "report.csv"
    rows = lines_of(2_500).splitlines(keepends=True)
    rows[10] = 'K-10;"Ann\n'
    rows[20] = "K-20;Ann;Roux;call me;;\n"
    rows[2_400] = rows[5]  # in another request than the line that it repeats
    rows[900] = ";Ann6;Roux6;06 12 00 00 06;;\n"
    path.write_text("\ufeff" + HEADER + "".join(rows))
    expected = {"lines": 2_500, "accepted": 2_496, "duplicate": 2, "rejected": 2}
    before = [
        await command.json("import", str(path), "--region", "FR", "--dry-run"),
        await api.ok("GET"),
    ]
    assert expected.items() <= before[0].items()
    assert before[1]["items"] == []
    done = await command.json("import", str(path), "--region", "FR", "--report", str(report))
    assert expected.items() <= done.items()
    assert done["reasons"] == before[0]["reasons"]
    assert set(done["reasons"].values()) == {1}
    written = report_of(report)
    assert len(written) == 2_500
    assert written[12]["outcome"] == "rejected"
    assert "quote" in written[12]["reason"]
    assert (written[22]["field"], written[22]["outcome"]) == ("phones", "rejected")
    assert written[902]["outcome"] == "duplicate"
    assert written[902]["customer_id"] == written[8]["customer_id"]
    assert written[902]["duplicate_of_line"] == "8"
    # Of two lines whose requests were under way at the same time either may have been first.
    pair = written[7], written[2_402]
    assert sorted(line["outcome"] for line in pair) == ["accepted", "duplicate"]
    assert len({line["customer_id"] for line in pair}) == 1

    # The same again, and with a line before it: nothing is doubled.
    path.write_text(HEADER + "X-1;New;One;;;\n" + "".join(rows))
    more = await command.json("import", str(path), "--region", "FR")
    assert (more["accepted"], more["duplicate"], more["rejected"]) == (1, 2_498, 2)
    found = await command.json("find", "--name", "ROUX11 ann", "--limit", "3")
    assert [each["name"] for each in found] == ["Ann4 Roux11", "Ann5 Roux110", "Ann1 Roux1100"]
    shown = await command.json("show", "K-5")
    assert shown["customer_id"] == written[7]["customer_id"]
    assert (await command.json("show", shown["customer_id"])) == shown


async def test_an_import_that_is_killed_goes_on(command: Command, api: Api, tmp_path: Path) -> None:
    path = tmp_path / "customers.csv"
    path.write_text(HEADER + lines_of(6_000))
    process = await command.start("import", str(path), "--region", "FR")
    for _ in range(2_000):
        if (await api.ok("GET"))["items"]:
            break
        await asyncio.sleep(0.02)
    process.kill()
    await process.communicate()
    done = await command.json("import", str(path), "--region", "FR")
    assert done["lines"] == 6_000
    assert done["accepted"] + done["duplicate"] == 6_000
    count = 0
    cursor: str | None = ""
    while cursor is not None:
        page = await api.ok("GET", f"?limit=200{cursor and f'&cursor={cursor}'}")
        count, cursor = count + len(page["items"]), page["next"]
    assert count == 6_000


async def test_what_the_command_refuses(command: Command, tmp_path: Path) -> None:
    empty, headless = tmp_path / "empty.csv", tmp_path / "headless.csv"
    empty.write_text("")
    headless.write_text("1,Ann\n")
    good = tmp_path / "good.csv"
    good.write_text("number\nK-1\n")
    for arguments, reason in (
        (["import", str(tmp_path / "none.csv")], "No such file"),
        (["import", str(empty)], "empty"),
        (["import", str(headless)], "--columns"),
        (["import", str(good), "--columns", "x"], "HEADER=FIELD"),
        (["import", str(good), "--region", "XX"], "region: must be"),
        (["find"], "exactly one"),
        (["find", "--phone", "12"], "phone: must be"),
        (["show", "K-404"], "no customer"),
    ):
        code, out, err = await command.run(*arguments)
        assert code == 2, (arguments, out, err)
        assert reason in err, arguments
        assert "Traceback" not in err


async def test_tables_for_people(command: Command, api: Api, tmp_path: Path) -> None:
    path = tmp_path / "customers.csv"
    path.write_text("number,name,phone,colour\nK-1,Ann Roux,0612345678,red\nK-2,Bob,12,blue\n")
    code, out, err = await command.run("import", str(path), "--region", "FR")
    assert code == 0, err
    assert "accepted" in out
    assert "columns left out: colour" in out
    assert "phones: " in out
    code, out, _ = await command.run("find", "--name", "roux")
    assert code == 0
    assert "Ann Roux" in out
    assert "+33612345678" in out
    code, out, _ = await command.run("show", "K-1")
    assert "Ann Roux" in out
