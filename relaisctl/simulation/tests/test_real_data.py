"""Real months with the rosters of their days: what is simulated lies near what was recorded."""

from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from relaisctl.replay import anonymous_bank, files, history
from relaisctl.simulation import measures, recorded, roster, study
from relaisctl.simulation.centre import Rules
from relaisctl.simulation.estimates import Estimates
from relaisctl.simulation.study import Scenario, Study
from services.routing.configuration import Queue
from services.routing.policies import DEFAULT

DATA = Path(__file__).parents[4] / "shared" / "data" / "anonymous-bank"


@pytest.mark.parametrize("month", ["january", "february", "may"])
def test_a_real_month(month: str) -> None:
    path = DATA / f"{month}.txt"
    if not path.exists():
        pytest.skip(f"{path} is missing: the real files are no part of the product")
    reading = files.read_files([path], date(2020, 1, 1), lambda size, rows: None)
    calls, _ = history.identify(reading.calls, ZoneInfo(anonymous_bank.TIME_ZONE))
    days = recorded.days(calls, ZoneInfo(anonymous_bank.TIME_ZONE))
    queues = {call.queue for day in days for call in day.calls}
    rules = Rules(
        DEFAULT, {name: ("bank", Queue(name, required_skills=((name, 1),))) for name in queues}
    )
    subject = Study(
        days,
        study.schedule(len(days), len(days), seed=1),
        Estimates.of(days),
        [Scenario(DEFAULT, "recorded", "", roster.recorded, rules, None)],
        seed=1,
        wrap_up=None,
    )
    ran = study.run(subject, 1, lambda runs, calls: None)
    was = measures.Sums()
    for day in days:
        was.update(measures.recorded(day, rules))
    is_ = measures.Sums()
    for one in ran:
        is_.update(one.sums[0])
    before, after = (measures.of_queues(sums, queues) for sums in (was, is_))
    for name, near in (("asa_s", 6.0), ("abandonment", 0.02), ("service_level", 0.05)):
        print(f"{month} {name}: recorded {before[name]:.4f}, simulated {after[name]:.4f}")
        assert after[name] == pytest.approx(before[name], abs=near), name
