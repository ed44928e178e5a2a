"""Files of legacy numbers: what is taken, what is refused, and in which words; CSV here."""

import csv
import io
import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from workbooks import read_file

from coordinator import import_files
from coordinator.import_files import BadFile, ReadFile, Row, csv_records, reading, spool
from coordinator.import_files.values import METADATA_BYTES_MAX

HEADER = "document_type,document_number,created_at,metadata\r\n"
MIB = 1024 * 1024


def read(content: str | bytes) -> ReadFile:
    return read_file(io.BytesIO(content if isinstance(content, bytes) else content.encode()))


def numbers(content: str | bytes) -> list[str]:
    """The numbers that are taken, of a file that is in order."""
    done = read(content)
    assert not done.errors, done.errors
    assert (done.errors_total, done.rows_total) == (0, len(done.rows))
    return [row.document_number for row in done.rows]


def test_a_row_is_all_that_was_written() -> None:
    (row,) = read(HEADER + 'invoice,INV-1,2024-12-31T23:59:00+01:00,"{""a"": ""ü""}"').rows
    assert row == Row(2, 2, "invoice", "INV-1", "2024-12-31T23:59:00+01:00", '{"a": "ü"}')


# What is taken, although it could have been written otherwise ------------------------------------

COLUMNS = "document_type,document_number"
GOOD = {
    "line feeds": f"{COLUMNS}\nA,1\nA,2\n",
    "carriage returns, as of an old Mac": f"{COLUMNS}\rA,1\rA,2\r",
    "no end of the last line": f"{COLUMNS}\r\nA,1\r\nA,2",
    "semicolons": "document_type;document_number\nA;1\nA;2\n",
    "tabs": "document_type\tdocument_number\nA\t1\nA\t2\n",
    "a mark of UTF-8": f"\ufeff{COLUMNS}\nA,1\nA,2\n",
    "UTF-16, little end first": f"\ufeff{COLUMNS}\nA,1\nA,2\n".encode("utf-16-le"),
    "UTF-16, big end first": f"\ufeff{COLUMNS}\nA,1\nA,2\n".encode("utf-16-be"),
    "names in another order": "document_number,document_type\n1,A\n2,A\n",
    "names as people write them": "Document Type , DOCUMENT_NUMBER\nA,1\nA,2\n",
    "names between quotes": '"document_type";"document_number"\nA;1\n"A";"2"\n',
    "blank rows": f"\n\n{COLUMNS}\nA,1\n\n , \nA,2\n\n",
    "cells that were formatted once": f"{COLUMNS},,\nA,1,,\nA,2\n,,,\n",
    "nothing in the columns that may be empty": f"{COLUMNS},created_at,metadata\nA,1,,\nA,2, , \n",
}


@pytest.mark.parametrize("content", GOOD.values(), ids=GOOD)
def test_it_is_read_however_it_was_saved(content: str | bytes) -> None:
    assert numbers(content) == ["1", "2"]


def test_newlines_inside_a_value_stay_as_they_are() -> None:
    metadata = '{"a":\r\n1,\r"b":\n2}'
    quoted = metadata.replace('"', '""')
    (row,) = read(f'{HEADER}A,1,,"{quoted}"\r\n').rows
    assert row.metadata == metadata


def test_any_other_separator_is_part_of_a_value() -> None:
    done = read("document_type;document_number\nA;1,5\nB;1,5\n")
    assert [row.document_number for row in done.rows] == ["1,5", "1,5"]


DATES = (
    *("2024-12-31", "2024-12-31T23:59", "2024-12-31 23:59:00.123456789"),
    *("1970-01-01T00:00:00Z", "1970-01-01 01:00:00.25+0100", "1969-12-31T23:59:59.9995Z"),
    *("0001-01-01T00:00+14:00", "9999-12-31T23:59:59-12:00"),
)


