"""What was heard of attempts, into the store: the attempt's events and, once it has ended, what
follows for its lead and for who asked to be called back, in one transaction of the client. A repeat
gives no events.
"""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from eventkit.decider import Invalid, NotFound, Rejected, fold
from eventkit.eventstore import Answer, Cause, Change, EventStore, Transaction
from services.dialer.attempts import attempt as a
from services.dialer.attempts.store import ATTEMPTS
from services.dialer.campaigns.campaign import Campaign, no_callbacks
from services.dialer.campaigns.store import CAMPAIGNS
from services.dialer.dialling import callbacks
from services.dialer.dialling.codec import ACTOR
from services.dialer.dialling.messages import CallKey
from services.dialer.leads import recycling, store
from services.dialer.leads.commands import Close, Command, Resolve, Schedule
from services.dialer.leads.events import Event
from services.dialer.leads.lead import CALLBACK_WANTED, Lead
from services.dialer.leads.service import number_keys
from services.dialer.leads.store import LEADS

log = logging.getLogger(__name__)

Changes = Sequence[Change[a.Attempt, a.Event]]
Follow = Schedule | Close

NOTHING: Final[Answer] = {}


@dataclass(frozen=True)
class Recording:
    events: EventStore
    memory: "Memory" = field(default_factory=lambda: Memory())

    async def hear(
        self, client_id: str, heard: Sequence[tuple[CallKey, tuple[a.Heard, ...]]]
    ) -> None:
        """Raises Unavailable."""
        await self.tell(client_id, {key.attempt_id: a.Hear(of) for key, of in heard})

    async def tell(self, client_id: str, commands: Mapping[str, a.Command]) -> None:
        """Each to its attempt, by attempt_id. Of an attempt that is not on record nothing is
        recorded. Raises Unavailable."""
        known = self.memory.of(client_id, commands)
        changes: list[Change[a.Attempt, a.Event]] = []

        async def work(tx: Transaction) -> Answer:
            # What is remembered is used once: where it is not the last word, the versions say so,
            # and it is run again with what is there.
            states = dict(known)
            known.clear()
            if missing := [id for id in commands if id not in states]:
                states |= await tx.load_many(ATTEMPTS, missing)
            appends = []
            for id, command in commands.items():
                state, version = states[id]
                try:
                    events = ATTEMPTS.decider.decide(command, state)
                except NotFound:
                    log.warning("%s/%s: something was heard of no attempt", client_id, id)
                    continue
                appends.append((id, state, version, events))
            changes[:] = await tx.append(ATTEMPTS, appends)
            await self._resolve(tx, [each for each in changes if _ends(each)])
            return NOTHING

        try:
            await self.events.run(Cause(client_id, ACTOR), work)
        except BaseException:
            self.memory.forget(client_id, commands)
            raise
        self.memory.keep(changes)

    async def _resolve(self, tx: Transaction, ends: Changes) -> None:
        if not ends:
            return
        by_lead = {_started(each).origin.lead_id: each for each in ends}
        campaigns = await tx.load_many(
            CAMPAIGNS, sorted({_started(each).origin.campaign_id for each in ends})
        )
        drafts = _Drafts(await tx.load_many(LEADS, list(by_lead)))
        promised = await self._promise(tx, by_lead, campaigns, drafts)
        for lead_id, change in by_lead.items():
            lead, attempt = drafts.states[lead_id], change.after
            assert attempt.ended is not None
            disposition = attempt.disposed.disposition if attempt.disposed else ""
            because = disposition or attempt.ended.result.value
            settings = campaigns[_started(change).origin.campaign_id][0].settings
            rules = recycling.DEFAULT if settings is None else settings.recycling
            try:
                if callbacks.is_wanted(attempt) and lead_id not in promised:
                    # Nobody calls back by themselves, so that a supervisor finds it.
                    follow: Follow = Close(CALLBACK_WANTED)
                else:
                    follow = recycling.follow(rules, lead, because, attempt.ended.at)
                drafts.tell(lead_id, Resolve(change.id, because, follow))
            except (NotFound, Rejected, Invalid) as error:
                # Nobody can mend it here, and the attempt has ended all the same.
                log.error("lead %s/%s does not go on: %s", change.client_id, lead_id, error)
        # At once, so that totals are locked in one order.
        await tx.append(LEADS, drafts.appends())
        if drafts.keys:
            await store.put_numbers(tx.connection, tx.cause.client_id, drafts.keys)

    async def _promise(
        self,
        tx: Transaction,
        by_lead: Mapping[str, Change[a.Attempt, a.Event]],
        campaigns: Mapping[str, tuple[Campaign, int]],
        drafts: "_Drafts",
    ) -> set[str]:
        """Of these leads, those whose callback is promised."""
        client_id = tx.cause.client_id
        asked = {}
        for lead_id, change in by_lead.items():
            settings = campaigns[_started(change).origin.campaign_id][0].settings
            lead = drafts.states[lead_id]
            if one := callbacks.asked(client_id, change.id, change.after, settings, lead):
                asked[lead_id] = one
        if not asked:
            return set()
        targets = await tx.load_many(
            CAMPAIGNS, sorted({each.add.origin.campaign_id for each in asked.values()})
        )
        # Before the rows of leads, as an import does.
        await store.lock_numbers(tx.connection, client_id)
        promised = set()
        for lead_id, each in asked.items():
            campaign_id = each.add.origin.campaign_id
            try:
                if reason := no_callbacks(targets[campaign_id][0]):
                    raise Rejected(reason, "callback_campaign_id")
                await self._add(tx, each, drafts)
            except (Rejected, Invalid) as error:
                log.warning("lead %s/%s is not called back: %s", client_id, lead_id, error)
            else:
                promised.add(lead_id)
        return promised

    async def _add(self, tx: Transaction, asked: callbacks.Asked, drafts: "_Drafts") -> None:
        """The lead and its promise; where the campaign has the number already, the promise. Raises
        Rejected, also of an erased person, and Invalid."""
        client_id, origin = tx.cause.client_id, asked.add.origin
        # What cannot be sealed is found out before the others are appended.
        await self.events.keys.ensure(client_id, [origin.customer_id or asked.lead_id])
        keys = await number_keys(self.events.keys, asked.add.details)
        twins, _ = await store.twins_of(tx.connection, client_id, keys)
        known = (
            twin.lead_id
            for key in keys
            for twin in twins.get(key, ())
            if twin.campaign_id == origin.campaign_id
        )
        lead_id = next(known, drafts.with_number(origin.campaign_id, keys)) or asked.lead_id
        if lead_id not in drafts.states:
            drafts.load(await tx.load_many(LEADS, [lead_id]))
        if drafts.states[lead_id] == Lead():
            drafts.tell(lead_id, asked.add)
            drafts.keys[lead_id] = keys
        elif lead_id == asked.lead_id:
            return
        drafts.tell(lead_id, asked.promise)


