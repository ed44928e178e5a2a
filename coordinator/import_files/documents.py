"""A customer's own list of documents: any CSV or XLSX file with a column ``document_number``.

Of the other columns nothing is asked. Each number is taken exactly as it stands there.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from coordinator.import_files import (
    SHEET_ROWS_MAX,
    BadFile,
    Column,
    NoText,
    Progress,
    Record,
    in_silence,
    place,
    shown,
)
from coordinator.import_files.reading import PROGRESS_ROWS, bare, has_values, records_of
from coordinator.import_files.spool import spooled
from coordinator.import_files.values import Unfit, check_document


class OwnDocument(NamedTuple):
    """One row of the file: where it is, its number, and why that cannot be taken, or nothing."""

    row: int
    line: int
    number: str
    unfit: str = ""


def own_documents(source: Path, progress: Progress = in_silence) -> Iterator[OwnDocument]:
    """Yield the documents of a file, row by row; blank rows are passed over.

    Raises BadFile when it cannot be taken at all, and OSError.
    """
    with spooled(source) as spool, closing(records_of(spool)) as found:
        filled = (record for record in found if has_values(record))
        header = next(filled, None)
        if header is None:
            raise BadFile("The file is empty. Export it again from its source.")
        at = _column_of(header)
        rows = 0
        for record in filled:
            rows += 1
            if record.row > SHEET_ROWS_MAX:
                raise BadFile(f"The file goes on beyond row {SHEET_ROWS_MAX:,}. Split it.")
            yield _document(record, at)
            if rows % PROGRESS_ROWS == 0:
                progress(rows)
        if not rows:
            raise BadFile("The file has a header and no rows. Export it again from its source.")


def _document(record: Record, at: int) -> OwnDocument:
    cell = record.cells[at] if at < len(record.cells) else ""
    if isinstance(cell, NoText):
        return OwnDocument(record.row, record.line, cell.shown, cell.why)
    try:
        check_document(cell)
    except Unfit as unfit:
        return OwnDocument(record.row, record.line, shown(cell), str(unfit))
    return OwnDocument(record.row, record.line, cell)


def _column_of(header: Record) -> int:
    """Return where the column is. Raises BadFile."""
    wanted = bare(Column.DOCUMENT_NUMBER)
    names = [cell.shown if isinstance(cell, NoText) else cell for cell in header.cells]
    found = [at for at, name in enumerate(names) if bare(name) == wanted]
    if len(found) == 1:
        return found[0]
    what = f"names {Column.DOCUMENT_NUMBER} {len(found)} times"
    if not found:
        there = ", ".join(shown(name.strip()) for name in names[:20] if name.strip())
        what = f"names no column {Column.DOCUMENT_NUMBER}, but: {there}"
    raise BadFile(
        f"The header ({place(header.row, header.line)}) {what}. Name the column of the "
        f"numbers {Column.DOCUMENT_NUMBER}, and no other; between columns stands a comma, a "
        "semicolon or a tab."
    )
