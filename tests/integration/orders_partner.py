"""A client company's ERP, as small as it can be:

    python -m tests.integration.orders_partner ADDRESS CLIENT SUBSCRIBER RECORD [options]

follows the client's orders. RECORD is its database: a file with a line for each update, written
before the update is acknowledged. It breaks the line at random, and may be killed at any moment.

Each update names the one before it. Where that is not the last one on record, an update is missing:
it says so and ends with MISSING. The token is in the environment, PARTNER_TOKEN.
"""

import argparse
import asyncio
import json
import os
import random
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
from relais.orders.v1 import order_service_pb2 as pb
from relais.orders.v1.order_service_pb2_grpc import OrderServiceStub

MISSING = 4
PAUSE_S = 0.2
RECONNECT = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500))


class Missing(Exception):
    """The chain of updates is broken."""


class Record:
    """What the partner knows: each update once, in their order. A line that a kill has cut in half
    was never written."""

    def __init__(self, path: Path) -> None:
        path.touch()
        whole = path.read_bytes()
        whole = whole[: whole.rfind(b"\n") + 1]
        os.truncate(path, len(whole))
        lines = [json.loads(line) for line in whole.splitlines()]
        self.known = {line["position"]: line["event_id"] for line in lines if "position" in line}
        self.last = max(self.known, default=0)
        self._file = path.open("ab", buffering=0)

    def note(self, **what: Any) -> None:
        self._file.write(json.dumps(what).encode() + b"\n")

    def add(self, update: pb.FollowOrdersResponse) -> None:
        """Raises Missing."""
        position, event = update.position, update.event
        if position in self.known:
            assert self.known[position] == event.meta.event_id, "the same position, another event"
            self.note(again=position)
            return
        if update.previous_position != self.last:
            raise Missing(
                f"after {self.last} comes {position}, which names {update.previous_position}"
            )
        self.note(
            position=position,
            previous=update.previous_position,
            event_id=event.meta.event_id,
            order_id=event.order_id,
            version=event.meta.version,
            body=event.WhichOneof("body"),
        )
        self.known[position] = event.meta.event_id
        self.last = position


async def follow(options: argparse.Namespace, record: Record, rng: random.Random) -> None:
    """Until the line breaks, or enough is known. Raises grpc's errors, and Missing."""
    subscribe = pb.Subscribe(
        client_id=options.client, subscriber=options.subscriber, window=options.window
    )
    if options.from_record:
        subscribe.after_position = record.last
    async with grpc.aio.insecure_channel(options.address, options=RECONNECT) as channel:
        stub: Any = OrderServiceStub
        metadata = [("authorization", f"Bearer {os.environ['PARTNER_TOKEN']}")]
        call = stub(channel).FollowOrders(metadata=metadata, wait_for_ready=True)
        await call.write(pb.FollowOrdersRequest(subscribe=subscribe))
        record.note(began=True)
        patience, every = rng.randrange(1, 80), rng.randrange(1, 20)
        heard = 0
        while not options.until or len(record.known) < options.until:
            if options.breaks and heard == patience:
                return  # not a word; what was heard since the last acknowledgement comes again
            update = await call.read()
            if not isinstance(update, pb.FollowOrdersResponse):
                return
            heard += 1
            if heard == options.lose:
                continue
            record.add(update)
            if heard % every == 0:
                await acknowledge(call, update.position)
        await acknowledge(call, record.last)
        await call.done_writing()
        while isinstance(update := await call.read(), pb.FollowOrdersResponse):
            record.add(update)
        assert await call.code() is grpc.StatusCode.OK


async def acknowledge(call: Any, position: int) -> None:
    await call.write(pb.FollowOrdersRequest(acknowledge=pb.Acknowledge(position=position)))


async def run(options: argparse.Namespace) -> None:
    record, rng = Record(options.record), random.Random(options.seed)
    while not options.until or len(record.known) < options.until:
        with suppress(asyncio.InvalidStateError):  # written to while it broke
            try:
                await follow(options, record, rng)
            except grpc.aio.AioRpcError as error:
                record.note(broke=error.code().name)
        await asyncio.sleep(PAUSE_S * rng.random())


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("client")
    parser.add_argument("subscriber")
    parser.add_argument("record", type=Path)
    parser.add_argument("--window", type=int, default=0)
    parser.add_argument("--until", type=int, default=0, help="leave when so many are known")
    parser.add_argument("--breaks", action="store_true", help="break the line at random")
    parser.add_argument("--lose", type=int, default=0, help="drop this one of a line's updates")
    parser.add_argument("--from-record", action="store_true", help="begin after one's own record")
    parser.add_argument("--seed", type=int, default=0)
    try:
        asyncio.run(run(parser.parse_args()))
    except Missing as error:
        print(f"missing: {error}", file=sys.stderr)
        return MISSING
    return 0


if __name__ == "__main__":
    sys.exit(main())
