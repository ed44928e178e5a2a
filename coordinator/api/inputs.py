"""What callers may send: models at the edge, strict, with an error that names the field."""

import asyncio
import json
import re
from math import isfinite
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import unquote_to_bytes

import aiohttp
import orjson
from aiohttp import hdrs, web
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from yarl import URL

from coordinator.api.problems import (
    MALFORMED,
    TOO_LARGE,
    TOO_SLOW,
    UNSUPPORTED,
    FieldError,
    Problem,
    one_line,
)
from coordinator.api.wording import ASCII_300, PRINTABLE, VISIBLE_64, VISIBLE_128, in_words
from coordinator.import_files.values import shallow

METADATA_BYTES_MAX = 4_096
BODY_WITHIN_S = 10.0
NUMBER_MAX = 2**63 - 1
WHOLE_CHARS_MAX = 20
"""No number of 64 bits has more, with its sign; Python refuses thousands in words of its own."""

ERRORS_SHOWN_MAX = 20
NAME_SHOWN_MAX = 100

Name = Annotated[str, StringConstraints(pattern=VISIBLE_64)]
Token = Annotated[str, StringConstraints(pattern=VISIBLE_128)]
# Any text a person would write: no control characters, no line breaks that forge log lines.


def _digits(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch("[0-9]{1,20}", value):
        raise ValueError("must be a whole number, in digits")
    return value


Whole = Annotated[int, BeforeValidator(_digits)]
Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=PRINTABLE),
]
Operation = Literal[
    "GENERATE",
    "RELEASE",
    "RECOVER",
    "RESERVE",
    "CONFIRM",
    "CANCEL",
    "EXPIRE",
    "VOID",
    "MANUAL_OVERRIDE",
    "IMPORT",
    "ADJUST",
    "RESET",
]
CounterName = Annotated[str, StringConstraints(pattern=ASCII_300)]
_STRAY_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")
_KINDS = {"str", "constrained-str", "list"}
"""Parts of the place of an error that name one of several kinds a value may be of."""
_MEDIA_TYPES = {"application/json", "application/octet-stream"}
_CODINGS = {"", "identity", "gzip", "deflate"}
Model = TypeVar("Model", bound="Input")


class Input(BaseModel):
    """Names as the callers write them; nothing unknown, nothing converted in silence."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Query(Input):
    """A query: everything comes as text, so numbers may be converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)

    @classmethod
    def parse(cls, url: URL) -> Self:
        """Return the query of an address. Raises Problem."""
        try:
            unquote_to_bytes(url.raw_query_string).decode()
        except UnicodeDecodeError:
            raise _malformed([FieldError("query", "must be UTF-8, percent-encoded")]) from None
        if _STRAY_PERCENT.search(url.raw_query_string):
            raise _malformed([FieldError("query", "% must stand before two hexadecimal digits")])
        fields: dict[str, str] = {}
        for name, value in url.query.items():
            if name in fields:
                field = one_line(name[:NAME_SHOWN_MAX])
                raise _malformed([FieldError(field, "given more than once")])
            fields[name] = value
        return cls.of(fields)

    @classmethod
    def of(cls, fields: dict[str, str]) -> Self:
        """Return what fields of text say, as of a form. Raises Problem."""
        return validated(cls, fields)


class NextQuery(Query):
    """``GET /api/v1/sequence/next``."""

    siteId: Name
    partitionId: Name
    invoiceType: Name
    count: Annotated[Whole, Field(ge=1, le=100)] = 1
    requestId: Token | None = None


class NextBody(Input):
    """``POST /api/v1/sequence/next``."""

    siteId: Name
    partitionId: Name
    invoiceType: Name
    count: Annotated[int, Field(ge=1, le=10_000)] = 1
    requestId: Token | None = None
    metadata: Annotated[dict[str, Any], AfterValidator(shallow)] | None = None
    compact: bool = False


class ReleaseBody(Input):
    """``POST /api/v1/sequence/release``."""

    sequenceNumber: Annotated[int, Field(ge=1, le=NUMBER_MAX)]
    siteId: Name
    partitionId: Name
    reason: Text
    requestId: Token | None = None


class AcceptBody(Input):
    """``POST /api/v1/admin/accept-rewind``."""

    lostHash: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16,64}$")]
    reason: Text
    requestId: Token | None = None


class ResetBody(Input):
    """``POST /api/v1/sequence/reset``; no body at all is as good as an empty object."""

    requestId: Token | None = None


class WhichQuery(Query):
    """Which counters are meant: one by name, those of a document type, or those of invoices."""

    counter: CounterName | None = None
    documentType: Name | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if self.counter is not None and self.documentType is not None:
            raise ValueError("counter and documentType: give one of them")
        return self


class GapsQuery(Query):
    """``GET /api/v1/sequence/gaps``: the gaps from ``start`` on."""

    start: Annotated[Whole, Field(ge=0, le=NUMBER_MAX)] = 0
    limit: Annotated[Whole, Field(ge=1, le=1_000)] = 1_000


class ConcurrentQuery(Query):
    """``POST /api/v1/demo/concurrent``."""

    threads: Annotated[Whole, Field(ge=1, le=64)] = 4
    requestsPerThread: Annotated[Whole, Field(ge=1, le=1_000)] = 25


