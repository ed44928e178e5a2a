"""Every refusal: what, why, what next; as ``application/problem+json`` (RFC 9457).

The table below is the one place where an error gets its code, its status and its title.
"""

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

import orjson
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from multidict import istr

log = logging.getLogger(__name__)

REQUEST_ID = istr("X-Request-Id")


class Kind(NamedTuple):
    """One kind of refusal. ``retry_after_s`` is 0 where asking again would not help."""

    code: str
    status: int
    title: str
    retry_after_s: int = 0


UNKNOWN_NAME = Kind("NB001", 404, "Not configured")
EXHAUSTED = Kind("NB002", 409, "Sequence exhausted")
BUSY = Kind("NB003", 503, "Busy: nothing was allocated", 1)
STORE_UNAVAILABLE = Kind("NB008", 503, "Store unavailable: nothing was allocated", 2)
MALFORMED = Kind("NB009", 400, "Malformed request")
NEVER_ISSUED = Kind("NB010", 404, "Number never issued")
ALREADY_FREE = Kind("NB011", 409, "Number already released")
OTHER_OWNER = Kind("NB012", 409, "Number belongs to another site or partition")
KEY_REUSED = Kind("NB013", 422, "Idempotency key used before with another payload")
OUTCOME_UNKNOWN = Kind("NB014", 504, "Outcome unknown", 1)
FORBIDDEN = Kind("NB015", 403, "Not allowed in this profile")
NO_SUCH_ROUTE = Kind("NB016", 404, "No such address")
WRONG_METHOD = Kind("NB017", 405, "Method not allowed here")
TOO_LARGE = Kind("NB018", 413, "Request too large")
UNSUPPORTED = Kind("NB019", 415, "Unsupported media type")
SWITCHED_OFF = Kind("NB020", 409, "Invoice type is switched off")
NOTHING_LOST = Kind("NB021", 409, "This node misses nothing")
INTERNAL = Kind("NB099", 500, "Error in the coordinator")

_BY_STATUS = {
    403: NO_SUCH_ROUTE,  # aiohttp forbids to list a folder; nothing else here is forbidden by it
    404: NO_SUCH_ROUTE,
    405: WRONG_METHOD,
    413: TOO_LARGE,
    415: UNSUPPORTED,
}


def one_line(text: str) -> str:
    """Return text of a caller's so that it cannot forge lines of a log."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class FieldError(NamedTuple):
    """One field that is wrong, and how."""

    field: str
    message: str


class Problem(Exception):
    """A request that cannot be served; the middleware turns it into the answer."""

    def __init__(self, kind: Kind, detail: str, errors: tuple[FieldError, ...] = ()) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.errors = errors


def answer(problem: Problem, request_id: str) -> web.Response:
    """Return the problem as an HTTP answer."""
    kind = problem.kind
    body = {
        "type": f"urn:sequence-coordinator:problem:{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": problem.detail,
        "code": kind.code,
        "request_id": request_id,
        "retryable": kind.retry_after_s > 0,
        "errors": [error._asdict() for error in problem.errors],
        "success": False,
        "error": problem.detail,
    }
    headers = {"Content-Type": "application/problem+json"}
    if kind.retry_after_s:
        headers["Retry-After"] = str(kind.retry_after_s)
    return web.Response(body=orjson.dumps(body), status=kind.status, headers=headers)


def guard(
    handler: Handler,
    name_request: Callable[[web.Request], str],
    count_error: Callable[[str], None],
) -> Handler:
    """Return a handler that names every request, and answers every error as a problem.

    Wrapped around each handler, not a middleware: those cost every request twice as much.
    """

    async def guarded(request: web.Request) -> web.StreamResponse:
        problem: Problem
        request_id = "-"
        try:
            request_id = name_request(request)
            response = await handler(request)
        except Problem as refused:
            problem = refused
        except web.HTTPException as refused:
            if refused.status < HTTPStatus.BAD_REQUEST:
                raise
            problem = _from_aiohttp(request, refused)
        except Exception:
            path = request.rel_url.raw_path
            log.exception("%s %s failed, request id %s", request.method, path, request_id)
            detail = f"An error in the program. Report it with the request id {request_id}."
            problem = Problem(INTERNAL, detail)
        else:
            if log.isEnabledFor(logging.DEBUG):
                path = request.rel_url.raw_path
                log.debug("served %s %s, request id %s", request.method, path, request_id)
            response.headers[REQUEST_ID] = request_id
            response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
            return response
        count_error(problem.kind.code)
        path, kind = request.rel_url.raw_path, problem.kind
        said = (kind.status, kind.code, request.method, path, request_id, one_line(problem.detail))
        log.info("refused %s %s %s %s, request id %s: %s", *said)
        refusal = answer(problem, request_id)
        refusal.headers[REQUEST_ID] = request_id
        refusal.headers[hdrs.CACHE_CONTROL] = "no-store"
        return refusal

    return guarded


async def nothing_here(request: web.Request) -> web.StreamResponse:
    """Say that an address does not exist, or which methods it takes. Raises always."""
    allowed: set[str] = set()
    for resource in request.app.router.resources():
        allowed |= (await resource.resolve(request))[1]
    methods = allowed - {hdrs.METH_ANY, request.method}
    if methods:
        raise web.HTTPMethodNotAllowed(request.method, methods)
    raise web.HTTPNotFound


def _from_aiohttp(request: web.Request, refused: web.HTTPException) -> Problem:
    kind, path = _BY_STATUS.get(refused.status, MALFORMED), request.rel_url.raw_path
    if isinstance(refused, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(refused.allowed_methods))
        return Problem(kind, f"{path} takes {allowed}, not {request.method}.")
    if kind is NO_SUCH_ROUTE:
        return Problem(kind, f"There is nothing at {path}.")
    if refused.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return Problem(kind, f"The body is larger than {request.client_max_size} bytes.")
    return Problem(kind, refused.reason)
