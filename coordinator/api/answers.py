"""How answers are written: JSON, moments, and reads of a store that may be down."""

from collections.abc import Awaitable, Iterable
from datetime import UTC, datetime
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any, NamedTuple, TypeVar

import orjson
from aiohttp import HttpVersion, HttpVersion10, HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import SERVER_SOFTWARE
from multidict import CIMultiDict

from coordinator.api import problems
from coordinator.api.problems import Problem
from coordinator.clock import now_ms
from coordinator.faults import CANNOT_READ

CRLF = "\r\n"
JSON_HEADERS = ((hdrs.CONTENT_TYPE, "application/json"), (hdrs.CACHE_CONTROL, "no-store"))
CLOSED = "Connection: close\r\n"
_HEADERS = CIMultiDict(JSON_HEADERS)

Read = TypeVar("Read")


@lru_cache(maxsize=256)
def iso(time_ms: int) -> str:
    """Return a moment as RFC 3339 text in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JsonAnswer(web.StreamResponse):
    """A JSON answer that nobody may cache: the bytes of a ``web.Response``, made in one step.

    aiohttp must be ready for chunks, compression, cookies and what else an answer may be; for an
    answer that is whole already, finding out that it is none of these is most of the work.
    """

    def __init__(self, body: bytes, status: int = 200) -> None:
        super().__init__(status=status, headers=_HEADERS)
        self._content = body
        self._stays_open: bool | None = None

    @property
    def keep_alive(self) -> bool | None:
        """Return whether the connection may be used for another request; None: not known yet."""
        return self._stays_open

    def force_close(self) -> None:
        """Let this be the last answer on its connection."""
        self._stays_open = False

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write the whole answer."""
        if self._stays_open is None:
            self._stays_open = request.keep_alive
        body, status = self._content, f"{self.status} {self.reason}"
        connection = _connection(request.version, stays_open=self._stays_open)
        head = head_of_answer(
            status, self.headers.items(), len(body), request.version, connection=connection
        )
        whole = head if request.method == hdrs.METH_HEAD else head + body
        await request.writer.write_eof(whole)
        return None

    async def write_eof(self, _: bytes = b"") -> None:
        """Do nothing: ``prepare`` has written all."""


def head_of_answer(
    status: str,
    headers: Iterable[tuple[str, str]],
    size: int,
    version: HttpVersion = HttpVersion11,
    *,
    connection: str = "",
) -> bytes:
    """Return all of an answer but its body, which has ``size`` bytes."""
    return (
        f"HTTP/{version.major}.{version.minor} {status}\r\n{CRLF.join(map(': '.join, headers))}\r\n"
        f"Content-Length: {size}\r\n{_date_and_server(now_ms() // 1000)}{connection}\r\n"
    ).encode()


@lru_cache(maxsize=1)
def _date_and_server(second: int) -> str:
    date = formatdate(second, usegmt=True)
    return f"{hdrs.DATE}: {date}\r\n{hdrs.SERVER}: {SERVER_SOFTWARE}\r\n"


def _connection(version: HttpVersion, *, stays_open: bool) -> str:
    """Return the header that says what the version alone does not."""
    if stays_open:
        return "Connection: keep-alive\r\n" if version == HttpVersion10 else ""
    return CLOSED if version == HttpVersion11 else ""


def on_the_wire(answer: web.Response, connection: str = "") -> bytes:
    """Return a whole answer to HTTP/1.1."""
    body = answer.body
    assert isinstance(body, bytes)  # noqa: S101 - a problem is one piece of JSON
    status = f"{answer.status} {answer.reason}"
    return head_of_answer(status, answer.headers.items(), len(body), connection=connection) + body


class Told(NamedTuple):
    """A whole answer, before HTTP."""

    body: bytes
    status: int = HTTPStatus.OK
    headers: tuple[tuple[str, str], ...] = JSON_HEADERS


def json_answer(body: dict[str, Any] | list[Any], status: int = 200) -> JsonAnswer:
    """Return a JSON answer."""
    return JsonAnswer(orjson.dumps(body), status)


async def read(reading: Awaitable[Read]) -> Read:
    """Wait for a read. Raises Problem when the store does not answer."""
    try:
        return await reading
    except CANNOT_READ as down:
        detail = f"The ledger cannot be read just now: {down}."
        raise Problem(problems.STORE_UNAVAILABLE, detail) from None
