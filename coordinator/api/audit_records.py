"""Audit records of single numbers, in the contract's words: a view of records in the ledger."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import orjson

from coordinator.api.answers import iso
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
    Settled,
    Trimmed,
    Voided,
)
from coordinator.core.standing import Fate, ends, fate, leaves_out, text_in
from coordinator.history import Event


class Row(NamedTuple):
    """One number in one record, or a run of them that nothing but the record tells apart.

    ``released_ms`` is when a reused number had been released.
    """

    entry: Entry
    tip: str
    position: int
    record: Record
    number: int | None
    released_ms: int | None = None
    quantity: int = 1


def rows_of(entry: Entry, tip: str) -> Iterator[Row]:
    """Yield an entry's rows, newest first.

    Numbers that were passed over, or came in by an import, are a row for each run: there may be
    more of them than anybody could page through.
    """
    for position in range(len(entry.records) - 1, -1, -1):
        record = entry.records[position]
        match record:
            case Issued(_, first, fresh, reused):
                for number in range(first + fresh - 1, first - 1, -1):
                    yield Row(entry, tip, position, record, number)
                for run in reversed(reused):
                    for number in reversed(run.numbers):
                        yield Row(entry, tip, position, record, number, run.released_ms)
            case Released(_, number) | Settled(_, number) | Voided(_, number):
                yield Row(entry, tip, position, record, number)
            case Passed(_, first, quantity):
                yield Row(entry, tip, position, record, first, quantity=quantity)
            case Imported():
                for first, quantity in sorted((*record.runs, *record.missing()), reverse=True):
                    yield Row(entry, tip, position, record, first, quantity=quantity)
            case _:
                yield Row(entry, tip, position, record, None)


def rows_of_life(events: Sequence[Event], number: int) -> list[dict[str, Any]]:
    """Return a number's whole life as audit records, oldest first."""
    records = []
    for at, event in enumerate(events):
        row, later = _row_of(event, number), events[at + 1 :]
        now = fate(event.record, number, [each.record for each in later])
        ended = next((each.entry.time_ms for each in later if ends(each.record)), None)
        again = [each.entry.time_ms for each in later if isinstance(each.record, Issued)]
        records.append(record_of(row) | changed(row, now, ended, again[0] if again else None))
    return records


def life_rows(events: Sequence[Event], number: int) -> list[Row]:
    """Return the rows of a number's life, oldest first."""
    return [_row_of(event, number) for event in events]


def changed(row: Row, now: Fate, ended_ms: int | None, again_ms: int | None) -> dict[str, Any]:
    """Return the fields of a record that say what it is by now."""
    fields: dict[str, Any] = {"status": now.value}
    if ends(row.record) is None and now is not Fate.ACTIVE and ended_ms is not None:
        fields["releaseTime"] = iso(ended_ms)
    if now is Fate.RECOVERED and again_ms is not None:
        fields["recoveryTime"] = iso(again_ms)
    return fields


def _row_of(event: Event, number: int) -> Row:
    entry, tip, record = event
    position = next(at for at, each in enumerate(entry.records) if each is record)
    runs = record.reused if isinstance(record, Issued) else ()
    released_ms = next((run.released_ms for run in runs if number in run.numbers), None)
    return Row(entry, tip, position, record, number, released_ms)


_SETTLED = {How.CONFIRMED: "CONFIRM", How.CANCELLED: "CANCEL", How.EXPIRED: "EXPIRE"}
_OPERATIONS: dict[type[Record], str] = {
    Released: "RELEASE",
    Voided: "VOID",
    Imported: "IMPORT",
    Passed: "ADJUST",
    Closed: "ADJUST",
    LossAccepted: "ADJUST",
    Trimmed: "ADJUST",
    Restarted: "RESET",
}


def operation_of(row: Row) -> str:
    """Return the contract's name of what happened."""
    match row.record:
        case Issued(held=held, given=given):
            if held is not None:
                return "RESERVE"
            if given is not None and not given.replaces:
                return "MANUAL_OVERRIDE"
            return "GENERATE" if row.released_ms is None else "RECOVER"
        case Settled(how=how):
            return _SETTLED[how]
        case other:
            return _OPERATIONS[type(other)]


