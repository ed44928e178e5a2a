"""The short way: from a request to its answer without a task, for calls that wait for one reply.

aiohttp runs a task for each request, has another one wait for it, and makes objects for whatever a
request may turn out to be. That is right for all calls but those that everybody waits for: who asks
for a number sends a request that arrives whole, and then waits for one future. Here such a request
is placed at once, and its answer is written when the future has come: a third of a node's work is
spared.

Only what is plain goes this way. All else is left to aiohttp and the handlers: nothing was done for
it before.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

from aiohttp import HttpVersion11, StreamReader, hdrs
from aiohttp.http import RawRequestMessage
from multidict import CIMultiDictProxy

from coordinator.api.answers import Told, head_of_answer, on_the_wire
from coordinator.api.calls import Head
from coordinator.api.own_site import refuse_other_sites
from coordinator.api.problems import REQUEST_ID, Problem
from coordinator.api.refusals import Refusals, error_in_here

log = logging.getLogger(__name__)

BODY_BYTES_MAX = 65_536
"""As aiohttp is told too."""

_STATUS = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
JSON_TYPES = {None, "application/json", "application/json; charset=utf-8"}


class Waits(Protocol):
    """A call under way, and the future that it waits for."""

    @property
    def reply(self) -> asyncio.Future[Any]:
        """Return the future."""
        ...

    def caller_left(self) -> None:
        """Hear that nobody will read the answer."""
        ...

    def told(self) -> Told:
        """Return the answer, now that the future has come. Raises Problem."""
        ...


Place = Callable[[Head, bytes], Waits | None]
"""Begins what the head and the body of a request ask for; None when that takes longer than to wait
for one future: then nothing was done. Raises Problem."""


class Errand(NamedTuple):
    """A call under way, and what was asked."""

    method: str
    head: Head
    waits: Waits


class Express:
    """Places what is plain, and writes the answers.

    ``calls`` are by method and path, and each of them changes something; ``name`` gives a request
    its id.
    """

    def __init__(
        self,
        calls: Mapping[tuple[str, str], Place],
        name: Callable[[CIMultiDictProxy[str]], str],
        refusals: Refusals,
    ) -> None:
        self._calls = calls
        self._name = name
        self._refusals = refusals

    def is_for(self, message: RawRequestMessage, body: StreamReader) -> bool:
        """Tell whether a request is plain, and one of these calls."""
        headers = message.headers
        is_known = (message.method, message.path.partition("?")[0]) in self._calls
        if not is_known or message.should_close or message.upgrade or message.chunked:
            return False
        if message.version != HttpVersion11 or "#" in message.path or not headers.get(hdrs.HOST):
            return False
        if hdrs.EXPECT in headers or hdrs.CONTENT_ENCODING in headers or not body.is_eof():
            return False
        is_small = int(headers.get(hdrs.CONTENT_LENGTH, 0)) <= BODY_BYTES_MAX
        return is_small and headers.get(hdrs.CONTENT_TYPE) in JSON_TYPES

    def place(
        self, message: RawRequestMessage, body: bytes, remote: str | None
    ) -> Errand | bytes | None:
        """Begin what a plain request asks for, or return the answer at once.

        None when it is for aiohttp all the same.
        """
        method, headers, name = message.method, message.headers, "-"
        path, _, query = message.path.partition("?")
        try:
            name = self._name(headers)
            refuse_other_sites(headers)
            head = Head(name, path, query, headers, remote)
            waits = self._calls[method, path](head, body)
        except Exception as refused:  # noqa: BLE001 - it is logged there
            return self._refusal(method, Head(name, path, query, headers, remote), refused)
        return None if waits is None else Errand(method, head, waits)

    def answer(self, errand: Errand) -> bytes:
        """Return the whole answer to an errand whose future has come."""
        method, head, waits = errand
        try:
            body, status, headers = waits.told()
        except Exception as refused:  # noqa: BLE001 - it is logged there
            return self._refusal(method, head, refused)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("served %s %s, request id %s", method, head.path, head.name)
        named = (*headers, (REQUEST_ID, head.name))
        return head_of_answer(_STATUS[status], named, len(body)) + body

    def _refusal(self, method: str, head: Head, refused: Exception) -> bytes:
        what = f"{method} {head.path}"
        if not isinstance(refused, Problem):
            log.error("%s failed, request id %s", what, head.name, exc_info=refused)
            refused = error_in_here(head.name)
        return on_the_wire(self._refusals.turn_away(refused, head.remote, what, head.name))
