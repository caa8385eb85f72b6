"""A campaign at full speed through the dialer, crm, routing, Kafka and a carrier: prints, asserts
nothing.

    PYTHONPATH=.:proto python bench/dialling.py [--agents 320] [--seconds 60] [--mode predictive]

The processes are those that are deployed, and a simulated carrier: three in ten people answer, all
others have a machine, and who talks does so for some seconds; so the agents are what bounds the
rate. Printed are attempts a minute by their ends, how long people waited for their agents after the
greeting, by the carrier's own clock, and of the processor what each process used.

All processes share the machine's cores, and so does whatever else runs there: the load average
before the start says how much that was.
"""

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition
from relais.attempts.v1 import events_pb2 as a
from relais.attempts.v1.events_pb2 import AttemptEvent

from eventkit.callers import Callers, Role
from eventkit.clock import SystemClock
from eventkit.namedsecrets import parse_secrets
from relaisctl.clients import Client, register
from relaisctl.secrets import ensure_secrets
from relaisctl.stack import Ports, Stack, load_topics

CLIENT, POOL, QUEUE, CAMPAIGN = "bench", "bench", "out", "bench"
TOPIC = "attempt-events"
ENGINES = ["kafka", "postgres"]
PROCESSES = [
    *("routing-api", "routing-worker", "crm-api"),
    *("carrier", "dialer-api", "dialer-relay", "dialer-worker"),
]
AREAS = {
    "America/New_York": "212",
    "America/Los_Angeles": "213",
    "Pacific/Honolulu": "808",
    "Pacific/Guam": "671",
}
LINES = 2_000
WARM_S = 20.0


def area() -> str:
    """Where people may be called at this hour."""
    now = datetime.now(UTC)
    for zone, code in AREAS.items():
        if 8 <= now.astimezone(ZoneInfo(zone)).hour < 20:
            return code
    raise SystemExit("nobody in America may be called at this hour")


def scenario(talk_s: float) -> dict[str, Any]:
    def s(median_s: float, sigma: float = 0.4) -> dict[str, float]:
        return {"median_s": median_s, "sigma": sigma}

    return {
        "human": [0.3] * 24,
        "numbers": {"unobtainable": 0.03, "fax": 0.005, "machine": 1.0},
        "errors": 0.005,
        "busy": 0.04,
        "at_once": 0.01,
        "setup": s(0.3),
        "rings": s(4.0),
        "machine_rings": s(6.0),
        "greeting": s(1.0),
        "machine_greeting": s(4.0),
        "detection": {"takes": s(0.5), "human_as_machine": 0.01, "machine_as_human": 0.01},
        "patience": s(14.0),
        "talk": s(talk_s),
        "machine_talk": s(1.0),
        "message": s(3.0),
        "capacity": 20_000,
    }


class Bench:
    def __init__(self, stack: Stack, http: httpx.AsyncClient) -> None:
        self.stack = stack
        self.http = http
        home = stack.settings.home
        secrets = parse_secrets(ensure_secrets(home)["RELAIS_TOKEN_SECRETS"])
        now = SystemClock().now_us()
        token = Callers(secrets).issue("bench", [CLIENT], Role.ADMIN, now, 36_000)
        self.headers = {"Authorization": f"Bearer {token}"}
        self.dialer = f"{stack.addresses['dialer-api']}/v1/clients/{CLIENT}"
        self.routing = f"{stack.addresses['routing-api']}/v1"

    async def ask(self, method: str, url: str, body: Any = None) -> Any:
        answer = await self.http.request(method, url, json=body, headers=self.headers)
        if not answer.is_success:
            raise SystemExit(f"{method} {url}: {answer.status_code} {answer.text}")
        return answer.json()

    async def agents(self, count: int) -> None:
        await self.ask("PUT", f"{self.routing}/pools/{POOL}", {"wrap_up_seconds": -1})
        await self.ask("PUT", f"{self.routing}/pools/{POOL}/queues/{CLIENT}/{QUEUE}", {})
        for number in range(count):
            agent = f"{self.routing}/agents/a{number}"
            await self.ask("POST", f"{agent}/logged-in", {"pool_id": POOL})
            await self.ask("POST", f"{agent}/available", {"pool_id": POOL})

    async def campaign(self, args: argparse.Namespace) -> None:
        body = {
            "name": "Bench",
            "purpose": "survey",
            "mode": args.mode,
            "ratio": args.ratio,
            "seller": "Acme",
            "caller_id": "+12125550100",
            "pool_id": POOL,
            "queue_id": QUEUE,
            "questionnaire_id": "q",
            "abandonment_message": "sorry",
            "priority": 5,
        }
        await self.ask("PUT", f"{self.dialer}/campaigns/{CAMPAIGN}", body)

    async def leads(self, count: int) -> None:
        code = area()
        plan = {"import_id": "i", "campaign_id": CAMPAIGN, "list_id": "l", "header": ["phone"]}
        await self.ask("POST", f"{self.dialer}/lead-imports", plan)
        for part, first in enumerate(range(0, count, LINES)):
            numbers = range(first, min(count, first + LINES))
            rows = [[number + 2, [f"+1{code}{2_340_000 + number}"]] for number in numbers]
            answer = await self.ask(
                "PUT", f"{self.dialer}/lead-imports/i/parts/{part}", {"rows": rows}
            )
        print(f"leads: {answer}", flush=True)


