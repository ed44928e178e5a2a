"""What a number's records say of it: on counters of every kind of life, by the audit's words."""

from typing import Any

import pytest
from document_counters import COR, KEYS, Counter
from test_operators import WHY, assign, bring_in, call, issue, text, void

from coordinator.api.audit import Cursor, Filter, listing
from coordinator.api.audit_records import rows_of_life
from coordinator.chains import chain
from coordinator.core.catalogue import GapPolicy, Series
from coordinator.core.records import How, Issued
from coordinator.core.requests import Adjust, Close, Release
from coordinator.core.standing import NumberState, standing
from coordinator.history import History

REUSE = Series("COR", COR.template, "COR", COR.scopes, gap_policy=GapPolicy.REUSE)


def history(counter: Counter) -> History:
    return History(counter.store, KEYS)


async def state(counter: Counter, number: int) -> tuple[str, str | None]:
    life = await history(counter).life(number)
    records = [event.record for event in life.events]
    told = standing(records, number, is_held=life.hold is not None)
    return told.state.value, told.reason


async def told(counter: Counter, number: int) -> list[tuple[str, str]]:
    """Return operation and status of each record of a number's life."""
    life = await history(counter).life(number)
    records = rows_of_life(life.events, number)
    return [(record["operationType"], record["status"]) for record in records]


async def listed(counter: Counter, **wanted: str) -> list[tuple[int | None, str, str]]:
    found = await listing(history(counter), Cursor(), 100, Filter(**wanted))
    names = ("sequenceNumber", "operationType", "status")
    return [tuple(record[name] for name in names) for _, record in found.records]  # type: ignore[misc]


async def one_of_each(counter: Counter) -> None:
    """Let numbers 1 to 8 end in every way there is under the policy ``void``."""
    await counter.ask(*(counter.reserve(f"t{n}") for n in (1, 2, 3, 4)))
    await counter.ask(counter.settle(1, "t1"), counter.settle(2, "t2", How.CANCELLED))
    counter.now_ms += 1_000 * COR.reservation_s
    await counter.ask(counter.settle(3, "t3", How.EXPIRED))
    await counter.ask(assign(6), void(1, COR))  # 5 is passed over, 7 takes the place of 1


EACH = [
    (1, "VOID", WHY, [("RESERVE", "VOID"), ("CONFIRM", "VOID"), ("VOID", "VOID")]),
    (2, "CANCELLED", "why", [("RESERVE", "VOID"), ("CANCEL", "VOID")]),
    (3, "EXPIRED", "why", [("RESERVE", "EXPIRED"), ("EXPIRE", "EXPIRED")]),
    (4, "RESERVED", None, [("RESERVE", "ACTIVE")]),
    (5, "VOID", f"passed over by {text(6)}", [("ADJUST", "VOID")]),
    (6, "OVERRIDDEN", WHY, [("MANUAL_OVERRIDE", "ACTIVE")]),
    (7, "CONFIRMED", WHY, [("GENERATE", "ACTIVE")]),
]


@pytest.mark.parametrize(("number", "is_now", "reason", "life"), EACH)
async def test_a_number_is_what_was_done_to_it(
    number: int, is_now: str, reason: str | None, life: list[tuple[str, str]]
) -> None:
    counter = Counter()
    await one_of_each(counter)
    assert await state(counter, number) == (is_now, reason)
    assert await told(counter, number) == life


async def test_a_listing_says_the_same_as_each_life_newest_first() -> None:
    counter = Counter()
    await one_of_each(counter)
    rows = await listed(counter)
    for number, _, _, life in EACH:
        assert [row[1:] for row in reversed(rows) if row[0] == number] == life
    assert [row[0] for row in await listed(counter, operation="RESERVE")] == [4, 3, 2, 1]
    assert [row[0] for row in await listed(counter, operation="VOID")] == [1]


async def test_a_confirmation_is_found_among_thousands_of_others() -> None:
    counter = Counter()
    await issue(counter, 3)
    for _ in range(20):
        await issue(counter, 60)
    await counter.ask(void(2))
    assert await told(counter, 2) == [("RESERVE", "VOID"), ("CONFIRM", "VOID"), ("VOID", "VOID")]
    assert await told(counter, 700) == [("RESERVE", "ACTIVE"), ("CONFIRM", "ACTIVE")]


async def test_under_reuse_each_tenure_has_its_own_end() -> None:
    counter = Counter(REUSE)
    await counter.ask(counter.reserve("a"))
    await counter.ask(counter.settle(1, "a", How.CANCELLED))
    assert await state(counter, 1) == ("FREE", "why")
    await counter.ask(counter.reserve("b"))
    await counter.ask(counter.settle(1, "b"))
    assert await state(counter, 1) == ("CONFIRMED", None)
    assert await told(counter, 1) == [
        ("RESERVE", "RELEASED"), ("CANCEL", "RECOVERED"), ("RESERVE", "ACTIVE"),
        ("CONFIRM", "ACTIVE"),
    ]  # fmt: skip
    await counter.ask(Release(call(), 1, "no use"))
    assert await state(counter, 1) == ("FREE", "no use")
    assert (await told(counter, 1))[2:] == [
        ("RESERVE", "RELEASED"), ("CONFIRM", "RELEASED"), ("RELEASE", "RELEASED")
    ]  # fmt: skip


async def test_a_number_that_is_given_up_and_reserved_in_one_entry_keeps_its_order() -> None:
    counter = Counter(REUSE)
    await counter.ask(counter.reserve("a"))
    await counter.ask(counter.settle(1, "a", How.CANCELLED), counter.reserve("b"))
    life = [("RESERVE", "RELEASED"), ("CANCEL", "RECOVERED"), ("RESERVE", "ACTIVE")]
    assert await told(counter, 1) == life
    assert [row[1:] for row in reversed(await listed(counter))] == life
    assert await state(counter, 1) == ("RESERVED", None)
    await counter.ask(counter.settle(1, "b"))
    assert await told(counter, 1) == [*life, ("CONFIRM", "ACTIVE")]


async def test_imported_numbers_and_those_left_out() -> None:
    counter = Counter()
    await counter.ask(bring_in((2, 2), (7, 1)))
    assert [(await state(counter, n))[0] for n in (1, 2, 3, 4, 7)] == [
        "VOID", "IMPORTED", "IMPORTED", "VOID", "IMPORTED"
    ]  # fmt: skip
    assert await told(counter, 4) == [("IMPORT", "VOID")]
    assert await told(counter, 3) == [("IMPORT", "ACTIVE")]
    assert await listed(counter) == [
        (7, "IMPORT", "ACTIVE"), (4, "IMPORT", "VOID"), (2, "IMPORT", "ACTIVE"),
        (1, "IMPORT", "VOID"),
    ]  # fmt: skip
    await counter.ask(void(7, COR))
    assert await state(counter, 7) == ("VOID", WHY)
    assert (await listed(counter, operation="IMPORT"))[0] == (7, "IMPORT", "VOID")


async def test_a_leap_of_a_million_numbers_is_one_row() -> None:
    counter = Counter()
    await counter.ask(Adjust(call(), 1_000_001, WHY, 10**9, 10**6), Close(call(), "year is over"))
    assert await listed(counter) == [(None, "ADJUST", "ACTIVE"), (1, "ADJUST", "VOID")]
    found = await listing(history(counter), Cursor(), 100, Filter())
    passed: dict[str, Any] = found.records[1][1]
    assert (passed["quantity"], passed["reason"]) == (1_000_000, WHY)
    assert await state(counter, 77) == ("VOID", WHY)


async def test_a_chain_reads_the_same_from_each_of_its_numbers() -> None:
    counter = Counter()
    await issue(counter, 1)
    await counter.ask(void(1, COR))
    await counter.ask(void(2, COR))
    await issue(counter, 1)
    for number in (1, 2, 3):
        life = await history(counter).life(number)
        links = await chain(history(counter), number, [e.record for e in life.events])
        assert [tuple(link) for link in links] == [(n, text(n)) for n in (1, 2, 3)]
    life = await history(counter).life(4)
    links = await chain(history(counter), 4, [e.record for e in life.events])
    assert [link.number for link in links] == [4]


async def test_a_chain_goes_on_through_a_number_that_was_another_documents_before() -> None:
    counter = Counter(REUSE)
    await issue(counter, 1)
    await counter.ask(counter.reserve("x"))
    await counter.ask(counter.settle(2, "x", How.CANCELLED))
    await counter.ask(void(1, REUSE))
    await counter.ask(void(2, REUSE))
    for number in (1, 2, 3):
        records = [event.record for event in (await history(counter).life(number)).events]
        links = await chain(history(counter), number, records)
        assert [link.number for link in links] == [1, 2, 3]


async def test_a_chain_ends_where_its_last_number_is_another_documents_now() -> None:
    counter = Counter(REUSE)
    await issue(counter, 1)
    await counter.ask(void(1, REUSE))
    await counter.ask(Release(call(), 2, "not needed"))
    await counter.ask(counter.reserve("x"))
    life = await history(counter).life(2)
    records = [event.record for event in life.events]
    assert isinstance(records[-1], Issued)
    assert [link.number for link in await chain(history(counter), 2, records)] == [2]
    first = [event.record for event in (await history(counter).life(1)).events]
    links = await chain(history(counter), 1, first)
    assert [tuple(link) for link in links] == [(1, text(1)), (2, text(2))]
    assert standing(records, 2, is_held=True).state is NumberState.RESERVED
