"""The calls that change a counter: next, release, reset."""

from functools import lru_cache
from typing import Any

import orjson
from aiohttp import web
from yarl import URL

from coordinator.api import problems
from coordinator.api.answers import iso, json_answer
from coordinator.api.calls import REPLAYED, Caller, not_done, serve
from coordinator.api.inputs import (
    NextBody,
    NextQuery,
    NothingQuery,
    ReleaseBody,
    ResetBody,
    body_of,
    metadata_text,
)
from coordinator.api.problems import Problem
from coordinator.config import Profile, Settings
from coordinator.core.records import Issued, Origin
from coordinator.core.requests import Done, Issue, Release, Request, Reset
from coordinator.core.series import counter_name, counter_names
from coordinator.counters import Counters
from coordinator.jobs.membership import Membership


class SequenceApi:
    """Handlers of the calls that change something."""

    def __init__(
        self, settings: Settings, caller: Caller, counters: Counters, membership: Membership
    ) -> None:
        self._settings = settings
        self._caller = caller
        self._counters = counters
        self._membership = membership
        # Billing sites ask the same few questions all day: each is parsed and checked once.
        self._asked_before = lru_cache(maxsize=1024)(self._parse_next)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of these handlers."""
        root = "/api/v1/sequence"
        return [
            web.get(f"{root}/next", self.next_by_query, allow_head=False),
            web.post(f"{root}/next", self.next_by_body),
            web.post(f"{root}/release", self.release),
            web.post(f"{root}/reset", self.reset),
        ]

    async def next_by_query(self, request: web.Request) -> web.StreamResponse:
        """Allocate the next numbers; all is in the query."""
        asked = self._asked_before(request.rel_url.raw_query_string)
        return await self._next(request, asked, None)

    def _parse_next(self, raw_query: str) -> NextQuery:
        asked = NextQuery.parse(URL.build(query_string=raw_query, encoded=True))
        self._caller.check_names(asked.siteId, asked.partitionId, asked.invoiceType)
        return asked

    async def next_by_body(self, request: web.Request) -> web.StreamResponse:
        """Allocate the next numbers; all is in the body."""
        asked = await body_of(request, NextBody)
        self._caller.check_names(asked.siteId, asked.partitionId, asked.invoiceType)
        return await self._next(request, asked, metadata_text(asked.metadata))

    async def _next(
        self, request: web.Request, asked: NextQuery | NextBody, metadata: str | None
    ) -> web.StreamResponse:
        call = self._caller.call(
            request,
            asked.siteId,
            asked.partitionId,
            asked.invoiceType,
            asked.requestId,
            asked.count,
            metadata,
        )
        at_once = self._settings.release_suppressed and asked.invoiceType == "suppressed"
        counter = self._counter_of(call.origin)
        answer = await self._submit(request, counter, Issue(call, asked.count, at_once))
        compact = isinstance(asked, NextBody) and asked.compact
        return self._answer(answer, self._issued(answer, compact=compact))

    async def release(self, request: web.Request) -> web.StreamResponse:
        """Take a number back."""
        asked = await body_of(request, ReleaseBody)
        self._caller.check_names(asked.siteId, asked.partitionId)
        payload = (asked.sequenceNumber, asked.reason)
        call = self._caller.call(
            request, asked.siteId, asked.partitionId, None, asked.requestId, payload
        )
        counter = self._counter_of(call.origin)
        taking_back = Release(call, asked.sequenceNumber, asked.reason)
        answer = await self._submit(request, counter, taking_back)
        return self._answer(
            answer,
            {
                "success": True,
                "sequenceNumber": asked.sequenceNumber,
                "message": f"Number {asked.sequenceNumber} is released and will be issued again.",
                "timestamp": iso(answer.entry.time_ms),
            },
        )

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
        call = self._caller.call(request, "", "", None, asked.requestId)
        answers: list[Done] = []
        for name in names:
            try:
                answers.append(await self._submit(request, name, Reset(call)))
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
        return self._answer(answer, body)

    def _counter_of(self, origin: Origin) -> str:
        settings = self._settings
        return counter_name(settings.series, settings.strategy, origin.site, origin.partition)

    async def _submit(self, http: web.Request, counter: str, request: Request) -> Done:
        if self._membership.trouble:
            detail = not_done(request.call, self._membership.trouble, "Ask another node.")
            raise Problem(problems.STORE_UNAVAILABLE, detail)
        return await serve(self._counters.sequencer(counter), request, http.transport)

    def _issued(self, answer: Done, *, compact: bool) -> dict[str, Any]:
        entry, record = answer.entry, answer.record
        assert isinstance(record, Issued), "the digest of a key's payload holds the kind of call"  # noqa: S101
        cause, spans = record.cause, record.spans()
        if compact:
            which: dict[str, Any] = {"sequenceRanges": [[s.start, s.stop - 1] for s in spans]}
        else:
            which = {"sequenceNumbers": record.numbers()}
        origin, part = cause.origin, entry.part_of(record)
        return {
            **which,
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
            "strategy": self._settings.strategy.value,
            "metadata": None if cause.metadata is None else orjson.Fragment(cause.metadata),
            "firstSequenceNumber": spans[0].start,
            "sequenceCount": record.quantity,
        }

    def _answer(self, answer: Done, body: dict[str, Any]) -> web.StreamResponse:
        response = json_answer(body)
        if answer.replayed:
            response.headers[REPLAYED] = "true"
        return response


def _done_in_part(done: list[Done], names: tuple[str, ...], refused: Problem) -> Problem:
    """Return what to say when a reset of several counters was refused at one of them."""
    if not done:
        return refused
    so_far = f"{len(done)} of {len(names)} counters were reset, then: {refused.detail}"
    if refused.kind.retry_after_s:
        advice = "Repeat with the same idempotency key to have the others reset too."
        return Problem(problems.OUTCOME_UNKNOWN, f"{so_far} {advice}")
    return Problem(refused.kind, f"{so_far} The others were not.")
