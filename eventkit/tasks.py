"""What several tasks that belong together tell each other."""

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


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
