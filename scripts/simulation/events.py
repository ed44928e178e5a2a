"""What can be seen of a run from outside: what clients ask and are told, what the store takes.

The oracle judges by these events alone. A history is their text, one line each.
"""

from enum import StrEnum
from typing import NamedTuple

from coordinator.core import ledger
from coordinator.core.keys import CounterKeys
from coordinator.core.records import (
    Closed,
    How,
    Imported,
    Issued,
    LossAccepted,
    Passed,
    Record,
    Released,
    Restarted,
    Settled,
    Trimmed,
    Voided,
)
from coordinator.core.unreadable import Unreadable


class Kind(StrEnum):
    """What a request wants."""

    ISSUE = "issue"
    RELEASE = "release"
    RESET = "reset"
    RESERVE = "reserve"
    CONFIRM = "confirm"
    CANCEL = "cancel"
    EXPIRE = "expire"
    """A node asks it of itself, when it finds that a reservation's time is over."""
    ASSIGN = "assign"
    VOID = "void"
    REPLACE = "replace"
    ADJUST = "adjust"
    IMPORT = "import"
    CLOSE = "close"


AHEAD = frozenset({Kind.ASSIGN, Kind.ADJUST, Kind.IMPORT})
"""What operators do with a number that has not gone out."""

OF_OPERATORS = AHEAD | {Kind.VOID, Kind.REPLACE, Kind.CLOSE}


HOW = {Kind.CONFIRM: How.CONFIRMED, Kind.CANCEL: How.CANCELLED, Kind.EXPIRE: How.EXPIRED}
"""How a request that ends a reservation wants it to end."""


def token_of(request: str) -> str:
    """Return the secret that a node gives to whoever reserves by this request."""
    return f"token-of-{request}"


class Asked(NamedTuple):
    """A client sends a request to a node. ``number`` is the one that it is about, else 0.

    It is settled by who knows its ``token``. An operator says how it is written, and how many
    numbers may be passed over to reach it; ``runs`` (first, quantity) are imported.
    """

    request: str
    node: str
    kind: Kind
    site: str
    quantity: int = 1
    number: int = 0
    at_once: bool = False
    key: str | None = None
    payload: str | None = None
    token: str = ""
    text: str = ""
    pass_over_max: int = 0
    runs: tuple[tuple[int, int], ...] = ()

    def __str__(self) -> str:
        what = f"number {self.number}" + (f" by {self.token}" if self.token else "")
        if self.kind in {Kind.ISSUE, Kind.RESERVE}:
            what = f"{self.quantity} number(s)"
        elif self.kind in {Kind.RESET, Kind.CLOSE}:
            what = "the count"
        elif self.runs:
            what = f"numbers, runs of {list(self.runs)},"
        elif self.text:
            what += f", written {self.text},"
        at_once = ", to be released at once" if self.at_once else ""
        key = f", key {self.key} payload {self.payload}" if self.key else ""
        return f"{self.request} asks {self.node}: {self.kind} {what} for {self.site}{at_once}{key}"


class Outcome(StrEnum):
    """What a client learns of its request."""

    ANSWERED = "answered"
    REFUSED = "refused"
    NOT_SERVED = "told that nothing was allocated"
    UNKNOWN = "told that it is not known"
    BROKEN = "left without an answer: the node is gone"
    NO_NODE = "not connected: the node is down"
    FAILED = "failed on an error of the program"


class Told(NamedTuple):
    """A client learns something. ``run`` is the run of the node that says it.

    ``said`` is what is told beside the numbers: the token and the deadline of a reservation, or
    how it has ended; what an operator has done, or what it is refused for.
    """

    request: str
    run: str
    outcome: Outcome
    numbers: tuple[int, ...] = ()
    why: str = ""
    replayed: bool = False
    said: str = ""

    def __str__(self) -> str:
        numbers = f" {list(self.numbers)}" if self.numbers else ""
        why = f" ({self.why})" if self.why else ""
        replayed = " as before" if self.replayed else ""
        said = f": {self.said}" if self.said else ""
        return f"{self.request} is {self.outcome}{replayed}{numbers}{why}{said}"


class Left(NamedTuple):
    """A client goes away without waiting for its answer from this run of a node."""

    request: str
    run: str

    def __str__(self) -> str:
        return f"{self.request} leaves"


class Saved(NamedTuple):
    """A node has written down that it has seen the ledger up to this entry."""

    node: str
    entry: int

    def __str__(self) -> str:
        return f"{self.node} has written that it knows entry {self.entry}"


class Wrote(NamedTuple):
    """The store takes a transaction: all that one revision changes; None is a deletion."""

    revision: int
    changes: tuple[tuple[bytes, bytes | None], ...]

    def __str__(self) -> str:
        return f"store at revision {self.revision}: " + "; ".join(
            _in_words(key.decode(errors="replace"), value) for key, value in self.changes
        )


def _in_words(key: str, value: bytes | None) -> str:
    """Return what a change of a key means: an entry by its records, any other key by its name."""
    folder, _, last = key.rpartition("/")
    name = f"{folder.rpartition('/')[2]} {int(last)}" if last.isdigit() else last
    if value is None:
        return f"no {name}"
    if not folder.endswith("/entry"):
        return name
    try:
        entry = ledger.decode(value)
    except Unreadable:
        return f"{name}, unreadable"
    return (
        f"{name} by {entry.parts[0].instance} ({', '.join(map(_record_in_words, entry.records))})"
    )


