"""The wiring of the dialling worker, for `python -m services.dialer worker`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from eventkit.process import Opened
from eventkit.producer import Producer
from services.dialer.compliance.book import load_rulebook
from services.dialer.dialling.carrier import Carrier
from services.dialer.dialling.codec import ACTOR
from services.dialer.dialling.crm import Crm
from services.dialer.dialling.routing import Routing
from services.dialer.dialling.worker import Limits, Worker, Zone
from services.dialer.settings import WorkerSettings

OPTIONS = [
    ("grpc.max_receive_message_length", 16 << 20),
    ("grpc.max_send_message_length", 16 << 20),
    # A peer that was killed is there again within seconds, and somebody may be on the line.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


@asynccontextmanager
async def dialling(settings: WorkerSettings, on: Opened, zone: Zone) -> AsyncIterator[Worker]:
    """zone: of a client. `run` it; it needs no Kafka, crm, routing or carrier to start."""
    clock = on.store.clock
    async with (
        Producer(settings.kafka, client_id=ACTOR, linger_ms=0) as producer,
        grpc.aio.insecure_channel(settings.crm_grpc, OPTIONS) as crm,
        grpc.aio.insecure_channel(settings.routing_grpc, OPTIONS) as routing,
        grpc.aio.insecure_channel(settings.telephony, OPTIONS) as carrier,
    ):
        yield Worker(
            on.engine,
            on.store,
            on.keys,
            bootstrap=settings.kafka,
            crm=Crm(crm, settings.callers(), clock),
            routing=Routing(routing, producer, clock),
            carrier=Carrier(carrier),
            rulebook=load_rulebook(),
            zone=zone,
            limits=Limits(settings.dialer_turn_ms / 1000),
        )
