"""The command on small made-up files."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from relaisctl.__main__ import app
from relaisctl.replay.tests.rows import ABANDONED, HEADER, LEFT, PHANTOM, line


def clock(seconds: int) -> str:
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def rows(day: int) -> list[str]:
    """Forty calls in forty minutes for two agents; some customers give up."""
    found = []
    for n in range(40):
        at, wait = 9 * 3600 + 60 * n, (17 * n * day) % 50
        queued = {
            "call": str(52000 + n), "date": f"9908{day:02}", "type": "NE" if n % 4 == 0 else "PS",
            "vru_entry": clock(at - 5), "vru_exit": clock(at), "vru_time": "5",
            "q_start": clock(at), "q_exit": clock(at + wait), "q_time": str(wait),
        }  # fmt: skip
        if n % 7 == 3:
            found.append(line(ABANDONED, **queued | {"q_time": str(wait + 1)}))
            continue
        talk = 60 + (13 * n) % 90
        found.append(
            line(
                **queued,
                ser_start=clock(at + wait),
                ser_exit=clock(at + wait + talk),
                ser_time=str(talk),
                server="RIVKA" if n % 2 else "DANA",
            )
        )
    return [*found, line(LEFT, date=f"9908{day:02}"), line(PHANTOM, date=f"9908{day:02}")]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("simulate") / "august.txt"
    path.write_text("\n".join([HEADER, *(row for day in (17, 18, 19) for row in rows(day))]))
    return path


def simulate(data: Path, *arguments: str, client: str = "bank") -> Result:
    return CliRunner().invoke(
        app, ["simulate", "--data", str(data), "--client", client, "--jobs", "1", *arguments]
    )


def answer(data: Path, *arguments: str, client: str = "bank") -> dict[str, Any]:
    result = simulate(data, *arguments, "--format", "json", client=client)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_the_recorded_roster(data: Path) -> None:
    found = answer(data)
    assert (found["days"], found["runs"], found["calls"]) == (3, 20, 20 * 40)
    assert (found["from"], found["to"]) == ("1999-08-17", "1999-08-19")
    (scenario,) = found["scenarios"]
    assert (scenario["policy"], scenario["agents"]) == ("longest-idle", "recorded")
    assert [part["name"] for part in scenario["parts"]] == ["all", "NE", "PS"]
    figures = scenario["parts"][0]["figures"]
    assert 0 < figures["service_level"]["value"] < 1
    assert 0 < figures["occupancy"]["value"] < 1
    assert figures["asa_s"]["plus_minus"] > 0
    assert found["recorded"][0]["figures"]["abandonment"]["value"] == pytest.approx(18 / 120)


def test_a_seed_gives_the_same_figures_on_any_number_of_processors(data: Path) -> None:
    one = answer(data, "--seed", "5")
    assert answer(data, "--seed", "5") == one
    assert answer(data, "--seed", "6") != one
    assert answer(data, "--seed", "5", "--jobs", "2") == one


def test_scenarios_side_by_side(data: Path, tmp_path: Path) -> None:
    roster = tmp_path / "team.csv"
    roster.write_text("agent_id,start,end,skills\nana,9:00,10:00,PS NE\nbea,9:00,10:00,PS\n")
    found = answer(
        data, "--agents", "1", "--agents", str(roster), "--what-if", "+2@9:10",
        "--policy", "longest-idle", "--policy", "service-level",
    )  # fmt: skip
    scenarios = found["scenarios"]
    assert [
        (one["agents"], one["what_if"], one["policy"], one["against"]) for one in scenarios
    ] == [
        ("1", "", "longest-idle", None),
        ("1", "", "service-level", 0),
        ("1", "+2@9:10", "longest-idle", 0),
        ("1", "+2@9:10", "service-level", 2),
        ("team.csv", "", "longest-idle", 0),
        ("team.csv", "", "service-level", 4),
        ("team.csv", "+2@9:10", "longest-idle", 0),
        ("team.csv", "+2@9:10", "service-level", 6),
    ]
    asa = [one["parts"][0]["figures"]["asa_s"]["value"] for one in scenarios]
    assert asa[0] > asa[4] > asa[6]
    more = scenarios[2]["parts"][0]["difference"]["asa_s"]
    assert more["value"] == pytest.approx(asa[2] - asa[0])
    assert more["value"] + more["plus_minus"] < 0


def test_clients_and_targets(data: Path) -> None:
    found = answer(data, "--client", "trade=NE", "--target", "70/30", "--target", "NE=95/10*3")
    assert [(part["kind"], part["name"]) for part in found["recorded"]] == [
        ("all", "all"),
        ("client", "trade"),
        ("client", "bank"),
    ]
    shares = [part.get("target_share") for part in found["recorded"]]
    assert shares == [None, 0.95, 0.7]


def test_tables_for_people(data: Path) -> None:
    result = simulate(data, "--policy", "longest-idle", "--policy", "affine", "--days", "3")
    assert result.exit_code == 0, result.output
    for text in ("as recorded", "longest-idle", "affine", "80% in 20 s", "differences", "±"):
        assert text in result.stdout


def test_a_window_of_days(data: Path) -> None:
    found = answer(data, "--from", "1999-08-18", "--to", "1999-08-19", "--days", "4")
    assert (found["days"], found["runs"]) == (1, 4)
    assert found["recorded"][0]["figures"]["asa_s"]["plus_minus"] is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--policy", "best"], "--policy: 'best' is none of longest-idle"),
        (["--agents", "0"], "--agents: 0 is no number from 1 to 5000"),
        (["--agents", "none.csv"], "none.csv: no such file"),
        (["--what-if", "three more"], "--what-if: 'three more' is nothing like"),
        (["--target", "80"], "--target: '80' is nothing like 80/20"),
        (["--target", "XX=80/20"], "the queues are NE, PS"),
        (["--target", "180/20"], "target_share: must lie between 0.0 and 1.0"),
        (["--client", "trade=XX"], "--client: 'XX' is none of the queues NE, PS"),
        (["--client", "trade"], "--client: bank and trade both without their queues"),
        (["--client", "Trade=NE"], "--client: must match"),
        (["--from", "17.8.1999"], "--from: '17.8.1999' is no date"),
        (["--from", "2001-01-01"], "no queued call from 2001-01-01"),
        (["--data", "none.txt"], "none.txt: no such file"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(
    data: Path, arguments: list[str], said: str
) -> None:
    result = simulate(data, *arguments)
    assert result.exit_code == 2
    last = result.stderr.strip().splitlines()[-1]
    assert said in last
    assert result.stdout == ""


def test_queues_that_are_nobodys(data: Path) -> None:
    result = simulate(data, client="trade=NE")
    assert result.exit_code == 2
    assert "the queues PS are no client's" in result.stderr
