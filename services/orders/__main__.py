"""`python -m services.orders api|relay|worker`: reads the environment, wires, runs to SIGTERM."""

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
from services.orders.clients import clients as registered_clients
from services.orders.order.stream import make_consumer
from services.orders.service import TIMED, Ordering
from services.orders.settings import ApiSettings, RelaySettings, WorkerSettings

API, RELAY, WORKER = "orders-api", "orders-relay", "orders-worker"
MIGRATIONS = "services.orders:migrations"
DAY_S = 86_400.0


async def run_api(settings: ApiSettings) -> None:
    """Answer HTTP and gRPC."""
    from services.orders.api import MAX_BODY, make_api
    from services.orders.rpc import services

    async with (
        opened(settings.postgres, MIGRATIONS, settings.orders_connections, settings) as on,
        registered_clients(settings.kafka) as clients,
    ):
        ordering = Ordering.over(on.store, clients.get, on.store.clock, new_id)
        await serve_edges(
            on,
            settings.callers(),
            clients.known,
            partial(make_api, ordering),
            services(ordering),
            host=settings.orders_host,
            http_port=settings.orders_http_port,
            grpc_port=settings.orders_grpc_port,
            max_body=MAX_BODY,
        )


async def run_worker(settings: WorkerSettings) -> None:
    """Fire timers (drafts that expire, visits that are overdue), hear of erased customers."""
    async with (
        opened(settings.postgres, MIGRATIONS, settings.orders_connections, settings) as on,
        Producer(settings.kafka, client_id=WORKER) as producer,
        registered_clients(settings.kafka) as clients,
    ):
        consumer = make_consumer(
            settings.kafka,
            on.store,
            clients.known,
            DeadLetters(producer, WORKER, limit=settings.dead_letter_limit),
            group_instance=settings.group_instance,
        )
        timers = TimerWorker(on.store, TIMED, keep_s=settings.orders_commands_days * DAY_S)

        def stop() -> None:
            consumer.stop()
            timers.stop()

        on_signal(stop)
        async with health(settings, [consumer, timers]):
            await run_together([consumer.run(), timers.run()], stop)


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
            connections = relay.orders_connections
            return ended(run_relay(RELAY, relay.postgres, MIGRATIONS, connections, relay))
        case ["worker"]:
            worker = load(WorkerSettings)
            telemetry.setup(WORKER, worker)
            return ended(run_worker(worker))
        case _:
            print("usage: python -m services.orders api|relay|worker", file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
