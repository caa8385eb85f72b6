"""Lists: through HTTP, and by the command against a server that listens and is killed."""

import asyncio
import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from eventkit.callers import Role
from eventkit.eventstore import EventStore
from relaisctl.leads import app
from services.conftest import Postgres
from services.dialer.tests.desk import CALLERS, Desk, open_desk

HEADER = ["Réf", "Nom", "Portable", "Fixe", "Contrat"]
PLAN: dict[str, Any] = {
    "campaign_id": "spring",
    "list_id": "may",
    "header": HEADER,
    "country": "FR",
}


def row(line: int, number: str = "", **more: str) -> list[Any]:
    """Of a number that nobody else has, unless it is given."""
    cells = {"ref": "", "name": f"Ann {line}", "fixed": "", "contract": "Duo"} | more
    number = number or f"0611{line:06}"
    return [line, [cells["ref"], cells["name"], number, cells["fixed"], cells["contract"]]]


async def opened(desk: Desk, import_id: str = "i", **more: Any) -> Any:
    return await desk.do("/lead-imports", PLAN | {"import_id": import_id} | more)


async def fill(desk: Desk, part: int, rows: list[Any], import_id: str = "i", **more: Any) -> Any:
    path = f"/lead-imports/{import_id}/parts/{part}"
    return await desk.do(path, {"rows": rows} | more, "PUT")


async def tried(desk: Desk, rows: list[Any], **more: Any) -> Any:
    return await desk.do("/lead-imports/dry-run", PLAN | {"rows": rows} | more)


async def leads(desk: Desk) -> list[Any]:
    ids = await desk.listed("/leads", "lead_id")
    return [await desk.get(f"/leads/{id}") for id in ids]


DIRT = [
    (row(3, "call me"), "numbers", "must be a telephone number"),
    (row(4, "0612"), "numbers", "no number that its country"),
    (row(5, " "), "numbers", "at least one number"),
    (row(6, name="x" * 201), "name", "more than 200"),
    (row(7, contract="a\x00b"), "Contrat", "no text"),
    ([8, ["too", "few"]], "cells", "5 columns, and not 2"),
]


async def test_dirt_is_rejected_line_by_line(desk: Desk) -> None:
    rows = [row(2), *(each for each, _, _ in DIRT), row(10)]
    broken = [[9, "a quote is not closed"]]
    trial = await tried(desk, rows, broken=broken)
    assert (await opened(desk))["fields"] == [
        *("reference", "last_name", "numbers", "numbers", "attribute")
    ]
    done = await fill(desk, 0, rows, broken=broken)
    assert done == {name: trial[name] for name in ("counts", "lines")}
    assert done["counts"]["added"] == 2
    assert done["counts"]["rejected"] == len(DIRT) + 1
    said = {line["line"]: line for line in done["lines"]}
    for (line, _), field, reason in DIRT:
        assert said[line]["field"] == field
        assert reason in said[line]["reason"]
    assert said[9]["reason"] == "a quote is not closed"
    assert "call me" not in json.dumps(done)
    assert {each["name"] for each in await leads(desk)} == {"Ann 2", "Ann 10"}


async def test_a_dry_run_changes_nothing(desk: Desk) -> None:
    first = await tried(desk, [row(2)])
    assert await tried(desk, [row(2)]) == first
    assert list(first["marks"]) == ["2"]
    assert (await desk.get("/leads"))["items"] == []
    assert (await desk.get("/lead-imports"))["items"] == []


