"""Reservations in the core: made, settled once, and never lost, on any history."""

from dataclasses import replace
from typing import Any

import pytest
from document_counters import COR, HERE, KEYS, VALUES, Counter
from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.breaks import Break
from coordinator.core.catalogue import GapPolicy, Series
from coordinator.core.records import How, Issued, Settled
from coordinator.core.requests import Call, Done, Refused, Trim, Void, Why
from coordinator.core.templates import writing_of
from coordinator.core.transaction import Delete, Put, Transaction
from coordinator.jobs.trimming import checkpoint_after
from coordinator.proof import prove
from coordinator.replica import Replica
from coordinator.store import Committed
from coordinator.witness import Witness


async def test_a_reservation_reads_as_its_series_writes_and_lasts_as_long_as_it_says() -> None:
    counter = Counter()
    (done,) = await counter.ask(counter.reserve())
    assert isinstance(done.record, Issued)
    assert done.record.held == ("t", 1_300_000, "COR-2026-00001")
    assert (await counter.reloaded()).head.held == 1


@pytest.mark.parametrize("how", How)
async def test_it_is_settled_once_and_who_comes_later_hears_how(how: How) -> None:
    counter = Counter()
    await counter.ask(counter.reserve())
    counter.now_ms += 300_000 if how is How.EXPIRED else 1
    (done,) = await counter.ask(counter.settle(1, how=how))
    assert (done.record.how, done.replayed) == (how, False)
    for other in How:
        (again,) = await counter.ask(counter.settle(1, how=other))
        assert again == Done(done.entry, done.record, replayed=True)
    assert (await counter.reloaded()).head.void == (how is not How.CONFIRMED)


async def test_a_late_confirm_finds_that_it_has_expired_and_expiry_is_never_early() -> None:
    counter = Counter()
    await counter.ask(counter.reserve())
    assert await counter.ask(counter.settle(1, how=How.EXPIRED)) == [
        Refused(Why.NOT_DUE, "COR-2026-00001")
    ]
    counter.now_ms += 300_000
    (done,) = await counter.ask(counter.settle(1))
    assert done.record.how is How.EXPIRED


async def test_two_that_settle_in_one_batch_are_told_the_same() -> None:
    counter = Counter()
    await counter.ask(counter.reserve())
    first, second = await counter.ask(counter.settle(1), counter.settle(1, how=How.CANCELLED))
    assert (first.record, second.record) == (second.record, first.record)
    assert (first.replayed, second.replayed) == (False, True)


async def test_a_wrong_token_settles_nothing() -> None:
    counter = Counter()
    await counter.ask(counter.reserve())
    for number, token in ((1, "x"), (2, "t"), (7, "t")):
        (told,) = await counter.ask(counter.settle(number, token))
        assert told == Refused(Why.NO_RESERVATION, str(number))
    assert (await counter.reloaded()).head.held == 1


async def test_under_reuse_a_cancelled_number_goes_to_the_next_one_and_under_void_never() -> None:
    for policy, then in ((GapPolicy.REUSE, 1), (GapPolicy.VOID, 2)):
        counter = Counter(COR.__class__("COR", COR.template, "COR", COR.scopes, gap_policy=policy))
        await counter.ask(counter.reserve())
        cancelled, reserved = await counter.ask(
            counter.settle(1, how=How.CANCELLED), counter.reserve("u")
        )
        assert isinstance(cancelled.record, Settled)
        assert reserved.record.spans()[0].start == then


async def test_a_free_number_above_a_largest_one_that_was_lowered_is_not_reserved() -> None:
    series = Series("COR", COR.template, "COR", COR.scopes, gap_policy=GapPolicy.REUSE)
    counter = Counter(series)
    await counter.ask(*(counter.reserve(f"t{number}") for number in (1, 2, 3)))
    await counter.ask(*(counter.settle(n, f"t{n}", How.CANCELLED) for n in (1, 3)))
    counter.series = replace(series, max_value=2)
    told = await counter.ask(counter.reserve("x"), counter.reserve("y"))
    assert [getattr(told[0], "record", None) is not None, told[1]] == [
        True,
        Refused(Why.EXHAUSTED, "2"),
    ]


