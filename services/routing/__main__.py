"""`python -m services.routing api|worker`: the only wiring."""

import asyncio
import logging
import sys

from eventkit import telemetry
from eventkit.clock import SystemClock
from eventkit.deadletter import DeadLetters
from eventkit.faustkit import run_worker
from eventkit.health import HealthServer
from eventkit.producer import Producer
from eventkit.settings import load
from services.routing.settings import ApiSettings, WorkerSettings

log = logging.getLogger("services.routing")


def api() -> int:
    settings = load(ApiSettings)
    telemetry.setup("routing-api", settings)
    try:
        asyncio.run(_serve(settings))
    finally:
        telemetry.shutdown()
    return 0


async def _serve(settings: ApiSettings) -> None:
    # Here, so that a worker does not load two web servers.
    from eventkit.http import GRACE_S, serve
    from services.routing.api import make_api
    from services.routing.following import rpc as following
    from services.routing.following.desktops import Desktops
    from services.routing.rpc import start_rpc
    from services.routing.service import Reports, clients_table
    from services.routing.supervisors import rpc as supervisors
    from services.routing.supervisors.service import Supervision
    from services.routing.view import pools_view

    clock = SystemClock()
    # linger_ms: reports that arrive together share a request, at the price of a millisecond.
    producer = Producer(settings.kafka, linger_ms=1, client_id="routing-api")
    view = pools_view(settings.kafka, settings.routing_ack_s)
    async with producer, clients_table(settings.kafka) as clients, view as pools:
        reports = Reports(producer, clients, clock, settings.routing_ack_s)
        supervision = Supervision(reports, pools, clock)
        desktops = Desktops(settings.kafka, reports, pools)
        host = settings.routing_host
        rpc, grpc_port = await start_rpc(
            reports,
            f"{host}:{settings.routing_grpc_port}",
            {
                following.SERVICE: following.methods(settings.kafka, desktops),
                supervisors.SERVICE: supervisors.methods(supervision),
            },
        )
        log.info("gRPC on %s:%d", host, grpc_port)
        try:
            await serve(make_api(reports, supervision), host, settings.routing_http_port)
        finally:
            await desktops.close()
            await rpc.stop(GRACE_S)


def worker() -> int:
    from services.routing.stream import make_worker

    settings = load(WorkerSettings)
    telemetry.setup("routing-worker", settings)
    clock = SystemClock()
    producer = Producer(settings.kafka, linger_ms=0, client_id="routing-worker")
    dead_letters = DeadLetters(producer, "routing-worker", limit=settings.dead_letter_limit)
    app = make_worker(
        settings.kafka,
        producer,
        clock,
        dead_letters,
        snapshot_every=settings.routing_snapshot_every,
        snapshot_s=settings.routing_snapshot_s,
        session_s=settings.routing_session_s,
        group_instance=settings.group_instance,
    )
    start, stop = [producer.start], [producer.stop]
    if settings.health_port is not None:
        health = HealthServer(
            app, settings.health_host, settings.health_port, settings.health_stuck_s
        )
        start.append(health.start)
        stop.insert(0, health.stop)
    try:
        return run_worker(app, start=start, stop=stop)
    finally:
        telemetry.shutdown()


PROCESSES = {"api": api, "worker": worker}


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1] not in PROCESSES:
        print(f"usage: python -m services.routing {'|'.join(PROCESSES)}", file=sys.stderr)
        return 2
    return PROCESSES[sys.argv[1]]()


if __name__ == "__main__":
    sys.exit(main())
