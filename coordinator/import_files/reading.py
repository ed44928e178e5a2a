"""The way in: a file becomes rows that can be taken, and what is wrong with the others."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from typing import IO

from coordinator.import_files import (
    BAD_VALUE,
    ERRORS_KEPT,
    REPEATED,
    REQUIRED,
    ROWS_MAX,
    SHEET_ROWS_MAX,
    BadFile,
    Cell,
    Column,
    NoText,
    Progress,
    ReadFile,
    Record,
    Row,
    RowError,
    csv_records,
    in_silence,
    place,
    shown,
)
from coordinator.import_files.values import Unfit, check_document, check_metadata, check_moment

PROGRESS_ROWS = 1_000

_ZIP = b"PK\x03\x04"
_COMPOUND = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""How files of old Excel begin, and XLSX files with a password."""

_Places = tuple[Column | None, ...]
"""Which column stands where; None has no name."""


def read_copy(
    copy: IO[bytes],
    progress: Progress = in_silence,
    chosen: Callable[[int], bool] = lambda _: True,
) -> ReadFile:
    """Read a CSV or XLSX file, whichever its content is, of which ``spooled`` has made this copy.

    It is closed then. This takes seconds for ``ROWS_MAX`` rows. ``chosen`` tells by its number
    whether a row is wanted: others are counted and not looked at. Raises BadFile.
    """
    with closing(records_of(copy)) as found:
        return _Reading(progress, chosen).of(found)


def records_of(spool: IO[bytes]) -> Generator[Record, None, None]:
    """Return the rows of a file, whichever its content is; closed, they let go of it.

    Raises BadFile.
    """
    start = spool.read(len(_COMPOUND))
    spool.seek(0)
    if start == _COMPOUND:
        raise BadFile(
            "The file has a password, or is of an old Excel (.xls). Save it as XLSX without a "
            "password, or as CSV UTF-8."
        )
    if not start.startswith(_ZIP):
        return csv_records.records(spool)
    from coordinator.import_files import sheet  # noqa: PLC0415 - each start of a node would pay for it

    return sheet.records(spool)


def has_values(record: Record) -> bool:
    """Tell whether a row is not blank."""
    return any(isinstance(cell, NoText) or cell.strip() for cell in record.cells)