async def test_whoever_reserves_beside_one_who_cancels_closes_the_gap_that_it_takes() -> None:
    counter = Counter(Series("COR", COR.template, "COR", COR.scopes, gap_policy=GapPolicy.REUSE))
    await counter.ask(*(counter.reserve(f"t{n}") for n in range(6)))
    await counter.ask(counter.settle(5, "t4", How.CANCELLED))
    reserved, _ = await counter.ask(counter.reserve("u"), counter.settle(3, "t2", How.CANCELLED))
    assert reserved.record.spans()[0].start == 3
    state = await counter.reloaded()
    assert [number for run in state.gaps for number in run.numbers] == [5]
    assert (await prove(counter.store, KEYS, 1)).valid


async def test_whoever_replaces_a_void_number_closes_the_gap_that_it_takes() -> None:
    counter = Counter(Series("COR", COR.template, "COR", COR.scopes, gap_policy=GapPolicy.REUSE))
    await counter.ask(*(counter.reserve(f"t{n}") for n in range(6)))
    await counter.ask(counter.settle(5, "t4", How.CANCELLED), counter.settle(6, "t5"))
    writing = writing_of(COR.format, VALUES)
    void = Void(Call(HERE, "v", 0), 6, "COR-2026-00006", "misprinted", writing)
    voided, _ = await counter.ask(void, counter.settle(3, "t2", How.CANCELLED))
    assert voided.record.replaced_by == 3
    assert [number for run in (await counter.reloaded()).gaps for number in run.numbers] == [5]
    assert (await prove(counter.store, KEYS, 1)).valid


async def test_at_the_largest_number_no_more_are_reserved() -> None:
    counter = Counter(Series("COR", COR.template, "COR", COR.scopes, max_value=2))
    replies = await counter.ask(*(counter.reserve(f"t{n}") for n in range(4)))
    assert replies[2:] == [Refused(Why.EXHAUSTED, "2")] * 2


class Model:
    """What should be, told by callers' own eyes."""

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.left = "gap" if counter.series.gap_policy is GapPolicy.REUSE else "void"
        self.held: dict[int, int] = {}
        """Until when, by number."""
        self.final: dict[int, str] = {}
        self.tokens: list[tuple[int, str]] = []

    async def reserve(self, many: int) -> None:
        names = [f"t{len(self.tokens) + n}" for n in range(many)]
        replies = await self.counter.ask(*map(self.counter.reserve, names))
        for name, done in zip(names, replies, strict=True):
            number = done.record.spans()[0].start
            gaps = [n for n, state in self.final.items() if state == "gap"]
            assert number == min(gaps, default=max([*self.held, *self.final], default=0) + 1)
            self.final.pop(number, None)
            self.held[number] = self.counter.now_ms + 300_000
            self.tokens.append((number, name))

    async def settle(self, pick: int, how: How) -> None:
        number, token = self.tokens[pick % len(self.tokens)]
        is_open = (number, token) in self.open
        (told,) = await self.counter.ask(self.counter.settle(number, token, how))
        if not is_open:
            assert told.replayed
            return
        is_over = self.counter.now_ms >= self.held[number]
        if how is How.EXPIRED and not is_over:
            assert told == Refused(Why.NOT_DUE, f"COR-2026-{number:05}")
            return
        ended = How.EXPIRED if is_over and how is How.CONFIRMED else how
        assert (told.record.how, told.replayed) == (ended, False)
        del self.held[number]
        self.final[number] = "issued" if ended is How.CONFIRMED else self.left

    @property
    def open(self) -> set[tuple[int, str]]:
        """The newest token of each number that is held."""
        return {(number, token) for number, token in dict(self.tokens).items()} & {
            pair for pair in self.tokens if pair[0] in self.held
        }

    def check(self, state: Any) -> None:
        assert {hold.number: hold.held.until_ms for hold in state.holds} == self.held
        for kind, runs in (("gap", state.gaps), ("void", state.void)):
            numbers = {number for run in runs for number in run.numbers}
            assert numbers == {number for number, is_ in self.final.items() if is_ == kind}
        assert sorted([*self.held, *self.final]) == list(range(1, state.head.next))
        counts = (len(self.held), len(state.gaps), len(state.void))
        assert (state.head.held, state.head.gaps, state.head.void) == counts


