"""Work that several wait for: it outlives who leaves, and its failure is told to who waits only."""

import asyncio
import contextlib
import gc
from typing import Any

import pytest

from coordinator.shared import shielded
from coordinator.store import Unavailable


class Work:
    """A task that fails when it is told to, and what the event loop has been told."""

    def __init__(self) -> None:
        self.fails = asyncio.Event()
        self.task = asyncio.create_task(self._run())
        self.complaints: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, why: self.complaints.append(why))

    async def _run(self) -> None:
        await self.fails.wait()
        raise Unavailable("no member answers")

    async def fail(self) -> None:
        """Fail, and let go of the task, as its owner does."""
        self.fails.set()
        await asyncio.wait({self.task})
        await asyncio.sleep(0)
        del self.task
        gc.collect()


@pytest.fixture
async def work() -> Work:
    return Work()


async def test_who_leaves_ends_nothing_and_no_one_complains_of_a_failure_after_that(
    work: Work,
) -> None:
    for _ in range(3):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(shielded(work.task), 0.01)
    assert not work.task.done()
    await work.fail()
    assert work.complaints == []


async def test_who_waits_hears_of_the_failure(work: Work) -> None:
    leaves, stays = shielded(work.task), shielded(work.task)
    leaves.cancel()
    await work.fail()
    with pytest.raises(Unavailable):
        await stays
    assert work.complaints == []