def _record_in_words(record: Record) -> str:
    request = record.cause.correlation
    match record:
        case Issued():
            kept = f" until {record.held.until_ms}" if record.held else ""
            for_it = f" in the place of {record.given.replaces}" if record.given else ""
            return f"{request} {'reserves' if kept else 'gets'} {record.numbers()}{kept}{for_it}"
        case Settled(_, number, _, how):
            return f"{request} settles {number}, {how}{', void' if record.is_void else ''}"
        case Released(_, number):
            return f"{request} releases {number}"
        case Restarted():
            return f"{request} starts anew"
        case LossAccepted(_, entry):
            return f"{request} accepts the loss of entry {entry}"
        case _:
            return _rare_in_words(record)


def _rare_in_words(record: Trimmed | Passed | Voided | Imported | Closed) -> str:
    if isinstance(record, Trimmed):
        return f"entries up to {record.entry} leave the store"
    return f"{record.cause.correlation}: {said_of(record)} {list(numbers_of(record))}"


class WentBack(NamedTuple):
    """The store is replaced by a copy from earlier, whose newest ledger entry is ``entry``.

    ``under_way`` are the batches handed to other nodes before, by run and serial. They hold on
    every ledger that has what their sender had seen, as a transaction on its way does.
    """

    entry: int
    under_way: frozenset[tuple[str, int]] = frozenset()

    def __str__(self) -> str:
        return f"the store is restored from a backup, which ends with entry {self.entry}"


class Failure(NamedTuple):
    """The program reports an error of its own, or the run cannot end."""

    what: str

    def __str__(self) -> str:
        return f"error: {self.what}"


class Note(NamedTuple):
    """For the reader of the history only: nothing is judged by it."""

    text: str

    def __str__(self) -> str:
        return self.text


Event = Asked | Told | Left | Saved | Wrote | WentBack | Failure | Note


class Rule(StrEnum):
    """The rules that a run is judged by; most are invariants of the design, with their number."""

    UNIQUE = "1 Unique"
    COMPLETE = "2 Complete"
    LOWEST = "3 Lowest first"
    ONE_COMMIT = "4 One commit"
    ONCE = "5 Exactly once"
    NOT_FAILED = "6 Unknown is not failed"
    NOT_EARLY = "7 Nothing leaves early"
    NO_REWIND = "10 No rewind"
    ASKED = "Only what was asked"
    OWNER = "Only the holder's site releases a number"
    TRUE_REFUSAL = "A refusal is true"
    ENDS_ONCE = "A reservation ends once, and all hear the same"
    DEADLINE = "A reservation lasts until its deadline"
    GIVEN_UP = "What is given up is a gap, or void for ever"
    UNHEARD = "No number stays with a caller that has left"
    RECOVERS = "Every node recovers by itself"
    AGREES = "All nodes come to the same state"
    ASSIGNED = "What an operator names is fresh, and the operator's"
    REPLACES = "A number and the one in its place name each other in one entry"
    FORWARD = "The count never goes back"
    CLOSED = "Nothing goes out after a close, and nothing is reserved at it"
    TRUE_ALARM = "Nobody calls for a person without need"
    NO_ERROR = "No error of the program"


def said_of(record: Record) -> str:
    """Return what is told of a record beside its numbers."""
    match record:
        case Issued(held=held) if held:
            return f"{held.token} until {held.until_ms}"
        case Settled(how=how):
            return how
        case Issued(given=given) if given:
            return given.text
        case Issued() | Released() | Restarted() | LossAccepted() | Trimmed():
            return ""
        case by_operator:
            return _said_by_operator(by_operator)


def _said_by_operator(record: Passed | Voided | Imported | Closed) -> str:
    match record:
        case Passed(_, first, quantity):
            return f"{quantity} numbers are passed over from {first}"
        case Voided(replaced_by=other):
            return f"void, replaced by {other}" if other else "void"
        case Imported(first=first):
            return f"imported, when the next number was {first}"
        case Closed():
            return "closed"


def numbers_of(record: Record) -> tuple[int, ...]:
    """Return the numbers that somebody is told: those that are issued, or that it is about."""
    match record:
        case Issued():
            return tuple(record.numbers())
        case Released() | Settled() | Voided():
            return (record.number,)
        case Imported(runs=runs):
            return tuple(first + at for first, many in runs for at in range(many))
        case _:
            return ()


class Finding(NamedTuple):
    """A rule that was broken, in words."""

    rule: Rule
    what: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.what}"


class CounterNames(NamedTuple):
    """Which of a counter's keys a key is."""

    keys: CounterKeys

    def is_entry(self, key: bytes) -> bool:
        """Tell whether this is the key of a ledger entry."""
        return key.startswith(self.keys.prefix + b"entry/")

    def is_gap(self, key: bytes) -> bool:
        """Tell whether this is the key of a gap."""
        return key.startswith(self.keys.prefix + b"gap/")

    def is_head(self, key: bytes) -> bool:
        """Tell whether this is the head."""
        return key == self.keys.head
