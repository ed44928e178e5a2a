"""What callers ask of a counter, and what the core answers. Closed and immutable."""

from enum import StrEnum
from typing import NamedTuple

from coordinator.core.head import Head
from coordinator.core.records import Entry, How, Origin, Record, Rows
from coordinator.core.templates import Writing


class Instant(NamedTuple):
    """A moment, given to the core by its shell: wall clock for records, monotonic for waits."""

    wall_ms: int
    monotonic_us: int


class Call(NamedTuple):
    """What every request carries, whatever it asks.

    ``arrived_us`` is the monotonic microsecond at which this node took the request.
    ``key`` is the idempotency key; ``payload`` a digest of what was asked under it, so that the
    same key with another payload is recognised. ``metadata`` is JSON text of the caller's own.
    """

    origin: Origin
    correlation: str
    arrived_us: int
    key: str | None = None
    payload: str | None = None
    metadata: str | None = None


class Issue(NamedTuple):
    """Give me the next ``quantity`` numbers; with ``release_at_once`` they become gaps again."""

    call: Call
    quantity: int = 1
    release_at_once: bool = False


class Reserve(NamedTuple):
    """Keep the next number, written like this, for me for ``kept_s``; I know it by this token."""

    call: Call
    writing: Writing
    kept_s: int
    token: str


class Settle(NamedTuple):
    """End a reservation. When its time is over, to confirm it is to hear that it has expired.

    ``voids`` is the policy of the series: a number that is not confirmed is void, else a gap.
    """

    call: Call
    number: int
    token: str
    how: How
    voids: bool
    reason: str = ""


PASS_OVER_MAX = 1_000
"""More numbers than this become void by one word of an operator only when it says how many."""


class Assign(NamedTuple):
    """Give out this very number, fresh and written as ``text``; what lies before it is void.

    Refused when that were more than ``pass_over_max`` numbers: a slip must not void thousands.
    """

    call: Call
    number: int
    text: str
    reason: str
    max_value: int
    pass_over_max: int = PASS_OVER_MAX


class Void(NamedTuple):
    """This number, which is written as ``text``, is not valid any more.

    With ``replacement`` the next number, written like this, takes its place in the same commit.
    """

    call: Call
    number: int
    text: str
    reason: str
    replacement: Writing | None = None


class Adjust(NamedTuple):
    """Let the count go on with number ``to``; what lies before it is void, as for ``Assign``."""

    call: Call
    to: int
    reason: str
    max_value: int
    pass_over_max: int = PASS_OVER_MAX


class Import(NamedTuple):
    """Take numbers that were issued elsewhere into the books: see ``Imported``.

    What lies before and between them is void; how much of it may be, is said as for ``Assign``.
    """

    call: Call
    runs: tuple[tuple[int, int], ...]
    source: str
    rows: tuple[Rows, ...]
    max_value: int
    pass_over_max: int = PASS_OVER_MAX


class Close(NamedTuple):
    """Give out no number any more. Refused while a reservation is open."""

    call: Call
    reason: str


class Release(NamedTuple):
    """Take this number back; the next allocation may have it.

    With ``issued_in`` only while it is held as that ledger entry issued it: then repeating the
    release can never take the number from a later holder.
    """

    call: Call
    number: int
    reason: str
    issued_in: int = 0


class Reset(NamedTuple):
    """Begin the count anew. The ledger stays, and says so. For demonstrations only."""

    call: Call


class AcceptLoss(NamedTuple):
    """An operator accepts that the store went back: what lay after it is lost.

    ``entry`` and its hash ``tip`` are the newest that this node had seen committed, and that the
    store no longer has; entry 0 when nothing is missing (any more).
    """

    call: Call
    entry: int
    tip: str
    reason: str


class Trim(NamedTuple):
    """Let the entries up to ``checkpoint.index`` leave the store.

    ``checkpoint`` is the head as it was after that entry: what all entries up to it come to.
    """

    call: Call
    checkpoint: Head


Request = (
    Issue
    | Reserve
    | Settle
    | Assign
    | Void
    | Adjust
    | Import
    | Close
    | Release
    | Reset
    | AcceptLoss
    | Trim
)


class Holder(NamedTuple):
    """Evidence: who held ``number`` when the ledger stood at ``read_at``.

    ``issued_in`` is the entry that issued it; 0 when nobody held it, or that entry is trimmed:
    then ``trimmed`` is the newest entry that is. ``text`` is how it was written, where the ledger
    says so.
    """

    number: int
    read_at: int
    issued_in: int
    origin: Origin | None
    trimmed: int = 0
    text: str = ""


class Ask(NamedTuple):
    """A request with the evidence gathered for it so far; ``part`` says which node hands it in."""

    request: Request
    holder: Holder | None = None
    earlier: tuple[Entry, ...] = ()
    part: int = 0


class Done(NamedTuple):
    """The request is in the ledger: this record of this entry answers it."""

    entry: Entry
    record: Record
    replayed: bool = False


class Why(StrEnum):
    """Why a request was refused; nothing was changed."""

    NEVER_ISSUED = "never issued"
    ALREADY_FREE = "already released"
    OTHER_OWNER = "issued to another site or partition"
    ISSUED_ANEW = "issued anew since"
    KEY_REUSED = "idempotency key used before with another payload"
    NOTHING_LOST = "nothing is missing"
    TRIMMED = "issued by an entry that has been trimmed"
    NOTHING_TO_TRIM = "nothing to trim"
    EXHAUSTED = "sequence exhausted"
    HELD = "held by a reservation"
    VOID = "void"
    NO_RESERVATION = "no such reservation"
    NOT_DUE = "not expired yet"
    TAKEN = "issued already"
    NOT_AHEAD = "not ahead of the count"
    FAR_AHEAD = "more numbers would be passed over than was said"
    OTHER_TEXT = "written otherwise"
    CLOSED = "closed"
    OPEN_RESERVATIONS = "reservations are open"
    TOO_LARGE = "larger than one transaction of the store"


class Refused(NamedTuple):
    """The request cannot be; ``subject`` is the number, or the owner, that it is about."""

    why: Why
    subject: str = ""


class NeedsHolder(NamedTuple):
    """Read who holds this number, then ask again."""

    number: int


class NeedsEntries(NamedTuple):
    """Read these ledger entries (one may hold this idempotency key), then ask again."""

    indexes: tuple[int, ...]


Reply = Done | Refused | NeedsHolder | NeedsEntries