class Watch:
    """What attempt-events say, as it comes."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.started = 0
        self.results: Counter[a.Result.ValueType] = Counter()
        self.waited: list[int] = []
        self.lag: list[int] = []

    def hear(self, event: AttemptEvent) -> None:
        self.lag.append(time.time_ns() // 1000 - event.meta.occurred_at.ToMicroseconds())
        if event.HasField("started"):
            self.started += 1
        elif event.HasField("ended"):
            self.results[event.ended.result] += 1
            if event.ended.result == a.RESULT_CONNECTED:
                self.waited.append(event.ended.waited.ToMicroseconds())

    async def run(self, kafka: str) -> None:
        [topic] = [topic for topic in load_topics() if topic.name == TOPIC]
        consumer = AIOKafkaConsumer(bootstrap_servers=kafka)
        await consumer.start()
        consumer.assign([TopicPartition(TOPIC, number) for number in range(topic.partitions)])
        await consumer.seek_to_end()
        try:
            while True:
                for records in (await consumer.getmany(timeout_ms=1_000)).values():
                    for record in records:
                        self.hear(AttemptEvent.FromString(record.value))
        finally:
            await consumer.stop()


def used(stack: Stack) -> dict[str, float]:
    times = {"this process": psutil.Process().cpu_times()}
    for name in [*ENGINES, *PROCESSES]:
        record = stack.processes.record(name)
        assert record is not None
        process = psutil.Process(record.pid)
        children = process.children(recursive=True) if name == "postgres" else []
        user = sum(each.cpu_times().user for each in [process, *children])
        system = sum(each.cpu_times().system for each in [process, *children])
        times[name] = process.cpu_times()._replace(user=user, system=system)
    return {name: each.user + each.system for name, each in times.items()}


def quantiles(values: list[int]) -> str:
    ordered = sorted(values)
    if not ordered:
        return "nothing"
    parts = (ordered[min(len(ordered) - 1, int(len(ordered) * p))] / 1e3 for p in (0.5, 0.9, 0.99))
    middle, late, last = parts
    return f"p50 {middle:.0f}   p90 {late:.0f}   p99 {last:.0f}   max {ordered[-1] / 1e3:.0f} ms"


async def run(stack: Stack, args: argparse.Namespace) -> None:
    kafka = stack.addresses["kafka"]
    await register(kafka, Client(CLIENT, "Bench", "UTC"), SystemClock())
    async with httpx.AsyncClient(timeout=120) as http:
        bench, watch = Bench(stack, http), Watch()
        await bench.campaign(args)
        await bench.leads(args.leads)
        await bench.agents(args.agents)
        watching = asyncio.create_task(watch.run(kafka))
        await bench.ask("POST", f"{bench.dialer}/campaigns/{CAMPAIGN}/start")
        await asyncio.sleep(WARM_S)
        watch.clear()
        before, began = used(stack), time.perf_counter()
        for _ in range(int(args.seconds // 10)):
            await asyncio.sleep(10)
            took = time.perf_counter() - began
            print(f"  {took:4.0f} s: {watch.started / took * 60:.0f} a minute", flush=True)
        took = time.perf_counter() - began
        after = used(stack)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        ended = sum(watch.results.values())
        shares = {a.Result.Name(r)[7:].lower(): n for r, n in watch.results.most_common()}
        print(f"attempts a minute: {watch.started / took * 60:.0f} started")
        print(f"                   {ended / took * 60:.0f} ended: {shares}")
        print(f"from the greeting's end to the agent: {quantiles(watch.waited)}")
        print(f"from happening to this consumer:      {quantiles(watch.lag)}")
        for name, seconds in sorted(after.items(), key=lambda each: before[each[0]] - each[1]):
            share = (seconds - before[name]) / took
            each = (seconds - before[name]) / max(1, ended) * 1000
            print(f"  {name:<16} {share:6.1%} of a core, {each:.2f} ms an attempt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--agents", type=int, default=320)
    parser.add_argument("--talk", type=float, default=5.5, help="seconds, half of them are shorter")
    parser.add_argument("--mode", default="predictive", help="or power")
    parser.add_argument("--ratio", type=float, default=3.0, help="of mode power")
    parser.add_argument("--leads", type=int, default=30_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    args = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="relais-bench-") as home:
        world = Path(home) / "scenario.json"
        world.write_text(json.dumps(scenario(args.talk)))
        os.environ["RELAIS_CARRIER_SCENARIO"] = str(world)
        stack = Stack(Path(home), Ports.free())
        try:
            stack.start([*ENGINES, *PROCESSES])
            [broker] = stack.status(["kafka"])
            cores = len(os.sched_getaffinity(0))
            print(
                f"{broker.detail}, {cores} cores (load average before: {load:.1f});"
                f" {args.agents} agents, mode {args.mode}",
                flush=True,
            )
            asyncio.run(run(stack, args))
        finally:
            for name in PROCESSES:
                record = stack.processes.record(name)
                if record is not None and record.alive() is None:
                    print(f"!! {name} has ended:\n{stack.processes.log_tail(name, 30)}")
                if tail := [
                    line
                    for line in stack.processes.log_tail(name, 400).splitlines()
                    if "WARNING" in line or "ERROR" in line
                ]:
                    print(f"!! {name}: {len(tail)} warnings, the last: {tail[-1][:300]}")
            stack.stop()


if __name__ == "__main__":
    main()
