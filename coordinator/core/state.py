"""A counter in memory: the replica that a node plans on."""

from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator

from coordinator.core.head import Head
from coordinator.core.holds import Hold, Holds
from coordinator.core.records import (
    Closed,
    Entry,
    How,
    Imported,
    Issued,
    LossAccepted,
    Passed,
    Record,
    Released,
    Restarted,
    Reused,
    Settled,
    Trimmed,
    Voided,
    keys_of,
    voids_of,
)
from coordinator.core.request_keys import RequestKeys, digest

FREED_REMEMBERED_MAX = 65_536
"""How many released numbers are remembered to judge the age of evidence."""

RUNS_REMEMBERED_MAX = 1_024
"""Of so many runs of nodes it is remembered which entry has their latest part."""

GAPS_PER_PAGE = 512
"""Runs of gaps in one piece of memory: 4 kB in each of its arrays."""


class _Page:
    """Some runs of gaps, ascending, in four parallel arrays: 32 bytes a run."""

    def __init__(self) -> None:
        self.firsts, self.entries, self.times, self.counts = (array("Q") for _ in range(4))

    def __len__(self) -> int:
        return len(self.firsts)

    def __getitem__(self, at: int) -> Reused:
        return Reused(self.firsts[at], self.entries[at], self.times[at], self.counts[at])

    def __setitem__(self, at: int, run: Reused) -> None:
        self.firsts[at], self.entries[at], self.times[at], self.counts[at] = run

    def insert(self, at: int, run: Reused) -> None:
        number, entry, released_ms, quantity = run
        self.firsts.insert(at, number)
        self.entries.insert(at, entry)
        self.times.insert(at, released_ms)
        self.counts.insert(at, quantity)

    def remove(self, first: int, end: int) -> None:
        for column in self._columns():
            del column[first:end]

    def split(self) -> "_Page":
        """Hand the upper half over to a new page."""
        upper, middle = _Page(), len(self) // 2
        for ours, theirs in zip(self._columns(), upper._columns(), strict=True):
            theirs.extend(ours[middle:])
        self.remove(middle, len(self))
        return upper

    def _columns(self) -> "tuple[array[int], ...]":
        return self.firsts, self.entries, self.times, self.counts


class Gaps:
    """Released numbers in ascending order, as the longest runs that were released together.

    Kept in pages: with a hundred thousand gaps in one piece, moving them up for each number
    that is taken would cost more than all else that a node does for it.
    """

    def __init__(self) -> None:
        self._pages: list[_Page] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, number: int) -> bool:
        before = self._pages_up_to(number)
        if not before:
            return False
        page = self._pages[before - 1]
        at = bisect_right(page.firsts, number) - 1
        return number < page.firsts[at] + page.counts[at]

    def __iter__(self) -> Iterator[Reused]:
        return (page[at] for page in self._pages for at in range(len(page)))

    @property
    def runs(self) -> int:
        """Return in how many runs the gaps are kept."""
        return sum(map(len, self._pages))

    def _pages_up_to(self, number: int) -> int:
        """Return how many pages begin at or below this number: it belongs into the last of them."""
        pages = self._pages
        if pages and pages[-1].firsts[0] <= number:
            return len(pages)  # most often: gaps are loaded in their order
        return bisect_right(pages, number, key=lambda page: page.firsts[0])

    def add(self, number: int, entry: int, released_ms: int, quantity: int = 1) -> None:
        """Open a gap, or as many as this from ``number`` on."""
        self._count += quantity
        run = Reused(number, entry, released_ms, quantity)
        at = self._pages_up_to(number)
        if not at:
            at = 1
            self._pages[:0] = [_Page()]
        page = self._pages[at - 1]
        place = bisect_right(page.firsts, number)
        joined = page[place - 1].joined(run) if place else None
        if joined is not None:
            page[place - 1] = joined
            return
        page.insert(place, run)
        if len(page) > GAPS_PER_PAGE:
            self._pages.insert(at, page.split())

    def remove_lowest(self, count: int) -> None:
        """Close the lowest ``count`` gaps."""
        self._count -= count
        while count:
            page = self._pages[0]
            at = 0
            while at < len(page) and page.counts[at] <= count:
                count -= page.counts[at]
                at += 1
            if at == len(page):
                del self._pages[0]
                continue
            if count:
                run = page[at]
                page[at] = run._replace(first=run.first + count, quantity=run.quantity - count)
                count = 0
            page.remove(0, at)