async def test_duplicates_in_the_list_the_campaign_the_client_and_the_centre(
    desk: Desk, store: EventStore
) -> None:
    await desk.campaign("autumn")
    await opened(desk)
    done = await fill(desk, 0, [row(2, "0612345678"), row(3, "0699999999", fixed="0612345678")])
    known = (await leads(desk))[0]["lead_id"]
    assert done["counts"]["duplicates"] == 1
    assert done["lines"] == [{"line": 3, "outcome": "duplicate", "lead_id": known}]
    # Another list of the campaign; of the list alone, of the client.
    for plan, expected in (
        ({"list_id": "june"}, 1),
        ({"list_id": "june", "scope": "list"}, 0),
        ({"campaign_id": "autumn"}, 0),
        ({"campaign_id": "autumn", "scope": "client"}, 1),
    ):
        counts = (await tried(desk, [row(2, "0612345678")], **plan))["counts"]
        assert (counts["duplicates"], counts["added"]) == (expected, 1 - expected), plan
    # Another client is told that somebody has the number, and nothing else.
    async with open_desk(store, f"{desk.client_id}-b") as theirs:
        await theirs.campaign()
        await opened(theirs)
        done = await fill(theirs, 0, [row(2, "0612345678"), row(3)])
        assert done["counts"] | {"kept": 0} == {
            "added": 2,
            "elsewhere": 1,
            "rejected": 0,
            "duplicates": 0,
            "kept": 0,
            "merged": 0,
        }
        assert done["lines"] == []


async def test_duplicates_are_kept_or_merged(desk: Desk) -> None:
    await opened(desk)
    await fill(desk, 0, [row(2, "0612345678", name="")])
    known = (await leads(desk))[0]["lead_id"]
    again = [
        row(3, "0612345678", fixed="0142685300", contract="Solo", name="Roux"),
        row(4, "0142685300", ref="K-4"),
        row(5, ref="K-5"),
        row(6, ref="K-5", contract="Trio"),
    ]
    kept = (await tried(desk, again, duplicates="keep"))["counts"]
    # The same reference is the same lead, whatever is kept.
    assert (kept["added"], kept["kept"], kept["duplicates"]) == (3, 2, 1)
    await opened(desk, "m", duplicates="merge")
    done = await fill(desk, 0, again, "m")
    assert (done["counts"]["added"], done["counts"]["merged"]) == (1, 3)
    merged = await desk.get(f"/leads/{known}")
    assert [each["number"] for each in merged["numbers"]] == ["+33612345678", "+33142685300"]
    assert (merged["name"], merged["reference"]) == ("Roux", "K-4")
    assert merged["attributes"] == {"Contrat": "Duo"}
    assert await desk.names(f"/leads/{known}") == ["LeadAdded", "LeadCorrected"]
    assert (await fill(desk, 1, [row(9, "0142685300")], "m"))["counts"]["merged"] == 1


async def test_a_part_is_imported_once(desk: Desk) -> None:
    await opened(desk)
    rows = [row(line) for line in range(2, 50)]
    answers = await asyncio.gather(*(fill(desk, 0, rows) for _ in range(6)))
    assert all(each == answers[0] for each in answers)
    assert answers[0]["counts"]["added"] == 48
    assert len(await desk.listed("/leads", "lead_id")) == 48
    path = "/lead-imports/i/parts/0"
    problem = await desk.refused(path, {"rows": rows[1:]}, method="PUT")
    assert problem["errors"][0]["field"] == "part"
    assert (await opened(desk))["parts"] == [0]
    await desk.refused("/lead-imports", PLAN | {"import_id": "i", "list_id": "june"})
    done = await desk.do("/lead-imports/i/finish")
    assert done["counts"]["added"] == 48
    assert await desk.do("/lead-imports/i/finish") == done
    assert await fill(desk, 0, rows) == answers[0]
    await desk.refused("/lead-imports/i/parts/1", {"rows": [row(99)]}, method="PUT")
    shown = await desk.get("/lead-imports/i")
    assert (shown["finished"], shown["parts"], shown["counts"]) == (True, [0], done["counts"])
    assert [each["import_id"] for each in (await desk.get("/lead-imports"))["items"]] == ["i"]


