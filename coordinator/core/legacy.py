"""Numbers that were issued elsewhere: which counters they are of, and what does not fit.

Whether a number has been issued here already is not known here: only the counter's own commit can
say that.
"""

from collections.abc import Iterable
from typing import NamedTuple

from coordinator.core.catalogue import Catalogue, Series, UnknownSeries
from coordinator.core.documents import place_in

TYPES_SHOWN_MAX = 20

UNKNOWN_TYPE, DUPLICATE, BAD_FORMAT = "NB001", "NB005", "NB006"


class Named(NamedTuple):
    """A document number, and the place where it was found: a row, say."""

    place: int
    document_type: str
    text: str


class Misfit(NamedTuple):
    """A number that does not fit; the sentence says why, and what to do, the code what kind it is.

    The codes are those that callers of the product know.
    """

    place: int
    sentence: str
    code: str = BAD_FORMAT


class Found(NamedTuple):
    """What was found of one counter: the numbers, ascending, and where each of them stands."""

    counter: str
    series: Series
    places: tuple[tuple[int, int], ...]


def sort_out(catalogue: Catalogue, some: Iterable[Named]) -> tuple[list[Found], list[Misfit]]:
    """Return what was found of each counter, by name, and what fits none."""
    places: dict[str, dict[int, Named]] = {}
    series_of: dict[str, Series] = {}
    misfits: list[Misfit] = []
    known = _types_in(catalogue)
    for named in some:
        try:
            series = catalogue.of(named.document_type)
        except UnknownSeries:
            said = f"no series {named.document_type!r} is defined; there are {known}"
            misfits.append(Misfit(named.place, said, UNKNOWN_TYPE))
            continue
        at = place_in(series, named.text)
        if at is None:
            said = f"{named.text!r} does not read like {series.template} (NB006)"
            misfits.append(Misfit(named.place, f"{said}; mend it, or import it as another series"))
            continue
        counter, number = at.counter, at.number
        taken = places.setdefault(counter, {})
        series_of[counter] = series
        if number < series.start:
            said = f"{named.text!r} is below {series.start}, where the series starts"
            misfits.append(Misfit(named.place, said))
        elif number in taken:
            other = taken[number]
            said = f"{named.text!r} is number {number} of {counter}, as row {other.place} is"
            said += f" ({other.text!r}); one of them is wrong"
            misfits.append(Misfit(named.place, said, DUPLICATE))
        else:
            taken[number] = named
    found = [
        Found(counter, series_of[counter], _in_order(taken))
        for counter, taken in sorted(places.items())
        if taken
    ]
    return found, misfits


def _types_in(catalogue: Catalogue) -> str:
    """Return what types there are; every row of a large file may have to say it."""
    types = [series.document_type for series in catalogue.series]
    return ", ".join(types[:TYPES_SHOWN_MAX]) + ", ..." * (len(types) > TYPES_SHOWN_MAX)


def _in_order(taken: dict[int, Named]) -> tuple[tuple[int, int], ...]:
    return tuple((number, taken[number].place) for number in sorted(taken))
