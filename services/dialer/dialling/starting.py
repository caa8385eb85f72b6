"""From leads whose turn it is to calls that the carrier has been given, for one client.

    candidates -> crm's word -> one transaction: rules, LeadDialled and AttemptStarted, or
    LeadHeldBack -> commit -> Dial

The moment of decision is before crm is asked, so a withdrawal that was accepted by then counts. In
the transaction locks on numbers and customers make whoever wants the same ones wait, and what is
decided for one is history for the next.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from eventkit.decider import Invalid, NotFound, Rejected
from eventkit.errors import Unavailable
from eventkit.eventstore import Answer, Cause, Change, EventStore, Transaction
from eventkit.ids import derived_id
from services.dialer.attempts.attempt import Attempt, Lapse, Origin, StartAttempt
from services.dialer.attempts.attempt import Event as AttemptEvent
from services.dialer.attempts.store import ATTEMPTS
from services.dialer.campaigns.plan import CONNECT_SECONDS, Settings
from services.dialer.campaigns.store import CAMPAIGNS, Found
from services.dialer.compliance.ruleuse import RuleUse
from services.dialer.dialling import messages as m
from services.dialer.dialling import metrics
from services.dialer.dialling.calls import Calls
from services.dialer.dialling.carrier import Carrier
from services.dialer.dialling.codec import ACTOR
from services.dialer.dialling.crm import Crm
from services.dialer.dialling.judging import Judged, Judging, Proposal
from services.dialer.dialling.recording import Recording
from services.dialer.dialling.turn import SECOND, Out
from services.dialer.leads import commands as c
from services.dialer.leads.lead import Lead
from services.dialer.leads.store import LEADS, take_due

log = logging.getLogger(__name__)

DIAL_WITHIN: Final = 2 * SECOND
"""After the decision; later the carrier does not dial."""
SHOWN_FOR: Final = 60 * SECOND
"""So long an agent may look at a lead."""
AT_ONCE: Final = 25
"""Leads of one transaction, and calls of one request to the carrier: what is decided at a stretch
takes milliseconds, and somebody else may be on the line."""
BESIDE: Final = 3
"""Transactions of a client's turn that are under way at once."""
TURN_S: Final = 1.0
"""After that a turn begins nothing more."""
AGAIN_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Want:
    """What one campaign is to do in a turn.

    calls    how many; places: of leads where it may be the hour
    leads    these and no others: the lead's and the agent's id, who alone is to be connected
    show_to  no call: the leads are shown to these agents
    """

    found: Found
    mode: str
    policy: str
    because: str
    calls: int = 0
    places: tuple[str, ...] = ()
    leads: tuple[tuple[str, str], ...] = ()
    show_to: tuple[str, ...] = ()

    @property
    def settings(self) -> Settings:
        settings = self.found.campaign.settings
        assert settings is not None
        return settings


@dataclass(frozen=True, slots=True)
class Candidate:
    """A lead, the number whose turn it is, and for whom: an agent to be connected or shown it."""

    want: Want
    lead_id: str
    number_id: str
    number: str
    lead: Lead
    version: int
    agent_id: str = ""


@dataclass(frozen=True, slots=True)
class Started:
    """taken: leads that were looked at, by campaign: fewer than wanted were due. calls: that the
    carrier has."""

    taken: Counter[str]
    calls: int


