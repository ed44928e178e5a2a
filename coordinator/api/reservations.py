"""Reserve, confirm, cancel: document numbers over HTTP, in the names of the older system."""

import base64
import secrets
from http import HTTPStatus
from typing import NamedTuple

import orjson
from aiohttp import web

from coordinator.api import problems
from coordinator.api.answers import iso, read
from coordinator.api.calls import Caller, answer_of, head_of
from coordinator.api.document_calls import DocumentCalls
from coordinator.api.document_inputs import CancelBody, ConfirmBody, ReserveBody
from coordinator.api.documents import PATH, Said, counters_before, values_of_document
from coordinator.api.inputs import NUMBER_MAX, body_of, metadata_text
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
    """Handlers of reservations."""

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

    async def reserve(self, request: web.Request) -> web.StreamResponse:
        """Keep the next number for the caller, for as long as its series says."""
        asked = await body_of(request, ReserveBody)
        metadata = metadata_text(asked.metadata)
        series = await self._calls.series(asked.document_type)
        given = (asked.scope_value, asked.scope, asked.issue_date)
        payload = (asked.document_type, *given)
        call = self._caller.call(
            head_of(request), "", "", series.document_type, asked.requestId, payload, metadata
        )
        counter, done = await self._reserved(request, call, series, given)
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
        return answer_of(done, {"success": True, "data": data}, HTTPStatus.CREATED)

    async def _reserved(
        self, request: web.Request, call: Call, series: Series, given: Said
    ) -> tuple[str, Done]:
        """Reserve once for the key of a call, also when its words led elsewhere before."""
        if call.key is not None:
            catalogue = await read(self._calls.registry.recent())
            before = counters_before(catalogue, series, given)
            if done := await self._calls.served_before(request, call, before):
                return done
        values = values_of_document(series, *given)
        counter, secret = counter_of(series, values), secrets.token_urlsafe(SECRET_BYTES)
        writing = writing_of(series.format, tuple(values.items()))
        wanted = Reserve(call, writing, series.reservation_s, secret)
        done_now = await self._calls.serve(request, counter, wanted, start_of(series, counter))
        return counter, done_now

    async def confirm(self, request: web.Request) -> web.StreamResponse:
        """Make a reserved number the caller's for good. Confirming again answers the same."""
        asked = await body_of(request, ConfirmBody)
        done, record = await self._settle(request, asked, How.CONFIRMED, "")
        if record.how is not How.CONFIRMED:
            raise Problem(problems.NO_RESERVATION, f"{_ended(record, done)} Reserve a new number.")
        data = {"document_number": record.held.text, "confirmed_at": iso(done.entry.time_ms)}
        return answer_of(done, {"success": True, "data": data})

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """Give a reserved number up. Cancelling again answers the same."""
        asked = await body_of(request, CancelBody)
        done, record = await self._settle(request, asked, How.CANCELLED, asked.reason)
        if record.how is How.CONFIRMED:
            raise Problem(problems.CONFIRMED, f"{_ended(record, done)} It can be voided only.")
        return answer_of(done, {"success": True, "message": _ended(record, done)})

    async def _settle(
        self, request: web.Request, asked: ConfirmBody, how: How, reason: str
    ) -> tuple[Done, Settled]:
        ticket = Ticket.of(asked.token)
        series = await self._calls.series(type_of(ticket.counter) or "")
        payload = (asked.token, how.value)
        call = self._caller.call(
            head_of(request), "", "", series.document_type, asked.requestId, payload
        )
        voids = series.gap_policy is GapPolicy.VOID
        wanted = Settle(call, ticket.number, ticket.secret, how, voids, reason)
        start = start_of(series, ticket.counter)
        done = await self._calls.serve(request, ticket.counter, wanted, start)
        assert isinstance(done.record, Settled), "the payload holds the kind of call"  # noqa: S101
        return done, done.record


def _ended(record: Settled, done: Done) -> str:
    when = iso(done.entry.time_ms)
    return f"The reservation of {record.held.text} was {record.how.value} at {when}."
