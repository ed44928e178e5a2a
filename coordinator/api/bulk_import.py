"""Numbers that were issued elsewhere, as a file over HTTP: checked, and imported in one commit."""

import asyncio
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

from aiohttp import web

from coordinator.api import problems
from coordinator.api.answers import iso, json_answer, read
from coordinator.api.calls import NAME, Caller, head_of, key_in
from coordinator.api.import_inputs import ImportFields, receive
from coordinator.api.orders import REPLAYED, not_done, of_this_request
from coordinator.api.problems import Problem
from coordinator.api.uploads import Uploads
from coordinator.core.documents import INVOICE
from coordinator.core.importing import TooLarge
from coordinator.core.requests import Call
from coordinator.counters import Counters
from coordinator.import_files import BadFile
from coordinator.import_files.choice import Choice
from coordinator.importing.book import Course, ImportBook
from coordinator.importing.importer import Importer
from coordinator.importing.preparing import Prepared, prepare_apart
from coordinator.importing.report import Counted, Done, FarAhead, KeyReused, Report, RowsRefused
from coordinator.importing.staging import Phase, TooMany
from coordinator.jobs.membership import Membership
from coordinator.metrics import Metrics
from coordinator.registry import InDoubt, Registry
from coordinator.store import NotCommitted, StoreError
from coordinator.workplace import workplace

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
        book: ImportBook,
        metrics: Metrics,
    ) -> None:
        self._caller = caller
        self._registry = registry
        self._counters = counters
        self._membership = membership
        self._importer = importer
        self._book = book
        self._metrics = metrics
        self._uploads = Uploads()
        self._under_way = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of this handler."""
        return [web.post(PATH, self.bulk_import)]

    async def bulk_import(self, request: web.Request) -> web.StreamResponse:
        """Check a file, and import all of its rows, or none."""
        asked = ImportFields.parse(request.rel_url)
        key = _key_in_head(request) or asked.requestId
        if self._membership.trouble:
            detail = f"Nothing was changed: {self._membership.trouble}. Ask another node."
            raise Problem(problems.STORE_UNAVAILABLE, of_this_request(detail, key))
        self._check_free(key)
        self._uploads.check_free(key)
        course = self._book.begin(request[NAME], key)
        course.dry_run = asked.dry_run
        try:
            with _watched(course), _room_for(course), workplace() as folder:
                return await self._taken_in(request, asked, folder, course)
        finally:
            if course.phase is Phase.REFUSED and not course.dry_run:
                self._metrics.import_refused(course.document_types)

    def _check_free(self, key: str | None) -> None:
        """Raise Problem while this node has an import to do: perhaps an earlier one of this key."""
        if self._under_way.locked():
            detail = "Nothing was changed: this node has an import to do. Ask another, or wait."
            raise Problem(problems.BUSY, of_this_request(detail, key))

    async def _taken_in(
        self, request: web.Request, asked: ImportFields, folder: Path, course: Course
    ) -> web.StreamResponse:
        """Take the file in, and then the place of the import: nobody holds that by sending."""
        source = folder / "file"

        def received(so_far: int) -> None:
            course.at(Phase.RECEIVING, so_far, request.content_length)

        with self._uploads.place(course.key):
            asked = asked.beside(await receive(request, source, received))
        course.dry_run = asked.dry_run
        course.key = course.key or asked.requestId
        self._check_free(course.key)
        async with self._under_way:
            return await self._answer(request, asked, folder, course)

    async def _answer(
        self, request: web.Request, asked: ImportFields, folder: Path, course: Course
    ) -> web.StreamResponse:
        source, rows_file = folder / "file", folder / "rows"
        course.at(Phase.READING, 0, None)

        def have_read(rows: int) -> None:
            course.at(Phase.READING, rows, None)

        catalogue = await read(self._registry.catalogue())
        choice = Choice.of(asked.rows)
        try:
            prepared = await prepare_apart(source, catalogue, choice, rows_file, have_read)
        except BadFile as bad:
            raise Problem(problems.BAD_FILE, f"{bad} Nothing was changed.") from None
        course.rows_total = prepared.rows_total
        course.document_types = tuple(sorted({each.document_type for each in prepared.shares}))
        call = self._caller.call(
            head_of(request), "", "", None, asked.requestId, (prepared.digest,)
        )
        if asked.dry_run:
            return json_answer(await self._check(prepared, call, course, asked))
        done = await self._import(prepared, rows_file, call, asked, course)
        course.name, course.imported = done.name, done.report.numbers
        course.replayed = done.replayed
        if not done.replayed:
            highest = {each.counter: each.next_value - 1 for each in done.report.counters}
            self._metrics.imported(_rows_by_type(prepared), highest)
        for share in prepared.shares:  # this node notes what it has seen committed
            start = None if share.counter == INVOICE else share.start
            self._counters.sequencer(share.counter, start).probe()
        body = _told(done.report, dry_run=False)
        answer = json_answer(body | {"import": done.name, "timestamp": iso(done.time_ms)})
        if done.replayed:
            answer.headers[REPLAYED] = "true"
        return answer

    async def _check(
        self, prepared: Prepared, call: Call, course: Course, asked: ImportFields
    ) -> dict[str, Any]:
        checking = self._importer.check(prepared, call, course.at, asked.pass_over_max)
        try:
            report = await read(checking)
        except TooLarge as large:
            raise Problem(problems.IMPORT_TOO_LARGE, f"{large} Nothing was changed.") from None
        rows = {"rows": _rows_of(prepared, asked.list_rows)} if asked.list_rows else {}
        if report.errors_total:
            raise _rows_refused(report, dry_run=True, more=rows)
        if report.far:
            raise _far_ahead(report, dry_run=True, more=rows)
        return _told(report, dry_run=True) | rows

    async def _import(
        self, prepared: Prepared, rows_file: Path, call: Call, asked: ImportFields, course: Course
    ) -> Done:
        wanted = (call, asked.reason, course.at, asked.pass_over_max)
        try:
            return await self._importer.run(prepared, rows_file, *wanted)
        except RowsRefused as refused:
            raise _rows_refused(refused.report, dry_run=False) from None
        except FarAhead as far:
            raise _far_ahead(far.report, dry_run=False) from None
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


def _rows_by_type(prepared: Prepared) -> Counter[str]:
    rows: Counter[str] = Counter()
    for share in prepared.shares:
        rows[share.document_type] += len(share.numbers)
    return rows


def _key_in_head(request: web.Request) -> str | None:
    """Return the key by which the import can be found; one that will be refused is none."""
    try:
        return key_in(request.headers)
    except Problem:
        return None


@contextmanager
def _watched(course: Course) -> Iterator[None]:
    """Note how an import ends, whatever becomes of it."""
    try:
        yield
    except Problem as problem:
        course.ended(_end_by(problem), problem.detail, problem.kind.code)
        raise
    except BaseException as broken:
        why = repr(broken)
        if isinstance(broken, asyncio.CancelledError):
            why = "the caller has left, or the node was stopped"
        if course.phase is Phase.COMMITTING:
            said = f"It is not known whether the rows came in: {why}. Repeat with the same key."
            course.ended(Phase.UNKNOWN, said, problems.OUTCOME_UNKNOWN.code)
        else:
            course.ended(Phase.FAILED, f"Nothing was changed: {why}.")
        raise
    course.ended(Phase.DONE)


@contextmanager
def _room_for(course: Course) -> Iterator[None]:
    """Say that this machine has no room for the file; before the commit that changes nothing.

    Raises Problem. An error without a number is not of the system: it is left as it is.
    """
    try:
        yield
    except OSError as failed:
        if not failed.errno or course.phase is Phase.COMMITTING:
            raise
        detail = f"Nothing was changed: this node cannot take the file in ({failed.strerror})."
        detail = of_this_request(f"{detail} Ask another node.", course.key)
        raise Problem(problems.NO_ROOM, detail) from failed


def _end_by(problem: Problem) -> Phase:
    if problem.kind is problems.OUTCOME_UNKNOWN:
        return Phase.UNKNOWN
    is_refused = problem.kind.status < HTTPStatus.INTERNAL_SERVER_ERROR
    return Phase.REFUSED if is_refused else Phase.FAILED


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
    told = _told_besides(report, dry_run=dry_run)
    return Problem(problems.ROWS_REFUSED, detail, report.errors, more=told | dict(more or {}))


def _far_ahead(report: Report, *, dry_run: bool, more: Mapping[str, Any] | None = None) -> Problem:
    """Say which numbers would become void; what a slipped digit has done cannot be taken back."""
    first = "; ".join(map(str, report.far[:ERRORS_TOLD]))
    others = len(report.far) - ERRORS_TOLD
    detail = (
        f"{first}{f'; and {others} counters more' if others > 0 else ''}. Nothing was changed. "
        "Look for a slipped digit. If that is meant, ask again with pass_over_max: "
        f"{report.pass_over_max}."
    )
    passed = [
        {"counter": far.counter, "count": far.many, "largest": _runs(far.largest)}
        for far in report.far
    ]
    told = {"pass_over_max": report.pass_over_max, "passed_over": passed}
    told |= _told_besides(report, dry_run=dry_run) | dict(more or {})
    return Problem(problems.FAR_AHEAD, detail, more=told)


def _told_besides(report: Report, *, dry_run: bool) -> dict[str, Any]:
    """Return what is told of an import besides what every problem has."""
    told = _told(report, dry_run=dry_run)
    del told["success"], told["errors"]
    return told


def _told(report: Report, *, dry_run: bool) -> dict[str, Any]:
    is_done = not dry_run and report.fits
    return {
        "success": report.fits,
        "dry_run": dry_run,
        "rows_total": report.rows_total,
        "imported": report.numbers if is_done else 0,
        "counters": [_told_of(counted) for counted in report.counters],
        "errors": [error._asdict() for error in report.errors],
        "errors_total": report.errors_total,
    }


def _told_of(counted: Counted) -> dict[str, Any]:
    return counted._asdict() | {"missing": _runs(counted.missing)}


def _runs(runs: Iterable[tuple[int, int]]) -> list[dict[str, int]]:
    return [{"first": first, "last": last} for first, last in runs]
