"""Callers' connections: bounded in number, in time and in bytes; unreadable HTTP gets a problem.

aiohttp reads HTTP and runs the handlers. What it leaves to its users is done here, by overriding
methods of its connection class. This is the one module that touches names aiohttp keeps private:
``PRIVATE`` lists them, and a test finds out when aiohttp changes one.

A caller has ``head_s`` for a request's head, ``inputs.BODY_WITHIN_S`` for its body, and
``UNREAD_S`` for taking its answer; between requests a connection may idle for ``idle_s``. A request
that comes and is answered at once starts no timer here.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine
from http import HTTPStatus
from typing import Any, NamedTuple

from aiohttp import hdrs, http_exceptions, web, web_protocol
from aiohttp.web_protocol import _ErrInfo

from coordinator.api import problems
from coordinator.api.problems import FieldError, Problem
from coordinator.api.refusals import SHOWN_MAX, Refusals, from_aiohttp
from coordinator.api.sparing import SparingLog

log = logging.getLogger(__name__)

PRIVATE = {
    web.AppRunner: ("_make_server",),
    web.RequestHandler: ("_current_request", "_messages", "_next_keepalive_close_time", "_waiter"),
    web_protocol: ("_ErrInfo",),
}

UNREAD_S = 30.0
"""A caller that does not take its answer for so long is cut off."""

UNREAD_BYTES_MAX = 64 * 1024 * 1024
"""Answers that wait for slow readers, all together; beyond it the longest waiting are cut off."""

HEAD_BYTES_MAX = 16_384
"""Of a head that is still incomplete: aiohttp itself bounds lines and their number, to 1 MB."""

LINGER_S = 1.0
"""For reading on after an answer, so that a caller that is still sending gets to see it."""

IDLE_ENDED_SHARE = 16
"""When all connections are taken, this part of them is ended: those that idle longest."""

_OF_THE_CALLER = (
    http_exceptions.HttpProcessingError,
    web.RequestPayloadError,
    web_protocol.PayloadAccessError,
    ConnectionError,
)
_FIELD = re.compile(r"\b(Host|Content-Type|Content-Length|Transfer-Encoding)\b")


class Terms(NamedTuple):
    """How many connections there may be, and what is waited for."""

    connections_max: int
    head_s: float
    idle_s: float


class Runner(web.AppRunner):
    """Runs an application on connections with these terms."""

    def __init__(self, app: web.Application, terms: Terms, refusals: Refusals, **more: Any) -> None:
        super().__init__(app, access_log=None, **more)
        self._terms = terms
        self._refusals = refusals

    async def _make_server(self) -> web.Server:
        plain = await super()._make_server()
        plain.request_handler = _shortened(self.app, plain.request_handler)
        return Server(plain, self._terms, self._refusals)


class Server(web.Server):
    """Makes a ``Connection`` of each, and keeps what they share."""

    def __init__(self, plain: web.Server, terms: Terms, refusals: Refusals) -> None:
        super().__init__(
            plain.request_handler,
            request_factory=plain.request_factory,
            handler_cancellation=plain.handler_cancellation,
        )
        self.terms = terms
        self.refusals = refusals
        self.open = 0
        self.unread_bytes = 0
        self.unread: dict[Connection, int] = {}
        self.silent: dict[Connection, None] = {}  # those without any request yet, oldest first
        self._lines = SparingLog(log)
        self._looked_at = float("-inf")

    def __call__(self) -> web.RequestHandler:
        """Return the protocol of a new connection."""
        return Connection(self)

    def make_room(self) -> bool:
        """Return whether one more may come, and end a connection that idles for it if need be.

        Those that never asked for anything go first, the oldest of them: so a flood of them ends
        itself. To find others takes a look at all, which is done once a second at most.
        """
        if self.open < self.terms.connections_max:
            return True
        now = asyncio.get_running_loop().time()
        going = [next(iter(self.silent))] if self.silent else []
        if not going and now >= self._looked_at + 1:
            self._looked_at = now
            connections = (c for c in self.connections if isinstance(c, Connection))
            going = sorted((c for c in connections if c.idles), key=lambda c: c.idle_until)
            going = going[: max(1, self.terms.connections_max // IDLE_ENDED_SHARE)]
        for connection in going:
            self.silent.pop(connection, None)
            self._lines.info("idle connection ended", "an idle connection is ended to make room")
            connection.force_close()
        return bool(going)

    def waits_for_reader(self, connection: "Connection", unread_bytes: int) -> None:
        """Note an answer that its caller does not take; cut off others when all is too much."""
        self.unread[connection] = unread_bytes
        self.unread_bytes += unread_bytes
        while self.unread_bytes > UNREAD_BYTES_MAX and len(self.unread) > 1:
            next(iter(self.unread)).cut_off()

    def reader_came(self, connection: "Connection") -> None:
        """Forget what was noted."""
        self.unread_bytes -= self.unread.pop(connection, 0)


_Serve = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def _shortened(app: web.Application, otherwise: _Serve) -> _Serve:
    """Return what finds the handler of an address without variable parts by one look.

    aiohttp's router does the rest: it takes thirty steps to come to the same handler. For an
    application without middlewares, whose handlers at such addresses ask for no ``match_info``.
    """
    handlers = {
        (route.method, resource.canonical): route.handler
        for resource in app.router.resources()
        if isinstance(resource, web.PlainResource)
        for route in resource
    }

    def serve(request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        assert isinstance(request, web.Request)  # noqa: S101 - an application makes no other
        handler = handlers.get((request.method, request.rel_url.raw_path))
        if handler is None or hdrs.EXPECT in request.headers:
            return otherwise(request)
        return handler(request)

    return serve


_read_on = web.RequestHandler.data_received


class Connection(web.RequestHandler):
    """One connection of a caller."""

    __slots__ = ("_counted", "_head_bytes", "_late", "_server", "_socket", "_unread")

    def __init__(self, server: Server) -> None:
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
        self._counted = False
        self._head_bytes = 0
        self._late: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    @property
    def idles(self) -> bool:
        """Return whether it waits for a request."""
        return self._waiter is not None and not self._waiter.done()

    @property
    def idle_until(self) -> float:
        """Return when it will have idled for too long."""
        return self._next_keepalive_close_time

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve it, unless there are too many."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - TCP has no other
        self._socket = transport
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
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; a head that is incomplete must be complete in time, and before it is large."""
        _read_on(self, data)
        messages = self._messages
        if messages:
            if self._late is not None:
                self._late.cancel()
                self._late = None
                self._head_bytes = 0
                self._server.silent.pop(self, None)
            if type(messages[-1][0]) is _ErrInfo:
                self._break_off_body(messages[-1][0])
        elif data and self.idles:
            self._head_bytes += len(data)
            if self._late is None:
                self._late = self._loop.call_later(self._server.terms.head_s, self._head_is_late)
            if self._head_bytes > HEAD_BYTES_MAX:
                detail = f"A request's head must fit into {HEAD_BYTES_MAX} bytes."
                self._turn_away(Problem(problems.HEAD_TOO_LARGE, detail))

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
        remote = (self._socket.get_extra_info("peername") or ("-",))[0]
        self._socket.write(_on_the_wire(self._server.refusals.turn_away(remote, problem)))
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


