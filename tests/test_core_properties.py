"""Invariants 1 to 4, for any history, against a deliberately simple model of a gapless count.

Plans are committed to the in-memory store, which refuses what etcd refuses. After every batch the
store's own content is proven, and a replica loaded from it must equal the one that was advanced.
"""

import asyncio
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.core import state as states
from coordinator.core.head import Rate
from coordinator.core.keys import Keys
from coordinator.core.plan import Rules, plan
from coordinator.core.records import Issued, Origin, Part
from coordinator.core.requests import (
    Ask,
    Call,
    Done,
    Instant,
    Issue,
    NeedsEntries,
    NeedsHolder,
    Refused,
    Release,
    Request,
    Reset,
    Why,
)
from coordinator.core.room import Limits
from coordinator.core.state import CounterState
from coordinator.core.transaction import Range
from coordinator.history import History
from coordinator.replica import Replica
from coordinator.store import Committed
from coordinator.store.memory import MemoryStore
from coordinator.witness import Witness

KEYS = Keys().counter("invoice")
PLAIN = Rules()
PARTS = (Part("n", "i", 1),)
SITES = [Origin("site-1", "partition-a", "on-cycle"), Origin("site-2", "partition-b", "simulated")]


class Model:
    """What the law wants, in the fewest words: owners of numbers, and a set of free ones."""

    def __init__(self) -> None:
        self.owner: dict[int, str] = {}
        self.free: set[int] = set()

    def issue(self, quantity: int, site: str) -> list[int]:
        got = []
        for _ in range(quantity):
            number = min(self.free) if self.free else len(self.owner) + 1
            self.free.discard(number)
            self.owner[number] = site
            got.append(number)
        return got

    def release(self, number: int, site: str) -> Why | None:
        if number not in self.owner:
            return Why.NEVER_ISSUED
        if number in self.free:
            return Why.ALREADY_FREE
        if self.owner[number] != site:
            return Why.OTHER_OWNER
        self.free.add(number)
        return None


issues = st.tuples(st.just("issue"), st.integers(1, 12), st.integers(0, 1))
automatic = st.tuples(st.just("automatic"), st.integers(1, 3), st.integers(0, 1))
releases = st.tuples(st.just("release"), st.integers(0, 60), st.integers(0, 1))
batches = st.lists(
    st.lists(st.one_of(issues, automatic, releases), min_size=1, max_size=8), max_size=12
)


def request_of(kind: str, value: int, site: int) -> Request:
    call = Call(SITES[site], "correlation", 0)
    match kind:
        case "issue":
            return Issue(call, value)
        case "automatic":
            return Issue(call, value, release_at_once=True)
        case _:
            return Release(call, value, "wrong customer")


async def commit_batch(
    store: MemoryStore, replica: Replica, requests: list[Request], rules: Rules = PLAIN
) -> list[Any]:
    """Plan and commit until every request of the batch is answered; return the answers."""
    history = History(store, KEYS)
    asks = [
        Ask(r, holder=await history.holder(r.number)) if isinstance(r, Release) else Ask(r)
        for r in requests
    ]
    answers: list[Any] = []
    while asks:
        state = await replica.state()
        parts = (Part("node-1", "run", state.head.index),)
        now = Instant(1_000_000 + 100 * state.head.index, 500)
        planned = plan(state, KEYS, replica.guard, asks, now, parts, rules)
        outcome = await store.commit(planned.transaction)
        assert isinstance(outcome, Committed)
        if planned.entry:
            replica.advance(planned.entry, planned.after, outcome.revision)
        answers += planned.replies
        asks = asks[len(planned.replies) :]
    return answers


def check_against_model(model: Model, batch: list[Any], answers: list[Any]) -> None:
    order = {"release": 0, "automatic": 1, "issue": 2}
    in_order = sorted(zip(batch, answers, strict=True), key=lambda pair: order[pair[0][0]])
    for (kind, value, site), answer in in_order:
        owner = SITES[site].site
        if kind == "release":
            expected = model.release(value, owner)
            assert (answer.why if isinstance(answer, Refused) else None) == expected, answer
        else:
            numbers = model.issue(value, owner)
            assert isinstance(answer, Done)
            assert isinstance(answer.record, Issued)
            assert answer.record.numbers() == numbers
            if kind == "automatic":
                model.free.update(numbers)


def marks_in(state: CounterState) -> list[tuple[int, int, int]]:
    return [(n, r.released_in, r.released_ms) for r in state.gaps for n in r.numbers]


def numbers_in(state: CounterState) -> list[int]:
    return [number for number, _, _ in marks_in(state)]


