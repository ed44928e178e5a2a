"""From an HTTP request to a request of the core, and from its outcome to an answer or a problem."""

import asyncio
import hashlib
import itertools
import re
from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson
from aiohttp import HttpVersion10, hdrs, web
from multidict import CIMultiDictProxy, istr

from coordinator.api import problems
from coordinator.api.answers import JsonAnswer, json_answer
from coordinator.api.problems import REQUEST_ID, FieldError, Problem
from coordinator.clock import monotonic_us
from coordinator.config import Settings
from coordinator.core.records import Origin
from coordinator.core.requests import Call, Done, Refused, Request, Why
from coordinator.sequencer import Sequencer
from coordinator.service import Answer, NotServed, OutcomeUnknown, StoreDown

IDEMPOTENCY_KEY = istr("Idempotency-Key")
USER = istr("X-User")
REPLAYED = "Idempotent-Replayed"
USER_AGENT_MAX = 200
NAME = web.RequestKey("name", str)
"""Where a request carries its id."""

_TOKEN = re.compile(r"[\x21-\x7e]{1,128}")
USER_MAX = 100
_REFUSALS = {
    Why.NEVER_ISSUED: (
        problems.NEVER_ISSUED,
        "Number {} was never issued. Check the number; /api/v1/sequence/stats has the highest.",
    ),
    Why.ALREADY_FREE: (
        problems.ALREADY_FREE,
        "Number {} is a gap already and waits to be issued again; nothing needs to be done.",
    ),
    Why.OTHER_OWNER: (
        problems.OTHER_OWNER,
        "The number was issued to {}; only that site and partition can release it.",
    ),
    Why.ISSUED_ANEW: (
        problems.OTHER_OWNER,
        "Number {} was released and issued anew since; it is another caller's now.",
    ),
    Why.KEY_REUSED: (
        problems.KEY_REUSED,
        "Key {!r} was used for another request. Use a new key for a new request.",
    ),
    Why.NOTHING_LOST: (
        problems.NOTHING_LOST,
        "This node misses nothing with that hash; /api/v1/cluster shows what it does, as rewinds.",
    ),
    Why.TRIMMED: (
        problems.TRIMMED,
        "The entry that issued number {} has left the store; an older export of the ledger has it.",
    ),
    Why.NOTHING_TO_TRIM: (problems.TRIMMED, "These entries have left the store already."),
    Why.EXHAUSTED: (
        problems.EXHAUSTED,
        "The series ends at {} and has too few numbers left. Ask for fewer, or extend the series.",
    ),
    Why.HELD: (problems.HELD, "Number {} is reserved: confirm or cancel the reservation first."),
    Why.VOID: (problems.HELD, "Number {} is void and will never be issued again."),
    Why.NO_RESERVATION: (
        problems.NO_RESERVATION,
        "No reservation of number {} has this token. Check the token, or reserve a new number.",
    ),
    Why.NOT_DUE: (problems.NO_RESERVATION, "The reservation of {} has not expired yet."),
    Why.TOO_LARGE: (
        problems.TOO_LARGE,
        "{} numbers do not fit into one transaction of the store. Ask for fewer at a time.",
    ),
    Why.TAKEN: (problems.DUPLICATE, "The number is taken: {}. Choose one that is not."),
    Why.NOT_AHEAD: (
        problems.NOT_AHEAD,
        "The count goes on with {0}, and only up: lower numbers would go out twice. Ask for more.",
    ),
    Why.FAR_AHEAD: (
        problems.FAR_AHEAD,
        "{0} numbers would become void. If that is meant, ask again with pass_over_max: {0}.",
    ),
    Why.OTHER_TEXT: (problems.OTHER_TEXT, "It was issued as {}. Write it as it was issued."),
    Why.CLOSED: (
        problems.CLOSED,
        "The count is closed for good: no number goes out or comes back. Take one that is open.",
    ),
    Why.OPEN_RESERVATIONS: (
        problems.OPEN_RESERVATIONS,
        "{} of its numbers are reserved. Confirm or cancel them, or wait until they expire.",
    ),
}
_OF_A_DOCUMENT = (
    "The number is of a document, and so of no site that could release it. Void it by its text: "
    "POST /api/v1/admin/document-numbering/void-and-replace."
)