def unreadable(error: BaseException | None, message: str) -> Problem:
    """Return the problem of bytes that are no HTTP request."""
    first = (message.strip() or repr(error)).splitlines()[0].rstrip(":")[:SHOWN_MAX]
    if isinstance(error, http_exceptions.LineTooLong):
        detail = "The address, or a header, is larger than 8190 bytes."
        return Problem(problems.HEAD_TOO_LARGE, detail)
    if first.startswith("Too many headers"):
        return Problem(problems.HEAD_TOO_LARGE, f"{first}.")
    if isinstance(error, http_exceptions.ContentEncodingError):
        return Problem(problems.UNSUPPORTED, f"{first}.")
    if isinstance(error, http_exceptions.InvalidURLError):
        return Problem(problems.MALFORMED, f"The address cannot be read: {first}.")
    named = _FIELD.search(first)
    errors = (FieldError(named[0], first),) if named else ()
    return Problem(problems.MALFORMED, f"This is no HTTP request: {first}.", errors)


def _on_the_wire(answer: web.Response) -> bytes:
    body = answer.body
    assert isinstance(body, bytes)  # noqa: S101 - a problem is one piece of JSON
    headers = {**answer.headers, "Connection": "close", "Content-Length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {answer.status} {answer.reason}\r\n{lines}\r\n".encode() + body
