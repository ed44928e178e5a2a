"""The rows of an XLSX file, as far as they are text.

A spreadsheet turns what looks like a number or a date into one, and shows it as it likes: 00042 is
42 then, and 1-2 is a day. Only what is kept as it shows is taken.

This is the only module that uses openpyxl's private names. Its public way pads rows and columns
that are not there, as many as the file claims, and leaves out rows that are not in order.
"""

import re
from collections.abc import Callable, Generator, Iterator
from datetime import datetime
from functools import partial
from typing import IO, Any, NamedTuple

from openpyxl import Workbook, load_workbook
from openpyxl.cell.read_only import ReadOnlyCell
from openpyxl.worksheet._reader import WorkSheetParser

from coordinator.import_files import BadFile, Cell, NoText, Record, shown
from coordinator.import_files.package import check_package, unreadable

COLUMNS_MAX = 16_384
DIGITS_SHOWN = {"General": 11, "@": 11, "0": 15}
"""Formats that show a whole number as it is kept, up to so many digits."""

_AS_TEXT = "Format the column as text and enter the value again."

# How XLSX writes characters that XML cannot; openpyxl gives it back half resolved.
_ESCAPED = re.compile(r"_x[0-9A-Fa-f]{4}_")


class _Sheet(NamedTuple):
    """One sheet, and how often its rows can be read anew."""

    name: str
    rows: Callable[[], Iterator[Record]]


def records(file: IO[bytes]) -> Generator[Record, None, None]:
    """Yield the rows of the only sheet that holds anything. Raises BadFile."""
    check_package(file)
    workbook = _loaded(file)
    try:
        yield from _padded(_filled_sheet(workbook).rows())
    finally:
        workbook.close()


def _loaded(file: IO[bytes]) -> Workbook:
    try:
        return load_workbook(file, read_only=True, keep_links=False)
    except MemoryError:
        raise
    except Exception as broken:  # openpyxl raises many kinds for what it did not expect
        raise unreadable(broken) from broken


def _filled_sheet(workbook: Workbook) -> _Sheet:
    sheets = [
        _Sheet(str(sheet.title), partial(_rows, workbook, sheet)) for sheet in workbook.worksheets
    ]
    filled = [sheet for sheet in sheets if any(any(record.cells) for record in sheet.rows())]
    if len(filled) > 1:
        names = ", ".join(repr(shown(sheet.name)) for sheet in filled)
        raise BadFile(
            f"The workbook has more than one sheet with values ({names}; a hidden one counts too). "
            "Leave only the one with the document numbers."
        )
    if not filled:
        raise BadFile("The workbook holds no value. Export it again from its source.")
    return filled[0]


def _padded(rows: Iterator[Record]) -> Iterator[Record]:
    """Yield rows that are as wide as the first that holds anything: the header."""
    width = 0
    for record in rows:
        cells = [*record.cells, *[""] * (width - len(record.cells))]
        width = width or len(cells)
        yield record._replace(cells=cells)


def _rows(workbook: Any, sheet: Any) -> Iterator[Record]:
    """Yield what rows there are, each up to its last value. Raises BadFile."""
    before = 0
    with sheet._get_source() as source:  # noqa: SLF001
        parser: Any = WorkSheetParser(
            source,
            sheet._shared_strings,  # noqa: SLF001
            epoch=workbook.epoch,
            date_formats=workbook._date_formats,  # noqa: SLF001
            timedelta_formats=workbook._timedelta_formats,  # noqa: SLF001
        )
        parser.parse_formula = _formula
        for row, cells in _guarded(parser.parse()):
            if row <= before:
                raise BadFile(
                    f"Row {row} stands after row {before} in the file. Open it in a spreadsheet "
                    "program and save it anew."
                )
            before = row
            yield Record(row, row, _cells(sheet, cells))


def _guarded(rows: Iterator[Any]) -> Iterator[Any]:
    """Yield them. Raises BadFile for whatever openpyxl stumbles over, and for nothing else."""
    while True:
        try:
            row = next(rows, None)
        except MemoryError:
            raise
        except Exception as broken:  # openpyxl raises many kinds for what it did not expect
            raise unreadable(broken) from broken
        if row is None:
            return
        yield row


def _formula(element: Any) -> str:
    """Return the formula as it is written; openpyxl would work out each of a shared one."""
    return "=" + next((e.text or "" for e in element if e.tag.endswith("}f")), "")


def _cells(sheet: Any, found: list[dict[str, Any]]) -> list[Cell]:
    cells: list[Cell] = []
    for cell in found:
        column = cell["column"]
        if not len(cells) < column <= COLUMNS_MAX:
            raise BadFile(
                f"The cells of row {cell['row']} are not in order, or too many. Open the file in a "
                "spreadsheet program and save it anew."
            )
        value = _cell(sheet, cell)
        if value:
            cells.extend([""] * (column - 1 - len(cells)))
            cells.append(value)
    return cells


def _cell(sheet: Any, cell: dict[str, Any]) -> Cell:
    value = cell["value"]
    if value is None:
        return ""
    match cell["data_type"]:
        case "s":
            return _text(str(value))
        case "n" if type(value) is int:
            return _whole(value, ReadOnlyCell(sheet, **cell).number_format)
        case "n":
            why = "The cell is a number that may have been rounded or shortened, not text."
        case "f":
            why = "The cell holds a formula, not a value. Copy the column and paste its values."
            return NoText(shown(value), why)
        case "d":
            return _date(value)
        case "e":
            why = "The cell holds an error of the spreadsheet, not a value."
        case _:
            why = "The cell holds no text."
    return NoText(shown(str(value)), f"{why} {_AS_TEXT}")


def _text(text: str) -> Cell:
    escaped = _ESCAPED.search(text)
    if escaped is None:
        return text
    why = f"The cell holds a character that XLSX writes as {escaped[0]}. Type the value again."
    return NoText(shown(text), why)


def _whole(value: int, number_format: str) -> Cell:
    text = str(value)
    if len(text) <= DIGITS_SHOWN.get(number_format, 0):
        return text
    why = (
        f"The cell is a number that shows otherwise than it is kept (format {number_format!r}): "
        f"zeros or digits may be missing. {_AS_TEXT}"
    )
    return NoText(shown(text), why)


def _date(value: Any) -> NoText:
    """Return a date or moment, which is right in its own column only."""
    text = str(value)
    if isinstance(value, datetime):
        fine = "milliseconds" if value.microsecond else "seconds"
        text = value.isoformat(timespec=fine).removesuffix("T00:00:00")
    why = f"The cell is a date or a time; a number like 1-2 may have become it. {_AS_TEXT}"
    return NoText(text, why, text)
