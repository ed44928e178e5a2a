"""HTTP as bytes on a socket, for what an HTTP client would not send."""

import asyncio
import json
from typing import Any, NamedTuple

ANSWER_WITHIN_S = 5.0


class Answer(NamedTuple):
    """What came back; the names of headers in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> Any:
        """Return the body, which must be a problem."""
        assert self.headers["content-type"] == "application/problem+json", self
        return json.loads(self.body)


async def answer_on(
    reader: asyncio.StreamReader, *, has_body: bool = True, within_s: float = ANSWER_WITHIN_S
) -> Answer:
    """Read one answer."""
    async with asyncio.timeout(within_s):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.rstrip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        length = int(headers["content-length"]) if has_body else 0
        return Answer(int(first.split()[1]), headers, await reader.readexactly(length))


async def ask(port: int, sent: bytes, within_s: float = ANSWER_WITHIN_S) -> Answer:
    """Send bytes on a connection of their own and read one answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        return await answer_on(reader, has_body=not sent.startswith(b"HEAD"), within_s=within_s)
    finally:
        writer.transport.abort()
