"""XLSX files that are broken, or made to cost more than they may: refused in words, in time."""

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook
from workbooks import (
    MIB,
    NAMESPACE,
    SHEET,
    STRINGS,
    TOP,
    cells,
    changed,
    plain,
    read,
    saved,
    sheet,
    with_strings,
    workbook,
)

from coordinator import import_files
from coordinator.import_files import BadFile, package

LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE sst [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>
<sst xmlns="%s"><si><t>&b;</t></si></sst>""" % NAMESPACE.encode()
MANY = b'<sst xmlns="%s">' % NAMESPACE.encode()


def without_workbook() -> bytes:
    return changed(plain(), **{"xl/workbook.xml": None})


def cut(share: float) -> bytes:
    return plain()[: int(share * len(plain()))]


def encrypted() -> bytes:
    """The package with the flag that its first part is encrypted."""
    content = bytearray(plain())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    return bytes(content)


def compressed_otherwise() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_LZMA) as package:
        package.writestr("[Content_Types].xml", "<a/>")
    return out.getvalue()


def bomb(part: str, megabytes: int, filler: bytes = b" ") -> bytes:
    return changed(plain(), **{part: b"<a>" + filler * (megabytes * MIB // len(filler)) + b"</a>"})


def bomb_that_lies() -> bytes:
    """A sheet of 200 MiB that claims to have 1,000 bytes."""
    content = bytearray(bomb(SHEET, 200))
    for signature, size, name in ((b"PK\x03\x04", 22, 30), (b"PK\x01\x02", 24, 46)):
        at = -1
        while (at := content.find(signature, at + 1)) >= 0:
            if content[at + name : at + name + len(SHEET)] == SHEET.encode():
                struct.pack_into("<I", content, at + size, 1_000)
    return bytes(content)


def disorder(rows: str) -> bytes:
    return changed(plain(), sheet=sheet(TOP + rows))


BAD_FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "no archive": (lambda: b"PK\x03\x04" + b"x" * 99, "no XLSX file that can be read .* save it"),
    "cut off": (lambda: cut(0.6), "no XLSX file that can be read"),
    "its last byte lost": (lambda: plain()[:-1], "no XLSX file that can be read"),
    "no workbook": (without_workbook, "no XLSX file that can be read"),
    "another office file": (
        lambda: changed(plain(), **{"[Content_Types].xml": b"<Types/>"}),
        "no XLSX file that can be read",
    ),
    "broken XML": (lambda: changed(plain(), sheet=b"<worksheet><she"), "no XLSX file that can"),
    "broken XML after good rows": (
        lambda: changed(plain(), sheet=sheet(TOP + cells(2, "A", "1") + "<row r='3'><c>")),
        "no XLSX file that can be read",
    ),
    "a string that is not there": (
        lambda: with_strings('<row r="2"><c r="A2" t="s"><v>5</v></c></row>', "<t>A</t>"),
        "no XLSX file that can be read",
    ),
    "text that openpyxl would change": (
        lambda: with_strings(cells(2, "A", "1"), "<t>ABx005F_1</t>"),
        "cannot be read exactly as it is. Save it as CSV",
    ),
    "a password": (encrypted, "is encrypted. Save it without a password"),
    "another compression": (compressed_otherwise, "compressed in a way that XLSX files are not"),
    "entities": (lambda: changed(plain(), strings=LAUGHS), "defines entities, which"),
    "entities in UTF-16": (
        lambda: changed(plain(), strings=LAUGHS.decode().replace("?xml", "?xml ").encode("utf-16")),
        "defines entities, which",
    ),
    "a bomb among strings": (lambda: bomb(STRINGS, 129), "would unpack to more than 128 MiB"),
    "a bomb in the sheet": (lambda: bomb(SHEET, 129), "would unpack to more than 128 MiB"),
    "a bomb of two": (
        lambda: changed(bomb(SHEET, 65), strings=b"<" + b" " * 65 * MIB),
        "would unpack to more than 128 MiB",
    ),
    "a bomb that lies": (bomb_that_lies, "no XLSX file that can be read"),
    "one enormous tag": (lambda: bomb(SHEET, 2), "far more in it than 100,000 rows"),
    "rows out of order": (
        lambda: disorder(cells(3, "A", "1") + cells(2, "A", "2")),
        "Row 2 stands after row 3",
    ),
    "a row twice": (
        lambda: disorder(cells(2, "A", "1") + cells(2, "A", "2")),
        "Row 2 stands after row 2",
    ),
    "a cell twice": (
        lambda: disorder('<row r="2"><c r="A2"><v>1</v></c><c r="A2"><v>2</v></c></row>'),
        "cells of row 2 are not in order",
    ),
    "a row far beyond": (
        lambda: disorder(cells(99_999_999_999, "A", "1")),
        "goes on beyond row 1,048,576",
    ),
    "a column far beyond": (
        lambda: disorder('<row r="2"><c r="XFE2"><v>1</v></c></row>'),
        "cells of row 2 are not in order, or too many",
    ),
    "no value": (lambda: saved(Workbook()), "The workbook holds no value. Export it"),
    "blanks only": (lambda: saved(workbook((" ",), header=(" ",))), "is empty. Export it"),
    "a header only": (lambda: saved(workbook()), "has a header and no rows"),
    "no header": (lambda: saved(workbook(("A", "1"), header=(1, 2))), "not known: '1'"),
    "a formula in the header": (lambda: saved(workbook(header=("=A1",))), "not known: '=A1'"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "says"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_file_that_cannot_be_taken_is_refused_in_words(
    make: Callable[[], bytes], says: str
) -> None:
    content = make()
    tracemalloc.start()
    with pytest.raises(BadFile, match=says) as refused:
        read(content)
    assert tracemalloc.get_traced_memory()[1] < 32 * MIB
    tracemalloc.stop()
    message = str(refused.value)
    assert message[0].isupper()
    assert message.endswith(".")
    assert ". " in message, "it says what, and what next"


def many(name: str) -> bytes:
    return f'<sst xmlns="{NAMESPACE}">{f"<{name} />" * 5}</sst>'.encode()


@pytest.mark.parametrize(
    ("name", "most"), [("a", 100), ("x:si", 4), ("si", 4), ("row", 7), ("xf", 6), ("sheet", 5)]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("chunk", [64, MIB])
def test_elements_are_counted_before_they_are_built(
    monkeypatch: pytest.MonkeyPatch, name: str, most: int, encoding: str, chunk: int
) -> None:
    content = changed(plain(), strings=many(name).decode().encode(encoding))
    monkeypatch.setattr(package, "CHUNK_BYTES", chunk)
    read(content)
    if name == "a":
        monkeypatch.setattr(package, "TAGS_MAX", most)
    else:
        monkeypatch.setitem(package.ELEMENTS_MAX, name.removeprefix("x:").encode(), most)
    with pytest.raises(BadFile, match="far more in it than 100,000 rows"):
        read(content)


@pytest.mark.parametrize("chunk", [1_000, MIB])
def test_a_tag_is_measured_however_it_is_read(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(package, "CHUNK_BYTES", chunk)
    monkeypatch.setattr(package, "TAG_BYTES_MAX", 5_000)
    tag = b"<a %s/>"
    several = tag % (b" " * 4_000) * 3
    assert read(changed(plain(), strings=b"<x>%s</x>" % several)).rows
    with pytest.raises(BadFile, match="far more in it"):
        read(changed(plain(), strings=b"<x>%s</x>" % (tag % (b" " * 5_000))))


def test_a_table_of_too_many_strings_is_not_read() -> None:
    strings = [""] * (5 * import_files.ROWS_MAX)
    with pytest.raises(BadFile, match="far more in it"):
        read(with_strings(cells(2, "A", "1"), *strings, ""))


def test_parts_are_counted_before_they_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(io.BytesIO(plain())) as book:
        count = len(book.namelist())
    for chunk in (7, MIB):
        monkeypatch.setattr(package, "CHUNK_BYTES", chunk)
        monkeypatch.setattr(package, "PARTS_MAX", count)
        assert read(plain()).rows
        monkeypatch.setattr(package, "PARTS_MAX", count - 1)
        with pytest.raises(BadFile, match=f"more than {count - 1} parts"):
            read(plain())


def test_a_picture_is_no_xml_and_costs_nothing() -> None:
    picture = b"\x89PNG" + b"\1" * 3 * MIB + b"<" * 1000
    assert read(changed(plain(), **{"xl/media/image1.png": picture})).rows


# Any bytes ---------------------------------------------------------------------------------------


@settings(max_examples=150)
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=8)), max_size=5))
def test_no_damage_to_a_file_does_worse_than_refusing_it(damage) -> None:
    content = bytearray(plain())
    for share, piece in damage:
        at = int(share * len(content))
        content[at : at + len(piece)] = piece
    refused_or_read(bytes(content))


@settings(max_examples=300)
@given(
    st.sampled_from([SHEET, "xl/styles.xml", "xl/workbook.xml", "[Content_Types].xml"]),
    st.lists(
        st.tuples(
            st.floats(0, 1, exclude_max=True),
            st.integers(0, 30),
            st.sampled_from(
                [
                    *(
                        "",
                        "<",
                        ">",
                        "/",
                        '"',
                        "-1",
                        "9" * 30,
                        "1E9999",
                        "nan",
                        "\x01",
                        "é",
                        "<row/>",
                    ),
                    *('<c t="s"><v>7</v></c>', '<c t="d"><v>x</v></c>', '<c s="99"><v>1</v></c>'),
                    *(
                        '<c r="ZZZZ9"/>',
                        '<c r="A0"/>',
                        '<c t="e"/>',
                        '<c><f t="array"/></c>',
                        "_x0",
                    ),
                ]
            ),
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_no_damage_to_a_part_does_worse_than_refusing_it(part, damage) -> None:
    with zipfile.ZipFile(io.BytesIO(plain())) as book:
        text = book.read(part).decode()
    for share, length, piece in damage:
        at = int(share * len(text))
        text = text[:at] + piece + text[at + length :]
    refused_or_read(changed(plain(), **{part: text.encode()}))


def refused_or_read(content: bytes) -> None:
    try:
        done = read(content)
    except BadFile:
        return
    assert done.rows_total >= len(done.rows) > 0 or done.errors