class CounterState:
    """One counter as it is after the entry ``head.index``. Only ``apply`` changes it.

    ``freed`` maps recently released numbers to the entry that released them; every release after
    entry ``freed_known_from`` is in it. So is the latest part of every run in ``runs``, after entry
    ``runs_known_from``.
    """

    def __init__(self, head: Head) -> None:
        self.head = head
        self.gaps = Gaps()
        self.void = Gaps()
        """Numbers that will never be issued again, with the entry that made them void."""
        self.holds = Holds()
        self.keys = RequestKeys()
        self.freed: OrderedDict[int, int] = OrderedDict()
        self.freed_known_from = head.index
        self.runs: OrderedDict[str, int] = OrderedDict()
        self.runs_known_from = head.index

    def apply(self, entry: Entry, after: Head) -> None:
        """Advance by the next entry; ``after`` is the head that it leads to.

        Raises ValueError when it is not the next one of this chain: nothing is changed then.
        """
        before = self.head
        follows = (before.index + 1, before.tip, before.next)
        if (entry.index, entry.previous, entry.next_before) != follows:
            raise ValueError(f"entry {entry.index} does not follow entry {before.index}")
        self.head = after
        for part in entry.parts:
            self._remember_run(part.instance, entry.index)
        for record in entry.records:
            self._apply_record(record, entry)
        used = [digest(key) for record in entry.records for key in keys_of(record)]
        if used:
            self.keys.add(used, entry.index)

    def _apply_record(self, record: Record, entry: Entry) -> None:
        match record:
            case Issued():
                if record.reused:
                    self.gaps.remove_lowest(record.quantity_reused)
                if record.held:
                    self.holds.open(Hold(record.spans()[0].start, entry.index, record.held))
            case Released():
                self.gaps.add(record.number, entry.index, entry.time_ms)
                self._remember_freed(record.number, entry.index)
            case Restarted():
                self.gaps, self.void, self.holds = Gaps(), Gaps(), Holds()
                self.keys = RequestKeys()
                self.freed.clear()
                self.freed_known_from = entry.index
            case Trimmed(_, through):
                self.keys.trim(through)
            case Settled() | Voided() | Passed() | Imported():
                self._apply_end(record, entry)
            case Closed() | LossAccepted():
                pass  # the head says it

    def _apply_end(self, record: Settled | Voided | Passed | Imported, entry: Entry) -> None:
        """Take numbers that are not in use any more, or never will be."""
        for first, quantity in voids_of(record):
            self.void.add(first, entry.index, entry.time_ms, quantity)
        match record:
            case Settled(_, number):
                self.holds.settle(number)
                if record.frees:
                    self.gaps.add(number, entry.index, entry.time_ms)
                if record.how is not How.CONFIRMED:
                    self._remember_freed(number, entry.index)
            case Voided(_, number):
                self._remember_freed(number, entry.index)
            case _:
                pass

    def _remember_run(self, instance: str, index: int) -> None:
        self.runs[instance] = index
        self.runs.move_to_end(instance)
        if len(self.runs) > RUNS_REMEMBERED_MAX:
            _, self.runs_known_from = self.runs.popitem(last=False)

    def has_nothing_newer_of(self, instance: str, seen: int) -> bool:
        """Tell whether for certain no entry after ``seen`` has a part of this run."""
        return seen >= max(self.runs_known_from, self.runs.get(instance, 0))

    def _remember_freed(self, number: int, index: int) -> None:
        self.freed[number] = index
        self.freed.move_to_end(number)
        if len(self.freed) > FREED_REMEMBERED_MAX:
            _, self.freed_known_from = self.freed.popitem(last=False)

    def fresh_evidence(self, number: int, read_at: int) -> bool:
        """Tell whether what was read of a number at entry ``read_at`` still holds here."""
        return read_at >= max(self.freed_known_from, self.freed.get(number, 0))