@pytest.mark.parametrize("text", DATES)
def test_a_date_or_a_moment_is_taken_as_it_was_written(text: str) -> None:
    (row,) = read(f"{COLUMNS},created_at\nA,1, {text} ").rows
    assert row.created_at == text


# Files that are refused --------------------------------------------------------------------------

BAD_FILES = [
    ("", "is empty. Export it again"),
    ("\n \n;;\n", "is empty"),
    ("\ufeff", "is empty"),
    (HEADER, "has a header and no rows"),
    (HEADER + ",,,\n\n", "has a header and no rows"),
    ("1,2\n3,4\n", "a name that is not known: '1'. .*name it as one of: document_type, document_n"),
    (f"{COLUMNS},amount\nA,1,5\n", "not known: 'amount'. Remove that column"),
    (f"{COLUMNS},a\x1bb\nA,1,5\n", r"not known: 'a\\\\x1bb'"),
    ("document_type\nA\n", r"header \(row 1\) does not name document_number. The columns are: doc"),
    ("\n\nmetadata,created_at\n", r"header \(row 3\) does not name document_type and document_num"),
    ("document_type|document_number\nA|1\n", "between them stands a comma, a semicolon or a tab|"),
    (f"{COLUMNS},Document Number\n", "names document_number twice"),
    ("document_type;document_number,created_at\n", "comma and semicolon between the names"),
    ("document_type\tdocument_number;created_at\n", "semicolon and tab between the names"),
    ((HEADER + "A,1,,\nA,Müller,,\n").encode("cp1252"), 'Line 3 is not .* 0xFC. .*"CSV UTF-8"'),
    (HEADER.encode() + b"A,\xed\xa0\x80,,\n", "Line 2 is not UTF-8: it holds the byte 0xED"),
    (HEADER.encode() + b"A,\xc0\xaf,,\n", "Line 2 is not UTF-8"),
    ((HEADER + "A,1,,").encode("utf-16-le"), "Line 1 holds a NUL"),
    (("\ufeff" + HEADER).encode("utf-32"), "Line 1 holds a NUL"),
    (HEADER + "A,1\0,,\n", "Line 2 holds a NUL"),
    (("\ufeff" + HEADER + "A,1,,").encode("utf-16-le") + b"\0", "no UTF-16 near line"),
    (b"\xff\xfe\x00\xd8a\x00", "no UTF-16 near line 1"),
    (HEADER + 'A,5" pipe,,\n', "value in line 2 has a quote in its middle.*each quote inside it"),
    (HEADER + 'A,1,,\nA, "2",,\n', "value in line 3 has a quote in its middle"),
    (HEADER + 'A,"1"2,,\n', "value in line 2 goes on after its closing quote"),
    (HEADER + 'A,"1\n2\n" ,,\n', "value in line 2 goes on after its closing quote"),
    (HEADER + '"A\n\n","1"x,,\n', "value in line 4 goes on after its closing quote"),
    (HEADER + 'A,1,,\nA,"2,,\nA,3,,\n', "value in line 3 begins with a quote that is never closed"),
    (HEADER + 'A,1,,\nA,2",,\nA,3,,\n', "value in line 3 has a quote in its middle"),
    (HEADER + f"A,1,,{'x' * 131_072}\n", "record at line 2 is longer than 131,072 characters. C"),
    (HEADER + f'A,1,,"{"x" * 200_000}"\n', "line 2 is longer than .* A quote may be missing"),
    (HEADER + 'A,1,,"' + "\n" * 131_072, "line 2 is longer than .* A quote may be missing"),
    ("x" * 131_073, "record at line 1 is longer"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 99, r"password, or is of an old Excel \(.xls"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "says"), BAD_FILES)
def test_a_file_that_cannot_be_taken_is_refused_in_words(content: str | bytes, says: str) -> None:
    with pytest.raises(BadFile, match=says) as refused:
        read(content)
    message = str(refused.value)
    assert message[0].isupper()
    assert message.endswith(".")
    assert ". " in message, "it says what, and what next"


