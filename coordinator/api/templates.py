"""Series of documents over HTTP: what is defined, by whom it was changed, and how numbers read."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web

from coordinator.api import problems
from coordinator.api.answers import iso, json_answer, read
from coordinator.api.calls import Caller, head_of
from coordinator.api.document_inputs import ChangedSeries, HistoryQuery, Listed, NewSeries
from coordinator.api.inputs import NothingQuery, body_of
from coordinator.api.orders import REPLAYED
from coordinator.api.problems import FieldError, Problem, one_line
from coordinator.clock import now_ms
from coordinator.config import Settings
from coordinator.core.catalogue import (
    BadSeries,
    Catalogue,
    Exists,
    Outdated,
    Series,
    UnknownSeries,
    Wrong,
)
from coordinator.core.requests import Call
from coordinator.issue_dates import zone_of
from coordinator.registry import Change, InDoubt, Registry
from coordinator.store import StoreError

ADMIN = "/api/v1/admin/document-numbering/templates"


TYPE = "document_type"


class _MadeBefore(Exception):
    """The idempotency key has made this version of the catalogue already."""

    def __init__(self, version: int) -> None:
        super().__init__(version)
        self.version = version


class Templates:
    """Handlers of the definitions."""

    def __init__(self, settings: Settings, caller: Caller, registry: Registry) -> None:
        self._listed = listed_in(settings)
        self._caller = caller
        self._registry = registry

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of these handlers."""
        return [
            web.get(ADMIN, self.all),
            web.post(ADMIN, self.create),
            web.get(f"{ADMIN}/{{{TYPE}}}", self.one),
            web.put(f"{ADMIN}/{{{TYPE}}}", self.change),
        ]

    async def all(self, request: web.Request) -> web.StreamResponse:
        """Return every series as it is now."""
        NothingQuery.parse(request.rel_url)
        catalogue = await read(self._registry.catalogue())
        body = {"templates": [shown(each) for each in catalogue.series]}
        return json_answer({"success": True, "data": body | {"version": catalogue.version}})

    async def one(self, request: web.Request) -> web.StreamResponse:
        """Return one series and its changes, newest first."""
        asked = HistoryQuery.parse(request.rel_url)
        document_type = request.match_info[TYPE]
        try:
            series = (await read(self._registry.catalogue())).of(document_type)
        except UnknownSeries:
            raise no_such_series(document_type) from None
        changes = await read(self._registry.changes_of(series.document_type, asked.limit))
        body = {"template": shown(series), "changes": [_told(change) for change in changes]}
        return json_answer({"success": True, "data": body})

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Define a new series."""
        asked = await body_of(request, NewSeries)
        series = asked.defined(asked.document_type, 1, self._listed)
        call = self._call(request, asked)
        answer = await self._change(
            call, series, asked.reason, lambda catalogue: catalogue.with_new(series, call.key)
        )
        answer.set_status(HTTPStatus.CREATED)
        return answer

    async def change(self, request: web.Request) -> web.StreamResponse:
        """Replace the definition of a series; the numbers that it has written stay as they are."""
        asked = await body_of(request, ChangedSeries)
        series = asked.defined(request.match_info[TYPE], asked.version, self._listed)
        call = self._call(request, asked)
        return await self._change(
            call, series, asked.reason, lambda catalogue: catalogue.with_changed(series, call.key)
        )

    def _call(self, request: web.Request, asked: NewSeries | ChangedSeries) -> Call:
        payload = asked.model_dump(exclude={"requestId"})  # the key, which may be a header instead
        return self._caller.call(head_of(request), "", "", None, asked.requestId, payload)

    async def _change(
        self, call: Call, series: Series, reason: str, alter: Callable[[Catalogue], Catalogue]
    ) -> web.StreamResponse:
        """Make a change once, or tell what it was. Raises Problem."""

        def decide(before: Catalogue) -> tuple[Catalogue, Change]:
            if call.key is not None and before.changed_by(call.key):
                raise _MadeBefore(before.changed_by(call.key))
            _check_zone(series)
            after = alter(before)
            defined = after.of(series.document_type)
            by, name = call.origin, call.correlation
            key, payload = call.key, call.payload
            change = Change(after.version, defined, by, name, now_ms(), reason, key, payload)
            return after, change

        try:
            made = await self._registry.change(decide)
        except _MadeBefore as before:
            return await self._replayed(call, before.version)
        except (BadSeries, Exists, Outdated, UnknownSeries) as refused:
            raise _problem_of(refused, series.document_type) from None
        except InDoubt as doubt:
            advice = "Repeat with the same idempotency key, or look at the list of templates."
            detail = f"It is not known whether the series was changed: {doubt}. {advice}"
            raise Problem(problems.OUTCOME_UNKNOWN, detail) from None
        except StoreError as down:
            detail = f"Nothing was changed: {down}. Try again, or ask another node."
            raise Problem(problems.STORE_UNAVAILABLE, detail) from None
        return json_answer({"success": True, "data": shown(made.series)})

    async def _replayed(self, call: Call, version: int) -> web.StreamResponse:
        made = await read(self._registry.change_to(version))
        if made.payload != call.payload:
            detail = f"Key {call.key!r} was used for another request. Use a new key for a new one."
            raise Problem(problems.KEY_REUSED, detail)
        answer = json_answer({"success": True, "data": shown(made.series)})
        answer.headers[REPLAYED] = "true"
        return answer


def listed_in(settings: Settings) -> Listed:
    """Return the values of tokens that the installation's settings list."""
    return {"SITE": settings.sites, "PARTITION": settings.partitions}


