"""What was heard of attempts, into the store: the attempt's events and, once it has ended, what
follows for its lead, in one transaction of the client. A repeat gives no events.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from eventkit.decider import Invalid, NotFound, Rejected
from eventkit.eventstore import Answer, Cause, Change, EventStore, Transaction
from services.dialer.attempts import attempt as a
from services.dialer.attempts.store import ATTEMPTS
from services.dialer.campaigns.store import CAMPAIGNS
from services.dialer.dialling.codec import ACTOR
from services.dialer.dialling.messages import CallKey
from services.dialer.leads import recycling
from services.dialer.leads.commands import Resolve
from services.dialer.leads.store import LEADS

log = logging.getLogger(__name__)

Changes = Sequence[Change[a.Attempt, a.Event]]

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
        leads = await tx.load_many(LEADS, list(by_lead))
        campaigns = await tx.load_many(
            CAMPAIGNS, sorted({_started(each).origin.campaign_id for each in ends})
        )
        appends = []
        for lead_id, change in by_lead.items():
            lead, version = leads[lead_id]
            attempt = change.after
            assert attempt.ended is not None
            disposition = attempt.disposed.disposition if attempt.disposed else ""
            because = disposition or attempt.ended.result.value
            settings = campaigns[_started(change).origin.campaign_id][0].settings
            rules = recycling.DEFAULT if settings is None else settings.recycling
            try:
                follow = recycling.follow(rules, lead, because, attempt.ended.at)
                events = LEADS.decider.decide(Resolve(change.id, because, follow), lead)
            except (NotFound, Rejected, Invalid) as error:
                # Nobody can mend it here, and the attempt has ended all the same.
                log.error("lead %s/%s does not go on: %s", change.client_id, lead_id, error)
                continue
            appends.append((lead_id, lead, version, events))
        await tx.append(LEADS, appends)


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
