"""The life of gaps: who released a number, when and why, and who got it next."""

from collections.abc import Iterable, Iterator
from itertools import count
from typing import NamedTuple

from coordinator.core import head as heads
from coordinator.core import ledger
from coordinator.core.keys import CounterKeys, number_in
from coordinator.core.marks import Mark, decode_mark
from coordinator.core.records import Entry, Issued, Record, Released, Settled
from coordinator.core.transaction import Range
from coordinator.store import Store

WINDOW = 256
"""Entries among which reuse is looked for by one range."""

WINDOWS_PER_READ = 16
READS_MAX = 8
"""So 32,768 entries are looked through at once for what was reused."""

ENTRIES_PER_READ = 16
"""An entry has some kB, a full one 150: about 2 MB in a read at most."""


class Deed(NamedTuple):
    """A record and the entry that it stands in."""

    entry: Entry
    record: Record


class GapLife(NamedTuple):
    """One gap of a number. ``ended`` is None while it is open.

    ``released`` is None when that entry has left the store; ``mark`` says when it was.
    """

    number: int
    mark: Mark
    released: Deed | None
    ended: Deed | None


class Open(NamedTuple):
    """Some of a counter's ``total`` open gaps, ascending, and the one after them, if there is."""

    total: int
    gaps: list[GapLife]
    following: int | None


class Place(NamedTuple):
    """Where refilled gaps are listed from: from this entry back, after so many that it refilled.

    Entry 0 is the newest.
    """

    entry: int = 0
    skip: int = 0


class Refilled(NamedTuple):
    """Gaps that were refilled, the latest first, each with its place.

    They were looked for in entries after ``looked_back_to``. ``following`` is where to go on, also
    when none was found so far back; None: there are no more.
    """

    gaps: list[tuple[Place, GapLife]]
    following: Place | None
    looked_back_to: int


async def open_gaps(store: Store, keys: CounterKeys, first: int, limit: int) -> Open:
    """Return so many open gaps from a number on. Raises StoreError or Unreadable."""
    snapshot = await store.read(Range(keys.head), keys.gaps(first, limit + 1))
    head_found, gaps = snapshot.found
    if not head_found:
        return Open(0, [], None)
    marks = [(number_in(kv.key), decode_mark(kv.value)) for kv in gaps]
    entries = await _entries(store, keys, sorted({mark.entry for _, mark in marks[:limit]}))
    lives = [_with_release(GapLife(n, mark, None, None), entries) for n, mark in marks[:limit]]
    following = marks[limit][0] if len(marks) > limit else None
    return Open(heads.decode(head_found[0].value).gaps, lives, following)


async def refilled_gaps(store: Store, keys: CounterKeys, place: Place, limit: int) -> Refilled:
    """Return so many refilled gaps from a place on. Raises StoreError or Unreadable."""
    (head_found,) = (await store.read(Range(keys.head))).found
    if not head_found:
        return Refilled([], None, 0)
    head = heads.decode(head_found[0].value)
    last, oldest = min(place.entry or head.index, head.index), max(head.since, head.trimmed)
    reusing, looked_back_to = await _latest_reusing(store, keys, (last, oldest), limit + 1)
    entries = await _entries(store, keys, reusing[: limit + 1])
    found = [each for index in reusing if index in entries for each in _refills(entries[index])]
    found = found[place.skip if reusing[:1] == [place.entry] else 0 :]
    following = Place(looked_back_to) if looked_back_to > oldest else None
    if len(reusing) > limit + 1:
        following = Place(reusing[limit + 1])
    if len(found) > limit:
        following = found[limit][0]
    asked = {life.mark.entry for _, life in found[:limit]}
    entries |= await _entries(store, keys, sorted(asked - entries.keys()))
    gaps = [(at, _with_release(life, entries)) for at, life in found[:limit]]
    return Refilled(gaps, following, looked_back_to)


async def _latest_reusing(
    store: Store, keys: CounterKeys, within: tuple[int, int], enough: int
) -> tuple[list[int], int]:
    """Return entries that took numbers from the gaps, newest first, and how far back was looked.

    They are looked for from one entry down to another, which is left out.
    """
    found: list[int] = []
    last, oldest = within
    for _ in range(READS_MAX):
        firsts = range(last, oldest, -WINDOW)[:WINDOWS_PER_READ]
        if not firsts or len(found) >= enough:
            break
        spans = [(max(oldest, upper - WINDOW), upper) for upper in firsts]
        ranges = (
            Range(keys.reuse(after + 1), keys.reuse(upper + 1), keys_only=True)
            for after, upper in spans
        )
        for page in (await store.read(*ranges)).found:
            found += sorted((number_in(kv.key) for kv in page), reverse=True)
        last = spans[-1][0]
    return found, last


async def _entries(store: Store, keys: CounterKeys, indexes: Iterable[int]) -> dict[int, Entry]:
    """Return those entries that are in the store."""
    entries: dict[int, Entry] = {}
    asked = list(indexes)
    for at in range(0, len(asked), ENTRIES_PER_READ):
        ranges = (Range(keys.entry(index)) for index in asked[at : at + ENTRIES_PER_READ])
        for found in (await store.read(*ranges)).found:
            for kv in found:
                entries[number_in(kv.key)] = ledger.decode(kv.value)
    return entries


def _refills(entry: Entry) -> Iterator[tuple[Place, GapLife]]:
    """Yield the numbers that an entry took from the gaps, the last first."""
    at = count()
    for record in reversed(entry.records):
        for run in reversed(record.reused if isinstance(record, Issued) else ()):
            mark = Mark(run.released_in, run.released_ms)
            for number in run.numbers[::-1]:
                life = GapLife(number, mark, None, Deed(entry, record))
                yield Place(entry.index, next(at)), life


def _with_release(life: GapLife, entries: dict[int, Entry]) -> GapLife:
    entry = entries.get(life.mark.entry)
    records = entry.records if entry else ()
    found = [record for record in records if _frees(record, life.number)]
    # Freed, reused and freed again in one entry: the last one counts for a gap that is open.
    return life._replace(released=Deed(entry, found[-1])) if entry and found else life


def _frees(record: Record, number: int) -> bool:
    match record:
        case Released(_, freed):
            return freed == number
        case Settled(_, freed) as settled:
            return freed == number and settled.frees
        case _:
            return False
