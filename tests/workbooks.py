"""Workbooks as spreadsheet programs write them, and as nobody should."""

import io
import zipfile
from functools import cache
from pathlib import Path
from typing import IO

from openpyxl import Workbook

from coordinator.import_files import Progress, ReadFile, in_silence
from coordinator.import_files.reading import read_copy
from coordinator.import_files.spool import spooled

HEADER = ("document_type", "document_number", "created_at", "metadata")
SHEET = "xl/worksheets/sheet1.xml"
STRINGS = "xl/sharedStrings.xml"
NAMESPACE = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
MIB = 1024 * 1024


def saved(book: Workbook) -> bytes:
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def workbook(*rows: tuple[object, ...], header: tuple[object, ...] = HEADER) -> Workbook:
    book = Workbook()
    for row in (header, *rows):
        book.active.append(row)
    return book


def read_file(source: Path | IO[bytes], progress: Progress = in_silence) -> ReadFile:
    with spooled(source) as copy:
        return read_copy(copy, progress)


def read(content: Workbook | bytes) -> ReadFile:
    return read_file(io.BytesIO(saved(content) if isinstance(content, Workbook) else content))


def changed(content: bytes, **parts: bytes | None) -> bytes:
    """The package with other parts: ``sheet``, ``strings``, or any by name; None: without it."""
    names = {"sheet": SHEET, "strings": STRINGS}
    new = {names.get(name, name): part for name, part in parts.items()}
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as package,
    ):
        for name in dict.fromkeys([*old.namelist(), *new]):
            part = new[name] if name in new else old.read(name)
            if part is not None:
                package.writestr(name, part)
    return out.getvalue()


@cache
def plain() -> bytes:
    return saved(workbook(("A", "1"), ("A", "2")))


def sheet(rows: str, before: str = "", tail: str = "") -> bytes:
    return (
        f'<worksheet xmlns="{NAMESPACE}">{before}<sheetData>{rows}</sheetData>{tail}</worksheet>'
    ).encode()


def with_strings(rows: str, *strings: str) -> bytes:
    """A package with a table of strings, as Excel writes it; openpyxl itself writes none."""
    with zipfile.ZipFile(io.BytesIO(plain())) as book:
        types = book.read("[Content_Types].xml").decode()
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
    types = types.replace("</", f'<Override PartName="/{STRINGS}" ContentType="{kind}"/></')
    table = "".join(f"<si>{text}</si>" for text in strings)
    return changed(
        plain(),
        sheet=sheet(TOP + rows),
        strings=f'<sst xmlns="{NAMESPACE}">{table}</sst>'.encode(),
        **{"[Content_Types].xml": types.encode()},
    )


def cells(row: int, *values: str) -> str:
    found = "".join(
        f'<c r="{"ABCD"[i]}{row}" t="inlineStr"><is><t>{value}</t></is></c>'
        for i, value in enumerate(values)
    )
    return f'<row r="{row}">{found}</row>'


TOP = cells(1, *HEADER)
