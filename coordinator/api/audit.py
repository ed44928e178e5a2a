"""Audit records of single numbers: a view of ledger entries, made when asked for."""

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any, NamedTuple

import orjson

from coordinator.api.answers import iso
from coordinator.core.records import Entry, Issued, LossAccepted, Record, Released, Trimmed
from coordinator.history import Event, Freed, History

ENTRIES_READ_FIRST, ENTRIES_READ_AT_ONCE = 4, 64
"""A short listing of busy entries needs few of them; a filtered one many."""

ENTRIES_READ_MAX = 2_000
"""Entries that one call looks at; with filters it may then answer fewer records and a cursor."""


class Row(NamedTuple):
    """One number in one record. ``released_ms`` is when a reused number had been released."""

    entry: Entry
    tip: str
    position: int
    record: Record
    number: int | None
    released_ms: int | None = None


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


def rows_of(entry: Entry, tip: str) -> Iterator[Row]:
    """Yield an entry's rows, newest first."""
    for position in range(len(entry.records) - 1, -1, -1):
        record = entry.records[position]
        match record:
            case Issued(_, first, fresh, reused):
                for number in range(first + fresh - 1, first - 1, -1):
                    yield Row(entry, tip, position, record, number)
                for run in reversed(reused):
                    for number in reversed(run.numbers):
                        yield Row(entry, tip, position, record, number, run.released_ms)
            case Released(_, number):
                yield Row(entry, tip, position, record, number)
            case _:
                yield Row(entry, tip, position, record, None)


def rows_of_life(events: list[Event], number: int) -> list[dict[str, Any]]:
    """Return a number's whole life as audit records, oldest first."""
    records = []
    for event, after in zip_longest(events, events[1:]):
        record = _record(_row_of(event, number))
        if after is not None:
            when = iso(after.entry.time_ms)
            if isinstance(event.record, Issued):
                record |= {"status": "RELEASED", "releaseTime": when}
            else:
                record |= {"status": "RECOVERED", "recoveryTime": when}
        records.append(record)
    return records


def _row_of(event: Event, number: int) -> Row:
    entry, tip, record = event
    position = next(at for at, each in enumerate(entry.records) if each is record)
    runs = record.reused if isinstance(record, Issued) else ()
    released_ms = next((run.released_ms for run in runs if number in run.numbers), None)
    return Row(entry, tip, position, record, number, released_ms)


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
    freed = await history.freed([row.number for _, row in rows if row.number is not None])
    records = []
    for cursor, row in rows:
        record = _record(row)
        last = freed.get(row.number) if row.number is not None else None
        if last is not None:
            record |= _what_came_of(row, last)
        records.append((cursor, record))
    return records


def _what_came_of(row: Row, last: Freed) -> dict[str, Any]:
    """Return the fields of a record that later releases or reuse have changed."""
    later = row.entry.records[row.position + 1 :]
    changed_here = any(isinstance(r, Released) and r.number == row.number for r in later)
    index = row.entry.index
    if isinstance(row.record, Issued):
        if last.entry > index or changed_here:
            return {"status": "RELEASED", "releaseTime": iso(last.time_ms)}
        return {}
    still_free = last.still_free and last.entry == index and not changed_here
    return {} if still_free else {"status": "RECOVERED"}


def operation_of(row: Row) -> str:
    """Return the contract's name of what happened."""
    match row.record:
        case Issued():
            return "GENERATE" if row.released_ms is None else "RECOVER"
        case Released():
            return "RELEASE"
        case LossAccepted() | Trimmed():
            return "ADJUST"
        case _:
            return "RESET"


def _describe(row: Row) -> tuple[str | None, str]:
    """Return reason and description."""
    origin = row.record.cause.origin
    place = f"{origin.site}/{origin.partition}"
    match row.record:
        case Issued():
            again = "" if row.released_ms is None else " again, from the gaps,"
            return None, f"Number {row.number} issued{again} to {place} ({origin.invoice_type})"
        case Released(_, number, _, reason):
            return reason, f"Number {number} released by {place}: {reason}"
        case LossAccepted(_, lost, tip, reason):
            what = f"entry {lost} (hash {tip[:16]}), and what lay between"
            return reason, f"The store had gone back. Accepted as lost: {what}"
        case Trimmed(_, through, tip, _, _):
            return None, f"The entries up to {through} (hash {tip[:16]}) left the store"
        case _:
            return None, "The count was started anew"


def _record(row: Row) -> dict[str, Any]:
    entry, cause = row.entry, row.record.cause
    origin, part = cause.origin, entry.part_of(row.record)
    reason, description = _describe(row)
    released = isinstance(row.record, Released)
    highest = entry.next_before - 1
    if isinstance(row.record, Issued):
        highest = row.record.first + row.record.fresh - 1
    when = iso(entry.time_ms)
    released_at = None if row.released_ms is None else iso(row.released_ms)
    return {
        "auditId": f"{entry.index}-{row.position}-{row.number or 0}",
        "sequenceNumber": row.number,
        "siteId": origin.site or None,
        "partitionId": origin.partition or None,
        "invoiceType": origin.invoice_type,
        "operationType": operation_of(row),
        "status": "RELEASED" if released else "ACTIVE",
        "reason": reason,
        "description": description,
        "timestamp": when,
        "releaseTime": when if released else released_at,
        "recoveryTime": when if row.released_ms is not None else None,
        "nodeId": part.node,
        "instanceId": part.instance,
        "gapFilled": row.released_ms is not None,
        "globalCounter": highest,
        "requestId": cause.key or cause.correlation,
        "correlationId": cause.correlation,
        "processingTimeMs": cause.waited_us / 1000,
        "metadata": None if cause.metadata is None else orjson.loads(cause.metadata),
        "user": origin.user,
        "ipAddress": origin.address,
        "userAgent": origin.user_agent,
        "entryIndex": entry.index,
        "entryHash": row.tip,
    }
