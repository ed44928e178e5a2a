"""Does a template fit its series? Every document number must say its counter and its number.

The rules, in the order in which they are looked at:

1. The bounds are sensible, and the prefix can be read.
2. Each scope is shown: its token stands in the template. For a period any tokens do that tell its
   counters apart: YEARLY by {YYYY} or by {FY} and {MM}. More tokens than the scopes need do no
   harm, since those of the scopes and the number are already unique.
3. The longest number has 10 to 50 characters.
4. The template can be read backwards: **no text has two readings**. This is decided exactly, by a
   walk of the format beside itself (``likeness.py``): two readings of one text are two ways through
   the places of the template that part somewhere and end together. Where a part of fixed width or a
   separator that the values around it cannot hold keeps them together, there are none. So
   ``{PROJECT}{SEQ:4}`` is refused when numbers go beyond 9999 (A1 and 2345, or A and 12345), but
   not up to 9999. Cautious in that it makes no use of equal values of a token that occurs twice.

{YY} is a year like any other: it stands for 2000 to 2099 only, ``period_values`` gives none for
other dates and ``render`` refuses them. So the same two digits never are two years.
"""

from itertools import groupby

from coordinator.core.likeness import Alike, Machine, text_read_differently
from coordinator.core.periods import CENTURY, MONTHS, PERIOD_TOKENS, period_values
from coordinator.core.templates import (
    NUMBER_LARGEST,
    PERIOD_OF,
    TEXT_LENGTH_MAX,
    TEXT_LENGTH_MIN,
    Part,
    Scope,
    SeriesFormat,
)
from coordinator.core.tokens import BadTemplate, check_word

FEW_YEARS = range(CENTURY, CENTURY + 3)
"""What is true of the periods of these years is true of all: each token goes on year by year."""


def check(series: SeriesFormat) -> None:
    """Raise BadTemplate, with what to do instead, when a template does not fit its series."""
    _check_bounds(series)
    for scope in Scope:
        if scope in series.scopes:
            _check_shown(scope, series)
    _check_length(series)
    places = Machine((part.kind, at) for at, part in enumerate(series.parts))
    alike = text_read_differently(places, places, longest=TEXT_LENGTH_MAX)
    if alike:
        raise BadTemplate(_two_readings(alike, series.parts))


def _check_bounds(series: SeriesFormat) -> None:
    if not 1 <= series.start <= series.max_value <= NUMBER_LARGEST:
        raise BadTemplate(
            f"numbers from {series.start} to {series.max_value}: they must go up, from 1 at least"
            f" to {NUMBER_LARGEST} at most"
        )
    if series.fiscal_month not in MONTHS:
        raise BadTemplate(f"{series.fiscal_month} is no first month of fiscal years: 1 to 12")
    if any(part.name == "PREFIX" for part in series.template.parts):
        check_word("prefix", series.prefix)


def _check_shown(scope: Scope, series: SeriesFormat) -> None:
    """Raise BadTemplate when numbers do not say which counter of this scope they are of."""
    if scope not in PERIOD_OF:
        if scope not in series.tokens:
            raise BadTemplate(
                f"the series counts by {scope}, but {{{scope}}} is not in the template: numbers of"
                f" two counters would read alike; add {{{scope}}}"
            )
        return
    shown = [token for token in PERIOD_TOKENS if token in series.tokens]
    first: dict[tuple[str, ...], tuple[str, tuple[str, ...]]] = {}
    for year in FEW_YEARS:
        for month in MONTHS:
            values = period_values(year, month, series.fiscal_month)
            date = f"{year}-{month:02}"
            period = tuple(values[token] for token in PERIOD_OF[scope])
            earlier = first.setdefault(tuple(values[token] for token in shown), (date, period))
            if earlier[1] != period:
                needed = " and ".join(f"{{{token}}}" for token in PERIOD_OF[scope])
                raise BadTemplate(
                    f"the series counts {scope}, but numbers of {earlier[0]} and {date} would read"
                    f" alike, which are of two counters; add {needed}"
                )


def _check_length(series: SeriesFormat) -> None:
    longest = series.longest
    if longest > TEXT_LENGTH_MAX:
        parts = ", ".join(
            f"{part.written} {part.kind.longest}" for part in series.parts if part.name
        )
        raise BadTemplate(
            f"numbers can have {longest} characters, {TEXT_LENGTH_MAX} at most may be ({parts}):"
            " shorten the template, list the values of a token or declare it shorter (TEXT:8)"
        )
    if longest < TEXT_LENGTH_MIN:
        raise BadTemplate(
            f"the largest number has {longest} characters, {TEXT_LENGTH_MIN} at least must be:"
            " widen {SEQ:n} or add text"
        )


def _two_readings(alike: Alike, parts: tuple[Part, ...]) -> str:
    """Say how a text can be read in two ways, and what keeps them apart."""
    differing = [
        int(at)
        for pair in zip(alike.one, alike.other, strict=True)
        for at in pair
        if pair[0] != pair[1]
    ]
    between = "".join(part.written for part in parts[min(differing) : max(differing) + 1])
    readings = []
    for labels in (alike.one, alike.other):
        values = [
            f"{parts[int(at)].name} {''.join(character for _, character in run)}"
            for at, run in groupby(zip(labels, alike.text, strict=True), lambda pair: pair[0])
            if parts[int(at)].name
        ]
        readings.append(", ".join(values))
    return (
        f"{between} can be read in two ways: {alike.text!r} is {readings[0]}, or {readings[1]};"
        " separate them by a character that the values cannot hold, such as '-', or declare a"
        " token of fixed width"
    )
