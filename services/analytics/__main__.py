"""`python -m services.analytics loader|kpi`: reads the environment, wires, runs until SIGTERM."""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Mapping

from eventkit import faustkit, telemetry
from eventkit.consumer import BatchConsumer
from eventkit.deadletter import DeadLetters
from eventkit.errors import DeadLetterLimit
from eventkit.health import HealthServer, Watched
from eventkit.logfold import LogFold
from eventkit.producer import Producer
from eventkit.settings import Settings, load
from eventkit.topictable import TopicTable
from services.analytics.loader import Loader
from services.analytics.rows import CLIENT_EVENTS, TABLES, registered_client
from services.analytics.settings import KpiSettings, LoaderSettings
from services.analytics.store import Store, Unavailable
from services.analytics.stream import CALL_EVENTS, SNAPSHOTS, LiveKpis, LiveTable

log = logging.getLogger("services.analytics")

LOADER = "analytics-loader"
KPI = "analytics-kpi"


def main(arguments: list[str]) -> int:
    """Run the role that is named; returns the exit code."""
    match arguments:
        case ["loader"]:
            settings = load(LoaderSettings)
            telemetry.setup(LOADER, settings)
            return _ended(asyncio.run(run_loader(settings)))
        case ["kpi"]:
            kpi_settings = load(KpiSettings)
            telemetry.setup(KPI, kpi_settings)
            return _ended(run_kpi(kpi_settings))
        case _:
            print("usage: python -m services.analytics loader|kpi", file=sys.stderr)
            return 2


def _ended(code: int) -> int:
    telemetry.shutdown()
    return code


class Health:
    """A consumer and its ClickHouse, as one: not ready while ClickHouse is waited for."""

    def __init__(self, consumer: Watched, store: Store) -> None:
        self._consumer = consumer
        self._store = store

    def ready(self) -> bool:
        return self._consumer.ready() and self._store.answers()

    def positions(self) -> Mapping[str, tuple[int, int]]:
        return self._consumer.positions()


def health_server(settings: Settings, consumer: Watched, store: Store) -> HealthServer | None:
    if settings.health_port is None:
        return None
    return HealthServer(
        Health(consumer, store),
        settings.health_host,
        settings.health_port,
        settings.health_stuck_s,
    )


def tune_collector() -> None:
    """Messages are decoded by the thousand: Python's collector of cycles would look at each again
    and again, and there are none among them."""
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


async def run_loader(settings: LoaderSettings) -> int:
    """Load until SIGTERM. Returns 0; 1 if ClickHouse was down; 3 after too many dead letters."""
    store = Store(settings.clickhouse)
    tune_collector()
    try:
        async with (
            Producer(settings.kafka, client_id=LOADER, linger_ms=5) as producer,
            TopicTable(settings.kafka, CLIENT_EVENTS.topic, registered_client) as clients,
        ):
            consumer = BatchConsumer(
                settings.kafka,
                LOADER,
                TABLES,
                Loader(store, clients),
                DeadLetters(producer, LOADER, limit=settings.dead_letter_limit),
                max_records=settings.loader_batch_records,
                max_bytes=settings.loader_batch_bytes,
                linger_s=settings.loader_linger_s,
                group_instance=settings.group_instance,
            )

            def stop() -> None:
                consumer.stop()
                store.stop()

            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, stop)
            health = health_server(settings, consumer, store)
            if health is not None:
                await health.start()
            await store.migrate()
            await consumer.run()
            if health is not None:
                await health.stop()
    except Unavailable as reason:
        log.error("stopped while ClickHouse was down; what was read is not committed: %s", reason)
        return 1
    except DeadLetterLimit as reason:
        log.critical("%s", reason)
        return 3
    finally:
        store.close()
    return 0


def run_kpi(settings: KpiSettings) -> int:
    """Keep the live figures until SIGTERM; returns the worker's exit code."""
    store = Store(settings.clickhouse)
    producer = Producer(settings.kafka, client_id=KPI, linger_ms=5)
    table = LiveTable(store, settings.live_target_s, settings.live_flush_s)
    app = faustkit.make_app(KPI, settings.kafka, group_instance=settings.group_instance)
    fold = LogFold(
        LiveKpis(settings.live_target_s),
        bootstrap=settings.kafka,
        topic=CALL_EVENTS,
        snapshot_topic=SNAPSHOTS,
        producer=producer,
        publish=table.write,
        dead_letters=DeadLetters(producer, KPI, limit=settings.dead_letter_limit),
    )
    faustkit.fold_agent(app, fold, max_records=settings.live_batch_records)
    health = health_server(settings, app, store)
    start: list[faustkit.Step] = [producer.start, store.migrate]
    stop: list[faustkit.Step] = [producer.stop]
    if health is not None:
        start.insert(0, health.start)
        stop.append(health.stop)
    try:
        return faustkit.run_worker(app, start=start, stop=stop)
    finally:
        store.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
