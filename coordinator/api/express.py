"""The short way of the call that everybody waits for: from a request's head to its answer, no task.

aiohttp runs a task for each request, has another one wait for it, and makes objects for whatever a
request may turn out to be. That is right for all calls but one: whoever asks for a number sends a
head without a body, and then waits for one future. Here such a request is ordered at once, and its
answer is written when the future has come: a third of a node's work is spared.

Only what is plain goes this way. Anything else about a request, a refusal of what it says included,
is left to aiohttp and the handlers, which meet it again: nothing was done for it before.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple

import orjson
from aiohttp import HttpVersion11, hdrs
from aiohttp.http import RawRequestMessage
from multidict import CIMultiDictProxy

from coordinator.api.answers import JSON_HEADERS, head_of_answer, on_the_wire
from coordinator.api.calls import REPLAYED, Head, Order, done_of, outcome_of
from coordinator.api.own_site import refuse_other_sites
from coordinator.api.problems import REQUEST_ID, Problem
from coordinator.api.refusals import Refusals, error_in_here
from coordinator.service import Answer, NotServed

log = logging.getLogger(__name__)

Take = Callable[[Head], Order]
"""Returns what a head orders; raises Problem."""

_OK = f"{HTTPStatus.OK.value} {HTTPStatus.OK.phrase}"


class Errand(NamedTuple):
    """A request under way, and the future that brings its answer."""

    head: Head
    order: Order
    reply: asyncio.Future[Answer]

    def give_up(self) -> None:
        """Hear that its caller has left: what the answer brings, if anything, is given back."""
        self.reply.cancel()
        self.order.sequencer.caller_left(self.order.request, self.reply)


class Express:
    """Orders what is plain, and writes the answers.

    ``calls`` are the addresses, each of which changes something when one GETs it; ``name`` gives a
    request its id.
    """

    def __init__(
        self,
        calls: Mapping[str, Take],
        name: Callable[[CIMultiDictProxy[str]], str],
        refusals: Refusals,
    ) -> None:
        self._calls = calls
        self._name = name
        self._refusals = refusals

    def take(self, message: RawRequestMessage, remote: str | None) -> Errand | None:
        """Order what a head without a body asks for; None when it is not plain."""
        path, _, query = message.path.partition("?")
        take = self._calls.get(path)
        if take is None or not _is_plain(message):
            return None
        headers = message.headers
        try:
            head = Head(self._name(headers), path, query, headers, remote)
            refuse_other_sites(headers)
            order = take(head)
            return Errand(head, order, order.sequencer.submit(order.request))
        except (Problem, NotServed):
            return None

    def answer(self, errand: Errand) -> bytes:
        """Return the whole answer to an errand whose reply has come."""
        head = errand.head
        asker = (head.remote, f"{hdrs.METH_GET} {head.path}", head.name)
        try:
            done = done_of(outcome_of(errand.reply, errand.order.request.call))
            body = orjson.dumps(errand.order.tell(done))
        except Problem as refused:
            return on_the_wire(self._refusals.turn_away(refused, *asker))
        except Exception:
            log.exception("%s failed, request id %s", *asker[1:])
            return on_the_wire(self._refusals.turn_away(error_in_here(head.name), *asker))
        log.debug("served %s from %s, request id %s", *asker[1::-1], head.name)
        headers: list[tuple[str, str]] = [*JSON_HEADERS, (REQUEST_ID, head.name)]
        if done.replayed:
            headers.append((REPLAYED, "true"))
        return head_of_answer(_OK, headers, len(body)) + body


def _is_plain(message: RawRequestMessage) -> bool:
    """Tell whether a head asks for nothing but an answer on a connection that stays open."""
    headers = message.headers
    return (
        message.method == hdrs.METH_GET
        and message.version == HttpVersion11
        and not (message.should_close or message.upgrade or message.chunked)
        and "#" not in message.path
        and headers.get(hdrs.HOST, "") != ""
        and hdrs.EXPECT not in headers
        and hdrs.CONTENT_LENGTH not in headers
    )
