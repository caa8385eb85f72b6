"""Scenarios as files: the shipped one, others, and mistakes in them."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from eventkit.errors import InvalidMessage
from services.dialer.carrier.loading import DEFAULT, load_scenario
from services.dialer.carrier.scenario import Failing, Fate, Outage

SHIPPED: dict[str, Any] = yaml.safe_load(DEFAULT.read_text())


def load(tmp_path: Path, **changes: Any) -> Any:
    file = tmp_path / "scenario.json"
    data = {name: value for name, value in (SHIPPED | changes).items() if value is not None}
    file.write_text(json.dumps(data))
    return load_scenario(file)


def test_the_shipped_one() -> None:
    scenario = load_scenario()
    assert scenario.speed == 1
    assert load_scenario(speed=20).speed == 20


def test_a_shipped_one_by_its_name() -> None:
    assert load_scenario(Path("default")) == load_scenario()
    assert load_scenario(Path("brisk")).talk.median_s < load_scenario().talk.median_s / 10


def test_another_one(tmp_path: Path) -> None:
    scenario = load(
        tmp_path,
        speed=60,
        fates={"+33199000001": "busy"},
        outages=[{"begins_s": 60, "ends_s": 120}, {"begins_s": 90, "ends_s": 95, "of": "service"}],
    )
    assert scenario.fates == {"+33199000001": Fate.BUSY}
    assert scenario.outages == (Outage(60, 120), Outage(90, 95, Failing.SERVICE))
    # A minute of the scenario is a second.
    seconds = [scenario.outage(Failing.CALLS, round(s * 1e6)) for s in (0.9, 1, 1.9, 2)]
    assert seconds == [False, True, True, False]
    assert not scenario.outage(Failing.SERVICE, 1_000_000)
    assert scenario.outage(Failing.SERVICE, 1_500_000)


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"speeed": 2}, "speeed", "Unexpected keyword argument"),
        ({"rings": None}, "rings", "Field required"),
        ({"speed": -1}, "", "speed: must be above 0, at most 1000"),
        ({"capacity": 0}, "", "capacity: must be above 0"),
        ({"human": [0.5] * 23}, "", "human: must have 24 hours"),
        ({"human": [0.5] * 23 + [1.5]}, "", "human[23]: must be between 0 and 1"),
        ({"busy": 2}, "", "busy: must be between 0 and 1"),
        ({"rings": {"median_s": 0}}, "rings", "median_s: must be above 0, at most 86400"),
        ({"rings": {"median_s": 1, "sigma": 9}}, "rings", "sigma: must be between 0 and 3"),
        (
            {"numbers": {"unobtainable": 0.6, "fax": 0.5}},
            "numbers",
            "fax: is above 1 together with unobtainable",
        ),
        (
            {"detection": {"takes": {"median_s": 1}, "machine_as_human": -1}},
            "detection",
            "machine_as_human: must be between 0 and 1",
        ),
        (
            {"outages": [{"begins_s": 3, "ends_s": 3}]},
            "outages.0",
            "ends_s: must be after begins_s",
        ),
        ({"fates": {"+331": "asleep"}}, "fates.+331", None),
    ],
)
def test_mistakes(tmp_path: Path, changes: dict[str, Any], field: str, reason: str | None) -> None:
    with pytest.raises(InvalidMessage) as error:
        load(tmp_path, **changes)
    assert error.value.field == field
    assert reason is None or error.value.reason == reason


def test_not_a_scenario_at_all(tmp_path: Path) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_text("human: [")
    with pytest.raises(InvalidMessage, match="not YAML"):
        load_scenario(file)
    with pytest.raises(OSError, match="nowhere"):
        load_scenario(tmp_path / "nowhere.yaml")
