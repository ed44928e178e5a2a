"""What a gapless count is, in a deliberately simple model: it shares nothing with plan or apply.

Every number from the start up to the next fresh one is issued or free, and the lowest free one goes
out first. Memory: two bytes a number for its holder, 24 bytes an entry, and a few table rows for
each number that was ever released.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from heapq import heappop, heappush
from typing import NamedTuple

from coordinator.core.breaks import Break, Findings
from coordinator.core.holders import NOBODY, Holders
from coordinator.core.links import Link, Lost
from coordinator.core.records import (
    Entry,
    Imported,
    Issued,
    Passed,
    Record,
    Released,
    Restarted,
    Reused,
    Settled,
    Voided,
    voids_of,
)

_NEVER = 2**64


class Mark(NamedTuple):
    """The last release of a number as the ledger tells it, and whether it is free since."""

    entry: int
    time_ms: int
    is_free: bool


class Tally:
    """The count, replayed entry by entry."""

    def __init__(self, start: int | None, lost: Lost, findings: Findings) -> None:
        self.start = start or 0
        self.next = self.start
        self.free: set[int] = set()
        self.void = 0
        self._lost = lost
        self._findings = findings
        self._place = 0
        self._holders = Holders()
        self._not_passed: list[int] = []
        """Free numbers that nothing higher has overtaken; the lowest first."""
        self._freed: dict[int, int] = {}
        """Which entry has last released a number."""
        self._again: dict[int, int] = {}
        """Which entry has issued it since."""
        self._skipped: list[range] = []
        self._doubted = False
        """Whether the entry before was altered."""
        self._sure_next = self.start
        """The next number before it."""
        self._claimed: tuple[int, int, int] | None = None
        """A next number that an entry names and the count has not; where; and what it has."""
        self._suspect: set[int] = set()
        """Numbers that a finding is about: what stands beside the ledger may follow either side."""
        self._trimmed = 0
        self._old_gaps = 0
        """How many gaps of the trimmed entries have not been met yet."""
        self._old_next = 0
        """Lower numbers were first issued by trimmed entries."""
        self._highest_taken = 0
        self._forget_entries()

    def begin_at(self, trimmed: int, next_number: int, gaps: int, void: int) -> None:
        """Begin after entry ``trimmed``. Which numbers were gaps then is seen when they are met."""
        self.void = void
        self.next = self._sure_next = self._old_next = next_number
        self._trimmed, self._old_gaps = trimmed, gaps

    def is_old_gap(self, number: int, released_in: int) -> bool:
        """Tell whether this may be a gap that a trimmed entry has left."""
        is_met = number in self._freed or number in self._again
        return released_in <= self._trimmed and self.start <= number < self._old_next and not is_met

    def is_old_mark(self, number: int, released_in: int, *, is_gap: bool) -> bool:
        """Tell whether a trimmed entry may have been the last one that released this number."""
        is_old = 0 < released_in <= self._trimmed and self.start <= number < self._old_next
        return is_old and (number in self.free or not is_gap)

    def meet_old_gap(self, number: int) -> None:
        """Take a gap that a trimmed entry has left, and that waits or is issued just now."""
        self._old_gaps -= 1
        if number < self._highest_taken:
            self._found(Break.NOT_LOWEST, number, f"{number} was free and lower than what went out")

    def compare_old_gaps(self) -> None:
        """Tell when there were more or fewer of them than the checkpoint counts."""
        if self._old_gaps and not self._lost:
            more = "fewer" if self._old_gaps > 0 else "more"
            detail = f"{abs(self._old_gaps)} {more} gaps than the checkpoint counts"
            self._findings.add(Break.OLD_GAPS, self._place, None, detail)

    def _forget_entries(self) -> None:
        self._indexes, self._firsts, self._times = array("Q"), array("Q"), array("Q")

    def replay(self, link: Link) -> None:
        """Take what the next entry says."""
        entry, self._place = link.entry, link.place
        if not self.start:
            self.start = self.next = entry.next_before
        if entry.next_before != self.next:
            self._meet(entry, link.after_loss)
        else:
            self.settle()
        self._doubted, self._sure_next = not link.trusted, self.next
        self._indexes.append(max(entry.index, self._indexes[-1] if self._indexes else 0))
        self._firsts.append(self.next)
        self._times.append(entry.time_ms)
        places: dict[int, int] = {}
        given: list[int] = []
        """Who has got the fresh numbers up to the next one: written as many, not one by one."""
        for record in entry.records:
            if type(record) is Issued:
                cause, first, fresh, reused, _, named = record
                origin = cause.origin  # shared by the records of an entry
                place = places.get(id(origin))
                if place is None:
                    place = places[id(origin)] = self._holders.place(origin)
                is_next = fresh == 1 and not reused and first == self.next
                if is_next and named is None and not self._not_passed:
                    given.append(place)
                    self._highest_taken = self.next
                    self.next += 1
                    continue
                given = self._give(given)
                self._issue(record, entry, place)
            elif type(record) is Restarted:
                given = []
                self._restart(self.start)
            else:
                given = self._give(given)
                self._take(record, entry)
        self._give(given)

    def _give(self, places: list[int]) -> list[int]:
        """Note who has the numbers just before the next one; return none, for those to come."""
        if places:
            self._holders.give_each(self.next - len(places), places)
        return []

    def _issue(self, record: Issued, entry: Entry, place: int) -> None:
        for run in record.reused:
            for number in run.numbers:
                self._reuse(number, run, entry, place)
        if record.given and not record.given.replaces:
            self._go_on(record.first, record.fresh, place)  # lower ones that are free may wait
            return
        if record.fresh:
            self._highest_taken = max(self._highest_taken, record.first)
        if record.first != self.next or (record.fresh and self._not_passed):
            self._issue_oddly(record.first, record.fresh, place)
        elif record.fresh:
            self._holders.give(self.next, record.fresh, place)
            self.next += record.fresh

    def _meet(self, entry: Entry, after_loss: bool) -> None:  # noqa: FBT001
        """Judge an entry that names another next number than the count has."""
        said = entry.next_before
        if after_loss or self._doubted:
            if said >= self._sure_next:
                self.next = said
                return
            if said == self.start:  # what is lost may have been a reset
                self._restart(said)
                return
        self._claim(said)

    def _claim(self, said: int) -> None:
        """Note that a record names another next number, until it is clear what that comes from."""
        if self._claimed is None or self._claimed[0] != said:
            self.settle()
            self._claimed = (said, self._place, self.next)

    def settle(self) -> None:
        """Tell that an entry named a wrong next number, when no number followed from it."""
        if self._claimed is not None:
            said, place, should = self._claimed
            detail = f"it names {said}, the entries before give {should}"
            self._findings.add(Break.FALSE_COUNT, place, said, detail)
            self._claimed = None

    def _restart(self, start: int) -> None:
        self.next, self.void = start, 0
        self.free.clear()
        self._not_passed.clear()
        self._freed.clear()
        self._again.clear()
        self._skipped.clear()
        self._suspect.clear()
        self._holders.clear()
        self._old_gaps = self._old_next = self._highest_taken = 0
        self._forget_entries()

    def _issue_oddly(self, first: int, fresh: int, place: int) -> None:
        if not fresh:
            if first != self.next:
                self._claim(first)
            return
        if self._claimed is not None and self._claimed[0] == first:
            self._claimed = None  # what follows says it better
        passed = self._pass_over(self.next)
        if passed is not None:
            self._found(Break.NOT_LOWEST, first, f"fresh number while {passed} was free")
        self._go_on(first, fresh, place)

    def _go_on(self, first: int, fresh: int, place: int) -> None:
        """Take numbers as the next ones; an operator may have them before lower ones that wait."""
        last = first + fresh - 1
        if first > self.next:
            self._found(Break.SKIPPED, self.next, f"{_span(self.next, first - 1)} never went out")
            self._skipped.append(range(self.next, first))
        elif first < self.next:
            twice = self._first_not_skipped(first)
            if twice <= min(last, self.next - 1):
                detail = f"{twice} was issued before; this record issues {_span(first, last)}"
                self._found(Break.DUPLICATE, twice, detail)
                place = NOBODY  # two have it, and either may release it
        self._holders.give(first, fresh, place)
        self.next = max(self.next, last + 1)

    def _first_not_skipped(self, number: int) -> int:
        """Return the first number from this one on that had really been issued."""
        while skipped := next((some for some in self._skipped if number in some), None):
            number = skipped.stop
        return number

    def _reuse(self, number: int, gap: Reused, entry: Entry, place: int) -> None:
        lost = self._lost
        if number in self.free:
            freed_in = self._freed[number]
            said = (gap.released_in, gap.released_ms)
            if freed_in not in lost and said != (freed_in, self._time_of(freed_in)):
                detail = f"it names a release by entry {said[0]} at {said[1]} ms"
                self._found(Break.FALSE_REFERENCE, number, f"{detail}; entry {freed_in} did it")
            self.free.remove(number)
            passed = self._pass_over(number)
            if passed is not None:
                self._found(Break.NOT_LOWEST, number, f"{passed} was free and lower")
            if self._not_passed and self._not_passed[0] == number:
                heappop(self._not_passed)
        elif self.is_old_gap(number, gap.released_in):
            self.meet_old_gap(number)
        elif gap.released_in in lost or self._again.get(number, 0) in lost:
            pass  # what is lost may have released it
        elif self.start <= number < self.next:
            self._found(Break.DUPLICATE, number, "issued again without a release")
            self._suspect.add(number)
            place = NOBODY
        else:
            self._found(Break.FALSE_REUSE, number, "it was never issued, so it was never free")
            self._suspect.add(number)
        self._again[number] = entry.index
        self._highest_taken = max(self._highest_taken, number)
        self._holders.give(number, 1, place)

    def _pass_over(self, number: int) -> int | None:
        """Return the lowest free number below this one, each only once."""
        passed = None
        while self._not_passed and self._not_passed[0] < number:
            lower = heappop(self._not_passed)
            if self._freed[lower] <= self._lost.last:  # what is lost may have issued it
                self.free.discard(lower)
                self._again[lower] = self._lost.last
            elif passed is None:
                passed = lower
        return passed

    def _release(self, record: Released, entry: Entry) -> None:
        if self._was_held(record.number):
            self._check_holder(record)
        self._come_back(record.number, entry)

    def _was_held(self, number: int) -> bool:
        return self.start <= number < self.next and number not in self.free

    def _come_back(self, number: int, entry: Entry) -> None:
        lost = self._lost
        if not self.start <= number < self.next:
            self._found(Break.FALSE_RELEASE, number, "it was never issued")
            self._suspect.add(number)
            return
        if number not in self.free:
            heappush(self._not_passed, number)
            self.free.add(number)
        elif self._freed[number] > lost.last:
            self._found(Break.FALSE_RELEASE, number, "it was free already")
            self._suspect.add(number)
            return
        self._freed[number] = entry.index
        self._again.pop(number, None)

    def _take(self, record: Record, entry: Entry) -> None:
        """Take numbers that come back, will never go out again, or were issued elsewhere."""
        match record:
            case Released():
                self._release(record, entry)
            case Settled(_, number) if record.frees:
                self._come_back(number, entry)
            case Passed(_, first, quantity):
                self._go_on(first, quantity, NOBODY)
            case Imported(_, first):
                self._go_on(first, record.next - first, NOBODY)
            case Voided(_, number) if not self._was_held(number):
                self._found(Break.FALSE_VOID, number, "it was free, or never issued")
        for first, quantity in voids_of(record):
            self.void += quantity
            if isinstance(record, Settled | Voided):
                self._freed[first] = entry.index
                self._again.pop(first, None)

    def _check_holder(self, record: Released) -> None:
        number = record.number
        holder = self._holders.of(number)
        if holder is None:
            return
        issued_in = self._again.get(number) or self._first_issued_in(number)
        if issued_in in self._lost or record.issued_in in self._lost:
            return
        if record.issued_in != issued_in:
            detail = f"it names entry {record.issued_in} as the issue, which was {issued_in}"
            self._found(Break.FALSE_REFERENCE, number, detail)
        if holder != record.cause.origin[:2]:
            asked = "/".join(record.cause.origin[:2])
            detail = f"released by {asked}, issued to {'/'.join(holder)}"
            self._found(Break.OTHER_HOLDER, number, detail)

    def _first_issued_in(self, number: int) -> int:
        return self._indexes[bisect_right(self._firsts, number) - 1]

    def _time_of(self, index: int) -> int:
        at = bisect_right(self._indexes, index) - 1
        return self._times[at] if at >= 0 and self._indexes[at] == index else 0

    def was_issued(self, number: int) -> bool:
        """Tell whether this number has gone out since the last reset."""
        return self.start <= number < self.next

    def mark(self, number: int) -> Mark | None:
        """Return the last release of a number; None when it was never released."""
        freed_in = self._freed.get(number)
        if freed_in is None:
            return None
        return Mark(freed_in, self._time_of(freed_in), number in self.free)

    def marks(self) -> Iterable[int]:
        """Return all numbers that were ever released."""
        return self._freed

    def is_unsure(self, number: int) -> bool:
        """Tell whether a finding is about this number, or what is lost has last spoken of it."""
        last = (self._again.get(number, 0), self._freed.get(number, 0))
        return number in self._suspect or any(index in self._lost for index in last)

    def may_be_gone(self, number: int) -> bool:
        """Tell whether what is lost may have issued this free number."""
        return self.is_unsure(number) or self._freed.get(number, _NEVER) <= self._lost.last

    def _found(self, kind: Break, number: int, detail: str) -> None:
        self._findings.add(kind, self._place, number, detail)


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first} to {last}"
