"""What several tasks that belong together tell each other; and work that waits out a silence."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from eventkit.errors import Unavailable

log = logging.getLogger(__name__)

AGAIN_S = 1.0

T = TypeVar("T")


async def patiently(work: Callable[[], Awaitable[T]], patience_s: float) -> T:
    """What the work gives, which can be done again. While it is Unavailable it is, every second;
    after patience_s that is raised."""
    deadline = asyncio.get_running_loop().time() + patience_s
    while True:
        try:
            return await work()
        except Unavailable as error:
            if asyncio.get_running_loop().time() > deadline:
                raise
            log.warning("%s, trying again", error)
            await asyncio.sleep(AGAIN_S)


async def telling(ended: "asyncio.Future[None]", work: Coroutine[Any, Any, None]) -> None:
    """Do the work; what it raises is what `ended` raises, if that has not ended yet."""
    try:
        await work
    except Exception as error:
        if not ended.done():
            ended.set_exception(error)


async def unless(ended: "asyncio.Future[None]", work: Awaitable[T]) -> T:
    """What the work gives; raises what `ended` does if that comes first."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait((task, ended), return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            ended.result()
        return task.result()
    finally:
        task.cancel()
        await asyncio.wait([task])
