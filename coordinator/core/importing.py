"""An import: what its rows are in the store, what stands against it, and its one transaction.

The rows are put down first, in pieces that mean nothing yet. The commit names each piece by its
SHA-256 in the ledger, so that the ledger proves what every number was issued for.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

import orjson

from coordinator.core.plan import Plan
from coordinator.core.records import Rows
from coordinator.core.requests import Why
from coordinator.core.state import CounterState
from coordinator.core.transaction import Delete, Guard, Put, Range, Transaction
from coordinator.core.unreadable import Unreadable, text, whole

PIECE_BYTES = 256 * 1024
"""Rows in one key: small enough that no other commit waits long behind it."""

VALUE_BYTES_MAX = 1_000_000
"""A ledger entry, as everywhere."""

TRANSACTION_BYTES_MAX = 1_400_000
"""All keys and values of the commit: etcd takes 1.5 MiB, with all that stands around them."""

WRITES_PER_COUNTER = 3
"""Head, entry, and what is void."""

COMPARES_PER_COUNTER = 2

OWN_WRITES = 2
"""The key of the open import goes, that of the finished one comes."""

OWN_COMPARES = 3


class ImportedRow(NamedTuple):
    """What the file said of one number; ``created_at`` and ``metadata`` as written, or empty."""

    number: int
    text: str
    created_at: str
    metadata: str


class TooLarge(Exception):
    """It does not fit into one transaction; the message says what to do."""


def pieces(rows: Iterable[ImportedRow]) -> Iterator[tuple[Rows, bytes]]:
    """Yield the rows, which ascend by number, as the values of keys, with what names each."""
    kept: list[bytes] = []
    first = size = 0
    for row in rows:
        line = orjson.dumps(tuple(row))
        if kept and size + len(line) > PIECE_BYTES:
            yield _piece(first, kept)
            kept, size = [], 0
        if not kept:
            first = row.number
        kept.append(line)
        size += len(line) + 1
    if kept:
        yield _piece(first, kept)


def _piece(first: int, lines: list[bytes]) -> tuple[Rows, bytes]:
    content = b"[" + b",".join(lines) + b"]"
    return Rows(first, sha256(content).hexdigest()), content


def decode_rows(content: bytes) -> list[ImportedRow]:
    """Return the rows in the value of a key. Raises Unreadable."""
    try:
        return [
            ImportedRow(whole(number), text(written), text(created_at), text(metadata))
            for number, written, created_at, metadata in orjson.loads(content)
        ]
    except (ValueError, TypeError) as broken:
        raise Unreadable(f"rows of an import: {broken}") from broken


def runs_of(numbers: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Return ascending numbers as runs of (first, quantity)."""
    runs: list[tuple[int, int]] = []
    first = following = -1
    for number in numbers:
        if number != following:
            if following > first:
                runs.append((first, following - first))
            first = number
        following = number + 1
    if following > first:
        runs.append((first, following - first))
    return tuple(runs)


class Clash(NamedTuple):
    """A number that cannot come in: its position among the others, why, and what stands there."""

    position: int
    why: Why
    there: str = ""


def clashes(
    state: CounterState, numbers: Sequence[int], max_value: int
) -> tuple[int, Iterator[Clash]]:
    """Return how many of these ascending numbers cannot be imported into a counter, and which."""
    if state.head.closed:
        return len(numbers), (Clash(at, Why.CLOSED) for at in range(len(numbers)))
    taken = bisect_left(numbers, state.head.next)
    beyond = max(taken, bisect_right(numbers, max_value))

    def each() -> Iterator[Clash]:
        for at in range(taken):
            yield Clash(at, Why.TAKEN, what_is(state, numbers[at]))
        for at in range(beyond, len(numbers)):
            yield Clash(at, Why.EXHAUSTED, str(max_value))

    return taken + len(numbers) - beyond, each()


def what_is(state: CounterState, number: int) -> str:
    """Return in a word or two what stands at a number below the next one."""
    if number < state.head.start:
        return "below the first number"
    if number in state.gaps:
        return "released, and will be issued again"
    if number in state.void:
        return "void"
    return "reserved" if number in state.holds else "issued"


def missing(following: int, runs: Sequence[tuple[int, int]]) -> list[range]:
    """Return the numbers from ``following`` on that lie before and between the runs."""
    left_out = []
    for first, quantity in runs:
        if first > following:
            left_out.append(range(following, first))
        following = max(following, first + quantity)
    return left_out


def counters_max(operations: int) -> int:
    """Return how many counters fit into one transaction of so many operations."""
    by_writes = (operations - OWN_WRITES) // WRITES_PER_COUNTER
    return min(by_writes, (operations - OWN_COMPARES) // COMPARES_PER_COUNTER)


def joined(plans: Sequence[Plan], opened: Guard, done: Put) -> Transaction:
    """Return the one transaction of all these plans.

    It holds only while the import is open, and ends that: whoever clears it away as abandoned has
    to be first. ``done`` says what it did, and must not be there yet. A conflict finds that key,
    and then the heads of the plans. Raises TooLarge.
    """
    of_plans = tuple(write for planned in plans for write in planned.transaction.writes)
    heads = tuple(planned.transaction.guard for planned in plans)
    transaction = Transaction(
        opened,
        (Delete(opened.key, opened.key + b"\0"), done, *of_plans),
        (Range(done.key), *(Range(head.key) for head in heads)),
        (Guard(done.key), *heads),
    )
    _check_size(transaction)
    return transaction


def _check_size(transaction: Transaction) -> None:
    puts = [write for write in transaction.writes if isinstance(write, Put)]
    parts: list[Put | Guard] = [*puts, *transaction.guards]
    size = sum(len(part.key) + len(part.value) for part in parts)
    largest = max(len(put.value) for put in puts)
    if size > TRANSACTION_BYTES_MAX or largest > VALUE_BYTES_MAX:
        raise TooLarge(
            "The numbers have more gaps between them than one commit of etcd can hold "
            f"({size:,} bytes; {TRANSACTION_BYTES_MAX:,} fit). Split the file by counter, or a "
            "counter by number, and import the lower numbers first."
        )