# Rows that are refused ---------------------------------------------------------------------------

NUMBER = "document_number"
LONG = "x" * 51
DEEP = '{""a"":' * 33 + "1" + "}" * 33
BAD_ROWS = [
    (",1,,", "document_type", "", "is missing. Each row needs its own"),
    ("A,,,", NUMBER, "", "is missing"),
    ("A,  ,,", NUMBER, "  ", "is missing"),
    ("A, 1,,", NUMBER, " 1", "blanks before or after the value.*Remove them"),
    ("A,1\xa0,,", NUMBER, r"1\xa0", "blanks before or after"),
    ("A\t,1,,", "document_type", r"A\t", "blanks before or after"),
    (f"A,{LONG},,", NUMBER, f"{LONG[:39]}…", "has 51 characters, and at most 50 are taken"),
    ("A,1\u200b2,,", NUMBER, r"1\u200b2", r"cannot be seen \(U\+200B, ZERO WIDTH SPACE\)"),
    ("A,1\xa02,,", NUMBER, r"1\xa02", r"cannot be seen \(U\+00A0, NO-BREAK SPACE\)"),
    ('A,"1\n2",,', NUMBER, r"1\n2", r"cannot be seen \(U\+000A, a control character\)"),
    ("A,M\ufffdller,,", NUMBER, "M\ufffdller", r"character was lost \(U\+FFFD\)"),
    ("A,'0042,,", NUMBER, "'0042", "An apostrophe at the beginning .* Remove it"),
    ("A,1.23457E+11,,", NUMBER, "1.23457E+11", "has shortened this number"),
    ('A,"1,2e+5",,', NUMBER, "1,2e+5", "has shortened this number"),
    ("A,1,31/12/2024,", "created_at", "31/12/2024", "Write the year first: 2024-12-31."),
    ("A,1,12.31.2024 10:00,", "created_at", "12.31.2024 10:00", "year first: 2024-12-31."),
    ("A,1,3.4.2024,", "created_at", "3.4.2024", "2024-03-04 or 2024-04-03, whichever is meant"),
    ("A,1,4/4/2024,", "created_at", "4/4/2024", "Write the year first: 2024-04-04."),
    ("A,1,32/13/2024,", "created_at", "32/13/2024", "Write a date like 2024-12-31, a moment"),
    ("A,1,20241231,", "created_at", "20241231", "Write a date like 2024-12-31"),
    ("A,1,2024-W01-1,", "created_at", "2024-W01-1", "Write a date like 2024-12-31"),
    ("A,1,٢٠٢٤-١٢-٣١,", "created_at", "٢٠٢٤-١٢-٣١", "Write a date like"),
    ("A,1,2024-02-30,", "created_at", "2024-02-30", "no such day or time"),
    ("A,1,0000-01-01,", "created_at", "0000-01-01", "no such day or time"),
    ("A,1,2024-12-31T24:00,", "created_at", "2024-12-31T24:00", "no such day or time"),
    ("A,1,2024-12-31T10:00+24:00,", "created_at", "2024-12-31T10:00+24:00", "no such day or time"),
    ("A,1,,[1]", "metadata", "[1]", 'is JSON, but no object. Write it like {"archive": "A7"}'),
    ("A,1,,{a: 1}", "metadata", "{a: 1}", r"is no JSON \(.*\). Write it like"),
    ('A,1,,"{""a"": NaN}"', "metadata", '{"a": NaN}', "is no JSON"),
    ("A,1,,null", "metadata", "null", "no object"),
    (f'A,1,,"{DEEP}"', "metadata", '{"a":' * 7 + '{"a"…', "nested 32 levels deep at most"),
    ("A,1,," + "[" * 4_000, "metadata", "[" * 39 + "…", "is no JSON"),
    ("A,1,," + "ü" * 2_049, "metadata", "ü" * 39 + "…", "has 4,098 bytes, and at most 4,096 are"),
    ("A,1", "", "", r"fewer values \(2\) than the header has names \(4\). Put separators"),
    ("A,1,,,x", "column 5", "x", "a value where the header has no name"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "column", "value", "says"), BAD_ROWS)
