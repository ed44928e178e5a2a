"""Templates: how a series writes its numbers, and reads them again.

A template is text with tokens, like ``{PREFIX}-{PROJECT}-{YYYY}-{SEQ:5}``. What may stand in the
place of a token is its kind (``tokens.py``); what its series fixes (prefix, scopes, largest number,
first month of fiscal years) makes it a ``SeriesFormat``, which can write, read and be compared.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import NamedTuple

from coordinator.core.likeness import Label, Machine, common_text, text_read_differently
from coordinator.core.periods import PERIOD_TOKENS, some_date_has
from coordinator.core.tokens import (
    SEQ_WIDTH_MAX,
    STANDARD,
    BadTemplate,
    Kind,
    Number,
    OneOf,
    check_declared,
)

TEMPLATE_LENGTH_MAX = 200

TEXT_LENGTH_MIN = 10
"""Characters of the longest number that a series can write, at least."""

TEXT_LENGTH_MAX = 50
"""Characters of any document number."""

NUMBER_LARGEST = 10**SEQ_WIDTH_MAX - 1


class Scope(StrEnum):
    """What a series counts by itself. No scope at all is one count for everything (GLOBAL)."""

    SITE = "SITE"
    PARTITION = "PARTITION"
    PROJECT = "PROJECT"
    CONTRACT = "CONTRACT"
    YEARLY = "YEARLY"
    MONTHLY = "MONTHLY"
    FISCAL = "FISCAL"


PERIOD_OF: Mapping[Scope, tuple[str, ...]] = {
    Scope.YEARLY: ("YYYY",),
    Scope.MONTHLY: ("YYYY", "MM"),
    Scope.FISCAL: ("FY",),
}
"""The period tokens whose values name the counter of a scope."""


class BadValue(ValueError):
    """A number cannot be written: ``token`` has no value, or one that is not of its kind."""

    def __init__(self, token: str, sentence: str) -> None:
        super().__init__(sentence)
        self.token = token
        """Its name, or nothing when the text as a whole does not fit."""


class Extracted(NamedTuple):
    """What a document number says: its number, and the value of each token but PREFIX and SEQ."""

    number: int
    values: dict[str, str]


class Writing(NamedTuple):
    """How the numbers of one counter are written: ``width`` digits or more between two texts.

    ``max_value`` is the largest number of the series.
    """

    before: str
    width: int
    after: str
    max_value: int

    def text_of(self, number: int) -> str:
        """Return how a number is written."""
        return f"{self.before}{number:0{self.width}}{self.after}"


class Part(NamedTuple):
    """A stretch of a template: a token, or literal text, which has no name."""

    name: str
    kind: Kind
    written: str


class Template(NamedTuple):
    """A template whose text is well-formed."""

    text: str
    parts: tuple[Part, ...]

    @classmethod
    def parse(cls, text: str, declared_tokens: Mapping[str, Kind] | None = None) -> "Template":
        """Return the template with this text.

        ``declared_tokens`` are those of the series' own, and of SITE, PARTITION, PROJECT and
        CONTRACT those whose values it narrows or lists. Braces cannot be literal text.
        Raises BadTemplate.
        """
        _check_characters(text)
        declared = declared_tokens or {}
        check_declared(declared)
        known = {**STANDARD, **declared}
        parts: list[Part] = []
        for stretch in re.finditer(r"\{[^{}]*\}|[^{}]+|[{}]", text):
            written, at = stretch[0], stretch.start() + 1
            if len(written) == 1 and written in "{}":
                raise BadTemplate(_unbalanced(written, at))
            if written[0] != "{":
                parts.append(Part("", OneOf((written,)), written))
                continue
            part = _token(written, at, known)
            if part.name == "SEQ" and any(earlier.name == "SEQ" for earlier in parts):
                raise BadTemplate(f"{written} at position {at} is the second: only one may stand")
            parts.append(part)
        if all(part.name != "SEQ" for part in parts):
            raise BadTemplate("there is no number in the template: add {SEQ:n}, such as {SEQ:5}")
        return cls(text, tuple(parts))


def _check_characters(text: str) -> None:
    if len(text) > TEMPLATE_LENGTH_MAX:
        raise BadTemplate(f"{len(text)} characters: a template has at most {TEMPLATE_LENGTH_MAX}")
    for at, character in enumerate(text, 1):
        if not " " <= character <= "~":
            raise BadTemplate(
                f"the character U+{ord(character):04X} at position {at}: use printable ASCII only"
            )
    if text != text.strip(" "):
        raise BadTemplate("a space at the beginning or the end cannot be seen: take it away")
    if "  " in text:
        at = text.index("  ") + 1
        raise BadTemplate(f"two spaces in a row at position {at} read like one: take one away")


def _unbalanced(brace: str, at: int) -> str:
    other = "no '}' closes it" if brace == "{" else "no '{' opens it"
    return (
        f"'{brace}' at position {at}: {other}; braces stand around tokens only and cannot be"
        " literal text"
    )


def _token(written: str, at: int, known: Mapping[str, Kind]) -> Part:
    """Return the token that is written here with its braces. Raises BadTemplate."""
    name, colon, option = written[1:-1].partition(":")
    here = f"{written} at position {at}"
    if name == "SEQ":
        if not re.fullmatch("[1-9][0-9]?", option) or int(option) > SEQ_WIDTH_MAX:
            raise BadTemplate(
                f"{here} needs its least number of digits, 1 to {SEQ_WIDTH_MAX}: such as {{SEQ:5}}"
            )
        return Part(name, Number(int(option), NUMBER_LARGEST), written)
    if name in known:
        if colon:
            raise BadTemplate(f"{here} takes no option: write {{{name}}}")
        return Part(name, known[name], written)
    names = {token: f"{{{token}}}" for token in known} | {"SEQ": "{SEQ:n}"}
    meant = names.get(name.strip().upper())
    if meant:
        raise BadTemplate(f"{here} is unknown: write {meant}, in capitals and without spaces")
    raise BadTemplate(f"{here} is unknown: there are {' '.join(names.values())}")


@dataclass(frozen=True)
class SeriesFormat:
    """A template, and what its series fixes. ``template_check.check`` tells whether they fit.

    ``fiscal_month`` is the first month of fiscal years. Numbers below ``start`` are read like any
    other: a start may have been raised after they were issued.
    """

    template: Template
    prefix: str = ""
    scopes: frozenset[Scope] = frozenset()
    start: int = 1
    max_value: int = 999_999
    fiscal_month: int = 1

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The parts of the template; the prefix is literal text, the number has its bounds."""
        bound = []
        for part in self.template.parts:
            match part:
                case Part("PREFIX", _, written):
                    bound.append(Part("", OneOf((self.prefix,)), written))
                case Part("SEQ", Number(width), written):
                    bound.append(Part("SEQ", Number(width, self.max_value), written))
                case _:
                    bound.append(part)
        return tuple(bound)

    @cached_property
    def tokens(self) -> Mapping[str, Kind]:
        """The tokens in the text, without PREFIX and SEQ."""
        return {part.name: part.kind for part in self.parts if part.name not in {"", "SEQ"}}

    @cached_property
    def _values(self) -> Mapping[str, re.Pattern[str]]:
        return {token: re.compile(kind.regex) for token, kind in self.tokens.items()}

    def takes(self, token: str, value: str) -> bool:
        """Tell whether a token in the text may have this value."""
        return self._values[token].fullmatch(value) is not None

    @property
    def longest(self) -> int:
        """Return the most characters that a number can have."""
        return sum(part.kind.longest for part in self.parts)

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What numbers look like. A token that occurs again must have the same value."""
        written, seen = "", {""}
        for part in self.parts:
            if not part.name:
                written += part.kind.regex
            elif part.name in seen:
                written += f"(?P={part.name})"
            else:
                written += f"(?P<{part.name}>{part.kind.regex})"
            seen.add(part.name)
        return re.compile(written)


def render(series: SeriesFormat, values: Mapping[str, str], number: int) -> str:
    """Return the text of a number. Values of tokens that are not in the template do not matter.

    Raises BadValue for a value that is missing or not of its kind, for periods that no date has,
    and for a text of more than 50 characters (never with a format that ``check`` has passed).
    """
    if not 1 <= number <= series.max_value:
        raise BadValue("SEQ", f"number {number}: this series goes from 1 to {series.max_value}")
    text = writing_of(series, tuple(values.items())).text_of(number)
    if len(text) > TEXT_LENGTH_MAX:
        raise BadValue("", f"{text!r} has {len(text)} characters: at most {TEXT_LENGTH_MAX} fit")
    return text


@lru_cache(maxsize=1_024)
def writing_of(series: SeriesFormat, values_given: tuple[tuple[str, str], ...]) -> Writing:
    """Return how numbers are written with these values. Raises BadValue as ``render`` does.

    Documents of a kind are many, and differ in their numbers.
    """
    values = dict(values_given)
    for token, kind in series.tokens.items():
        if token not in values:
            raise BadValue(token, f"{{{token}}} has no value{_why_missing(token, values)}")
        if not series.takes(token, values[token]):
            raise BadValue(token, f"{{{token}}} cannot be {values[token]!r}: it takes {kind}")
    shown = {token: values[token] for token in PERIOD_TOKENS if token in series.tokens}
    if shown and not some_date_has(shown, series.fiscal_month):
        token, *_ = shown
        periods = ", ".join(f"{name} {value}" for name, value in shown.items())
        raise BadValue(token, f"no date is of {periods}: take them all from one date")
    sides, width = [""], 0
    for part in series.parts:
        match part.kind:
            case Number(width):
                sides.append("")
            case OneOf((literal,)) if not part.name:
                sides[-1] += literal
            case _:
                sides[-1] += values[part.name]
    before, after = sides
    return Writing(before, width, after, series.max_value)


def _why_missing(name: str, values: Mapping[str, str]) -> str:
    if name == "YY" and "YYYY" in values:
        return f": it stands for 2000 to 2099, and the year is {values['YYYY']}; use {{YYYY}}"
    return ""


def extract(series: SeriesFormat, text: str) -> Extracted | None:
    """Return what a document number says, or None for a text that ``render`` cannot give.

    The format is one that ``check`` has passed: there the text has one reading at most.
    """
    found = series.pattern.fullmatch(text) if len(text) <= TEXT_LENGTH_MAX else None
    if found is None:
        return None
    values = found.groupdict()
    number = int(values.pop("SEQ"))
    if not 1 <= number <= series.max_value or not some_date_has(values, series.fiscal_month):
        return None
    return Extracted(number, values)


def matches(series: SeriesFormat, text: str) -> bool:
    """Tell whether a text reads like a number of this series."""
    return extract(series, text) is not None


def could_read_alike(
    one: SeriesFormat, other: SeriesFormat, *, same_series: bool = False
) -> str | None:
    """Return a text that both formats can write. None proves that they never write the same.

    Of the same series (``same_series``: a template and the one that shall replace it) only texts
    count that would be another number, or of another counter: for 100000, ``{SEQ:5}`` and
    ``{SEQ:6}`` do no harm. What is told apart are the number and the values that the scopes need,
    by where they stand in the text. With other scopes the counters are others: every text counts.
    Both formats are such that ``check`` passes them.

    Cautious in two things: that a token which occurs twice has one value, and that periods are of
    one date, is not made use of. Then the text is an example of the shape only.
    """
    telling = _telling(one, other) if same_series else None
    search = common_text if telling is None else text_read_differently
    mine, others = _machine(one, telling or set()), _machine(other, telling or set())
    alike = search(mine, others, longest=TEXT_LENGTH_MAX)
    return alike.text if alike else None


def _telling(one: SeriesFormat, other: SeriesFormat) -> set[str] | None:
    """Return the tokens that tell counter and number in both formats of one series.

    None when the same values of them could mean two counters. A counter is named by the values of
    its scopes: {FY} 2027 is one and the same, whichever month it begins with.
    """
    if one.scopes != other.scopes:
        return None
    periods = {token for scope in one.scopes for token in PERIOD_OF.get(scope, ())}
    if not periods <= one.tokens.keys() & other.tokens.keys():  # told by others, say FY and MM
        if one.fiscal_month != other.fiscal_month:
            return None
        periods = set(PERIOD_TOKENS)
    return {"SEQ", *one.scopes, *periods}


def _machine(series: SeriesFormat, telling: set[str]) -> Machine:
    """Return the places of a format, each with what it tells; a token that comes again tells it
    again: read as one longer value it would be another.
    """
    labels: list[tuple[Kind, Label]] = []
    seen: Counter[str] = Counter()
    for part in series.parts:
        seen[part.name] += 1
        labels.append((part.kind, f"{part.name} {seen[part.name]}" if part.name in telling else ""))
    return Machine(labels)
