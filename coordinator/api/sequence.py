"""The calls that change a counter: next, release, reset."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import orjson
from aiohttp import hdrs, web
from yarl import URL

from coordinator.api import problems
from coordinator.api.answers import iso
from coordinator.api.calls import Caller, Head, head_of
from coordinator.api.inputs import (
    NextBody,
    NextQuery,
    NothingQuery,
    ReleaseBody,
    ResetBody,
    body_of,
    metadata_text,
    parsed,
)
from coordinator.api.orders import Order, OrderOf, answer_of, handler_of, not_done, serve
from coordinator.api.problems import Problem
from coordinator.config import Profile, Settings
from coordinator.core.records import Issued, Origin, Released
from coordinator.core.requests import Call, Done, Issue, Release, Reset
from coordinator.core.series import counter_name, counter_names
from coordinator.counters import Counters
from coordinator.jobs.membership import Membership
from coordinator.sequencer import Sequencer

_ROOT = "/api/v1/sequence"


class SequenceApi:
    """Handlers of the calls that change something."""

    def __init__(
        self, settings: Settings, caller: Caller, counters: Counters, membership: Membership
    ) -> None:
        self._settings = settings
        self._strategy = settings.strategy.value
        self._caller = caller
        self._counters = counters
        self._membership = membership
        # Billing sites ask the same few questions all day: each is parsed and checked once.
        self._asked_before = lru_cache(maxsize=1024)(self._parse_next)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of these handlers."""
        orders = self.orders().items()
        return [
            *(web.route(method, path, handler_of(order_of)) for (method, path), order_of in orders),
            web.post(f"{_ROOT}/reset", self.reset),
        ]

    def orders(self) -> dict[tuple[str, str], OrderOf]:
        """Return the calls that are one order each, by method and path."""
        return {
            (hdrs.METH_GET, f"{_ROOT}/next"): self.next_by_query,
            (hdrs.METH_POST, f"{_ROOT}/next"): self.next_by_body,
            (hdrs.METH_POST, f"{_ROOT}/release"): self.release,
        }

    def next_by_query(self, head: Head, _: bytes) -> Order:
        """Allocate the next numbers; all is in the query."""
        return self._next(head, self._asked_before(head.query), None, self._issued)

    def _parse_next(self, raw_query: str) -> NextQuery:
        asked = NextQuery.parse(URL.build(query_string=raw_query, encoded=True))
        self._caller.check_names(asked.siteId, asked.partitionId, asked.invoiceType)
        return asked

    def next_by_body(self, head: Head, body: bytes) -> Order:
        """Allocate the next numbers; all is in the body."""
        asked = parsed(body, NextBody)
        self._caller.check_names(asked.siteId, asked.partitionId, asked.invoiceType)
        tell = partial(self._issued, compact=asked.compact)
        return self._next(head, asked, metadata_text(asked.metadata), tell)

    def _next(
        self,
        head: Head,
        asked: NextQuery | NextBody,
        metadata: str | None,
        tell: Callable[[Done], dict[str, Any]],
    ) -> Order:
        site, invoice_type, quantity = asked.siteId, asked.invoiceType, asked.count
        call = self._caller.call(
            *(head, site, asked.partitionId, invoice_type), asked.requestId, quantity, metadata
        )
        at_once = self._settings.release_suppressed and invoice_type == "suppressed"
        request = Issue(call, quantity, at_once)
        return Order(self._sequencer(self._counter_of(call.origin), call), request, tell)

    def release(self, head: Head, body: bytes) -> Order:
        """Take a number back."""
        asked = parsed(body, ReleaseBody)
        self._caller.check_names(asked.siteId, asked.partitionId)
        payload = (asked.sequenceNumber, asked.reason)
        call = self._caller.call(
            head, asked.siteId, asked.partitionId, None, asked.requestId, payload
        )
        request = Release(call, asked.sequenceNumber, asked.reason)
        return Order(self._sequencer(self._counter_of(call.origin), call), request, _released)

    async def reset(self, request: web.Request) -> web.StreamResponse:
        """Start every counter anew; in the demonstration profile only."""
        settings = self._settings
        NothingQuery.parse(request.rel_url)
        if settings.profile is not Profile.DEMONSTRATION:
            detail = "A reset is allowed in the demonstration profile only. Nothing was changed."
            raise Problem(problems.FORBIDDEN, detail)
        names = counter_names(
            settings.series, settings.strategy, settings.sites, settings.partitions
        )
        asked = await body_of(request, ResetBody) if request.can_read_body else ResetBody()
        # A reset is nobody's in particular: it names no site, partition or type.
        call = self._caller.call(head_of(request), "", "", None, asked.requestId)
        answers: list[Done] = []
        for name in names:
            try:
                sequencer = self._sequencer(name, call)
                answers.append(await serve(sequencer, Reset(call), request.transport))
            except Problem as refused:
                raise _done_in_part(answers, names, refused) from None
        if not answers:
            raise Problem(problems.INTERNAL, "No counter is configured.")
        answer = answers[-1]
        body = {
            "success": True,
            "message": f"The count starts again at {settings.first_number}.",
            "timestamp": iso(answer.entry.time_ms),
        }
        return answer_of(answer, body)

    def _counter_of(self, origin: Origin) -> str:
        settings = self._settings
        return counter_name(settings.series, settings.strategy, origin.site, origin.partition)

    def _sequencer(self, counter: str, call: Call) -> Sequencer:
        if self._membership.trouble:
            detail = not_done(call, self._membership.trouble, "Ask another node.")
            raise Problem(problems.STORE_UNAVAILABLE, detail)
        return self._counters.sequencer(counter)

    def _issued(self, answer: Done, *, compact: bool = False) -> dict[str, Any]:
        entry, record = answer.entry, _issued_by(answer)
        cause, spans = record.cause, record.spans()
        origin, part = cause.origin, entry.part_of(record)
        which: list[Any]
        if compact:
            name, which = "sequenceRanges", [[span.start, span.stop - 1] for span in spans]
        else:
            name, which = "sequenceNumbers", [number for span in spans for number in span]
        return {
            name: which,
            "success": True,
            "error": None,
            "gapFilled": bool(record.reused),
            "globalCounter": record.first + record.fresh - 1,
            "timestamp": iso(entry.time_ms),
            "nodeId": part.node,
            "instanceId": part.instance,
            "siteId": origin.site,
            "partitionId": origin.partition,
            "invoiceType": origin.invoice_type,
            "requestId": cause.key or cause.correlation,
            "processingTimeMs": cause.waited_us / 1000,
            "strategy": self._strategy,
            "metadata": None if cause.metadata is None else orjson.Fragment(cause.metadata),
            "firstSequenceNumber": spans[0].start,
            "sequenceCount": record.quantity,
        }


def _issued_by(answer: Done) -> Issued:
    assert isinstance(answer.record, Issued), "the digest of a key's payload holds the kind of call"  # noqa: S101
    return answer.record


def _released(answer: Done) -> dict[str, Any]:
    record = answer.record
    assert isinstance(record, Released), "the digest of a key's payload holds the kind of call"  # noqa: S101
    return {
        "success": True,
        "sequenceNumber": record.number,
        "message": f"Number {record.number} is released and will be issued again.",
        "timestamp": iso(answer.entry.time_ms),
    }


def _done_in_part(done: list[Done], names: tuple[str, ...], refused: Problem) -> Problem:
    """Return what to say when a reset of several counters was refused at one of them."""
    if not done:
        return refused
    so_far = f"{len(done)} of {len(names)} counters were reset, then: {refused.detail}"
    if refused.kind.retry_after_s:
        advice = "Repeat with the same idempotency key to have the others reset too."
        return Problem(problems.OUTCOME_UNKNOWN, f"{so_far} {advice}")
    return Problem(refused.kind, f"{so_far} The others were not.")
