"""Posting to one etcd member: kept connections, deadlines, and a clear word on what was sent.

An HTTP client has dozens of exceptions; about a transaction only one thing matters: whether any of
it can have left this machine. Here that is decided by where it failed, not by what it is called.
The parsing is httptools' (the parser of Node.js); a general client costs four times the CPU, and
this is what every commit waits for.
"""

import asyncio
import ssl
from typing import NamedTuple
from urllib.parse import urlsplit

import httptools

IDLE_CONNECTIONS_MAX = 32
"""Connections kept for the next request; each counter that commits needs one meanwhile."""


class NotSent(Exception):
    """No connection came about: nothing left this machine."""


class ReplyLost(Exception):
    """It may have been sent, and no whole reply came."""


class Reply(NamedTuple):
    """A whole HTTP answer."""

    status: int
    body: bytes


class Patience(NamedTuple):
    """Seconds to wait for a connection, and then for the whole reply."""

    connect_s: float
    reply_s: float


class _Connection(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._reply: asyncio.Future[Reply] | None = None
        self._body: list[bytes] = []
        self.usable = False

    def ask(self, request: bytes) -> asyncio.Future[Reply]:
        assert self._transport is not None, "asked before it was connected"  # noqa: S101
        self._reply = asyncio.get_running_loop().create_future()
        self._body = []
        self._transport.write(request)
        return self._reply

    def close(self) -> None:
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport
        self.usable = True

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as nonsense:
            self._fail(f"no HTTP: {nonsense}")
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        self._fail(f"connection lost: {exc or 'closed by the member'}")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self.usable = self.usable and self._parser.should_keep_alive()
        if self._reply is None or self._reply.done():
            self.usable = False  # an answer that nobody asked for: never to be taken for another's
            return
        status = self._parser.get_status_code()
        self._reply.set_result(Reply(status, b"".join(self._body)))

    def _fail(self, why: str) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(ReplyLost(why))


class Wire:
    """The way to one member, by its URL."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError as wrong:
            raise ValueError(f"{url!r}: {wrong}") from None
        if parts.scheme not in {"http", "https"} or parts.hostname is None:
            raise ValueError(f"{url!r} is no URL of an etcd member, like http://127.0.0.1:2379")
        self.url = url
        self._host = parts.hostname
        self._port = port or (443 if parts.scheme == "https" else 80)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._host_line = parts.netloc.rpartition("@")[2].encode()
        self._path = parts.path.rstrip("/").encode()
        self._idle: list[_Connection] = []

    async def post(
        self, path: bytes, body: bytes, patience: Patience, bearer: bytes = b""
    ) -> Reply:
        """Post JSON, with a bearer's token if one is given. Raises NotSent or ReplyLost."""
        head = b"POST %b%b HTTP/1.1\r\nHost: %b\r\nContent-Type: application/json\r\n"
        head += b"Authorization: Bearer %b\r\n" % bearer if bearer else b""
        head += b"Content-Length: %d\r\n\r\n"
        request = head % (self._path, path, self._host_line, len(body)) + body
        return await self._ask(request, patience)

    async def get(self, path: bytes, patience: Patience) -> Reply:
        """Get something. Raises NotSent or ReplyLost."""
        head = b"GET %b%b HTTP/1.1\r\nHost: %b\r\n\r\n"
        return await self._ask(head % (self._path, path, self._host_line), patience)

    def close(self) -> None:
        """Close the connections that are kept."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    async def _ask(self, request: bytes, patience: Patience) -> Reply:
        connection = await self._connection(patience.connect_s)
        try:
            async with asyncio.timeout(patience.reply_s):
                reply = await connection.ask(request)
        except TimeoutError:
            connection.close()
            raise ReplyLost(f"{self.url}: no reply within {patience.reply_s:g} s") from None
        except ReplyLost as lost:
            raise ReplyLost(f"{self.url}: {lost}") from None
        except BaseException:
            connection.close()  # a late reply must not meet the next request
            raise
        if connection.usable and len(self._idle) < IDLE_CONNECTIONS_MAX:
            self._idle.append(connection)
        else:
            connection.close()
        return reply

    async def _connection(self, within_s: float) -> _Connection:
        while self._idle:
            kept = self._idle.pop()
            if kept.usable:
                return kept
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(within_s):
                _, connection = await loop.create_connection(
                    _Connection, self._host, self._port, ssl=self._tls
                )
        except TimeoutError:
            raise NotSent(f"{self.url}: no connection within {within_s:g} s") from None
        except OSError as refused:
            raise NotSent(f"{self.url}: {refused}") from None
        return connection
