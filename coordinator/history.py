"""Reads of the ledger: who holds a number, its whole life, the newest entries, the proof.

Committed entries never change, so once the head of a snapshot is known, everything before it can
be read at leisure, from any member.
"""

from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from coordinator.confirmations import settled_in
from coordinator.core import head as heads
from coordinator.core import ledger
from coordinator.core.head import Head
from coordinator.core.holds import NUMBERS_PER_BLOCK, Hold, decode_holds
from coordinator.core.keys import CounterKeys, number_in
from coordinator.core.marks import decode_mark, decode_reused, decode_voids
from coordinator.core.records import (
    Closed,
    Entry,
    Held,
    Imported,
    Issued,
    LossAccepted,
    Passed,
    Record,
    Released,
    Restarted,
    Settled,
    Trimmed,
    Voided,
    next_after,
)
from coordinator.core.requests import Holder
from coordinator.core.standing import leaves_out
from coordinator.core.transaction import KeyValue, Range
from coordinator.core.verify import Verdict
from coordinator.faults import EntryMissing
from coordinator.imported_rows import row_of
from coordinator.proof import prove
from coordinator.store import Store
from coordinator.store.paging import all_of

SPANS_MAX = 10_000
"""Entries of which it is remembered which fresh numbers they hold: about 1 MB."""

LATEST_MAX = 32
"""Entries kept as they were read: some kB each, one MB at most."""

RANGES_MAX = 100
"""Ranges in one read: below the members' limit of operations."""


# After an outage many callers repeat what the same few entries have answered.
_decoded = lru_cache(maxsize=32)(ledger.decode)


class Event(NamedTuple):
    """One record of one entry, seen from a number."""

    entry: Entry
    tip: str
    record: Record


class Life(NamedTuple):
    """What happened to a number, oldest first; older events are in entries up to ``trimmed``.

    ``hold`` is its reservation while that is open.
    """

    events: list[Event]
    trimmed: int
    hold: Hold | None = None


class Freed(NamedTuple):
    """The last release of a number: by which entry, when (ms), and whether it is still free."""

    entry: int
    time_ms: int
    still_free: bool


class GapPage(NamedTuple):
    """How many gaps there are, the lowest of all, and some of them, ascending."""

    total: int
    lowest: int | None
    numbers: list[int]


class Page(NamedTuple):
    """Some entries, newest first, each with its hash, and the next older index (0: no more)."""

    entries: tuple[tuple[Entry, str], ...]
    older: int


