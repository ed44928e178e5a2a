"""What a ledger must say for a number to count as issued twice."""

import pytest
from books import A

from coordinator.core.ledger import NO_HASH
from coordinator.core.records import (
    Cause,
    Entry,
    Given,
    Held,
    How,
    Imported,
    Issued,
    Part,
    Passed,
    Record,
    Released,
    Restarted,
    Reused,
    Settled,
    Voided,
)
from coordinator.core.twice import Again, Numbers, State

WHO = Cause(A, "c")
HELD = Held("token", 1_000, "COR-1")


def fresh(first: int, count: int = 1, held: Held | None = None) -> Issued:
    return Issued(WHO, first, count, (), held)


def reused(first: int, count: int = 1, entry: int = 1, held: Held | None = None) -> Issued:
    return Issued(WHO, 100, 0, (Reused(first, entry, 5, count),), held)


def settled(number: int, how: How, *, void: bool = False) -> Settled:
    return Settled(WHO, number, 1, how, HELD, "", void)


def taken(*records: Record, numbers: Numbers | None = None) -> list[tuple[int, int, State]]:
    """Take one record in an entry; return what was issued twice, without the entry."""
    numbers = numbers or Numbers()
    found: list[Again] = []
    for index, record in enumerate(records, 1):
        part = (Part("node", "run", index),)
        some = numbers.take(Entry(index, NO_HASH, 1, 1, part, (record,)))
        assert all(again.entry == index for again in some)
        found += some
    return [(again.first, again.last, again.state) for again in found]


@pytest.mark.parametrize(
    "between",
    [
        (Released(WHO, 2, 1, "x"),),
        (settled(2, How.CANCELLED),),
        (settled(2, How.EXPIRED),),
    ],
)
def test_a_number_that_came_back_may_go_out_again(between: tuple[Record, ...]) -> None:
    assert taken(fresh(1, 3), *between, reused(2)) == []


def test_a_number_that_did_not_come_back_may_not() -> None:
    assert taken(fresh(1, 3), reused(2)) == [(2, 2, State.ISSUED)]
    assert taken(fresh(1, 3), fresh(3)) == [(3, 3, State.ISSUED)]
    assert taken(fresh(1, held=HELD), reused(1)) == [(1, 1, State.RESERVED)]
    confirmed = settled(1, How.CONFIRMED)
    assert taken(fresh(1, held=HELD), confirmed, reused(1)) == [(1, 1, State.ISSUED)]
    void = settled(1, How.CANCELLED, void=True)
    assert taken(fresh(1, held=HELD), void, reused(1)) == [(1, 1, State.VOID)]


def test_it_may_go_out_once_for_each_time_that_it_came_back() -> None:
    back = Released(WHO, 2, 1, "x")
    assert taken(fresh(1, 3), back, reused(2), reused(2)) == [(2, 2, State.ISSUED)]
    assert taken(fresh(1, 3), back, reused(2), back, reused(2)) == []


def test_many_at_once_are_told_as_runs_across_pages() -> None:
    back = Released(WHO, 65_600, 1, "x")
    found = taken(fresh(1, 70_000), back, fresh(65_500, 5_000))
    assert found == [
        (65_500, 65_535, State.ISSUED),
        (65_536, 65_599, State.ISSUED),
        (65_601, 70_000, State.ISSUED),
    ]


def test_a_reset_begins_anew() -> None:
    assert taken(fresh(1, 3), Restarted(WHO), fresh(1, 3)) == []


def test_of_trimmed_entries_it_knows_what_they_issued_and_that_gaps_were_left() -> None:
    numbers = Numbers(trimmed=7, old_next=11)
    assert (numbers.state(10), numbers.state(11)) == (State.OLD, State.NEVER)
    assert taken(reused(4, entry=7), numbers=numbers) == []
    assert taken(reused(4, entry=7), numbers=numbers) == [(4, 4, State.ISSUED)]
    assert taken(reused(5, entry=8), numbers=numbers) == [(5, 5, State.OLD)]
    assert taken(fresh(10, 2), numbers=numbers) == [(10, 10, State.OLD)]


def test_states_are_counted() -> None:
    numbers = Numbers()
    void = settled(2, How.EXPIRED, void=True)
    taken(
        fresh(1, 70_000), fresh(70_001, held=HELD), Released(WHO, 3, 1, "x"), void, numbers=numbers
    )
    states = (State.ISSUED, State.RESERVED, State.FREE, State.VOID)
    assert [numbers.count(state) for state in states] == [69_998, 1, 1, 1]


def test_what_operators_did_is_known_and_billions_passed_over_cost_nothing() -> None:
    numbers, far = Numbers(), 10**12
    records = (
        Passed(WHO, 1, far - 1, "adjusted"),
        Issued(WHO, far, 1, given=Given("X", "why")),
        Imported(WHO, far + 1, ((far + 2, 2),), "import", ()),
        Voided(WHO, far, 1, "X", "wrong"),
    )
    assert taken(*records, numbers=numbers) == []
    told = [numbers.state(number) for number in (1, far - 1, far, far + 1, far + 2, far + 4)]
    void, issued = State.VOID, State.ISSUED
    assert told == [void, void, void, void, issued, State.NEVER]
    assert numbers.count(State.VOID) == far + 1
    twice = taken(fresh(5), fresh(far + 2), numbers=numbers)
    assert twice == [(5, 5, void), (far + 2, far + 2, issued)]