async def test_the_same_numbers_in_parts_at_the_same_time(desk: Desk) -> None:
    await opened(desk)
    parts = [[row(part * 100 + n + 2, f"0612{n:06}") for n in range(40)] for part in range(5)]
    answers = await asyncio.gather(*(fill(desk, n, rows) for n, rows in enumerate(parts)))
    assert sum(each["counts"]["added"] for each in answers) == 40
    assert sum(each["counts"]["duplicates"] for each in answers) == 160
    assert len(await desk.listed("/leads", "lead_id")) == 40


async def test_the_erased_are_rejected(desk: Desk) -> None:
    await desk.store.keys.ensure(desk.client_id, ["K-1"])
    await desk.store.keys.erase(desk.client_id, ["K-1"])
    plan = {"header": ["customer id", "phone"]}
    await opened(desk, **plan)
    done = await fill(desk, 0, [[2, ["K-1", "0612345678"]], [3, ["K-2", "0699999999"]]])
    assert (done["counts"]["added"], done["counts"]["rejected"]) == (1, 1)
    assert done["lines"][0]["reason"] == "the person has been erased"


@pytest.mark.parametrize(
    ("plan", "field"),
    [
        ({"header": ["Nom"]}, "header"),
        ({"columns": {"Shoe": "name"}}, "columns"),
        ({"country": "Atlantis"}, "country"),
        ({"duplicates": "forget"}, "duplicates"),
        ({"priority": -1}, "priority"),
    ],
)
async def test_plans_that_make_no_sense(desk: Desk, plan: dict[str, Any], field: str) -> None:
    problem = await desk.refused("/lead-imports", PLAN | {"import_id": "i"} | plan, 422)
    assert problem["errors"][0]["field"] == field


async def test_who_may_import(desk: Desk) -> None:
    await desk.as_(Role.AGENT).refused("/lead-imports", PLAN | {"import_id": "i"}, 403)
    await desk.refused("/lead-imports", PLAN | {"import_id": "i", "campaign_id": "winter"}, 404)
    await desk.refused("/lead-imports/i/parts/0", {"rows": [row(2)]}, 404, "PUT")


async def test_what_is_published(desk: Desk) -> None:
    from relais.campaigns.v1.events_pb2 import CampaignEvent

    await opened(desk)
    await fill(desk, 0, [row(2, "0612345678"), row(3, "no")])
    await desk.do("/lead-imports/i/finish")
    async with desk.store.reading() as connection:
        rows = await connection.execute(
            text(
                "SELECT message FROM events WHERE client_id = :client AND message IS NOT NULL"
                " AND category <> 'campaign' ORDER BY position"
            ),
            {"client": desk.client_id},
        )
        events = [CampaignEvent.FromString(bytes(each.message)) for each in rows]
    assert [each.WhichOneof("body") for each in events] == ["lead_added", "leads_imported"]
    lead, said = events
    assert (lead.campaign_id, lead.lead.list_id) == ("spring", "may")
    assert lead.lead_added.numbers[0].country == "FR"
    assert list(lead.lead_added.numbers[0].zones) == ["Europe/Paris"]
    assert (said.leads_imported.added, said.leads_imported.rejected) == (1, 1)


# The command.


