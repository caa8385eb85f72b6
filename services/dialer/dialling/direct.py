"""Leads for one agent alone: previews that were accepted, and callbacks that were promised in
person by somebody who is free. Pacing has no part in them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from eventkit.eventstore import EventStore
from services.dialer.campaigns.plan import Mode
from services.dialer.campaigns.store import Found
from services.dialer.dialling import store
from services.dialer.dialling.calls import Calls
from services.dialer.dialling.messages import Agent, AgentState
from services.dialer.dialling.starting import Want
from services.dialer.dialling.turn import AGENTLESS, PREVIEW
from services.dialer.leads.store import LEADS


class Direct:
    def __init__(self, events: EventStore, calls: Calls) -> None:
        self._events = events
        self._calls = calls
        self._seen: dict[str, tuple[int, bool]] = {}
        """Of leads that agents look at, by stream: the version, and whether it was accepted."""

    async def find(
        self, running: Sequence[Found], agents: Sequence[Agent], now: int
    ) -> tuple[list[Want], set[str]]:
        """What is to be dialled for whom, and who is not to be given anything else. running: the
        campaigns of one pool; agents: who is there. Raises Unavailable."""
        wants: list[Want] = []
        busy: set[str] = set()
        there = {agent.agent_id for agent in agents}
        of_client: defaultdict[str, dict[str, Found]] = defaultdict(dict)
        for each in running:
            if each.campaign.mode.value != AGENTLESS:
                of_client[each.client_id][each.campaign_id] = each
        for client_id, campaigns in of_client.items():
            async with self._events.reading() as connection:
                shown = await store.shown(connection, client_id, campaigns)
            accepted = await self._accepted(client_id, shown)
            busy |= {each.agent_id for each in shown}
            out_for = {out.agent_id for out in self._calls.outs.values() if out.agent_id}
            idle = [
                agent.agent_id
                for agent in agents
                if agent.state is AgentState.AVAILABLE
                and not agent.leaving
                and agent.agent_id not in busy | out_for
            ]
            promised = await self._promised(client_id, campaigns, idle, now)
            busy |= {each.agent_id for each in promised}
            wants += [
                Want(
                    campaigns[each.campaign_id],
                    PREVIEW,
                    PREVIEW,
                    "accepted by the agent",
                    leads=((each.lead_id, each.agent_id),),
                )
                for each in accepted
                if each.agent_id in there
            ]
            wants += [
                Want(
                    campaigns[each.campaign_id],
                    Mode.PROGRESSIVE.value,
                    "callback",
                    "promised by the agent, who is free",
                    leads=((each.lead_id, each.agent_id),),
                )
                for each in promised
            ]
        return wants, busy

    async def _promised(
        self, client_id: str, campaigns: Mapping[str, Found], idle: Sequence[str], now: int
    ) -> list[store.Promised]:
        if not idle:
            return []
        async with self._events.reading() as connection:
            return await store.promised(connection, client_id, campaigns, idle, now)

    async def _accepted(self, client_id: str, shown: Sequence[store.Shown]) -> list[store.Shown]:
        """Those that their agents want to be dialled; a lead is loaded once for each version."""
        known = {}
        for each in shown:
            stream = f"{client_id}/{each.lead_id}"
            version, accepted = self._seen.get(stream, (0, False))
            if version != each.version:
                lead, version = await self._events.load(LEADS, client_id, each.lead_id)
                accepted = lead.preview is not None and lead.preview.accepted
            known[stream] = version, accepted
        of_others = {
            stream: seen
            for stream, seen in self._seen.items()
            if not stream.startswith(f"{client_id}/")
        }
        self._seen = of_others | known
        return [each for each in shown if known[f"{client_id}/{each.lead_id}"][1]]