def test_a_value_that_cannot_be_taken_is_named_with_its_place(
    row: str, column: str, value: str, says: str
) -> None:
    done = read(f"{HEADER}B,1,,\r\n{row}\r\nC,1,,\r\n")
    assert [kept.document_type for kept in done.rows] == ["B", "C"]
    (error,) = done.errors
    assert (error.row, error.line, error.column, error.value) == (3, 3, column, value)
    assert pytest.raises(BadFile, match=says).matches(BadFile(error.message)), error.message
    assert error.message.endswith(".")
    assert (done.errors_total, done.rows_total) == (1, 3)


def test_all_that_is_wrong_with_a_row_is_said_at_once() -> None:
    done = read(HEADER + "A,,31/12/2024,x,y\n")
    columns = [str(error).split(":")[0] for error in done.errors]
    assert columns == [
        "row 2, document_number ''",
        "row 2, created_at '31/12/2024'",
        "row 2, metadata 'x'",
        "row 2, column 5 'y'",
    ]


def test_rows_are_counted_as_a_spreadsheet_does_and_lines_as_an_editor() -> None:
    content = f'{COLUMNS},metadata\n\nA,1,"{{\r\n""a"":\n1}}"\n"B",,\n\nC,3,\n'
    done = read(content)
    assert [(row.row, row.line) for row in done.rows] == [(3, 3), (6, 8)]
    assert str(done.errors[0]).startswith("row 4 (line 6), document_number ''")


def test_a_repeated_number_names_the_row_that_has_it_first() -> None:
    done = read(HEADER + "A,1,no date,\nB,1,,\nA,01,,\nA,1,,\na,1,,\nA,1,,\n")
    repeated = [(e.row, e.message) for e in done.errors if e.column == NUMBER]
    assert [row for row, _ in repeated] == [5, 7]
    assert all("stands in row 2 already. Remove one" in message for _, message in repeated)
    assert [row.row for row in done.rows] == [3, 4, 6]


def test_as_many_errors_are_kept_as_a_person_can_read() -> None:
    done = read(HEADER + ",1,,\n" * (import_files.ERRORS_KEPT + 5))
    assert (len(done.errors), done.errors_total) == (1_000, 1_005)
    assert done.rows_total == 1_005


# Bounds ------------------------------------------------------------------------------------------


def test_a_number_of_rows_is_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "ROWS_MAX", 3)
    rows = "".join(f"A,{i},,\n\n" for i in range(3))
    assert numbers(HEADER + rows) == ["0", "1", "2"]
    with pytest.raises(BadFile, match=r"more than 3 rows\. Split it"):
        read(HEADER + rows + "A,4,,\n")


def test_blank_rows_come_to_an_end_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SHEET_ROWS_MAX", 10)
    assert numbers(HEADER + "\n" * 8 + "A,1,,") == ["1"]
    with pytest.raises(BadFile, match=r"beyond row 10\. Remove the blank rows"):
        read(HEADER + "\n" * 9 + "A,1,,")


class Endless(io.RawIOBase):
    """A stream that goes on, and counts what was asked of it."""

    given = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        self.given += size
        return b"x" * size


def test_a_huge_file_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "huge.csv"
    with path.open("wb") as file:
        file.truncate(1024 * MIB)
    for source in (path, path.open("rb")):
        tracemalloc.start()
        with pytest.raises(BadFile, match=r"larger than 64 MiB\. Split it"):
            read_file(source)
        assert tracemalloc.get_traced_memory()[1] < MIB
        tracemalloc.stop()
        if not isinstance(source, Path):
            assert source.tell() == 0
            source.close()


