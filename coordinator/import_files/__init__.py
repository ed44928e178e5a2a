"""Files of document numbers that were issued elsewhere: CSV or XLSX, read and checked.

Only what can be known from the file alone is known here. Whether its numbers collide with issued
ones, or read like a series at all, is decided elsewhere.

A file that cannot be read as a whole is a ``BadFile``; in a file that can, each value that cannot
be taken is a ``RowError``. Nothing is mended on the way: a number that was trimmed, rounded or
guessed would be another number. ``spool.spooled``, then ``reading.read_copy``, are the way in.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NamedTuple

BYTES_MAX = 64 * 1024 * 1024
ROWS_MAX = 100_000
"""Rows with values; blank ones are not counted."""

SHEET_ROWS_MAX = 1_048_576
"""Rows that a spreadsheet can show, blank ones too."""

ERRORS_KEPT = 1_000
"""A file with more is wrong in some other way than a person can mend line by line."""

SHOWN_CHARS_MAX = 40

BAD_VALUE, REPEATED = "NB006", "NB005"


class Column(StrEnum):
    """The columns that a file may have, by the names in its header."""

    DOCUMENT_TYPE = "document_type"
    DOCUMENT_NUMBER = "document_number"
    CREATED_AT = "created_at"
    METADATA = "metadata"


REQUIRED = (Column.DOCUMENT_TYPE, Column.DOCUMENT_NUMBER)


class BadFile(Exception):
    """The file cannot be taken at all; the message says why, and what to do next."""


class Row(NamedTuple):
    """One document number.

    ``row`` counts as a spreadsheet does: blank rows too, and the header is row 1 where nothing
    stands above it. ``line`` is the line of a CSV file where the row begins; values can have
    several. Of an XLSX file both are the same.

    ``created_at`` is as it was written, a date or a moment, and empty where nothing was;
    ``metadata`` is the text of a JSON object, or empty.
    """

    row: int
    line: int
    document_type: str
    document_number: str
    created_at: str
    metadata: str


class RowError(NamedTuple):
    """One value that cannot be taken: where it is, how it begins, why, and what to do.

    ``column`` is empty where it is the row that is wrong. ``code`` is what callers of the product
    know this kind of error by.
    """

    row: int
    line: int
    column: str
    value: str
    message: str
    code: str = BAD_VALUE

    def __str__(self) -> str:
        what = f", {self.column} {self.value!r}" if self.column else ""
        return f"{place(self.row, self.line)}{what}: {self.message}"


class ReadFile(NamedTuple):
    """What a file holds: the rows that can be taken, and what is wrong with the others.

    ``errors`` are the first ``ERRORS_KEPT`` of ``errors_total``; ``rows_total`` counts the rows
    with values. A file is in order when ``errors_total`` is 0: then ``rows`` are all of them.
    """

    rows: tuple[Row, ...]
    errors: tuple[RowError, ...]
    errors_total: int
    rows_total: int


class NoText(NamedTuple):
    """What stands in a cell of a sheet that is no text: how it shows, and why that will not do.

    ``moment`` is the text of a date or a time, for where a date belongs.
    """

    shown: str
    why: str
    moment: str = ""


Cell = str | NoText


class Record(NamedTuple):
    """One row of a file as it stands there, blank ones and the header too."""

    row: int
    line: int
    cells: Sequence[Cell]


Progress = Callable[[int], None]
"""Is told how many rows are read. What it raises ends the reading."""


def in_silence(_rows: int, /) -> None:
    """Tell nobody."""


def place(row: int, line: int) -> str:
    """Return where a row is, for a person."""
    return f"row {row}" if row == line else f"row {row} (line {line})"


def shown(text: str) -> str:
    """Return the beginning of a value so that every character of it can be seen."""
    short = text if len(text) <= SHOWN_CHARS_MAX else f"{text[: SHOWN_CHARS_MAX - 1]}…"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in short)
