"""From what a caller says of a document to the counter that counts it, and to its number's text."""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, unquote

from coordinator.core.catalogue import Catalogue, Series
from coordinator.core.periods import PERIOD_TOKENS, period_values, told_by
from coordinator.core.templates import PERIOD_OF, BadValue, Scope, extract

COUNTERS = "documents"
"""What the names of documents' counters begin with, and that of no other series may."""

INVOICE = "invoice"
"""The series whose counter is the one of the sequence API: both take from the same numbers."""


def values_of(series: Series, given: Mapping[str, str], year: int, month: int) -> dict[str, str]:
    """Return the value of each token in the template: those given, and those of the issue date.

    Raises BadValue for one that is missing, of another kind, or not in the template at all: who
    gives it believes that it matters.
    """
    tokens = series.format.tokens
    values = _values_known(series, given, year, month)
    for token in tokens:
        if token not in values:
            raise BadValue(token, f"series {series.document_type} needs a value for {token}")
    return {token: values[token] for token in values if token in tokens or token in PERIOD_TOKENS}


def scope_values_of(
    series: Series, given: Mapping[str, str], year: int, month: int
) -> dict[str, str]:
    """Return the values that lead to a counter: of what is no scope, none need be given.

    Raises BadValue as ``values_of`` does.
    """
    values = _values_known(series, given, year, month)
    for scope in series.scopes:
        if scope not in PERIOD_OF and scope.value not in values:
            said = (
                f"series {series.document_type} has a count for each {scope.value}: give its value"
            )
            raise BadValue(scope.value, said)
    return values


def _values_known(
    series: Series, given: Mapping[str, str], year: int, month: int
) -> dict[str, str]:
    tokens = series.format.tokens
    for token, value in given.items():
        if token in PERIOD_TOKENS:
            raise BadValue(token, f"{token} comes from the issue date: give issue_date instead")
        if token not in tokens:
            wanted = [name for name in tokens if name not in PERIOD_TOKENS]
            takes = f"takes {', '.join(wanted)}" if wanted else "takes none"
            raise BadValue(token, f"series {series.document_type} has no {token}: it {takes}")
        if not series.format.takes(token, value):
            raise BadValue(token, f"{token} cannot be {value!r}: it takes {tokens[token]}")
    return {**period_values(year, month, series.fiscal_month), **given}


def counter_of(series: Series, values: Mapping[str, str]) -> str:
    """Return the name of the counter: ``documents/RFA/project=LCBP3/yearly=2026``.

    It names each scope: other scopes are other counters. No other counter's name begins like this.
    Invoices without a scope are counted where the sequence API counts them.
    """
    if series.document_type == INVOICE and not series.scopes:
        return INVOICE
    places = [COUNTERS, series.document_type]
    for scope in series.scopes:
        of_scope = (values[token] for token in PERIOD_OF.get(scope, (scope.value,)))
        places.append(f"{scope.value.lower()}={quote('-'.join(of_scope), safe='')}")
    return "/".join(places)


def type_of(counter: str) -> str | None:
    """Return the document type that a counter counts; None for a counter of no documents."""
    if counter == INVOICE:
        return INVOICE
    places = counter.split("/")
    return places[1] if places[0] == COUNTERS and len(places) > 1 else None


def start_of(series: Series, counter: str) -> int | None:
    """Return the first number of a counter; None where the installation says it, for invoices."""
    return None if counter == INVOICE else series.start


class Counted(NamedTuple):
    """What the name of a documents' counter says: of which series, and the value of each scope."""

    document_type: str
    scope: dict[str, str]


def counted_by(counter: str) -> Counted | None:
    """Return what a counter's name says; None for the counter of no documents."""
    document_type = type_of(counter)
    pairs = [place.partition("=") for place in counter.split("/")[2:]]
    if not document_type or not all(is_pair for _, is_pair, _ in pairs):
        return None
    return Counted(document_type, {name: unquote(value) for name, _, value in pairs})


def is_of_documents(counter: str) -> bool:
    """Tell whether a counter is one of documents only, which begins where its series begins."""
    return counter.startswith(f"{COUNTERS}/")


def values_told(series: Series, scope: Mapping[str, str]) -> dict[str, str]:
    """Return the values of a template's tokens as far as the values of the scopes tell them."""
    values: dict[str, str] = {}
    for name, value in scope.items():
        periods = PERIOD_OF.get(Scope(name.upper()))
        values |= zip(periods, value.split("-"), strict=False) if periods else {name.upper(): value}
    shown = {token: values[token] for token in PERIOD_TOKENS if token in values}
    return (told_by(shown, series.fiscal_month) if shown else {}) | values


def given_by(series: Series, scope_value: str | None, scope: Mapping[str, str]) -> dict[str, str]:
    """Return the values that a caller gives by name, in any case, or as the one of the only scope.

    Raises BadValue.
    """
    named = {name.upper(): value for name, value in scope.items()}
    if len(named) < len(scope):
        raise BadValue("scope", "a name is given twice, in capitals and in small letters")
    if scope_value is None:
        return named
    open_scopes = [each for each in series.scopes if each not in PERIOD_OF]
    if len(open_scopes) != 1 or named:
        wanted = ", ".join(each.lower() for each in open_scopes) or "none"
        said = f"scope_value fits a series with one scope; name them in scope: {wanted}"
        raise BadValue("scope_value", said)
    return {Scope(open_scopes[0]).value: scope_value}


class Place(NamedTuple):
    """Where the number of a document is counted. ``series`` is the definition it reads like.

    ``values`` are those of the template's tokens, and of the period as far as they tell it.
    """

    series: Series
    values: dict[str, str]
    counter: str
    number: int


def place_in(series: Series, text: str) -> Place | None:
    """Return the place of a document number of this series; None when it does not read like one."""
    read = extract(series.format, text)
    if read is None:
        return None
    values = {**told_by(read.values, series.fiscal_month), **read.values}
    return Place(series, values, counter_of(series, values), read.number)


def place_of(catalogue: Catalogue, text: str) -> Place | None:
    """Return the place of any document number; None when it reads like none that was ever defined.

    Two definitions that read a text alike count it in one counter: the catalogue sees to that. The
    one in force is taken.
    """
    definitions = (*catalogue.series, *reversed(catalogue.former))
    return next(filter(None, (place_in(series, text) for series in definitions)), None)
