"""HTTP for supervisors: set up pools, and look at them. docs/subsystems/routing-edges.md"""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from eventkit import telemetry
from eventkit.errors import InvalidMessage, NotFound
from eventkit.http import Listing, PageOf, problems
from services.routing import commands as c
from services.routing.configuration import ClientRules
from services.routing.pool import AgentState, CallState
from services.routing.supervisors import bodies as b
from services.routing.supervisors.live import (
    Places,
    agents_now,
    agents_where,
    calls_where,
    queues_now,
)
from services.routing.supervisors.service import Supervision


def router(supervision: Supervision) -> APIRouter:
    """To be included as it is."""
    api = APIRouter(prefix="/v1/pools/{pool_id}", tags=["supervisors"])
    refused: dict[str, Any] = {"responses": problems(409)}

    async def set_(
        request: Request, pool_id: str, body: c.Configuration, client_id: str = c.CENTRE
    ) -> Any:
        trace = telemetry.context_of(
            [
                (name, request.headers[name].encode())
                for name in ("traceparent",)
                if name in request.headers
            ]
        )
        return await supervision.configure(pool_id, body, client_id=client_id, context=trace)

    # What is configured.

    @api.put("", response_model=b.PoolView, **refused)
    async def configure(request: Request, pool_id: str, body: b.PoolBody) -> Any:
        return b.pool_view(await set_(request, pool_id, body.command()))

    @api.get("", response_model=b.PoolView)
    async def settings(pool_id: str) -> Any:
        return b.pool_view(await supervision.pool(pool_id))

    @api.get("/queues", response_model=Listing[b.QueueView])
    async def queues(pool_id: str, page: PageOf) -> Any:
        pool, after = await supervision.pool(pool_id), page.after(str)
        found = [
            state for key, state in sorted(pool.queues.items()) if after is None or key > after[0]
        ]
        shown = [b.queue_view(state) for state in found[: page.rows]]
        return page.of(shown, key=lambda each: (f"{each.client_id}/{each.queue_id}",))

    queue_path = "/queues/{client_id}/{queue_id}"

    @api.put(queue_path, response_model=b.QueueView, **refused)
    async def configure_queue(
        request: Request, pool_id: str, client_id: str, queue_id: str, body: b.QueueBody
    ) -> Any:
        pool = await set_(
            request, pool_id, body.command(queue_id, supervision.clock.now_us()), client_id
        )
        return b.queue_view(pool.queues[f"{client_id}/{queue_id}"])

    @api.get(queue_path, response_model=b.QueueView)
    async def queue(pool_id: str, client_id: str, queue_id: str) -> Any:
        return b.queue_view(await supervision.queue(pool_id, client_id, queue_id))

    @api.delete(queue_path, response_model=b.Removed, **refused)
    async def remove_queue(
        request: Request,
        pool_id: str,
        client_id: str,
        queue_id: str,
        expected_version: Annotated[int, Query(ge=0, le=2**62)] = 0,
    ) -> Any:
        await supervision.queue(pool_id, client_id, queue_id)
        body = c.RemoveQueue(queue_id, expected_version)
        pool = await set_(request, pool_id, body, client_id)
        return b.Removed(version=pool.queues[f"{client_id}/{queue_id}"].config_version)

    @api.put("/clients/{client_id}", response_model=b.ClientView, **refused)
    async def configure_client(
        request: Request, pool_id: str, client_id: str, body: b.ClientBody
    ) -> Any:
        pool = await set_(request, pool_id, body.command(), client_id)
        version = pool.client_versions[client_id]
        return b.client_view(client_id, pool.clients[client_id], version)

    @api.get("/clients/{client_id}", response_model=b.ClientView)
    async def client(pool_id: str, client_id: str) -> Any:
        """Of a client that nobody has set anything for: the defaults, version 0."""
        pool = await supervision.pool(pool_id)
        rules = pool.clients.get(client_id, ClientRules())
        return b.client_view(client_id, rules, pool.client_versions.get(client_id, 0))

    # How things are.

    @api.get("/live", response_model=b.PoolLive)
    async def live(pool_id: str) -> Any:
        pool = await supervision.pool(pool_id)
        at = supervision.now(pool)
        return b.pool_live(pool, queues_now(pool, at), agents_now(pool, at), at)

    @api.get("/calls", response_model=Listing[b.CallLive])
    async def calls(
        pool_id: str,
        page: PageOf,
        state: b.CallStateName | None = None,
        queue: Annotated[str, Query(max_length=200, examples=["acme/cards"])] = "",
        client: Annotated[str, Query(max_length=200)] = "",
        agent: Annotated[str, Query(max_length=200)] = "",
    ) -> Any:
        """queue: CLIENT/QUEUE. agent: who is offered them, or has them."""
        if queue and "/" not in queue:
            raise InvalidMessage("queue", "must be CLIENT/QUEUE")
        pool, after = await supervision.pool(pool_id), page.after(str)
        wanted = CallState[state.upper()] if state else None
        found = calls_where(pool, wanted, queue, client, agent)
        if after is not None:
            found = [call for call in found if call.stream_id > after[0]]
        places, at = Places(pool), supervision.now(pool)
        shown = [b.call_live(call, places, at) for call in found[: page.rows]]
        return page.of(shown, key=lambda each: (f"{each.client_id}/{each.call_id}",))

    @api.get("/calls/{client_id}/{call_id}", response_model=b.CallDetail)
    async def call(pool_id: str, client_id: str, call_id: str) -> Any:
        """Of a call that is not over. What became of others: call-events."""
        pool = await supervision.pool(pool_id)
        found = pool.calls.get(f"{client_id}/{call_id}")
        if found is None or found.main:
            raise NotFound("call that is not over")
        return b.call_detail(pool, found, Places(pool), supervision.now(pool))

    @api.get("/agents", response_model=Listing[b.AgentLive])
    async def agents(
        pool_id: str,
        page: PageOf,
        state: b.AgentStateName | None = None,
        site: Annotated[str, Query(max_length=200)] = "",
        group: Annotated[str, Query(max_length=200)] = "",
    ) -> Any:
        pool, after = await supervision.pool(pool_id), page.after(str)
        wanted = AgentState[state.upper()] if state else None
        found = agents_where(pool, wanted, site, group)
        if after is not None:
            found = [agent for agent in found if agent.agent_id > after[0]]
        at = supervision.now(pool)
        shown = [b.agent_live(agent, at) for agent in found[: page.rows]]
        return page.of(shown, key=lambda each: (each.agent_id,))

    @api.get("/agents/{agent_id}", response_model=b.AgentLive)
    async def agent(pool_id: str, agent_id: str) -> Any:
        pool = await supervision.pool(pool_id)
        found = pool.agents.get(agent_id)
        if found is None:
            raise NotFound("agent")
        return b.agent_live(found, supervision.now(pool))

    return api
