"""`python -m services.crm api|relay|worker`: reads the environment, wires, runs until SIGTERM."""

import asyncio
import logging
import sys
from contextlib import AsyncExitStack

from sqlalchemy import text

from eventkit import telemetry
from eventkit.deadletter import DeadLetters
from eventkit.process import (
    database,
    ended,
    event_store,
    health,
    key_ring,
    new_id,
    on_signal,
    run_together,
)
from eventkit.producer import Producer
from eventkit.relay import Relay
from eventkit.settings import load
from eventkit.timers import TimerWorker
from services.crm.clients import clients as registered_clients
from services.crm.interactions.stream import make_consumer
from services.crm.service import TIMED, Crm
from services.crm.settings import ApiSettings, RelaySettings, WorkerSettings

log = logging.getLogger("services.crm")

API, RELAY, WORKER = "crm-api", "crm-relay", "crm-worker"
MIGRATIONS = "services.crm:migrations"
DAY_S = 86_400.0


async def run_api(settings: ApiSettings) -> None:
    """Answer HTTP and gRPC."""
    # Here, so that the other processes load no web server.
    from eventkit.http import GRACE_S, serve
    from eventkit.rpc import start_server
    from services.crm.api import MAX_BODY, make_api
    from services.crm.rpc import services

    async with AsyncExitStack() as open_:
        engine = await open_.enter_async_context(
            database(settings.postgres, MIGRATIONS, settings.crm_connections)
        )
        keys = await open_.enter_async_context(key_ring(settings))
        store = await open_.enter_async_context(event_store(engine, keys))
        clients = await open_.enter_async_context(registered_clients(settings.kafka))
        crm = Crm.over(store, clients.get, store.clock, new_id)
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
        database(settings.postgres, MIGRATIONS, settings.crm_connections) as engine,
        Producer(settings.kafka, client_id=RELAY, linger_ms=2) as producer,
    ):
        relay = Relay(engine, producer)
        on_signal(relay.stop)
        async with health(settings, [relay]):
            await relay.run()


async def run_worker(settings: WorkerSettings) -> None:
    """Put calls onto timelines, fire timers, bring erasures to their end."""
    async with AsyncExitStack() as open_:
        engine = await open_.enter_async_context(
            database(settings.postgres, MIGRATIONS, settings.crm_connections)
        )
        keys = await open_.enter_async_context(key_ring(settings))
        store = await open_.enter_async_context(event_store(engine, keys))
        producer = await open_.enter_async_context(Producer(settings.kafka, client_id=WORKER))
        clients = await open_.enter_async_context(registered_clients(settings.kafka))
        crm = Crm.over(store, clients.get, store.clock, new_id)
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

        on_signal(stop)
        async with health(settings, [consumer, timers]):
            await run_together([consumer.run(), timers.run(), finishing], stop)


def main(arguments: list[str]) -> int:
    """Run the process that is named; returns the exit code."""
    match arguments:
        case ["api"]:
            api = load(ApiSettings)
            telemetry.setup(API, api)
            return ended(run_api(api))
        case ["relay"]:
            relay = load(RelaySettings)
            telemetry.setup(RELAY, relay)
            return ended(run_relay(relay))
        case ["worker"]:
            worker = load(WorkerSettings)
            telemetry.setup(WORKER, worker)
            return ended(run_worker(worker))
        case _:
            print("usage: python -m services.crm api|relay|worker", file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
