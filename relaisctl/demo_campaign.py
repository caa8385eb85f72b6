"""The demo's outbound part: a survey that is dialled through the simulated carrier, live."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from eventkit.clock import SystemClock
from relaisctl.api_client import CrmClient, DialerClient
from relaisctl.errors import UnreachableError
from relaisctl.replay import outbound
from relaisctl.replay.live import AgentReport, Available, LoggedIn, LoggedOut, QueueRules
from relaisctl.replay.rpc import Routing
from relaisctl.show import Bars

OFFER_SECONDS = 20
AT_ONCE = 16
PATIENCE_S = 300.0
LOOK_S = 0.5
SCENARIO = "brisk"
"""Of the carrier that the demo starts: conversations take seconds."""


@dataclass(frozen=True, slots=True)
class Dialled:
    """What the campaign came to."""

    campaign: str
    leads: int
    on_do_not_call_list: int
    attempts: int
    connected: int
    abandoned: int
    completed_surveys: int
    stopped_because: str


async def why(campaign_id: str) -> list[tuple[str, str]]:
    """The rules that allowed one of the campaign's calls, and what each said."""
    base = f"/v1/clients/{outbound.CLIENT}/attempts"
    async with DialerClient(None) as dialer:
        found = await dialer.get(base, campaign_id=campaign_id, result="connected", limit=1)
        attempt = await dialer.get(f"{base}/{found['items'][0]['attempt_id']}")
    return [
        (each["rule"], f"{each['said']} (version {each['version']})")
        for each in attempt["allowed_by"]
    ]


async def call_out(routing_address: str, actor: str, seed: int, run: str) -> Dialled:
    """Ask made-up people by telephone, until nobody is left to ask. Raises InputError,
    UnreachableError."""
    pool_id, campaign_id = f"demo.{run}.outbound", f"content-{run}"
    base = f"/v1/clients/{outbound.CLIENT}"
    clock = SystemClock()
    agents = [f"survey-{index:02}.{run}" for index in range(1, outbound.AGENTS + 1)]
    async with (
        Routing(routing_address, actor) as routing,
        DialerClient(None) as dialer,
        CrmClient(None) as crm,
    ):
        await routing.configure(pool_id, 1.0, OFFER_SECONDS, outbound.WRAP_UP_S)
        await routing.configure_queue(pool_id, QueueRules(outbound.CLIENT, outbound.QUEUE, 2, None))
        await dialer.put(f"{base}/campaigns/{campaign_id}", outbound.campaign(pool_id))
        people = list(outbound.people(seed, run))
        await _all(
            [dialer.post(f"{base}/leads", {"campaign_id": campaign_id} | each) for each in people]
        )
        forbidden = [each["numbers"][0] for each in people[: outbound.FORBIDDEN]]
        path = f"{base}/do-not-call-lists/own"
        await crm.put(path, {"name": "Do not call", "kind": "own"})
        await crm.post(f"{path}/numbers", {"add": [{"address": each} for each in forbidden]})
        for agent in agents:
            for what in (LoggedIn(()), Available()):
                await routing.report(pool_id, AgentReport(agent, clock.now_us(), what))
        await dialer.post(f"{base}/campaigns/{campaign_id}/start")
        stopped, disposed = await _played(dialer, base, campaign_id, seed, len(people))
        for agent in agents:
            report = AgentReport(agent, clock.now_us(), LoggedOut("done"))
            await routing.report(pool_id, report)
        live = await dialer.get(f"{base}/campaigns/{campaign_id}/live")
    return Dialled(
        campaign=campaign_id,
        leads=len(people),
        on_do_not_call_list=len(forbidden),
        attempts=live["attempts"],
        connected=live["results"].get("connected", 0),
        abandoned=live["results"].get("abandoned", 0),
        completed_surveys=disposed["completed"],
        stopped_because=stopped,
    )


async def _played(
    dialer: DialerClient, base: str, campaign_id: str, seed: int, leads: int
) -> tuple[str, Counter[str]]:
    """Agents say how each call ended, until the campaign has stopped: why, and what they said."""
    disposed: dict[str, str] = {}
    path = f"{base}/campaigns/{campaign_id}"
    moved, since = -1, time.monotonic()
    with Bars() as progress:
        task = progress.add_task("dialled", total=leads, text="")
        while True:
            campaign = await dialer.get(path)
            over = campaign["status"] == "stopped"
            connected = [
                each["attempt_id"]
                async for each in dialer.items(
                    f"{base}/attempts", campaign_id=campaign_id, result="connected"
                )
                if each["attempt_id"] not in disposed
            ]
            for attempt_id in connected:
                disposed[attempt_id] = outbound.said(seed, attempt_id)
            await _all(
                [
                    dialer.post(
                        f"{base}/attempts/{attempt_id}/dispose",
                        {"disposition": disposed[attempt_id]},
                    )
                    for attempt_id in connected
                ]
            )
            live = await dialer.get(f"{path}/live")
            totals = await dialer.get(f"{path}/leads/totals")
            closed = sum(of["number"] for of in totals["items"] if of["status"] == "closed")
            text = f"{live['attempts']:,} attempts, {live['contacts']:,} persons reached"
            progress.show(task, closed, text)
            if over and not connected and not live["open"]:
                return campaign["status_reason"], Counter(disposed.values())
            if live["attempts"] != moved:
                moved, since = live["attempts"], time.monotonic()
            elif time.monotonic() - since > PATIENCE_S:
                raise UnreachableError(
                    f"the campaign is {campaign['status']} and nothing is dialled:"
                    " see relaisctl status"
                )
            await asyncio.sleep(LOOK_S)


async def _all(requests: list[Any]) -> None:
    at_once = asyncio.Semaphore(AT_ONCE)

    async def one(request: Any) -> None:
        async with at_once:
            await request

    await asyncio.gather(*map(one, requests))
