"""`python -m services.crm api|relay|worker`: reads the environment, wires, runs until SIGTERM."""

import asyncio
import logging
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import uvloop
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from eventkit import telemetry
from eventkit.clock import SystemClock
from eventkit.deadletter import DeadLetters
from eventkit.errors import DeadLetterLimit, Unavailable
from eventkit.eventstore import EventStore
from eventkit.health import HealthServer, Watched
from eventkit.keys import KeySettings, PostgresKeyRing, migrate_keys
from eventkit.postgres import make_engine, migrate
from eventkit.producer import Producer
from eventkit.relay import Relay
from eventkit.settings import load
from eventkit.timers import TimerWorker
from services.crm.clients import Clients
from services.crm.interactions.stream import make_consumer
from services.crm.service import TIMED, Crm
from services.crm.settings import ApiSettings, CrmSettings, RelaySettings, WorkerSettings

log = logging.getLogger("services.crm")

API, RELAY, WORKER = "crm-api", "crm-relay", "crm-worker"
MIGRATIONS = "services.crm:migrations"
KEY_CONNECTIONS = 4
DAY_S = 86_400.0


@asynccontextmanager
async def _database(settings: CrmSettings) -> AsyncIterator[AsyncEngine]:
    """crm's own database, up to date."""
    await migrate(settings.postgres, MIGRATIONS)
    engine = make_engine(settings.postgres, pool_size=settings.crm_connections)
    try:
        yield engine
    finally:
        await engine.dispose()


@asynccontextmanager
async def _key_ring(settings: KeySettings) -> AsyncIterator[PostgresKeyRing]:
    engine = make_engine(settings.keys, pool_size=KEY_CONNECTIONS)
    try:
        await migrate_keys(engine)
        yield PostgresKeyRing(engine, settings.masters())
    finally:
        await engine.dispose()


@asynccontextmanager
async def _event_store(engine: AsyncEngine, keys: PostgresKeyRing) -> AsyncIterator[EventStore]:
    store = EventStore(engine, keys, SystemClock())
    try:
        yield store
    finally:
        await store.close()


def _new_id() -> str:
    return str(uuid.uuid4())


async def run_api(settings: ApiSettings) -> None:
    """Answer HTTP and gRPC."""
    # Here, so that the other processes load no web server.
    from eventkit.http import GRACE_S, serve
    from eventkit.rpc import start_server
    from services.crm.api import MAX_BODY, make_api
    from services.crm.rpc import services

    async with AsyncExitStack() as open_:
        engine = await open_.enter_async_context(_database(settings))
        keys = await open_.enter_async_context(_key_ring(settings))
        store = await open_.enter_async_context(_event_store(engine, keys))
        clients = await open_.enter_async_context(Clients(settings.kafka))
        crm = Crm.over(store, clients.zone, store.clock, _new_id)
        callers = settings.callers()

        async def check() -> None:
            await keys.check()
            async with engine.connect() as connection:
                await connection.execute(text("SELECT 1"))

        host = settings.crm_host
        rpc, port = await start_server(
            f"{host}:{settings.crm_grpc_port}",
            services(crm),
            callers,
            clients.known,
            max_message=MAX_BODY,
            index=keys.index,
        )
        log.info("gRPC on %s:%d", host, port)
        try:
            app = make_api(crm, callers, clients.known, check, keys.index)
            await serve(app, host, settings.crm_http_port)
        finally:
            await rpc.stop(GRACE_S)


async def run_relay(settings: RelaySettings) -> None:
    """Publish what the event store holds."""
    async with (
        _database(settings) as engine,
        Producer(settings.kafka, client_id=RELAY, linger_ms=2) as producer,
    ):
        relay = Relay(engine, producer)
        _on_signal(relay.stop)
        async with _health(settings, [relay]):
            await relay.run()


async def run_worker(settings: WorkerSettings) -> None:
    """Put calls onto timelines, fire timers, bring erasures to their end."""
    async with AsyncExitStack() as open_:
        engine = await open_.enter_async_context(_database(settings))
        keys = await open_.enter_async_context(_key_ring(settings))
        store = await open_.enter_async_context(_event_store(engine, keys))
        producer = await open_.enter_async_context(Producer(settings.kafka, client_id=WORKER))
        clients = await open_.enter_async_context(Clients(settings.kafka))
        crm = Crm.over(store, clients.zone, store.clock, _new_id)
        consumer = make_consumer(
            settings.kafka,
            engine,
            clients.known,
            DeadLetters(producer, WORKER, limit=settings.dead_letter_limit),
            group_instance=settings.group_instance,
        )
        timers = TimerWorker(store, TIMED, keep_s=settings.crm_commands_days * DAY_S)
        finishing = asyncio.create_task(crm.privacy.finish_for_ever())

        def stop() -> None:
            consumer.stop()
            timers.stop()
            finishing.cancel()

        _on_signal(stop)
        async with _health(settings, [consumer, timers]):
            tasks = [
                asyncio.create_task(consumer.run()),
                asyncio.create_task(timers.run()),
                finishing,
            ]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            finally:
                stop()
                await asyncio.wait(tasks)
            for task in tasks:
                if not task.cancelled():
                    task.result()


class _Health:
    """Several things that one process runs, as one."""

    def __init__(self, watched: Sequence[Watched]) -> None:
        self._watched = watched

    def ready(self) -> bool:
        return all(each.ready() for each in self._watched)

    def positions(self) -> Mapping[str, tuple[int, int]]:
        return {where: at for each in self._watched for where, at in each.positions().items()}


@asynccontextmanager
async def _health(settings: CrmSettings, watched: Sequence[Watched]) -> AsyncIterator[None]:
    if settings.health_port is None:
        yield
        return
    server = HealthServer(
        _Health(watched), settings.health_host, settings.health_port, settings.health_stuck_s
    )
    await server.start()
    try:
        yield
    finally:
        await server.stop()


def _on_signal(stop: Callable[[], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)


def main(arguments: list[str]) -> int:
    """Run the process that is named; returns the exit code."""
    match arguments:
        case ["api"]:
            api = load(ApiSettings)
            telemetry.setup(API, api)
            return _ended(run_api(api))
        case ["relay"]:
            relay = load(RelaySettings)
            telemetry.setup(RELAY, relay)
            return _ended(run_relay(relay))
        case ["worker"]:
            worker = load(WorkerSettings)
            telemetry.setup(WORKER, worker)
            return _ended(run_worker(worker))
        case _:
            print("usage: python -m services.crm api|relay|worker", file=sys.stderr)
            return 2


def _ended(running: Coroutine[None, None, None]) -> int:
    """0; 1 where an engine does not answer at the start; 3 after too many dead letters."""
    try:
        with suppress(asyncio.CancelledError):
            uvloop.run(running)
    except Unavailable as reason:
        log.error("%s", reason)
        return 1
    except DeadLetterLimit as reason:
        log.critical("%s", reason)
        return 3
    finally:
        telemetry.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
