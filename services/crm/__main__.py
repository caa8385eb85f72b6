"""`python -m services.crm api|relay|worker`: reads the environment, wires, runs until SIGTERM."""

import asyncio
import sys
from functools import partial

from eventkit import telemetry
from eventkit.deadletter import DeadLetters
from eventkit.process import (
    ended,
    health,
    new_id,
    on_signal,
    opened,
    run_relay,
    run_together,
    serve_edges,
)
from eventkit.producer import Producer
from eventkit.settings import load
from eventkit.timers import TimerWorker
from services.crm.clients import clients as registered_clients
from services.crm.interactions.stream import CALLS, ORDERS, make_consumer
from services.crm.service import TIMED, Crm
from services.crm.settings import ApiSettings, RelaySettings, WorkerSettings

API, RELAY, WORKER = "crm-api", "crm-relay", "crm-worker"
MIGRATIONS = "services.crm:migrations"
DAY_S = 86_400.0


async def run_api(settings: ApiSettings) -> None:
    """Answer HTTP and gRPC."""
    from services.crm.api import MAX_BODY, make_api
    from services.crm.rpc import services

    async with (
        opened(settings.postgres, MIGRATIONS, settings.crm_connections, settings) as on,
        registered_clients(settings.kafka) as clients,
    ):
        crm = Crm.over(on.store, clients.get, on.store.clock, new_id)
        await serve_edges(
            on,
            settings.callers(),
            clients.known,
            partial(make_api, crm),
            services(crm),
            host=settings.crm_host,
            http_port=settings.crm_http_port,
            grpc_port=settings.crm_grpc_port,
            max_body=MAX_BODY,
        )


async def run_worker(settings: WorkerSettings) -> None:
    """Put calls and orders onto timelines, fire timers, bring erasures to their end."""
    async with (
        opened(settings.postgres, MIGRATIONS, settings.crm_connections, settings) as on,
        Producer(settings.kafka, client_id=WORKER) as producer,
        registered_clients(settings.kafka) as clients,
    ):
        crm = Crm.over(on.store, clients.get, on.store.clock, new_id)
        consumers = [
            make_consumer(
                settings.kafka,
                on.engine,
                clients.known,
                DeadLetters(producer, WORKER, limit=settings.dead_letter_limit),
                source=source,
                group_instance=settings.group_instance,
            )
            for source in (CALLS, ORDERS)
        ]
        timers = TimerWorker(on.store, TIMED, keep_s=settings.crm_commands_days * DAY_S)
        finishing = asyncio.create_task(crm.privacy.finish_for_ever())

        def stop() -> None:
            for consumer in consumers:
                consumer.stop()
            timers.stop()
            finishing.cancel()

        on_signal(stop)
        async with health(settings, [*consumers, timers]):
            running = [consumer.run() for consumer in consumers]
            await run_together([*running, timers.run(), finishing], stop)


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
            connections = relay.crm_connections
            return ended(run_relay(RELAY, relay.postgres, MIGRATIONS, connections, relay))
        case ["worker"]:
            worker = load(WorkerSettings)
            telemetry.setup(WORKER, worker)
            return ended(run_worker(worker))
        case _:
            print("usage: python -m services.crm api|relay|worker", file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
