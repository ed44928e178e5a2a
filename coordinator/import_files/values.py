"""What a value must be to be taken; the sentences say why it is not, and what to do."""

import re
import unicodedata
from datetime import date, datetime
from typing import Any

import orjson

from coordinator.csv_cells import APOSTROPHE

DOCUMENT_CHARS_MAX = 50
METADATA_BYTES_MAX = 4_096
LEVELS_MAX = 32

_LOST_CHARACTER = "\ufffd"
_ISO = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?", re.ASCII
)
_DAY_OR_MONTH_FIRST = re.compile(r"(\d\d?)[./-](\d\d?)[./-](\d{4})\b", re.ASCII)

# 12E-2024 may be somebody's number; nobody writes a plus there but a spreadsheet.
_SHORTENED = re.compile(r"[+-]?\d+(?:[.,]\d+)?[Ee]\+\d+", re.ASCII)


class Unfit(Exception):
    """The value cannot be taken; the message says why, and what to do."""


def check_document(text: str) -> None:
    """Raise Unfit unless the text can be a document's type or number, exactly as it is."""
    if not text or text.isspace():
        raise Unfit("The value is missing. Each row needs its own, also where cells were merged.")
    if text != text.strip():
        raise Unfit(
            "There are blanks before or after the value, which make it another one than it seems. "
            "Remove them."
        )
    if len(text) > DOCUMENT_CHARS_MAX:
        raise Unfit(
            f"The value has {len(text):,} characters, and at most {DOCUMENT_CHARS_MAX} are taken. "
            "Check that it stands in the right column."
        )
    _check_characters(text)
    if text.startswith(APOSTROPHE):
        raise Unfit(
            "An apostrophe at the beginning marks text in spreadsheets and exports; it is no part "
            "of a number. Remove it."
        )
    if _SHORTENED.fullmatch(text):
        raise Unfit(
            "A spreadsheet has shortened this number, and its last digits are lost. Format the "
            "column as text and enter the number again."
        )


def _check_characters(text: str) -> None:
    if not text.isprintable():
        unseen = next(c for c in text if not c.isprintable())
        name = unicodedata.name(unseen, "a control character")
        raise Unfit(
            f"The value holds a character that cannot be seen (U+{ord(unseen):04X}, {name}). "
            "Type the value again."
        )
    if _LOST_CHARACTER in text:
        raise Unfit(
            "A character was lost (U+FFFD) when the file was saved with a wrong encoding before. "
            "Write the file from its source again, as UTF-8."
        )


def check_moment(text: str) -> None:
    """Raise Unfit for what is no date or moment of ISO 8601, or names none that there is."""
    if not _ISO.fullmatch(text):
        raise Unfit(f"This is no date that can be read. {_advice(text)}")
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise Unfit("There is no such day or time. Correct it.") from None


def _advice(text: str) -> str:
    """Return how to write a date, and this one if it is clear which it is."""
    found = _DAY_OR_MONTH_FIRST.match(text)
    if found is not None:
        one, other, year = map(int, found.groups())
        meant = sorted(filter(None, {_day(year, one, other), _day(year, other, one)}))
        if meant:
            which = ", whichever is meant" if len(meant) > 1 else ""
            return f"Write the year first: {' or '.join(meant)}{which}."
    return "Write a date like 2024-12-31, a moment like 2024-12-31T23:59:00+01:00."


def _day(year: int, month: int, day: int) -> str | None:
    try:
        return date(year, month, day).isoformat()
    except ValueError:
        return None


def check_metadata(text: str) -> None:
    """Raise Unfit unless the text is one JSON object of a size that the ledger can hold."""
    content = text.encode()
    if len(content) > METADATA_BYTES_MAX:
        raise Unfit(
            f"The metadata has {len(content):,} bytes, and at most {METADATA_BYTES_MAX:,} are "
            "taken. Leave out what is not needed."
        )
    advice = 'Write it like {"archive": "A7"}, or leave it empty.'
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError as wrong:
        raise Unfit(f"This is no JSON ({wrong}). {advice}") from None
    if not isinstance(found, dict):
        raise Unfit(f"This is JSON, but no object. {advice}")
    try:
        shallow(found)
    except ValueError as deep:
        raise Unfit(f"The metadata {deep}. Write it flatter.") from None


def shallow(value: Any, levels: int = LEVELS_MAX) -> Any:
    """Return JSON that is nested no deeper than every reader takes. Raises ValueError."""
    if not levels:
        raise ValueError(f"must be nested {LEVELS_MAX} levels deep at most")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        shallow(each, levels - 1)
    return value
