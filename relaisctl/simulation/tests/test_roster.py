"""Rosters: so many, from a file, as it was, and changed."""

from datetime import date
from pathlib import Path

import pytest

from relaisctl.errors import InputError
from relaisctl.simulation import roster
from relaisctl.simulation.recorded import Day
from relaisctl.simulation.roster import Change, Shift
from relaisctl.simulation.tests.support import T0, abandoned, answered, day

QUEUES = {"PS", "NE"}
HOUR = 3600.0
EMPTY = Day(date(1999, 1, 1), T0, ())


def read(path: Path, *lines: str) -> list[Shift]:
    path.write_text("\n".join(lines), encoding="utf-8")
    return list(roster.read(path, QUEUES)(EMPTY))


def test_a_file(tmp_path: Path) -> None:
    shifts = read(
        tmp_path / "roster.csv",
        "\ufeffagent_id,start,end,skills,groups",
        "ana,8:00,12:00,PS:3 NE:2,",
        "ana,13:00,16:30,PS NE,home",
        'bea,22:00,06:00,"NE,PS:5",home team-2',
    )
    assert shifts == [
        Shift("ana", 8 * HOUR, 12 * HOUR, (("NE", 2), ("PS", 3))),
        Shift("ana", 13 * HOUR, 16.5 * HOUR, (("NE", 3), ("PS", 3)), (), ("home",)),
        Shift("bea", 22 * HOUR, 30 * HOUR, (("NE", 3), ("PS", 5)), (), ("home", "team-2")),
    ]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["agent_id,start,end"], "line 1: no column skills"),
        (["agent_id,start,end,skills"], "has no agent"),
        (["agent_id,start,end,skills", "ana,8:00,25:00,PS"], "line 2: end: '25:00' is no time"),
        (["agent_id,start,end,skills", "ana,8:60,9:00,PS"], "line 2: start: '8:60' is no time"),
        (["agent_id,start,end,skills", "ana,,9:00,PS"], "line 2: start: '' is no time"),
        (["agent_id,start,end,skills", "ana,8:00,9:00,XX"], "skills: 'XX' is none of the queues"),
        (["agent_id,start,end,skills", "ana,8:00,9:00,PS:9"], "skills: 'PS:9' has no level"),
        (["agent_id,start,end,skills", "ana,8:00,9:00,"], "line 2: skills: empty"),
        (["agent_id,start,end,skills", "a b,8:00,9:00,PS"], "line 2: agent_id: 'a b' is no id"),
        (
            ["agent_id,start,end,skills", "ana,8:00,12:00,PS", "ana,11:00,13:00,PS"],
            "line 3: start: ana has another shift at that time",
        ),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path / "roster.csv", *lines)
    assert said in str(error.value)
    assert "roster.csv" in str(error.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        roster.read(tmp_path / "none.csv", QUEUES)
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is no CSV text"):
        roster.read(binary, QUEUES)


def test_so_many_agents_share_the_queues() -> None:
    made = day(answered(100, 0, 300, queue="PS"), answered(900, 0, 10, queue="NE"))
    shifts = list(roster.of_count(3, [made])(made))
    assert [(one.agent_id, one.begins, one.ends) for one in shifts] == [
        ("agent-01", 100, 901),
        ("agent-02", 100, 901),
        ("agent-03", 100, 901),
    ]
    assert all("PS" in dict(one.skills) for one in shifts)
    assert sum("NE" in dict(one.skills) for one in shifts) == 2


def test_as_it_was() -> None:
    made = day(
        answered(0, 0, 100, "ana", "PS"),
        answered(50, 90, 100, "ana", "PS"),  # from 140: after 40 s, so work after the call
        abandoned(300, 30, "PS"),  # ana was away from 240 to 330
        abandoned(400, 30, "NE"),  # she does not serve NE
        answered(600, 0, 50, "ana", "PS"),  # idle before
        answered(700, 0, 20, "bea", "NE"),
        answered(20_000, 0, 40, "ana", "PS"),  # another shift
        answered(20_100, 0, 40, "", "PS"),  # by somebody who is not named
    )
    assert roster.recorded(made) == [
        Shift("ana", 0, 650, (("PS", 3),), ((240, 90),)),
        Shift("ana", 20_000, 20_040, (("PS", 3),)),
        Shift("bea", 700, 720, (("NE", 3),)),
        Shift("unnamed-1", 20_100, 20_140, (("PS", 3),)),
    ]


def base(day: Day) -> list[Shift]:
    skills = (("PS", 3),)
    return [
        Shift("ana", 8 * HOUR, 16 * HOUR, skills, ((9 * HOUR, 600), (13 * HOUR, 600))),
        Shift("bea", 8 * HOUR, 13 * HOUR, skills),
        Shift("extra-1", 20 * HOUR, 24 * HOUR, skills),
    ]


def test_agents_more() -> None:
    shifts = Change.of("+2@10:00:NE", QUEUES).changed(base)(EMPTY)
    assert list(shifts) == [
        *base(EMPTY),
        Shift("extra-2", 10 * HOUR, 24 * HOUR, (("NE", 3),)),
        Shift("extra-3", 10 * HOUR, 24 * HOUR, (("NE", 3),)),
    ]
    (*_, new) = Change.of("+1@10:00-18:00", QUEUES).changed(base)(EMPTY)
    assert new == Shift("extra-2", 10 * HOUR, 18 * HOUR, (("NE", 3), ("PS", 3)))
    (*_, all_day) = Change.of("+1", QUEUES).changed(base)(EMPTY)
    assert (all_day.begins, all_day.ends) == (0, 24 * HOUR)


def test_agents_fewer() -> None:
    ana, bea, extra = base(EMPTY)
    shifts = Change.of("-1@12:00-14:00", QUEUES).changed(base)(EMPTY)
    assert list(shifts) == [
        Shift("ana", 8 * HOUR, 12 * HOUR, ana.skills, ((9 * HOUR, 600),)),
        Shift("ana", 14 * HOUR, 16 * HOUR, ana.skills),
        bea,
        extra,
    ]
    assert list(Change.of("-9", QUEUES).changed(base)(EMPTY)) == []


@pytest.mark.parametrize(
    "text", ["3@10:00", "+0", "+3@", "+3@10", "+3@10:00-9:00", "+3@25:00", "+1:XX"]
)
def test_changes_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="--what-if"):
        Change.of(text, QUEUES)
