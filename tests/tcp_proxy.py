"""A way to one server that can be made bad: slow, one-way, cut, forged, silent after delivery."""

import asyncio
import socket
import struct
from enum import Enum, auto

CHUNK = 65_536
_AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER such that closing a connection resets it, as a crash does."""


class Fault(Enum):
    """What the way does to what is sent over it."""

    NONE = auto()
    REFUSE = auto()  # no connection comes about; the open ones are reset
    RESET_REQUESTS = auto()  # at the first byte of a request: reset; nothing is delivered
    DROP_REPLY = auto()  # the request is delivered; at the first byte of its reply: reset
    LOSE_REQUESTS = auto()  # what the client sends vanishes; the connection stays
    LOSE_REPLIES = auto()  # what the server sends vanishes; the connection stays
    BLACK_HOLE = auto()  # both vanish
    FORGE_REPLY = auto()  # delivered; instead of the reply comes ``forged``, then the end
    FORGE_UNDELIVERED = auto()  # the same, but nothing is delivered


_AT_REQUEST = {Fault.RESET_REQUESTS, Fault.FORGE_UNDELIVERED}
_AT_REPLY = {Fault.DROP_REPLY, Fault.FORGE_REPLY}
_RESETS = {Fault.RESET_REQUESTS, Fault.DROP_REPLY}


class TcpProxy:
    """Forwards to one server. ``fault`` and ``delay_s`` take effect on open connections too."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._fault = Fault.NONE
        self.delay_s = 0.0
        """Seconds for which everything is held back, in both directions, the end too."""
        self.forged = b""
        """What is answered in place of the server's reply; nothing at all is an early end."""
        self.header = b""
        """A header line, like ``Name: value``, that every request gets on its way."""
        self.port = 0
        self.replies_dropped = 0
        self.answered = 0
        """How often the server has answered, whatever became of its answer then."""

    @property
    def url(self) -> str:
        """Return the address that clients are given."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def fault(self) -> Fault:
        """Return what the way does now."""
        return self._fault

    async def set(self, fault: Fault) -> None:
        """Make the way so from now on."""
        self._fault = fault
        if fault is Fault.REFUSE:
            await self._close_listener()
            self.reset()
        elif self._server is None:
            await self.start()

    async def start(self) -> "TcpProxy":
        """Listen on loopback; on the same port again after a refusal."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Close everything."""
        await self._close_listener()
        self.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def reset(self) -> None:
        """Break every open connection off."""
        for writer in self._open:
            _reset(writer)

    async def _close_listener(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, up_writer}
        directions = (
            self._forward(reader, up_writer, writer, to_server=True),
            self._forward(up_reader, writer, writer, to_server=False),
        )
        tasks = [asyncio.create_task(direction) for direction in directions]
        self._tasks.update(tasks)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            self._tasks.difference_update(tasks)
            for each in (writer, up_writer):
                self._open.discard(each)
                each.transport.abort()

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        client: asyncio.StreamWriter,
        *,
        to_server: bool,
    ) -> None:
        lost = {Fault.BLACK_HOLE, Fault.LOSE_REQUESTS if to_server else Fault.LOSE_REPLIES}
        ends = _AT_REQUEST if to_server else _AT_REPLY
        try:
            while data := await reader.read(CHUNK):
                self.answered += not to_server
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if self._fault in ends:
                    self.replies_dropped += not to_server
                    await self._end(client)
                    return
                if self._fault in lost:
                    continue
                writer.write(self._with_header(data) if to_server else data)
                await writer.drain()
        except OSError:
            pass
        if self.delay_s:  # the server hears of the end as late as of everything else
            await asyncio.sleep(self.delay_s)

    def _with_header(self, data: bytes) -> bytes:
        if self.header and data.startswith((b"POST ", b"GET ")):
            return data.replace(b"\r\n", b"\r\n%b\r\n" % self.header, 1)
        return data

    async def _end(self, client: asyncio.StreamWriter) -> None:
        if self._fault in _RESETS:
            _reset(client)
            return
        client.write(self.forged)
        await client.drain()
        client.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    if not writer.transport.is_closing():
        opened = writer.get_extra_info("socket")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    writer.transport.abort()
