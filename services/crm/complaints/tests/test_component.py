"""Complaints, wishes and policies through HTTP, with real PostgreSQL."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from relais.complaints.v1.events_pb2 import ComplaintEvent
from sqlalchemy import text

from eventkit.callers import Role
from eventkit.eventstore import Cause, EventStore
from eventkit.timers import TimerWorker
from services.crm.complaints.store import COMPLAINTS, Holding
from services.crm.complaints.tests.support import Api, SetClock, us
from services.crm.customers.service import Customers, Given
from services.crm.customers.store import person

HOUR = 3_600
PAUSED = {"reason": "documents", "text": "Asked for the invoice."}
UPHELD = {"reasons": ["promise-not-kept"], "responsible": {"kind": "third-party"}, "text": "Ours."}

POLICY: dict[str, Any] = {
    "weekly": {
        day: ["09:00-12:00", "13:00-18:00"]
        for day in ("monday", "tuesday", "wednesday", "thursday", "friday")
    },
    "holidays": {"country": "FR"},
    "closed_days": ["2026-11-24"],
    "exceptions": {"2026-11-25": ["10:00-11:00"]},
    "targets": {
        name: {"first_response_minutes": 60 * first, "resolution_minutes": 60 * resolution}
        for name, (first, resolution) in {
            "low": (8, 40),
            "normal": (4, 16),
            "high": (2, 8),
            "critical": (1, 4),
        }.items()
    },
    "upheld_reasons": ["promise-not-kept", "defect"],
    "rejected_reasons": ["as-agreed"],
    "remedies": ["apology", "refund"],
}


async def test_from_the_first_word_to_the_last(api: Api, clock: SetClock, customer: str) -> None:
    id = await api.open(
        customer="K-1",
        about={"kind": "visit", "id": "v-301"},
        call_id="c-1",
        text="Nobody came.",
        reference="R-1",
    )
    clock.now += HOUR * 1_000_000
    await api.do(id, "acknowledge", text="We look into it.")
    await api.do(id, "assign", assignee="a-1")
    await api.do(id, "assign", assignee="a-2")
    await api.do(id, "investigate", findings="The van had broken down.")
    await api.do(id, "pause", **PAUSED)
    clock.now += 5 * HOUR * 1_000_000
    await api.do(id, "resume")
    await api.do(id, "uphold", **UPHELD)
    await api.do(id, "remedy", remedy="refund", amount="19.90", currency="EUR")
    await api.do(id, "remedy", remedy="apology")
    version = await api.do(id, "close")
    assert version == 11
    shown = await api.get(id)
    assert shown["state"] == "closed"
    assert shown["customer_id"] == customer
    assert shown["about"] == {"kind": "visit", "id": "v-301"}
    assert (shown["text"], shown["findings"]) == ("Nobody came.", "The van had broken down.")
    assert shown["assignee"] == "a-2"
    assert shown["verdict"] == {
        "verdict": "upheld",
        "reasons": ["promise-not-kept"],
        "responsible": {"kind": "third-party", "id": None},
        "text": "Ours.",
        "given_at": "2026-11-23T15:00:00Z",
    }
    assert [(each["remedy"], each["amount"]) for each in shown["remedies"]] == [
        ("refund", "19.90"),
        ("apology", None),
    ]
    clocks = shown["clocks"]
    assert clocks["policy_version"] == 0
    assert (clocks["first_response"]["state"], clocks["first_response"]["used_s"]) == ("met", HOUR)
    assert (clocks["resolution"]["state"], clocks["resolution"]["used_s"]) == ("met", HOUR)
    history = await api.events(id)
    assert [each["event"].removeprefix("Complaint") for each in history] == [
        *("Opened", "Acknowledged", "Assigned", "Assigned", "Investigated", "Paused", "Resumed"),
        *("Upheld", "Remedied", "Remedied", "Closed"),
    ]
    assert history[0]["details"]["text"] == "Nobody came."
    assert history[-1]["occurred_at"] == "2026-11-23T15:00:00Z"
    # What everything is worth after an appeal.
    await api.do(id, "appeal", text="I was at home.")
    shown = await api.get(id)
    assert (shown["state"], shown["verdict"], shown["appealed"]) == ("open", None, True)
    assert shown["clocks"]["first_response"]["state"] == "met"
    assert shown["clocks"]["resolution"]["state"] == "active"
    assert shown["clocks"]["resolution"]["used_s"] == HOUR


async def test_timeline_has_complaints(api: Api, store: EventStore, customer: str) -> None:
    id = await api.open(customer=customer, severity="high")
    await api.do(id, "acknowledge")
    async with store.engine.connect() as connection:
        rows = await connection.execute(
            text("SELECT reference, kind, id, details FROM timeline_entries WHERE client_id = :c"),
            {"c": api.client_id},
        )
        assert [tuple(row) for row in rows if row.kind == "complaint"] == [
            (
                customer,
                "complaint",
                id,
                {"phase": "open", "severity": "high", "verdict": None, "reference": None},
            )
        ]


async def test_repeats_change_nothing(api: Api, clock: SetClock) -> None:
    opened = {"complaint_id": "k-1", "text": "x", "reference": "R-1"}
    steps: list[tuple[str, dict[str, Any]]] = [
        ("acknowledge", {}),
        ("assign", {"assignee": "a-1"}),
        ("investigate", {"findings": "y"}),
        ("pause", PAUSED),
        ("resume", {}),
        ("severity", {"severity": "high"}),
        ("uphold", UPHELD),
        ("remedy", {"remedy": "apology"}),
        ("close", {}),
        ("reopen", {"reason": "remedy-missing"}),
    ]
    assert await api.open(**opened) == await api.open(**opened) == "k-1"
    for number, (word, body) in enumerate(steps, 2):
        assert await api.do("k-1", word, **body) == number
        clock.now += 1_000_000
        assert await api.do("k-1", word, **body) == number, word


async def test_an_idempotency_key_has_one_effect(api: Api) -> None:
    answers = await asyncio.gather(
        *(api.call("POST", "/complaints", {"text": "x"}, key="once") for _ in range(8))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["complaint_id"] for answer in answers}) == 1
    other = await api.call("POST", "/complaints", {"text": "y"}, key="once")
    assert other.status_code == 409


async def test_refusals_name_the_state(api: Api) -> None:
    id = await api.open(text="x")
    assert "not acknowledged" in await api.refused(id, "uphold", **UPHELD)
    assert "no verdict" in await api.refused(id, "close")
    assert "no verdict" in await api.refused(id, "remedy", remedy="refund")
    assert "open" in await api.refused(id, "appeal", text="no")
    assert "open" in await api.refused(id, "reopen", reason="again")
    await api.do(id, "acknowledge")
    await api.do(id, "pause", **PAUSED)
    assert "waits for the customer" in await api.refused(id, "uphold", **UPHELD)
    await api.do(id, "resume")
    await api.do(id, "uphold", **UPHELD)
    assert "decided" in await api.refused(id, "investigate", findings="late")
    assert "verdict" in await api.refused(id, "reject", reasons=["as-agreed"])
    await api.do(id, "close")
    for word, body in (
        ("assign", {"assignee": "a"}),
        ("pause", PAUSED),
        ("severity", {"severity": "low"}),
    ):
        assert "closed" in await api.refused(id, word, **body)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("", {"customer": "a b"}, "customer"),
        ("", {"severity": "huge"}, "severity"),
        ("", {"about": {"kind": "client"}}, "about.kind"),
        ("", {"text": "x" * 10_001}, "text"),
        ("", {"text": "a\0b"}, "text"),
        ("", {"occurred_at": "2026-11-23T09:02:00Z"}, "occurred_at"),
        ("", {"occurred_at": "1969-01-01T00:00:00Z"}, "occurred_at"),
        ("", {"source": "Sales!"}, "source"),
        ("/k-1/uphold", {"reasons": [], "responsible": {"kind": "nobody"}}, "reasons"),
        ("/k-1/uphold", {"reasons": ["nonsense"], "responsible": {"kind": "client"}}, "reasons"),
        (
            "/k-1/uphold",
            {"reasons": ["defect"], "responsible": {"kind": "nobody", "id": "x"}},
            "responsible.id",
        ),
        ("/k-1/reject", {"reasons": ["defect"]}, "reasons"),
        ("/k-1/remedy", {"remedy": "gold"}, "remedy"),
        ("/k-1/remedy", {"remedy": "refund", "amount": "1.00"}, "currency"),
        ("/k-1/remedy", {"remedy": "refund", "currency": "EUR"}, "currency"),
        ("/k-1/remedy", {"remedy": "refund", "amount": "-1", "currency": "EUR"}, "amount"),
        ("/k-1/remedy", {"remedy": "refund", "amount": "NaN", "currency": "EUR"}, "amount"),
        ("/k-1/appeal", {"text": "  "}, "text"),
        ("/k-1/pause", {"reason": "because they said so"}, "reason"),
    ],
)
async def test_bad_input(api: Api, path: str, body: dict[str, Any], field: str) -> None:
    await api.open(complaint_id="k-1")
    await api.do("k-1", "acknowledge")
    answer = await api.call("POST", f"/complaints{path}", body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field
    assert (await api.get("k-1"))["version"] == 2


async def test_what_there_is_not(api: Api, customer: str) -> None:
    for method, path, body in (
        ("GET", "/complaints/none", None),
        ("GET", "/complaints/none/history", None),
        ("POST", "/complaints/none/acknowledge", {}),
        ("POST", "/complaints/none/close", None),
        ("POST", "/complaints", {"customer": "nobody"}),
        ("POST", "/wishes", {"customer": customer, "text": "x", "topic_id": "none"}),
        ("GET", "/wishes/none", None),
        ("POST", "/wishes/none/support", {"source": "sales"}),
        ("POST", "/wishes/none/merge", {"into": "none"}),
    ):
        answer = await api.call(method, path, body)
        assert answer.status_code == 404, (path, answer.text)


async def test_roles_and_clients(api: Api) -> None:
    id = await api.open(text="x")
    await api.do(id, "acknowledge")
    agent, partner = api.as_(Role.AGENT), api.as_(Role.PARTNER)
    for word, body in (("uphold", UPHELD), ("reject", {"reasons": ["as-agreed"]})):
        answer = await agent.call("POST", f"/complaints/{id}/{word}", body)
        assert answer.status_code == 403
    assert (await agent.call("PUT", "/complaint-policy", POLICY)).status_code == 403
    assert (await partner.call("POST", "/complaints", {})).status_code == 201
    assert (await partner.call("GET", f"/complaints/{id}")).status_code == 200
    assert (await partner.call("POST", f"/complaints/{id}/acknowledge", {})).status_code == 403
    other = Api(api.http, "another-client", Role.ADMIN)
    assert (await other.call("GET", f"/complaints/{id}")).status_code == 404
    other.client_id = api.client_id
    assert (await other.call("GET", f"/complaints/{id}")).status_code == 404


async def test_references_are_unique(api: Api, store: EventStore) -> None:
    first = await api.open(reference="R-1")
    again = await api.call("POST", "/complaints", {"reference": "R-1"})
    assert (again.status_code, first in again.json()["detail"]) == (409, True)
    answers = await asyncio.gather(
        *(api.call("POST", "/complaints", {"reference": "R-2"}) for _ in range(8))
    )
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 7}
    assert len(await api.listed()) == 2


async def test_filters_and_pages(
    api: Api, clock: SetClock, customers: Customers, cause: Cause
) -> None:
    for id in ("cu-1", "cu-2"):
        await customers.register(cause, Given(number=f"N-{id}", name=id), "agent", id)
    await customers.merge(cause, "cu-2", "cu-1")
    ids = []
    for number in range(7):
        clock.now += 60_000_000
        ids.append(
            await api.open(
                severity="critical" if number % 2 else "low",
                **({"customer": "N-cu-2"} if number == 3 else {}),
            )
        )
    await api.do(ids[0], "assign", assignee="a-1")
    await api.do(ids[1], "acknowledge")
    await api.do(ids[1], "uphold", **UPHELD)
    await api.do(ids[1], "close")
    await api.do(ids[2], "pause", **PAUSED)
    newest = ids[::-1]
    assert await api.listed() == newest
    assert await api.listed(severity="critical") == [newest[i] for i in (1, 3, 5)]
    assert await api.listed(state="closed") == [ids[1]]
    assert await api.listed(paused=True) == [ids[2]]
    assert await api.listed(assignee="a-1") == [ids[0]]
    assert await api.listed(customer="cu-1") == await api.listed(customer="N-cu-2") == [ids[3]]
    assert await api.listed(customer="nobody") == []
    assert await api.listed(overdue=True) == []
    clock.now += 2 * HOUR * 1_000_000
    assert await api.listed(overdue=True) == [ids[5], ids[3]]
    wrong = await api.call("GET", "/complaints?cursor=WzFd")
    assert wrong.status_code == 422


async def test_policies_have_versions(api: Api, clock: SetClock) -> None:
    default = await api.ok("GET", "/complaint-policy")
    assert (default["version"], default["zone"], default["holidays"]) == (0, "Europe/Paris", None)
    old = await api.open()
    assert await api.ok("PUT", "/complaint-policy", POLICY) == {"version": 1}
    assert await api.ok("PUT", "/complaint-policy", POLICY) == {"version": 1}
    shown = await api.ok("GET", "/complaint-policy")
    assert {"2026-12-25", "2026-11-24", "2027-05-01"} <= set(shown["closed"])
    assert shown["closed_days"] == ["2026-11-24"]
    assert shown["exceptions"] == {"2026-11-25": ["10:00-11:00"]}
    assert shown["targets"] == POLICY["targets"]
    new = await api.open()
    clocks = (await api.get(new))["clocks"]
    assert clocks["policy_version"] == 1
    # Monday 10 to 12 and 13 to 15; for the resolution 7 hours of Monday, closed on Tuesday, one
    # hour of Wednesday, 8 of Thursday.
    assert clocks["first_response"]["due_at"] == "2026-11-23T14:00:00Z"
    assert clocks["resolution"]["due_at"] == "2026-11-26T17:00:00Z"
    # The old one keeps what it was promised, until it is put under the new one.
    assert (await api.get(old))["clocks"]["policy_version"] == 0
    clock.now += HOUR * 1_000_000
    await api.do(old, "apply-policy")
    clocks = (await api.get(old))["clocks"]
    assert clocks["policy_version"] == 1
    assert clocks["first_response"]["used_s"] == HOUR
    assert clocks["first_response"]["due_at"] == "2026-11-23T14:00:00Z"
    assert await api.do(old, "apply-policy") == 2


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"zone": "Europe/Atlantis"}, "zone"),
        ({"weekly": {}}, "weekly"),
        ({"weekly": {"monday": ["18:00-09:00"]}}, "weekly.monday.0"),
        ({"weekly": {"monday": ["09:00-12:00", "11:00-13:00"]}}, "weekly"),
        ({"holidays": {"country": "XX"}}, "holidays.country"),
        ({"holidays": {"country": "FR", "subdivision": "Nowhere"}}, "holidays.subdivision"),
        ({"upheld_reasons": ["a", "a"]}, "upheld_reasons"),
        ({"weekly": {"monday": ["09:00-09:01"]}}, "targets.low"),
    ],
)
async def test_no_such_policy(api: Api, change: dict[str, Any], field: str) -> None:
    answer = await api.call("PUT", "/complaint-policy", POLICY | change)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field


async def worked(store: EventStore) -> None:
    """Until a timer worker has nothing to do."""
    worker = TimerWorker(store, [COMPLAINTS])
    running = asyncio.create_task(worker.run())
    while True:
        async with store.engine.connect() as connection:
            due = await connection.scalar(
                text("SELECT count(*) FROM timers WHERE due_at <= :now"),
                {"now": store.clock.now_us()},
            )
        if not due:
            break
        await asyncio.sleep(0.01)
    worker.stop()
    await running


def ran_out(history: list[Any]) -> list[tuple[str, str, str]]:
    return [
        (each["details"]["clock"], each["occurred_at"], each["actor"])
        for each in history
        if each["event"] == "ComplaintClockRanOut"
    ]


async def test_clocks_run_out_by_themselves(api: Api, store: EventStore, clock: SetClock) -> None:
    await api.ok("PUT", "/complaint-policy", POLICY)
    id = await api.open(severity="critical")
    waiting = await api.open(severity="critical")
    await api.do(waiting, "pause", **PAUSED)
    in_time = await api.open(severity="critical")
    clock.now = us("2026-11-23T11:00") - 1
    await worked(store)
    await api.do(in_time, "acknowledge")
    assert (await api.get(id))["clocks"]["first_response"]["state"] == "active"
    # The worker was down over lunch: what it says is still as of the due time.
    clock.now = us("2026-11-23T12:40")
    assert (await api.get(id))["clocks"]["first_response"]["state"] == "missed"
    await worked(store)
    first = ("first_response", "2026-11-23T10:00:00Z", "timer")
    assert ran_out(await api.events(id)) == [first]
    assert ran_out(await api.events(in_time)) == ran_out(await api.events(waiting)) == []
    clock.now = us("2026-11-25T12:00")
    await worked(store)
    last = ("resolution", "2026-11-23T14:00:00Z", "timer")
    assert ran_out(await api.events(id)) == [first, last]
    assert ran_out(await api.events(in_time)) == [last]
    assert ran_out(await api.events(waiting)) == []
    shown = (await api.get(waiting))["clocks"]["resolution"]
    assert (shown["state"], shown["used_s"], shown["due_at"]) == ("paused", 0, None)
    async with store.engine.connect() as connection:
        rows = await connection.execute(
            text(
                "SELECT occurred_at, message FROM events WHERE stream_id = :id"
                " AND type = 'ComplaintClockRanOut' ORDER BY version"
            ),
            {"id": f"{api.client_id}/complaint/{id}"},
        )
        for (at, message), due in zip(rows, ("11:00", "15:00"), strict=True):
            assert at == us(f"2026-11-23T{due}")
            meta = ComplaintEvent.FromString(message).meta
            assert meta.occurred_at.ToMicroseconds() == at


async def test_who_comes_before_the_timer_notices(api: Api, clock: SetClock) -> None:
    await api.ok("PUT", "/complaint-policy", POLICY)
    id = await api.open(severity="critical")
    clock.now = us("2026-11-23T11:00")
    await api.do(id, "acknowledge")
    history = await api.events(id)
    assert [(each["event"], each["occurred_at"]) for each in history[1:]] == [
        ("ComplaintClockRanOut", "2026-11-23T10:00:00Z"),
        ("ComplaintAcknowledged", "2026-11-23T10:00:00Z"),
    ]
    shown = (await api.get(id))["clocks"]["first_response"]
    assert (shown["state"], shown["used_s"]) == ("missed", HOUR)


async def test_fifty_writers_on_twenty_complaints(api: Api) -> None:
    ids = [await api.open() for _ in range(20)]
    done: Counter[str] = Counter()

    async def write(writer: int) -> None:
        for number in range(6):
            id = ids[(writer * 7 + number) % len(ids)]
            await api.do(id, "investigate", findings=f"{writer}/{number}")
            done[id] += 1

    await asyncio.gather(*(write(writer) for writer in range(50)))
    for id in ids:
        history = await api.events(id)
        assert [each["version"] for each in history] == list(range(1, len(history) + 1))
        assert len(history) == 1 + done[id]
        findings = [each["details"]["findings"] for each in history[1:]]
        assert len(set(findings)) == len(findings)


async def test_wishes_are_merged_and_counted(api: Api, customers: Customers, cause: Cause) -> None:
    for number in range(3):
        given = Given(number=f"K-{number}", name="x")
        await customers.register(cause, given, "agent", f"cu-{number}")

    async def express(id: str, customer: str) -> None:
        body = {"wish_id": id, "customer": customer, "text": "A text message, please."}
        await api.ok("POST", "/wishes", body)
        await api.ok("POST", "/wishes", body)

    async def count(id: str) -> int:
        return int((await api.ok("GET", f"/wishes/{id}"))["supporters"])

    for id, customer in (("a", "cu-0"), ("b", "K-1"), ("c", "cu-2")):
        await express(id, customer)
    for body in ({"customer": "cu-1"}, {"customer": "K-1"}, {"source": "sales"}):
        await api.ok("POST", "/wishes/a/support", body)
    assert [await count(id) for id in "abc"] == [3, 1, 1]
    await api.ok("POST", "/wishes/a/merge", {"into": "b"})
    # cu-1 wants both, and is one.
    assert await count("b") == 3
    await api.ok("POST", "/wishes/b/merge", {"into": "c"})
    assert await count("c") == 4
    for into in ("a", "b", "c"):
        answer = await api.call("POST", "/wishes/c/merge", {"into": into})
        assert answer.status_code == 409
    listed = (await api.ok("GET", "/wishes"))["items"]
    assert [(each["wish_id"], each["supporters"]) for each in listed] == [("c", 4)]
    await api.ok("POST", "/wishes/b/unmerge")
    assert [await count(id) for id in "bc"] == [3, 1]
    await api.ok("POST", "/wishes/a/unmerge")
    assert [await count(id) for id in "abc"] == [3, 1, 1]
    await api.ok("POST", "/wishes/a/close", {"outcome": "granted", "text": "From May on."})
    shown = await api.ok("GET", "/wishes/a")
    assert (shown["outcome"], shown["outcome_text"]) == ("granted", "From May on.")
    answer = await api.call("POST", "/wishes/a/support", {"source": "billing"})
    assert answer.status_code == 409


async def test_two_merges_at_once_make_no_circle(api: Api) -> None:
    for id in "abc":
        await api.ok("POST", "/wishes", {"wish_id": id, "source": "sales", "text": "x"})
    pairs = [("a", "b"), ("b", "c"), ("c", "a")]
    answers = await asyncio.gather(
        *(api.call("POST", f"/wishes/{one}/merge", {"into": into}) for one, into in pairs)
    )
    assert sorted(answer.status_code for answer in answers) == [200, 200, 409]


async def test_export_and_forget(api: Api, store: EventStore, cause: Cause, customer: str) -> None:
    id = await api.open(customer=customer, text="My dog Rex was not let in.")
    await api.do(id, "acknowledge", text="Sorry about Rex.")
    await api.ok("POST", "/wishes", {"customer": customer, "text": "Let Rex in."})
    await api.ok("POST", "/complaints", {"text": "somebody else's"})
    holding = Holding(store)
    async with store.engine.begin() as connection:
        known = await person(connection, api.client_id, customer)
        assert known is not None
        exported = await holding.export(connection, known)
        forgotten = await holding.forget(connection, known)
    assert {each["event"] for each in exported} >= {
        "ComplaintOpened",
        "ComplaintAcknowledged",
        "WishExpressed",
    }
    assert str(exported).count("Rex") == 3
    assert "somebody" not in str(exported)
    assert forgotten.subjects == set()
    # What the tables of complaints have is ids: nothing to clean.
    async with store.engine.connect() as connection:
        for table in ("complaints", "wishes", "wish_voices", "timeline_entries"):
            rows = await connection.execute(text(f"SELECT {table}::text FROM {table}"))
            assert not any("Rex" in row[0] for row in rows)

    async def erase(tx: Any) -> dict[str, Any]:
        await tx.forget([customer])
        return {}

    await store.run(cause, erase)
    await store.keys.erase(api.client_id, [customer])
    shown = await api.get(id)
    assert (shown["text"], shown["customer_id"]) == ("", customer)
    assert len(await api.listed()) == 2
    # Work on it goes on, as long as nothing personal is said.
    await api.do(id, "assign", assignee="a-1")
    assert "erased" in await api.refused(id, "investigate", findings="It was Rex.")
