"""What an import would do or has done, by counter and by row; and the note of it in the store."""

import heapq
import secrets
from hashlib import sha256
from typing import Any, NamedTuple

import orjson

from coordinator.core import importing
from coordinator.core.importing import Clash
from coordinator.core.legacy import DUPLICATE, UNKNOWN_TYPE
from coordinator.core.requests import PASS_OVER_MAX, Call, Why
from coordinator.core.transaction import KeyValue
from coordinator.faults import Damaged
from coordinator.import_files import Column, RowError
from coordinator.importing.preparing import Prepared, Share

MISSING_SHOWN = 50
LARGEST_SHOWN = 3
EXHAUSTED, CLOSED = "NB002", "NB033"


class KeyReused(Exception):
    """The idempotency key has imported another file, or other rows of it."""


class Counted(NamedTuple):
    """What an import makes of one counter.

    ``missing`` are the first runs, (first, last), of the numbers that will be void then.
    """

    counter: str
    numbers: int
    lowest: int
    highest: int
    next_value: int
    missing: tuple[tuple[int, int], ...]
    missing_total: int


class Far(NamedTuple):
    """A counter of which more numbers would become void than the caller has said may be.

    ``largest`` are the largest of their runs, (first, last), largest first.
    """

    counter: str
    many: int
    largest: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        runs = [f"{a:,} to {z:,}" if a < z else f"{a:,}" for a, z in self.largest]
        shown = sum(last - first + 1 for first, last in self.largest)
        which = ": " if shown == self.many else "; the largest runs of them are "
        return f"{self.many:,} numbers of {self.counter} would become void{which}{', '.join(runs)}"


class Report(NamedTuple):
    """What an import would do; it is possible when it ``fits``."""

    rows_total: int
    counters: tuple[Counted, ...]
    errors: tuple[RowError, ...] = ()
    errors_total: int = 0
    far: tuple[Far, ...] = ()

    @property
    def fits(self) -> bool:
        """Tell whether nothing stands against it."""
        return not self.errors_total and not self.far

    @property
    def pass_over_max(self) -> int:
        """Return what a caller has to say who means all that is ``far``."""
        return max((far.many for far in self.far), default=0)

    @property
    def numbers(self) -> int:
        """Return how many numbers come in."""
        return sum(counted.numbers for counted in self.counters)


class RowsRefused(Exception):
    """Rows are wrong, or clash with what is issued by now; nothing was changed."""

    def __init__(self, report: Report) -> None:
        super().__init__(f"{report.errors_total} errors")
        self.report = report


class FarAhead(Exception):
    """More numbers of a counter would become void than was said; nothing was changed."""

    def __init__(self, report: Report) -> None:
        super().__init__("; ".join(map(str, report.far)))
        self.report = report


class Done(NamedTuple):
    """An import that is in the books: its name, when that was (wall clock, ms), what it did."""

    name: str
    time_ms: int
    report: Report
    replayed: bool = False


class Attempt(NamedTuple):
    """One try. ``name`` is what the import is known by: that of its key, or of this try."""

    id: str
    name: str
    prepared: Prepared
    call: Call
    reason: str
    pass_over_max: int

    @classmethod
    def of(
        cls, prepared: Prepared, call: Call, reason: str, pass_over_max: int = PASS_OVER_MAX
    ) -> "Attempt":
        """Return a new try of what a call asks for."""
        own = secrets.token_hex(16)
        name = own if call.key is None else sha256(call.key.encode()).hexdigest()[: len(own)]
        return cls(own, name, prepared, call, reason, pass_over_max)

    def source(self, at: int) -> str:
        """Return the ledger's name for the rows of a counter, by its place in the file."""
        return f"{self.id}/{at:03}"


def counted(share: Share, following: int) -> Counted:
    """Return what a share makes of its counter, whose next number is ``following``."""
    missing = importing.missing(following, share.runs)
    lowest, highest = share.numbers[0], share.numbers[-1]
    shown = tuple((run[0], run[-1]) for run in missing[:MISSING_SHOWN])
    next_value = max(following, highest + 1)
    total = sum(map(len, missing))
    return Counted(share.counter, len(share.numbers), lowest, highest, next_value, shown, total)


def far_of(share: Share, following: int, pass_over_max: int) -> Far | None:
    """Return what is said when too many numbers before and between those of a share would be void.

    Their counter goes on with ``following`` now.
    """
    missing = importing.missing(following, share.runs)
    many = sum(map(len, missing))
    if many <= pass_over_max:
        return None
    largest = heapq.nlargest(LARGEST_SHOWN, missing, key=len)
    return Far(share.counter, many, tuple((run[0], run[-1]) for run in largest))


def error_of(share: Share, clash: Clash) -> RowError:
    """Return what a person is told of a number that cannot come in."""
    at, why, there = clash
    number, text = share.numbers[at], share.texts[at]
    match why:
        case Why.CLOSED:
            code = CLOSED
            message = f"{share.counter} is closed. Import no number of it."
        case Why.OTHER_OWNER:
            code = UNKNOWN_TYPE
            message = "Invoices are counted by site here, not as documents. Remove the row."
        case Why.EXHAUSTED:
            code = EXHAUSTED
            message = f"The series ends at {there}. Raise its max_value first, or remove the row."
        case _:
            code = DUPLICATE
            message = (
                f"Number {number} of {share.counter} is {there} here. Only numbers above all that "
                "are known here can come in: remove the row, or correct it."
            )
    return RowError(
        share.rows[at], share.lines[at], Column.DOCUMENT_NUMBER.value, text, message, code
    )


def note_of(attempt: Attempt, done_ms: int, report: Report) -> bytes:
    """Return what the store keeps of an import that was done at this time, for its repetitions."""
    call = attempt.call
    return orjson.dumps(
        {
            "attempt": attempt.id,
            "digest": attempt.prepared.digest,
            "time_ms": done_ms,
            "by": list(call.origin),
            "correlation": call.correlation,
            "reason": attempt.reason,
            "rows_total": report.rows_total,
            "counters": [list(counted) for counted in report.counters],
        }
    )


def read_note(kv: KeyValue) -> dict[str, Any]:
    """Return what such a note says. Raises Damaged."""
    try:
        fields: dict[str, Any] = orjson.loads(kv.value)
        counters = tuple(
            Counted(name, many, low, high, following, tuple(map(tuple, missing)), total)
            for name, many, low, high, following, missing, total in fields["counters"]
        )
        return fields | {"report": Report(fields["rows_total"], counters)}
    except (ValueError, KeyError, TypeError, IndexError) as broken:
        raise Damaged(f"{kv.key.decode()} is no note of an import: {broken}") from broken


def replayed(kv: KeyValue, name: str, prepared: Prepared) -> Done:
    """Return what an import under this key has done. Raises KeyReused, Damaged."""
    fields = read_note(kv)
    if fields["digest"] != prepared.digest:
        raise KeyReused
    return Done(name, fields["time_ms"], fields["report"], replayed=True)
