"""What a ledger entry says: who asked for what, and what became of which number."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Origin(NamedTuple):
    """Who asked, from where. ``None`` where the caller did not say.

    Site and partition are empty for what concerns the whole counter, like a reset.
    """

    site: str
    partition: str
    invoice_type: str | None = None
    user: str | None = None
    address: str | None = None
    user_agent: str | None = None


class Cause(NamedTuple):
    """The request behind a record; ``part`` is the entry's part in which its node handed it in."""

    origin: Origin
    correlation: str
    waited_us: int = 0
    key: str | None = None
    payload: str | None = None
    metadata: str | None = None
    part: int = 0


class Reused(NamedTuple):
    """A run of gaps: numbers that one entry had released, and when (wall clock, ms)."""

    first: int
    released_in: int
    released_ms: int
    quantity: int = 1

    @property
    def numbers(self) -> range:
        """Return the numbers, ascending."""
        return range(self.first, self.first + self.quantity)

    def joined(self, following: "Reused") -> "Reused | None":
        """Return this run with the one right after it; None when they are not one run."""
        number, released_in, released_ms, quantity = following
        if number != self.first + self.quantity:
            return None
        if (released_in, released_ms) != (self.released_in, self.released_ms):
            return None
        return self._replace(quantity=self.quantity + quantity)


class Held(NamedTuple):
    """A reservation: one number, written as ``text``, is kept until ``until_ms`` (wall clock).

    Who has the ``token`` may settle it.
    """

    token: str
    until_ms: int
    text: str


class Given(NamedTuple):
    """An operator had this one number given out, written as ``text``, and why.

    It is the one that the operator named, or takes the place of the number that it ``replaces``.
    """

    text: str
    reason: str
    replaces: int = 0


class Issued(NamedTuple):
    """Numbers went out: the reused ones first, then ``fresh`` new ones from ``first`` on.

    ``first`` is the next fresh number before this record, also when ``fresh`` is 0. With ``held``
    it is one number, and only reserved; with ``given`` it is one number too.
    """

    cause: Cause
    first: int
    fresh: int
    reused: tuple[Reused, ...] = ()
    held: Held | None = None
    given: Given | None = None

    @property
    def text(self) -> str:
        """Return how the number is written; empty where the ledger does not say."""
        if self.held:
            return self.held.text
        return self.given.text if self.given else ""

    @property
    def quantity(self) -> int:
        """Return how many numbers went out."""
        return self.quantity_reused + self.fresh

    @property
    def quantity_reused(self) -> int:
        """Return how many of them had been issued before."""
        return sum(run.quantity for run in self.reused) if self.reused else 0

    def spans(self) -> list[range]:
        """Return the numbers as ranges, in the order they were allocated, lowest first."""
        spans = [run.numbers for run in self.reused]
        return [*spans, range(self.first, self.first + self.fresh)] if self.fresh else spans

    def numbers(self) -> list[int]:
        """Return the numbers one by one, in the same order."""
        return [number for span in self.spans() for number in span]


class Released(NamedTuple):
    """A number came back and is a gap now."""

    cause: Cause
    number: int
    issued_in: int
    reason: str


class How(StrEnum):
    """How a reservation came to its end."""

    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Settled(NamedTuple):
    """A reservation ended: its number is its caller's for good, or a gap, or void for ever."""

    cause: Cause
    number: int
    issued_in: int
    how: How
    held: Held
    reason: str = ""
    is_void: bool = False

    @property
    def frees(self) -> bool:
        """Tell whether the number is a gap now."""
        return self.how is not How.CONFIRMED and not self.is_void

    @property
    def key(self) -> str:
        """Return the idempotency key of settling this reservation: it is done once, by whom ever.

        No caller's key begins like this.
        """
        return settling_key(self.number, self.held.token)


class Passed(NamedTuple):
    """The count went on without these numbers: void for ever, and why they never went out."""

    cause: Cause
    first: int
    quantity: int
    reason: str


class Voided(NamedTuple):
    """A number that was in use is void for ever; perhaps another one has taken its place."""

    cause: Cause
    number: int
    issued_in: int
    text: str
    reason: str
    replaced_by: int = 0


class Rows(NamedTuple):
    """Rows of an import beside the ledger: their lowest number, and the SHA-256 of their bytes."""

    first: int
    digest: str


