"""The words that an address is described by."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import BaseModel

from coordinator.api import problems
from coordinator.api.description.words import Word
from coordinator.api.problems import Kind

JSON = "application/json"
TEXT = "text/plain"


class Tag(StrEnum):
    """The groups of calls, in the order in which people read of them."""

    SEQUENCE = "sequence"
    DOCUMENTS = "documents"
    ADMINISTRATION = "administration"
    AUDIT = "audit"
    DEMONSTRATION = "demonstration"
    OPERATIONS = "operations"


class Body(NamedTuple):
    """What a request carries, in one media type; no ``kind``: bytes as they are.

    ``example`` is one that the node takes.
    """

    kind: Any
    example: object = None
    media: str = JSON


class Answer(NamedTuple):
    """What a call answers, when it is not refused.

    ``kind`` is a type, or None for text. ``in_data``: it stands in ``data``, beside ``success``, as
    the calls about documents have it. ``example`` is for text; one of a type is made of its fields.
    """

    status: int
    says: str
    kind: Any = None
    in_data: bool = False
    media: str = JSON
    headers: tuple[str, ...] = ()
    example: object = None


class Call(NamedTuple):
    """One address with one method.

    ``name`` is its id, by which pages link to it. ``asked`` are values of an example, in the path
    and in the query. ``keyed``: it takes an idempotency key. ``refusals`` are those of its own:
    what any call may answer is said once; ``problem`` is the type of their bodies when those say
    more than others. ``may_be_empty``: it needs no body.
    """

    tag: Tag
    name: str
    method: str
    path: str
    summary: str
    says: str
    answers: tuple[Answer, ...]
    refusals: tuple[Kind, ...] = ()
    query: type[BaseModel] | None = None
    in_path: Mapping[str, Any] = {}
    bodies: tuple[Body, ...] = ()
    asked: Mapping[str, Any] = {}
    headers: tuple[str, ...] = ()
    keyed: bool = False
    may_be_empty: bool = False
    problem: Any = None


ANYWHERE = (
    problems.TOO_SLOW,
    problems.TOO_LARGE,
    problems.UNSUPPORTED,
    problems.EXPECTATION,
    problems.HEAD_TOO_LARGE,
    problems.INTERNAL,
    problems.BUSY,
)
"""What any call may be refused with, before anybody looks at what it asks for."""

READING = (problems.BUSY, problems.STORE_UNAVAILABLE)
"""Of those who read the store."""

CHANGING = (
    problems.OTHER_SITE,
    problems.KEY_REUSED,
    problems.BUSY,
    problems.STORE_UNAVAILABLE,
    problems.OUTCOME_UNKNOWN,
)
"""Of those who commit something."""

DEMONSTRATING = (problems.FORBIDDEN, problems.OTHER_SITE)
"""Of those who start or stop something in a demonstration."""

IDEMPOTENCY_KEY = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
REQUEST_ID = "X-Request-Id"
USER = "X-User"
LAST_EVENT_ID = "Last-Event-ID"

REQUEST_HEADERS = {
    REQUEST_ID: Word(
        "Your own name for this request: 1 to 128 visible ASCII characters. It comes back in the "
        "answer and stands in the log and in the ledger. Without it the node makes one up.",
        "order-4711",
    ),
    IDEMPOTENCY_KEY: Word(
        "Makes the request safe to repeat, at any node: the same key with the same request brings "
        "the same answer again, another request with it is refused with NB013. 1 to 128 visible "
        "ASCII characters; `requestId` in the body or query does the same.",
        "order-4711-number",
    ),
    USER: Word("Who asks: 1 to 100 printable characters, for the ledger.", "a.clerk"),
    LAST_EVENT_ID: Word(
        "Id of the last event you have: the stream goes on after it.", "a1b2c3d4-17"
    ),
}
"""What headers of requests mean, and an example."""

ANSWER_HEADERS = {
    REQUEST_ID: "The id of this request, yours or the node's.",
    REPLAYED: "`true` when the key was used before and this is the answer of then.",
    "Location": "Where to ask how it is.",
    "Content-Disposition": "The name of the file.",
    "Retry-After": "Seconds after which asking again may help.",
    "Allow": "The methods that this address takes, with NB017.",
    "X-Next-Cursor": "Where the next page begins: send it as `cursor`. Absent: there is no more.",
    "X-Narrow-By": (
        "More counters were meant than can be listed: only those that changed last are in the "
        "answer (of a document type, those found first). Name one of these fields to have others."
    ),
    "X-Entries-Read": "How many ledger entries were looked through.",
    "X-Looked-Back-To": (
        "The search stopped here, as far back as one call looks; go on with the cursor."
    ),
    "X-Trimmed-Through": (
        "Entries up to this one have left the store; an older export of the ledger has them."
    ),
}
"""What headers of answers mean."""
