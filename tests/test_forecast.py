"""When numbers run out: the arithmetic, and how much a ledger says was used lately."""

import pytest
from document_counters import COR, KEYS, Counter
from hypothesis import given
from hypothesis import strategies as st
from test_operators import MAX, WHY, bring_in, call, issue

from coordinator.core.forecast import DAY_MS, Used, forecast
from coordinator.core.requests import Adjust
from coordinator.store.memory import MemoryStore
from coordinator.usage import used_since

NOW = 1_000 * DAY_MS


@pytest.mark.parametrize(
    ("numbers", "days", "left", "per_day", "out_in_days"),
    [
        (300, 30, 100, 10.0, 10),
        (300, 90, 100, 10.0, 10),  # never more than the window
        (20, 4, 50, 5.0, 10),
        (24, 0.01, 240, 24.0, 10),  # a few minutes count as a day
        (24, -3, 240, 24.0, 10),  # as do clocks that were set back
        (0, 30, 100, 0.0, None),
        (1, 30, 10**9, 1 / 30, None),
        (0, 30, 0, 0.0, 0),
    ],
)
def test_what_is_left_lasts_as_long_as_it_did(
    numbers: int, days: float, left: int, per_day: float, out_in_days: float | None
) -> None:
    used = Used(numbers, NOW - int(days * DAY_MS))
    ahead = forecast(used, left, NOW)
    assert ahead.per_day == pytest.approx(per_day)
    assert ahead.observed_days == pytest.approx(min(max(days, 0), 30))
    wanted = None if out_in_days is None else NOW + out_in_days * DAY_MS
    assert ahead.out_ms == (wanted if wanted is None else pytest.approx(wanted))


class Counting:
    """A store that counts what is read of it."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.reads = 0

    async def read(self, *ranges: object, revision: int = 0) -> object:
        self.reads += 1
        return await self._store.read(*ranges, revision=revision)  # type: ignore[arg-type]


async def used(counter: Counter, since_ms: int) -> tuple[Used, int]:
    store = Counting(counter.store)
    head = (await counter.reloaded()).head
    (found,) = await used_since(store, [(KEYS, head)], since_ms)  # type: ignore[arg-type]
    return found, store.reads


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(0, 200))
async def test_the_ledger_says_what_was_used_since_a_moment(steps: list[int], since: int) -> None:
    counter, times = Counter(), []
    counter.now_ms = 0
    for step in steps:
        counter.now_ms += step
        await counter.ask(counter.reserve(f"t{len(times)}"))
        times.append(counter.now_ms)
    found, _ = await used(counter, since)
    assert found.numbers == sum(time >= since for time in times)
    assert found.since_ms == max(since, times[0])


async def test_a_long_ledger_takes_few_reads() -> None:
    counter = Counter()
    for n in range(500):
        counter.now_ms = 1_000 * n
        await counter.ask(counter.reserve(f"t{n}"))
    found, reads = await used(counter, 400_000)
    assert found == Used(100, 400_000)
    assert reads <= 12


async def test_an_import_at_the_beginning_is_no_use_and_a_later_leap_is() -> None:
    counter = Counter()
    await counter.ask(bring_in((1, 500)))
    began_ms = counter.now_ms
    counter.now_ms += DAY_MS
    await issue(counter, 3)
    assert (await used(counter, 0))[0] == Used(3, began_ms)
    await counter.ask(Adjust(call(), 600, WHY, MAX))
    assert (await used(counter, 0))[0].numbers == 99
    assert (await used(counter, counter.now_ms + 1))[0] == Used(0, counter.now_ms + 1)


async def test_a_count_that_an_operator_began_further_on_has_used_only_what_followed() -> None:
    counter = Counter()
    await counter.ask(Adjust(call(), 500, WHY, MAX))
    await issue(counter, 3)
    assert (await used(counter, 0))[0].numbers == 3


async def test_a_counter_with_nothing_but_an_import_has_used_nothing() -> None:
    counter = Counter(COR)
    await counter.ask(bring_in((1, 500)))
    assert (await used(counter, 0))[0].numbers == 0