class Head(NamedTuple):
    """What a call looks at of an HTTP request, besides its body. ``name`` is the request's id."""

    name: str
    path: str
    query: str
    headers: CIMultiDictProxy[str]
    remote: str | None


class Order(NamedTuple):
    """A call that is one request to one counter, and how its caller is told what was done."""

    sequencer: Sequencer
    request: Request
    tell: Callable[[Done], dict[str, Any]]


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


def not_done(call: Call, why: str, advice: str) -> str:
    """Return how to say that a request was not served.

    It may be a repetition: what became of the earlier request, nobody can tell without the store.
    """
    return of_this_request(f"Nothing was allocated: {why.rstrip('.')}. {advice}", call.key)


def of_this_request(detail: str, key: str | None) -> str:
    """Return why a request was not served, with what that does not say where it has a key."""
    if key is None:
        return detail
    return (
        f"{detail} This is about this request only: an earlier one with the same key may have been "
        "served, so keep the key when you repeat it."
    )


async def serve(
    sequencer: Sequencer, request: Request, connection: asyncio.Transport | None
) -> Done:
    """Have a request served, as ``ask`` does. Raises Problem for everything but success."""
    return done_of(await ask(sequencer, request, connection))


async def ask(
    sequencer: Sequencer, request: Request, connection: asyncio.Transport | None
) -> Answer:
    """Have a request served; return also a refusal. Raises Problem when nobody could decide.

    When the caller's connection has gone by then, the sequencer hears of it: nothing of the answer
    has been written yet. The server cancels a handler whose connection goes while it waits.
    """
    try:
        reply = sequencer.submit(request)
        try:
            outcome = await reply
        except asyncio.CancelledError:
            sequencer.caller_left(request, reply)
            raise
    except (NotServed, OutcomeUnknown) as failed:
        raise problem_of(failed, request.call) from None
    if connection is None or connection.is_closing():
        sequencer.caller_left(request, reply)
    return outcome


def outcome_of(reply: asyncio.Future[Answer], call: Call) -> Answer:
    """Return what a reply that has come says. Raises Problem when nobody could decide."""
    try:
        return reply.result()
    except (NotServed, OutcomeUnknown) as failed:
        raise problem_of(failed, call) from None


def done_of(outcome: Answer) -> Done:
    """Return what was done. Raises Problem for a refusal."""
    if isinstance(outcome, Refused):
        raise refusal(outcome)
    return outcome


def answer_of(done: Done, body: dict[str, Any], status: int = HTTPStatus.OK) -> JsonAnswer:
    """Return the answer to what was done, marked when it was done before."""
    answer = json_answer(body, status)
    if done.replayed:
        answer.headers[REPLAYED] = "true"
    return answer


def refusal(refused: Refused) -> Problem:
    """Return what a caller is told about a request that was refused."""
    if refused == Refused(Why.OTHER_OWNER, "/"):
        return Problem(problems.OTHER_OWNER, _OF_A_DOCUMENT)
    kind, sentence = _REFUSALS[refused.why]
    return Problem(kind, sentence.format(refused.subject))


def problem_of(failed: NotServed | OutcomeUnknown, call: Call) -> Problem:
    """Return what a caller is told about a request that was not answered."""
    match failed:
        case StoreDown():
            detail = not_done(call, str(failed), "Try again later, or ask another node.")
            return Problem(problems.STORE_UNAVAILABLE, detail)
        case NotServed():
            detail = not_done(call, str(failed), "Try again, best with an idempotency key.")
            return Problem(problems.BUSY, detail)
        case OutcomeUnknown():
            detail = (
                f"It is not known whether this was done: {failed}. Repeat with the same "
                "idempotency key to get the one answer; without a key, look in "
                f"/api/v1/sequence/audit for requestId={call.correlation}."
            )
            return Problem(problems.OUTCOME_UNKNOWN, detail)
