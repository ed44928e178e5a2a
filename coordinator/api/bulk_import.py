"""Numbers that were issued elsewhere, as a file over HTTP: checked, and imported in one commit."""

import asyncio
import heapq
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from coordinator.api import problems
from coordinator.api.answers import iso, json_answer, read
from coordinator.api.calls import REPLAYED, Caller, not_done
from coordinator.api.import_inputs import ImportFields, receive
from coordinator.api.problems import Problem
from coordinator.core.documents import INVOICE
from coordinator.core.importing import TooLarge
from coordinator.core.requests import Call
from coordinator.counters import Counters
from coordinator.importing import Counted, Done, Importer, KeyReused, Report, RowsRefused
from coordinator.imports import BadFile
from coordinator.imports.choice import Choice
from coordinator.jobs.membership import Membership
from coordinator.preparing import Prepared, prepare_apart
from coordinator.registry import InDoubt, Registry
from coordinator.staging import TooMany
from coordinator.store import NotCommitted, StoreError

PATH = "/api/v1/admin/document-numbering/bulk-import"
ERRORS_TOLD = 3
"""Errors in the sentence of a problem; its list has them all."""


class BulkImport:
    """The handler of imports: one at a time, for each needs memory of its own."""

    def __init__(
        self,
        caller: Caller,
        registry: Registry,
        counters: Counters,
        membership: Membership,
        importer: Importer,
    ) -> None:
        self._caller = caller
        self._registry = registry
        self._counters = counters
        self._membership = membership
        self._importer = importer
        self._turn = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of this handler."""
        return [web.post(PATH, self.bulk_import)]

    async def bulk_import(self, request: web.Request) -> web.StreamResponse:
        """Check a file, and import all of its rows, or none."""
        asked = ImportFields.parse(request.rel_url)
        if self._membership.trouble:
            detail = f"Nothing was changed: {self._membership.trouble}. Ask another node."
            raise Problem(problems.STORE_UNAVAILABLE, detail)
        if self._turn.locked():
            detail = "Nothing was changed: this node has an import to do. Ask another, or wait."
            raise Problem(problems.BUSY, detail)
        async with self._turn:
            with tempfile.TemporaryDirectory(prefix="import-") as folder:
                return await self._answer(request, asked, Path(folder))

    async def _answer(
        self, request: web.Request, asked: ImportFields, folder: Path
    ) -> web.StreamResponse:
        source, rows_file = folder / "file", folder / "rows"
        asked = asked.beside(await receive(request, source))
        catalogue = await read(self._registry.catalogue())
        choice = Choice.of(asked.rows)
        try:
            prepared = await prepare_apart(source, catalogue, choice, rows_file)
        except BadFile as bad:
            raise Problem(problems.BAD_FILE, f"{bad} Nothing was changed.") from None
        call = self._caller.call(request, "", "", None, asked.requestId, (prepared.digest,))
        if asked.dry_run:
            return json_answer(await self._check(prepared, call, asked.list_rows))
        done = await self._import(prepared, rows_file, call, asked.reason)
        for share in prepared.shares:  # this node notes what it has seen committed
            start = None if share.counter == INVOICE else share.start
            self._counters.sequencer(share.counter, start).probe()
        body = _told(done.report, dry_run=False)
        answer = json_answer(body | {"import": done.name, "timestamp": iso(done.time_ms)})
        if done.replayed:
            answer.headers[REPLAYED] = "true"
        return answer

    async def _check(self, prepared: Prepared, call: Call, listed: int) -> dict[str, Any]:
        try:
            report = await read(self._importer.check(prepared, call))
        except TooLarge as large:
            raise Problem(problems.IMPORT_TOO_LARGE, f"{large} Nothing was changed.") from None
        rows = {"rows": _rows_of(prepared, listed)} if listed else {}
        if report.errors_total:
            raise _rows_refused(report, dry_run=True, more=rows)
        return _told(report, dry_run=True) | rows

    async def _import(self, prepared: Prepared, rows_file: Path, call: Call, reason: str) -> Done:
        try:
            return await self._importer.run(prepared, rows_file, call, reason)
        except RowsRefused as refused:
            raise _rows_refused(refused.report, dry_run=False) from None
        except TooLarge as large:
            raise Problem(problems.IMPORT_TOO_LARGE, f"{large} Nothing was changed.") from None
        except KeyReused:
            detail = f"Key {call.key!r} has imported another file or other rows. Use a new key."
            raise Problem(problems.KEY_REUSED, detail) from None
        except InDoubt as doubt:
            advice = "Repeat with the same idempotency key and file, or look at the counters."
            detail = f"It is not known whether the rows came in: {doubt}. {advice}"
            raise Problem(problems.OUTCOME_UNKNOWN, detail) from None
        except (TooMany, NotCommitted) as busy:
            raise Problem(problems.BUSY, not_done(call, str(busy), "Try again.")) from None
        except StoreError as down:
            detail = not_done(call, str(down), "Try again, or ask another node.")
            raise Problem(problems.STORE_UNAVAILABLE, detail) from None


def _rows_of(prepared: Prepared, listed: int) -> list[dict[str, Any]]:
    """Return the first rows of a file that read like a number, and like which one."""
    rows = (
        (row, line, share.document_type, text, share.counter, number)
        for share in prepared.shares
        for row, line, text, number in zip(
            share.rows, share.lines, share.texts, share.numbers, strict=True
        )
    )
    names = ("row", "line", "document_type", "document_number", "counter", "sequence_value")
    return [dict(zip(names, row, strict=True)) for row in heapq.nsmallest(listed, rows)]


def _rows_refused(
    report: Report, *, dry_run: bool, more: Mapping[str, Any] | None = None
) -> Problem:
    first = "; ".join(map(str, report.errors[:ERRORS_TOLD]))
    detail = f"{report.errors_total} errors, nothing was changed. {first}"
    told = _told(report, dry_run=dry_run)
    del told["success"], told["errors"]
    return Problem(problems.ROWS_REFUSED, detail, report.errors, more=told | dict(more or {}))


def _told(report: Report, *, dry_run: bool) -> dict[str, Any]:
    is_done = not dry_run and not report.errors_total
    return {
        "success": not report.errors_total,
        "dry_run": dry_run,
        "rows_total": report.rows_total,
        "imported": report.numbers if is_done else 0,
        "counters": [_told_of(counted) for counted in report.counters],
        "errors": [error._asdict() for error in report.errors],
        "errors_total": report.errors_total,
    }


def _told_of(counted: Counted) -> dict[str, Any]:
    missing = [{"first": first, "last": last} for first, last in counted.missing]
    return counted._asdict() | {"missing": missing}
