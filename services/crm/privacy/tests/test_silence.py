"""Nothing personal in logs, traces, metrics and problem documents: crm's processes as they run, and
all that they can be made to say."""

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
from relais.clients.v1.events_pb2 import ClientEvent
from relais.customers.v1 import customer_service_pb2 as pb

from eventkit.producer import Producer
from eventkit.records import Message
from eventkit.tests.leaks import found_in
from eventkit.tests.support import ROOT
from relaisctl.stack import Ports
from services.conftest import Postgres
from services.crm.privacy.tests.conftest import CALLERS, Kafka
from services.crm.privacy.tests.support import ok, person

SERVICE = "/relais.customers.v1.CustomerService"


@asynccontextmanager
async def running(process: str, environment: dict[str, str], log: Path) -> AsyncIterator[None]:
    """A process of crm, with everything that it says in a file."""
    with log.open("wb") as file:
        started = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.crm", process),
            env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"} | environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    try:
        yield
        assert started.returncode is None, "it has ended by itself"
        started.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(started.wait(), 60) == 0
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()


async def test_what_is_personal_is_said_to_nobody_else(
    kafka: Kafka, database: str, postgres: Postgres, client_id: str, tmp_path: Path
) -> None:
    ports = Ports.free()
    environment = {
        "RELAIS_KAFKA": kafka.bootstrap,
        "RELAIS_POSTGRES": database,
        "RELAIS_KEYS": postgres.keys,
        "RELAIS_MASTER_KEYS": "test:" + base64.b64encode(bytes(32)).decode(),
        "RELAIS_TOKEN_SECRETS": "test:" + base64.b64encode(b"x" * 32).decode(),
        "RELAIS_CRM_HTTP_PORT": str(ports.crm_http),
        "RELAIS_CRM_GRPC_PORT": str(ports.crm_grpc),
        "RELAIS_TELEMETRY": "console",
        "RELAIS_LOG_LEVEL": "DEBUG",
    }
    async with Producer(kafka.bootstrap) as producer:
        event = ClientEvent(registered={"name": client_id, "time_zone": "UTC"})
        await producer.deliver(
            Message("client-events", client_id.encode(), event.SerializeToString())
        )
    now = time.time_ns() // 1000
    token = CALLERS.issue("ana", [client_id], "admin", now, 600)
    headers = {"authorization": f"Bearer {token}"}
    base = f"http://127.0.0.1:{ports.crm_http}"
    values = person()
    api, relay = tmp_path / "api.log", tmp_path / "relay.log"
    refusals: list[str] = []
    async with (
        running("api", environment, api),
        running("relay", environment, relay),
        httpx.AsyncClient(base_url=base, headers=headers, timeout=30) as http,
    ):

        async def ready() -> bool:
            try:
                return (await http.get("/health/ready")).is_success
            except httpx.TransportError:
                return False

        async with asyncio.timeout(180):
            while not await ready():  # noqa: ASYNC110 - nothing tells us
                await asyncio.sleep(0.5)
        await use(http, f"/v1/clients/{client_id}", values, refusals)
        await call(f"127.0.0.1:{ports.crm_grpc}", client_id, token, values, refusals)
    said = api.read_bytes() + relay.read_bytes()
    # It has said a lot: spans, metrics, debug output.
    assert b'"trace_id"' in said
    assert b'"resource_metrics"' in said
    assert found_in(said, values.values()) == set()
    assert len(refusals) > 20
    assert found_in("\n".join(refusals).encode(), values.values()) == set()


