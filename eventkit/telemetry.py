"""Traces and metrics by OpenTelemetry: off, to the console, or to a collector by OTLP.

Off costs next to nothing: the API's instruments are no-ops until `setup` installs providers.
Batch paths have a span per batch with links to the first records, never a span per message.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from eventkit.records import Headers, Record
from eventkit.settings import Settings

tracer = trace.get_tracer("relais")
meter = metrics.get_meter("relais")

# Every metric of eventkit. Attributes: topic, and partition where it says so.
RECORDS_CONSUMED = meter.create_counter(
    "relais.records.consumed", "{record}", "Records whose effect is done and committed"
)
RECORDS_PRODUCED = meter.create_counter(
    "relais.records.produced", "{record}", "Records that the broker has acknowledged"
)
DEAD_LETTERS = meter.create_counter(
    "relais.dead_letters", "{record}", "Records sent to a dead-letter topic"
)
RECORDS_LOST = meter.create_counter(
    "relais.records.lost", "{record}", "Records deleted from the log before they were read"
)
VALUES_SKIPPED = meter.create_counter(
    "relais.table.skipped", "{record}", "Values of a topic table that could not be decoded"
)
BATCH_SECONDS = meter.create_histogram(
    "relais.batch.duration", "s", "From the batch's hand-over to its durable effect"
)
SNAPSHOTS = meter.create_counter(
    "relais.snapshot.states", "{state}", "States of a fold written to its snapshot topic"
)
RESTORE_RECORDS = meter.create_counter(
    "relais.restore.records", "{record}", "Records of the log that were folded again by a restore"
)
VIEW_RECORDS = meter.create_counter(
    "relais.view.records", "{record}", "Records of a log that were folded in to look at its states"
)
UPDATES_GIVEN = meter.create_counter(
    "relais.subscription.updates", "{record}", "Records given to subscribers, repeats included"
)
TAKEN_OVER = meter.create_counter(
    "relais.subscription.taken_over", "{stream}", "Subscriptions ended by a newer one of their name"
)
COMMANDS = meter.create_counter(
    "relais.commands", "{command}", "Runs of the event store; attribute: outcome"
)
CONFLICTS = meter.create_counter(
    "relais.commands.conflicts", "{attempt}", "Attempts that met another's and were begun anew"
)
RELAY_LAG = meter.create_gauge("relais.relay.lag", "{event}", "Events that wait for the relay")
RELAY_LAG_SECONDS = meter.create_gauge(
    "relais.relay.lag.seconds", "s", "The age of the oldest event that waits for the relay"
)
TIMERS_FIRED = meter.create_counter(
    "relais.timers.fired", "{timer}", "Timers that came due; attribute: outcome"
)
TIMER_DELAY = meter.create_histogram(
    "relais.timers.delay", "s", "From a timer's due time until its command was done"
)

MAX_LINKS = 16
_w3c = TraceContextTextMapPropagator()


def setup(service: str, settings: Settings) -> None:
    """Install logging and, unless telemetry is off, exporters. Once, in `__main__`."""
    logging.basicConfig(
        level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for chatty in ("faust", "mode"):
        logging.getLogger(chatty).setLevel(max(logging.root.level, logging.WARNING))
    if settings.telemetry == "off":
        return
    resource = Resource.create({"service.name": service})
    traces = TracerProvider(resource=resource)
    if settings.telemetry == "otlp":
        # Imported here: it brings grpc and half a second of start-up.
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    else:
        traces.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter()))
        reader = PeriodicExportingMetricReader(ConsoleMetricExporter())
    trace.set_tracer_provider(traces)
    metrics.set_meter_provider(MeterProvider([reader], resource=resource))


def shutdown() -> None:
    """Export what is still in memory; harmless when telemetry is off."""
    for provider in (trace.get_tracer_provider(), metrics.get_meter_provider()):
        if isinstance(provider, TracerProvider | MeterProvider):
            provider.shutdown()


def trace_headers() -> list[tuple[str, bytes]]:
    """The current span as Kafka headers (`traceparent`); none without a recorded span."""
    if not trace.get_current_span().get_span_context().is_valid:
        return []
    carrier: dict[str, str] = {}
    _w3c.inject(carrier)
    return [(name, value.encode()) for name, value in carrier.items()]


def context_of(headers: Headers) -> Context | None:
    """The sender's span as a parent for ours: `tracer.start_as_current_span(n, context=...)`."""
    carrier = {
        name: value.decode("ascii", "replace")
        for name, value in headers
        if name in ("traceparent", "tracestate") and value is not None
    }
    return _w3c.extract(carrier) if "traceparent" in carrier else None


def links_to(records: Iterable[Record]) -> list[trace.Link]:
    """Links to the senders' spans of the first records that name one."""
    links: list[trace.Link] = []
    for record in records:
        context = context_of(record.headers) if record.headers else None
        if context is not None:
            links.append(trace.Link(trace.get_current_span(context).get_span_context()))
            if len(links) == MAX_LINKS:
                break
    return links


@contextmanager
def batch_span(name: str, records: Iterable[Record]) -> Iterator[None]:
    """One span around a batch, linked to the senders. Free when telemetry is off."""
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        yield
        return
    with tracer.start_as_current_span(name, links=links_to(records)):
        yield