def _describe(row: Row) -> tuple[str | None, str]:
    """Return reason and description."""
    origin, written = row.record.cause.origin, text_in(row.record)
    match row.record:
        case Issued() as issued:
            return _describe_issued(row, issued)
        case Released(_, number, _, reason):
            return reason, f"Number {number} released by {origin.site}/{origin.partition}: {reason}"
        case Settled(_, number, how=how, reason=reason, is_void=is_void):
            left = "" if how is How.CONFIRMED else " and is void" if is_void else " and is free"
            return reason or None, f"Number {number} ({written}) was {how.value}{left}"
        case Voided(_, number, reason=reason, replaced_by=other):
            instead = f"; {other} has taken its place" if other else ""
            return reason, f"Number {number} ({written}) is void{instead}"
        case _:
            return _describe_rare(row)


def _describe_issued(row: Row, issued: Issued) -> tuple[str | None, str]:
    origin, given = issued.cause.origin, issued.given
    again = "" if row.released_ms is None else " again, from the gaps,"
    named = f"Number {row.number} ({issued.text})"
    if issued.held is not None:
        return None, f"{named} reserved{again.rstrip(',')}"
    if given is None:
        whose = f"{origin.site}/{origin.partition} ({origin.invoice_type})"
        return None, f"Number {row.number} issued{again} to {whose}"
    if given.replaces:
        return given.reason, f"{named} issued{again} in the place of {given.replaces}"
    return given.reason, f"{named} issued as an operator named it"


def _describe_rare(row: Row) -> tuple[str | None, str]:
    first, last = row.number, (row.number or 0) + row.quantity - 1
    which = f"Number {first}" if row.quantity == 1 else f"Numbers {first} to {last}"
    match row.record:
        case Passed(_, _, _, reason):
            return reason, f"{which} will never be issued: the count went on without"
        case Imported(source=source):
            is_out = leaves_out(row.record, first or 0)
            came = "left out, so void for ever" if is_out else "issued elsewhere, now in the books"
            return None, f"{which} {came} (import {source})"
        case Closed(_, reason):
            return reason, "The count was closed: no number goes out any more"
        case LossAccepted(_, lost, tip, reason):
            what = f"entry {lost} (hash {tip[:16]}), and what lay between"
            return reason, f"The store had gone back. Accepted as lost: {what}"
        case Trimmed(_, through, tip, _, _):
            return None, f"The entries up to {through} (hash {tip[:16]}) left the store"
        case _:
            return None, "The count was started anew"


def _highest(row: Row) -> int:
    """Return the highest number that was issued with this record, or before its entry."""
    match row.record:
        case Issued(_, first, fresh) | Passed(_, first, fresh):
            return first + fresh - 1
        case Imported() as imported:
            return imported.next - 1
        case _:
            return row.entry.next_before - 1


def record_of(row: Row) -> dict[str, Any]:
    """Return the audit record of a row, as it was when it was written."""
    entry, cause = row.entry, row.record.cause
    origin, part = cause.origin, entry.part_of(row.record)
    reason, description = _describe(row)
    now = Fate.ACTIVE if row.number is None else fate(row.record, row.number, ())
    when = iso(entry.time_ms)
    released_at = None if row.released_ms is None else iso(row.released_ms)
    record = {
        "auditId": f"{entry.index}-{row.position}-{row.number or 0}",
        "sequenceNumber": row.number,
        "documentNumber": text_in(row.record) or None,
        "siteId": origin.site or None,
        "partitionId": origin.partition or None,
        "invoiceType": origin.invoice_type,
        "operationType": operation_of(row),
        "status": now.value,
        "reason": reason,
        "description": description,
        "timestamp": when,
        "releaseTime": released_at if now is Fate.ACTIVE else when,
        "recoveryTime": when if row.released_ms is not None else None,
        "nodeId": part.node,
        "instanceId": part.instance,
        "gapFilled": row.released_ms is not None,
        "globalCounter": _highest(row),
        "requestId": cause.key or cause.correlation,
        "correlationId": cause.correlation,
        "processingTimeMs": cause.waited_us / 1000,
        "metadata": None if cause.metadata is None else orjson.Fragment(cause.metadata),
        "user": origin.user,
        "ipAddress": origin.address,
        "userAgent": origin.user_agent,
        "entryIndex": entry.index,
        "entryHash": row.tip,
    }
    return record if row.quantity == 1 else record | {"quantity": row.quantity}
