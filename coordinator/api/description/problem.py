"""The body of every refusal, as callers may know it."""

from typing import Literal

from typing_extensions import TypedDict


class WrongField(TypedDict):
    """One field that is wrong, and how."""

    field: str
    message: str


class WrongRow(TypedDict):
    """One value of a file that cannot be taken."""

    row: int
    line: int
    column: str
    value: str
    message: str
    code: str


class ProblemBody(TypedDict):
    """A refusal (RFC 9457): what, why, and what next. Some have more fields, said at their call."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    retryable: bool
    errors: list[WrongField | WrongRow]
    success: Literal[False]
    error: str