class Imported(NamedTuple):
    """Numbers issued elsewhere are in the books now, as ``runs`` of (first, quantity), ascending.

    ``first`` is the next fresh number before this record; what the runs leave out from there on is
    void for ever. What each number was issued for stands in ``rows`` of the import ``source``.
    """

    cause: Cause
    first: int
    runs: tuple[tuple[int, int], ...]
    source: str
    rows: tuple[Rows, ...]

    @property
    def next(self) -> int:
        """Return the next fresh number after this record."""
        first, quantity = self.runs[-1]
        return first + quantity

    @property
    def quantity(self) -> int:
        """Return how many numbers came in."""
        return sum(quantity for _, quantity in self.runs)

    def missing(self) -> list[tuple[int, int]]:
        """Return the runs that are left out."""
        return _between(self.first, self.runs)


class Closed(NamedTuple):
    """No number goes out after this any more: its period is over."""

    cause: Cause
    reason: str


class Restarted(NamedTuple):
    """The count began anew with the next entry's number (demonstrations only)."""

    cause: Cause


class LossAccepted(NamedTuple):
    """The store had gone back behind this entry, and an operator accepted the loss.

    Numbers that only the lost entries had issued may go out again.
    """

    cause: Cause
    entry: int
    tip: str
    reason: str


class Trimmed(NamedTuple):
    """The entries up to this one left the store; what they came to is the checkpoint.

    ``tip`` is the hash of the entry, ``next`` the next fresh number after it, ``checkpoint`` the
    SHA-256 of the checkpoint's bytes.
    """

    cause: Cause
    entry: int
    tip: str
    next: int
    checkpoint: str


Record = (
    Issued
    | Released
    | Settled
    | Passed
    | Voided
    | Imported
    | Closed
    | Restarted
    | LossAccepted
    | Trimmed
)


def _between(first: int, runs: tuple[tuple[int, int], ...]) -> list[tuple[int, int]]:
    missing = []
    for start, quantity in runs:
        if start > first:
            missing.append((first, start - first))
        first = start + quantity
    return missing


def voids_of(record: Record) -> list[tuple[int, int]]:
    """Return the numbers that a record makes void, as runs of (first, quantity)."""
    match record:
        case Settled(_, number, is_void=True) | Voided(_, number):
            return [(number, 1)]
        case Passed(_, first, quantity):
            return [(first, quantity)]
        case Imported():
            return record.missing()
        case _:
            return []


def passed_over_by(text: str) -> str:
    """Return why numbers are void that lie before one which an operator has named."""
    return f"passed over by {text}"


def passed_with(entry: "Entry", issued: Issued) -> Passed | None:
    """Return the numbers that were passed over to give out just this one; None when none were."""
    at = entry.records.index(issued)
    match entry.records[at - 1] if at else None:
        case Passed(reason=reason) as passed if reason == passed_over_by(issued.text):
            return passed
    return None


def next_after(entry: "Entry") -> int:
    """Return the next fresh number after an entry."""
    following = entry.next_before
    for record in entry.records:
        match record:
            case Issued(_, first, fresh):
                following = max(following, first + fresh)
            case Passed(_, first, quantity):
                following = max(following, first + quantity)
            case Imported():
                following = max(following, record.next)
            case _:
                pass
    return following


def settling_key(number: int, token: str) -> str:
    """Return the key under which a reservation is settled; a caller's holds no blank."""
    return f"settle {number} {token}"


def keys_of(record: Record) -> list[str]:
    """Return the idempotency keys that a record uses up."""
    keys = [] if record.cause.key is None else [record.cause.key]
    return [*keys, record.key] if isinstance(record, Settled) else keys


class Latency(NamedTuple):
    """How long answers took, request in to commit known, in microseconds."""

    answers: int = 0
    total_us: int = 0
    peak_us: int = 0


class Part(NamedTuple):
    """What one node handed in: the node, this run of it, and its serial in this run."""

    node: str
    instance: str
    serial: int
    latency: Latency = Latency()


@dataclass(frozen=True, slots=True)
class Entry:
    """One committed batch, of one node or of several; the first part is the committing node's."""

    index: int
    previous: str
    time_ms: int
    next_before: int
    parts: tuple[Part, ...]
    records: tuple[Record, ...]

    def part_of(self, record: Record) -> Part:
        """Return the part that one of the records belongs to."""
        return self.parts[record.cause.part]