async def use(
    http: httpx.AsyncClient, client: str, values: dict[str, str], refusals: list[str]
) -> None:
    """What goes well, and everything that can be refused."""
    record = {
        "number": values["number"],
        "name": values["name"],
        "phones": [values["phone"]],
        "emails": [values["email"]],
        "address": values["address"],
    }
    made = await ok(http.post(f"{client}/customers", json=record))
    customer = made["customer_id"]
    complaint = {"customer": values["number"], "text": values["complaint"], "complaint_id": "k"}
    consent = {
        "channel": "voice",
        "purpose": "sales",
        "address": values["phone"],
        "proof": "recording",
        "text": values["consent text"],
    }
    check = {"address": values["phone"], "channel": "voice", "purpose": "sales"}
    await ok(http.post(f"{client}/complaints", json=complaint))
    await ok(http.post(f"{client}/consents", json=consent))
    await ok(http.post(f"{client}/contact/check", json=check))
    await ok(http.post(f"{client}/customers/find", json={"name": values["name"]}))
    key = {"Idempotency-Key": "k"}
    wish = {"customer": customer, "text": values["wish"]}
    await ok(http.post(f"{client}/wishes", json=wish, headers=key))

    async def refused(path: str, body: Any, method: str = "POST", **given: Any) -> None:
        content = body if isinstance(body, str) else json.dumps(body)
        answer = await http.request(method, f"{client}{path}", content=content, **given)
        assert 400 <= answer.status_code < 500, (path, answer.text)
        refusals.append(answer.text + str(answer.headers))

    secret = values["note"]
    await refused("/customers", record)  # the number is taken
    await refused("/wishes", wish | {"text": secret}, headers=key)  # the key is used
    await refused("/complaints", complaint | {"text": secret})  # the id is used
    for name, bad in (
        ("phones", [secret]),
        ("phones", [values["phone"] + secret]),
        ("emails", [secret]),
        ("language", secret),
        ("time_zone", secret),
        ("preferred_channel", secret),
        ("name", values["name"] + "\0"),
        ("name", {values["name"]: 1}),
        (secret, secret),
        (values["email"], 1),
    ):
        await refused("/customers", {"number": "n-1", name: bad})
    for name, bad in (
        ("address", secret),
        ("channel", secret),
        ("purpose", secret),
        ("proof", secret),
        ("given_at", secret),
        ("customer", secret),
        ("text", values["consent text"] + "\0"),
        ("text", values["consent text"] + "\ud800"),
        ("text", values["consent text"] * 1000),
    ):
        await refused("/consents", consent | {name: bad})
    for name, bad in (("address", secret), ("purpose", secret), ("at", secret), ("at", 1)):
        await refused("/contact/check", check | {name: bad})
    await refused("/customers", json.dumps(record)[:-5])
    await refused("/customers", [record])
    await refused("/complaints", complaint | {"complaint_id": secret})
    await refused("/complaints", complaint | {"severity": secret})
    await refused("/calls/c/notes", {"text": secret, "note_id": secret})
    await refused("/calls/c/customer", {"customer_id": values["number"] + "0"})
    await refused("/privacy/erase", {"customer": values["second number"]})
    await refused("/privacy/export", {"customer": values["number"] + "\0"})
    await refused(f"/customers/{customer}", {"name": 1, "address": values["address"]}, "PATCH")

    await ok(http.post(f"{client}/privacy/export", json={"customer": values["number"]}))
    await ok(http.post(f"{client}/privacy/erase", json={"customer": values["number"]}))


async def call(
    address: str, client_id: str, token: str, values: dict[str, str], refusals: list[str]
) -> None:
    """The same by gRPC: questions that are answered, and that are refused."""
    async with grpc.aio.insecure_channel(address) as channel:
        check: Any = channel.unary_unary(
            f"{SERVICE}/CheckContact",
            pb.CheckContactRequest.SerializeToString,
            pb.CheckContactResponse.FromString,
        )
        look_up: Any = channel.unary_unary(
            f"{SERVICE}/LookUpCustomer",
            pb.LookUpCustomerRequest.SerializeToString,
            pb.LookUpCustomerResponse.FromString,
        )
        raw: Any = channel.unary_unary(f"{SERVICE}/CheckContact")
        metadata = (("authorization", f"Bearer {token}"),)
        good = pb.CheckContactRequest(
            client_id=client_id, address=values["phone"], channel="voice", purpose="sales"
        )
        await check(good, metadata=metadata)
        bad = pb.CheckContactRequest(
            client_id=client_id, address=values["note"], channel="voice", purpose="sales"
        )
        for method, request in (
            (check, bad),
            (check, pb.CheckContactRequest(client_id=values["email"])),
            (look_up, pb.LookUpCustomerRequest(client_id=client_id, phone=values["note"])),
            (raw, values["note"].encode()),
        ):
            try:
                await method(request, metadata=metadata)
            except grpc.aio.AioRpcError as error:
                refusals.append(f"{error.details()} {error.trailing_metadata()}")