@dataclass(frozen=True)
class Starting:
    events: EventStore
    crm: Crm
    judging: Judging
    carrier: Carrier
    calls: Calls
    recording: Recording
    doubted: Callable[[Sequence[m.CallKey]], None]
    """Called for what the carrier has not confirmed in time."""

    async def start(self, client_id: str, wants: Sequence[Want]) -> Started:
        """Raises Unavailable where crm or PostgreSQL does not answer: what is not dialled by then
        is not dialled."""
        began = time.monotonic()
        candidates, taken = await self._candidates(client_id, wants)
        parts = [candidates[i : i + AT_ONCE] for i in range(0, len(candidates), AT_ONCE)]
        beside = asyncio.Semaphore(BESIDE)

        async def one(part: Sequence[Candidate]) -> int:
            async with beside:
                if time.monotonic() - began > TURN_S:
                    return 0  # The next turn's: a machine that is too slow takes less on.
                return await self._part(client_id, part)

        counts = await asyncio.gather(*map(one, parts), return_exceptions=True)
        for count in counts:
            if isinstance(count, BaseException):
                raise count
        return Started(taken, sum(count for count in counts if isinstance(count, int)))

    async def _part(self, client_id: str, part: Sequence[Candidate]) -> int:
        # Before the question: what was accepted until now is in the answer.
        at = self.events.clock.now_us()
        verdicts = await self.crm.check(
            [m.Question(client_id, each.number, each.want.settings.purpose) for each in part]
        )
        dials = await self._decide(client_id, at, list(zip(part, verdicts, strict=True)))
        if dials:
            await self._dial(client_id, at, dials)
        return len(dials)

    async def _candidates(
        self, client_id: str, wants: Sequence[Want]
    ) -> tuple[list[Candidate], "Counter[str]"]:
        """A lead that nobody has let go meanwhile is looked at again under its version."""
        now = self.events.clock.now_us()
        taken: Counter[str] = Counter()
        chosen: dict[str, tuple[Want, str]] = {}
        async with self.events.reading() as connection:
            for want in wants:
                campaign_id = want.found.campaign_id
                pairs = list(want.leads)
                if want.calls:
                    found = await take_due(
                        connection, client_id, campaign_id, now, want.places, want.calls
                    )
                    agents = want.show_to or ("",) * len(found)
                    pairs += zip((each.lead_id for each in found), agents, strict=False)
                    taken[campaign_id] += len(found)
                for lead_id, agent_id in pairs:
                    chosen.setdefault(lead_id, (want, agent_id))
        if not chosen:
            return [], taken
        leads = await self._leads(client_id, list(chosen))
        candidates = []
        for lead_id, (want, agent_id) in chosen.items():
            lead, version = leads[lead_id]
            number_id = next((id for id in lead.usable if lead.phones.get(id)), "")
            if not number_id:
                await self._forget(client_id, lead_id)
                continue
            candidates.append(
                Candidate(
                    want,
                    lead_id,
                    number_id,
                    lead.phones[number_id],
                    lead,
                    version,
                    agent_id,
                )
            )
        return candidates, taken

    async def _leads(self, client_id: str, ids: Sequence[str]) -> dict[str, tuple[Lead, int]]:
        found: dict[str, tuple[Lead, int]] = {}

        async def work(tx: Transaction) -> Answer:
            found.update(await tx.load_many(LEADS, ids))
            return {}

        await self.events.run(Cause(client_id, ACTOR), work)
        return found

    async def _forget(self, client_id: str, lead_id: str) -> None:
        """Its numbers cannot be read any more: the person was erased."""

        async def work(tx: Transaction) -> Answer:
            await tx.execute(LEADS, lead_id, c.Forget())
            return {}

        await self.events.run(Cause(client_id, ACTOR), work)

    # The decision.

    async def _decide(
        self, client_id: str, at: int, asked: Sequence[tuple[Candidate, m.Verdict]]
    ) -> list[tuple[m.Dial, Out]]:
        dials: list[tuple[m.Dial, Out]] = []
        started: list[Change[Attempt, AttemptEvent]] = []
        # As they were looked at; where somebody was faster, as they are when it is run again.
        leads = {each.lead_id: (each.lead, each.version) for each, _ in asked}

        async def work(tx: Transaction) -> Answer:
            dials.clear()
            if not leads:
                leads.update(await tx.load_many(LEADS, [each.lead_id for each, _ in asked]))
            known = dict(leads)
            leads.clear()
            found, started[:] = await self._decided(tx, at, asked, known)
            dials.extend(found)
            return {}

        await self.events.run(Cause(client_id, ACTOR, occurred_at=at), work)
        self.recording.memory.keep(started)
        return dials

    async def _decided(
        self,
        tx: Transaction,
        at: int,
        asked: Sequence[tuple[Candidate, m.Verdict]],
        leads: Mapping[str, tuple[Lead, int]],
    ) -> tuple[list[tuple[m.Dial, Out]], list[Change[Attempt, AttemptEvent]]]:
        client_id = tx.cause.client_id
        campaigns = await tx.load_many(
            CAMPAIGNS, sorted({each.want.found.campaign_id for each, _ in asked})
        )
        asked = [
            (each, verdict)
            for each, verdict in asked
            if campaigns[each.want.found.campaign_id][0].dials(at)
        ]
        judge = await self.judging.begin(
            tx, [_proposal(client_id, at, each, verdict) for each, verdict in asked]
        )
        lead_appends, attempt_appends, dials = [], [], []
        for number, (each, verdict) in enumerate(asked):
            lead, version = leads[each.lead_id]
            judged = judge.decide(number)
            attempt_id = derived_id("attempt", client_id, each.lead_id, lead.attempts + 1)
            command = _command(each, verdict, judged, attempt_id, at)
            try:
                events = LEADS.decider.decide(command, lead)
            except (Rejected, NotFound, Invalid) as reason:
                # Somebody was faster: an agent looks at it, it was corrected or closed.
                log.info("lead %s/%s is passed over: %s", client_id, each.lead_id, reason)
                continue
            lead_appends.append((each.lead_id, lead, version, events))
            if not events or not isinstance(command, c.Dial):
                continue
            start = _start(each, lead, judged, verdict, at)
            # Of another attempt with this id the lead would know.
            initial = ATTEMPTS.decider.initial
            begun = ATTEMPTS.decider.decide(start, initial)
            attempt_appends.append((attempt_id, initial, 0, begun))
            judge.started(number, attempt_id)
            key = m.CallKey(client_id, attempt_id)
            dials.append((_dial(key, each, start, judged), _out(key, each, at)))
        await tx.append(LEADS, lead_appends)
        started = await tx.append(ATTEMPTS, attempt_appends)
        await judge.write()
        return dials, started

    # After the commit.

    async def _dial(self, client_id: str, at: int, dials: Sequence[tuple[m.Dial, Out]]) -> None:
        for _, out in dials:
            self.calls.put(out)
        requests = [dial for dial, _ in dials]
        while True:
            try:
                answers = await self.carrier.dial(requests)
                break
            except Unavailable as error:
                if self.events.clock.now_us() > at + DIAL_WITHIN:
                    log.warning("%d calls are not confirmed: %s", len(dials), error)
                    self.doubted([dial.key for dial in requests])
                    return
                await asyncio.sleep(AGAIN_S)
        now = self.events.clock.now_us()
        metrics.PERMISSION_AGE.record((now - at) / SECOND)
        lapsed = {}
        for dial, answer in zip(requests, answers, strict=True):
            metrics.DIALLED.add(1, {"taken": answer.taken.value})
            if answer.taken in (m.Taken.TOO_LATE, m.Taken.REFUSED):
                self.calls.drop(dial.key)
                metrics.LAPSED.add(1, {"reason": answer.taken.value})
                # The carrier's reason may have the number in it.
                reason = f"{answer.taken.value} {answer.field}".strip()
                lapsed[dial.key.attempt_id] = Lapse(now, reason)
        if lapsed:
            await self.recording.tell(client_id, lapsed)


