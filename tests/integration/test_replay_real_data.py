"""From a recorded file to figures, through Kafka, the loader and ClickHouse; and a live play."""

import csv
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from clickhouse_driver import Client

from relaisctl.replay.tests.rows import ABANDONED, HEADER, LEFT, PHANTOM, line
from relaisctl.stack import Broker, Ports, Stack, StackSettings
from tests.integration.conftest import ROOT, Engines

SHARED = ROOT.parent / "shared"
REFERENCE = SHARED / "reference" / "anonymous-bank.json"
MARKETING = SHARED / "data" / "bank-marketing" / "bank-additional-full.csv"
DAYS = {"january": ("1999-01-01", "1999-02-01"), "may": ("1999-05-01", "1999-06-01")}


@dataclass(frozen=True)
class Relais:
    """Our services on the engines of the tests, and the command line beside them."""

    services: Stack
    environment: dict[str, str]

    def popen(self, *arguments: str | Path) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "relaisctl", *map(str, arguments)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def fails(self, *arguments: str | Path) -> tuple[int, str]:
        """The exit code and what was said on standard error."""
        process = self.popen(*arguments)
        out, err = process.communicate(timeout=200)
        assert process.returncode != 0, out
        assert "Traceback" not in err
        return process.returncode, err

    def json(self, *arguments: str | Path) -> Any:
        process = self.popen(*arguments, "--format", "json")
        out, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
        return json.loads(out)

    def kpi(self, client: str, days: tuple[str, str], by: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.json(
            "kpi", "--client", client, "--from", days[0], "--to", days[1], "--by", by
        )
        return rows


@pytest.fixture(scope="module")
def relais(stack: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relais]:
    ports = Ports.free()
    home = tmp_path_factory.mktemp("relais")
    services = Stack.of(
        StackSettings(
            home, ports, kafka=stack.kafka, clickhouse=stack.clickhouse, postgres=stack.postgres
        )
    )
    environment = {
        **os.environ,
        **stack.environment,
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "proto"))),
        "RELAIS_HOME": str(home),
        "RELAIS_ROUTING_GRPC_PORT": str(ports.routing_grpc),
    }
    try:
        services.start(["routing-api", "routing-worker", "analytics-loader"])
        yield Relais(services, environment)
    finally:
        services.stop()


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Counts exactly, rates to 1e-6, seconds to 1e-3."""
    for name, value in expected.items():
        mine = found[name.removesuffix("_20s")]
        if value is None or isinstance(value, int):
            assert mine == value, name
        else:
            assert mine == pytest.approx(value, abs=1e-3 if name.endswith("_s") else 1e-6), name


@pytest.mark.parametrize("month", DAYS)
def test_figures_of_a_real_month(relais: Relais, month: str) -> None:
    path = SHARED / "data" / "anonymous-bank" / f"{month}.txt"
    if not (path.exists() and REFERENCE.exists()):
        pytest.skip(f"{path} or {REFERENCE} is missing: the real files are no part of the product")
    expected = json.loads(REFERENCE.read_text())[month]
    client = f"real-{month}"
    begun = time.monotonic()
    summary = relais.json("replay", "anonymous-bank", path, "--client", client)
    seconds = time.monotonic() - begun
    print(f"{month}: {summary['events']} events, loaded after {seconds:.1f} s")
    assert (summary["rows"], summary["rejected_rows"]) == (expected["rows"], 0)
    assert summary["loaded"] is True
    [all_calls] = relais.kpi(client, DAYS[month], "all")
    assert_same(all_calls, expected["all"])
    queues = {row["queue"]: row for row in relais.kpi(client, DAYS[month], "queue")}
    assert queues.keys() == expected["by_type"].keys()
    for queue, row in queues.items():
        assert_same(row, expected["by_type"][queue])


def marketing(path: Path, by: Callable[[dict[str, str]], str]) -> dict[str, Counter[str]]:
    """Sums of a file of telesales calls, counted from its text alone."""
    sums: dict[str, Counter[str]] = {}
    with path.open(newline="") as lines:
        for row in csv.DictReader(lines, delimiter=";"):
            sums.setdefault(by(row), Counter()).update(
                leads=1,
                attempts=int(row["campaign"]),
                contacted=int(row["duration"]) > 0,
                sold=row["y"] == "yes",
                talked_s=int(row["duration"]),
            )
    return sums


def dialled(relais: Relais, client: str, by: str) -> dict[str, Counter[str]]:
    """The same from ClickHouse, each lead by the last attempt to it."""
    sql = f"""
        SELECT {by} AS name, count() AS leads, sum(attempts) AS attempts,
               countIf(contacted) AS contacted, countIf(sold) AS sold,
               sum(talked_us) / 1e6 AS talked_s
        FROM
        (
            SELECT lead_id, any(campaign_id) AS campaign, any(list_id) AS list,
                   count() AS attempts, max(contact) AS contacted, max(converted) AS sold,
                   sum(a.talked_us) AS talked_us,
                   argMax(started_at, number_of_attempt) AS last_at
            FROM attempts AS a WHERE client_id = %(client)s GROUP BY lead_id
        )
        GROUP BY name"""
    with Client.from_url(relais.environment["RELAIS_CLICKHOUSE"]) as clickhouse:
        rows, columns = clickhouse.execute(sql, {"client": client}, with_column_types=True)
    names = [name for name, _ in columns[1:]]
    return {str(row[0]): Counter(dict(zip(names, row[1:], strict=True))) for row in rows}


WEEKDAY = "dateName('weekday', last_at, 'Europe/Lisbon')"
MARKETED: dict[str, tuple[Callable[[dict[str, str]], str], str]] = {
    "all": (lambda row: "", "''"),
    "contact": (lambda row: row["contact"], "splitByChar('.', list)[1]"),
    "poutcome": (lambda row: row["poutcome"], "splitByChar('.', list)[2]"),
    "month": (lambda row: row["month"], "lower(left(dateName('month', last_at), 3))"),
    "day_of_week": (lambda row: row["day_of_week"], f"lower(left({WEEKDAY}, 3))"),
}
"""How rows are grouped in the file, and in ClickHouse."""


def assert_marketed(relais: Relais, client: str, path: Path) -> None:
    """Every figure of the file is in ClickHouse, exactly."""
    for name, (of_row, sql) in MARKETED.items():
        expected = marketing(path, of_row)
        assert dialled(relais, client, sql) == expected, name
    [total] = marketing(path, lambda row: "").values()
    days = ("2008-05-01", "2010-12-01")
    [found] = relais.json(
        *("kpi", "--client", client, "--from", days[0], "--to", days[1], "--attempts")
    )
    assert found["attempts"] == total["attempts"]
    assert found["leads"] == found["leads_attempted"] == total["leads"]
    assert (found["leads_contacted"], found["converted"]) == (total["contacted"], total["sold"])
    assert found["conversion"] == total["sold"] / total["contacted"]
    assert found["conversion_per_attempt"] == total["sold"] / total["attempts"]
    assert found["talked_s"] == total["talked_s"]
    assert (found["penetration"], found["exhaustion"]) == (1, 1)
    by_list = relais.kpi(client, days, "list")
    expected = marketing(path, lambda row: f"{row['contact']}.{row['poutcome']}")
    assert {row["list"]: (row["attempts"], row["converted"]) for row in by_list} == {
        name: (sums["attempts"], sums["sold"]) for name, sums in expected.items()
    }
    by_campaign = relais.kpi(client, days, "campaign")
    assert sum(row["attempts"] for row in by_campaign) == total["attempts"]


def test_campaigns_of_a_real_file(relais: Relais) -> None:
    if not MARKETING.exists():
        pytest.skip(f"{MARKETING} is missing: the real files are no part of the product")
    begun = time.monotonic()
    summary = relais.json("replay", "bank-marketing", MARKETING, "--client", "real-sales")
    seconds = time.monotonic() - begun
    print(f"{summary['events']} events, loaded after {seconds:.1f} s")
    assert (summary["rows"], summary["rejected_rows"], summary["loaded"]) == (41_188, 0, True)
    assert_marketed(relais, "real-sales", MARKETING)


SOLD = """\
age;contact;month;day_of_week;duration;campaign;poutcome;y
56;"telephone";"may";"mon";261;1;"nonexistent";"no"
56;"telephone";"may";"mon";261;1;"nonexistent";"no"
40;"cellular";"may";"tue";1200;4;"success";"yes"
40;"cellular";"may";"tue";0;2;"nonexistent";"no"
31;"cellular";"dec";"fri";77;7;"failure";"no"
31;"telephone";"mar";"wed";5;1;"failure";"yes"
"""


def test_telesales_again_change_nothing(relais: Relais, tmp_path: Path) -> None:
    path, dirty = tmp_path / "sold.csv", tmp_path / "dirty.csv"
    path.write_text(SOLD)
    dirty.write_text(SOLD + '31;"telephone";"mar";"wed";-5;1;"failure";"yes"\n31;"teleph')
    replay = ("--client", "telesales", "--rejects", tmp_path / "rejects.tsv")
    for file, rejected in ((path, 0), (dirty, 2), (path, 0)):
        summary = relais.json("replay", "bank-marketing", file, *replay)
        assert (summary["leads"], summary["rejected_rows"]) == (6, rejected)
        assert summary["loaded"] is True
        assert_marketed(relais, "telesales", path)
    with Client.from_url(relais.environment["RELAIS_CLICKHOUSE"]) as clickhouse:
        [[attempt_id]] = clickhouse.execute(
            "SELECT attempt_id FROM attempts WHERE client_id = 'telesales' AND talked_us = 77000000"
        )
    told = relais.json("attempt", attempt_id, "--client", "telesales")
    assert told["origin"]["number_of_attempt"] == 7
    assert "started_at" in told["origin"]["invented"]
    assert [event["kind"] for event in told["events"]][-2:] == ["ended", "disposed"]
    # Another seed makes other campaigns of it, with the same figures.
    other = relais.json("replay", "bank-marketing", path, *replay, "--seed", "7")
    assert other["loaded"] is True
    rows = relais.kpi("telesales", ("2008-05-01", "2009-05-01"), "campaign")
    figures = [(row["campaign"], row["attempts"], row["converted"]) for row in rows]
    assert figures == [
        ("term-deposit-2008-05", 8, 1),
        ("term-deposit-2008-05.7", 8, 1),
        ("term-deposit-2008-12", 7, 0),
        ("term-deposit-2008-12.7", 7, 0),
        ("term-deposit-2009-03", 1, 1),
        ("term-deposit-2009-03.7", 1, 1),
    ]


DIRTY = (
    HEADER,
    line(),
    line(call="51020", type="NE", q_time="12.0", ser_time="100"),
    line(call="51021").replace("1\tPS", "0PS").replace("\t42\t", "\t10\t"),
    line(call="51022", server="DANO_SERVER", customer_id="6.02701E+11"),
    line(ABANDONED),
    line(ABANDONED),
    line(LEFT),
    "",
    HEADER,
    line(PHANTOM, type="AA"),
    line(call="51030", outcome="TRANSFER"),
    line(call="51031", date="99081"),
    line(call="51032", ser_time="", ser_exit=""),
)
DAY = ("1999-08-17", "1999-08-18")


def test_a_dirty_file_and_the_same_again(relais: Relais, tmp_path: Path) -> None:
    path, rejects = tmp_path / "august.txt", tmp_path / "rejects.tsv"
    path.write_text("\r\n".join(DIRTY))
    replay = ("replay", "anonymous-bank", path, "--client", "dirty-bank", "--rejects", rejects)
    first = relais.json(*replay)
    assert first["rejected"] == {
        "outcome: none of AGENT, HANG, PHANTOM": 1,
        "date: no date of the form YYMMDD": 1,
        "ser_time: empty": 1,
    }
    found = (first["rows"], first["calls"], first["repeated_rows"], first["mended_rows"])
    assert found == (11, 7, 1, 3)
    assert first["events"] == 4 * 4 + 3 + 2 + 2
    with rejects.open(newline="") as lines:
        rows = list(csv.DictReader(lines, dialect="excel-tab"))
    assert [row["line"] for row in rows] == ["12", "13", "14"]

    figures = {by: relais.kpi("dirty-bank", DAY, by) for by in ("all", "queue", "agent")}
    [total] = figures["all"]
    assert (total["offered"], total["answered"], total["abandoned"]) == (5, 4, 1)
    assert total["asa_s"] == pytest.approx((42 + 12 + 10 + 42) / 4)
    assert total["service_level"] == pytest.approx(2 / 5)
    assert total["aht_s"] == pytest.approx((190 + 100 + 190 + 190) / 4)
    assert {row["queue"]: row["offered"] for row in figures["queue"]} == {"AA": 0, "NE": 1, "PS": 4}
    assert {row["agent"]: row["answered"] for row in figures["agent"] if row["agent"]} == {
        "RIVKA": 3,
        "DANA": 1,
    }

    assert relais.json(*replay) == first
    assert {by: relais.kpi("dirty-bank", DAY, by) for by in figures} == figures
    clients = {row["client_id"]: row["time_zone"] for row in relais.json("client", "list")}
    assert clients["dirty-bank"] == "Asia/Jerusalem"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.write_bytes(b"\0\1\2" * 100), "is no text"),
        (lambda path: path.write_bytes(b"x" * 5_000_000), "neither the header nor a call"),
        (lambda path: path.write_text(HEADER, encoding="utf-16"), "UTF-16"),
        (lambda path: path.touch(), "is empty"),
        (lambda path: None, "no such file"),
    ],
)
def test_files_that_are_none(
    relais: Relais, tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    path = tmp_path / "file.txt"
    make(path)
    code, err = relais.fails("replay", "anonymous-bank", path, "--client", "nobody")
    assert code == 2
    assert said in err
    assert "nobody" not in {row["client_id"] for row in relais.json("client", "list")}


def test_a_loader_that_does_not_run_is_said(relais: Relais, tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("\n".join([HEADER, line(call="52000")]))
    relais.services.kill("analytics-loader")
    try:
        summary = relais.json("replay", "anonymous-bank", path, "--client", "late", "--no-wait")
        assert summary["loaded"] is None
    finally:
        relais.services.start(["analytics-loader"])
    assert relais.json("replay", "anonymous-bank", path, "--client", "late")["loaded"] is True
    assert relais.kpi("late", DAY, "all")[0]["offered"] == 1


def test_an_unreachable_kafka_is_said(relais: Relais, tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("\n".join([HEADER, line()]))
    elsewhere = {**relais.environment, "RELAIS_KAFKA": "127.0.0.1:1"}
    code, err = Relais(relais.services, elsewhere).fails(
        "replay", "anonymous-bank", path, "--client", "nobody"
    )
    assert code == 3
    assert "Kafka" in err


def test_a_client_is_added_once(relais: Relais) -> None:
    add = ("client", "add", "acme-replay", "--name", "Café Noël", "--zone")
    for _ in range(2):
        process = relais.popen(*add, "Europe/Paris")
        assert "acme-replay" in process.communicate(timeout=60)[0]
        assert process.returncode == 0
    rows = [row for row in relais.json("client", "list") if row["client_id"] == "acme-replay"]
    assert [row["name"] for row in rows] == ["Café Noël"]
    for wrong in ("Europe/London", "Europe/Atlantis", "../etc/passwd"):
        code, err = relais.fails(*add, wrong)
        assert (code, err.startswith("zone: ")) == (2, True)


def test_a_live_play_survives_the_death_of_the_worker(relais: Relais, stack: Engines) -> None:
    if stack.broker is Broker.TANSU:
        pytest.skip("Tansu needs minutes to give away the partitions of a worker that was killed")
    play = (
        "demo",
        "play",
        "--minutes",
        "8",
        "--speed",
        "60",
        "--run",
        "killed",
        "--format",
        "json",
    )
    process = relais.popen(*play)
    time.sleep(6)
    relais.services.kill("routing-worker")
    relais.services.start(["routing-worker"])
    out, err = process.communicate(timeout=250)
    assert process.returncode == 0, err
    played = json.loads(out)
    assert played["still_open"] == 0
    assert played["arrived"] == played["calls"] > 30
    outcomes = played["answered"] + played["abandoned"] + played["left_before_queue"]
    assert outcomes == played["calls"]
    assert played["answered"] > 0


def test_live_calls_of_a_file(relais: Relais, tmp_path: Path) -> None:
    rows = [
        line(call=str(51000 + n), vru_entry=f"9:{n:02}:02", vru_exit=f"9:{n:02}:11")
        for n in range(10)
    ]
    path = tmp_path / "file.txt"
    path.write_text("\n".join([HEADER, *rows, line(PHANTOM), line(LEFT)]))
    played = relais.json(
        *("replay", "anonymous-bank", path, "--client", "live-bank", "--mode", "live"),
        *("--speed", "100", "--agents", "3", "--to", "1999-08-17T10:00:00"),
    )
    assert (played["calls"], played["left_before_queue"], played["still_open"]) == (11, 1, 0)
    assert played["agents"] == 3
    assert played["answered"] + played["abandoned"] == 10
