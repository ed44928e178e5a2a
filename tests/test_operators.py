"""What operators do to a counter of documents: assign, void, replace, adjust, import, close."""

import tracemalloc
from typing import Any

import pytest
from document_counters import COR, HERE, KEYS, VALUES, Counter
from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.breaks import Break
from coordinator.core.catalogue import GapPolicy, Series
from coordinator.core.records import Given, How, Imported, Issued, Passed, Voided, passed_with
from coordinator.core.requests import (
    PASS_OVER_MAX,
    Adjust,
    Assign,
    Call,
    Close,
    Import,
    Refused,
    Release,
    Trim,
    Void,
    Why,
)
from coordinator.core.templates import writing_of
from coordinator.core.transaction import Put, Transaction
from coordinator.history import History
from coordinator.jobs.trimming import checkpoint_after
from coordinator.proof import prove
from coordinator.replica import Replica
from coordinator.store import Committed
from coordinator.witness import Witness

MAX = 999
WHY = "asked by the auditor"


def call(key: str | None = None) -> Call:
    return Call(HERE, "r", 0, key, None if key is None else "payload")


def text(number: int) -> str:
    return f"COR-2026-{number:05}"


def assign(number: int, written: str = "", key: str | None = None) -> Assign:
    return Assign(call(key), number, written or text(number), WHY, MAX)


def void(number: int, series: Series | None = None, key: str | None = None) -> Void:
    replacement = writing_of(series.format, VALUES) if series else None
    return Void(call(key), number, text(number), WHY, replacement)


def bring_in(*runs: tuple[int, int]) -> Import:
    return Import(call(), runs, "import-1", (), MAX)


async def states(counter: Counter) -> dict[int, str]:
    """Return what became of each number, by the state loaded anew and by the proof."""
    verdict = await prove(counter.store, KEYS, 1)
    assert verdict.valid, verdict.findings
    state = await counter.reloaded()
    told = dict.fromkeys(range(1, state.head.next), "issued")
    told |= {number: "gap" for run in state.gaps for number in run.numbers}
    told |= {number: "void" for run in state.void for number in run.numbers}
    told |= {hold.number: "held" for hold in state.holds}
    assert verdict.issued_now == sum(which in {"issued", "held"} for which in told.values())
    return told


async def issue(counter: Counter, many: int) -> None:
    """Reserve and confirm the next numbers."""
    state = await counter.replica.state()
    first = state.head.next
    await counter.ask(*(counter.reserve(f"t{first + n}") for n in range(many)))
    await counter.ask(*(counter.settle(first + n, f"t{first + n}") for n in range(many)))


async def test_a_number_that_an_operator_names_is_issued_and_what_it_passes_over_is_void() -> None:
    counter = Counter()
    await issue(counter, 2)
    (done,) = await counter.ask(assign(6))
    assert done.record.given == Given(text(6), WHY)
    assert await states(counter) == {
        1: "issued", 2: "issued", 3: "void", 4: "void", 5: "void", 6: "issued"
    }  # fmt: skip
    passed, _ = done.entry.records
    assert (passed.first, passed.quantity, passed.reason) == (3, 3, f"passed over by {text(6)}")
    (done,) = await counter.ask(counter.reserve("later"))
    assert done.record.first == 7


@pytest.mark.parametrize(
    ("number", "why", "subject"),
    [
        (1, Why.TAKEN, "issued"),
        (2, Why.TAKEN, "reserved"),
        (3, Why.TAKEN, "void"),
        (4, Why.TAKEN, "issued"),
        (0, Why.TAKEN, "below the start"),
        (MAX + 1, Why.EXHAUSTED, str(MAX)),
    ],
)
async def test_a_number_that_is_taken_is_not_assigned(number: int, why: Why, subject: str) -> None:
    counter = Counter()
    await counter.ask(*(counter.reserve(f"t{n}") for n in (1, 2)))
    await counter.ask(counter.settle(1, "t1"))
    await counter.ask(assign(4))
    before = await states(counter)
    assert await counter.ask(assign(number)) == [Refused(why, subject)]
    assert await states(counter) == before


