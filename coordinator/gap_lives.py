"""The life of gaps: who released a number, when and why, and who got it next."""

from collections.abc import Iterable
from typing import NamedTuple

from coordinator.core import head as heads
from coordinator.core import ledger
from coordinator.core.head import Head
from coordinator.core.keys import CounterKeys, number_in
from coordinator.core.marks import Mark, decode_mark
from coordinator.core.records import Entry, Issued, Record, Released, Settled
from coordinator.core.transaction import Range
from coordinator.store import Store

WINDOW = 256
"""Entries among which reuse is looked for by one range."""

WINDOWS_PER_READ = 16
READS_MAX = 8
"""So the newest 32,768 entries are looked through for what was reused."""

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


class GapLives(NamedTuple):
    """Some gaps of a counter: the lowest ``opened`` of ``total``, the latest ``refilled`` first.

    What was refilled is looked for in entries after ``looked_back_to``.
    """

    total: int
    opened: list[GapLife]
    refilled: list[GapLife]
    looked_back_to: int


async def gap_lives(store: Store, keys: CounterKeys, limit: int) -> GapLives:
    """Return so many open gaps and refilled ones. Raises StoreError or Unreadable."""
    snapshot = await store.read(Range(keys.head), keys.gaps(limit=limit))
    head_found, gaps = snapshot.found
    if not head_found:
        return GapLives(0, [], [], 0)
    head = heads.decode(head_found[0].value)
    marks = [(number_in(kv.key), decode_mark(kv.value)) for kv in gaps]
    reusing, looked_back_to = await _latest_reusing(store, keys, head, limit)
    entries = await _entries(store, keys, reusing)
    refills = _refills((entries[index] for index in reusing if index in entries), limit)
    asked = {mark.entry for _, mark in marks} | {life.mark.entry for life in refills}
    entries |= await _entries(store, keys, sorted(asked - entries.keys()))
    opened = [_with_release(GapLife(n, mark, None, None), entries) for n, mark in marks]
    refilled = [_with_release(life, entries) for life in refills]
    return GapLives(head.gaps, opened, refilled, looked_back_to)


async def _latest_reusing(
    store: Store, keys: CounterKeys, head: Head, limit: int
) -> tuple[list[int], int]:
    """Return the latest entries that took numbers from the gaps, newest first, and how far back
    was looked.
    """
    found: list[int] = []
    last, oldest = head.index, max(head.since, head.trimmed)
    for _ in range(READS_MAX):
        firsts = range(last, oldest, -WINDOW)[:WINDOWS_PER_READ]
        if not firsts or len(found) >= limit:
            break
        spans = [(max(oldest, upper - WINDOW), upper) for upper in firsts]
        ranges = (
            Range(keys.reuse(after + 1), keys.reuse(upper + 1), keys_only=True)
            for after, upper in spans
        )
        for page in (await store.read(*ranges)).found:
            found += sorted((number_in(kv.key) for kv in page), reverse=True)
        last = spans[-1][0]
    return found[:limit], last


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


def _refills(entries: Iterable[Entry], limit: int) -> list[GapLife]:
    """Return the last numbers that these entries took from the gaps, newest first."""
    refills: list[GapLife] = []
    for entry in entries:
        for record in reversed(entry.records):
            for run in reversed(record.reused if isinstance(record, Issued) else ()):
                mark = Mark(run.released_in, run.released_ms)
                left = limit - len(refills)
                numbers = run.numbers[::-1][:left]
                refills += [GapLife(n, mark, None, Deed(entry, record)) for n in numbers]
                if len(refills) == limit:
                    return refills
    return refills


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
