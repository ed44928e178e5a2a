"""Files of legacy numbers as XLSX: what a spreadsheet makes of numbers, and what is taken of it."""

from datetime import datetime, time, timedelta
from typing import Any

import pytest
from openpyxl.worksheet.formula import ArrayFormula
from workbooks import HEADER, TOP, cells, changed, plain, read, sheet, with_strings, workbook

from coordinator.import_files import BadFile


def test_a_row_is_what_its_cells_show() -> None:
    book = workbook(
        ("invoice", "INV-1", "2024-12-31T23:59:00+01:00", '{"a": "ü"}'),
        ("invoice", 42, datetime(2024, 12, 31), None),  # noqa: DTZ001 - spreadsheets know no zone
        (380, "№ 7", datetime(2024, 12, 31, 23, 59, 1)),  # noqa: DTZ001
        ("invoice", "=not a formula", None, " "),
    )
    book.active["B5"].data_type = "s"
    done = read(book)
    assert not done.errors
    assert [tuple(row) for row in done.rows] == [
        (2, 2, "invoice", "INV-1", "2024-12-31T23:59:00+01:00", '{"a": "ü"}'),
        (3, 3, "invoice", "42", "2024-12-31", ""),
        (4, 4, "380", "№ 7", "2024-12-31T23:59:01", ""),
        (5, 5, "invoice", "=not a formula", "", ""),
    ]


def test_rows_are_numbered_as_the_sheet_shows_them() -> None:
    content = changed(plain(), sheet=sheet(cells(3, *HEADER) + cells(7, "A", "1") + cells(9, "B")))
    done = read(content)
    assert [row.row for row in done.rows] == [7]
    assert [(error.row, error.column) for error in done.errors] == [(9, "document_number")]


def test_the_dimension_that_a_file_claims_means_nothing() -> None:
    rows = TOP + "".join(cells(i, "A", str(i)) for i in range(2, 8))
    for claimed in ("A1", "A1:B2", "A1:XFD1048576", "C3:D4"):
        content = changed(plain(), sheet=sheet(rows, f'<dimension ref="{claimed}"/>'))
        assert len(read(content).rows) == 6


def test_empty_sheets_beside_it_do_no_harm_and_others_do() -> None:
    book = workbook(("A", "1"))
    book.create_sheet("Empty")
    book.create_sheet("First", 0)
    assert len(read(book).rows) == 1
    hidden = book.create_sheet("Old\tones")
    hidden.sheet_state = "hidden"
    hidden["C9"] = "x"
    with pytest.raises(BadFile, match=r"more than one sheet .*'Sheet', 'Old\\\\tones'; a hidden"):
        read(book)


# Cells that hold no text -------------------------------------------------------------------------

AS_TEXT = "Format the column as text"
MOMENT = datetime(2024, 2, 1)  # noqa: DTZ001 - spreadsheets know no zone
CELLS: list[tuple[Any, str, str, str]] = [
    ("=A1&B1", "General", "=A1&B1", "formula, not a value. Copy the col"),
    (ArrayFormula("B2:B3", "=A2:A3"), "General", "=A2:A3", "formula, not a value"),
    (42.5, "General", "42.5", f"may have been rounded or shortened, not text. {AS_TEXT}"),
    (1e20, "General", "1e+20", "may have been rounded"),
    (42, "00000", "42", r"shows otherwise than it is kept \(format '00000'\): zeros or digits may"),
    (42, "0.0", "42", "shows otherwise"),
    (1234567, "#,##0", "1234567", "shows otherwise"),
    (123_456_789_012, "General", "123456789012", r"shows otherwise .*'General'"),
    (1_234_567_890_123_456, "0", "1234567890123456", "shows otherwise"),
    (MOMENT, "yyyy-mm-dd", "2024-02-01", f"a number like 1-2 may have become it. {AS_TEXT}"),
    (time(1, 2), "hh:mm", "01:02:00", "is a date or a time"),
    (timedelta(hours=30), "[hh]:mm", "1 day, 6:00:00", "is a date or a time"),
    (True, "General", "True", f"holds no text. {AS_TEXT}"),
    ("#N/A", "General", "#N/A", "holds an error of the spreadsheet, not a value"),
    ("a_x000D_b", "General", "a_x000D_b", "that XLSX writes as _x000D_. Type the value again"),
    (None, "General", "", "is missing. Each row needs its own, also where cells were merged"),
    ("1.2E+05", "General", "1.2E+05", "has shortened this number"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "shows_as", "text", "says"), CELLS)
