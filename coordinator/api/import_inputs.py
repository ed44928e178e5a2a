"""A file that a caller sends, and the fields beside it: taken in without being held in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Annotated

import aiohttp
from aiohttp import BodyPartReader, hdrs, http_exceptions, web
from pydantic import AfterValidator, Field, StringConstraints

from coordinator.api.inputs import NAME_SHOWN_MAX, NUMBER_MAX, Query, Text, Token, Whole, check_body
from coordinator.api.problems import (
    MALFORMED,
    TOO_LARGE,
    TOO_SLOW,
    UNSUPPORTED,
    FieldError,
    Problem,
    one_line,
)
from coordinator.core.requests import PASS_OVER_MAX
from coordinator.import_files import BYTES_MAX
from coordinator.import_files.choice import Choice

UPLOADED_WITHIN_S = 120.0
PACE_S = 10.0
PACE_BYTES = 256 * 1024
"""So much of a file, or the rest of it, arrives within ``PACE_S``: who stops half way is found out
long before the end of the whole time."""

FIELD_BYTES_MAX = 65_536
FIELDS_MAX = 8
ROWS_LISTED_MAX = 1_000
CHUNK_BYTES = 64 * 1024
AROUND_BYTES = 1_000_000
"""What a form may hold beside its file."""

FORM = "multipart/form-data"
FILE = "file"
FILES = {
    "text/csv",
    "application/octet-stream",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_UNREADABLE = (
    *(ValueError, AssertionError, RuntimeError, KeyError),  # of aiohttp, about parts of a form
    *(ConnectionError, aiohttp.ClientPayloadError, web.RequestPayloadError),
    http_exceptions.BadHttpMessage,
)


def _is_choice(text: str) -> str:
    Choice.of(text)
    return text


class ImportFields(Query):
    """``POST …/bulk-import``: in the query, or in the form beside the file.

    A dry run tells how it reads the first ``list_rows`` of the rows that can be read. Of each
    counter ``pass_over_max`` numbers may become void, because the file leaves them out.
    """

    dry_run: bool = False
    reason: Text = "bulk import"
    rows: Annotated[
        str, StringConstraints(max_length=FIELD_BYTES_MAX), AfterValidator(_is_choice)
    ] = ""
    requestId: Token | None = None
    list_rows: Annotated[Whole, Field(ge=0, le=ROWS_LISTED_MAX)] = 0
    pass_over_max: Annotated[Whole, Field(ge=0, le=NUMBER_MAX)] = PASS_OVER_MAX

    def beside(self, form: dict[str, str]) -> "ImportFields":
        """Return these fields of the query and those of the form. Raises Problem."""
        more = ImportFields.of(form).model_dump(exclude_unset=True)
        twice = sorted(self.model_fields_set & more.keys())
        if twice:
            raise _malformed(twice[0], "given in the query and in the form")
        return self.model_copy(update=more)


class ImportsQuery(Query):
    """``GET …/imports``: of all nodes or of this one; of one request id or idempotency key."""

    local: bool = False
    request_id: Token | None = None


class _Pace:
    """Puts the end of an upload off as long as enough of it keeps coming."""

    def __init__(self, limit: asyncio.Timeout) -> None:
        self._limit = limit
        self._time = asyncio.get_running_loop().time
        self._end = self._time() + UPLOADED_WITHIN_S
        self._bytes = 0

    def took(self, many: int) -> None:
        self._bytes += many
        if self._bytes >= PACE_BYTES:
            self._bytes = 0
            self._limit.reschedule(min(self._time() + PACE_S, self._end))


class _Arriving:
    """A file on its way in; ``progress`` is told how many of its bytes are there."""

    def __init__(self, path: Path, progress: Callable[[int], None], pace: _Pace) -> None:
        self._path = path
        self._progress = progress
        self._pace = pace

    async def copy(self, chunks: AsyncIterator[bytes]) -> None:
        copied = 0
        with self._path.open("wb") as out:
            async for chunk in chunks:
                copied += len(chunk)
                if copied > BYTES_MAX:
                    said = f"The file is larger than {BYTES_MAX >> 20} MiB. Split it, with the"
                    raise Problem(TOO_LARGE, f"{said} header in each part.")
                out.write(chunk)
                self._pace.took(len(chunk))
                self._progress(copied)


async def receive(
    request: web.Request, path: Path, progress: Callable[[int], None]
) -> dict[str, str]:
    """Write the file of a request to ``path``; return the fields of its form. Raises Problem."""
    kind = request.content_type.lower()
    if kind not in FILES | {FORM}:
        known = ", ".join(sorted({FORM, *FILES}))
        raise Problem(UNSUPPORTED, f"Send the file as one of {known}, not {one_line(kind[:100])}.")
    check_body(request, BYTES_MAX + (AROUND_BYTES if kind == FORM else 0))
    try:
        async with asyncio.timeout(PACE_S) as limit:
            file = _Arriving(path, progress, _Pace(limit))
            if kind == FORM:
                return await _form(request, file)
            await file.copy(request.content.iter_chunked(CHUNK_BYTES))
            return {}
    except TimeoutError:
        raise Problem(
            TOO_SLOW,
            f"The file came too slowly: each {PACE_BYTES >> 10} KiB of it, or the rest, must "
            f"arrive within {PACE_S:g} seconds, and all of it within {UPLOADED_WITHIN_S:g}. "
            "Nothing was changed. Send it compressed (gzip), by a faster way, or in parts.",
        ) from None
    except _UNREADABLE as broken:
        raise Problem(MALFORMED, f"The body cannot be read: {broken!r}.") from None


async def _form(request: web.Request, file: _Arriving) -> dict[str, str]:
    form = await request.multipart()
    fields: dict[str, str] = {}
    names: list[str] = []
    while (part := await form.next()) is not None:
        if not isinstance(part, BodyPartReader) or part.name is None:
            raise _malformed("body", "each part must be a field with a name, or the file")
        name = one_line(part.name[:NAME_SHOWN_MAX])
        if name in names:
            raise _malformed(name, "given more than once")
        if len(names) >= FIELDS_MAX:
            raise _malformed("body", f"at most {FIELDS_MAX} fields")
        coding = part.headers.get(hdrs.CONTENT_TRANSFER_ENCODING, "binary").lower()
        if coding not in {"7bit", "8bit", "binary"}:
            raise _malformed(name, "must be sent as it is, without a transfer encoding")
        names.append(name)
        if name == FILE:
            await file.copy(_chunks_of(part))
        else:
            fields[name] = await _field(part, name)
    if FILE not in names:
        raise _malformed(FILE, f"the form needs the file, as a field named {FILE}")
    return fields


async def _chunks_of(part: BodyPartReader) -> AsyncIterator[bytes]:
    while not part.at_eof():
        yield await part.read_chunk(CHUNK_BYTES)


async def _field(part: BodyPartReader, name: str) -> str:
    content = b""
    async with aclosing(_chunks_of(part)) as chunks:  # type: ignore[type-var]
        async for chunk in chunks:
            content += chunk
            if len(content) > FIELD_BYTES_MAX:
                raise _malformed(name, f"must be at most {FIELD_BYTES_MAX} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise _malformed(name, "must be UTF-8") from None


def _malformed(field: str, message: str) -> Problem:
    error = FieldError(field, message)
    return Problem(MALFORMED, f"{field}: {message}.", (error,))