@dataclass
class Server:
    """The dialer's API in a process of its own, which may be killed."""

    environment: dict[str, str]
    port: int
    process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        self._launch()
        async with httpx.AsyncClient() as http:
            for _ in range(600):
                try:
                    await http.get(f"http://127.0.0.1:{self.port}/health/live")
                    return
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
        raise AssertionError("the API does not come up")

    def _launch(self) -> None:
        self.process = subprocess.Popen([sys.executable, __file__], env=self.environment)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def command(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "relaisctl", "leads", "import", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        runner = CliRunner(env=self.environment)
        done = await asyncio.to_thread(runner.invoke, app, ["import", *arguments])
        return done.exit_code, done.stdout, done.stderr

    async def json(self, *arguments: str) -> Any:
        code, out, err = await self.run(*arguments, "--format", "json")
        assert code == 0, err
        return json.loads(out)


@pytest.fixture
async def server(
    desk: Desk, database: str, postgres: Postgres, tmp_path: Path
) -> AsyncIterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    now = time.time_ns() // 1000
    environment = os.environ | {
        "TEST_DATABASE": database,
        "TEST_KEYS": postgres.keys,
        "TEST_PORT": str(port),
        "RELAIS_DIALER": f"http://127.0.0.1:{port}",
        "RELAIS_TOKEN": CALLERS.issue("sue", [desk.client_id], Role.SUPERVISOR, now, 3600),
        "RELAIS_HOME": str(tmp_path / "home"),
    }
    server = Server(environment, port)
    await server.start()
    yield server
    server.kill()


def file_of(path: Path, lines: int) -> list[str]:
    rows = [f"K-{n};Ann {n};0611{n:06};;Duo\n" for n in range(lines)]
    path.write_text(";".join(HEADER) + "\n" + "".join(rows))
    return rows


async def test_a_file(desk: Desk, server: Server, tmp_path: Path) -> None:
    path, rejects = tmp_path / "leads.csv", tmp_path / "rejects.csv"
    rows = file_of(path, 2_500)
    rows[10] = 'K-10;"Ann\n'
    rows[20] = "K-20;Ann;call me;;Duo\n"
    rows[2_400] = ";Twin;0611000005;;Duo\n"  # in another part than the line that it repeats
    path.write_text("\ufeff" + ";".join(HEADER) + "\n" + "".join(rows))
    options = ["--client", desk.client_id, "--campaign", "spring", "--list", "may"]
    given = [str(path), *options, "--country", "FR"]
    expected = {"lines": 2_500, "added": 2_497, "duplicates": 1, "rejected": 2}
    before = await server.json(*given, "--dry-run")
    assert expected.items() <= before.items()
    assert (await desk.get("/leads"))["items"] == []
    done = await server.json(*given, "--rejects", str(rejects))
    assert expected.items() <= done.items()
    assert done["reasons"] == before["reasons"]
    assert done["fields"]["Contrat"] == "attribute"
    with rejects.open(newline="") as file:
        written = {int(line["line"]): line for line in csv.DictReader(file)}
    assert (written[12]["outcome"], "quote" in written[12]["reason"]) == ("rejected", True)
    assert (written[22]["field"], written[22]["outcome"]) == ("numbers", "rejected")
    # Of two lines whose parts were under way at the same time either may have been first.
    assert Counter(line["outcome"] for line in written.values()) == {
        "rejected": 2,
        "duplicate": 1,
    }
    again = await server.json(*given)
    assert expected.items() <= again.items()
    code, out, _ = await server.run(*given)
    assert code == 0
    assert "kept as attributes: Contrat" in out
    async with desk.store.reading() as connection:
        count = await connection.scalar(
            text("SELECT count(*) FROM leads WHERE client_id = :c"), {"c": desk.client_id}
        )
    assert count == 2_497


async def test_killed_in_turns_it_adds_nothing_twice(
    desk: Desk, server: Server, tmp_path: Path
) -> None:
    path = tmp_path / "leads.csv"
    path.write_text("Nom;Portable\n" + "".join(f"Ann {n};0611{n:06}\n" for n in range(6_000)))
    options = ["--client", desk.client_id, "--campaign", "spring", "--list", "may"]
    given = [str(path), *options, "--country", "FR"]

    async def imported(least: int) -> None:
        for _ in range(2_000):
            async with desk.store.reading() as connection:
                count = await connection.scalar(
                    text("SELECT count(*) FROM leads WHERE client_id = :c"),
                    {"c": desk.client_id},
                )
            if count >= least:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("nothing is imported")

    command = server.command(*given)
    await imported(1)
    command.kill()
    await asyncio.to_thread(command.communicate)
    command = server.command(*given, "--format", "json")
    await imported(2_000)
    server.kill()
    await server.start()
    out, err = await asyncio.to_thread(command.communicate)
    assert command.returncode == 0, err
    done = json.loads(out)
    assert (done["lines"], done["added"], done["duplicates"]) == (6_000, 6_000, 0)
    async with desk.store.reading() as connection:
        facts = await connection.execute(
            text(
                "SELECT count(*), count(DISTINCT stream_id), max(version) FROM events"
                " WHERE client_id = :c AND category = 'lead'"
            ),
            {"c": desk.client_id},
        )
        assert tuple(facts.one()) == (6_000, 6_000, 1)


async def test_long_lines(desk: Desk, server: Server, tmp_path: Path) -> None:
    """Parts stay below what the API takes, whatever the lines are."""
    path = tmp_path / "leads.csv"
    header = ";".join(f"A{n}" for n in range(50))
    rows = [f"0611{n:06};" + ";".join(["ф" * 500] * 50) + "\n" for n in range(120)]
    path.write_text(f"phone;{header}\n" + "".join(rows))
    options = ["--client", desk.client_id, "--campaign", "spring", "--list", "may"]
    done = await server.json(str(path), *options, "--country", "FR")
    assert (done["lines"], done["added"]) == (120, 120)


async def test_interrupted(desk: Desk, server: Server, tmp_path: Path) -> None:
    path = tmp_path / "leads.csv"
    file_of(path, 6_000)
    options = ["--client", desk.client_id, "--campaign", "spring", "--list", "may"]
    command = server.command(str(path), *options, "--country", "FR")
    for _ in range(2_000):
        if (await desk.get("/leads"))["items"]:
            break
        await asyncio.sleep(0.02)
    command.send_signal(signal.SIGINT)
    _, err = await asyncio.to_thread(command.communicate)
    assert command.returncode == 130
    assert b"goes on where this one stopped" in err


async def test_what_the_command_refuses(desk: Desk, server: Server, tmp_path: Path) -> None:
    empty, headless, good = (tmp_path / f"{name}.csv" for name in ("empty", "headless", "good"))
    empty.write_text("")
    headless.write_text("1,Ann\n")
    good.write_text("phone\n0612345678\n")
    options = ["--client", desk.client_id, "--list", "may", "--campaign"]
    for path, more, reason in (
        (tmp_path / "none.csv", ["spring"], "No such file"),
        (empty, ["spring"], "empty"),
        (headless, ["spring"], "no column of telephone numbers"),
        (good, ["spring", "--columns", "x"], "HEADER=FIELD"),
        (good, ["spring", "--country", "Atlantis"], "country: must be"),
        (good, ["winter"], "campaign"),
    ):
        code, out, err = await server.run(str(path), *options, *more)
        assert code == 2, (path, more, out, err)
        assert reason in err, (path, more, err)
        assert "Traceback" not in err


async def _serve() -> None:
    """What `Server` starts."""
    from eventkit.clock import SystemClock
    from eventkit.http import make_app, serve
    from eventkit.keys import PostgresKeyRing
    from eventkit.postgres import make_engine
    from services.dialer.api import MAX_BODY
    from services.dialer.leads.api import router
    from services.dialer.service import Dialer

    engine = make_engine(os.environ["TEST_DATABASE"])
    ring = PostgresKeyRing(make_engine(os.environ["TEST_KEYS"]), {"test": bytes(32)})
    dialer = Dialer.over(EventStore(engine, ring, SystemClock()))

    async def known(_: str) -> bool:
        return True

    api = make_app("dialer", "1", CALLERS, known, max_body=MAX_BODY)
    api.include_router(router(dialer.leads))
    await serve(api, "127.0.0.1", int(os.environ["TEST_PORT"]), asyncio.Event())


if __name__ == "__main__":
    asyncio.run(_serve())
