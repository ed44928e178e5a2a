"""Who has just been answered comes back at once: a round takes all of them along, and no longer."""

import asyncio
import time
from typing import Any

import pytest
from serving import node, take

from coordinator.core.transaction import Transaction
from coordinator.expected import (
    HERE_WAITS_S,
    HOLDER_WAITS_S,
    LEAST_S,
    TRIAL_REQUESTS,
    TRIALS_APART_FIRST,
    TRIALS_APART_MAX,
    Expected,
    Habit,
)
from coordinator.store import Outcome
from coordinator.store.memory import MemoryStore

CALLERS = 20
TIMES = 10


class SlowStore(MemoryStore):
    """Counts commits, and takes a while for each, as etcd does."""

    def __init__(self) -> None:
        super().__init__()
        self.commits = 0

    async def commit(self, transaction: Transaction) -> Outcome:
        self.commits += 1
        await asyncio.sleep(0.005)
        return await super().commit(transaction)


async def busy(serving: Any, passes: int) -> list[int]:
    """Ask again and again; between answer and request lie some passes of the event loop."""
    numbers: list[int] = []
    for _ in range(TIMES):
        numbers += await take(serving)
        for _ in range(passes):
            await asyncio.sleep(0)
    return numbers


@pytest.mark.parametrize("passes", [0, 1, 3])
async def test_busy_callers_share_each_round(passes: int) -> None:
    store = SlowStore()
    serving = node(store)
    first = asyncio.create_task(busy(serving, passes))
    await asyncio.sleep(0.002)  # the others come while it is being committed
    rest = await asyncio.gather(*(busy(serving, passes) for _ in range(CALLERS - 1)))
    assert sorted(sum(rest, await first)) == list(range(1, CALLERS * TIMES + 1))
    # One by itself, then the others; from then on all together.
    assert store.commits <= TIMES + 2
    await serving.stop(1)


async def test_nobody_waits_for_callers_who_do_not_come_back() -> None:
    serving = node(MemoryStore())
    await asyncio.gather(*(take(serving) for _ in range(CALLERS)))
    passes = 0
    asking = asyncio.create_task(take(serving))
    while not asking.done():
        await asyncio.sleep(0)
        passes += 1
    assert asking.result() == [CALLERS + 1]
    assert passes < 30  # no clock has a say in it
    await serving.stop(1)


async def test_the_clock_ends_the_wait_where_each_pass_of_the_loop_is_slow() -> None:
    expected = Expected()
    expected.after_own_round(1_000, nodes=0, others=0)

    async def others() -> None:
        while True:
            time.sleep(0.002)  # noqa: ASYNC251 - something of the program's own takes its time
            expected.came()
            await asyncio.sleep(0)

    busy = asyncio.create_task(others())
    await asyncio.sleep(0)
    began = time.monotonic()
    await expected.wait()
    waited = time.monotonic() - began
    busy.cancel()
    assert waited < 20 * HERE_WAITS_S


def waited(expected: Expected) -> float:
    """Return how long it is willing to wait for other nodes."""
    return expected._for_nodes.wait_s


async def round_of_three(expected: Expected, back_in_s: float | None) -> None:
    """Tell three, and have them come back, or not; then the next round begins."""
    expected.after_own_round(2, nodes=1, others=0)
    waiting = asyncio.create_task(expected.wait())
    if back_in_s is not None:
        await asyncio.sleep(back_in_s)
        for _ in range(3):
            expected.came()
    await waiting


async def test_who_comes_a_little_late_is_waited_for_the_next_time() -> None:
    expected = Expected()
    late_s = HOLDER_WAITS_S / 2
    assert waited(expected) < late_s
    await round_of_three(expected, late_s)
    assert late_s < waited(expected) <= HOLDER_WAITS_S
    began = time.monotonic()
    await round_of_three(expected, late_s)
    assert time.monotonic() - began >= late_s, "it went on without them"


async def test_who_does_not_come_back_is_waited_for_ever_less() -> None:
    expected = Expected()
    await round_of_three(expected, HOLDER_WAITS_S / 2)
    patient_s = waited(expected)
    for _ in range(10):
        await round_of_three(expected, None)
    assert waited(expected) == LEAST_S < patient_s
    await round_of_three(expected, 2 * HOLDER_WAITS_S)
    assert waited(expected) == LEAST_S, "so long nobody is waited for"


def tried(habit: Habit, rates: dict[bool, float], epochs: int, now_s: float = 0.0) -> list[bool]:
    """Serve at a rate for each way; return which way it was in each epoch."""
    ways: list[bool] = []
    habit.served(1, now_s)
    for _ in range(epochs):
        ways.append(habit.waits)
        for _ in range(100):
            now_s += TRIAL_REQUESTS / 100 / rates[ways[-1]]
            habit.served(TRIAL_REQUESTS // 100, now_s)
    return ways


def test_nobody_waits_where_no_more_are_served_for_it() -> None:
    ways = tried(Habit(), {True: 800.0, False: 800.0}, 100)
    assert ways[: TRIALS_APART_FIRST + 1] == [True] * TRIALS_APART_FIRST + [False]
    assert sum(ways[TRIALS_APART_FIRST:]) < 10, "and it is tried ever less often"


def test_all_wait_where_more_are_served_for_it() -> None:
    assert sum(tried(Habit(), {True: 4_000.0, False: 3_500.0}, 100)) > 90


def test_other_callers_change_the_habit() -> None:
    habit, epochs = Habit(), 3 * TRIALS_APART_MAX
    for turn in range(2):
        ways = tried(habit, {True: 4_000.0, False: 3_500.0}, epochs, now_s=2_000.0 * turn)
        assert sum(ways[epochs // 2 :]) > 0.4 * epochs
        ways = tried(habit, {True: 800.0, False: 800.0}, epochs, now_s=2_000.0 * turn + 1_000)
        assert sum(ways[epochs // 2 :]) < 0.1 * epochs


def test_a_clock_that_stands_still_is_no_rate() -> None:
    habit = Habit()
    for _ in range(3):
        habit.served(TRIAL_REQUESTS, 10.0)
    assert habit.waits
