"""A way to one server that can be made bad: slow, one-way, cut, or silent after delivery."""

import asyncio
from enum import Enum, auto

CHUNK = 65_536


class Fault(Enum):
    """What the way does to what is sent over it."""

    NONE = auto()
    REFUSE = auto()  # no connection comes about; the open ones are reset
    DROP_REPLY = auto()  # the request is delivered; at the first byte of its reply: reset
    LOSE_REQUESTS = auto()  # what the client sends vanishes; the connection stays
    LOSE_REPLIES = auto()  # what the server sends vanishes; the connection stays
    BLACK_HOLE = auto()  # both vanish


class TcpProxy:
    """Forwards to one server. ``fault`` and ``delay_s`` take effect on open connections too."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._fault = Fault.NONE
        self.delay_s = 0.0
        """Seconds for which everything is held back, in both directions."""
        self.port = 0
        self.replies_dropped = 0

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
            writer.transport.abort()

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
            self._forward(reader, up_writer, to_server=True),
            self._forward(up_reader, writer, to_server=False),
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
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, to_server: bool
    ) -> None:
        lost = {Fault.BLACK_HOLE, Fault.LOSE_REQUESTS if to_server else Fault.LOSE_REPLIES}
        try:
            while data := await reader.read(CHUNK):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if self._fault is Fault.DROP_REPLY and not to_server:
                    self.replies_dropped += 1
                    return
                if self._fault in lost:
                    continue
                writer.write(data)
                await writer.drain()
        except OSError:
            return
