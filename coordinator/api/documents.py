"""Document numbers over HTTP, in the names of the older system."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain, islice, product
from typing import Any

from aiohttp import web

from coordinator.api import problems
from coordinator.api.answers import json_answer, read
from coordinator.api.document_inputs import TRIED_OUT, PreviewBody
from coordinator.api.inputs import body_of
from coordinator.api.problems import FieldError, Problem
from coordinator.api.templates import listed_in, no_such_series, shown
from coordinator.clock import now_ms
from coordinator.config import Settings
from coordinator.core import head as heads
from coordinator.core.catalogue import BadSeries, Catalogue, Series, UnknownSeries
from coordinator.core.documents import (
    INVOICE,
    counter_of,
    given_by,
    scope_values_of,
    start_of,
    values_of,
)
from coordinator.core.keys import Keys, number_in
from coordinator.core.templates import BadValue, render
from coordinator.core.transaction import Range
from coordinator.issue_dates import BadDate, month_of, zone_of
from coordinator.registry import Registry
from coordinator.store import Store

PATH = "/api/v1/document-numbering"
PREVIEWED = 3
_MOMENTS_MS = (0, -86_400_000, 10_000)
"""Now, a day ago, within which callers repeat themselves, and what clocks of nodes may be apart."""

_INSIDE_A_MONTH = range(3, 28)
"""Days in UTC on which all these moments are of one month, whatever the zone."""

Said = tuple[str | None, dict[str, str], str | None]
"""What a caller says of a document: scope_value, scope and issue_date."""


class Documents:
    """Handlers of document numbers."""

    def __init__(self, settings: Settings, store: Store, keys: Keys, registry: Registry) -> None:
        self._listed = listed_in(settings)
        self._invoices_max = settings.max_value
        self._store = store
        self._keys = keys
        self._registry = registry

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of these handlers."""
        return [web.post(f"{PATH}/preview", self.preview)]

    async def preview(self, request: web.Request) -> web.StreamResponse:
        """Return the next numbers as they would read; nothing is allocated."""
        asked = await body_of(request, PreviewBody)
        catalogue = await read(self._registry.catalogue())
        series = await self._series_of(asked, catalogue)
        given = (asked.scope_value, asked.scope, asked.issue_date)
        values = values_of_document(series, *given)
        counter = counter_of(series, values)
        numbers = range(series.start, series.max_value + 1)[:PREVIEWED]
        following = list(numbers)
        if asked.template is None:
            following = await read(self._next(series, counter))
        texts = [render(series.format, values, number) for number in following]
        body: dict[str, Any] = {
            "document_type": series.document_type,
            "counter": counter,
            "numbers": texts,
            "sequence": following,
            "template": shown(series),
        }
        return json_answer({"success": True, "data": body})

    async def _next(self, series: Series, counter: str) -> list[int]:
        """Return the numbers that a counter gives next: its gaps first; none when it is closed.

        Raises StoreError.
        """
        keys = self._keys.counter(counter)
        snapshot = await self._store.read(Range(keys.head), keys.gaps(limit=PREVIEWED))
        head_found, gaps = snapshot.found
        head = heads.decode(head_found[0].value) if head_found else None
        if head and head.closed:
            return []
        first = head.next if head else series.start
        last = series.max_value
        if counter == INVOICE:
            last = min(last, self._invoices_max)
        fresh = range(first, last + 1)
        waiting = [number_in(kv.key) for kv in gaps]
        legal = [number for number in waiting if number <= last]
        return list(islice(chain(legal, fresh), PREVIEWED))

    async def _series_of(self, asked: PreviewBody, catalogue: Catalogue) -> Series:
        """Return the series that is meant, or the one that is tried out. Raises Problem."""
        document_type = asked.document_type
        if asked.template is None:
            if document_type is None:
                error = FieldError("document_type", "name a series, or try out a template")
                raise Problem(problems.MALFORMED, f"{error.field}: {error.message}.", (error,))
            try:
                return catalogue.of(document_type)
            except UnknownSeries:
                raise no_such_series(document_type) from None
        tried = asked.formatted(document_type or TRIED_OUT, asked.template, self._listed)
        try:
            await asyncio.to_thread(catalogue.check, tried)  # comparing takes a while
        except BadSeries as bad:
            errors = tuple(FieldError(*wrong) for wrong in bad.wrong)
            raise Problem(problems.BAD_SERIES, f"{bad}. Nothing was changed.", errors) from None
        return tried


def values_of_document(
    series: Series,
    scope_value: str | None,
    scope: dict[str, str],
    issue_date: str | None,
    *,
    of_scopes_only: bool = False,
    later_ms: int = 0,
) -> dict[str, str]:
    """Return the values of the template's tokens, or only as far as a counter needs them.

    Without an issue date the document is of now, or ``later_ms`` after it. Raises Problem.
    """
    find = scope_values_of if of_scopes_only else values_of
    try:
        month = month_of(issue_date, zone_of(series.time_zone), now_ms() + later_ms)
        return find(series, given_by(series, scope_value, scope), *month)
    except BadDate as bad:
        error = FieldError("issue_date", str(bad))
    except BadValue as bad:
        error = FieldError(bad.token or "scope", str(bad))
    except ValueError as unknown:
        error = FieldError("time_zone", str(unknown))
    raise Problem(problems.BAD_FORMAT, f"{error.field}: {error.message}.", (error,))


def counters_before(
    catalogue: Catalogue, series: Series, given: Said, *, of_scopes_only: bool = False
) -> dict[str, int | None]:
    """Return counters that the same words can have led to before, and where each of them starts.

    They did so under former definitions of the series, or without an issue date, when a period has
    just ended, or when it has begun by the clock of another node. The present one is left out.
    """
    former = [each for each in catalogue.former if each.document_type == series.document_type]
    day = datetime.fromtimestamp(now_ms() / 1000, UTC).day
    moments = (0,) if given[2] is not None or day in _INSIDE_A_MONTH else _MOMENTS_MS
    if not former and len(moments) == 1:  # as almost always
        return {}
    found: dict[str, int | None] = {}
    for each, later_ms in product((series, *former), moments):
        with suppress(Problem):  # of that definition they are no words
            of = values_of_document(each, *given, of_scopes_only=of_scopes_only, later_ms=later_ms)
            counter = counter_of(each, of)
            found[counter] = start_of(each, counter)
    with suppress(Problem):
        of = values_of_document(series, *given, of_scopes_only=of_scopes_only)
        del found[counter_of(series, of)]
    return found
