"""Work that waits out a silence."""

import asyncio

import pytest

from eventkit import tasks
from eventkit.errors import Unavailable
from eventkit.tasks import patiently


class Silent:
    """Answers after so many times of silence."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.asked = 0

    async def __call__(self) -> str:
        self.asked += 1
        if self.asked <= self.times:
            raise Unavailable("nobody there")
        return "here"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "AGAIN_S", 0.01)


async def test_a_silence_is_waited_out() -> None:
    silent = Silent(3)
    assert await patiently(silent, 60.0) == "here"
    assert silent.asked == 4


async def test_patience_has_an_end() -> None:
    silent = Silent(1_000_000)
    began = asyncio.get_running_loop().time()
    with pytest.raises(Unavailable):
        await patiently(silent, 0.1)
    assert asyncio.get_running_loop().time() - began > 0.1


async def test_what_else_goes_wrong_is_raised_at_once() -> None:
    async def broken() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await patiently(broken, 60.0)
