"""Reserve, confirm, cancel: document numbers over HTTP, in the names of the older system."""

import base64
import secrets
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson
from aiohttp import hdrs, web

from coordinator.api import problems
from coordinator.api.answers import iso, read
from coordinator.api.calls import Caller, Head, head_of
from coordinator.api.document_calls import DocumentCalls
from coordinator.api.document_inputs import CancelBody, ConfirmBody, ReserveBody
from coordinator.api.documents import PATH, Said, counters_before, values_of_document
from coordinator.api.express import Place
from coordinator.api.inputs import NUMBER_MAX, body_of, metadata_text, parsed
from coordinator.api.orders import Order, Placed, answer_of, answered
from coordinator.api.problems import Problem
from coordinator.core.catalogue import GapPolicy, Series
from coordinator.core.documents import counted_by, counter_of, start_of, type_of
from coordinator.core.records import How, Issued, Settled
from coordinator.core.requests import Call, Done, Reserve, Settle
from coordinator.core.templates import writing_of

SECRET_BYTES = 12


class Ticket(NamedTuple):
    """What a caller's token says: the counter, the number in it, and the secret of its holder."""

    counter: str
    number: int
    secret: str

    @property
    def token(self) -> str:
        """Return it as callers have it."""
        return base64.urlsafe_b64encode(orjson.dumps(tuple(self))).decode().rstrip("=")

    @classmethod
    def of(cls, token: str) -> "Ticket":
        """Return what a token says. Raises Problem for what is none."""
        try:
            padded = token + "=" * (-len(token) % 4)
            counter, number, secret = orjson.loads(base64.urlsafe_b64decode(padded))
            kinds = (type(counter), type(number), type(secret))
            is_whole = kinds == (str, int, str) and 0 < number <= NUMBER_MAX
            if is_whole and counted_by(counter):
                return cls(counter, number, secret)
        except (ValueError, TypeError):
            pass
        said = "This token is none of ours. Reserve a new number."
        raise Problem(problems.NO_RESERVATION, said)


