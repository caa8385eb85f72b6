"""The legal measure of a campaign, whom the rules would skip now, and rules that a client adds."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa

from eventkit.clock import rfc3339
from eventkit.decider import NotFound
from eventkit.eventstore import Answer, Category, Cause, EventStore, Transaction
from services.dialer.attempts.store import ATTEMPTS, ATTEMPTS_TABLE
from services.dialer.campaigns.campaign import Campaign
from services.dialer.campaigns.service import Campaigns, Live
from services.dialer.campaigns.store import Found
from services.dialer.compliance import store as rules
from services.dialer.compliance.preview import Preview, preview
from services.dialer.compliance.rules import Rulebook
from services.dialer.compliance.ruleuse import RuleUse
from services.dialer.dialling.crm import Crm
from services.dialer.dialling.judging import Judged, Judging, Proposal
from services.dialer.dialling.messages import Question, Verdict
from services.dialer.history import readable
from services.dialer.leads.events import Status
from services.dialer.leads.lead import Lead
from services.dialer.leads.store import LEADS, LEADS_TABLE
from services.dialer.measure import measure as m
from services.dialer.measure import store as measures

MAX_LEADS: Final = 2_000
"""Of one preview."""
_HELD: Final[tuple[tuple[Category[Any, Any, Any], sa.Table, str], ...]] = (
    (LEADS, LEADS_TABLE, "lead_id"),
    (ATTEMPTS, ATTEMPTS_TABLE, "attempt_id"),
)
NO_NUMBER: Final = (RuleUse("no-number", 1, "no number that may be dialled"),)
RINGS: Final = 2_000_000
"""As dialling: the carrier has two seconds to dial what is decided."""


@dataclass(frozen=True, slots=True)
class Measured:
    """standing: of the periods that run, as pacing sees them."""

    report: m.Report
    standing: m.Standing


class Oversight:
    """zone: a client's, whose days periods are made of; raises NotFound.

    Raises NotFound, Invalid and Unavailable.
    """

    def __init__(
        self,
        events: EventStore,
        campaigns: Campaigns,
        zone: Callable[[str], Awaitable[ZoneInfo]],
        rulebook: Rulebook,
        crm: Crm,
    ) -> None:
        self._events = events
        self._campaigns = campaigns
        self._zone = zone
        self._judging = Judging(rulebook, events.keys)
        self._crm = crm

    async def measure(self, client_id: str, campaign_id: str) -> Measured:
        """Every period, as each law reads it. One that was never started would begin today."""
        campaign = (await self._campaigns.get(client_id, campaign_id)).campaign
        zone = (await self._zone(client_id)).key
        async with self._events.reading() as connection:
            found = await measures.days_of(connection, client_id, [campaign_id], zone)
        days, today = found[campaign_id], measures.day_of(self._events.clock.now_us(), zone)
        began = campaign.started_at
        first_day = today if began is None else measures.day_of(began, zone)
        terms = _terms(campaign)
        return Measured(
            m.report(days, first_day, today, terms), m.standing(days, first_day, today, terms)
        )

    async def wallboard(self, client_id: str) -> list[tuple[Live, m.Standing]]:
        """All campaigns that run, as they are now, and how each stands by the measures."""
        live = await self._campaigns.running_live(client_id)
        zone = (await self._zone(client_id)).key
        ids = [each.found.campaign_id for each in live]
        async with self._events.reading() as connection:
            days = await measures.days_of(connection, client_id, ids, zone)
        today = measures.day_of(self._events.clock.now_us(), zone)
        return [
            (each, _standing(each.found.campaign, days[each.found.campaign_id], today, zone))
            for each in live
        ]

    async def preview(self, client_id: str, campaign_id: str, limit: int) -> Preview:
        """Of the leads whose turn comes first, at most `limit`: how many would be skipped if they
        were dialled now, and why. Asked as dialling asks; nothing is locked, and nothing changes.
        """
        found = await self._campaigns.get(client_id, campaign_id)
        settings = found.campaign.settings
        assert settings is not None
        at = self._events.clock.now_us()
        chosen: list[tuple[str, Lead, str]] = []
        without = 0
        answers: list[tuple[Sequence[RuleUse], int | None]] = []

        async def choose(tx: Transaction) -> Answer:
            nonlocal without
            without = 0
            chosen.clear()
            for lead_id, (lead, _) in (await self._leads(tx, campaign_id, limit)).items():
                number_id = next((id for id in lead.usable if lead.phones.get(id)), "")
                if number_id:
                    chosen.append((lead_id, lead, number_id))
                else:
                    without += 1
            return {}

        await self._events.run(Cause(client_id, "preview"), choose)
        questions = [
            Question(client_id, lead.phones[number_id], settings.purpose)
            for _, lead, number_id in chosen
        ]
        verdicts = await self._crm.check(questions) if questions else []

        async def judge(tx: Transaction) -> Answer:
            answers.clear()
            proposals = [
                _proposal(client_id, found, lead_id, lead, number_id, verdict, at)
                for (lead_id, lead, number_id), verdict in zip(chosen, verdicts, strict=True)
            ]
            judged = await self._judging.begin(tx, proposals, lock=False)
            answers.extend(
                _answer(verdict, judged.decide(number), at)
                for number, verdict in enumerate(verdicts)
            )
            return {}

        await self._events.run(Cause(client_id, "preview"), judge)
        return preview([*answers, *([(NO_NUMBER, None)] * without)])

    async def _leads(
        self, tx: Transaction, campaign_id: str, limit: int
    ) -> dict[str, tuple[Lead, int]]:
        t = LEADS_TABLE.c
        ids = await tx.connection.scalars(
            sa.select(t.lead_id)
            .where(
                t.client_id == tx.cause.client_id,
                t.campaign_id == campaign_id,
                t.status != Status.CLOSED.value,
            )
            .order_by(t.turn.desc(), t.due_at, t.lead_id)
            .limit(limit)
        )
        return await tx.load_many(LEADS, list(ids))

    # What is held on a person.

    async def export(self, client_id: str, customer_id: str) -> list[dict[str, Any]]:
        """Every event of the customer's leads and attempts, readable, oldest first; without what is
        personal where the customer is erased."""
        found: list[tuple[int, dict[str, Any]]] = []
        for category, table, name in _HELD:
            query = sa.select(table.c[name]).where(
                table.c.client_id == client_id,
                table.c.customer_id == customer_id,
                sa.text("customer_id <> ''"),
            )
            async with self._events.reading() as connection:
                ids = list(await connection.scalars(query))
            for id in ids:
                for fact in await self._events.history(category, client_id, id):
                    said = readable(msgspec.to_builtins(fact.event, str_keys=True))
                    held = {
                        "kind": category.name,
                        "id": id,
                        "event": type(fact.event).__name__,
                        "actor": fact.actor,
                        **said,
                        "at": rfc3339(fact.occurred_at),
                    }
                    found.append((fact.occurred_at, held))
        return [held for _, held in sorted(found, key=lambda each: each[0])]

    # The client's own rules.

    async def publish_rules(self, cause: Cause, content: Sequence[Any]) -> Answer:
        """These hold from the next decision on: version. The same again is no new version."""

        async def work(tx: Transaction) -> Answer:
            version = await rules.publish_rules(
                tx.connection, cause.client_id, list(content), tx.now, cause.actor
            )
            return {"version": version}

        return await self._events.run(cause, work)

    async def rules(self, client_id: str, version: int | None) -> tuple[int, Any]:
        """(version, rules), the newest where none is named; version 0: there never were any."""
        async with self._events.reading() as connection:
            found = await rules.published_rules(connection, client_id, version)
        if found is not None:
            return found
        if version:
            raise NotFound("version")
        return 0, []


def _standing(campaign: Campaign, days: m.Days, today: date, zone: str) -> m.Standing:
    assert campaign.started_at is not None
    first_day = measures.day_of(campaign.started_at, zone)
    return m.standing(days, first_day, today, _terms(campaign), in_uk=True)


def _terms(campaign: Campaign) -> m.Contract | None:
    own = campaign.settings.contract if campaign.settings is not None else None
    return None if own is None else m.Contract(own.limit, own.connect_seconds, own.period_days)


def _proposal(
    client_id: str,
    found: Found,
    lead_id: str,
    lead: Lead,
    number_id: str,
    verdict: Verdict,
    at: int,
) -> Proposal:
    number = lead.number(number_id)
    return Proposal(
        at,
        at + RINGS,
        client_id,
        found,
        found.campaign.mode.value,
        lead.phones[number_id],
        lead_id,
        lead.origin.customer_id,
        number.place,
        number.kind,
        verdict.has_consent,
    )


def _answer(verdict: Verdict, judged: Judged, at: int) -> tuple[Sequence[RuleUse], int | None]:
    forbidden = (*verdict.forbidden_by, *judged.forbidden_by)
    ends: list[int | None] = []
    if verdict.forbidden_by:
        ends.append(None if verdict.again_after is None else at + verdict.again_after)
    if judged.forbidden_by:
        ends.append(judged.until)
    known = [end for end in ends if end is not None]
    return forbidden, max(known) if known and len(known) == len(ends) else None
