"""What the calls about document numbers answer."""

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from coordinator.api.description.sequence_answers import HistoryRecord

Scope = dict[str, str]


class SeriesShown(TypedDict):
    """The definition of a series: how its numbers count and read."""

    document_type: str
    version: int
    template: str
    prefix: str
    scopes: list[str]
    start: int
    max_value: int
    gap_policy: Literal["reuse", "void"]
    allow_manual_override: bool
    reservation_s: int
    time_zone: str
    fiscal_month: int
    tokens: dict[str, str | list[str]]
    metadata: dict[str, Any] | None


class SeriesList(TypedDict):
    """Every series as it is now."""

    templates: list[SeriesShown]
    version: int


class SeriesChange(TypedDict):
    """One change of a series: what it became, who did it and why."""

    version: int
    template: SeriesShown
    reason: str
    user: str | None
    ip_address: str | None
    user_agent: str | None
    request_id: str
    timestamp: str


class SeriesHistory(TypedDict):
    """A series and its changes, newest first."""

    template: SeriesShown
    changes: list[SeriesChange]


class Preview(TypedDict):
    """The next numbers as they would read; nothing is allocated."""

    document_type: str
    counter: str
    numbers: list[str]
    sequence: list[int]
    template: SeriesShown


class Reserved(TypedDict):
    """A number that is kept for who has the token."""

    token: str
    document_number: str
    document_type: str
    scope_value: str | None
    expires_at: str
    metadata: dict[str, Any] | None


class Confirmed(TypedDict):
    """A number that is its caller's for good."""

    document_number: str
    confirmed_at: str


class Cancelled(TypedDict):
    """How a reservation ended."""

    success: Literal[True]
    message: str


class ImportedAs(TypedDict):
    """What the file of an import says of a number."""

    source: str
    created_at: NotRequired[str | None]
    metadata: NotRequired[dict[str, Any] | None]


class NumberShown(TypedDict):
    """What a number is now, and everything that ever happened to it."""

    document_number: str
    document_type: str
    scope: Scope
    scope_value: str | None
    counter: str
    sequence_value: int
    state: Literal[
        "RESERVED",
        "CONFIRMED",
        "OVERRIDDEN",
        "IMPORTED",
        "CANCELLED",
        "EXPIRED",
        "VOID",
        "FREE",
    ]
    reason: str | None
    replaced_by: str | None
    replaces: str | None
    chain: list[str]
    expires_at: str | None
    seconds_left: float | None
    history: list[HistoryRecord]
    history_complete: bool
    imported: ImportedAs | None


class OpenReservation(TypedDict):
    """A number that is reserved, without its token."""

    document_number: str
    document_type: str | None
    scope: Scope
    counter: str
    sequence_value: int
    expires_at: str
    seconds_left: float
    reserved_at: str | None
    user: str | None
    ip_address: str | None
    request_id: str | None
    metadata: dict[str, Any] | None


class OpenReservations(TypedDict):
    """Open reservations, the soonest deadline first."""

    reservations: list[OpenReservation]
    total: int
    all_seen: bool
    next_cursor: str | None
    timestamp: str


class CounterShown(TypedDict):
    """One counter: how far it is, how full, how fast it goes."""

    counter: str
    document_type: str
    scope: Scope
    scope_value: str | None
    current_value: int
    document_number: str | None
    max_value: int
    utilization: float
    left: int
    gaps: int
    open_reservations: int
    voided: int
    closed: bool
    last_used_at: str | None
    manual_override: bool
    per_day: float
    observed_days: float
    window_days: int
    runs_out_on: str | None


class CounterList(TypedDict):
    """A page of the counters that have given out a number, by name."""

    sequences: list[CounterShown]
    next_cursor: str | None
    timestamp: str


class Run(TypedDict):
    """Numbers that follow each other, ends included, and how many they are."""

    first: int
    last: int
    count: int


class Named(TypedDict):
    """A number that was issued as an operator named it."""

    document_number: str
    document_type: str
    number: int
    reason: str
    passed_over: Run | None
    validated: Literal[True]
    issued_at: str
    user: str | None


class VoidNumber(TypedDict):
    """A number that will never be issued again."""

    document_number: str
    document_type: str
    number: int
    reason: str
    replaced_by: str | None
    voided_at: str
    user: str | None


class Replacement(TypedDict):
    """The number that has taken the place of a void one."""

    document_number: str
    document_type: str
    number: int
    replaces: str


class VoidedAndReplaced(TypedDict):
    """A void number and the one in its place, linked both ways."""

    voided: VoidNumber
    replacement: Replacement | None


class VoidAnswer(VoidedAndReplaced):
    """The same twice: as older clients read it, and in ``data`` as all others do."""

    success: Literal[True]
    data: VoidedAndReplaced


class Adjusted(TypedDict):
    """A count that goes on with a higher number."""

    document_type: str
    counter: str
    next_value: int
    current_value: int
    passed_over: Run
    reason: str
    adjusted_at: str
    user: str | None


class Listed(TypedDict):
    """Numbers as runs, (first, last), and how many there are, listed or not."""

    total: int
    runs: list[tuple[int, int]]
    all_listed: bool


class ClosingReport(TypedDict):
    """What the numbers of a count came to."""

    first: int
    last: int
    issued: int
    gaps: Listed
    void: Listed


class ClosedCount(TypedDict):
    """A count that is closed for good."""

    document_type: str
    counter: str
    reason: str
    closed_at: str
    user: str | None
    report: ClosingReport | None


class AcceptedLoss(TypedDict):
    """A loss of ledger entries that was accepted."""

    counter: str
    lostEntry: int
    lostHash: str


class Accepted(TypedDict):
    """What this node serves again, with what was lost."""

    success: Literal[True]
    accepted: list[AcceptedLoss]
    timestamp: str
