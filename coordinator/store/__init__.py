"""What a store is: guarded transactions with three outcomes, and reads of one revision.

A transaction sent once has one of three outcomes, which the caller must tell apart:

- ``Committed``: it is in the store for good;
- ``Conflict``: the guard had moved; it is not in the store, and this sending never will be;
- ``Unknown``: the reply was lost. It may be in the store, now or a moment later.

Anything that certainly never reached the store raises ``NotCommitted``. What to do about each is
the business of ``coordinator.commit``, not of a store: a store sends once and reports.
"""

from typing import NamedTuple, Protocol

from coordinator.core.transaction import KeyValue, Range, Transaction


class Committed(NamedTuple):
    """The transaction is in the store; ``revision`` is the guard's (a new one if it wrote)."""

    revision: int


class Conflict(NamedTuple):
    """The guard had moved; ``found`` are the transaction's ``otherwise`` ranges, in order."""

    found: tuple[tuple[KeyValue, ...], ...]


class Unknown(NamedTuple):
    """The reply was lost, or says nothing certain, for this reason.

    ``needs_operator``: waiting will not end it, a person must do what ``why`` says.
    """

    why: str
    needs_operator: bool = False


Outcome = Committed | Conflict | Unknown


class Snapshot(NamedTuple):
    """Several ranges at one revision. ``revision`` is the store's newest at that moment."""

    revision: int
    found: tuple[tuple[KeyValue, ...], ...]


class StoreError(Exception):
    """The store did not do what was asked; the message says why."""


class NotCommitted(StoreError):
    """For certain nothing was written: no member took the request. Trying again is safe."""


class NeedsOperator(StoreError):
    """Waiting does not help; a person must do what the message says."""


class Rejected(StoreError):
    """Nothing was written, and this transaction will never be taken: it is larger than the
    members' limits, or malformed. Their limits and the coordinator's settings disagree.
    """


class Unavailable(StoreError):
    """A read found no member that could answer in time. Trying again is safe."""


class Compacted(StoreError):
    """The revision asked for is gone. Read again at the newest one."""


class Store(Protocol):
    """A replicated, revisioned key-value store."""

    async def commit(self, transaction: Transaction) -> Outcome:
        """Send the transaction once, to one member.

        Raises NotCommitted or Rejected when it certainly is not in the store.
        """
        ...

    async def read(self, *ranges: Range, revision: int = 0) -> Snapshot:
        """Return the ranges as of one revision: the newest, linearizably, when it is 0.

        Raises Unavailable, or Compacted when that revision is gone.
        """
        ...

    async def put_alive(self, key: bytes, value: bytes, lease: int) -> None:
        """Write a key that goes when its lease does; 0 is no lease. Raises StoreError."""
        ...

    async def grant(self, ttl_s: int) -> int:
        """Return a new lease of so many seconds. Raises StoreError."""
        ...

    async def keep_alive(self, lease: int) -> bool:
        """Renew a lease; False when it is gone. Raises StoreError."""
        ...

    async def revoke(self, lease: int) -> None:
        """End a lease, and with it its keys. Raises StoreError."""
        ...

    async def versions(self) -> dict[str, str]:
        """Return each member's address and the version it runs; empty text when it is silent."""
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...
