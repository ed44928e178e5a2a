"""Audit records as CSV, streamed piece by piece, as fast as the caller takes them.

UTF-8 with a byte order mark, without which spreadsheets take it for an older encoding; lines end as
RFC 4180 has it, and every cell is quoted. The last line begins with ``#`` and says whether these
are all records: a file without it was cut off.
"""

import csv
import io
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import orjson
from aiohttp import hdrs, web

from coordinator.api.audit_inputs import CSV_RECORDS_MAX
from coordinator.api.gate import Gate, Width
from coordinator.api.problems import REQUEST_ID, Problem
from coordinator.csv_cells import safe_cell

RECORDS_PER_PIECE = 500
ENTRIES_PER_PIECE = 512
"""So memory holds a few hundred kB of each export, and a stop is noticed within a second."""

ENTRIES_MAX = 500_000
"""Entries that one export looks through."""

EXPORTS_AT_ONCE, EXPORTS_WAITING_MAX = 2, 8
BOM = "\ufeff"
COLUMNS = (
    *("timestamp", "sequenceNumber", "quantity", "documentNumber", "operationType", "status"),
    *("siteId", "partitionId", "invoiceType", "user", "reason", "description", "counter"),
    *("releaseTime", "recoveryTime", "gapFilled", "globalCounter", "nodeId", "instanceId"),
    *("requestId", "correlationId", "ipAddress", "userAgent", "processingTimeMs", "strategy"),
    *("metadata", "auditId", "entryIndex", "entryHash"),
)


class Piece(NamedTuple):
    """Some records, where to go on (None: no more), and how many entries were looked through.

    Entries up to ``trimmed`` have left the store.
    """

    records: list[dict[str, Any]]
    cursor: str | None
    looked_at: int
    trimmed: int = 0


Read = Callable[[str | None, int, int], Awaitable[Piece]]
"""Takes a cursor, and bounds of records and of entries to look through. May raise Problem."""


class CsvExports:
    """The exports of this node: few at a time, and all of them end when it stops.

    Each piece is read behind the gate of other long readings; it is not kept from them while a
    caller takes its time.
    """

    def __init__(self, within_s: float, reading: Gate) -> None:
        self.gate = Gate(Width(EXPORTS_AT_ONCE, EXPORTS_WAITING_MAX, within_s))
        self._reading = reading
        self._stopping = False

    def end(self) -> None:
        """Let each end after its piece under way: the node stops."""
        self._stopping = True

    async def stream(
        self, request: web.Request, request_id: str, read: Read, cursor: str | None, limit: int
    ) -> web.StreamResponse:
        """Send up to so many records. Raises Problem while nothing has been sent yet."""
        piece = await self._piece(read, cursor, min(limit, RECORDS_PER_PIECE))
        response = web.StreamResponse(
            headers={
                hdrs.CONTENT_TYPE: "text/csv; charset=utf-8",
                hdrs.CONTENT_DISPOSITION: 'attachment; filename="audit.csv"',
                hdrs.CACHE_CONTROL: "no-store",
                REQUEST_ID: request_id,
            }
        )
        sent, looked_at = 0, 0
        try:
            await response.prepare(request)
            await response.write((BOM + _line(COLUMNS)).encode())
            while True:
                sent += len(piece.records)
                looked_at += piece.looked_at
                await response.write("".join(map(_row, piece.records)).encode())
                ending = self._ending(piece, sent, limit, looked_at)
                if not ending:
                    cursor = piece.cursor
                    try:
                        most = min(limit - sent, RECORDS_PER_PIECE)
                        piece = await self._piece(read, cursor, most)
                        continue
                    except Problem as failed:
                        why = f"{failed.kind.code} {failed.detail}"
                        ending = f"INCOMPLETE after {sent} records: {why} {_go_on(cursor)}"
                await response.write(_line((f"# {ending}",)).encode())
                await response.write_eof()
                return response
        except ConnectionError:  # the caller has left
            return response

    async def _piece(self, read: Read, cursor: str | None, limit: int) -> Piece:
        async with self._reading.passed():
            return await read(cursor, limit, ENTRIES_PER_PIECE)

    def _ending(self, piece: Piece, sent: int, limit: int, looked_at: int) -> str:
        """Return how the export ends; empty when it goes on."""
        if piece.cursor is None:
            gone = f" Entries up to {piece.trimmed} have left the store and are not searched."
            return f"Complete: {sent} records." + (gone if piece.trimmed else "")
        if sent >= limit:
            most = f"the limit of {limit} records"
            more = "" if limit == CSV_RECORDS_MAX else f" ({CSV_RECORDS_MAX} at most)"
            return f"INCOMPLETE: {most} is reached{more}. {_go_on(piece.cursor)}"
        if looked_at >= ENTRIES_MAX:
            most = f"{looked_at} ledger entries were looked through, as many as one export does"
            return f"INCOMPLETE after {sent} records: {most}. {_go_on(piece.cursor)}"
        if self._stopping:
            return f"INCOMPLETE after {sent} records: the node stops. {_go_on(piece.cursor)}"
        return ""


def _go_on(cursor: str | None) -> str:
    return f"Go on with cursor={cursor} at the same address."


def _row(record: dict[str, Any]) -> str:
    return _line([_cell(record.get(name)) for name in COLUMNS])


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case str():
            return safe_cell(value)
        case dict() | list() | orjson.Fragment():
            return safe_cell(orjson.dumps(value).decode())
        case bool():
            return "true" if value else "false"
        case other:
            return str(other)


def _line(cells: tuple[str, ...] | list[str]) -> str:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerow(cells)
    return out.getvalue()
