"""Numbers that were issued elsewhere: which counters they are of, and what does not fit.

Whether a number has been issued here already is not known here: only the counter's own commit can
say that.
"""

from collections.abc import Iterable
from typing import NamedTuple

from coordinator.core.catalogue import Catalogue, UnknownSeries
from coordinator.core.documents import place_in

GAPS_LISTED_MAX = 1_000


class Named(NamedTuple):
    """A document number, and the place where it was found: a row, say."""

    place: int
    document_type: str
    text: str


class Misfit(NamedTuple):
    """A number that does not fit; the sentence says why, and what to do."""

    place: int
    sentence: str


class Found(NamedTuple):
    """What was found of one counter. ``missing`` are numbers up to the highest that nobody names:
    the first ``GAPS_LISTED_MAX`` runs of them; ``missing_total`` counts them all.
    """

    counter: str
    numbers: int
    lowest: int
    highest: int
    missing: tuple[range, ...]
    missing_total: int


def sort_out(catalogue: Catalogue, some: Iterable[Named]) -> tuple[list[Found], list[Misfit]]:
    """Return what was found of each counter, by name, and what fits none."""
    places: dict[str, dict[int, Named]] = {}
    starts: dict[str, int] = {}
    misfits: list[Misfit] = []
    for named in some:
        try:
            series = catalogue.of(named.document_type)
        except UnknownSeries:
            known = ", ".join(each.document_type for each in catalogue.series)
            said = f"no series {named.document_type!r} is defined; there are {known}"
            misfits.append(Misfit(named.place, said))
            continue
        at = place_in(series, named.text)
        if at is None:
            said = f"{named.text!r} does not read like {series.template} (NB006)"
            misfits.append(Misfit(named.place, f"{said}; mend it, or import it as another series"))
            continue
        counter, number = at.counter, at.number
        taken = places.setdefault(counter, {})
        starts[counter] = series.start
        if number < series.start:
            said = f"{named.text!r} is below {series.start}, where the series starts"
            misfits.append(Misfit(named.place, said))
        elif number in taken:
            other = taken[number]
            said = f"{named.text!r} is number {number} of {counter}, as row {other.place} is"
            misfits.append(Misfit(named.place, f"{said} ({other.text!r}); one of them is wrong"))
        else:
            taken[number] = named
    found = [_found(name, sorted(places[name]), starts[name]) for name in sorted(places)]
    return [each for each in found if each is not None], misfits


def _found(counter: str, numbers: list[int], start: int) -> Found | None:
    if not numbers:
        return None
    missing: list[range] = []
    missing_total = 0
    expected = start
    for number in numbers:
        if number > expected:
            missing_total += number - expected
            if len(missing) < GAPS_LISTED_MAX:
                missing.append(range(expected, number))
        expected = number + 1
    return Found(counter, len(numbers), numbers[0], numbers[-1], tuple(missing), missing_total)
