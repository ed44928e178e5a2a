"""What the calls about imports answer."""

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from coordinator.api.description.problem import ProblemBody, WrongRow


class NumberRun(TypedDict):
    """Numbers that follow each other, ends included."""

    first: int
    last: int


class ImportedCount(TypedDict):
    """What an import makes of one counter."""

    counter: str
    numbers: int
    lowest: int
    highest: int
    next_value: int
    missing: list[NumberRun]
    missing_total: int


class ReadRow(TypedDict):
    """How a row of a file is read."""

    row: int
    line: int
    document_type: str
    document_number: str
    counter: str
    sequence_value: int


class PassedOver(TypedDict):
    """Numbers of a counter that an import would make void: more than was allowed."""

    counter: str
    count: int
    largest: list[NumberRun]


_Import = TypedDict("_Import", {"import": NotRequired[str]})


class ImportReport(_Import):
    """What an import has done, or would do; a dry run has no name and no time."""

    success: bool
    dry_run: bool
    rows_total: int
    imported: int
    counters: list[ImportedCount]
    errors: list[WrongRow]
    errors_total: int
    rows: NotRequired[list[ReadRow]]
    timestamp: NotRequired[str]


class ImportProblem(ProblemBody):
    """Why a file was not imported: what every problem says, and what it would have done."""

    dry_run: NotRequired[bool]
    rows_total: NotRequired[int]
    imported: NotRequired[int]
    counters: NotRequired[list[ImportedCount]]
    errors_total: NotRequired[int]
    rows: NotRequired[list[ReadRow]]
    pass_over_max: NotRequired[int]
    passed_over: NotRequired[list[PassedOver]]


_Course = TypedDict("_Course", {"import": str | None})


class ImportCourse(_Course):
    """How far an import is, or how it ended."""

    id: str
    node: str
    request_id: str
    idempotency_key: str | None
    dry_run: bool
    phase: Literal[
        "receiving",
        "reading",
        "checking",
        "staging",
        "committing",
        "done",
        "refused",
        "failed",
        "unknown",
    ]
    done: int
    total: int | None
    unit: str
    rows_total: int | None
    document_types: list[str]
    imported: int
    replayed: bool
    code: str | None
    detail: str
    started_at: str
    ended_at: str | None
    duration_ms: int


class ImportCourses(TypedDict):
    """The newest imports."""

    success: Literal[True]
    data: list[ImportCourse]
    timestamp: str
