"""Listings of audit records, newest first: read a few ledger entries at a time, when asked for."""

from typing import Any, NamedTuple

from coordinator.api.audit_records import Row, changed, operation_of, record_of, rows_of
from coordinator.core.records import Imported, Issued, Record, Settled
from coordinator.core.standing import Fate, ends, fate
from coordinator.history import Freed, History

ENTRIES_READ_FIRST, ENTRIES_READ_AT_ONCE = 4, 64
"""A short listing of busy entries needs few of them; a filtered one many."""

ENTRIES_READ_MAX = 2_000
"""Entries that one call looks at; with filters it may then answer fewer records and a cursor."""


class Cursor(NamedTuple):
    """Where a listing goes on: at this entry, after so many of its rows. Entry 0: the newest."""

    entry: int = 0
    skip: int = 0

    def __str__(self) -> str:
        return f"{self.entry}-{self.skip}"

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Return the cursor. Raises ValueError."""
        entry, skip = text.split("-")
        return cls(int(entry), int(skip))


class Filter(NamedTuple):
    """Which records are wanted; None is any."""

    site: str | None = None
    partition: str | None = None
    invoice_type: str | None = None
    operation: str | None = None
    request_id: str | None = None

    def takes(self, row: Row) -> bool:
        """Tell whether a row is wanted."""
        cause = row.record.cause
        found = (*cause.origin[:3], operation_of(row))
        if any(w is not None and w != f for w, f in zip(self[:4], found, strict=True)):
            return False
        return self.request_id is None or self.request_id in {cause.key, cause.correlation}


class Listing(NamedTuple):
    """Audit records, each with its place, newest first; ``following`` None: no more."""

    records: list[tuple[Cursor, dict[str, Any]]]
    following: Cursor | None


async def listing(history: History, cursor: Cursor, limit: int, wanted: Filter) -> Listing:
    """Return the newest records of a counter from the cursor on."""
    rows: list[tuple[Cursor, Row]] = []
    skip, looked_at = cursor.skip, 0
    before = 0
    if cursor.entry:
        head = await history.head()
        before = min(cursor.entry, head.index if head else 0) + 1
    entries = ENTRIES_READ_FIRST
    while True:
        page = await history.newest(before, entries)
        entries = min(2 * entries, ENTRIES_READ_AT_ONCE)
        looked_at += len(page.entries)
        for entry, tip in page.entries:
            for place, row in enumerate(rows_of(entry, tip)):
                if place < skip or not wanted.takes(row):
                    continue
                if len(rows) == limit:
                    return Listing(await _records(history, rows), Cursor(entry.index, place))
                rows.append((Cursor(entry.index, place), row))
            skip = 0
        if not page.older or looked_at >= ENTRIES_READ_MAX:
            following = Cursor(page.older - 1) if page.older else None
            return Listing(await _records(history, rows), following)
        before = page.older


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
