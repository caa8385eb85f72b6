"""Stuck is not the same as idle."""

import json
import urllib.error
import urllib.request
from asyncio import to_thread
from collections.abc import Mapping

from eventkit.health import HealthServer, Progress


def test_only_a_partition_that_stands_still_before_the_end_is_stuck() -> None:
    progress = Progress(stuck_s=60)
    positions = {"t:0": (5, 9), "t:1": (9, 9)}
    assert progress.stuck(positions, 0) == []
    assert progress.stuck(positions, 59) == []
    assert progress.stuck(positions, 60) == ["t:0 stands at 5 of 9 for 60 s"]
    assert progress.stuck({"t:0": (6, 9), "t:1": (9, 10)}, 61) == []
    assert progress.stuck({"t:0": (6, 9), "t:1": (9, 10)}, 121) == [
        "t:0 stands at 6 of 9 for 60 s",
        "t:1 stands at 9 of 10 for 61 s",
    ]
    assert progress.stuck({"t:1": (9, 10)}, 130) == ["t:1 stands at 9 of 10 for 70 s"]
    assert progress.stuck({"t:0": (6, 9)}, 140) == [], "a partition that comes back starts anew"


class Consumer:
    def __init__(self) -> None:
        self.is_ready = False

    def ready(self) -> bool:
        return self.is_ready

    def positions(self) -> Mapping[str, tuple[int, int]]:
        return {"t:0": (1, 2)}


def ask(server: HealthServer, path: str) -> tuple[int, object]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}") as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error) if error.code == 503 else None


async def test_two_paths_and_nothing_else() -> None:
    consumer = Consumer()
    server = HealthServer(consumer, stuck_s=0)
    await server.start()
    try:
        assert await to_thread(ask, server, "/health/ready") == (
            503,
            {"status": "unavailable", "reasons": ["partitions are not assigned yet"]},
        )
        consumer.is_ready = True
        assert await to_thread(ask, server, "/health/ready") == (
            200,
            {"status": "ok", "reasons": []},
        )
        code, body = await to_thread(ask, server, "/health/live")
        assert (code, body) == (
            503,
            {"status": "unavailable", "reasons": ["t:0 stands at 1 of 2 for 0 s"]},
        )
        assert (await to_thread(ask, server, "/"))[0] == 404
    finally:
        await server.stop()
