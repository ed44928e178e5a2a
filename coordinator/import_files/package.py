"""What an XLSX file may be before openpyxl is let near it: a bounded package of plain XML.

A few kilobytes can unpack to gigabytes, and openpyxl keeps strings, styles and one object for each
row in memory. So every part is unpacked here once, in pieces, and what it would cost is counted:
Python needs some hundred bytes for each element of XML, whatever is in it.
"""

import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from typing import IO

from coordinator.import_files import BYTES_MAX, ROWS_MAX, SHEET_ROWS_MAX, BadFile

UNPACKED_BYTES_MAX = 2 * BYTES_MAX
"""XML around values is about as long as the values."""

PARTS_MAX = 5_000
TAGS_MAX = 50 * ROWS_MAX
"""A row with four cells, each a string of its own, has 26 tags, and 16 more in the string table."""

TAG_BYTES_MAX = 1024 * 1024
"""From one tag to the next: a cell has at most 32,767 characters."""

ELEMENTS_MAX = {b"si": 5 * ROWS_MAX, b"row": SHEET_ROWS_MAX, b"xf": 100_000, b"sheet": 16}
"""Strings, rows and formats take openpyxl from 5 to 20 microseconds each. A spreadsheet has at
most 65,490 formats. All sheets could be the same part, read again for each of them.
"""

CHUNK_BYTES = 1024 * 1024

_PART = b"PK\x01\x02"
_OVERLAP = 32
"""More than the longest thing that is looked for, in UTF-16."""
_ELEMENT = re.compile(rb"[<:](si|row|xf|sheet)[\s/>]")
_DOCTYPE = b"<!DOCTYPE"
_CUT_OUT = b"x005F_"
"""XLSX escapes with it what looks escaped; openpyxl takes it out of every string that has it."""

_BEFORE_XML = b"\xef\xbb\xbf\xfe\xff\0 \t\r\n"
_AS = "Open it in a spreadsheet program and save it as a new XLSX file, or as CSV UTF-8."


def check_package(file: IO[bytes]) -> None:
    """Raise BadFile unless the file can be unpacked and parsed in bounded time and memory."""
    if sum(chunk.count(_PART) for chunk in _overlapping(file, len(_PART) - 1)) > PARTS_MAX:
        raise BadFile(f"The file has more than {PARTS_MAX:,} parts. {_AS}")
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as package:
            _check_parts(package.infolist())
            counted: Counter[bytes] = Counter()
            for part in package.infolist():
                with package.open(part) as content:
                    _check_content(content, counted)
    except BadFile:
        raise
    except MemoryError:
        raise
    except Exception as broken:  # zipfile and zlib raise many kinds for what is no archive
        raise unreadable(broken) from broken
    file.seek(0)


def unreadable(broken: Exception) -> BadFile:
    """Return what to say of a file that zipfile or openpyxl could not read."""
    why = f"{type(broken).__name__}: {broken}".splitlines()[0][:200]
    if "int_max_str_digits" in why:  # Python's advice to programmers
        why = "a cell holds a number of thousands of digits"
    return BadFile(f"The file is no XLSX file that can be read ({why}). {_AS}")


def _check_parts(parts: list[zipfile.ZipInfo]) -> None:
    if sum(part.file_size for part in parts) > UNPACKED_BYTES_MAX:
        raise BadFile(
            f"The file would unpack to more than {UNPACKED_BYTES_MAX >> 20} MiB. Remove pictures "
            "and other sheets, or split it, with the header in each part."
        )
    for part in parts:
        if part.flag_bits & 1:
            raise BadFile(f"The file is encrypted. Save it without a password. {_AS}")
        # Only these are in the standard, and others can ask for gigabytes before the first byte.
        if part.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BadFile(f"The file is compressed in a way that XLSX files are not. {_AS}")


def _check_content(part: IO[bytes], counted: Counter[bytes]) -> None:
    """Count what a part would cost, if it is XML. Raises BadFile once that is too much."""
    since_tag = 0
    begun = False
    for chunk in _overlapping(part, _OVERLAP):
        content = chunk.replace(b"\0", b"")  # UTF-16 reads like ASCII then, where it is ASCII
        if not begun:
            start = content.lstrip(_BEFORE_XML)
            if start and not start.startswith(b"<"):
                return  # a picture: no parser of XML gets beyond its first byte
            begun = bool(start)
        if _DOCTYPE in content:
            raise BadFile(f"The file defines entities, which XLSX files must not. {_AS}")
        if _CUT_OUT in content:
            raise BadFile(
                "The file holds text with _x005F_ in it, which cannot be read exactly as it is. "
                "Save it as CSV UTF-8."
            )
        pieces = content.split(b"<")
        counted[b"<"] += len(pieces) - 1
        longest = max(since_tag + len(pieces[0]), *map(len, pieces))
        since_tag = len(pieces[-1]) if len(pieces) > 1 else longest
        counted.update(_ELEMENT.findall(content))
        if longest > TAG_BYTES_MAX or _is_too_much(counted):
            raise BadFile(
                f"The file has far more in it than {ROWS_MAX:,} rows of document numbers need. "
                "Remove other sheets, formats and pictures, or save it as CSV UTF-8."
            )


def _is_too_much(counted: Counter[bytes]) -> bool:
    most = {b"<": TAGS_MAX} | ELEMENTS_MAX
    return any(counted[name] > count_max for name, count_max in most.items())


def _overlapping(file: IO[bytes], overlap: int) -> Iterator[bytes]:
    """Yield the content in pieces that begin with the last bytes of the one before."""
    tail = b""
    while chunk := file.read(CHUNK_BYTES):
        yield tail + chunk
        tail = chunk[-overlap:]