async def test_no_more_numbers_are_passed_over_than_the_operator_has_said() -> None:
    counter = Counter()
    await issue(counter, 1)
    for request in (assign(9), Adjust(call(), 9, WHY, MAX)):
        far = request._replace(pass_over_max=6)
        assert await counter.ask(far) == [Refused(Why.FAR_AHEAD, "7")]
        beyond = [request._replace(**{name: MAX + 1}) for name in ("number", "to")
                  if name in request._fields]  # fmt: skip
        assert await counter.ask(*beyond) == [Refused(Why.EXHAUSTED, str(MAX))]
    scattered = bring_in((4, 2), (9, 1))  # without 2 to 3, and 6 to 8
    far = scattered._replace(pass_over_max=4)
    assert await counter.ask(far) == [Refused(Why.FAR_AHEAD, "5")]
    assert scattered.pass_over_max == PASS_OVER_MAX
    assert await states(counter) == {1: "issued"}
    first, taken = await counter.ask(assign(9)._replace(pass_over_max=7), assign(5))
    assert passed_with(first.entry, first.record) == first.entry.records[0]
    assert taken == Refused(Why.TAKEN, "void")
    adjusted, exact = await counter.ask(Adjust(call(), 12, WHY, MAX), assign(12))
    assert isinstance(adjusted.record, Passed)
    assert passed_with(exact.entry, exact.record) is None


async def test_the_largest_number_can_be_assigned_and_nothing_follows() -> None:
    counter = Counter(Series("COR", COR.template, "COR", COR.scopes, max_value=MAX))
    await counter.ask(assign(MAX))
    assert await counter.ask(counter.reserve()) == [Refused(Why.EXHAUSTED, str(MAX))]
    assert await counter.ask(assign(MAX)) == [Refused(Why.TAKEN, "issued")]


