"""What the tests share besides fixtures."""

import asyncio
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from eventkit.records import Record
from eventkit.topictable import read_partition
from relaisctl.stack import Stack

# Processes that need not import everything again, each time that one is killed.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["eventkit.tests.programs"])

ROOT = Path(__file__).resolve().parents[2]

MakeTopic = Callable[..., Awaitable[str]]


@dataclass(frozen=True)
class Kafka:
    """The broker that all tests share."""

    bootstrap: str
    is_tansu: bool
    stack: Stack


@dataclass(frozen=True)
class Postgres:
    """The server that all tests share, which one of them kills."""

    url: str
    stack: Stack


async def until(
    condition: Callable[[], Awaitable[bool]],
    what: str,
    process: "subprocess.Popen[str] | None" = None,
) -> None:
    """Wait until the condition holds; fails after 60 s, or when the process ends before."""
    deadline = time.monotonic() + 60
    while not await condition():
        if process is not None and process.poll() is not None:
            raise AssertionError(f"{what}: the process ended\n{process.communicate()[1]}")
        if time.monotonic() > deadline:
            raise AssertionError(f"waited 60 s in vain: {what}")
        await asyncio.sleep(0.05)


async def read_all(kafka: Kafka, topic: str, partitions: int = 1) -> list[Record]:
    """All records of a topic, partition by partition."""
    return [
        record
        for partition in range(partitions)
        async for chunk in read_partition(kafka.bootstrap, topic, partition)
        for record in chunk
    ]


def program(kafka: Kafka, name: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start a program of programs.py as a process of its own."""
    command = [sys.executable, "-m", "eventkit.tests.programs", name, kafka.bootstrap]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        text=True,
        stderr=subprocess.PIPE,
        **options,
    )


def fork(function: Callable[..., object], *arguments: object) -> BaseProcess:
    """Start a function of programs.py as a process of its own."""
    process = _FORKS.Process(target=function, args=arguments)
    process.start()
    return process


async def ended(process: BaseProcess) -> int | None:
    """The exit code, when the process has ended; None after 60 s."""
    await asyncio.to_thread(process.join, 60)
    return process.exitcode
