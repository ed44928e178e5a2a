"""Listings of audit records, newest first: read a few ledger entries at a time, when asked for."""

import heapq
from collections.abc import Awaitable, Callable, Iterator
from operator import itemgetter
from typing import Any, NamedTuple

from coordinator.api.answers import iso
from coordinator.api.audit_records import (
    Row,
    changed,
    life_rows,
    operation_of,
    record_of,
    rows_of,
    rows_of_life,
)
from coordinator.api.cursors import Cursor
from coordinator.core.records import Entry, Imported, Issued, Record, Settled
from coordinator.core.standing import Fate, ends, fate, text_in
from coordinator.entry_search import CLOCKS_APART_MS
from coordinator.history import Freed, History

ENTRIES_READ_FIRST, ENTRIES_READ_AT_ONCE = 4, 64
"""A short listing of busy entries needs few of them; a filtered one many."""

ENTRIES_READ_MAX = 2_000
"""Entries that one call looks at; with filters it may then answer fewer records and a cursor."""


FirstSince = Callable[[int], Awaitable[int]]
"""Finds the first entry since a moment (wall clock, ms)."""


class Filter(NamedTuple):
    """Which records are wanted; None is any. ``from_ms`` is in the time, ``to_ms`` is not."""

    site: str | None = None
    partition: str | None = None
    invoice_type: str | None = None
    operation: str | None = None
    request_id: str | None = None
    user: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None

    def takes(self, row: Row) -> bool:
        """Tell whether a row is wanted."""
        if not (self.takes_entry(row.entry) and self.takes_record(row.record)):
            return False
        return self.operation is None or self.operation == operation_of(row)

    def takes_entry(self, entry: Entry) -> bool:
        """Tell whether an entry was written in the time that is wanted."""
        if self.from_ms is not None and entry.time_ms < self.from_ms:
            return False
        return self.to_ms is None or entry.time_ms < self.to_ms

    def takes_record(self, record: Record) -> bool:
        """Tell whether a record is of who is wanted."""
        cause = record.cause
        for wanted, found in zip((*self[:3], self.user), cause.origin[:4], strict=True):
            if wanted is not None and wanted != found:
                return False
        return self.request_id is None or self.request_id in {cause.key, cause.correlation}

    def ends_before(self, entry: Entry) -> bool:
        """Tell whether no older entry can be of the time that is wanted."""
        return self.from_ms is not None and entry.time_ms < self.from_ms - CLOCKS_APART_MS


class Listing(NamedTuple):
    """Audit records, each with its place, newest first; ``following`` None: no more.

    So many entries were looked at. ``back_to_ms`` is set when that were too many before all
    records were found: older ones than that may be missing. So may those of entries up to
    ``trimmed``, which have left the store.
    """

    records: list[tuple[Cursor, dict[str, Any]]]
    following: Cursor | None
    looked_at: int = 0
    back_to_ms: int | None = None
    trimmed: int = 0


async def listing(
    history: History,
    cursor: Cursor,
    limit: int,
    wanted: Filter,
    entries_max: int = ENTRIES_READ_MAX,
    first_since: FirstSince | None = None,
) -> Listing:
    """Return the newest records of a counter from the cursor on.

    ``first_since`` finds the entry where to begin with a time that has an end.
    """
    rows: list[tuple[Cursor, Row]] = []
    skip, looked_at = cursor.skip, 0
    before = await _begin(history, cursor, wanted, first_since)
    entries = ENTRIES_READ_FIRST
    while True:
        page = await history.newest(before, min(entries, entries_max - looked_at))
        entries = min(2 * entries, ENTRIES_READ_AT_ONCE)
        for entry, tip in page.entries:
            if wanted.ends_before(entry):
                return Listing(await _records(history, rows), None, looked_at)
            looked_at += 1
            for place, row in _wanted_in(entry, tip, wanted):
                if place < skip:
                    continue
                if len(rows) == limit:
                    following = Cursor(entry.index, place)
                    return Listing(await _records(history, rows), following, looked_at)
                rows.append((Cursor(entry.index, place), row))
            skip = 0
        if not page.older:
            oldest = page.entries[-1][0].index if page.entries else max(1, before)
            found = await _records(history, rows)
            return Listing(found, None, looked_at, trimmed=oldest - 1)
        if looked_at >= entries_max:
            following, back_to_ms = Cursor(page.older - 1), page.entries[-1][0].time_ms
            return Listing(await _records(history, rows), following, looked_at, back_to_ms)
        before = page.older


async def _begin(
    history: History, cursor: Cursor, wanted: Filter, first_since: FirstSince | None
) -> int:
    """Return the entry before which a listing begins; 0: with the newest."""
    if cursor.entry:
        head = await history.head()
        return min(cursor.entry, head.index if head else 0) + 1
    if wanted.to_ms is None or first_since is None:
        return 0
    return await first_since(wanted.to_ms + CLOCKS_APART_MS)