class History:
    """The reading side of one counter.

    It remembers of what it has read only entries that ``last``: those that a store which went back
    does not have any more may be read anew, and be others.
    """

    def __init__(
        self, store: Store, keys: CounterKeys, last: Callable[[int], bool] = lambda _index: True
    ) -> None:
        self._store = store
        self._keys = keys
        self._last = last
        self._spans: dict[int, tuple[int, int]] = {}
        self._latest: OrderedDict[int, Entry] = OrderedDict()
        """Entries that were read last: many numbers of one bulk are released one by one."""

    async def head(self) -> Head | None:
        """Return the newest head; None before the first entry."""
        (found,) = (await self._store.read(Range(self._keys.head))).found
        return heads.decode(found[0].value) if found else None

    async def entries(self, indexes: tuple[int, ...]) -> tuple[Entry, ...]:
        """Return these entries. Raises EntryMissing."""
        snapshot = await self._store.read(*(Range(self._keys.entry(i)) for i in indexes))
        for index, found in zip(indexes, snapshot.found, strict=True):
            if not found:
                raise EntryMissing(f"ledger entry {index} is not in the store")
        return tuple(_decoded(found[0].value) for found in snapshot.found)

    async def _entry(self, index: int) -> Entry:
        """Return an entry; one that lasts never changes. Raises EntryMissing."""
        entry = self._latest.get(index)
        if entry is None:
            (entry,) = await self.entries((index,))
            if self._last(index):
                self._latest[index] = entry
            if len(self._latest) > LATEST_MAX:
                self._latest.popitem(last=False)
        return entry

    async def holder(self, number: int) -> Holder:
        """Return who holds a number, as of the ledger index that the answer names."""
        head, issued_in = await self._issued_in(number)
        read_at = head.index if head else 0
        if head and 0 < issued_in <= head.trimmed:
            return Holder(number, read_at, 0, None, head.trimmed)
        if not issued_in:
            return Holder(number, read_at, 0, None)
        entry = await self._entry(issued_in)
        for record in reversed(entry.records):
            if not _speaks_of(record, number):
                continue
            match record:
                case Issued():
                    return Holder(number, read_at, issued_in, record.cause.origin, 0, record.text)
                case Imported() if not leaves_out(record, number):
                    row = await row_of(self._store, self._keys.installation, record, number)
                    written = row.text if row else ""
                    return Holder(number, read_at, issued_in, record.cause.origin, 0, written)
                case Imported() | Passed():
                    return Holder(number, read_at, 0, None)
                case _:
                    pass
        raise EntryMissing(f"entry {issued_in} should have issued {number}, and has not")

    async def _issued_in(self, number: int) -> tuple[Head | None, int]:
        """Return the head, and the entry that issued the number to its holder; 0 for none.

        Of an entry that is trimmed it is only known that it is.
        """
        head, freed_in, is_free, _ = await self._last_freed(number)
        if head is None or is_free or not head.start <= number < head.next:
            return head, 0
        if not freed_in:
            return head, await self._first_issued_in(number, head)
        if head.void and await self._is_void_since(number, freed_in):
            return head, 0
        return head, await self._reused_in(number, freed_in, head)

    async def _last_freed(self, number: int) -> tuple[Head | None, int, bool, Hold | None]:
        """Return the head, which entry last released a number, whether it is a gap since, and its
        reservation while that is open.
        """
        keys = self._keys
        snapshot = await self._store.read(
            Range(keys.head),
            Range(keys.gap(number)),
            Range(keys.freed(number)),
            Range(keys.held(number // NUMBERS_PER_BLOCK)),
        )
        head_found, gap, freed, block = snapshot.found
        if not head_found:
            return None, 0, False, None
        head = heads.decode(head_found[0].value)
        marks = gap or freed
        holds = decode_holds(block[0].value) if block else []
        hold = next((each for each in holds if each.number == number), None)
        return head, decode_mark(marks[0].value).entry if marks else 0, bool(gap), hold

    async def _is_void_since(self, number: int, index: int) -> bool:
        """Tell whether this entry has made a number void that it took from its holder."""
        (found,) = (await self._store.read(Range(self._keys.void(index)))).found
        runs = decode_voids(found[0].value).runs if found else ()
        return any(first <= number < first + quantity for first, quantity in runs)

    async def _reused_in(self, number: int, freed_in: int, head: Head) -> int:
        """Return the first entry from ``freed_in`` on that took the number from the gaps.

        Every entry passed over took a lower gap, for lowest come first: the walk is short, also
        to the first one that took a higher gap, so that a trimmed one must have taken this.
        """
        async for page in all_of(self._store, self._keys.reuses(freed_in)):
            for kv in page:
                spans = decode_reused(kv.value)
                if any(number in span for span in spans):
                    return number_in(kv.key)
                if freed_in <= head.trimmed and spans[-1].stop > number:
                    return head.trimmed
        if freed_in <= head.trimmed:
            return head.trimmed
        raise EntryMissing(f"no entry has reused {number}, and it is no gap")

    async def _first_issued_in(self, number: int, head: Head) -> int:
        """Return the entry whose fresh numbers hold this one.

        Numbers grow with entries, almost evenly: interpolation finds it in a few reads, and a
        halving step in between bounds the search when they do not.
        """
        if number < head.kept:
            return head.trimmed
        low, low_next = max(head.since, head.trimmed) + 1, max(head.start, head.kept)
        high, high_next = head.index, head.next
        halve = False
        while low <= high:
            guess = (low + high) // 2
            if not halve:
                share = (number - low_next) * (high - low) // max(1, high_next - low_next)
                guess = min(high, low + share)
            halve = not halve
            before, after = await self._span(guess)
            if number < before:
                high, high_next = guess - 1, before
            elif number >= after:
                low, low_next = guess + 1, after
            else:
                return guess
        raise EntryMissing(f"no ledger entry has issued {number}")

    async def _span(self, index: int) -> tuple[int, int]:
        """Return the next fresh number before and after an entry."""
        span = self._spans.get(index)
        if span is None:
            entry = await self._entry(index)
            span = (entry.next_before, next_after(entry))
            if len(self._spans) >= SPANS_MAX:
                self._spans.clear()
            if self._last(index):
                self._spans[index] = span
        return span

    async def newest(self, before: int, limit: int) -> Page:
        """Return up to ``limit`` entries older than ``before`` (0: the newest)."""
        if not before:
            head = await self.head()
            before = head.index + 1 if head else 1
        first = max(1, before - limit)
        if before <= 1:
            return Page((), 0)
        span = Range(self._keys.entry(first), self._keys.entry(before))
        (found,) = (await self._store.read(span)).found
        # Where an older one would be and none is, it has been trimmed.
        more = first > 1 and bool(found) and found[0].key == self._keys.entry(first)
        return Page(tuple(_decode(kv) for kv in reversed(found)), first if more else 0)

    async def freed(self, numbers: list[int]) -> dict[int, Freed]:
        """Return the last release of those numbers that were ever released."""
        known: dict[int, Freed] = {}
        runs = _runs(sorted(set(numbers)))
        for at in range(0, len(runs), RANGES_MAX // 2):
            some = runs[at : at + RANGES_MAX // 2]
            snapshot = await self._store.read(
                *(self._keys.freed_between(*run) for run in some),
                *(Range(self._keys.gap(a), self._keys.gap(b + 1)) for a, b in some),
            )
            free = {number_in(kv.key) for f in snapshot.found[len(some) :] for kv in f}
            for kv in (kv for found in snapshot.found[: len(some)] for kv in found):
                mark, number = decode_mark(kv.value), number_in(kv.key)
                known[number] = Freed(*mark, number in free)
        return known

    async def gaps(self, first: int, limit: int) -> GapPage:
        """Return the gaps from ``first`` on, lowest first."""
        snapshot = await self._store.read(
            Range(self._keys.head), self._keys.gaps(limit=1), self._keys.gaps(first, limit)
        )
        head_found, lowest, found = snapshot.found
        return GapPage(
            total=heads.decode(head_found[0].value).gaps if head_found else 0,
            lowest=number_in(lowest[0].key) if lowest else None,
            numbers=[number_in(kv.key) for kv in found],
        )

    async def life(self, number: int) -> Life:
        """Return everything that ever happened to a number since a reset, oldest first.

        A confirmation whose idempotency key is remembered no more is missing.
        """
        head, freed_in, is_free, hold = await self._last_freed(number)
        if head is None or not head.start <= number < head.next:
            return Life([], 0)
        if not freed_in:
            entry = await self._first_issued_in(number, head)
        elif is_free or (head.void and await self._is_void_since(number, freed_in)):
            entry = freed_in
        else:
            entry = await self._reused_in(number, freed_in, head)
        events: list[Event] = []
        while entry > head.trimmed:
            found_in = await self._events_in(entry, number)
            last = found_in[-1].record
            if isinstance(last, Issued) and last.held and not (hold and not events):
                found_in += await self._settled(entry, number, last.held, events[:1])
            events[:0] = found_in
            entry = _came_from(found_in[0].record, number, entry)
        return Life(events, head.trimmed if entry else 0, hold)

    async def _settled(
        self, reserved_in: int, number: int, held: Held, following: list[Event]
    ) -> list[Event]:
        """Return the end of a reservation that was made in this entry, unless it follows."""
        if following and isinstance(following[0].record, Settled):
            return []
        index = await settled_in(self._store, self._keys, reserved_in, number, held.token)
        return await self._events_in(index, number) if index else []

    async def _events_in(self, index: int, number: int) -> list[Event]:
        (found,) = (await self._store.read(Range(self._keys.entry(index)))).found
        if not found:
            raise EntryMissing(f"ledger entry {index} is not in the store")
        entry, tip = _decode(found[0])
        events = [Event(entry, tip, r) for r in entry.records if _speaks_of(r, number)]
        if not events:
            raise EntryMissing(f"entry {index} should speak of {number}, and does not")
        return events

    async def prove(self, start: int | None) -> Verdict:
        """Replay the whole ledger and compare it with all that stands beside it at one revision.

        Raises StoreError.
        """
        return await prove(self._store, self._keys, start)


def _decode(kv: KeyValue) -> tuple[Entry, str]:
    entry = ledger.decode(kv.value)
    return entry, ledger.chain(entry.previous, kv.value)


def _speaks_of(record: Record, number: int) -> bool:
    match record:
        case Issued(_, first, fresh, reused):
            return first <= number < first + fresh or any(number in run.numbers for run in reused)
        case Released(_, one) | Settled(_, one) | Voided(_, one):
            return one == number
        case Passed(_, first, quantity):
            return first <= number < first + quantity
        case Imported(_, first):
            return first <= number < record.next
        case Closed() | Restarted() | LossAccepted() | Trimmed():
            return False


def _came_from(record: Record, number: int, entry: int) -> int:
    """Return the entry with the number's previous event; 0 when this was its first."""
    match record:
        case Issued(_, _, _, reused):
            return next((run.released_in for run in reused if number in run.numbers), 0)
        case Released(_, _, issued_in) | Settled(_, _, issued_in) | Voided(_, _, issued_in):
            return issued_in
        case Passed() | Imported():
            return 0
        case _:
            raise EntryMissing(f"entry {entry} does not say where {number} came from")


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Return ascending numbers as runs ``(first, last)`` without holes."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs
