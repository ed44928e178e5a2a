"""The records of a CSV file (RFC 4180), with comma, semicolon or tab between the values.

Python's csv module takes a quote in the middle of a value for an ordinary character, and a value
that is never closed for one that goes on to the end of the file. Here each would be a wrong number,
so the file is refused with the line where it went wrong.
"""

import codecs
import io
import re
from collections.abc import Generator, Iterator
from typing import IO, NamedTuple

from coordinator.import_files import BadFile, Record

RECORD_CHARS_MAX = 131_072
"""One record with all its values; those that can be taken come to a tenth of it."""

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}

_SAVE = 'Save it as "CSV UTF-8" and import it again.'
_QUOTED = re.compile(r'"(?:[^"]|"")*+"')
_NEWLINE = re.compile(r"\r\n|\r|\n")
_UNDECODED = re.compile("[\udc80-\udcff]")
"""What bytes that are no UTF-8 become in Python's ``surrogateescape``."""


class _Grammar(NamedTuple):
    """How a record is taken apart: ``cell`` matches a value, quoted or bare, and what ends it."""

    separator: str
    cell: re.Pattern[str]


def records(file: IO[bytes]) -> Generator[Record, None, None]:
    """Yield what the file holds, record by record, and close it. Raises BadFile."""
    marked = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    file.seek(0)
    encoding, errors = ("utf-16", "strict") if marked else ("utf-8-sig", "surrogateescape")
    with io.TextIOWrapper(file, encoding, errors, newline="") as text:
        yield from _records(_lines(text))


def _lines(text: io.TextIOWrapper) -> Iterator[tuple[int, str]]:
    """Yield the lines with their numbers and their ends. Raises BadFile."""
    number = 0
    while True:
        number += 1
        try:
            line = text.readline(RECORD_CHARS_MAX + 1)
        except UnicodeDecodeError:
            raise BadFile(f"The file is no UTF-16 near line {number}. {_SAVE}") from None
        if not line:
            return
        if "\0" in line:
            raise BadFile(
                f"Line {number} holds a NUL: this is no text, or in an encoding without its mark. "
                f"{_SAVE}"
            )
        undecoded = None if line.isascii() else _UNDECODED.search(line)
        if undecoded:
            byte = ord(undecoded[0]) & 0xFF
            raise BadFile(f"Line {number} is not UTF-8: it holds the byte 0x{byte:02X}. {_SAVE}")
        yield number, line


def _records(lines: Iterator[tuple[int, str]]) -> Iterator[Record]:
    grammar = None
    for row, (line, first) in enumerate(lines, 1):
        text = _whole(line, first, lines)
        if grammar is None:
            if not text.strip(" ,;\t\r\n"):
                yield Record(row, line, ())
                continue
            grammar = _grammar_of(text, line)
        if '"' in text:
            yield Record(row, line, _cells(text, line, grammar))
        else:
            yield Record(row, line, text.rstrip("\r\n").split(grammar.separator))


def _whole(line: int, first: str, lines: Iterator[tuple[int, str]]) -> str:
    """Return the record that begins with this line; it ends where all quotes are closed."""
    quotes, length, parts = first.count('"'), len(first), [first]
    while quotes % 2 and length <= RECORD_CHARS_MAX:
        _, more = next(lines, (0, ""))
        if not more:
            break
        quotes += more.count('"')
        length += len(more)
        parts.append(more)
    if length > RECORD_CHARS_MAX:
        hint = " A quote may be missing at the end of a value." if quotes % 2 else ""
        raise BadFile(
            f"The record at line {line} is longer than {RECORD_CHARS_MAX:,} characters.{hint} "
            "Correct it and import the file again."
        )
    return "".join(parts)


def _grammar_of(header: str, line: int) -> _Grammar:
    found = [separator for separator in SEPARATORS if separator in header]
    if len(found) > 1:
        names = " and ".join(SEPARATORS[separator] for separator in found)
        raise BadFile(
            f"The header (line {line}) has {names} between the names. Use one of them in the whole "
            "file."
        )
    separator = found[0] if found else ","
    cell = rf'(?:"((?:[^"]|"")*+)"|([^"{separator}\r\n]*+))({separator}|\r\n|\r|\n|\Z)'
    return _Grammar(separator, re.compile(cell))


def _cells(text: str, line: int, grammar: _Grammar) -> list[str]:
    """Return the values of a record. Raises BadFile where a quote is not where it may be."""
    cells = []
    at = 0
    while True:
        found = grammar.cell.match(text, at)
        if found is None:
            raise BadFile(_stray_quote(text, at, line))
        quoted, bare, end = found.groups()
        cells.append(bare if quoted is None else quoted.replace('""', '"'))
        at = found.end()
        if end != grammar.separator:
            return cells


def _stray_quote(text: str, at: int, line: int) -> str:
    """Return what is wrong with the quotes of the value that begins here."""
    line += len(_NEWLINE.findall(text, 0, at))
    if text[at] != '"':
        what = "has a quote in its middle"
    elif _QUOTED.match(text, at):
        what = "goes on after its closing quote"
    else:
        what = "begins with a quote that is never closed"
    return (
        f"A value in line {line} {what}. Put the whole value between quotes, and write each quote "
        "inside it twice."
    )