@settings(max_examples=150, deadline=None)
@given(batches)
def test_any_history_is_gapless_unique_and_lowest_first(history: list[Any]) -> None:
    async def run() -> None:
        store, model = MemoryStore(), Model()
        replica = Replica(store, KEYS, 1, Witness())
        for batch in history:
            answers = await commit_batch(store, replica, [request_of(*r) for r in batch])
            check_against_model(model, batch, answers)

            state = await replica.state()
            assert numbers_in(state) == sorted(model.free)
            assert state.head.next == len(model.owner) + 1
            verdict = await History(store, KEYS).prove(start=1)
            assert verdict.valid, verdict.findings
            assert verdict.issued_now == len(model.owner) - len(model.free)

            reloaded = await Replica(store, KEYS, 1, Witness()).state()
            assert reloaded.head == state.head
            assert marks_in(reloaded) == marks_in(state)

    asyncio.run(run())


@settings(max_examples=60, deadline=None)
@given(batches)
def test_the_life_of_every_number_tells_its_owners(history: list[Any]) -> None:
    async def run() -> None:
        store, model = MemoryStore(), Model()
        replica = Replica(store, KEYS, 1, Witness())
        for batch in history:
            answers = await commit_batch(store, replica, [request_of(*r) for r in batch])
            check_against_model(model, batch, answers)
        reading = History(store, KEYS)
        for number, owner in model.owner.items():
            events = (await reading.life(number)).events
            kinds = [type(event.record).__name__ for event in events]
            assert kinds == (["Issued", "Released"] * len(kinds))[: len(kinds)]
            assert (kinds[-1] == "Released") == (number in model.free)
            holder = await reading.holder(number)
            if number in model.free:
                assert holder.origin is None
            else:
                assert holder.origin is not None
                assert holder.origin.site == owner

    asyncio.run(run())


@settings(max_examples=60, deadline=None)
@given(batches, st.integers(12, 30), st.integers(2_000, 8_000))
def test_batches_are_split_to_fit_the_stores_limits(
    history: list[Any], operations: int, entry_bytes: int
) -> None:
    async def run() -> None:
        store = MemoryStore()
        replica = Replica(store, KEYS, 1, Witness())
        rules = Rules(limits=Limits(operations, entry_bytes, 4))
        for batch in history:
            before = (await replica.state()).head.index
            answers = await commit_batch(store, replica, [request_of(*r) for r in batch], rules)
            assert len(answers) == len(batch)
            assert (await replica.state()).head.index - before <= len(batch)
        assert (await History(store, KEYS).prove(start=1)).valid

    asyncio.run(run())


async def test_a_reset_starts_the_count_anew_and_stays_in_the_ledger() -> None:
    store = MemoryStore()
    replica = Replica(store, KEYS, 1, Witness())
    site = SITES[0]
    await commit_batch(store, replica, [Issue(Call(site, "c", 0), 5)])
    await commit_batch(store, replica, [Release(Call(site, "c", 0), 3, "mistake")])
    await commit_batch(store, replica, [Reset(Call(site, "c", 0))])
    (answer,) = await commit_batch(store, replica, [Issue(Call(site, "c", 0), 2)])

    assert answer.record.numbers() == [1, 2]
    verdict = await History(store, KEYS).prove(start=1)
    assert verdict.valid, verdict.findings
    assert (verdict.entries, verdict.highest, verdict.gaps) == (4, 2, ())
    assert [len((await History(store, KEYS).life(n)).events) for n in (1, 2, 3)] == [1, 1, 0]


async def test_a_count_beyond_the_series_end_is_refused_and_nothing_is_taken() -> None:
    store = MemoryStore()
    replica = Replica(store, KEYS, 1, Witness())
    rules = Rules(max_value=5)
    call = Call(SITES[0], "c", 0)
    answers = await commit_batch(
        store, replica, [Issue(call, 4), Issue(call, 2), Issue(call)], rules
    )
    assert [a.record.numbers() for a in (answers[0], answers[2])] == [[1, 2, 3, 4], [5]]
    assert answers[1] == Refused(Why.EXHAUSTED, "5")


async def test_a_release_waits_for_evidence_no_older_than_the_last_release() -> None:
    store = MemoryStore()
    replica = Replica(store, KEYS, 1, Witness())
    mine, theirs = (Call(site, "c", 0) for site in SITES)
    await commit_batch(store, replica, [Issue(mine, 1)])
    old_evidence = await History(store, KEYS).holder(1)
    await commit_batch(store, replica, [Release(mine, 1, "mistake")])
    await commit_batch(store, replica, [Issue(theirs, 1)])

    ask = Ask(Release(mine, 1, "mistake"), holder=old_evidence)
    state = await replica.state()
    planned = plan(state, KEYS, replica.guard, [ask], Instant(0, 0), PARTS, Rules())
    assert planned.replies == (NeedsHolder(1),)
    assert planned.entry is None


