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
    state = turn.pool.queues.get(f"{turn.command.client_id}/{body.queue.queue_id}")
    if state is not None and state.configured and state.config == body.queue:
        turn.now = turn.pool.now
        state.configured_at = max(state.configured_at, turn.command.occurred_at)
    else:
        _set_queue(turn, body.queue, body.expected_version, removed=False)


def remove_queue(turn: Turn, body: c.RemoveQueue) -> None:
    state = turn.pool.queues.get(f"{turn.command.client_id}/{body.queue_id}")
    if state is None or not state.configured:
        turn.now = turn.pool.now
    else:
        _set_queue(turn, Queue(body.queue_id), body.expected_version, removed=True)


def _set_queue(turn: Turn, config: Queue, expected_version: int, *, removed: bool) -> None:
    client_id, pool, at = turn.command.client_id, turn.pool, turn.command.occurred_at
    turn.now = pool.now
    key = f"{client_id}/{config.queue_id}"
    known = pool.queues.get(key)
    if known is not None and _is_stale(at, known.configured_at, expected_version):
        return
    _check_version(expected_version, known.config_version if known else 0)
    state = pool.queue(key)
    state.config, state.removed = config, removed
    state.config_version += 1
    state.configured_at = max(state.configured_at, at)
    event: e.PoolBody = e.QueueConfigured(state.config_version, config)
    if removed:
        event = e.QueueRemoved(state.config_version, config.queue_id)
    turn.emit_pool(client_id, event)
    _index(turn)


def configure_client(turn: Turn, body: c.ConfigureClient) -> None:
    client_id, pool, at = turn.command.client_id, turn.pool, turn.command.occurred_at
    turn.now = pool.now
    version = pool.client_versions.get(client_id, 0)
    before = pool.clients_configured_at.get(client_id, -1)
    if version and pool.clients[client_id] == body.rules:
        pool.clients_configured_at[client_id] = max(before, at)
        return
    if _is_stale(at, before, body.expected_version):
        return
    _check_version(body.expected_version, version)
    pool.clients[client_id] = body.rules
    pool.client_versions[client_id] = version + 1
    pool.clients_configured_at[client_id] = max(before, at)
    turn.emit_pool(client_id, e.ClientConfigured(version + 1, body.rules))
    _index(turn)


def _is_stale(at: int, configured_at: int, expected_version: int) -> bool:
    """Something later has been set. Who names the version that is replaced knows of it."""
    return not expected_version and at < configured_at


def _check_version(expected: int, found: int) -> None:
    if expected and expected != found:
        raise Rejected(f"version {found} is there, not {expected}", "expected_version")


def _index(turn: Turn) -> None:
    """What was impossible may have become possible, for anybody."""
    pool: Pool = turn.pool
    pool.index()
    turn.settle = True