def test_an_endless_stream_is_read_to_the_bound_in_little_memory() -> None:
    stream = Endless()
    tracemalloc.start()
    with pytest.raises(BadFile, match="larger than 64 MiB"):
        read_file(stream)
    assert tracemalloc.get_traced_memory()[1] < 2 * spool.BYTES_IN_MEMORY + 4 * MIB
    tracemalloc.stop()
    assert 64 * MIB < stream.given <= 65 * MIB


def test_what_stands_before_a_stream_does_not_count(tmp_path: Path) -> None:
    with (tmp_path / "huge.csv").open("wb+") as file:
        file.seek(1024 * MIB)
        file.write(HEADER.encode() + b"A,1,,\n")
        file.seek(1024 * MIB)
        assert len(read_file(file).rows) == 1


def test_a_stream_is_read_from_where_it_stands() -> None:
    stream = io.BytesIO(b"--boundary\n" + HEADER.encode() + b"A,1,,\n")
    stream.seek(11)
    assert len(read_file(stream).rows) == 1


def test_a_file_that_is_not_there_is_no_bad_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "none.csv")


def test_progress_is_told_and_can_end_the_reading() -> None:
    content = (HEADER + "".join(f"A,{i},,\n" for i in range(2_500))).encode()
    told: list[int] = []
    read_file(io.BytesIO(content), told.append)
    assert told == [1_000, 2_000, 2_500]

    def enough(rows: int) -> None:
        raise InterruptedError(rows)

    with pytest.raises(InterruptedError, match="1000"):
        read_file(io.BytesIO(content), enough)


# Any rows, any bytes -----------------------------------------------------------------------------

VALUES = (
    st.text(st.sampled_from("aZ09 -/\"'=+@,;ü漢🙂"), min_size=1, max_size=50)
    .map(str.strip)
    .filter(lambda text: text and not text.startswith("'"))
)
MOMENTS = st.sampled_from(["", *DATES])
METADATA = st.just("") | st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=3).map(
    lambda found: json.dumps(found, ensure_ascii=False, indent=2)
).filter(lambda text: len(text.encode()) <= METADATA_BYTES_MAX and "\0" not in text)


@given(
    st.lists(
        st.tuples(VALUES, VALUES, MOMENTS, METADATA), min_size=1, unique_by=lambda row: row[:2]
    ),
    st.sampled_from(",;\t"),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["\r\n", "\n", "\r"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.permutations(range(4)),
)
def test_what_another_program_wrote_comes_back_as_it_was(
    rows, separator, quoting, end, encoding, order
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, quoting=quoting, lineterminator=end)
    names = list(import_files.Column)
    for row in (names, *rows):
        writer.writerow([row[place] for place in order])
    done = read(out.getvalue().encode(encoding))
    assert not done.errors, done.errors
    assert [(r.document_type, r.document_number, r.created_at, r.metadata) for r in done.rows] == [
        tuple(row) for row in rows
    ]


PIECES = st.sampled_from([
    *(b"document_type", b"document_number", b"created_at", b"metadata", b"A", b"1", b"2024-01-01"),
    *(b",", b";", b"\t", b'"', b"\n", b"\r", b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfc", b"{}"),
    *(b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
])  # fmt: skip


@given(st.binary(max_size=2_000) | st.lists(PIECES, max_size=60).map(b"".join))
@example(b'document_type,document_number\nA,"')
def test_no_bytes_do_worse_than_being_refused(content: bytes) -> None:
    try:
        done = read(content)
    except BadFile:
        return
    assert done.rows_total >= len(done.rows) > 0 or done.errors


def test_a_record_may_be_as_long_as_the_bound_says() -> None:
    most = csv_records.RECORD_CHARS_MAX
    value = "x" * (most - len("A,1,,\n"))
    (error,) = read(f"{HEADER}A,1,,{value}\n").errors
    assert "has 131,066 bytes" in error.message
