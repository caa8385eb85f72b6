"""`python -m services.dialer carrier`: the wiring of the simulated carrier."""

import asyncio
import logging
import signal
from collections.abc import Mapping
from pathlib import Path

from eventkit.clock import SystemClock
from eventkit.errors import InvalidMessage
from eventkit.process import health
from services.dialer.carrier.exchange import Exchange
from services.dialer.carrier.loading import load_scenario
from services.dialer.carrier.rpc import start_rpc
from services.dialer.settings import CarrierSettings

log = logging.getLogger(__name__)

GRACE_S = 1.0


class _Serving:
    """What /health/ready is told: it is asked when the gRPC edge answers already."""

    def ready(self) -> bool:
        return True

    def positions(self) -> Mapping[str, tuple[int, int]]:
        return {}


def run_carrier(settings: CarrierSettings) -> int:
    """Serve until SIGTERM or SIGINT: 0. 2: the scenario, the journal or the port is not to be had.

    1: the journal cannot be written any more.
    """
    file = Path(settings.carrier_scenario) if settings.carrier_scenario else None
    try:
        scenario = load_scenario(file, settings.carrier_speed)
        exchange = Exchange(
            Path(settings.carrier_journal), scenario, settings.carrier_seed, SystemClock()
        )
        return asyncio.run(_serve(exchange, settings))
    except InvalidMessage as error:
        log.error("RELAIS_CARRIER_SCENARIO: %s", error)
    except BlockingIOError:
        log.error("RELAIS_CARRIER_JOURNAL: another process has it")
    except (OSError, RuntimeError) as error:
        log.error("the carrier cannot start: %s", error)
    return 2


async def _serve(exchange: Exchange, settings: CarrierSettings) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with exchange:
        address = f"{settings.carrier_host}:{settings.carrier_grpc_port}"
        server, port = await start_rpc(exchange, address)
        log.info("gRPC on %s:%d", settings.carrier_host, port)
        try:
            exchange.failed.add_done_callback(lambda _: stop.set())
            async with health(settings, [_Serving()]):
                await stop.wait()
        finally:
            await server.stop(GRACE_S)
        if exchange.failed.done():
            log.error("the journal cannot be written: %s", exchange.failed.exception())
            return 1
    return 0
