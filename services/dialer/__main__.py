"""`python -m services.dialer api|relay|worker|carrier`: reads the environment, wires, runs to
SIGTERM. carrier is the simulator of one; where there is a real one, nothing of it runs."""

import gc
import sys
from functools import partial

import grpc

from eventkit import telemetry
from eventkit.deadletter import DeadLetters
from eventkit.process import ended, health, on_signal, opened, run_relay, run_together, serve_edges
from eventkit.producer import Producer
from eventkit.settings import load
from eventkit.timers import TimerWorker
from services.dialer.clients import clients as registered_clients
from services.dialer.dispositions.stream import make_consumer
from services.dialer.feeding import Feeding
from services.dialer.leads.winback import CrmCustomers
from services.dialer.service import TIMED, Dialer
from services.dialer.settings import ApiSettings, CarrierSettings, RelaySettings, WorkerSettings

API, RELAY, WORKER, CARRIER = "dialer-api", "dialer-relay", "dialer-worker", "dialer-carrier"
MIGRATIONS = "services.dialer:migrations"
DAY_S = 86_400.0
PREVIEW_S = 20.0
"""So long crm may take for a preview's numbers."""


async def run_api(settings: ApiSettings) -> None:
    """Answer HTTP and gRPC."""
    from services.dialer.api import MAX_BODY, make_api
    from services.dialer.compliance.book import load_rulebook
    from services.dialer.dialling.crm import Crm
    from services.dialer.oversight.service import Oversight
    from services.dialer.rpc import services

    async with (
        opened(settings.postgres, MIGRATIONS, settings.dialer_connections, settings) as on,
        registered_clients(settings.kafka) as clients,
        CrmCustomers(settings.crm_http, settings.callers(), on.store.clock) as customers,
        grpc.aio.insecure_channel(settings.crm_grpc) as channel,
    ):
        dialer = Dialer.over(on.store)
        crm = Crm(channel, settings.callers(), on.store.clock, PREVIEW_S)
        oversight = Oversight(on.store, dialer.campaigns, clients.get, load_rulebook(), crm)
        await serve_edges(
            on,
            settings.callers(),
            clients.known,
            partial(make_api, dialer, oversight, customers),
            services(dialer),
            host=settings.dialer_host,
            http_port=settings.dialer_http_port,
            grpc_port=settings.dialer_grpc_port,
            max_body=MAX_BODY,
        )


async def run_worker(settings: WorkerSettings) -> None:
    """Dial, or stand by for the one that does; fire timers, hear what crm says of calls,
    ask it for win-back campaigns' leads."""
    from services.dialer.dialling.process import dialling

    async with (
        opened(settings.postgres, MIGRATIONS, settings.dialer_connections, settings) as on,
        Producer(settings.kafka, client_id=WORKER) as producer,
        registered_clients(settings.kafka) as clients,
        dialling(settings, on, clients.get) as worker,
        CrmCustomers(settings.crm_http, settings.callers(), on.store.clock) as customers,
    ):
        dialer = Dialer.over(on.store)
        consumer = make_consumer(
            settings.kafka,
            dialer.dispositions,
            clients.known,
            DeadLetters(producer, WORKER, limit=settings.dead_letter_limit),
            group_instance=settings.group_instance,
        )
        timers = TimerWorker(on.store, TIMED, keep_s=settings.dialer_commands_days * DAY_S)
        feeding = Feeding(dialer, customers)

        def stop() -> None:
            feeding.stop()
            worker.stop()
            consumer.stop()
            timers.stop()

        on_signal(stop)
        async with health(settings, [worker, consumer, timers]):
            running = [worker.run(), consumer.run(), timers.run(), feeding.run()]
            await run_together(running, stop)


def main(arguments: list[str]) -> int:
    """Run the process that is named; returns the exit code."""
    match arguments:
        case ["api"]:
            api = load(ApiSettings)
            telemetry.setup(API, api)
            # A part of a list is tens of thousands of objects without cycles; a third of the time
            # that a line costs would be spent on looking for them.
            gc.freeze()
            gc.set_threshold(50_000, 20, 50)
            return ended(run_api(api))
        case ["relay"]:
            relay = load(RelaySettings)
            telemetry.setup(RELAY, relay)
            connections = relay.dialer_connections
            return ended(run_relay(RELAY, relay.postgres, MIGRATIONS, connections, relay))
        case ["worker"]:
            worker = load(WorkerSettings)
            telemetry.setup(WORKER, worker)
            return ended(run_worker(worker))
        case ["carrier"]:
            from services.dialer.carrier.process import run_carrier

            carrier = load(CarrierSettings)
            telemetry.setup(CARRIER, carrier)
            return run_carrier(carrier)
        case _:
            print("usage: python -m services.dialer api|relay|worker|carrier", file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