def _wanted_in(entry: Entry, tip: str, wanted: Filter) -> Iterator[tuple[int, Row]]:
    """Yield an entry's rows that are wanted, each with its place among all of them."""
    if not wanted.takes_entry(entry):
        return
    last: Record | None = None
    is_wanted = False
    for place, row in enumerate(rows_of(entry, tip)):
        if row.record is not last:  # a record may have thousands of rows
            last, is_wanted = row.record, wanted.takes_record(row.record)
        if is_wanted and wanted.operation in {None, operation_of(row)}:
            yield place, row


async def listing_of_number(
    history: History,
    number: int,
    text: str | None,
    cursor: Cursor,
    limit: int,
    wanted: Filter,
) -> Listing:
    """Return a number's records from the cursor on, newest first.

    With a text they are those of a number that was written like this, or never noted how.
    """
    life = await history.life(number)
    written = {text_in(event.record) for event in life.events} - {""}
    if text is not None and written and text not in written:
        return Listing([], None)
    records = rows_of_life(life.events, number)
    found: list[tuple[Cursor, dict[str, Any]]] = []
    place, entry_before = 0, 0
    for row, record in reversed(list(zip(life_rows(life.events, number), records, strict=True))):
        index = row.entry.index
        place = place + 1 if index == entry_before else 0
        entry_before = index
        is_newer = cursor.entry and (-index, place) < (-cursor.entry, cursor.skip)
        if is_newer or not wanted.takes(row):
            continue
        if len(found) == limit:
            return Listing(found, Cursor(index, place), trimmed=life.trimmed)
        found.append((Cursor(index, place), record))
    return Listing(found, None, trimmed=life.trimmed)


def merge(
    lists: list[Listing], limit: int
) -> tuple[list[tuple[int, dict[str, Any]]], list[Cursor | None]]:
    """Return the newest records, each with its counter's position, and where each goes on.

    Where a counter was not looked through far enough, older records of others wait for it.
    """
    tagged = (
        [(record["timestamp"], at, cursor, record) for cursor, record in one.records]
        for at, one in enumerate(lists)
    )
    merged = list(heapq.merge(*tagged, key=itemgetter(0), reverse=True))
    back_to = max((iso(one.back_to_ms) for one in lists if one.back_to_ms is not None), default="")
    shown = min(limit, sum(moment >= back_to for moment, *_ in merged))
    following = [one.following for one in lists]
    for _, at, cursor, _ in reversed(merged[shown:]):
        following[at] = cursor
    return [(at, record) for _, at, _, record in merged[:shown]], following


async def _records(
    history: History, rows: list[tuple[Cursor, Row]]
) -> list[tuple[Cursor, dict[str, Any]]]:
    single = [row for _, row in rows if row.number is not None and row.quantity == 1]
    freed = await history.freed([row.number or 0 for row in single])
    asked = {freed[row.number or 0].entry for row in single if _may_be_void(row, freed)}
    ended = await _by_index(history, sorted(asked))
    records = []
    for cursor, row in rows:
        last = freed.get(row.number) if row.number and row.quantity == 1 else None
        record = record_of(row)
        if last is not None:
            record |= _what_came_of(row, last, ended.get(last.entry, ()))
        records.append((cursor, record))
    return records


def _may_be_void(row: Row, freed: dict[int, Freed]) -> bool:
    """Tell whether the entry that freed this number must be read: only documents' become void."""
    match row.record:
        case Issued(held=None, given=None):
            return False
        case Issued() | Settled() | Imported():
            last = freed.get(row.number or 0)
            return last is not None and last.entry > row.entry.index
        case _:
            return False


async def _by_index(history: History, indexes: list[int]) -> dict[int, tuple[Record, ...]]:
    found: dict[int, tuple[Record, ...]] = {}
    for at in range(0, len(indexes), ENTRIES_READ_AT_ONCE):
        some = tuple(indexes[at : at + ENTRIES_READ_AT_ONCE])
        found |= {entry.index: entry.records for entry in await history.entries(some)}
    return found


def _what_came_of(row: Row, last: Freed, ended: tuple[Record, ...]) -> dict[str, Any]:
    """Return the fields of a record that later releases, voids or reuse have changed.

    ``ended`` are the records of the entry that freed the number last, where they matter.
    """
    number, index = row.number or 0, row.entry.index
    later = [r for r in row.entry.records[row.position + 1 :] if _frees(r, number)]
    if ends(row.record) is None:
        if last.entry <= index and not later:
            return {}
        ends_it = [r for r in ended if _frees(r, number)] or later
        now = fate(row.record, number, ends_it[-1:]) if ends_it else Fate.RELEASED
        return changed(row, now, last.time_ms, None)
    if fate(row.record, number, ()) is Fate.VOID or _is_void_expired(row.record):
        return {}
    still_free = last.still_free and last.entry == index and not later
    return {} if still_free else changed(row, Fate.RECOVERED, None, None)


def _frees(record: Record, number: int) -> bool:
    return ends(record) is not None and getattr(record, "number", None) == number


def _is_void_expired(record: Record) -> bool:
    return isinstance(record, Settled) and record.is_void