async def test_the_same_key_gets_the_same_number_and_another_payload_is_refused() -> None:
    store = MemoryStore()
    replica = Replica(store, KEYS, 1, Witness())
    keyed = Call(SITES[0], "c", 0, key="order 7", payload="aa")
    other = keyed._replace(payload="bb")
    first, twin, wrong = await commit_batch(
        store, replica, [Issue(keyed), Issue(keyed), Issue(other)]
    )
    assert first.record.numbers() == twin.record.numbers() == [1]
    assert (first.replayed, twin.replayed) == (False, True)
    assert wrong == Refused(Why.KEY_REUSED, "order 7")

    (needs,) = await commit_batch(store, replica, [Issue(keyed)])
    earlier = await History(store, KEYS).entries(needs.indexes)
    state = await Replica(store, KEYS, 1, Witness()).state()  # another node, fresh from the store
    asks = [Ask(Issue(call), earlier=earlier) for call in (keyed, other)]
    planned = plan(state, KEYS, replica.guard, asks, Instant(0, 0), PARTS, Rules())
    replay, refused = planned.replies
    assert isinstance(replay, Done)
    assert replay.replayed
    assert replay.record == first.record
    assert refused == Refused(Why.KEY_REUSED, "order 7")
    assert planned.entry is None


async def test_a_replay_is_not_judged_by_another_request_of_its_batch() -> None:
    store = MemoryStore()
    replica = Replica(store, KEYS, 1, Witness())
    right = Call(SITES[0], "c", 0, key="order 7", payload="aa")
    wrong = right._replace(payload="bb")
    (first,) = await commit_batch(store, replica, [Issue(right)])
    earlier = (first.entry,)
    state = await replica.state()
    asks = [Ask(Issue(call), earlier=earlier) for call in (wrong, right)]
    now = Instant(0, 0)
    planned = plan(state, KEYS, replica.guard, asks, now, PARTS, PLAIN)
    assert planned.replies[0] == Refused(Why.KEY_REUSED, "order 7")
    assert planned.replies[1] == first._replace(replayed=True)


async def test_a_key_whose_first_request_is_refused_stays_free_for_another() -> None:
    store = MemoryStore()
    replica = Replica(store, KEYS, 1, Witness())
    rules = Rules(max_value=3)
    large = Call(SITES[0], "c", 0, key="order 7", payload="aa")
    small = large._replace(payload="bb")
    answers = await commit_batch(store, replica, [Issue(large, 5), Issue(small, 1)], rules)
    assert answers == [Refused(Why.EXHAUSTED, "3"), NeedsEntries(())]
    (again,) = await commit_batch(store, replica, [Issue(small, 1)], rules)
    assert again.record.numbers() == [1]


def test_a_clock_that_jumped_does_not_spoil_the_rate() -> None:
    rate = Rate().add(5, 1_000).add(7, 1_001)
    assert rate.per_second(1_001) == 5
    assert rate.add(2, 999) == Rate(1_001, 9, 5)  # clocks differ a little
    jumped = rate.add(1, 9_000)
    assert jumped.add(3, 1_002).add(4, 1_003).per_second(1_003) == 3


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 3)), max_size=120), st.data())
def test_gaps_are_kept_in_order_however_they_come_and_go(some: list[Any], data: Any) -> None:
    with patch.object(states, "GAPS_PER_PAGE", 4):
        gaps, plain = states.Gaps(), dict[int, tuple[int, int]]()
        for number, entry in some:
            assert (number in gaps) == (number in plain)
            if number not in plain:
                gaps.add(number, entry, 10 * entry)
                plain[number] = (entry, 10 * entry)
            if data.draw(st.integers(0, 3)) == 0:
                count = data.draw(st.integers(0, len(plain)))
                gaps.remove_lowest(count)
                for lowest in sorted(plain)[:count]:
                    del plain[lowest]
        there = [(n, (r.released_in, r.released_ms)) for r in gaps for n in r.numbers]
        assert there == sorted(plain.items())
        assert len(gaps) == len(plain)


async def test_a_bulk_release_and_its_reuse_stay_compact_and_are_proven() -> None:
    store = MemoryStore()
    replica = Replica(store, KEYS, 1, Witness())
    mine = Call(SITES[0], "c", 0)
    await commit_batch(store, replica, [Issue(mine, 10_000)])
    await commit_batch(store, replica, [Issue(mine, 60, release_at_once=True)])
    (answer,) = await commit_batch(store, replica, [Issue(mine, 10_000)])
    assert answer.record.spans() == [range(10_001, 10_061), range(10_061, 20_001)]
    (entry,) = (await store.read(Range(KEYS.entry(3)))).found[0]
    assert len(entry.value) < 400
    assert (await store.read(Range(KEYS.reuse(3)))).found[0][0].value == b"[[10001,10060]]"
    verdict = await History(store, KEYS).prove(start=1)
    assert verdict.valid, verdict.findings