class _Drafts:
    """Leads as they will be, once what is decided here is appended; keys: of new ones' numbers."""

    def __init__(self, loaded: Mapping[str, tuple[Lead, int]]) -> None:
        self.states: dict[str, Lead] = {}
        self.keys: dict[str, tuple[bytes, ...]] = {}
        self._loaded: dict[str, tuple[Lead, int]] = {}
        self._events: dict[str, list[Event]] = {}
        self.load(loaded)

    def load(self, loaded: Mapping[str, tuple[Lead, int]]) -> None:
        self._loaded |= loaded
        for id, (lead, _) in loaded.items():
            self.states[id] = lead
            self._events[id] = []

    def tell(self, id: str, command: Command) -> None:
        """Raises NotFound, Rejected and Invalid."""
        events = LEADS.decider.decide(command, self.states[id])
        self.states[id] = fold(LEADS.decider, events, self.states[id])
        self._events[id] += events

    def with_number(self, campaign_id: str, keys: Collection[bytes]) -> str:
        """A new lead of the campaign that has one of the numbers; "": none."""
        for id, known in self.keys.items():
            if self.states[id].origin.campaign_id == campaign_id and not set(known).isdisjoint(
                keys
            ):
                return id
        return ""

    def appends(self) -> list[tuple[str, Lead, int, list[Event]]]:
        return [(id, *self._loaded[id], events) for id, events in self._events.items()]


class Memory:
    """Attempts that are open, as they were when we wrote them last, so that not each of their
    events is read again with the next one. Others write to them, too; then an append conflicts."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[a.Attempt, int]] = {}

    def of(self, client_id: str, ids: Iterable[str]) -> dict[str, tuple[a.Attempt, int]]:
        return {id: self._known[client_id, id] for id in ids if (client_id, id) in self._known}

    def keep(self, changes: Changes) -> None:
        for change in changes:
            if change.after.is_open:
                self._known[change.client_id, change.id] = change.after, change.version
            else:
                self._known.pop((change.client_id, change.id), None)

    def forget(self, client_id: str, ids: Iterable[str]) -> None:
        for id in ids:
            self._known.pop((client_id, id), None)

    def __len__(self) -> int:
        return len(self._known)


def _ends(change: Change[a.Attempt, a.Event]) -> bool:
    return change.before.ended is None and change.after.ended is not None


def _started(change: Change[a.Attempt, a.Event]) -> a.AttemptStarted:
    assert change.after.started is not None
    return change.after.started
