"""What is said of a call goes to its attempt and, once that has ended, to its lead: what follows is
the campaign's recycling rule of the disposition. In one transaction; a repeat changes nothing."""

from collections.abc import Collection, Sequence
from typing import Final

import sqlalchemy as sa

from eventkit.decider import NotFound, Rejected, fold
from eventkit.eventstore import Answer, Cause, EventStore, Transaction
from services.dialer.attempts import attempt as a
from services.dialer.attempts.store import ATTEMPTS
from services.dialer.campaigns.plan import Settings
from services.dialer.campaigns.store import CAMPAIGNS
from services.dialer.dispositions.heard import Said, dispose
from services.dialer.leads import commands as leads
from services.dialer.leads import events as lead_events
from services.dialer.leads import recycling
from services.dialer.leads.lead import Lead
from services.dialer.leads.store import LEADS, LEADS_TABLE

ACTOR: Final = "dialer-worker"


class Dispositions:
    """Raises NotFound, Invalid, Rejected and Unavailable."""

    def __init__(self, events: EventStore) -> None:
        self._events = events

    async def dispose(self, cause: Cause, said: Said) -> Answer:
        """What an agent says of a call: attempt_id, version, converted. said.at: 0 is now."""

        async def work(tx: Transaction) -> Answer:
            at = said.at or tx.now
            spoken = Said(
                at,
                said.attempt_id,
                said.disposition,
                said.agent_id or cause.actor,
                refusal_reason=said.refusal_reason,
                converted=said.converted,
            )
            found = await _say(tx, [spoken])
            if said.attempt_id not in found:
                raise NotFound("attempt")
            state, version = found[said.attempt_id]
            converted = state.disposed is not None and state.disposed.converted
            return {"attempt_id": said.attempt_id, "version": version, "converted": converted}

        return await self._events.run(cause, work)

    async def heard(self, client_id: str, said: Sequence[Said]) -> int:
        """What crm says of calls, some of which may be attempts; how many attempts it changed."""

        async def work(tx: Transaction) -> Answer:
            return {"changed": len(await _say(tx, said))}

        answer = await self._events.run(Cause(client_id, ACTOR), work)
        return int(answer["changed"])

    async def forget(self, client_id: str, customer_ids: Collection[str]) -> int:
        """Customers who are erased: nothing personal of theirs is read or kept from now on, and
        their leads are closed; how many of those. What was dialled stays counted."""

        async def work(tx: Transaction) -> Answer:
            # First the tombstones: who was writing about them has finished when we have the locks.
            await tx.forget(customer_ids)
            t = LEADS_TABLE.c
            ids = await tx.connection.scalars(
                sa.select(t.lead_id).where(
                    t.client_id == client_id,
                    t.customer_id.in_(list(customer_ids)),
                    t.customer_id != "",
                )
            )
            loaded = await tx.load_many(LEADS, sorted(ids))
            changes = await tx.append(
                LEADS,
                [
                    (lead_id, lead, version, LEADS.decider.decide(leads.Forget(), lead))
                    for lead_id, (lead, version) in loaded.items()
                ],
            )
            return {"closed": len(changes)}

        answer = await self._events.run(Cause(client_id, ACTOR), work)
        return int(answer["closed"])


async def _say(tx: Transaction, said: Sequence[Said]) -> dict[str, tuple[a.Attempt, int]]:
    """The attempts among these calls, with their versions now."""
    loaded = await tx.load_many(ATTEMPTS, sorted({each.attempt_id for each in said}))
    before = {id: found for id, found in loaded.items() if found[0].started is not None}
    campaigns = await tx.load_many(
        CAMPAIGNS, sorted({_origin(state).campaign_id for state, _ in before.values()})
    )
    after = {id: state for id, (state, _) in before.items()}
    events: dict[str, list[a.Event]] = {id: [] for id in before}
    for each in said:
        state = after.get(each.attempt_id)
        if state is None:
            continue
        settings = campaigns[_origin(state).campaign_id][0].settings
        if settings is None:
            continue
        new = a.decide(dispose(each, settings), state)
        after[each.attempt_id] = fold(a.DECIDER, new, state)
        events[each.attempt_id] += new
    changes = await tx.append(
        ATTEMPTS, [(id, state, version, events[id]) for id, (state, version) in before.items()]
    )
    versions = {id: version for id, (_, version) in before.items()}
    versions |= {change.id: change.version for change in changes}
    rules = {id: state.settings for id, (state, _) in campaigns.items()}
    await _follow(tx, {change.id: change.after for change in changes}, rules)
    return {id: (after[id], versions[id]) for id in before}


async def _follow(
    tx: Transaction, attempts: dict[str, a.Attempt], rules: dict[str, Settings | None]
) -> None:
    """What the dispositions mean for the leads. Where the call is not over yet the lead hears of
    it with the end."""
    over = {
        id: state
        for id, state in attempts.items()
        if state.ended is not None and state.disposed is not None and state.disposed.disposition
    }
    loaded = await tx.load_many(LEADS, sorted({_origin(each).lead_id for each in over.values()}))
    states = {id: lead for id, (lead, _) in loaded.items()}
    appends: dict[str, list[lead_events.Event]] = {id: [] for id in states}
    for id, state in over.items():
        lead_id, settings = _origin(state).lead_id, rules[_origin(state).campaign_id]
        lead = states[lead_id]
        assert state.disposed is not None
        assert settings is not None
        new = _disposed(id, state.disposed, settings, lead)
        states[lead_id] = fold(LEADS.decider, new, lead)
        appends[lead_id] += new
    await tx.append(
        LEADS,
        [(id, lead, version, appends[id]) for id, (lead, version) in loaded.items()],
    )


def _disposed(
    attempt_id: str, disposed: a.AttemptDisposed, settings: Settings, lead: Lead
) -> Sequence[lead_events.Event]:
    because = disposed.disposition
    if attempt_id not in lead.known_attempts:
        return []
    follow = recycling.follow(settings.recycling, lead, because, disposed.at)
    try:
        return LEADS.decider.decide(leads.Dispose(attempt_id, because, follow), lead)
    except Rejected:
        # The lead has gone on in a way that this has nothing to say to; the attempt keeps it.
        return []


def _origin(state: a.Attempt) -> a.Origin:
    assert state.started is not None
    return state.started.origin
