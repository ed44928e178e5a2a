"""Every refusal: what, why, what next; as ``application/problem+json`` (RFC 9457).

The table below is the one place where an error gets its code, its status and its title.
"""

from collections.abc import Mapping
from typing import NamedTuple

import orjson
from aiohttp import hdrs, web
from multidict import istr

from coordinator.import_files import RowError

REQUEST_ID = istr("X-Request-Id")


class Kind(NamedTuple):
    """One kind of refusal. ``retry_after_s`` is 0 where asking again would not help."""

    code: str
    status: int
    title: str
    retry_after_s: int = 0


UNKNOWN_NAME = Kind("NB001", 404, "Not configured")
EXHAUSTED = Kind("NB002", 409, "Sequence exhausted")
NO_RESERVATION = Kind("NB004", 409, "Reservation expired or unknown")
DUPLICATE = Kind("NB005", 409, "Duplicate number")
BAD_FORMAT = Kind("NB006", 422, "Invalid format")
NO_OVERRIDE = Kind("NB007", 403, "Manual override not allowed")
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
HEAD_TOO_LARGE = Kind("NB021", 431, "Address or headers too large")
TOO_SLOW = Kind("NB022", 408, "Request did not arrive in time")
EXPECTATION = Kind("NB023", 417, "Expectation cannot be met")
NOTHING_LOST = Kind("NB024", 409, "This node misses nothing")
TRIMMED = Kind("NB025", 409, "Its ledger entries have left the store")
NOT_A_NODE = Kind("NB026", 403, "For other nodes only")
DECLINED = Kind("NB027", 409, "This node does not commit for others now")
BAD_SERIES = Kind("NB028", 422, "Definition of a series refused")
SERIES_EXISTS = Kind("NB029", 409, "Series exists already")
SERIES_CHANGED = Kind("NB030", 409, "Series was changed meanwhile")
CONFIRMED = Kind("NB031", 409, "Reservation is confirmed")
HELD = Kind("NB032", 409, "Number is reserved, or void")
CLOSED = Kind("NB033", 409, "Count is closed")
OPEN_RESERVATIONS = Kind("NB034", 409, "Reservations are open")
NOT_AHEAD = Kind("NB035", 409, "The count only goes up")
FAR_AHEAD = Kind("NB036", 409, "Many numbers would be passed over")
OTHER_TEXT = Kind("NB037", 409, "Number was issued under another text")
ENDLESS = Kind("NB038", 409, "This count has no end")
ROWS_REFUSED = Kind("NB043", 422, "Rows of the file do not fit: nothing was changed")
BAD_FILE = Kind("NB044", 422, "File cannot be imported")
IMPORT_TOO_LARGE = Kind("NB045", 422, "Too much for one commit")
STREAMS_FULL = Kind("NB047", 503, "Too many event streams", 5)
DEMO_BUSY = Kind("NB049", 409, "A demonstration runs already")
NO_SUCH_JOB = Kind("NB050", 404, "No such demonstration here")
CANNOT_STRIKE = Kind("NB051", 409, "Not done to this process")
OUT_OF_REACH = Kind("NB052", 503, "Out of reach just now", 1)
NO_SUCH_ENTRY = Kind("NB053", 404, "No such ledger entry")
NO_SUCH_IMPORT = Kind("NB054", 404, "No such import here")
OTHER_SITE = Kind("NB055", 403, "Asked for by a page of another web site")
NO_ROOM = Kind("NB056", 503, "No room for the file here: nothing was changed", 5)
INTERNAL = Kind("NB099", 500, "Error in the coordinator")


def one_line(text: str) -> str:
    """Return text of a caller's so that it cannot forge lines of a log."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class FieldError(NamedTuple):
    """One field that is wrong, and how."""

    field: str
    message: str


class Problem(Exception):
    """A request that cannot be served; ``Refusals`` turns it into the answer.

    ``allow`` are the methods that the address takes, where the method was wrong; ``more`` are
    fields that the answer has besides those of every problem.
    """

    def __init__(
        self,
        kind: Kind,
        detail: str,
        errors: tuple[FieldError | RowError, ...] = (),
        allow: str | None = None,
        more: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.errors = errors
        self.allow = allow
        self.more = more or {}


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
        **problem.more,
    }
    headers = {"Content-Type": "application/problem+json"}
    if kind.retry_after_s:
        headers["Retry-After"] = str(kind.retry_after_s)
    if problem.allow is not None:
        headers[hdrs.ALLOW] = problem.allow
    return web.Response(body=orjson.dumps(body), status=kind.status, headers=headers)
