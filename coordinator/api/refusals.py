"""Saying no: every refusal is named, counted, logged sparingly and answered as a problem."""

import logging
import re
from collections.abc import Callable
from http import HTTPStatus

from aiohttp import hdrs, http_exceptions, web
from aiohttp.typedefs import Handler

from coordinator.api import problems
from coordinator.api.own_site import refuse_other_sites
from coordinator.api.problems import REQUEST_ID, FieldError, Problem, answer, one_line
from coordinator.api.sparing import SparingLog

log = logging.getLogger(__name__)

SHOWN_MAX = 200
"""How much of a caller's text is repeated in an answer or in the log."""

_FIELD = re.compile(r"\b(Host|Content-Type|Content-Length|Transfer-Encoding)\b")
_BY_STATUS = {
    403: problems.NO_SUCH_ROUTE,  # aiohttp forbids to list a folder, and nothing else
    404: problems.NO_SUCH_ROUTE,
    405: problems.WRONG_METHOD,
    413: problems.TOO_LARGE,
    415: problems.UNSUPPORTED,
    417: problems.EXPECTATION,
}


class Refusals:
    """Turns errors into answers. Belongs to one node and its running loop."""

    def __init__(
        self, name_request: Callable[[web.Request], str], count_error: Callable[[str], None]
    ) -> None:
        self._name_request = name_request
        self._count_error = count_error
        self._lines = SparingLog(log)

    def guard(self, handler: Handler, *, changes: bool = False) -> Handler:
        """Return a handler that names every request, and answers every error as a problem.

        One that ``changes`` something refuses what pages of other web sites ask for.

        Wrapped around each handler, not a middleware: those cost every request twice as much.
        """
        name_request = self._name_request

        async def guarded(request: web.Request) -> web.StreamResponse:
            request_id = "-"
            try:
                request_id = name_request(request)
                if changes:
                    refuse_other_sites(request.headers)
                response = await handler(request)
            except Problem as refused:
                return self._answer(request, refused, request_id)
            except web.HTTPException as refused:
                if refused.status < HTTPStatus.BAD_REQUEST:
                    raise
                return self._answer(request, from_aiohttp(request, refused), request_id)
            except Exception:
                path = request.rel_url.raw_path[:SHOWN_MAX]
                log.exception("%s %s failed, request id %s", request.method, path, request_id)
                return self._answer(request, error_in_here(request_id), request_id)
            if log.isEnabledFor(logging.DEBUG):
                path = request.rel_url.raw_path
                log.debug("served %s %s, request id %s", request.method, path, request_id)
            response.headers[REQUEST_ID] = request_id
            response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
            return response

        return guarded

    def refuse(self, request: web.Request, problem: Problem) -> web.Response:
        """Return the answer to a request that came to no handler of ours."""
        try:
            request_id = self._name_request(request)
        except Problem as unnamed:
            request_id, problem = "-", unnamed
        return self._answer(request, problem, request_id)

    def failed(self, request: web.Request, error: BaseException | None) -> web.Response:
        """Return the answer to a request that failed outside any handler of ours."""
        path = request.rel_url.raw_path[:SHOWN_MAX]
        log.error("%s %s failed", request.method, path, exc_info=error)
        return self._answer(request, error_in_here("-"), "-")

    def _answer(self, request: web.Request, problem: Problem, request_id: str) -> web.Response:
        what = f"{request.method} {request.rel_url.raw_path}"
        return self.turn_away(problem, request.remote, what, request_id)

    def turn_away(
        self, problem: Problem, remote: object, what: str = "a connection", request_id: str = "-"
    ) -> web.Response:
        """Return the answer to a caller, of whose request perhaps nothing was read."""
        kind = problem.kind
        self._count_error(kind.code)
        self._lines.info(
            f"refused {kind.status} {kind.code}",
            "refused %d %s %s from %s, request id %s: %s",
            *(kind.status, kind.code, one_line(what[:SHOWN_MAX]), remote, request_id),
            one_line(problem.detail[: 2 * SHOWN_MAX]),
        )
        refusal = answer(problem, request_id)
        refusal.headers[REQUEST_ID] = request_id
        refusal.headers[hdrs.CACHE_CONTROL] = "no-store"
        return refusal


async def nothing_here(request: web.Request) -> web.StreamResponse:
    """Say that an address does not exist, or which methods it takes. Raises always."""
    allowed: set[str] = set()
    for resource in request.app.router.resources():
        allowed |= (await resource.resolve(request))[1]
    methods = allowed - {hdrs.METH_ANY, request.method}
    if methods:
        raise web.HTTPMethodNotAllowed(request.method, methods)
    raise web.HTTPNotFound


def from_aiohttp(request: web.Request, refused: web.HTTPException) -> Problem:
    """Return a refusal of aiohttp's as a problem."""
    kind = _BY_STATUS.get(refused.status, problems.MALFORMED)
    path = one_line(request.rel_url.raw_path[:SHOWN_MAX])
    if request.method == hdrs.METH_CONNECT:
        return Problem(problems.WRONG_METHOD, "This is no proxy: it takes no CONNECT.", allow="")
    if isinstance(refused, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(refused.allowed_methods))
        return Problem(kind, f"{path} takes {allowed}, not {request.method}.", allow=allowed)
    if kind is problems.NO_SUCH_ROUTE:
        return Problem(kind, f"There is nothing at {path}.")
    if kind is problems.TOO_LARGE:
        return Problem(kind, f"The body is larger than {request.client_max_size} bytes.")
    if kind is problems.EXPECTATION:
        error = FieldError(hdrs.EXPECT, "must be 100-continue, or left out")
        return Problem(kind, f"{error.field}: {error.message}.", (error,))
    return Problem(kind, refused.reason)


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


def error_in_here(request_id: str) -> Problem:
    """Return the problem of an error in this program."""
    detail = f"An error in the program. Report it with the request id {request_id}."
    return Problem(problems.INTERNAL, detail)
