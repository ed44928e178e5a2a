"""Between nodes: a batch handed in by another node, while this one has the counter's turn.

Only who can read the store knows the token. What such a node says of its callers is believed.
"""

import asyncio
import hmac
from typing import NamedTuple
from urllib.parse import unquote

from aiohttp import hdrs, web
from multidict import CIMultiDictProxy

from coordinator.api import problems
from coordinator.api.answers import JsonAnswer, Told
from coordinator.api.calls import Head
from coordinator.api.express import Place
from coordinator.api.problems import Problem
from coordinator.clock import now
from coordinator.core import forwarding
from coordinator.core.catalogue import UnknownSeries
from coordinator.core.documents import is_of_documents, start_of, type_of
from coordinator.core.forwarding import Forward, Report
from coordinator.core.unreadable import Unreadable
from coordinator.counters import Counters
from coordinator.peers import PATH
from coordinator.registry import Registry
from coordinator.service import NotServed, OutcomeUnknown
from coordinator.store import StoreError

BYTES_MAX = 8 * 1024 * 1024
"""``forwarding.ASKS_MAX`` requests with the largest metadata, and some room."""

BODY_WITHIN_S = 2.0
BYTES = "application/octet-stream"


class TurnApi:
    """The handler for other nodes.

    ``names`` are the counters of the sequence API, ``registry`` knows the series of all others.
    """

    def __init__(
        self, token: str, names: tuple[str, ...], counters: Counters, registry: Registry
    ) -> None:
        self._bearer = f"Bearer {token}".encode()
        self._names = frozenset(names)
        self._counters = counters
        self._registry = registry

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of this handler."""
        return [web.post(PATH, self.take_in)]

    async def take_in(self, request: web.Request) -> web.StreamResponse:
        """Commit a batch of another node among one's own; tell what came of it."""
        self._check(request.headers)
        name = unquote(request.rel_url.raw_query_string)
        start = await self._start_of(name)
        forward = _batch_in(await _body(request))
        try:
            report = await self._counters.sequencer(name, start).reception.take_in(forward)
        except (NotServed, OutcomeUnknown) as failed:
            raise _problem_of(failed) from None
        answer = JsonAnswer(forwarding.encode_report(report))
        answer.headers[hdrs.CONTENT_TYPE] = BYTES
        return answer

    def placed(self) -> dict[tuple[str, str], Place]:
        """Return what needs no task, by method and path."""
        return {(hdrs.METH_POST, PATH): self.place}

    def place(self, head: Head, body: bytes) -> "HandedIn | None":
        """Take a batch in, where no read of the store is needed first. Raises Problem."""
        self._check(head.headers)
        name = unquote(head.query)
        if name not in self._names:
            return None
        forward = _batch_in(body)
        try:
            reply = self._counters.sequencer(name).reception.take_in_at_once(forward)
        except (NotServed, OutcomeUnknown) as failed:
            raise _problem_of(failed) from None
        return None if reply is None else HandedIn(reply)

    def _check(self, headers: CIMultiDictProxy[str]) -> None:
        given = headers.get(hdrs.AUTHORIZATION, "")
        if not hmac.compare_digest(given.encode(errors="surrogateescape"), self._bearer):
            raise Problem(problems.NOT_A_NODE, "This address is for other nodes.")

    async def _start_of(self, counter: str) -> int | None:
        """Return the first number of a counter that has one of its own. Raises Problem."""
        if counter in self._names:
            return None
        try:
            if is_of_documents(counter):
                series = await self._registry.series(type_of(counter) or "")
                return start_of(series, counter)
        except UnknownSeries:
            pass
        except StoreError as down:
            detail = f"Nothing was allocated: the series cannot be read: {down}."
            raise Problem(problems.DECLINED, detail) from None
        raise Problem(problems.UNKNOWN_NAME, "No counter has this name here.")


class HandedIn(NamedTuple):
    """A batch of another node that waits for the next commit."""

    reply: asyncio.Future[Report]

    def caller_left(self) -> None:
        """Let go of it, if it is not being committed yet."""
        self.reply.cancel()

    def told(self) -> Told:
        """Return what came of it. Raises Problem."""
        try:
            report = self.reply.result()
        except (NotServed, OutcomeUnknown) as failed:
            raise _problem_of(failed) from None
        return Told(forwarding.encode_report(report), headers=((hdrs.CONTENT_TYPE, BYTES),))


def _batch_in(content: bytes) -> Forward:
    try:
        return forwarding.decode(content, now())
    except Unreadable as nonsense:
        raise Problem(problems.MALFORMED, f"This is no batch: {nonsense}.") from None


def _problem_of(failed: NotServed | OutcomeUnknown) -> Problem:
    if isinstance(failed, NotServed):
        detail = f"Nothing was allocated: {failed}. Commit by yourself."
        return Problem(problems.DECLINED, detail)
    detail = f"It is not known whether this was done: {failed}. The ledger will tell."
    return Problem(problems.OUTCOME_UNKNOWN, detail)


async def _body(request: web.Request) -> bytes:
    """Return a body larger than callers may send. Raises Problem."""
    if request.content.is_eof():
        return request.content.read_nowait()
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            async for chunk in request.content.iter_any():
                size += len(chunk)
                if size > BYTES_MAX:
                    raise Problem(problems.TOO_LARGE, f"A batch has at most {BYTES_MAX} bytes.")
                chunks.append(chunk)
    except TimeoutError:
        detail = f"The body did not arrive within {BODY_WITHIN_S:g} seconds."
        raise Problem(problems.TOO_SLOW, detail) from None
    return b"".join(chunks)
