"""Numbers that were issued elsewhere: which counters they are of, and what does not fit.

Whether a number has been issued here already is not known here: only the counter's own commit can
say that.
"""

from collections.abc import Iterable
from typing import NamedTuple

from coordinator.core.catalogue import Catalogue, Series, UnknownSeries
from coordinator.core.documents import place_in

GAPS_LISTED_MAX = 1_000

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
    """What was found of one counter. ``missing`` are numbers up to the highest that nobody names:
    the first ``GAPS_LISTED_MAX`` runs of them; ``missing_total`` counts them all. ``places`` are
    the numbers, ascending, and where each of them was found.
    """

    counter: str
    numbers: int
    lowest: int
    highest: int
    missing: tuple[range, ...]
    missing_total: int
    series: Series
    places: tuple[tuple[int, int], ...]


def sort_out(catalogue: Catalogue, some: Iterable[Named]) -> tuple[list[Found], list[Misfit]]:
    """Return what was found of each counter, by name, and what fits none."""
    places: dict[str, dict[int, Named]] = {}
    series_of: dict[str, Series] = {}
    misfits: list[Misfit] = []
    for named in some:
        try:
            series = catalogue.of(named.document_type)
        except UnknownSeries:
            known = ", ".join(each.document_type for each in catalogue.series)
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
    return [_found(n, places[n], series_of[n]) for n in sorted(places) if places[n]], misfits


def _found(counter: str, taken: dict[int, Named], series: Series) -> Found:
    numbers = sorted(taken)
    missing: list[range] = []
    missing_total = 0
    expected = series.start
    for number in numbers:
        if number > expected:
            missing_total += number - expected
            if len(missing) < GAPS_LISTED_MAX:
                missing.append(range(expected, number))
        expected = number + 1
    lowest, highest, gaps = numbers[0], numbers[-1], tuple(missing)
    at = tuple((number, taken[number].place) for number in numbers)
    return Found(counter, len(numbers), lowest, highest, gaps, missing_total, series, at)