WAIT, RESTART = "wait", "restart"
steps = st.lists(
    st.tuples(st.sampled_from([WAIT, RESTART, "reserve", "reserve", *How]), st.integers(0, 40)),
    min_size=5,
    max_size=40,
)


@given(steps, st.sampled_from(GapPolicy))
async def test_any_history_accounts_for_every_number(
    some: list[tuple[str, int]], policy: GapPolicy
) -> None:
    counter = Counter(Series("COR", COR.template, "COR", COR.scopes, gap_policy=policy))
    model = Model(counter)
    await model.reserve(3)
    for what, pick in some:
        if what == WAIT:
            counter.now_ms += 100_000
        elif what == RESTART:
            counter.replica = Replica(counter.store, KEYS, 1, Witness())
        elif what == "reserve":
            await model.reserve(1 + pick % 5)
        else:
            await model.settle(pick, How(what))
    model.check(await counter.replica.state())
    model.check(await counter.reloaded())
    verdict = await prove(counter.store, KEYS, 1)
    assert verdict.valid, verdict.findings
    assert set(verdict.gaps) == {n for n, state in model.final.items() if state == "gap"}


async def broken(*writes: Any) -> set[Break]:
    """Return what the proof finds when somebody writes to the store behind our back."""
    counter = Counter()
    await counter.ask(*(counter.reserve(f"t{n}") for n in range(4)))
    await counter.ask(counter.settle(1, "t0"), counter.settle(2, "t1", How.CANCELLED))
    assert (await prove(counter.store, KEYS, 1)).valid
    guard = counter.replica.guard
    outcome = await counter.store.commit(Transaction(guard, writes, ()))
    assert isinstance(outcome, Committed)
    return {finding.kind for finding in (await prove(counter.store, KEYS, 1)).findings}


async def test_keys_of_reservations_that_are_not_what_the_ledger_gives_are_found() -> None:
    void, held = KEYS.void(2), KEYS.held(0)  # entry 2 made a number void
    assert await broken(Delete(void, void + b"\0")) == {Break.MISSING_KEY}
    assert await broken(Put(KEYS.void(3), b"{}")) == {Break.STRAY_KEY}
    assert await broken(Delete(held, held + b"\0")) == {Break.MISSING_KEY}
    assert await broken(Put(held, b"[]")) == {Break.ALTERED_KEY}
    assert await broken(Put(KEYS.held(7), b"[]")) == {Break.STRAY_KEY}


async def trimmed() -> Counter:
    """Return a counter whose trimmed entries have left 3 and 4 reserved, and 2 void."""
    counter = Counter()
    await counter.ask(*(counter.reserve(f"t{n}") for n in range(4)))
    await counter.ask(counter.settle(1, "t0"), counter.settle(2, "t1", How.CANCELLED))
    await counter.ask(counter.reserve("u"))
    checkpoint = await checkpoint_after(counter.store, KEYS, 1, 2)
    (done,) = await counter.ask(Trim(Call(HERE, "trim", 0), checkpoint))
    assert isinstance(done, Done)
    return counter


async def test_what_trimmed_entries_have_reserved_is_settled_and_proven_all_the_same() -> None:
    counter = await trimmed()
    assert (await prove(counter.store, KEYS, 1)).findings == ()
    for number, token, how in ((3, "t2", How.CANCELLED), (5, "u", How.CONFIRMED)):
        (done,) = await counter.ask(counter.settle(number, token, how))
        assert (done.record.number, done.record.how) == (number, how)
        assert (await prove(counter.store, KEYS, 1)).findings == ()


async def test_keys_that_trimmed_entries_have_left_are_counted() -> None:
    void, held = KEYS.void(2), KEYS.held(0)
    for write, kind in (
        (Delete(void, void + b"\0"), Break.MISSING_KEY),
        (Delete(held, held + b"\0"), Break.MISSING_KEY),
        (Put(held, b"[]"), Break.ALTERED_KEY),
        (Put(KEYS.void(1), b'{"t":1000000,"r":[[4,1]]}'), Break.STRAY_KEY),
    ):
        counter = await trimmed()
        await counter.store.commit(Transaction(counter.replica.guard, (write,), ()))
        findings = (await prove(counter.store, KEYS, 1)).findings
        assert kind in {finding.kind for finding in findings}, write
