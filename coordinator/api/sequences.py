"""Counters of documents and open reservations over HTTP: how full, how fast, held by whom."""

from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from aiohttp import web

from coordinator.api import problems
from coordinator.api.answers import iso, json_answer, read
from coordinator.api.document_inputs import ReservationsQuery, SequencesQuery
from coordinator.api.documents import PATH
from coordinator.api.gate import Gate, Width
from coordinator.api.problems import FieldError, Problem
from coordinator.api.templates import no_such_series
from coordinator.clock import now_ms
from coordinator.config import Settings
from coordinator.core import ledger
from coordinator.core.catalogue import Catalogue, Series, UnknownSeries
from coordinator.core.documents import INVOICE, counted_by, type_of, values_told
from coordinator.core.forecast import DAY_MS, WINDOW_DAYS, Used, forecast, percent_used
from coordinator.core.head import Head
from coordinator.core.keys import Keys
from coordinator.core.records import Issued
from coordinator.core.templates import BadValue, render
from coordinator.core.transaction import Range
from coordinator.document_counters import CounterFound, DocumentCounters, OpenHold, place_in_order
from coordinator.issue_dates import zone_of
from coordinator.registry import Registry
from coordinator.store import Store
from coordinator.usage import used_since

SEQUENCES = "/api/v1/admin/document-numbering/sequences"
ENTRIES_PER_READ = 16


class Sequences:
    """Handlers of what is counted and what is reserved."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        keys: Keys,
        registry: Registry,
        documents: DocumentCounters,
    ) -> None:
        self._invoices_max = settings.max_value
        self._store = store
        self._keys = keys
        self._registry = registry
        self._documents = documents
        self._gate = Gate(Width(at_once=2, waiting_max=64, within_s=settings.deadline_s))

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of these handlers."""
        return [
            web.get(SEQUENCES, self._gate.before(self.sequences)),
            web.get(f"{PATH}/reservations", self._gate.before(self.reservations)),
        ]

    async def sequences(self, request: web.Request) -> web.StreamResponse:
        """Return counters that have given out a number, by name; ``next_cursor`` None: no more."""
        asked = SequencesQuery.parse(request.rel_url)
        catalogue = await self._catalogue_with(asked.document_type)
        found = await read(
            self._documents.after(asked.cursor or "", asked.limit + 1, asked.document_type)
        )
        page, now = found[: asked.limit], now_ms()
        since_ms = now - WINDOW_DAYS * DAY_MS
        counters = [(self._keys.counter(each.name), each.head) for each in page]
        used = await read(used_since(self._store, counters, since_ms))
        rows = [
            _sequence(series, each, lately, now)
            for each, lately in zip(page, used, strict=True)
            if (series := self._series_of(each.name, catalogue))  # it may be new this second
        ]
        following = page[-1].name if len(found) > asked.limit else None
        data = {"sequences": rows, "next_cursor": following}
        return json_answer({"success": True, "data": data | {"timestamp": iso(now)}})

    async def reservations(self, request: web.Request) -> web.StreamResponse:
        """Return open reservations, the soonest deadline first.

        Without their tokens: who has the token may settle a reservation, so it is told to nobody
        but who made it. One that is forgotten ends at its deadline; a number that was confirmed by
        mistake can be voided.
        """
        asked = ReservationsQuery.parse(request.rel_url)
        await self._catalogue_with(asked.document_type)
        after = _order_in(asked.cursor)
        found = await read(self._documents.open_holds(asked.document_type))
        following = [each for each in found.holds if after is None or place_in_order(each) > after]
        page, now = following[: asked.limit], now_ms()
        who = await read(self._who_reserved(page))
        more = len(following) > asked.limit
        data = {
            "reservations": [_reservation(each, who.get(each), now) for each in page],
            "total": len(found.holds),
            "all_seen": found.all_seen,
            "next_cursor": _cursor_of(page[-1]) if more else None,
            "timestamp": iso(now),
        }
        return json_answer({"success": True, "data": data})

    def _series_of(self, counter: str, catalogue: Catalogue) -> Series | None:
        """Return the series of a counter; the count of invoices ends where the node's ends, too."""
        try:
            series = catalogue.of(type_of(counter) or "")
        except UnknownSeries:
            return None
        if counter != INVOICE:
            return series
        return replace(series, max_value=min(series.max_value, self._invoices_max))

    async def _catalogue_with(self, document_type: str | None) -> Catalogue:
        """Return all series, this one among them. Raises Problem."""
        catalogue = await read(self._registry.recent())
        known = {series.document_type for series in catalogue.series}
        if document_type is not None and document_type not in known:
            catalogue = await read(self._registry.catalogue())
            try:
                catalogue.of(document_type)
            except UnknownSeries:
                raise no_such_series(document_type) from None
        return catalogue

    async def _who_reserved(self, page: list[OpenHold]) -> dict[OpenHold, dict[str, Any]]:
        """Return by whom these were reserved. Raises StoreError or Unreadable."""
        who: dict[OpenHold, dict[str, Any]] = {}
        entries = sorted({(each.counter, each.hold.issued_in) for each in page})
        for at in range(0, len(entries), ENTRIES_PER_READ):
            some = entries[at : at + ENTRIES_PER_READ]
            ranges = (Range(self._keys.counter(name).entry(index)) for name, index in some)
            snapshot = await self._store.read(*ranges)
            for place, found in zip(some, snapshot.found, strict=True):
                made = _made_in(found[0].value) if found else {}
                for each in page:
                    if (each.counter, each.hold.issued_in) == place:
                        who[each] = made.get(each.hold.number, {})
        return who