def _proposal(
    client_id: str,
    at: int,
    each: Candidate,
    verdict: m.Verdict,
) -> Proposal:
    number = each.lead.number(each.number_id)
    return Proposal(
        at,
        at + DIAL_WITHIN,
        client_id,
        each.want.found,
        each.want.mode,
        each.number,
        each.lead_id,
        each.lead.origin.customer_id,
        number.place,
        number.kind,
        verdict.has_consent,
    )


def _command(
    each: Candidate, verdict: m.Verdict, judged: Judged, attempt_id: str, at: int
) -> c.Command:
    forbidden = (*verdict.forbidden_by, *judged.forbidden_by)
    if forbidden:
        first = forbidden[0].rule.partition("/")[0]
        metrics.HELD_BACK.add(1, {"rule": first})
        return c.HoldBack(forbidden, _until(verdict, judged, at), each.number_id, at)
    if each.want.show_to:
        return c.OfferPreview(each.agent_id, at + SHOWN_FOR, at)
    return c.Dial(attempt_id, each.number_id, at)


def _until(verdict: m.Verdict, judged: Judged, at: int) -> int | None:
    """When all may allow it again; None: never."""
    ends: list[int] = []
    if verdict.forbidden_by:
        if verdict.again_after is None:
            return None
        ends.append(at + verdict.again_after)
    if judged.forbidden_by:
        if judged.until is None:
            return None
        ends.append(judged.until)
    return max(ends)


def _start(
    each: Candidate, lead: Lead, judged: Judged, verdict: m.Verdict, at: int
) -> StartAttempt:
    origin = Origin(
        lead.origin.campaign_id,
        lead.origin.list_id,
        each.lead_id,
        lead.origin.customer_id,
        each.number_id,
        lead.attempts + 1,
        at,
    )
    uses: tuple[RuleUse, ...] = (*verdict.rules, *judged.uses)
    want = each.want
    return StartAttempt(
        origin,
        want.mode,
        uses,
        at + DIAL_WITHIN,
        want.policy,
        want.because,
        each.agent_id,
        judged.country,
        judged.region,
    )


def _dial(key: m.CallKey, each: Candidate, start: StartAttempt, judged: Judged) -> m.Dial:
    settings = each.want.settings
    connect = settings.contract.connect_seconds if settings.contract else CONNECT_SECONDS
    return m.Dial(
        key,
        each.number,
        settings.caller_id,
        max(settings.ring_seconds, judged.ring_seconds) * SECOND,
        start.dial_before,
        settings.machine_detection,
        int(connect * SECOND) if settings.wants_agents else None,
        settings.abandonment_message if settings.wants_agents else settings.information_message,
        m.OnMachine(settings.on_machine.value),
        settings.machine_message,
    )


def _out(key: m.CallKey, each: Candidate, at: int) -> Out:
    return out_of(
        key,
        each.want.settings,
        each.want.found.campaign_id,
        each.want.mode,
        each.lead.origin.customer_id,
        at,
        each.agent_id,
    )


def out_of(
    key: m.CallKey,
    settings: Settings,
    campaign_id: str,
    mode: str,
    customer_id: str,
    at: int,
    agent_id: str,
) -> Out:
    """What is remembered of a call while it is out."""
    return Out(
        key,
        campaign_id,
        settings.pool_id,
        settings.queue_id,
        mode,
        settings.priority,
        customer_id,
        at,
        tuple((each.skill, each.level) for each in settings.skills),
        agent_id,
        settings.on_machine.value == m.OnMachine.AS_PERSON,
    )
