"""What a call orders from a counter, and from its outcome to an answer or a problem."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from coordinator.api import problems
from coordinator.api.answers import JSON_HEADERS, JsonAnswer, Told, json_answer
from coordinator.api.calls import Head, head_of
from coordinator.api.inputs import content_of
from coordinator.api.problems import Problem
from coordinator.core.requests import Call, Done, Refused, Request, Why
from coordinator.sequencer import Sequencer
from coordinator.service import Answer, NotServed, OutcomeUnknown, StoreDown

REPLAYED = "Idempotent-Replayed"
_AGAIN_HEADERS = (*JSON_HEADERS, (REPLAYED, "true"))

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


class Order(NamedTuple):
    """A call that is one request to one counter, and how its caller is told what was done.

    ``tell`` raises Problem for what is done and yet not what was asked for.
    """

    sequencer: Sequencer
    request: Request
    tell: Callable[[Done], dict[str, Any]]
    status: int = HTTPStatus.OK

    def placed(self) -> "Placed":
        """Queue the request. Raises Problem."""
        try:
            return Placed(self, self.sequencer.submit(self.request))
        except NotServed as refused:
            raise problem_of(refused, self.request.call) from None


class Placed(NamedTuple):
    """An order whose request waits, or has been answered."""

    order: Order
    reply: asyncio.Future[Answer]

    def caller_left(self) -> None:
        """Hear that nobody will read the answer: what it brings, if anything, is given back."""
        self.reply.cancel()
        self.order.sequencer.caller_left(self.order.request, self.reply)

    def told(self) -> Told:
        """Return the answer, now that there is a reply. Raises Problem."""
        order = self.order
        done = done_of(outcome_of(self.reply, order.request.call))
        headers = _AGAIN_HEADERS if done.replayed else JSON_HEADERS
        return Told(orjson.dumps(order.tell(done)), order.status, headers)


OrderOf = Callable[[Head, bytes], Order]
"""Returns what the head and the body of a request order. Raises Problem."""


def placing(order_of: OrderOf) -> Callable[[Head, bytes], Placed]:
    """Return what places such orders."""
    return lambda head, body: order_of(head, body).placed()


def handler_of(order_of: OrderOf) -> Handler:
    """Return the handler of a call that is one order; its body, if it may have one, is JSON."""

    async def handle(request: web.Request) -> web.StreamResponse:
        body = b"" if request.method == hdrs.METH_GET else await content_of(request)
        return await answered(request, order_of(head_of(request), body))

    return handle


async def answered(http: web.Request, order: Order) -> JsonAnswer:
    """Have an order served, and return the answer. Raises Problem."""
    done = await serve(order.sequencer, order.request, http.transport)
    return answer_of(done, order.tell(done), order.status)


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
