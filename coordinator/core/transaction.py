"""The few shapes in which the core speaks to a store: one guarded transaction, and ranges."""

from typing import NamedTuple


class Put(NamedTuple):
    """Write one key."""

    key: bytes
    value: bytes


class Delete(NamedTuple):
    """Remove every key in ``[start, end)``; one operation however many keys that are."""

    start: bytes
    end: bytes


class Range(NamedTuple):
    """Read ``[start, end)`` in key order; a single key when ``end`` is empty; 0 is no limit."""

    start: bytes
    end: bytes = b""
    limit: int = 0


class Transaction(NamedTuple):
    """All or nothing, if the guard key is still at the revision that the writer has seen.

    ``expected`` is the guard's modification revision, 0 for a key that does not exist.
    ``otherwise`` is read, at the same revision, when the guard has moved.
    """

    guard: bytes
    expected: int
    writes: tuple[Put | Delete, ...]
    otherwise: tuple[Range, ...]


class KeyValue(NamedTuple):
    """One key as the store has it."""

    key: bytes
    value: bytes
    revision: int


def prefix_end(prefix: bytes) -> bytes:
    """Return the first key after all keys that begin with ``prefix``."""
    return prefix[:-1] + bytes([prefix[-1] + 1])
