"""What a request over HTTP says of itself: its name, its caller, its idempotency key."""

import hashlib
import itertools
import re
from functools import lru_cache
from typing import NamedTuple

import orjson
from aiohttp import HttpVersion10, hdrs, web
from multidict import CIMultiDictProxy, istr

from coordinator.api import problems
from coordinator.api.problems import REQUEST_ID, FieldError, Problem
from coordinator.clock import monotonic_us
from coordinator.config import Settings
from coordinator.core.records import Origin
from coordinator.core.requests import Call

IDEMPOTENCY_KEY = istr("Idempotency-Key")
USER = istr("X-User")
USER_AGENT_MAX = 200
NAME = web.RequestKey("name", str)
"""Where a request carries its id."""

_TOKEN = re.compile(r"[\x21-\x7e]{1,128}")
USER_MAX = 100


class Head(NamedTuple):
    """What a call looks at of an HTTP request, besides its body. ``name`` is the request's id."""

    name: str
    path: str
    query: str
    headers: CIMultiDictProxy[str]
    remote: str | None


def head_of(request: web.Request) -> Head:
    """Return the head of a request that has a name."""
    query = request.rel_url.raw_query_string
    return Head(request[NAME], request.path, query, request.headers, request.remote)


class Caller:
    """Names requests and their origins for one node."""

    def __init__(self, settings: Settings, instance: str) -> None:
        self._settings = settings
        self._instance = instance
        self._serial = itertools.count(1)

    def name_request(self, request: web.Request) -> str:
        """Return the request's own id, or a new one. Raises Problem when it is malformed."""
        name = self.name(request.headers)
        if not request.headers.get(hdrs.HOST):
            _check_old_caller(request)
        request[NAME] = name
        return name

    def name(self, headers: CIMultiDictProxy[str]) -> str:
        """Return the id that a request brings along, or a new one. Raises Problem."""
        given = headers.get(REQUEST_ID)
        if given is None:
            return f"{self._instance}-{next(self._serial):x}"
        if not _TOKEN.fullmatch(given) or len(headers.getall(REQUEST_ID)) > 1:
            raise _bad_header(REQUEST_ID, "one of 1 to 128 visible ASCII characters")
        return given

    def check_names(self, site: str, partition: str, invoice_type: str | None = None) -> None:
        """Raise Problem for a name that is not configured."""
        settings = self._settings
        checks = [("siteId", site, settings.sites), ("partitionId", partition, settings.partitions)]
        if invoice_type is not None:
            checks.append(("invoiceType", invoice_type, settings.invoice_types))
        errors = [
            FieldError(field, f"{value!r} is not configured; known are {', '.join(known)}")
            for field, value, known in checks
            if value not in known
        ]
        if errors:
            detail = "; ".join(f"{error.field}: {error.message}" for error in errors)
            raise Problem(problems.UNKNOWN_NAME, f"{detail}. Nothing was allocated.", tuple(errors))
        if invoice_type == "simulated" and not settings.simulated_enabled:
            raise Problem(problems.SWITCHED_OFF, "Simulated invoices get no numbers here.")

    def call(
        self,
        head: Head,
        site: str,
        partition: str,
        invoice_type: str | None,
        request_id: str | None = None,
        payload: object = None,
        metadata: str | None = None,
    ) -> Call:
        """Return what the core needs to know of an HTTP request. Raises Problem."""
        headers = head.headers
        user = headers.get(USER)
        if user is not None and not (_is_user(user) and len(headers.getall(USER)) == 1):
            raise _bad_header(USER, f"one of 1 to {USER_MAX} printable characters")
        agent = headers.get(hdrs.USER_AGENT)
        origin = _origin(site, partition, invoice_type, user, head.remote, agent)
        key = key_in(headers)
        if key is not None:
            if request_id is not None and request_id != key:
                raise _bad_header(IDEMPOTENCY_KEY, "the same as requestId, or left out")
        else:
            key = request_id
        digest = None if key is None else _digest(head.path, origin[:3], payload, metadata)
        return Call(origin, head.name, monotonic_us(), key, digest, metadata)


def key_in(headers: CIMultiDictProxy[str]) -> str | None:
    """Return the idempotency key in a request's header, if there is one. Raises Problem."""
    key = headers.get(IDEMPOTENCY_KEY)
    if key is None:
        return None
    if not _TOKEN.fullmatch(key) or len(headers.getall(IDEMPOTENCY_KEY)) > 1:
        raise _bad_header(IDEMPOTENCY_KEY, "one of 1 to 128 visible ASCII characters")
    return key


@lru_cache(maxsize=4096)
def _origin(
    site: str,
    partition: str,
    invoice_type: str | None,
    user: str | None,
    address: str | None,
    agent: str | None,
) -> Origin:
    if agent is not None:
        agent = "".join(c for c in agent[:USER_AGENT_MAX] if c.isprintable())
    return Origin(site, partition, invoice_type, user, address, agent)


def _check_old_caller(request: web.Request) -> None:
    """Refuse what aiohttp lets pass without a Host: HTTP/0.9 and an empty one."""
    if request.version < HttpVersion10:
        detail = "HTTP/0.9 has no way to say that a request is refused. Use HTTP/1.1."
        raise Problem(problems.MALFORMED, detail)
    if hdrs.HOST in request.headers:
        raise _bad_header(hdrs.HOST, "the name of this host")


def _is_user(name: str) -> bool:
    return 1 <= len(name) <= USER_MAX and name.isprintable()


def _digest(*payload: object) -> str:
    # The order of names in JSON says nothing, and may be another one when a caller repeats itself.
    content = orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(content).hexdigest()[:16]


def _bad_header(name: str, wanted: str) -> Problem:
    return Problem(
        problems.MALFORMED, f"{name}: must be {wanted}.", (FieldError(name, f"must be {wanted}"),)
    )
