"""Callers' connections: bounded in number, in time and in bytes; unreadable HTTP gets a problem.

aiohttp reads HTTP and runs the handlers. What it leaves to its users is done here, by overriding
methods of its connection class. This module and ``server`` alone touch names that aiohttp keeps
private: ``PRIVATE`` lists them, and a test finds out when aiohttp changes one.

A caller has ``head_s`` for a request's head, ``inputs.BODY_WITHIN_S`` for its body, and
``UNREAD_S`` for taking its answer; between requests a connection may idle for ``idle_s``. A request
that comes and is answered at once starts no timer here.
"""

import asyncio
import logging
from collections.abc import Coroutine
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import StreamReader, hdrs, http_exceptions, web, web_protocol
from aiohttp.web_protocol import _ErrInfo

from coordinator.api import problems
from coordinator.api.answers import CLOSED, on_the_wire
from coordinator.api.problems import Problem
from coordinator.api.refusals import from_aiohttp, unreadable

if TYPE_CHECKING:
    from coordinator.api.express import Errand
    from coordinator.api.server import Server

log = logging.getLogger(__name__)

PRIVATE = {
    web.RequestHandler: (
        *("_buffer_paused", "_close", "_current_request", "_keepalive_handle", "_messages"),
        *("_next_keepalive_close_time", "_parser", "_process_keepalive", "_waiter"),
    ),
    web_protocol: ("_ErrInfo",),
}

UNREAD_S = 30.0
"""A caller that does not take its answer for so long is cut off."""

HEAD_BYTES_MAX = 16_384
"""Of a head that is still incomplete: aiohttp itself bounds lines and their number, to 1 MB."""

LINGER_S = 1.0
"""For reading on after an answer, so that a caller that is still sending gets to see it."""

_OF_THE_CALLER = (
    http_exceptions.HttpProcessingError,
    web.RequestPayloadError,
    web_protocol.PayloadAccessError,
    ConnectionError,
)

_read_on = web.RequestHandler.data_received


