"""Content that this program has not written: found by checking every field that is read."""

from typing import Any

NUMBER_MAX = 2**63 - 1
TIME_MS_MAX = 253_402_300_799_999


class Unreadable(ValueError):
    """A key or value is not what this program writes. A person must look."""


class UnknownFormat(Unreadable):
    """The ledger has a format that this version does not know."""


class UnknownOperation(Unreadable):
    """A record does what this version does not know."""


def whole(value: Any) -> int:
    """Return the value if it is a whole number from 0 up. Raises Unreadable."""
    if type(value) is not int or not 0 <= value <= NUMBER_MAX:
        raise Unreadable(f"{value!r} is no whole number")
    return value


def moment(value: Any) -> int:
    """Return the value if it is a time in milliseconds before the year 10000. Raises Unreadable."""
    if whole(value) > TIME_MS_MAX:
        raise Unreadable(f"{value!r} is no moment in milliseconds")
    return int(value)


def text(value: Any) -> str:
    """Return the value if it is text. Raises Unreadable."""
    if type(value) is not str:
        raise Unreadable(f"{value!r} is no text")
    return value


def text_or_none(value: Any) -> str | None:
    """Return the value if it is text or nothing. Raises Unreadable."""
    return None if value is None else text(value)


def flag(value: Any) -> bool:
    """Return the value if it is true or false. Raises Unreadable."""
    if type(value) is not bool:
        raise Unreadable(f"{value!r} is neither true nor false")
    return value


def digest_of_entry(value: Any) -> str:
    """Return the value if it is a SHA-256 hash in hexadecimal. Raises Unreadable."""
    if len(text(value)) != 64 or not set(value) <= set("0123456789abcdef"):  # noqa: PLR2004
        raise Unreadable(f"{value!r} is no hash")
    return str(value)
