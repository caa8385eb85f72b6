"""gRPC: what is configured, for supervisors' systems. See
proto/relais/routing/v1/pool_service.proto."""

from typing import Any

from relais.pools.v1 import events_pb2 as pools
from relais.routing.v1 import pool_service_pb2 as pb

from eventkit.rpc import Context, Method, trace_of, unary
from eventkit.wire import timestamp
from services.routing import commands as c
from services.routing import events as e
from services.routing.configuration import ClientRules, sorted_groups
from services.routing.mapping import Mapped, Values, to_timestamp
from services.routing.pool import Agent, Pool
from services.routing.supervisors.live import agents_there, waiting_by_priority
from services.routing.supervisors.service import Supervision

SERVICE = pb.DESCRIPTOR.services_by_name["PoolService"].full_name

_POOL = Mapped(e.PoolConfigured, pools.PoolConfigured.DESCRIPTOR)
_QUEUE = Mapped(e.QueueConfigured, pools.QueueConfigured.DESCRIPTOR)
_CLIENT = Mapped(e.ClientConfigured, pools.ClientConfigured.DESCRIPTOR)


def methods(supervision: Supervision) -> dict[str, Method]:
    """PoolService, by the names of its methods."""
    edge = _Edge(supervision)
    return {
        "GetPool": unary(pb.GetPoolRequest, edge.get, "supervisor"),
        "ConfigurePoolSettings": unary(
            pb.ConfigurePoolSettingsRequest, edge.configure, "supervisor"
        ),
        "ConfigureQueue": unary(pb.ConfigureQueueRequest, edge.configure_queue, "supervisor"),
        "RemoveQueue": unary(pb.RemoveQueueRequest, edge.remove_queue, "supervisor"),
        "ConfigureClient": unary(pb.ConfigureClientRequest, edge.configure_client, "supervisor"),
        "ListAgents": unary(pb.ListAgentsRequest, edge.list_agents, "partner"),
    }


class _Edge:
    def __init__(self, supervision: Supervision) -> None:
        self._supervision = supervision

    async def get(self, request: pb.GetPoolRequest, context: Context) -> pb.GetPoolResponse:
        pool = await self._supervision.pool(request.pool_id)
        queues = [
            pb.ConfiguredQueue(client_id=state.client_id, configured=_queue(pool, key))
            for key, state in sorted(pool.queues.items())
            if state.config_version
        ]
        clients = [
            pb.ConfiguredClient(client_id=client_id, configured=_client(pool, client_id))
            for client_id in sorted(pool.clients)
        ]
        return pb.GetPoolResponse(settings=_settings(pool), queues=queues, clients=clients)

    async def configure(
        self, request: pb.ConfigurePoolSettingsRequest, context: Context
    ) -> pb.ConfigurePoolSettingsResponse:
        settings = request.settings
        body = c.ConfigurePool(
            settings.offer_seconds,
            settings.wrap_up_seconds,
            settings.clock_speed,
            settings.policy,
            settings.missed_offers,
            settings.lost_seconds,
            sorted_groups(settings.restricted_groups),
            sorted_groups(settings.help_groups),
            settings.config_version,
        )
        pool = await self._set(request, c.CENTRE, body, context)
        return pb.ConfigurePoolSettingsResponse(settings=_settings(pool))

    async def configure_queue(
        self, request: pb.ConfigureQueueRequest, context: Context
    ) -> pb.ConfigureQueueResponse:
        if not request.queue.HasField("queue"):
            raise c.Invalid("queue.queue", "missing")
        asked: e.QueueConfigured = _QUEUE.read(request.queue)
        body = c.ConfigureQueue(asked.queue, asked.config_version)
        pool = await self._set(request, request.client_id, body, context)
        key = f"{request.client_id}/{asked.queue.queue_id}"
        return pb.ConfigureQueueResponse(queue=_queue(pool, key))

    async def remove_queue(
        self, request: pb.RemoveQueueRequest, context: Context
    ) -> pb.RemoveQueueResponse:
        await self._supervision.queue(request.pool_id, request.client_id, request.queue_id)
        body = c.RemoveQueue(request.queue_id, request.expected_version)
        pool = await self._set(request, request.client_id, body, context)
        state = pool.queues[f"{request.client_id}/{request.queue_id}"]
        return pb.RemoveQueueResponse(config_version=state.config_version)

    async def configure_client(
        self, request: pb.ConfigureClientRequest, context: Context
    ) -> pb.ConfigureClientResponse:
        asked: e.ClientConfigured = _CLIENT.read(request.client)
        body = c.ConfigureClient(asked.rules or ClientRules(), asked.config_version)
        pool = await self._set(request, request.client_id, body, context)
        return pb.ConfigureClientResponse(client=_client(pool, request.client_id))

    async def list_agents(
        self, request: pb.ListAgentsRequest, context: Context
    ) -> pb.ListAgentsResponse:
        pool = await self._supervision.pool(request.pool_id)
        return pb.ListAgentsResponse(
            as_of=timestamp(self._supervision.now(pool)),
            agents=[_agent(pool, agent) for agent in agents_there(pool)],  # type: ignore[misc]
            waiting=[
                pb.WaitingNow(client_id=client, queue_id=queue, priority=priority, calls=calls)
                for (client, queue, priority), calls in waiting_by_priority(pool).items()
            ],
        )

    async def _set(
        self, request: Any, client_id: str, body: c.Configuration, context: Context
    ) -> Pool:
        return await self._supervision.configure(
            request.pool_id,
            body,
            client_id=client_id,
            actor=request.actor,
            context=trace_of(context),
        )


def _settings(pool: Pool) -> pools.PoolConfigured:
    settings = pool.settings
    configured = e.PoolConfigured(
        settings.config_version,
        settings.offer_seconds,
        settings.wrap_up_seconds,
        settings.clock_speed,
        settings.policy,
        settings.missed_offers,
        settings.lost_seconds,
        settings.restricted_groups,
        settings.help_groups,
    )
    return pools.PoolConfigured(**_POOL.write(configured))


def _agent(pool: Pool, agent: Agent) -> Values:
    """An AgentNow."""
    calls = [(stream, pool.calls[stream]) for stream in agent.calls]
    return {
        "agent_id": agent.agent_id,
        "state": agent.state,
        "since": to_timestamp(agent.since),
        "offered": agent.offered,
        "calls": [
            {
                "call": call.main or stream,
                "queue_id": call.queue_id,
                "connected_at": to_timestamp(call.connected_at),
            }
            for stream, call in calls
        ],
        "wrap_up_ends_at": to_timestamp(
            max((each.ends_at for each in agent.wrap_ups.values()), default=0)
        ),
        "leaving": agent.after_call is not None,
        "lost": agent.lost_at >= 0,
        "skills": [{"skill": skill, "level": level} for skill, level in agent.skills],
        "groups": agent.groups,
    }


def _queue(pool: Pool, key: str) -> pools.QueueConfigured:
    state = pool.queues[key]
    configured = e.QueueConfigured(state.config_version, state.config)
    return pools.QueueConfigured(**_QUEUE.write(configured))


def _client(pool: Pool, client_id: str) -> pools.ClientConfigured:
    configured = e.ClientConfigured(pool.client_versions[client_id], pool.clients[client_id])
    return pools.ClientConfigured(**_CLIENT.write(configured))