def _made_in(content: bytes) -> dict[int, dict[str, Any]]:
    """Return who reserved which number in an entry."""
    entry = ledger.decode(content)
    return {
        record.spans()[0].start: {
            "reserved_at": iso(entry.time_ms),
            "user": record.cause.origin.user,
            "ip_address": record.cause.origin.address,
            "request_id": record.cause.correlation,
            "metadata": record.cause.metadata and orjson.Fragment(record.cause.metadata),
        }
        for record in entry.records
        if isinstance(record, Issued) and record.held
    }


def _reservation(each: OpenHold, who: dict[str, Any] | None, now: int) -> dict[str, Any]:
    counted, hold = counted_by(each.counter), each.hold
    unknown = dict.fromkeys(("reserved_at", "user", "ip_address", "request_id", "metadata"))
    return {
        "document_number": hold.held.text,
        "document_type": counted.document_type if counted else None,
        "scope": counted.scope if counted else {},
        "counter": each.counter,
        "sequence_value": hold.number,
        "expires_at": iso(hold.held.until_ms),
        "seconds_left": max(0, (hold.held.until_ms - now) / 1000),
        **unknown,
        **(who or {}),
    }


def _cursor_of(each: OpenHold) -> str:
    until_ms, counter, number = place_in_order(each)
    return f"{until_ms} {number} {counter}"


def _order_in(cursor: str | None) -> tuple[int, str, int] | None:
    """Return the place where a listing goes on. Raises Problem."""
    if cursor is None:
        return None
    until_ms, _, rest = cursor.partition(" ")
    number, _, counter = rest.partition(" ")
    if not (until_ms.isdecimal() and number.isdecimal() and counter):
        error = FieldError("cursor", "take next_cursor of the page before")
        raise Problem(problems.MALFORMED, f"cursor: {error.message}.", (error,))
    return int(until_ms), counter, int(number)


def _sequence(series: Series, found: CounterFound, used: Used, now: int) -> dict[str, Any]:
    counted, head = counted_by(found.name), found.head
    scope = counted.scope if counted else {}
    left = max(0, series.max_value - head.highest) + head.gaps
    ahead = forecast(used, left, now)
    is_closed = head.closed > 0
    out_ms = None if is_closed else ahead.out_ms
    return {
        "counter": found.name,
        "document_type": series.document_type,
        "scope": scope,
        "scope_value": ", ".join(scope.values()) or None,
        "current_value": head.highest,
        "document_number": _as_written(series, scope, head),
        "max_value": series.max_value,
        "utilization": _percent(percent_used(head.highest, head.start, series.max_value)),
        "left": left,
        "gaps": head.gaps,
        "open_reservations": head.held,
        "voided": head.void,
        "closed": is_closed,
        "last_used_at": iso(head.changed_ms) if head.changed_ms else None,
        "manual_override": series.manual_override,
        "per_day": round(ahead.per_day, 4),
        "observed_days": round(ahead.observed_days, 2),
        "window_days": WINDOW_DAYS,
        "runs_out_on": None if out_ms is None else _day(out_ms, series),
    }


def _percent(used: float) -> float:
    """Return a share as it is told: neither nothing nor all of a huge series by rounding."""
    rounded = round(used, 4)
    return rounded if 0 < rounded < 100 else used  # noqa: PLR2004


def _day(time_ms: int, series: Series) -> str:
    """Return the day in the zone of a series, as its issue dates are."""
    try:
        zone = zone_of(series.time_zone)
    except ValueError:  # the one who defined it knew it; this machine does not
        zone = ZoneInfo("UTC")
    return datetime.fromtimestamp(time_ms / 1000, zone).date().isoformat()


def _as_written(series: Series, scope: dict[str, str], head: Head) -> str | None:
    """Return how its series writes the last number today; None where the scopes do not tell."""
    try:
        return render(series.format, values_told(series, scope), head.highest)
    except (BadValue, ValueError):
        return None