async def test_millions_that_were_passed_over_cost_the_proof_no_memory() -> None:
    counter, far = Counter(), 50_000_000
    await issue(counter, 3)
    await counter.ask(Adjust(call(), far, WHY, far, pass_over_max=far))
    brought = Import(call(), ((2 * far, 5),), "import-1", (), 3 * far, pass_over_max=far)
    await counter.ask(brought)
    tracemalloc.start()
    try:
        verdict = await prove(counter.store, KEYS, 1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (verdict.valid, verdict.issued_now, verdict.highest) == (True, 8, 2 * far + 4)
    assert peak < 5_000_000


async def test_two_who_assign_the_same_number_in_one_batch_do_not_both_get_it() -> None:
    counter = Counter()
    first, second = await counter.ask(assign(3), assign(3))
    assert isinstance(first.record, Issued)
    assert second == Refused(Why.TAKEN, "issued")
    assert (await states(counter))[3] == "issued"


async def test_an_assignment_repeated_under_its_key_answers_the_same() -> None:
    counter = Counter()
    (done,) = await counter.ask(assign(3, key="k"))
    (again,) = await counter.ask(assign(3, key="k"))
    assert (again.entry, again.record, again.replayed) == (done.entry, done.record, True)


async def test_a_void_number_is_void_for_ever_and_its_replacement_names_it() -> None:
    counter = Counter()
    await issue(counter, 2)
    (done,) = await counter.ask(void(1, COR, key="k"))
    replacement, voided = done.entry.records
    assert done.record == voided
    assert (voided.number, voided.replaced_by, voided.issued_in) == (1, 3, 1)
    assert replacement.given == Given(text(3), WHY, replaces=1)
    assert await states(counter) == {1: "void", 2: "issued", 3: "issued"}
    (again,) = await counter.ask(void(1, COR, key="k"))
    assert (again.record, again.replayed) == (voided, True)
    assert await counter.ask(void(1)) == [Refused(Why.VOID, "1")]
    release = Release(call(), 1, "no")
    assert await counter.ask(release) == [Refused(Why.VOID, "1")]


async def test_a_chain_of_replacements_is_read_from_each_of_its_numbers() -> None:
    counter = Counter()
    await issue(counter, 1)
    await counter.ask(void(1, COR))
    await counter.ask(void(2, COR))
    history = History(counter.store, KEYS)
    life = [type(event.record) for event in (await history.life(2)).events]
    assert life == [Issued, Voided]
    first, middle = (await history.life(1)).events[-1].record, (await history.life(2)).events
    assert isinstance(first, Voided)
    assert first.replaced_by == 2
    assert isinstance(middle[0].record, Issued)
    assert middle[0].record.given == Given(text(2), WHY, replaces=1)
    assert isinstance(middle[1].record, Voided)
    assert middle[1].record.replaced_by == 3


async def test_only_a_number_in_use_is_voided_and_only_as_it_is_written() -> None:
    counter = Counter(Series("COR", COR.template, "COR", COR.scopes, gap_policy=GapPolicy.REUSE))
    await counter.ask(*(counter.reserve(f"t{n}") for n in (1, 2, 3)))
    await counter.ask(counter.settle(1, "t1"), counter.settle(2, "t2", How.CANCELLED))
    assert await counter.ask(void(2), void(3), void(9)) == [
        Refused(Why.ALREADY_FREE, "2"), Refused(Why.HELD, "3"), Refused(Why.NEVER_ISSUED, "9")
    ]  # fmt: skip
    wrong = void(1)._replace(text="COR-2026-1")
    assert await counter.ask(wrong) == [Refused(Why.OTHER_TEXT, text(1))]
    first, second = await counter.ask(void(1), void(1))
    assert isinstance(first.record, Voided)
    assert second == Refused(Why.VOID, "1")
    await states(counter)


async def test_under_reuse_a_replacement_takes_the_lowest_gap() -> None:
    series = Series("COR", COR.template, "COR", COR.scopes, gap_policy=GapPolicy.REUSE)
    counter = Counter(series)
    await issue(counter, 3)
    await counter.ask(counter.reserve("x"))
    await counter.ask(counter.settle(4, "x", How.CANCELLED))
    (done,) = await counter.ask(void(2, series))
    assert done.record.replaced_by == 4
    assert await states(counter) == {1: "issued", 2: "void", 3: "issued", 4: "issued"}


async def test_gaps_wait_in_order_while_an_operator_names_a_number_after_a_trim() -> None:
    series = Series("COR", COR.template, "COR", COR.scopes, gap_policy=GapPolicy.REUSE)
    counter = Counter(series)
    await counter.ask(*(counter.reserve(f"t{n}") for n in (1, 2, 3)))
    await counter.ask(*(counter.settle(n, f"t{n}", How.CANCELLED) for n in (1, 2)))
    checkpoint = await checkpoint_after(counter.store, KEYS, 1, 2)
    await counter.ask(Adjust(call(), 5, WHY, MAX))
    await counter.ask(Trim(call(), checkpoint))
    await counter.ask(assign(5))  # the gaps are older than what the ledger still has
    assert await states(counter) == {1: "gap", 2: "gap", 3: "held", 4: "void", 5: "issued"}
    (done,) = await counter.ask(void(5, series))
    assert done.record.replaced_by == 1
    assert (await states(counter))[1] == "issued"


async def test_a_replacement_beyond_the_largest_number_voids_nothing() -> None:
    series = Series("COR", COR.template, "COR", COR.scopes, max_value=2)
    counter = Counter(series)
    await issue(counter, 2)
    assert await counter.ask(void(1, series)) == [Refused(Why.EXHAUSTED, "2")]
    assert await states(counter) == {1: "issued", 2: "issued"}


async def test_an_adjusted_count_goes_on_there_and_never_goes_back() -> None:
    counter = Counter()
    await issue(counter, 1)
    (done,) = await counter.ask(Adjust(call(), 5, WHY, MAX))
    assert (done.record.first, done.record.quantity, done.record.reason) == (2, 3, WHY)
    for to in (1, 5):
        assert await counter.ask(Adjust(call(), to, WHY, MAX)) == [Refused(Why.NOT_AHEAD, "5")]
    assert await counter.ask(Adjust(call(), MAX + 1, WHY, MAX)) == [
        Refused(Why.EXHAUSTED, str(MAX))
    ]
    (done,) = await counter.ask(counter.reserve())
    assert done.record.first == 5
    assert isinstance((await History(counter.store, KEYS).life(3)).events[0].record, Passed)


async def test_imported_numbers_are_in_use_and_what_the_file_lacks_is_void() -> None:
    counter = Counter()
    (done,) = await counter.ask(bring_in((2, 2), (7, 1)))
    assert isinstance(done.record, Imported)
    assert await states(counter) == {
        1: "void", 2: "issued", 3: "issued", 4: "void", 5: "void", 6: "void", 7: "issued"
    }  # fmt: skip
    assert (await counter.reloaded()).head.issued == 3
    (done,) = await counter.ask(void(3, COR))
    assert (done.record.issued_in, done.record.replaced_by) == (1, 8)
    assert (await History(counter.store, KEYS).holder(5)).origin is None
    assert await counter.ask(bring_in((6, 3))) == [Refused(Why.TAKEN, "void")]
    assert await counter.ask(bring_in((MAX, 2))) == [Refused(Why.EXHAUSTED, str(MAX))]


async def test_a_closed_counter_gives_out_nothing_and_waits_for_its_reservations() -> None:
    counter = Counter()
    close = Close(call(), WHY)
    await counter.ask(counter.reserve("x"))
    assert await counter.ask(close) == [Refused(Why.OPEN_RESERVATIONS, "1")]
    reserved, closed = await counter.ask(counter.reserve("y"), close)
    assert isinstance(reserved.record, Issued)
    assert closed == Refused(Why.OPEN_RESERVATIONS, "2")
    await counter.ask(counter.settle(1, "x"))
    confirmed, closed, late = await counter.ask(counter.settle(2, "y"), close, counter.reserve())
    assert closed.record.reason == WHY
    assert late == Refused(Why.CLOSED)
    refused = [counter.reserve(), assign(9), Adjust(call(), 9, WHY, MAX), bring_in((9, 1))]
    for request in (*refused, void(1, COR)):
        assert await counter.ask(request) == [Refused(Why.CLOSED)]
    assert await counter.ask(Release(call(), 1, "no")) == [Refused(Why.CLOSED, "1")]
    assert await counter.ask(close) == [Refused(Why.CLOSED)]
    (done,) = await counter.ask(void(1))  # a mistake can still be taken out of the books
    assert isinstance(done.record, Voided)
    assert await states(counter) == {1: "void", 2: "issued"}
    del confirmed


STEPS = ("reserve", "confirm", "cancel", "assign", "void", "replace", "adjust", "import", "restart")


def expected(books: dict[int, str], what: str, target: int, pick: int, left: str) -> dict[int, str]:
    """Return what becomes of which number, in a few lines; nothing when it must be refused."""
    following = max(books, default=0) + 1
    gaps = [number for number, which in books.items() if which == "gap"]
    fresh = min(gaps, default=following)
    passed = dict.fromkeys(range(following, target), "void")
    match what:
        case "reserve":
            return {fresh: "held"}
        case "confirm" | "cancel":
            return {target: "issued" if what == "confirm" else left}
        case "void" | "replace" if books.get(target) == "issued":
            return {target: "void"} | ({fresh: "issued"} if what == "replace" else {})
        case "assign" | "import" if target >= following:
            many = pick if what == "import" else 1
            return passed | dict.fromkeys(range(target, target + many), "issued")
        case "adjust" if target > following:
            return passed
    return {}


@given(
    st.lists(st.tuples(st.sampled_from(STEPS), st.integers(1, 9)), min_size=4, max_size=30),
    st.sampled_from(GapPolicy),
)
async def test_whatever_operators_do_every_number_is_accounted_for(
    some: list[tuple[str, int]], policy: GapPolicy
) -> None:
    series = Series("COR", COR.template, "COR", COR.scopes, gap_policy=policy, max_value=MAX)
    counter, books = Counter(series), dict[int, str]()
    left = "gap" if policy is GapPolicy.REUSE else "void"
    for serial, (what, pick) in enumerate(some):
        following = max(books, default=0) + 1
        target = following - 1 + pick if what in {"assign", "adjust", "import"} else pick
        requests: dict[str, Any] = {
            "reserve": counter.reserve(f"t{serial}"),
            "assign": assign(target),
            "void": void(target),
            "replace": void(target, series),
            "adjust": Adjust(call(), target, WHY, MAX),
            "import": bring_in((target, pick)),
        }
        hold = (await counter.replica.state()).holds.of(target)
        if hold is not None:
            token = hold.held.token
            requests["confirm"] = counter.settle(target, token)
            requests["cancel"] = counter.settle(target, token, How.CANCELLED)
        if what not in requests:
            counter.replica = Replica(counter.store, KEYS, 1, Witness())  # as after a restart
            continue
        (told,) = await counter.ask(requests[what])
        changed = expected(books, what, target, pick, left)
        assert isinstance(told, Refused) == (not changed), (what, target, told)
        books |= changed
    assert await states(counter) == books


async def found_after(*records: str) -> set[Break]:
    """Return what the proof finds when void keys are forged."""
    counter = Counter()
    await issue(counter, 3)
    await counter.ask(void(2))
    writes = tuple(Put(KEYS.void(3), record.encode()) for record in records)
    assert isinstance(
        await counter.store.commit(Transaction(counter.replica.guard, writes, ())), Committed
    )
    return {finding.kind for finding in (await prove(counter.store, KEYS, 1)).findings}


async def test_a_void_key_that_says_other_than_the_ledger_is_found() -> None:
    assert await found_after('{"t":1000000,"r":[[2,1]]}') == set()
    assert await found_after('{"t":1000000,"r":[[2,2]]}') == {Break.ALTERED_KEY}
