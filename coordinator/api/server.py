"""All connections of callers together: how many there may be, and who goes when all are taken."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from aiohttp import hdrs, web

from coordinator.api.connections import Connection
from coordinator.api.express import Express
from coordinator.api.refusals import Refusals
from coordinator.api.sparing import SparingLog

log = logging.getLogger(__name__)

PRIVATE = {web.AppRunner: ("_make_server",)}
"""Of aiohttp: see ``connections``."""

UNREAD_BYTES_MAX = 64 * 1024 * 1024
"""Answers that wait for slow readers, all together; beyond it the longest waiting are cut off."""

IDLE_ENDED_SHARE = 16
"""When all connections are taken, this part of them is ended: those that idle longest."""


class Terms(NamedTuple):
    """How many connections there may be, and what is waited for."""

    connections_max: int
    head_s: float
    idle_s: float


class Runner(web.AppRunner):
    """Runs an application on connections with these terms."""

    def __init__(
        self,
        app: web.Application,
        terms: Terms,
        refusals: Refusals,
        express: Express,
        **more: Any,
    ) -> None:
        super().__init__(app, access_log=None, **more)
        self._shared = (terms, refusals, express)

    async def _make_server(self) -> web.Server:
        plain = await super()._make_server()
        plain.request_handler = _shortened(self.app, plain.request_handler)
        return Server(plain, *self._shared)


class Server(web.Server):
    """Makes a ``Connection`` of each, and keeps what they share."""

    def __init__(
        self, plain: web.Server, terms: Terms, refusals: Refusals, express: Express
    ) -> None:
        super().__init__(
            plain.request_handler,
            request_factory=plain.request_factory,
            handler_cancellation=plain.handler_cancellation,
        )
        self.terms = terms
        self.refusals = refusals
        self.express = express
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