def test_a_cell_that_is_no_text_is_no_number(
    value: object, shows_as: str, text: str, says: str
) -> None:
    book = workbook(("A", "1"), ("A", value), ("A", "3"))
    book.active["B3"].number_format = shows_as
    done = read(book)
    (error,) = done.errors
    assert (error.row, error.line, error.column, error.value) == (3, 3, "document_number", text)
    assert pytest.raises(BadFile, match=says).matches(BadFile(error.message)), error.message
    assert [row.row for row in done.rows] == [2, 4]


@pytest.mark.parametrize(("value", "shows_as"), [(42, "0"), (42, "@"), (10**14, "0"), (-4, "0")])
def test_a_whole_number_that_shows_as_it_is_kept_is_one(value: int, shows_as: str) -> None:
    book = workbook(("A", value))
    book.active["B2"].number_format = shows_as
    assert [row.document_number for row in read(book).rows] == [str(value)]


@pytest.mark.parametrize(("kept", "kind"), [("42.0", "n"), ("1E5", "n"), ("4.2e1", "n")])
def test_a_number_with_a_point_or_an_exponent_is_none(kept: str, kind: str) -> None:
    row = f'<row r="2">{cells(2, "A")[11:-6]}<c r="B2" t="{kind}"><v>{kept}</v></c></row>'
    (error,) = read(changed(plain(), sheet=sheet(TOP + row))).errors
    assert error.value == str(float(kept))
    assert "rounded" in error.message


@pytest.mark.parametrize("value", [time(1, 2), timedelta(hours=30), True, 45_657, 45_657.5])
def test_only_a_day_or_moment_is_a_date(value: object) -> None:
    (error,) = read(workbook(("A", "1", value))).errors
    assert error.column == "created_at"


def test_a_merged_cell_has_its_value_once() -> None:
    book = workbook(("A", "1"), ("A", "2"), ("A", "3"))
    book.active.merge_cells("A2:A4")
    done = read(book)
    assert [(e.row, e.column) for e in done.errors] == [(3, "document_type"), (4, "document_type")]
    assert all("merged" in error.message for error in done.errors)


def test_formulas_that_share_one_are_found_too() -> None:
    shared = "".join(
        f'<row r="{row}">{cells(row, "A")[11:-6]}<c r="B{row}"><f t="shared" si="0">{first}</f>'
        f"<v>{row}</v></c></row>"
        for row, first in ((2, "A1"), (3, ""))
    )
    errors = read(changed(plain(), sheet=sheet(TOP + shared))).errors
    assert [error.value for error in errors] == ["=A1", "="]


def test_a_string_of_the_table_is_all_its_pieces_and_nothing_less() -> None:
    strings = ("<t>A</t>", "<r><t>INV</t></r><r><rPr><b/></rPr><t>-1</t></r>", "<t> 2</t>")
    row = '<row r="{0}"><c r="A{0}" t="s"><v>0</v></c><c r="B{0}" t="s"><v>{1}</v></c></row>'
    done = read(with_strings(row.format(2, 1) + row.format(3, 2), *strings))
    assert [row.document_number for row in done.rows] == ["INV-1"]
    assert ["blanks before" in error.message for error in done.errors] == [True]


def test_a_number_of_thousands_of_digits_is_refused_in_words_of_our_own() -> None:
    row = f'<row r="2"><c r="A2"><v>{"9" * 5_000}</v></c></row>'
    with pytest.raises(BadFile, match="a cell holds a number of thousands of digits") as refused:
        read(changed(plain(), sheet=sheet(TOP + row)))
    assert "sys." not in str(refused.value)
