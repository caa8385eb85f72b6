"""`python -m services.dialer carrier`: the wiring of the simulated carrier."""

import asyncio
import logging
from pathlib import Path

import uvloop

from eventkit.clock import SystemClock
from eventkit.errors import InvalidMessage
from eventkit.process import health, on_signal
from services.dialer.carrier.exchange import Exchange
from services.dialer.carrier.loading import load_scenario
from services.dialer.carrier.rpc import start_rpc
from services.dialer.settings import CarrierSettings

log = logging.getLogger(__name__)

GRACE_S = 1.0


def run_carrier(settings: CarrierSettings) -> int:
    """Serve until SIGTERM or SIGINT: 0. 2: the scenario, the journal or a port is not to be had.

    1: the journal cannot be written any more.
    """
    file = Path(settings.carrier_scenario) if settings.carrier_scenario else None
    try:
        scenario = load_scenario(file, settings.carrier_speed)
        exchange = Exchange(
            Path(settings.carrier_journal), scenario, settings.carrier_seed, SystemClock()
        )
        return uvloop.run(_serve(exchange, settings))
    except InvalidMessage as error:
        log.error("RELAIS_CARRIER_SCENARIO: %s", error)
    except BlockingIOError:
        log.error("RELAIS_CARRIER_JOURNAL: another process has it")
    except (OSError, RuntimeError) as error:
        log.error("the carrier cannot start: %s", error)
    return 2


async def _serve(exchange: Exchange, settings: CarrierSettings) -> int:
    stop = asyncio.Event()
    on_signal(stop.set)
    async with exchange:
        address = f"{settings.carrier_host}:{settings.carrier_grpc_port}"
        server, port = await start_rpc(exchange, address)
        log.info("gRPC on %s:%d", settings.carrier_host, port)
        exchange.failed.add_done_callback(lambda _: stop.set())
        try:
            async with health(settings, [exchange]):
                await stop.wait()
        finally:
            await server.stop(GRACE_S)
        if exchange.failed.done():
            log.error("the journal cannot be written: %s", exchange.failed.exception())
            return 1
    return 0