class _Reading:
    """One file on its way in."""

    def __init__(self, progress: Progress, chosen: Callable[[int], bool]) -> None:
        self._progress = progress
        self._chosen = chosen
        self._rows: list[Row] = []
        self._rows_total = 0
        self._errors: list[RowError] = []
        self._errors_total = 0
        self._seen: dict[tuple[str, str], tuple[int, int]] = {}
        """Where a type and number stand first."""

    def of(self, records: Iterator[Record]) -> ReadFile:
        filled = self._filled(records)
        header = next(filled, None)
        if header is None:
            raise BadFile("The file is empty. Export it again from its source.")
        places = _places(header)
        for record in filled:
            self._rows_total += 1
            if self._rows_total > ROWS_MAX:
                raise BadFile(
                    f"The file has more than {ROWS_MAX:,} rows. Split it, with the header in each "
                    "part."
                )
            if self._chosen(record.row):
                self._take(record, places)
            if self._rows_total % PROGRESS_ROWS == 0:
                self._progress(self._rows_total)
        if not self._rows_total:
            raise BadFile("The file has a header and no rows. Export it again from its source.")
        self._progress(self._rows_total)
        return ReadFile(
            tuple(self._rows), tuple(self._errors), self._errors_total, self._rows_total
        )

    def _filled(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            if record.row > SHEET_ROWS_MAX:
                raise BadFile(
                    f"The file goes on beyond row {SHEET_ROWS_MAX:,}. Remove the blank rows, or "
                    "split it."
                )
            if has_values(record):
                yield record

    def _take(self, record: Record, places: _Places) -> None:
        """Take a row, or note all that is wrong with it."""
        before = self._errors_total
        if len(record.cells) < len(places):
            self._note(
                record,
                f"The row has fewer values ({len(record.cells)}) than the header has names "
                f"({len(places)}). Put separators where values are left out.",
            )
            return
        found: dict[Column, str] = {}
        for index, cell in enumerate(record.cells):
            column = places[index] if index < len(places) else None
            if column is None:
                self._check_unnamed(record, index, cell)
                continue
            try:
                found[column] = _text(column, cell)
            except Unfit as unfit:
                self._note(record, str(unfit), column, cell)
        self._check_repeated(record, found)
        if self._errors_total == before:
            kind, number = (found[column] for column in REQUIRED)
            created_at, metadata = (found.get(c, "") for c in (Column.CREATED_AT, Column.METADATA))
            self._rows.append(Row(record.row, record.line, kind, number, created_at, metadata))

    def _check_unnamed(self, record: Record, index: int, cell: Cell) -> None:
        if isinstance(cell, NoText) or cell.strip():
            message = (
                "There is a value where the header has no name. Name its column, remove it, or "
                "put the value that it belongs to between quotes."
            )
            self._note(record, message, f"column {index + 1}", cell)

    def _check_repeated(self, record: Record, found: dict[Column, str]) -> None:
        """Note a number that stands in an earlier row, whatever else is wrong with that one."""
        if not all(column in found for column in REQUIRED):
            return
        key = found[Column.DOCUMENT_TYPE], found[Column.DOCUMENT_NUMBER]
        here = record.row, record.line
        first = self._seen.setdefault(key, here)
        if first != here:
            message = (
                f"This number of this document type stands in {place(*first)} already. Remove one "
                "of the rows, or correct its number."
            )
            self._note(record, message, Column.DOCUMENT_NUMBER, key[1], REPEATED)

    def _note(
        self,
        record: Record,
        message: str,
        column: str = "",
        cell: Cell = "",
        code: str = BAD_VALUE,
    ) -> None:
        self._errors_total += 1
        if len(self._errors) < ERRORS_KEPT:
            value = cell.shown if isinstance(cell, NoText) else shown(cell)
            place = record.row, record.line
            self._errors.append(RowError(*place, str(column), value, message, code))


def _text(column: Column, cell: Cell) -> str:
    """Return the text of a cell as it will be taken. Raises Unfit."""
    if isinstance(cell, NoText):
        if column is not Column.CREATED_AT or not cell.moment:
            raise Unfit(cell.why)
        text = cell.moment
    elif column in REQUIRED:
        check_document(cell)
        return cell
    else:
        text = cell.strip()
    if text and column is Column.CREATED_AT:
        check_moment(text)
    if text and column is Column.METADATA:
        check_metadata(text)
    return text


def _places(header: Record) -> _Places:
    """Return which column stands where. Raises BadFile."""
    known = {bare(column): column for column in Column}
    names = ", ".join(Column)
    found: list[Column | None] = []
    for cell in header.cells:
        name = cell.shown if isinstance(cell, NoText) else cell.strip()
        column = known.get(bare(name))
        if name and column is None:
            raise BadFile(
                f"The header has a name that is not known: {shown(name)!r}. Remove that column, or "
                f"name it as one of: {names}."
            )
        if column in found and column is not None:
            raise BadFile(f"The header names {column} twice. Remove one of the two columns.")
        found.append(column)
    missing = [column for column in REQUIRED if column not in found]
    if missing:
        raise BadFile(
            f"The header ({place(header.row, header.line)}) does not name "
            f"{' and '.join(missing)}. The columns are: {names}; between them stands a comma, a "
            "semicolon or a tab."
        )
    while found[-1] is None:
        found.pop()
    return tuple(found)


def bare(name: str) -> str:
    """Return a name in the header without what people write differently."""
    return "".join(name.split()).replace("_", "").casefold()
