"""What supervisors configure. It holds from the next decision on, and for all who wait."""

from services.routing import commands as c
from services.routing import events as e
from services.routing.configuration import Queue
from services.routing.policies import DEFAULT, POLICIES
from services.routing.pool import Pool, Settings
from services.routing.turn import Rejected, Turn


def configure_pool(turn: Turn, body: c.ConfigurePool) -> None:
    """Settings have a time of their own: a simulated pool lives in another year than its operator,
    and of two settings the later one holds, in whatever order they come."""
    pool = turn.pool
    turn.now = pool.now
    had, at = pool.settings, turn.command.occurred_at
    if at < had.configured_at:
        return
    policy = body.policy or DEFAULT
    if policy not in POLICIES:
        raise Rejected(f"no policy {policy!r}: one of {', '.join(POLICIES)}", "policy")
    settings = Settings(
        offer_seconds=body.offer_seconds or 20,
        wrap_up_seconds=body.wrap_up_seconds or 30,
        clock_speed=body.clock_speed or 1.0,
        policy=policy,
        missed_offers=body.missed_offers or 1,
        lost_seconds=body.lost_seconds or 60,
        restricted_groups=body.restricted_groups,
        help_groups=body.help_groups or ("supervisors",),
        configured_at=had.configured_at,
        config_version=had.config_version,
    )
    if settings == had and had.config_version:
        had.configured_at = at
        return
    _check_version(body.expected_version, had.config_version)
    settings.configured_at = at
    settings.config_version += 1
    pool.settings = settings
    turn.emit_pool(
        c.CENTRE,
        e.PoolConfigured(
            settings.config_version,
            settings.offer_seconds,
            settings.wrap_up_seconds,
            settings.clock_speed,
            settings.policy,
            settings.missed_offers,
            settings.lost_seconds,
            settings.restricted_groups,
            settings.help_groups,
        ),
    )
    _index(turn)


def configure_queue(turn: Turn, body: c.ConfigureQueue) -> None:
    client_id = turn.command.client_id
    turn.now = turn.pool.now
    key = f"{client_id}/{body.queue.queue_id}"
    known = turn.pool.queues.get(key)
    version = known.config_version if known else 0
    if known is not None and version and known.config == body.queue:
        return
    _check_version(body.expected_version, version)
    state = turn.pool.queue(key)
    state.config = body.queue
    state.config_version = version + 1
    turn.emit_pool(client_id, e.QueueConfigured(state.config_version, body.queue))
    _index(turn)


def remove_queue(turn: Turn, body: c.RemoveQueue) -> None:
    client_id = turn.command.client_id
    turn.now = turn.pool.now
    state = turn.pool.queues.get(f"{client_id}/{body.queue_id}")
    if state is None or state.config == Queue(body.queue_id):
        return
    _check_version(body.expected_version, state.config_version)
    state.config = Queue(body.queue_id)
    state.config_version += 1
    turn.emit_pool(client_id, e.QueueRemoved(state.config_version, body.queue_id))
    _index(turn)


def configure_client(turn: Turn, body: c.ConfigureClient) -> None:
    client_id, pool = turn.command.client_id, turn.pool
    turn.now = pool.now
    version = pool.client_versions.get(client_id, 0)
    if version and pool.clients[client_id] == body.rules:
        return
    _check_version(body.expected_version, version)
    pool.clients[client_id] = body.rules
    pool.client_versions[client_id] = version + 1
    turn.emit_pool(client_id, e.ClientConfigured(version + 1, body.rules))
    _index(turn)


def _check_version(expected: int, found: int) -> None:
    if expected and expected != found:
        raise Rejected(f"version {found} is there, not {expected}", "expected_version")


def _index(turn: Turn) -> None:
    """What was impossible may have become possible, for anybody."""
    pool: Pool = turn.pool
    pool.index()
    turn.settle = True
