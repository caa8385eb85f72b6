"""A telephone system that follows assignments, as small as it can be:

    python -m services.routing.tests.partner ADDRESS SUBSCRIBER RECORD [options]

RECORD is its database: a file with a line for each update, written before the update is
acknowledged. It breaks the line at random, and may be killed at any moment.

Each update names the one before it in its partition. Where that is not the last one on record, one
is missing: it says so and ends with MISSING.
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
from relais.routing.v1 import assignment_service_pb2 as pb
from relais.routing.v1.assignment_service_pb2_grpc import AssignmentServiceStub

MISSING = 4
PAUSE_S = 0.2
RECONNECT = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500))


class Missing(Exception):
    """The chain of updates is broken."""


def read_record(path: Path) -> list[dict[str, Any]]:
    """Its whole lines: one that a kill has cut in half was never written."""
    whole = path.read_bytes() if path.exists() else b""
    return [json.loads(line) for line in whole[: whole.rfind(b"\n") + 1].splitlines()]


class Record:
    """What the partner knows."""

    def __init__(self, path: Path) -> None:
        path.touch()
        os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
        self.known: dict[tuple[int, int], str] = {}
        self.last: dict[int, int] = {}
        for line in read_record(path):
            if "event_id" in line:
                self.known[line["partition"], line["offset"]] = line["event_id"]
                self.last[line["partition"]] = line["offset"]
        self._file = path.open("ab", buffering=0)

    def note(self, **what: Any) -> None:
        self._file.write(json.dumps(what).encode() + b"\n")

    def add(self, update: pb.FollowAssignmentsResponse) -> None:
        """Raises Missing."""
        partition, offset = update.position.partition, update.position.offset
        meta = update.event.meta
        if (partition, offset) in self.known:
            assert self.known[partition, offset] == meta.event_id, "a position is one event's"
            self.note(again=[partition, offset])
            return
        previous = update.previous_offset if update.HasField("previous_offset") else None
        if previous != self.last.get(partition):
            raise Missing(
                f"in {partition}, after {self.last.get(partition)} comes {offset}, "
                f"which names {previous}"
            )
        self.note(
            partition=partition,
            offset=offset,
            event_id=meta.event_id,
            stream=meta.stream_id,
            version=meta.version,
            body=update.event.WhichOneof("body"),
        )
        self.known[partition, offset] = meta.event_id
        self.last[partition] = offset


async def follow(options: argparse.Namespace, record: Record, rng: random.Random) -> None:
    """Until the line breaks. Raises grpc's errors, and Missing."""
    subscribe = pb.FollowAssignmentsRequest.Subscribe(
        subscriber=options.subscriber,
        site=options.site,
        client_ids=options.client,
        pool_ids=options.pool,
        start=pb.FollowAssignmentsRequest.START_EARLIEST,
        window=options.window,
    )
    async with grpc.aio.insecure_channel(options.address, options=RECONNECT) as channel:
        stub: Any = AssignmentServiceStub
        call = stub(channel).FollowAssignments(wait_for_ready=True)
        await call.write(pb.FollowAssignmentsRequest(subscribe=subscribe))
        record.note(began=True)
        patience, heard = rng.randrange(1, 60), 0
        news: dict[int, int] = {}
        while heard < patience or not options.breaks:
            update = await call.read()
            if not isinstance(update, pb.FollowAssignmentsResponse):
                return
            heard += 1
            record.add(update)
            news[update.position.partition] = update.position.offset
            if rng.random() < 0.2:
                positions = [pb.Position(partition=p, offset=o) for p, o in news.items()]
                acknowledge = pb.FollowAssignmentsRequest.Acknowledge(positions=positions)
                await call.write(pb.FollowAssignmentsRequest(acknowledge=acknowledge))
                news.clear()
        # Not a word; what was heard since the last acknowledgement comes again.


async def run(options: argparse.Namespace) -> None:
    record, rng = Record(options.record), random.Random(options.seed)
    while True:
        with suppress(asyncio.InvalidStateError):  # written to while it broke
            try:
                await follow(options, record, rng)
            except grpc.aio.AioRpcError as error:
                record.note(broke=error.code().name, why=error.details())
        await asyncio.sleep(PAUSE_S * rng.random())


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("subscriber")
    parser.add_argument("record", type=Path)
    parser.add_argument("--site", default="")
    parser.add_argument("--client", action="append", default=[])
    parser.add_argument("--pool", action="append", default=[])
    parser.add_argument("--window", type=int, default=50)
    parser.add_argument("--breaks", action="store_true", help="break the line at random")
    parser.add_argument("--seed", type=int, default=0)
    try:
        asyncio.run(run(parser.parse_args()))
    except Missing as error:
        print(f"missing: {error}", file=sys.stderr)
        return MISSING
    return 0


if __name__ == "__main__":
    sys.exit(main())
