"""The few shapes in which the core speaks to a store: one guarded transaction, and ranges."""

from typing import NamedTuple


class Put(NamedTuple):
    """Write one key; with a ``lease`` it goes when the lease does."""

    key: bytes
    value: bytes
    lease: int = 0


class Delete(NamedTuple):
    """Remove every key in ``[start, end)``; one operation however many keys that are."""

    start: bytes
    end: bytes


class Range(NamedTuple):
    """Read ``[start, end)`` in key order; a single key when ``end`` is empty; 0 is no limit.

    With ``keys_only`` the values are left out: found are empty ones.
    """

    start: bytes
    end: bytes = b""
    limit: int = 0
    keys_only: bool = False


class Guard(NamedTuple):
    """A key as the writer has seen it: its modification revision (0: it does not exist) and value.

    The revision alone says that nothing has changed since. The value says that it is the same
    history: a store restored from a backup comes to the same revisions again, with other content.
    """

    key: bytes
    revision: int = 0
    value: bytes = b""


class Transaction(NamedTuple):
    """All or nothing, if the guard is still as the writer has seen it, and all those in ``also``.

    ``otherwise`` is read, at the same revision, when a guard has moved.
    """

    guard: Guard
    writes: tuple[Put | Delete, ...]
    otherwise: tuple[Range, ...]
    also: tuple[Guard, ...] = ()

    @property
    def guards(self) -> tuple[Guard, ...]:
        """Return all that must not have moved."""
        return (self.guard, *self.also)

    @property
    def operations(self) -> int:
        """Return how long the longest of its three lists is: the store limits each of them."""
        compares = sum(2 if guard.revision else 1 for guard in self.guards)
        return max(compares, len(self.writes), len(self.otherwise))


class KeyValue(NamedTuple):
    """One key as the store has it."""

    key: bytes
    value: bytes
    revision: int


def prefix_end(prefix: bytes) -> bytes:
    """Return the first key after all keys that begin with ``prefix``."""
    return prefix[:-1] + bytes([prefix[-1] + 1])
