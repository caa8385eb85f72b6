"""How a story is shown: to people, and to programs."""

import json
from datetime import datetime

from relaisctl.clients import Client
from relaisctl.decisions.explain import Found, as_json, in_words
from relaisctl.decisions.story import Line, Story, tell
from relaisctl.decisions.tests.support import Published
from services.routing import commands as c

ACME = Client("acme", "Acme", "Europe/Paris")


def found(*unreadable: str) -> Found:
    play = Published()
    play.now = 1_795_434_300 * c.SECOND  # 12:45 in Paris
    play.agent("ana", site="lyon")
    play.call("c-17", "cards", skills=(("fr", 2),))
    play.wait(3)
    play.accept("c-17")
    play.wait(0.25)
    play.connect("c-17")
    play.wait(86_400)
    play.end("c-17")
    return Found(ACME, "c-17", tell(play.events_of("acme/c-17"), play.around()), unreadable)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1_000_000)


TOLD = Story(
    "acme/c-17",
    "completed",
    "answered by ana after 3.2 s; talked 1 d, nothing of it on hold; ana wrapped up 20 s",
    (
        Line(at("2026-11-23T11:45:01+00:00"), "queued in cards"),
        Line(
            at("2026-11-23T11:45:01+00:00"),
            "offered to ana (lyon), who has 20 s to answer",
            ("because: longest idle of 3 looked at (policy longest-idle)", "relaxed: nothing"),
        ),
        Line(at("2026-11-23T11:45:04+00:00"), "ana accepted after 3 s"),
        Line(at("2026-11-23T11:45:04.250+00:00"), "ana is connected with the customer"),
        Line(at("2026-11-23T23:00:00+00:00"), "the call with ana is over"),
    ),
)


def test_in_words() -> None:
    assert in_words(Found(ACME, "c-17", TOLD, ()), 70).splitlines() == [
        "call c-17 of acme: answered by ana after 3.2 s; talked 1 d, nothing of",
        "  it on hold; ana wrapped up 20 s",
        "",
        "Monday 23 November 2026, Europe/Paris",
        "12:45:01      queued in cards",
        "12:45:01      offered to ana (lyon), who has 20 s to answer",
        "                because: longest idle of 3 looked at (policy",
        "                  longest-idle)",
        "                relaxed: nothing",
        "12:45:04.000  ana accepted after 3 s",
        "12:45:04.250  ana is connected with the customer",
        "",
        "Tuesday 24 November 2026, Europe/Paris",
        "00:00:00      the call with ana is over",
    ]


def test_lines_are_no_longer_than_asked() -> None:
    assert max(map(len, in_words(found(), 50).splitlines())) <= 50


def test_what_cannot_be_read_is_said() -> None:
    bad = "call-events:2 offset 7 cannot be read: not a CallEvent"
    assert in_words(found(bad), 80).splitlines()[-1] == bad
    assert as_json(found(bad))["unreadable"] == (bad,)


def test_as_json() -> None:
    document = json.loads(json.dumps(as_json(found())))
    assert (document["outcome"], document["time_zone"]) == ("completed", "Europe/Paris")
    offer = document["lines"][2]
    assert offer["at"] == "2026-11-23T11:45:01Z"
    assert (offer["kind"], offer["version"], offer["actor"]) == ("offered", 3, "routing-worker")
    assert offer["sentence"] == "offered to ana (lyon), who has 20 s to answer"
    assert offer["body"]["why"]["looked_at"] == 1
