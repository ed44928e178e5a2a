"""What operators do to document numbers over HTTP: name one, void and replace, adjust, close."""

from http import HTTPStatus
from typing import Any

from aiohttp import web

from coordinator.api import closing, problems
from coordinator.api.answers import iso, read
from coordinator.api.calls import Caller, head_of
from coordinator.api.document_calls import DocumentCalls, series_in
from coordinator.api.documents import Said, counters_before, values_of_document
from coordinator.api.inputs import body_of
from coordinator.api.operator_inputs import AdjustBody, CloseBody, OverrideBody, VoidBody
from coordinator.api.operator_refusals import (
    already_closed,
    not_given_out,
    not_voided,
    reads_like_none,
    reads_otherwise,
    void_since,
)
from coordinator.api.orders import answer_of, done_of
from coordinator.api.problems import FieldError, Problem
from coordinator.core.catalogue import Catalogue, Series
from coordinator.core.documents import INVOICE, Place, counter_of, place_in, place_of, start_of
from coordinator.core.keys import Keys
from coordinator.core.records import Closed, Given, Issued, Passed, Voided, passed_with
from coordinator.core.requests import Adjust, Assign, Call, Close, Done, Refused, Void, Why
from coordinator.core.templates import PERIOD_OF, BadValue, Writing, render, writing_of
from coordinator.faults import CANNOT_READ
from coordinator.history import History
from coordinator.store import Store

ADMIN = "/api/v1/admin/document-numbering"


