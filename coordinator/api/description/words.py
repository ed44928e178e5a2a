"""What a field means, once for all bodies that have it, and an example of it.

A name means the same wherever it stands; where it does not, ``Type.field`` has the word.
"""

from typing import Final, NamedTuple

DERIVED: Final = object()
"""The example follows from the type: of its fields, or its first value."""


class Word(NamedTuple):
    """What a field means, in plain words, and an example of it."""

    means: str
    example: object = DERIVED


MOMENT = "2026-01-31T09:30:00.000Z"
HASH = "5f1d8c0f6a3b4e2d9c7b8a6f5e4d3c2b1a0f9e8d7c6b5a4f3e2d1c0b9a8f7e6d"

COMMON: dict[str, Word] = {
    "success": Word("Whether it was done."),
    "error": Word("Why not, for older clients; null when all is well.", None),
    "timestamp": Word("When, in UTC: of the commit where one was made.", MOMENT),
    "message": Word("What was done, in a sentence.", "Number 17 is released."),
    "data": Word("What was asked for."),
    "metadata": Word("What the caller wants kept with it: JSON, 4,096 bytes at most.", None),
    "requestId": Word("Idempotency key; the same as the header `Idempotency-Key`.", "order-4711"),
    "request_id": Word("Id of the request.", "order-4711"),
    "reason": Word("Why; it stands in the ledger.", "wrong customer"),
    "user": Word("Who did it, as the header `X-User` said.", None),
    "counter": Word("Name of the counter.", "invoice"),
    "limit": Word("How many, at most.", 100),
    "detail": Word("What was seen, in words.", "as it should be"),
    "name": Word("Its name.", "basic"),
    "url": Word("Its address.", "http://127.0.0.1:8080"),
    "count": Word("How many.", 1),
    "local": Word("Of the node that is asked only.", False),
    "kind": Word("Of which kind it is.", "node"),
    "code": Word("The code of the refusal.", "NB009"),
    "status": Word("What it is by now.", "ACTIVE"),
}

PROBLEMS: dict[str, Word] = {
    "ProblemBody.type": Word("A name of the kind.", "urn:sequence-coordinator:problem:NB009"),
    "ProblemBody.title": Word("The kind in a few words.", "Malformed request"),
    "ProblemBody.status": Word("The HTTP status.", 400),
    "ProblemBody.detail": Word(
        "What is refused, why, and what next.", "count: Input should be less than 10,001."
    ),
    "ProblemBody.code": Word("The code: a table has its meaning and the way on.", "NB009"),
    "ProblemBody.request_id": Word("The request, as log and ledger name it.", "a1b2c3d4-2f"),
    "ProblemBody.retryable": Word("Whether asking again as it is can help.", False),
    "ProblemBody.errors": Word("Each field, or row of a file, that is wrong.", []),
    "ProblemBody.success": Word("For older clients."),
    "ProblemBody.error": Word("`detail` once more, for older clients.", "count: too large."),
    "field": Word("Name of the field; its path where it lies deeper.", "count"),
    "WrongField.message": Word("What is wrong with it.", "Input should be less than 10,001"),
    "row": Word("The row as a spreadsheet counts, the header too.", 2),
    "line": Word("The line of the file in which the row begins.", 2),
    "column": Word("The column; empty where it is the row that is wrong.", "document_number"),
    "value": Word("How the value begins.", "RFA-1"),
    "WrongRow.message": Word("Why it cannot be taken, and what to do.", "reads like no number"),
    "WrongRow.code": Word("Its code.", "NB006"),
}
