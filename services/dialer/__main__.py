"""`python -m services.dialer api|relay|worker|carrier`: reads the environment, wires, runs to
SIGTERM. carrier is the simulator of one; where there is a real one, nothing of it runs."""

import sys
from functools import partial

from eventkit import telemetry
from eventkit.process import ended, health, on_signal, opened, run_relay, run_together, serve_edges
from eventkit.settings import load
from eventkit.timers import TimerWorker
from services.dialer.clients import clients as registered_clients
from services.dialer.service import TIMED, Dialer
from services.dialer.settings import ApiSettings, CarrierSettings, RelaySettings, WorkerSettings

API, RELAY, WORKER, CARRIER = "dialer-api", "dialer-relay", "dialer-worker", "dialer-carrier"
MIGRATIONS = "services.dialer:migrations"
DAY_S = 86_400.0


async def run_api(settings: ApiSettings) -> None:
    """Answer HTTP and gRPC."""
    from services.dialer.api import MAX_BODY, make_api

    async with (
        opened(settings.postgres, MIGRATIONS, settings.dialer_connections, settings) as on,
        registered_clients(settings.kafka) as clients,
    ):
        dialer = Dialer.over(on.store)
        await serve_edges(
            on,
            settings.callers(),
            clients.known,
            partial(make_api, dialer),
            {},
            host=settings.dialer_host,
            http_port=settings.dialer_http_port,
            grpc_port=settings.dialer_grpc_port,
            max_body=MAX_BODY,
        )


async def run_worker(settings: WorkerSettings) -> None:
    """Fire timers."""
    async with opened(settings.postgres, MIGRATIONS, settings.dialer_connections, settings) as on:
        timers = TimerWorker(on.store, TIMED, keep_s=settings.dialer_commands_days * DAY_S)
        on_signal(timers.stop)
        async with health(settings, [timers]):
            await run_together([timers.run()], timers.stop)


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
