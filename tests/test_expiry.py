"""Reservations that expire: in memory, forgotten, raced for; with the clock in a test's hand."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from serving import Switch, alone
from support import until

from coordinator import clock
from coordinator.core import ledger
from coordinator.core.catalogue import Catalogue, GapPolicy
from coordinator.core.holds import Hold, Holds
from coordinator.core.keys import Keys
from coordinator.core.plan import Rules
from coordinator.core.records import Held, How, Origin, Settled
from coordinator.core.requests import Call, Done, Reserve, Settle
from coordinator.core.starter import STARTER
from coordinator.core.templates import writing_of
from coordinator.counters import Counters, Terms
from coordinator.jobs import expiry, forgotten
from coordinator.jobs.expiry import REASON, USER, Expiry
from coordinator.jobs.forgotten import Search
from coordinator.jobs.role import Role
from coordinator.metrics import Metrics, Reserved
from coordinator.proof import prove
from coordinator.registry import Change, Registry
from coordinator.service import Answer, Bounds, Node
from coordinator.store import Store
from coordinator.store.memory import MemoryStore
from coordinator.witness import Witness

COR = "documents/COR/yearly=2026"
NEXT_YEAR = "documents/COR/yearly=2027"
GRACE_MS = expiry.GRACE_MS
ANN = Origin("", "", "COR", "ann")
CALL = Call(ANN, "c", 0)
LASTS_MS = 1_000 * STARTER.of("COR").reservation_s


class Clock:
    """The wall clock of all nodes here."""

    def __init__(self) -> None:
        self.now_ms = clock.now_ms()

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def time() -> Any:
    """The clock, for a test to turn."""
    turned = Clock()
    modules = ("clock", "jobs.expiry", "jobs.forgotten", "jobs.role")
    patches = [patch(f"coordinator.{module}.now_ms", turned) for module in modules]
    for each in patches:
        each.start()
    yield turned
    for each in patches:
        each.stop()


class Place:
    """One node, as far as reservations are concerned."""

    def __init__(self, store: Any, keys: Keys, name: str, deadline_s: float = 5.0) -> None:
        self.keys = keys
        self.store = store
        terms, watcher = Terms(Rules(), Bounds(1_000, deadline_s)), Metrics(1_000, ()).watcher
        node = Node(name, name)
        self.counters = Counters(store, keys, node, terms, watcher, Witness(), alone(name))
        self.registry = Registry(store, keys)
        self.expiry = Expiry(self.counters, self.registry, lambda: True)
        self.reports: list[dict[str, Reserved]] = []
        self.search = Search(
            *(store, keys, name, self.counters, self.registry),
            *(lambda: True, self.reports.append),
        )
        self.series = STARTER.of("COR")

    def _submit(self, counter: str, wanted: Reserve | Settle) -> "asyncio.Future[Answer]":
        return self.counters.sequencer(counter).submit(wanted)

    async def reserve(self, many: int = 1, counter: str = COR) -> list[Hold]:
        writing = writing_of(self.series.format, (("YYYY", counter[-4:]),))
        kept_s = self.series.reservation_s
        wanted = [Reserve(CALL, writing, kept_s, uuid.uuid4().hex) for _ in range(many)]
        made = await asyncio.gather(*(self._submit(counter, each) for each in wanted))
        return [
            Hold(done.record.spans()[0].start, done.entry.index, done.record.held)
            for done in made
            if isinstance(done, Done)
        ]

    async def settle(self, hold: Hold, how: How) -> Answer:
        voids = self.series.gap_policy is GapPolicy.VOID
        return await self._submit(COR, Settle(CALL, hold.number, hold.held.token, how, voids))

    async def settled(self, counter: str = COR) -> list[Settled]:
        """Return how reservations ended, as the ledger has it; the proof must find it sound."""
        keys = self.keys.counter(counter)
        verdict = await prove(self.store, keys, 1)
        assert verdict.valid, verdict.findings
        (entries,) = (await self.store.read(keys.entries(1))).found
        records = [record for kv in entries for record in ledger.decode(kv.value).records]
        return [record for record in records if isinstance(record, Settled)]


@pytest.fixture
async def places(store: Store, time: Clock) -> AsyncIterator[list[Place]]:
    """Four nodes on one store."""
    keys = Keys(f"/expiry-{uuid.uuid4().hex[:8]}/".encode())
    some = [Place(store, keys, f"node-{at}") for at in range(1, 5)]
    yield some
    for each in some:
        await each.counters.stop(1)


async def test_what_is_over_expires_after_a_grace_and_the_ledger_says_why(
    places: list[Place], time: Clock
) -> None:
    one = places[0]
    await one.reserve(3)
    time.now_ms += GRACE_MS // 2
    await one.reserve()  # its time will be over too, but not yet its grace
    time.now_ms += LASTS_MS + GRACE_MS // 2 - 1
    assert await one.expiry.expire() == ""
    assert await one.settled() == []
    time.now_ms += 1
    assert await one.expiry.expire() == ""
    ended = await one.settled()
    assert sorted(record.number for record in ended) == [1, 2, 3]
    about = {(r.how, r.is_void, r.reason, r.cause.origin.user) for r in ended}
    assert about == {(How.EXPIRED, True, REASON, USER)}
    assert (await one.reserve())[0].number == 5


async def test_under_reuse_the_number_is_a_gap_that_the_next_one_takes(
    places: list[Place], time: Clock
) -> None:
    one, two = places[:2]

    def decide(before: Catalogue) -> tuple[Catalogue, Change]:
        after = before.with_changed(replace(before.of("COR"), gap_policy=GapPolicy.REUSE))
        return after, Change(after.version, after.of("COR"), ANN, "c", 1, "a test")

    one.series = (await one.registry.change(decide)).series
    await one.reserve(2)
    time.now_ms += LASTS_MS + GRACE_MS
    await one.expiry.expire()
    assert [record.frees for record in await one.settled()] == [True, True]
    two.series = one.series
    assert sorted(hold.number for hold in await two.reserve(3)) == [1, 2, 3]


async def test_four_nodes_race_and_each_reservation_ends_once(
    places: list[Place], time: Clock
) -> None:
    for _ in range(2):  # so that each knows of others' reservations too
        for each in places:
            await each.reserve(30)
    time.now_ms += LASTS_MS + GRACE_MS
    assert await asyncio.gather(*(each.expiry.expire() for each in places)) == [""] * 4
    ended = Counter(record.number for record in await places[0].settled())
    assert ended == dict.fromkeys(range(1, 241), 1)


async def test_a_confirm_that_was_committed_is_never_undone(
    places: list[Place], time: Clock
) -> None:
    one, two = places[:2]
    hold, late = await one.reserve(2)
    time.now_ms += LASTS_MS - 1
    told = await two.settle(hold, How.CONFIRMED)
    assert isinstance(told, Done)
    time.now_ms += GRACE_MS + 1
    both = await asyncio.gather(one.expiry.expire(), two.settle(late, How.CONFIRMED))
    assert both[0] == ""
    assert isinstance(both[1], Done)
    ends = {record.number: record.how for record in await one.settled()}
    assert ends == {hold.number: How.CONFIRMED, late.number: How.EXPIRED}
    again = await one.settle(hold, How.CONFIRMED)
    assert isinstance(again, Done)
    assert again.record == told.record


async def test_more_than_fits_one_transaction_expires_in_one_pass(
    places: list[Place], time: Clock
) -> None:
    one = places[0]
    await one.reserve(2 * expiry.AT_ONCE + 50)
    time.now_ms += LASTS_MS + GRACE_MS
    await one.expiry.expire()
    assert len(await one.settled()) == 2 * expiry.AT_ONCE + 50


async def test_what_no_node_has_in_memory_is_found_and_expires(
    places: list[Place], time: Clock
) -> None:
    one, two = places[:2]
    await one.reserve(40)
    time.now_ms += LASTS_MS
    await one.reserve(5, NEXT_YEAR)
    time.now_ms += GRACE_MS
    await two.expiry.expire()
    assert await two.settled() == []
    assert await two.search.search() == {"COR": Reserved(45, 0)}
    await until(lambda: two.counters.sequencer(COR).holds, "it is loaded")
    assert [name for name, _ in two.counters.of_documents()] == [COR]
    await two.expiry.expire()
    assert len(await two.settled()) == 40
    assert await two.settled(NEXT_YEAR) == []
    assert await two.search.search() == {"COR": Reserved(5, 40)}


async def test_the_search_brings_a_node_up_to_date_on_what_others_reserved(
    places: list[Place], time: Clock
) -> None:
    one, two = places[:2]
    await two.reserve()
    await one.reserve(3)  # node two has the counter, and does not know of these
    time.now_ms += LASTS_MS + GRACE_MS
    await two.search.search()
    await until(lambda: len(two.counters.sequencer(COR).holds) == 4, "it knows of all")
    await two.expiry.expire()
    assert len(await two.settled()) == 4


async def test_when_the_node_that_searches_dies_another_does(
    places: list[Place], time: Clock
) -> None:
    one, two = places[:2]
    await one.reserve()
    with patch.multiple(forgotten, LOOK_EVERY_S=0.02):
        dying = asyncio.create_task(one.search.run())
        await until(lambda: one.reports, "one searches")
        dying.cancel()
        follower = asyncio.create_task(two.search.run())
        await until(lambda: two.reports, "two asks")
        assert (one.reports[0], two.reports[0]) == ({"COR": Reserved(1, 0)}, {})
        time.now_ms += LASTS_MS + GRACE_MS
        await until(lambda: two.reports[-1], "two searches")
        await until(lambda: two.counters.sequencer(COR).holds, "it is loaded")
        follower.cancel()
    await two.expiry.expire()
    assert len(await two.settled()) == 1


async def test_a_role_is_one_nodes_until_its_time_ends(time: Clock) -> None:
    store = MemoryStore()
    one, two = (Role(store, b"/r", name, 1_000) for name in ("one", "two"))
    assert (await one.is_ours(), await two.is_ours()) == (True, False)
    time.now_ms += 900
    assert (await one.is_ours(), await two.is_ours()) == (True, False)
    time.now_ms += 1_000
    assert (await two.is_ours(), await one.is_ours()) == (True, False)


def said_by_the_job(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.name == expiry.__name__]


async def test_while_the_store_refuses_it_is_said_once_and_done_afterwards(
    time: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger=expiry.__name__)
    switch = Switch(MemoryStore())
    place = Place(switch, Keys(), "node-1", deadline_s=0.1)
    for year in range(2026, 2046):
        await place.reserve(2, f"documents/COR/yearly={year}")
    time.now_ms += LASTS_MS + GRACE_MS
    switch.refuses = True
    with patch.multiple(expiry, LOOK_EVERY_S=0.02, REST_S=0.1):
        running = asyncio.create_task(place.expiry.run())
        await asyncio.sleep(1)
        assert ["expire later" in line for line in said_by_the_job(caplog)] == [True]
        assert await place.settled() == []
        switch.refuses = False
        some = place.counters.of_documents()
        await until(lambda: not any(sequencer.holds for _, sequencer in some), "all have expired")
        running.cancel()
    for year in range(2026, 2046):
        assert len(await place.settled(f"documents/COR/yearly={year}")) == 2
    assert len(said_by_the_job(caplog)) == 1
    await place.counters.stop(1)


def test_what_is_due_comes_in_order_and_is_asked_often() -> None:
    holds = Holds()
    assert holds.due(10**15, 5) == []
    for number, until_ms in ((1, 300), (2, 100), (3, 200), (4, 900)):
        holds.open(Hold(number, 1, Held("t", until_ms, "x")))
    assert holds.due(99, 5) == []
    assert [hold.number for hold in holds.due(300, 5)] == [2, 3, 1]
    assert [hold.number for hold in holds.due(300, 2)] == [2, 3]
    holds.settle(2)
    holds.settle(3)
    assert [hold.number for hold in holds.due(250, 5)] == []
    holds.open(Hold(5, 1, Held("t", 240, "x")))
    assert [hold.number for hold in holds.due(250, 5)] == [5]
    assert [hold.number for hold in holds.due(900, 9)] == [5, 1, 4]