class Reservations:
    """Handlers of reservations.

    Each call is one order, once its series is known. Where that is at hand, it needs no task.
    """

    def __init__(self, caller: Caller, calls: DocumentCalls) -> None:
        self._caller = caller
        self._calls = calls

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of these handlers."""
        return [
            web.post(f"{PATH}/reserve", self.reserve),
            web.post(f"{PATH}/confirm", self.confirm),
            web.post(f"{PATH}/cancel", self.cancel),
        ]

    def placed(self) -> dict[tuple[str, str], Place]:
        """Return what needs no task, by method and path."""
        return {
            (hdrs.METH_POST, f"{PATH}/reserve"): self.reserve_at_once,
            (hdrs.METH_POST, f"{PATH}/confirm"): self.confirm_at_once,
            (hdrs.METH_POST, f"{PATH}/cancel"): self.cancel_at_once,
        }

    async def reserve(self, request: web.Request) -> web.StreamResponse:
        """Keep the next number for the caller, for as long as its series says."""
        asked = await body_of(request, ReserveBody)
        series = await self._calls.series(asked.document_type)
        call = self._call(head_of(request), asked, series)
        if call.key is not None:  # the same words may have led elsewhere before
            catalogue = await read(self._calls.registry.recent())
            before = counters_before(catalogue, series, _given(asked))
            if served := await self._calls.served_before(request, call, before):
                counter, done = served
                return answer_of(done, _reserved(asked, counter, done), HTTPStatus.CREATED)
        return await answered(request, self._reservation(call, asked, series))

    def reserve_at_once(self, head: Head, body: bytes) -> Placed | None:
        """Reserve, where no read is needed first."""
        asked = parsed(body, ReserveBody)
        catalogue = self._calls.registry.at_hand
        series = self._calls.series_at_hand(asked.document_type)
        if catalogue is None or series is None:
            return None
        call = self._call(head, asked, series)
        if call.key is not None and counters_before(catalogue, series, _given(asked)):
            return None
        return self._reservation(call, asked, series).placed()

    def _call(self, head: Head, asked: ReserveBody, series: Series) -> Call:
        metadata = metadata_text(asked.metadata)
        payload = (asked.document_type, *_given(asked))
        kind = series.document_type
        return self._caller.call(head, "", "", kind, asked.requestId, payload, metadata)

    def _reservation(self, call: Call, asked: ReserveBody, series: Series) -> Order:
        values = values_of_document(series, *_given(asked))
        counter, secret = counter_of(series, values), secrets.token_urlsafe(SECRET_BYTES)
        writing = writing_of(series.format, tuple(values.items()))
        wanted = Reserve(call, writing, series.reservation_s, secret)
        sequencer = self._calls.sequencer(counter, wanted, start_of(series, counter))
        return Order(sequencer, wanted, partial(_reserved, asked, counter), HTTPStatus.CREATED)

    async def confirm(self, request: web.Request) -> web.StreamResponse:
        """Make a reserved number the caller's for good. Confirming again answers the same."""
        return await self._settle(request, await body_of(request, ConfirmBody))

    def confirm_at_once(self, head: Head, body: bytes) -> Placed | None:
        """Confirm, where no read is needed first."""
        return self._settle_at_once(head, parsed(body, ConfirmBody))

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """Give a reserved number up. Cancelling again answers the same."""
        return await self._settle(request, await body_of(request, CancelBody))

    def cancel_at_once(self, head: Head, body: bytes) -> Placed | None:
        """Cancel, where no read is needed first."""
        return self._settle_at_once(head, parsed(body, CancelBody))

    async def _settle(
        self, request: web.Request, asked: ConfirmBody | CancelBody
    ) -> web.StreamResponse:
        ticket = Ticket.of(asked.token)
        series = await self._calls.series(type_of(ticket.counter) or "")
        return await answered(request, self._settlement(head_of(request), asked, ticket, series))

    def _settle_at_once(self, head: Head, asked: ConfirmBody | CancelBody) -> Placed | None:
        ticket = Ticket.of(asked.token)
        series = self._calls.series_at_hand(type_of(ticket.counter) or "")
        if series is None:
            return None
        return self._settlement(head, asked, ticket, series).placed()

    def _settlement(
        self, head: Head, asked: ConfirmBody | CancelBody, ticket: Ticket, series: Series
    ) -> Order:
        how, tell, reason = How.CONFIRMED, _confirmed, ""
        if isinstance(asked, CancelBody):
            how, tell, reason = How.CANCELLED, _cancelled, asked.reason
        payload = (asked.token, how.value)
        call = self._caller.call(head, "", "", series.document_type, asked.requestId, payload)
        voids = series.gap_policy is GapPolicy.VOID
        wanted = Settle(call, ticket.number, ticket.secret, how, voids, reason)
        start = start_of(series, ticket.counter)
        return Order(self._calls.sequencer(ticket.counter, wanted, start), wanted, tell)


def _given(asked: ReserveBody) -> Said:
    return asked.scope_value, asked.scope, asked.issue_date


def _reserved(asked: ReserveBody, counter: str, done: Done) -> dict[str, Any]:
    record = done.record
    assert isinstance(record, Issued), "the digest of a key's payload holds the kind of call"  # noqa: S101
    assert record.held is not None, "a reservation was made"  # noqa: S101
    ticket = Ticket(counter, record.spans()[0].start, record.held.token)
    data = {
        "token": ticket.token,
        "document_number": record.held.text,
        "document_type": asked.document_type,
        "scope_value": asked.scope_value,
        "expires_at": iso(record.held.until_ms),
        "metadata": asked.metadata,
    }
    return {"success": True, "data": data}


def _confirmed(done: Done) -> dict[str, Any]:
    record = _settled_by(done)
    if record.how is not How.CONFIRMED:
        raise Problem(problems.NO_RESERVATION, f"{_ended(record, done)} Reserve a new number.")
    data = {"document_number": record.held.text, "confirmed_at": iso(done.entry.time_ms)}
    return {"success": True, "data": data}


def _cancelled(done: Done) -> dict[str, Any]:
    record = _settled_by(done)
    if record.how is How.CONFIRMED:
        raise Problem(problems.CONFIRMED, f"{_ended(record, done)} It can be voided only.")
    return {"success": True, "message": _ended(record, done)}


def _settled_by(done: Done) -> Settled:
    assert isinstance(done.record, Settled), "the payload holds the kind of call"  # noqa: S101
    return done.record


def _ended(record: Settled, done: Done) -> str:
    when = iso(done.entry.time_ms)
    return f"The reservation of {record.held.text} was {record.how.value} at {when}."