class LoadTestQuery(Query):
    """``POST /api/v1/demo/load-test``."""

    totalRequests: Annotated[Whole, Field(ge=1, le=100_000)] = 1_000
    concurrentThreads: Annotated[Whole, Field(ge=1, le=256)] = 10


class NothingQuery(Query):
    """An address without a query."""


async def body_of(request: web.Request, model: type[Model]) -> Model:
    """Return the JSON body of a request. Raises Problem."""
    return parsed(await content_of(request), model)


async def content_of(request: web.Request) -> bytes:
    """Return the bytes of a body that should be JSON. Raises Problem."""
    _check_headers(request)
    return await _content(request)


def parsed(content: bytes, model: type[Model]) -> Model:
    """Return what the bytes of a body say. Raises Problem."""
    try:
        fields = _JSON.decode(content.decode())
        orjson.dumps(fields)  # refuses what no other JSON reader could take: lone surrogates
    except FieldRepeated as repeated:
        field = one_line(str(repeated)[:NAME_SHOWN_MAX])
        raise _malformed([FieldError(field, "given more than once")]) from None
    except (ValueError, TypeError, RecursionError) as broken:
        raise Problem(MALFORMED, f"The body is no JSON: {broken}.") from None
    if not isinstance(fields, dict):
        raise Problem(MALFORMED, "The body must be a JSON object.")
    return validated(model, fields)


def _check_headers(request: web.Request) -> None:
    given = request.headers.get(hdrs.CONTENT_TYPE, "application/json")
    if given.partition(";")[0].strip().lower() not in _MEDIA_TYPES:
        raise Problem(UNSUPPORTED, f"Send the body as application/json, not {one_line(given)}.")
    if (request.charset or "utf-8").lower() not in {"utf-8", "utf8"}:
        raise Problem(UNSUPPORTED, "Send the body in UTF-8, as JSON is.")
    check_body(request, request.client_max_size)


def check_body(request: web.Request, bytes_max: int) -> None:
    """Raise Problem for a body that nobody decodes here, or that says that it is too large."""
    codings = request.headers.getall(hdrs.CONTENT_ENCODING, [""])
    if len(codings) > 1 or codings[0].strip().lower() not in _CODINGS:
        raise Problem(UNSUPPORTED, "Send the body as it is, or compressed by gzip or deflate.")
    if (request.content_length or 0) > bytes_max:
        raise Problem(TOO_LARGE, f"The body is larger than {bytes_max} bytes.")


async def _content(request: web.Request) -> bytes:
    body = request.content
    if body.is_eof() and not body.exception():  # it came with the head, as small ones do
        content = body.read_nowait()
        if len(content) > request.client_max_size:  # compressed, it was shorter
            raise web.HTTPRequestEntityTooLarge(request.client_max_size)
        return content
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            return await request.read()
    except TimeoutError:
        detail = f"The body did not arrive within {BODY_WITHIN_S:g} seconds."
        raise Problem(TOO_SLOW, detail) from None
    except (web.RequestPayloadError, ConnectionError, aiohttp.ClientPayloadError) as broken:
        raise Problem(MALFORMED, f"The body cannot be read: {broken!r}.") from None


class FieldRepeated(ValueError):
    """An object names a field twice; the message is its name."""


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise FieldRepeated(name)
        fields[name] = value
    return fields


def _finite(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise ValueError(f"{digits[:40]} is beyond what JSON readers agree on")
    return number


def _whole(digits: str) -> int:
    if len(digits) > WHOLE_CHARS_MAX:
        many = f"a whole number of {len(digits):,} digits"
        raise ValueError(f"{many} is beyond what JSON readers agree on, and what is counted here")
    return int(digits)


def _no_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


_JSON = json.JSONDecoder(
    object_pairs_hook=_each_once,
    parse_constant=_no_constant,
    parse_float=_finite,
    parse_int=_whole,
)


def validated(model: type[Model], fields: dict[str, Any]) -> Model:
    """Return what a caller sent as this model. Raises Problem."""
    try:
        return model.model_validate(fields)
    except ValidationError as invalid:
        errors = []
        found = invalid.errors(include_url=False, include_input=False)
        for error in found[:ERRORS_SHOWN_MAX]:
            field = one_line(".".join(_places(error["loc"]))) or "body"
            message = in_words(error)
            if error["type"] == "extra_forbidden":
                known = ", ".join(f.alias or n for n, f in model.model_fields.items()) or "none"
                message = f"unknown field; this address takes {known}"
            errors.append(FieldError(field, message))
        raise _malformed(errors) from None


def _places(where: tuple[str | int, ...]) -> list[str]:
    """Return what a caller knows of the place of an error: names and indexes, no types."""
    names = [str(part)[:NAME_SHOWN_MAX] for part in where]
    return [name for name in names if name not in _KINDS and "[" not in name]


def _malformed(errors: list[FieldError]) -> Problem:
    detail = "; ".join(f"{error.field}: {error.message}" for error in errors)
    return Problem(MALFORMED, f"{detail}.", tuple(errors))


def metadata_text(metadata: dict[str, Any] | None) -> str | None:
    """Return the caller's metadata as JSON text. Raises Problem when it is too large."""
    if metadata is None:
        return None
    text = orjson.dumps(metadata, option=orjson.OPT_SORT_KEYS)
    if len(text) > METADATA_BYTES_MAX:
        message = f"{len(text)} bytes of JSON; at most {METADATA_BYTES_MAX}"
        raise _malformed([FieldError("metadata", message)])
    return text.decode()