def shown(series: Series) -> dict[str, Any]:
    """Return a definition in the names of the older system."""
    return {
        "document_type": series.document_type,
        "version": series.version,
        "template": series.template,
        "prefix": series.prefix,
        "scopes": [scope.value for scope in series.scopes] or ["GLOBAL"],
        "start": series.start,
        "max_value": series.max_value,
        "gap_policy": series.gap_policy.value,
        "allow_manual_override": series.manual_override,
        "reservation_s": series.reservation_s,
        "time_zone": series.time_zone,
        "fiscal_month": series.fiscal_month,
        "tokens": dict(series.tokens),
        "metadata": None if series.metadata is None else orjson.Fragment(series.metadata),
    }


def _told(change: Change) -> dict[str, Any]:
    return {
        "version": change.series.version,
        "template": shown(change.series),
        "reason": change.reason,
        "user": change.by.user,
        "ip_address": change.by.address,
        "user_agent": change.by.user_agent,
        "request_id": change.correlation,
        "timestamp": iso(change.time_ms),
    }


def _check_zone(series: Series) -> None:
    try:
        zone_of(series.time_zone)
    except ValueError as unknown:
        raise BadSeries(Wrong("time_zone", str(unknown))) from None


def _problem_of(refused: Exception, document_type: str) -> Problem:
    match refused:
        case BadSeries():
            errors = tuple(FieldError(*wrong) for wrong in refused.wrong)
            return Problem(problems.BAD_SERIES, f"{refused}. Nothing was changed.", errors)
        case Exists():
            said = f"There is a series {document_type} already; change it by PUT, or name another."
            return Problem(problems.SERIES_EXISTS, said)
        case Outdated():
            said = f"Series {document_type} is at version {refused} by now. Read it, then decide."
            return Problem(problems.SERIES_CHANGED, said)
        case _:
            return no_such_series(document_type)


def no_such_series(document_type: str) -> Problem:
    """Return the problem of a document type that nobody has defined."""
    shown_type = one_line(document_type[:100])
    said = f"No series {shown_type!r} is defined; GET {ADMIN} lists those that are."
    return Problem(problems.UNKNOWN_NAME, said)
