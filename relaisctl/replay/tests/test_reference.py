"""The figures of real files, counted from the parsed calls alone, against the reference.

The files and the figures are no part of the product: without them these tests skip.
"""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from relaisctl.replay.anonymous_bank import Call, Mended, Outcome, Reject, read_file

SHARED = Path(__file__).resolve().parents[3].parent / "shared"
REFERENCE = SHARED / "reference" / "anonymous-bank.json"
MONTHS = ("january", "february", "may")


def figures(calls: list[Call]) -> dict[str, float | int | None]:
    answered = [call for call in calls if call.outcome is Outcome.ANSWERED]
    abandoned = sum(call.outcome is Outcome.ABANDONED for call in calls)
    offered = len(answered) + abandoned
    count = len(answered) or 1
    in_time = sum(call.waited_us <= 20_000_000 for call in answered)
    return {
        "offered": offered,
        "answered": len(answered),
        "abandoned": abandoned,
        "abandonment_rate": abandoned / offered if offered else None,
        "asa_s": sum(call.waited_us for call in answered) / count / 1e6 if answered else None,
        "service_level_20s": in_time / offered if offered else None,
        "aht_s": sum(call.talked_us for call in answered) / count / 1e6 if answered else None,
    }


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if value is None or isinstance(value, int):
            assert found[name] == value, name
        else:
            assert found[name] == pytest.approx(value, abs=1e-3 if name[-2:] == "_s" else 1e-6)


@pytest.mark.parametrize("month", MONTHS)
def test_figures_of_a_real_month(month: str) -> None:
    path = SHARED / "data" / "anonymous-bank" / f"{month}.txt"
    if not (path.exists() and REFERENCE.exists()):
        pytest.skip(f"{path} or {REFERENCE} is missing: the real files are no part of the product")
    expected = json.loads(REFERENCE.read_text())[month]
    with path.open(encoding="utf-8") as lines:
        rows = list(read_file(lines, date(2020, 1, 1)))

    assert len(rows) == expected["rows"]
    assert not [row for row in rows if isinstance(row, Reject)]
    calls = [row.call if isinstance(row, Mended) else row for row in rows]
    real = [call for call in calls if isinstance(call, Call)]
    assert_same(figures(real), expected["all"])
    queues = {call.queue for call in real}
    assert queues == expected["by_type"].keys()
    for queue in queues:
        assert_same(
            figures([call for call in real if call.queue == queue]), expected["by_type"][queue]
        )
