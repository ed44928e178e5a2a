"""A store in memory that keeps etcd's rules, for simulations and tests.

It refuses what etcd refuses, so that a plan which passes here passes there.
"""

from bisect import bisect_left
from collections.abc import Callable
from typing import NamedTuple

from coordinator.core.transaction import Delete, Guard, KeyValue, Put, Range, Transaction
from coordinator.store import (
    Committed,
    Compacted,
    Conflict,
    NotCommitted,
    Outcome,
    Rejected,
    Snapshot,
    StoreError,
)

OPERATIONS_MAX = 128
REQUEST_BYTES_MAX = 1_572_864


class _Version(NamedTuple):
    revision: int
    value: bytes | None


class MemoryStore:
    """Every version of every key since the last compaction. ``now`` is its clock, in seconds."""

    def __init__(self, now: Callable[[], float] = lambda: 0.0) -> None:
        self._now = now
        self._revision = 1
        self._compacted = 0
        self._keys: list[bytes] = []
        self._history: dict[bytes, list[_Version]] = {}
        self._leases: dict[int, tuple[int, float, set[bytes]]] = {}

    async def commit(self, transaction: Transaction) -> Outcome:
        """Apply the transaction at once, or not at all."""
        _refuse_what_etcd_refuses(transaction)
        self._expire_leases()
        if not all(map(self._holds, transaction.guards)):
            return Conflict(tuple(self._range(r, self._revision) for r in transaction.otherwise))
        if not transaction.writes:
            return Committed(transaction.guard.revision)
        leases = {write.lease for write in transaction.writes if isinstance(write, Put)} - {0}
        if leases - self._leases.keys():
            raise NotCommitted("requested lease not found")
        self._revision += 1
        for write in transaction.writes:
            match write:
                case Put(key, value, lease):
                    self._set(key, value)
                    if lease:
                        self._leases[lease][2].add(key)
                case Delete(start, end):
                    for kv in self._range(Range(start, end), self._revision):
                        self._set(kv.key, None)
        return Committed(self._revision)

    async def read(self, *ranges: Range, revision: int = 0) -> Snapshot:
        """Return the ranges at that revision."""
        self._expire_leases()
        at = revision or self._revision
        if at < self._compacted:
            raise Compacted(f"revision {at} has been compacted; the oldest is {self._compacted}")
        return Snapshot(self._revision, tuple(self._range(r, at) for r in ranges))

    async def put_alive(self, key: bytes, value: bytes, lease: int) -> None:
        """Write a key under a lease."""
        self._expire_leases()
        if lease and lease not in self._leases:
            raise StoreError("requested lease not found")
        self._revision += 1
        self._set(key, value)
        if lease:
            self._leases[lease][2].add(key)

    async def grant(self, ttl_s: int) -> int:
        """Return a new lease."""
        lease = max(self._leases, default=0) + 1
        self._leases[lease] = (ttl_s, self._now() + ttl_s, set())
        return lease

    async def keep_alive(self, lease: int) -> bool:
        """Renew a lease."""
        self._expire_leases()
        if lease not in self._leases:
            return False
        ttl_s, _, keys = self._leases[lease]
        self._leases[lease] = (ttl_s, self._now() + ttl_s, keys)
        return True

    async def revoke(self, lease: int) -> None:
        """End a lease and delete its keys."""
        _, _, keys = self._leases.pop(lease, (0, 0.0, set[bytes]()))
        if keys:
            self._revision += 1
        for key in keys:
            self._set(key, None)

    async def versions(self) -> dict[str, str]:
        """Return no members: there are none."""
        return {}

    async def close(self) -> None:
        """Do nothing: there are no connections."""

    def compact(self) -> None:
        """Forget every version but the newest of each key."""
        self._compacted = self._revision
        for key, versions in list(self._history.items()):
            if versions[-1].value is None:
                del self._history[key]
                self._keys.remove(key)
            else:
                self._history[key] = versions[-1:]

    def _holds(self, guard: Guard) -> bool:
        found = self._latest(guard.key) or KeyValue(guard.key, b"", 0)
        return (found.revision, found.value) == (guard.revision, guard.value)

    def _latest(self, key: bytes) -> KeyValue | None:
        found = self._range(Range(key), self._revision)
        return found[0] if found else None

    def _range(self, wanted: Range, at: int) -> tuple[KeyValue, ...]:
        end = wanted.end or wanted.start + b"\0"
        found: list[KeyValue] = []
        for position in range(bisect_left(self._keys, wanted.start), len(self._keys)):
            key = self._keys[position]
            if key >= end or (wanted.limit and len(found) == wanted.limit):
                break
            version = next((v for v in reversed(self._history[key]) if v.revision <= at), None)
            if version is not None and version.value is not None:
                value = b"" if wanted.keys_only else version.value
                found.append(KeyValue(key, value, version.revision))
        return tuple(found)

    def _set(self, key: bytes, value: bytes | None) -> None:
        if key not in self._history:
            self._keys.insert(bisect_left(self._keys, key), key)
        self._history.setdefault(key, []).append(_Version(self._revision, value))

    def _expire_leases(self) -> None:
        for lease, (_, ends, keys) in list(self._leases.items()):
            if ends <= self._now():
                del self._leases[lease]
                self._revision += bool(keys)
                for key in keys:
                    self._set(key, None)


def _refuse_what_etcd_refuses(transaction: Transaction) -> None:
    operations = transaction.operations
    if operations > OPERATIONS_MAX:
        raise Rejected(f"{operations} operations in one transaction; at most {OPERATIONS_MAX}")
    puts = [write for write in transaction.writes if isinstance(write, Put)]
    parts: list[Put | Guard] = [*puts, *transaction.guards]
    size = sum(len(part.key) + len(part.value) for part in parts)
    if size > REQUEST_BYTES_MAX:
        raise Rejected(f"{size} bytes in one transaction; at most {REQUEST_BYTES_MAX}")
    if len({put.key for put in puts}) != len(puts):
        raise Rejected("duplicate key given in transaction")
    for write in transaction.writes:
        if isinstance(write, Delete) and any(write.start <= p.key < write.end for p in puts):
            raise Rejected("duplicate key given in transaction: put and deleted")
