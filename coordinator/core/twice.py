"""Whether a number went out twice: a simple model that shares nothing with plan, apply or proof.

It knows one thing of each number, in one byte: what became of it last. So it finds in any ledger,
also in one whose hashes were made to fit, what callers would have seen.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import NamedTuple

from coordinator.core.records import (
    Entry,
    How,
    Imported,
    Issued,
    Passed,
    Record,
    Released,
    Restarted,
    Settled,
    Voided,
    voids_of,
)

_PAGE = 65_536


class State(IntEnum):
    """What became of a number last."""

    NEVER = 0
    ISSUED = 1
    RESERVED = 2
    FREE = 3
    """It came back, and waits to be issued again."""
    VOID = 4
    OLD = 5
    """Entries that have left the store had issued it; what became of it since is not known."""


class Again(NamedTuple):
    """Numbers ``first`` to ``last`` that entry ``entry`` has issued though ``state`` forbids it."""

    first: int
    last: int
    entry: int
    state: State


class Numbers:
    """All numbers of one counter: a byte for each, in pages that are made when they are needed.

    Entries up to ``trimmed`` have left the store; numbers below ``old_next`` are of their time.
    """

    def __init__(self, trimmed: int = 0, old_next: int = 0) -> None:
        self._trimmed = trimmed
        self._old_next = old_next
        self._pages: dict[int, bytearray] = {}
        self._passed: list[range] = []
        """Numbers that never went out and never will, ascending: there may be billions."""
        self.restarts = 0
        self.entries = 0

    def take(self, entry: Entry) -> list[Again]:
        """Take what the next entry says; return what it has issued twice."""
        self.entries += 1
        found: list[Again] = []
        singles = range(0)
        for record in entry.records:  # most are single fresh numbers: they are taken as runs
            if type(record) is Issued and record.first == singles.stop and _is_fresh(record):
                singles = range(singles.start, singles.stop + record.fresh)
                continue
            found += self._issue(singles, State.ISSUED, entry.index, ())
            singles = range(0)
            if type(record) is Issued and _is_fresh(record):
                singles = range(record.first, record.first + record.fresh)
            else:
                found += self._take(record, entry.index)
        found += self._issue(singles, State.ISSUED, entry.index, ())
        return found

    def state(self, number: int) -> State:
        """Return what became of a number last."""
        at = bisect_right(self._passed, number, key=lambda run: run.start)
        if at and number in self._passed[at - 1]:
            return State.VOID
        page = self._pages.get(number // _PAGE)
        state = State(page[number % _PAGE]) if page else State.NEVER
        return State.OLD if state is State.NEVER and number < self._old_next else state

    def count(self, state: State) -> int:
        """Return how many numbers are in this state, as far as the entries tell."""
        passed = sum(map(len, self._passed)) if state is State.VOID else 0
        return passed + sum(page.count(state) for page in self._pages.values())

    def _take(self, record: Record, entry: int) -> Iterator[Again]:
        match record:
            case Issued():
                yield from self._go_out(record, entry)
            case Released(_, number):
                self._set(number, State.FREE)
            case Settled(_, number, how=How.CONFIRMED):
                self._set(number, State.ISSUED)
            case Settled(_, number):
                self._set(number, State.FREE if record.frees else State.VOID)
            case Voided(_, number):
                self._set(number, State.VOID)
            case Imported():
                for number, quantity in record.runs:
                    some = range(number, number + quantity)
                    yield from self._issue(some, State.ISSUED, entry, ())
                self._pass(record)
            case Passed():
                self._pass(record)
            case Restarted():
                self._pages.clear()
                self._passed.clear()
                self._old_next = 0
                self.restarts += 1

    def _go_out(self, record: Issued, entry: int) -> Iterator[Again]:
        after = State.RESERVED if record.held else State.ISSUED
        for run in record.reused:
            by_old = (State.OLD,) if run.released_in <= self._trimmed else ()
            yield from self._issue(run.numbers, after, entry, by_old)
        fresh = range(record.first, record.first + record.fresh)
        yield from self._issue(fresh, after, entry, ())

    def _pass(self, record: Passed | Imported) -> None:
        self._passed += [range(first, first + quantity) for first, quantity in voids_of(record)]

    def _issue(
        self, numbers: range, after: State, entry: int, allowed: Iterable[State]
    ) -> Iterator[Again]:
        """Note that numbers go out; yield those that must not."""
        legal = {State.NEVER, State.FREE, *allowed}
        for some in _by_page(numbers):
            page = self._pages.setdefault(some.start // _PAGE, bytearray(_PAGE))
            at = some.start % _PAGE
            is_ahead = not self._passed or some.start >= self._passed[-1].stop
            is_known = any(page[at : at + len(some)]) or some.start < self._old_next
            is_new = is_ahead and not is_known
            if not is_new:
                yield from _runs(
                    (number, state, entry)
                    for number in some
                    if (state := self.state(number)) not in legal
                )
            page[at : at + len(some)] = bytes((after,)) * len(some)

    def _set(self, number: int, state: State) -> None:
        page = self._pages.setdefault(number // _PAGE, bytearray(_PAGE))
        page[number % _PAGE] = state


def _is_fresh(record: Issued) -> bool:
    return not record.reused and record.held is None


def _by_page(numbers: range) -> Iterator[range]:
    """Yield the same numbers in ranges that lie in one page each."""
    first = numbers.start
    while first < numbers.stop:
        stop = min(numbers.stop, (first // _PAGE + 1) * _PAGE)
        yield range(first, stop)
        first = stop


def _runs(found: Iterable[tuple[int, State, int]]) -> Iterator[Again]:
    """Yield numbers one after the other in one state as one."""
    run: Again | None = None
    for number, state, entry in found:
        if run is not None and (number, state) == (run.last + 1, run.state):
            run = run._replace(last=number)
            continue
        if run is not None:
            yield run
        run = Again(number, number, entry, state)
    if run is not None:
        yield run
