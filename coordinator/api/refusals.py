"""Saying no: every refusal is named, counted, logged sparingly and answered as a problem."""

import logging
from collections.abc import Callable
from http import HTTPStatus

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from coordinator.api import problems
from coordinator.api.own_site import refuse_other_sites
from coordinator.api.problems import REQUEST_ID, FieldError, Problem, answer, one_line
from coordinator.api.sparing import SparingLog

log = logging.getLogger(__name__)

SHOWN_MAX = 200
"""How much of a caller's text is repeated in an answer or in the log."""

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
                    refuse_other_sites(request)
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
                return self._answer(request, _error_in_here(request_id), request_id)
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
        return self._answer(request, _error_in_here("-"), "-")

    def turn_away(self, remote: object, problem: Problem) -> web.Response:
        """Return the answer to a caller whose request was not read at all."""
        return self._answer(None, problem, "-", remote)

    def _answer(
        self,
        request: web.Request | None,
        problem: Problem,
        request_id: str,
        remote: object = None,
    ) -> web.Response:
        kind = problem.kind
        self._count_error(kind.code)
        what = "a connection"
        if request is not None:
            what, remote = f"{request.method} {request.rel_url.raw_path}", request.remote
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


def _error_in_here(request_id: str) -> Problem:
    detail = f"An error in the program. Report it with the request id {request_id}."
    return Problem(problems.INTERNAL, detail)
