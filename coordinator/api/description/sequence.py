"""The calls of the sequence API."""

from coordinator.api import problems as p
from coordinator.api.description.call import (
    CHANGING,
    READING,
    USER,
    Answer,
    Body,
    Call,
    Tag,
)
from coordinator.api.description.sequence_answers import (
    Gaps,
    Health,
    Issued,
    Proof,
    Released,
    Statistics,
    WasReset,
)
from coordinator.api.inputs import (
    GapsQuery,
    NextBody,
    NextQuery,
    NothingQuery,
    ReleaseBody,
    ResetBody,
    WhichQuery,
)

ROOT = "/api/v1/sequence"
_PLACE = {"siteId": "site-1", "partitionId": "partition-a", "invoiceType": "on-cycle"}
_ISSUED = Answer(200, "The numbers, committed and in the ledger.", Issued)

CALLS = (
    Call(
        Tag.SEQUENCE,
        "next",
        "POST",
        f"{ROOT}/next",
        "Take the next numbers",
        "Allocates the lowest gaps first, then fresh numbers, up to 10,000 in one commit. With "
        "`compact` the answer has `sequenceRanges` in place of `sequenceNumbers`. Send an "
        "idempotency key and you may repeat the request at any node until it is answered.",
        (_ISSUED,),
        (p.UNKNOWN_NAME, p.SWITCHED_OFF, p.EXHAUSTED, p.TOO_LARGE, *CHANGING),
        bodies=(Body(NextBody, {**_PLACE, "count": 2}),),
        headers=(USER,),
        keyed=True,
    ),
    Call(
        Tag.SEQUENCE,
        "nextByQuery",
        "GET",
        f"{ROOT}/next",
        "Take the next numbers, for older clients",
        "Allocates like the POST, up to 100 numbers; all is in the query. It is a GET that changes "
        "something, and many HTTP libraries silently repeat a GET whose connection broke: use the "
        "POST, or send an idempotency key. HEAD is refused.",
        (_ISSUED,),
        (p.UNKNOWN_NAME, p.SWITCHED_OFF, p.EXHAUSTED, *CHANGING),
        query=NextQuery,
        asked=_PLACE,
        headers=(USER,),
        keyed=True,
    ),
    Call(
        Tag.SEQUENCE,
        "release",
        "POST",
        f"{ROOT}/release",
        "Give a number back",
        "The number becomes a gap, and the next caller of its counter gets it. Only the site and "
        "partition that it was issued to can release it; nothing is changed when it is refused.",
        (Answer(200, "The number is a gap now.", Released),),
        (
            *(p.UNKNOWN_NAME, p.NEVER_ISSUED, p.ALREADY_FREE, p.OTHER_OWNER, p.HELD, p.TRIMMED),
            *CHANGING,
        ),
        bodies=(
            Body(
                ReleaseBody,
                {
                    "sequenceNumber": 1,
                    "siteId": "site-1",
                    "partitionId": "partition-a",
                    "reason": "wrong customer",
                },
            ),
        ),
        headers=(USER,),
        keyed=True,
    ),
    Call(
        Tag.SEQUENCE,
        "stats",
        "GET",
        f"{ROOT}/stats",
        "Totals and the state of the cluster",
        "Of the whole cluster, read as one snapshot: every node answers the same.",
        (Answer(200, "The statistics.", Statistics),),
        READING,
        query=NothingQuery,
    ),
    Call(
        Tag.SEQUENCE,
        "gaps",
        "GET",
        f"{ROOT}/gaps",
        "The gaps, ascending",
        "Released numbers that wait to be issued again, up to 1,000 at a time. Send `nextStart` as "
        "`start` for the page after.",
        (Answer(200, "A page of the gaps.", Gaps),),
        READING,
        query=GapsQuery,
        asked={"limit": 100},
    ),
    Call(
        Tag.SEQUENCE,
        "health",
        "GET",
        f"{ROOT}/health",
        "Whether numbers can be issued",
        "For load balancers of older clients; `/readyz` says more.",
        (
            Answer(200, "This node issues numbers.", Health),
            Answer(503, "It does not; `error` says why.", Health),
        ),
        (p.BUSY,),
        query=NothingQuery,
    ),
    Call(
        Tag.SEQUENCE,
        "validate",
        "GET",
        f"{ROOT}/validate",
        "Prove the ledger",
        "Replays every entry and compares it with all that stands beside the ledger, about 100,000 "
        "numbers a second, while the node goes on serving. Without a name it proves the counters "
        "of invoices; of a document type at most 1,000 counters.",
        (Answer(200, "What the proof came to: `valid`, or findings.", Proof),),
        (p.UNKNOWN_NAME, *READING),
        query=WhichQuery,
    ),
    Call(
        Tag.SEQUENCE,
        "reset",
        "POST",
        f"{ROOT}/reset",
        "Start every count anew",
        "In the demonstration profile only. The ledger keeps what was before, and notes the reset.",
        (Answer(200, "The next number is the first one again.", WasReset),),
        (p.FORBIDDEN, *CHANGING),
        query=NothingQuery,
        bodies=(Body(ResetBody, {}),),
        headers=(USER,),
        keyed=True,
        may_be_empty=True,
    ),
)