class Operators:
    """Handlers of what operators decide; the ledger notes who did and why."""

    def __init__(self, caller: Caller, calls: DocumentCalls, store: Store, keys: Keys) -> None:
        self._caller = caller
        self._calls = calls
        self._store = store
        self._keys = keys

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of these handlers."""
        return [
            web.post(f"{ADMIN}/manual-override", self.override),
            web.post(f"{ADMIN}/void-and-replace", self.void),
            web.post(f"{ADMIN}/sequences/adjust", self.adjust),
            web.post(f"{ADMIN}/sequences/close", self.close),
        ]

    async def override(self, request: web.Request) -> web.StreamResponse:
        """Give out the number that the caller names, which is checked whatever the caller says."""
        asked = await body_of(request, OverrideBody)
        catalogue = await read(self._calls.registry.catalogue())
        series = series_in(catalogue, asked.document_type)
        call = self._call(request, series, asked)
        text, bounds = asked.document_number, (series.max_value, asked.pass_over_max)
        place = place_in(series, text)
        if place is None:
            elsewhere = place_of(catalogue, text)
            barred = reads_otherwise(series, text, elsewhere)
            done = await self._made_before(request, call, asked, elsewhere, barred)
        elif not series.manual_override:
            said = (
                f"Series {series.document_type} does not allow it. Reserve a number, or let the "
                "series allow it: PUT its template with allow_manual_override."
            )
            barred = Problem(problems.NO_OVERRIDE, said)
            done = await self._made_before(request, call, asked, place, barred)
        else:
            wanted = Assign(call, place.number, text, asked.reason, *bounds)
            answer = await self._calls.ask(
                request, place.counter, wanted, start_of(series, place.counter)
            )
            if isinstance(answer, Refused):
                raise not_given_out(answer, text, place)
            done = answer
        return answer_of(done, _told(asked.document_type, done), HTTPStatus.CREATED)

    async def _made_before(
        self,
        request: web.Request,
        call: Call,
        asked: OverrideBody,
        place: Place | None,
        barred: Problem,
    ) -> Done:
        """Return what this key has done before the series was changed. Raises Problem.

        A request that can do nothing new is asked for: no number is as low as its bound.
        """
        if call.key is None or place is None or place.series.document_type != asked.document_type:
            raise barred
        wanted = Assign(call, place.number, asked.document_number, asked.reason, 0)
        start = start_of(place.series, place.counter)
        answer = await self._calls.ask(request, place.counter, wanted, start)
        if isinstance(answer, Refused) and answer.why is not Why.KEY_REUSED:
            raise barred
        return done_of(answer)

    async def void(self, request: web.Request) -> web.StreamResponse:
        """Make a number void, and put the next one in its place unless that is not wanted."""
        asked = await body_of(request, VoidBody)
        catalogue = await read(self._calls.registry.catalogue())
        text = asked.document_number
        place = place_of(catalogue, text)
        if place is None:
            raise reads_like_none(text)
        call = self._call(request, place.series, asked)
        replacement = _replacement(catalogue, place) if asked.replace else None
        wanted = Void(call, place.number, text, asked.reason, replacement)
        start = start_of(place.series, place.counter)
        done = await self._calls.ask(request, place.counter, wanted, start)
        if isinstance(done, Refused):
            if done.why is Why.VOID:
                raise await self._void_already(place, text)
            raise not_voided(done, text, replaces=asked.replace)
        record = done.record
        assert isinstance(record, Voided), "the digest of a key's payload holds the kind of call"  # noqa: S101
        other = next(filter(None, (_given_for(r, record.number) for r in done.entry.records)), None)
        voided = {
            "document_number": record.text,
            "document_type": place.series.document_type,
            "number": record.number,
            "reason": record.reason,
            "replaced_by": other[1].text if other else None,
            "voided_at": iso(done.entry.time_ms),
            "user": record.cause.origin.user,
        }
        replaced = None
        if other is not None:
            replaced = {
                "document_number": other[1].text,
                "document_type": place.series.document_type,
                "number": other[0],
                "replaces": record.text,
            }
        told = {"voided": voided, "replacement": replaced}
        return answer_of(done, {"success": True, **told, "data": told})

    async def _void_already(self, place: Place, text: str) -> Problem:
        try:
            life = await self._history(place.counter).life(place.number)
        except CANNOT_READ:
            return void_since(text, None)
        return void_since(text, life.events[-1] if life.events else None)

    async def adjust(self, request: web.Request) -> web.StreamResponse:
        """Let the count go on with a higher number; those passed over are void."""
        asked = await body_of(request, AdjustBody)
        series, call, earlier = await self._begun(request, asked)
        if earlier is None:
            counter = _counter(series, asked)
            bounds = (series.max_value, asked.pass_over_max)
            wanted = Adjust(call, asked.next, asked.reason, *bounds)
            done = await self._calls.serve(request, counter, wanted, start_of(series, counter))
        else:
            counter, done = earlier
        record = done.record
        assert isinstance(record, Passed), "the digest of a key's payload holds the kind of call"  # noqa: S101
        following = record.first + record.quantity
        data = {
            "document_type": series.document_type,
            "counter": counter,
            "next_value": following,
            "current_value": following - 1,
            "passed_over": _run(record),
            "reason": record.reason,
            "adjusted_at": iso(done.entry.time_ms),
            "user": record.cause.origin.user,
        }
        return answer_of(done, {"success": True, "data": data})

    async def close(self, request: web.Request) -> web.StreamResponse:
        """End a count for good, and tell what its numbers came to."""
        asked = await body_of(request, CloseBody)
        series, call, earlier = await self._begun(request, asked)
        counter, done = earlier or await self._closed(request, series, asked, call)
        record = done.record
        assert isinstance(record, Closed), "the digest of a key's payload holds the kind of call"  # noqa: S101
        data = {
            "document_type": series.document_type,
            "counter": counter,
            "reason": record.reason,
            "closed_at": iso(done.entry.time_ms),
            "user": record.cause.origin.user,
            "report": await self._report(counter, done.entry.index),
        }
        return answer_of(done, {"success": True, "data": data})

    async def _report(self, counter: str, closed: int) -> dict[str, Any] | None:
        """Return what the numbers came to; None while that cannot be read: it is closed anyway."""
        try:
            return await closing.report(self._store, self._keys.counter(counter), closed)
        except CANNOT_READ:
            return None

    async def _closed_already(self, counter: str) -> Problem:
        history = self._history(counter)
        try:
            head = await history.head()
            (entry,) = await history.entries((head.closed if head else 0,))
        except CANNOT_READ:
            return already_closed(counter, None)
        return already_closed(counter, entry)

    async def _closed(
        self, request: web.Request, series: Series, asked: CloseBody, call: Call
    ) -> tuple[str, Done]:
        """Close the counter that is meant. Raises Problem."""
        _check_period_named(series, asked)
        counter = _counter(series, asked)
        if counter == INVOICE:
            said = "The count of invoices has no period that ends: it cannot be closed."
            raise Problem(problems.ENDLESS, said)
        wanted = Close(call, asked.reason)
        done = await self._calls.ask(request, counter, wanted, start_of(series, counter))
        if isinstance(done, Refused) and done.why is Why.CLOSED:
            raise await self._closed_already(counter)
        return counter, done_of(done)

    async def _begun(
        self, request: web.Request, asked: CloseBody
    ) -> tuple[Series, Call, tuple[str, Done] | None]:
        """Return the series that is meant, and what the key has done where its words led before.

        Raises Problem.
        """
        catalogue = await read(self._calls.registry.catalogue())
        series = series_in(catalogue, asked.document_type)
        call = self._call(request, series, asked)
        if call.key is None:
            return series, call, None
        before = counters_before(catalogue, series, _given(asked), of_scopes_only=True)
        return series, call, await self._calls.served_before(request, call, before)

    def _call(
        self, request: web.Request, series: Series, asked: OverrideBody | VoidBody | CloseBody
    ) -> Call:
        payload = asked.model_dump(exclude={"requestId"})
        key = asked.requestId
        return self._caller.call(head_of(request), "", "", series.document_type, key, payload)

    def _history(self, counter: str) -> History:
        return History(self._store, self._keys.counter(counter))


def _given(asked: CloseBody) -> Said:
    return asked.scope_value, asked.scope, asked.issue_date


def _counter(series: Series, asked: CloseBody) -> str:
    """Return the counter that is meant. Raises Problem."""
    return counter_of(series, values_of_document(series, *_given(asked), of_scopes_only=True))


def _check_period_named(series: Series, asked: CloseBody) -> None:
    """Raise Problem when a period would be taken from the clock: closing is for good."""
    if asked.issue_date is None and any(scope in PERIOD_OF for scope in series.scopes):
        error = FieldError("issue_date", "say which period is to be closed, by any day of it")
        raise Problem(problems.BAD_FORMAT, f"{error.field}: {error.message}.", (error,))


def _replacement(catalogue: Catalogue, place: Place) -> Writing:
    """Return how the number is written that takes the place of another, in the same counter.

    As the series is defined now, if what the other number says is enough for that; else as that
    number is.
    """
    values, now = place.values, catalogue.of(place.series.document_type)
    same_count = now.scopes == place.series.scopes and counter_of(now, values) == place.counter
    series = now if same_count and _writes(now, values) else place.series
    return writing_of(series.format, tuple(values.items()))


def _writes(series: Series, values: dict[str, str]) -> bool:
    try:
        render(series.format, values, series.max_value)
    except BadValue:
        return False
    return True


def _given_for(record: object, number: int) -> tuple[int, Given] | None:
    """Return the number that was given out in the place of another, and how."""
    match record:
        case Issued(given=Given(replaces=replaces) as given) if replaces == number:
            return record.spans()[0].start, given
    return None


def _told(document_type: str, done: Done) -> dict[str, Any]:
    record = done.record
    assert isinstance(record, Issued), "the digest of a key's payload holds the kind of call"  # noqa: S101
    assert record.given is not None, "an operator named it"  # noqa: S101
    passed = passed_with(done.entry, record)
    data = {
        "document_number": record.given.text,
        "document_type": document_type,
        "number": record.first,
        "reason": record.given.reason,
        "passed_over": None if passed is None else _run(passed),
        "validated": True,
        "issued_at": iso(done.entry.time_ms),
        "user": record.cause.origin.user,
    }
    return {"success": True, "data": data}


def _run(passed: Passed) -> dict[str, int]:
    first, count = passed.first, passed.quantity
    return {"first": first, "last": first + count - 1, "count": count}