class Connection(web.RequestHandler):
    """One connection of a caller."""

    __slots__ = (
        *("_counted", "_errand", "_head_bytes", "_is_out", "_late", "_remote", "_server"),
        *("_socket", "_unread"),
    )

    def __init__(self, server: "Server") -> None:
        loop = asyncio.get_running_loop()
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type] # means none, as in aiohttp's own runner
            keepalive_timeout=server.terms.idle_s,
            lingering_time=LINGER_S,
        )
        self._server = server
        self._socket: asyncio.Transport | None = None
        self._remote: str | None = None
        self._counted = False
        self._head_bytes = 0
        self._late: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._errand: Errand | None = None
        self._is_out = False

    @property
    def idles(self) -> bool:
        """Return whether it waits for a request."""
        return self._waiter is not None and not self._waiter.done() and not self._is_out

    @property
    def idle_until(self) -> float:
        """Return when it will have idled for too long."""
        return self._next_keepalive_close_time

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve it, unless there are too many."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - TCP has no other
        self._socket = transport
        self._remote = (transport.get_extra_info("peername") or (None,))[0]
        # Any byte that the kernel does not take is then noticed, and ended when nobody reads it.
        transport.set_write_buffer_limits(high=0)
        server = self._server
        if not server.make_room():
            most = server.terms.connections_max
            detail = f"Nothing was allocated: {most} connections are open already. Try again."
            self._turn_away(Problem(problems.BUSY, detail))
            return
        server.open += 1
        server.silent[self] = None
        self._counted = True
        super().connection_made(transport)
        self._late = self._loop.call_later(server.terms.head_s, self._head_is_late)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget it."""
        if self._counted:
            self._server.open -= 1
        for timer in (self._late, self._unread):
            if timer is not None:
                timer.cancel()
        self._server.silent.pop(self, None)
        self._server.reader_came(self)
        self._socket = None
        if self._errand is not None and not self._errand.waits.reply.done():
            self._errand.waits.caller_left()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; a head that is incomplete must be complete in time, and before it is large."""
        idled = self.idles
        waiter, self._waiter = self._waiter, None  # aiohttp's task goes on when it is told to
        try:
            _read_on(self, data)
        finally:
            self._waiter = waiter
        messages = self._messages
        if messages:
            if self._late is not None:
                self._late.cancel()
                self._late = None
                self._head_bytes = 0
                self._server.silent.pop(self, None)
            if type(messages[-1][0]) is _ErrInfo:
                self._break_off_body(messages[-1][0])
            if idled and not self._sets_out():
                self._go_on()
        elif data and self.idles:
            self._head_bytes += len(data)
            if self._late is None:
                self._late = self._loop.call_later(self._server.terms.head_s, self._head_is_late)
            if self._head_bytes > HEAD_BYTES_MAX:
                detail = f"A request's head must fit into {HEAD_BYTES_MAX} bytes."
                self._turn_away(Problem(problems.HEAD_TOO_LARGE, detail))

    def _sets_out(self) -> bool:
        """Serve the request that has come by the short way, if it is the only one, and plain.

        Not where the clock that ends idle connections has stopped: aiohttp's next answer starts it.
        """
        (message, payload), *more = self._messages
        if more or self._keepalive_handle is None or self._unread or self._buffer_paused:
            return False
        if self._parser is None or isinstance(message, _ErrInfo):
            return False
        express = self._server.express
        if not express.is_for(message, payload):
            return False
        self._is_out = True  # to read a body may have aiohttp look for more requests
        self._messages.clear()
        body = payload.read_nowait()
        placed = express.place(message, body, self._remote)
        if placed is None:
            self._is_out = False
            self._messages.appendleft((message, self._unread_again(body)))
            return False
        self._parser.message_consumed()
        if isinstance(placed, bytes):
            self._comes_back(placed)
        else:
            self._errand = placed
            placed.waits.reply.add_done_callback(self._returns)
        return True

    def _unread_again(self, body: bytes) -> StreamReader:
        payload = StreamReader(self, len(body), loop=self._loop)
        payload.feed_data(body)
        payload.feed_eof()
        return payload

    def _returns(self, _: asyncio.Future[Any]) -> None:
        errand, self._errand = self._errand, None
        assert errand is not None  # noqa: S101 - one at a time
        if self._socket is None or self._socket.is_closing():
            errand.waits.caller_left()
        else:
            self._comes_back(self._server.express.answer(errand))

    def _comes_back(self, answer: bytes) -> None:
        """Write the answer of the short way, and go on."""
        assert self._socket is not None  # noqa: S101 - whoever comes back has looked
        self._is_out = False
        self._socket.write(answer)
        self._next_keepalive_close_time = self._loop.time() + self._server.terms.idle_s
        if self._close:
            self._socket.close()
        elif self._messages:
            self._go_on()

    def _go_on(self) -> None:
        """Have aiohttp's task serve the requests that have come."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _process_keepalive(self) -> None:
        if not self._is_out:
            super()._process_keepalive()
        else:
            self._keepalive_handle = self._loop.call_later(1, self._process_keepalive)

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109 - aiohttp's
        """Wait for an answer that is under way, and end."""
        if self._errand is not None:  # as long as aiohttp waits for a handler, which is twice
            patience_s = None if timeout is None else 2 * timeout
            await asyncio.wait((self._errand.waits.reply,), timeout=patience_s)
        await super().shutdown(timeout)

    def _break_off_body(self, wrong: _ErrInfo) -> None:
        """Tell the handler that reads a body if that is what went wrong: no more will come."""
        if len(self._messages) > 1:
            body = self._messages[-2][1]
        elif self._current_request is not None:
            body = self._current_request.content
        else:
            return
        if not body.is_eof():
            body.set_exception(web.RequestPayloadError(wrong.message))

    def _head_is_late(self) -> None:
        self._late = None
        if not self._head_bytes:
            self.force_close()  # it asked for nothing, so there is nothing to say
            return
        head_s = self._server.terms.head_s
        detail = f"The request's head was not complete within {head_s:g} s."
        self._turn_away(Problem(problems.TOO_SLOW, detail))

    def _turn_away(self, problem: Problem) -> None:
        """Answer although nothing could be read, and close."""
        if self._socket is None or self._socket.is_closing():
            return
        refusal = self._server.refusals.turn_away(problem, self._remote or "-")
        self._socket.write(on_the_wire(refusal, CLOSED))
        self._socket.close()
        self.force_close()

    def pause_writing(self) -> None:
        """Wait for a caller to take its answer, but not for ever."""
        super().pause_writing()
        assert self._socket is not None  # noqa: S101 - it is the socket that calls
        self._unread = self._loop.call_later(UNREAD_S, self.cut_off)
        self._server.waits_for_reader(self, self._socket.get_write_buffer_size())

    def resume_writing(self) -> None:
        """All was taken."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        self._server.reader_came(self)

    def cut_off(self) -> None:
        """End it at once, and drop what was not taken."""
        self._server.reader_came(self)
        if self._socket is not None:
            self._socket.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not be read, or failed outside the handlers, and close."""
        assert isinstance(request, web.Request)  # noqa: S101 - an application makes no other
        refusals = self._server.refusals
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            response = refusals.refuse(request, unreadable(exc, message or ""))
        else:
            response = refusals.failed(request, exc)
        response.force_close()
        return response

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """Send an answer; what aiohttp refuses before any handler becomes a problem first."""
        if isinstance(resp, web.HTTPException) and resp.status >= HTTPStatus.BAD_REQUEST:
            assert isinstance(request, web.Request)  # noqa: S101 - an application makes no other
            resp = self._server.refusals.refuse(request, from_aiohttp(request, resp))
            if request.method == hdrs.METH_CONNECT:
                resp.force_close()  # whatever follows is for the proxy that this is not
        return super().finish_response(request, resp, start_time)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log an error of this program; what is a caller's has been answered and logged."""
        if not isinstance(kw.get("exc_info"), _OF_THE_CALLER):
            super().log_exception(*args, **kw)
