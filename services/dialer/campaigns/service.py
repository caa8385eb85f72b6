"""The use cases of campaigns.

Totals come from the attempts' table, which is written with their events; goals are held against
them by whoever counts: the worker, every second or so, and whoever wants to know now.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import phonenumbers
from babel.numbers import list_currencies
from sqlalchemy.ext.asyncio import AsyncConnection

from eventkit.decider import Invalid, NotFound, Rejected
from eventkit.eventstore import Answer, Cause, Change, EventStore, Recorded, Transaction
from services.dialer.campaigns import campaign as c
from services.dialer.campaigns import plan, store
from services.dialer.campaigns.plan import Settings, Totals
from services.dialer.campaigns.store import CAMPAIGNS, Found

CountAttempts = Callable[
    [AsyncConnection, str, list[str]], Awaitable[Mapping[str, Mapping[str, int]]]
]
"""(connection, client, campaigns) -> for each, how many attempts came to what; the attempts'."""

ACTOR: Final = "dialer-worker"


@dataclass(frozen=True, slots=True)
class Live:
    """A campaign as it is now. counts: how many attempts came to what, by result, and `started`,
    `converted`. open: attempts that are under way."""

    found: Found
    counts: Mapping[str, int]
    totals: Totals
    open: int


def totals_of(counts: Mapping[str, int]) -> Totals:
    """What goals are held against, by what attempts came to."""
    return Totals(
        attempts=counts.get("started", 0) - counts.get("not-dialled", 0),
        contacts=counts.get("connected", 0) + counts.get("delivered", 0),
        conversions=counts.get("converted", 0),
        talked=counts.get("talked", 0),
        answered_for=counts.get("answered-for", 0),
    )


_NO_RESULT: Final = frozenset({"started", "converted", "talked", "answered-for"})


def results_of(counts: Mapping[str, int]) -> dict[str, int]:
    """How many attempts have ended in which result."""
    return {what: n for what, n in sorted(counts.items()) if n and what not in _NO_RESULT}


class Campaigns:
    """Commands answer with campaign_id, version and status, which a repeat leaves as they are.
    Raises NotFound, Invalid, Rejected and Unavailable."""

    def __init__(self, events: EventStore, count: CountAttempts) -> None:
        self.events = events
        self._count = count

    async def arrange(self, cause: Cause, campaign_id: str, settings: Settings) -> Answer:
        """Draft it, or say how it is to be from now on."""
        _check_known(settings)
        if settings.callback_campaign_id == campaign_id:
            raise Invalid("callback_campaign_id", "is the campaign itself, which has no agents")
        return await self._do(cause, campaign_id, lambda at: c.Arrange(at, settings))

    async def start(self, cause: Cause, campaign_id: str) -> Answer:
        return await self._do(cause, campaign_id, c.Start)

    async def pause(self, cause: Cause, campaign_id: str, reason: str = c.BY_HAND) -> Answer:
        return await self._do(cause, campaign_id, lambda at: c.Pause(at, reason))

    async def stop(self, cause: Cause, campaign_id: str, reason: str = c.BY_HAND) -> Answer:
        return await self._do(cause, campaign_id, lambda at: c.Stop(at, reason))

    async def _do(
        self, cause: Cause, campaign_id: str, command: Callable[[int], c.Command]
    ) -> Answer:
        async def work(tx: Transaction) -> Answer:
            change = await tx.execute(CAMPAIGNS, campaign_id, command(tx.now))
            await _check_callbacks(tx, change)
            return {
                "campaign_id": campaign_id,
                "version": change.version,
                "status": change.after.status.value,
            }

        return await self.events.run(cause, work)

    async def get(self, client_id: str, campaign_id: str) -> Found:
        found = await self.find(client_id, campaign_id=campaign_id)
        if not found:
            raise NotFound("campaign")
        return found[0]

    async def find(
        self,
        client_id: str,
        *,
        campaign_id: str = "",
        status: str = "",
        purpose: str = "",
        after: str = "",
        limit: int = 1,
    ) -> list[Found]:
        """By id, after the one given."""
        async with self.events.reading() as connection:
            return await store.find(
                connection,
                client_id,
                campaign_id=campaign_id,
                status=status,
                purpose=purpose,
                after=after,
                limit=limit,
            )

    async def live(self, client_id: str, campaign_id: str) -> Live:
        """Of one that there is."""
        found = await self.get(client_id, campaign_id)
        async with self.events.reading() as connection:
            counts = await self._count(connection, client_id, [campaign_id])
        return _live(found, counts[campaign_id])

    async def running_live(self, client_id: str) -> Sequence[Live]:
        """Of all that run, by id."""
        async with self.events.reading() as connection:
            found = await store.running(connection, client_id)
            ids = [each.campaign_id for each in found]
            counts = await self._count(connection, client_id, ids)
        return [_live(each, counts[each.campaign_id]) for each in found]

    async def history(self, client_id: str, campaign_id: str) -> list[Recorded[c.Event]]:
        """Every event, oldest first."""
        facts = await self.events.history(CAMPAIGNS, client_id, campaign_id)
        if not facts:
            raise NotFound("campaign")
        return facts

    # For the worker.

    async def running(self) -> list[tuple[Found, Totals]]:
        """Of all clients, those that run, with what they have done so far."""
        async with self.events.reading() as connection:
            found = await store.running(connection)
            totals: dict[tuple[str, str], Totals] = {}
            for client_id in sorted({each.client_id for each in found}):
                ids = [each.campaign_id for each in found if each.client_id == client_id]
                for id, counts in (await self._count(connection, client_id, ids)).items():
                    totals[client_id, id] = totals_of(counts)
        return [(each, totals[each.client_id, each.campaign_id]) for each in found]

    async def count(
        self, client_id: str, campaign_id: str, totals: Totals, open_leads: int | None = None
    ) -> bool:
        """Hold what it has done against its goals; whether that has stopped it."""
        answer = await self._do(
            Cause(client_id, ACTOR), campaign_id, lambda at: c.Count(at, totals, open_leads)
        )
        return bool(answer["status"] == c.Status.STOPPED.value)


async def _check_callbacks(tx: Transaction, change: Change[c.Campaign, c.Event]) -> None:
    """A campaign that runs, from now on or as it is from now on, names one that can call back."""
    after = change.after
    named = after.settings.callback_campaign_id if after.settings is not None else ""
    if not named or not change.events or after.status is not c.Status.RUNNING:
        return
    other, _ = await tx.load(CAMPAIGNS, named)
    if reason := c.no_callbacks(other):
        raise Rejected(reason, "callback_campaign_id")


def _live(found: Found, counts: Mapping[str, int]) -> Live:
    ended = sum(results_of(counts).values())
    return Live(found, counts, totals_of(counts), counts.get("started", 0) - ended)


def _check_known(settings: Settings) -> None:
    """What a number or a currency is, is data and no rule: not for the pure file."""
    plan.check(settings)
    try:
        valid = phonenumbers.is_valid_number(phonenumbers.parse(settings.caller_id))
    except phonenumbers.NumberParseException:
        valid = False
    if not valid:
        raise Invalid("caller_id", "is no number of its country's plan")
    if settings.costs is not None and settings.costs.currency not in list_currencies("en"):
        raise Invalid("costs.currency", "must be an ISO 4217 code, such as EUR")
