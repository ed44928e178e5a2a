"""What may stand in the places of a template: kinds of values, and what each can read like.

A kind says it twice: as a regular expression, to read document numbers fast, and as steps of a
machine (``likeness.py``), to prove things about them. A test holds the two together.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

VALUE_LENGTH_MAX = 20
"""Characters of a value of a token."""

VALUES_MAX = 1000
"""Values in a list that a series gives for a token."""

SEQ_WIDTH_MAX = 18
"""Digits of a number, padded or not."""

DIGITS = "0123456789"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
TEXT = LETTERS + DIGITS + "_."
"""Values that nobody has listed: no ``-`` and no ``/``, so that these can stand between them."""


class BadTemplate(ValueError):
    """A template does not fit its series. The sentence says what, where, and what to do instead."""


class Chars(NamedTuple):
    """Any text of so many characters of an alphabet."""

    alphabet: str
    shortest: int
    longest: int

    @property
    def regex(self) -> str:
        """Return a regular expression for the values."""
        return f"[{re.escape(self.alphabet)}]{{{self.shortest},{self.longest}}}"

    def __str__(self) -> str:
        parts = [(LETTERS, "letters"), (DIGITS, "digits"), ("_.", "'_' and '.'")]
        words = ", ".join(name for part, name in parts if set(part) <= set(self.alphabet))
        least = f"{self.shortest} to " if self.shortest < self.longest else ""
        return f"{least}{self.longest} characters ({words})"


class OneOf(NamedTuple):
    """One of the values that the series lists. They may hold any character but ``{`` and ``}``."""

    values: tuple[str, ...]

    @property
    def shortest(self) -> int:
        """Return the length of the shortest value."""
        return min(map(len, self.values))

    @property
    def longest(self) -> int:
        """Return the length of the longest value."""
        return max(map(len, self.values))

    @property
    def regex(self) -> str:
        """Return a regular expression for the values."""
        return f"(?:{'|'.join(map(re.escape, self.values))})"

    def __str__(self) -> str:
        more = f" and {len(self.values) - 5} more" if len(self.values) > 5 else ""  # noqa: PLR2004
        return f"one of {', '.join(self.values[:5])}{more}"


class Number(NamedTuple):
    """A number from 1 to the largest, with zeros before it up to a width and never beyond."""

    width: int
    largest: int

    @property
    def shortest(self) -> int:
        """Return the digits of the number 1."""
        return self.width

    @property
    def longest(self) -> int:
        """Return the digits of the largest number."""
        return max(self.width, len(str(self.largest)))

    @property
    def regex(self) -> str:
        """Return a regular expression for the values; it takes some above the largest, and 0."""
        if self.longest == self.width:
            return f"[0-9]{{{self.width}}}"
        return f"(?:[0-9]{{{self.width}}}|[1-9][0-9]{{{self.width},{self.longest - 1}}})"


Kind = Chars | OneOf | Number

FREE = Chars(TEXT, 1, VALUE_LENGTH_MAX)
FOUR_DIGITS = Chars(DIGITS, 4, 4)
TWO_DIGITS = Chars(DIGITS, 2, 2)

STANDARD: Mapping[str, Kind] = {
    "PREFIX": FREE,  # of one series it is one text
    "SITE": FREE,
    "PARTITION": FREE,
    "PROJECT": FREE,
    "CONTRACT": FREE,
    "YYYY": FOUR_DIGITS,
    "YY": TWO_DIGITS,
    "MM": OneOf(tuple(f"{month:02}" for month in range(1, 13))),
    "FY": FOUR_DIGITS,
}
"""The tokens of every series, without SEQ."""

NARROWED = {"SITE", "PARTITION", "PROJECT", "CONTRACT"}
"""Standard tokens to which a series may give a narrower kind."""

_ALPHABETS = {"TEXT": TEXT, "CODE": LETTERS + DIGITS, "LETTERS": LETTERS, "DIGITS": DIGITS}
_KINDS = "TEXT, TEXT:n (at most n characters), CODE:n, LETTERS:n or DIGITS:n (exactly n)"


def kind_of(written: str) -> Kind:
    """Return the kind that a series declares for a token of its own. Raises BadTemplate.

    ``TEXT`` is 1 to 20 letters, digits, ``_`` and ``.``; ``TEXT:n`` at most n of them. ``CODE:n``
    is exactly n letters and digits, ``LETTERS:n`` and ``DIGITS:n`` are exactly n of these.
    """
    name, _, width = written.partition(":")
    if written == "TEXT":
        return FREE
    if name not in _ALPHABETS or not re.fullmatch("[1-9][0-9]?", width):
        raise BadTemplate(f"{written!r} is no kind of token: write {_KINDS}, n from 1 to 20")
    if int(width) > VALUE_LENGTH_MAX:
        raise BadTemplate(f"{written!r} is too long: a value has at most {VALUE_LENGTH_MAX}")
    return Chars(_ALPHABETS[name], 1 if name == "TEXT" else int(width), int(width))


def one_of(values: Iterable[str]) -> OneOf:
    """Return the kind of a token whose values the series lists. Raises BadTemplate.

    A listed value may also hold ``-``, ``/`` and other printable ASCII: ``site-1`` is one.
    """
    listed = tuple(sorted(set(values)))
    if not 1 <= len(listed) <= VALUES_MAX:
        raise BadTemplate(f"a list of {len(listed)} values: a token needs 1 to {VALUES_MAX}")
    for value in listed:
        check_word("value", value)
    return OneOf(listed)


def check_word(what: str, word: str) -> None:
    """Raise BadTemplate for a text that may not stand in a document number."""
    if not re.fullmatch("[!-z|~]{1,20}", word):
        raise BadTemplate(
            f"the {what} {word!r} cannot be written: 1 to {VALUE_LENGTH_MAX} characters of"
            " printable ASCII, without spaces and braces"
        )


def check_declared(declared: Mapping[str, Kind]) -> None:
    """Raise BadTemplate for tokens that a series may not declare."""
    for name, kind in declared.items():
        if name == "SEQ" or (name in STANDARD and name not in NARROWED):
            raise BadTemplate(f"{{{name}}} has its own meaning: declare another name")
        if not re.fullmatch("[A-Z][A-Z0-9_]{0,19}", name):
            raise BadTemplate(
                f"{name!r} cannot name a token: a capital letter, then up to 19 capital letters,"
                " digits and '_'"
            )
        if isinstance(kind, Number):
            raise BadTemplate(f"{{{name}}} cannot count: {{SEQ:n}} is the only number")
