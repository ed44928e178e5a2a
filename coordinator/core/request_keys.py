"""Idempotency keys: in which entry one may have been used, in memory and beside the ledger.

In the store the digests of several entries share a block: a node that starts reads them all, and
etcd takes as long for a key with one digest as for a key with a hundred.
"""

import hashlib
from array import array
from collections import deque
from collections.abc import Iterable, Iterator

from coordinator.core.keys import CounterKeys
from coordinator.core.marks import encode_digests
from coordinator.core.transaction import Delete, Put

KEYS_REMEMBERED = 1_000_000
"""A counter recognises at least this many of its latest keyed requests."""

KEYS_PER_TABLE = 65_536

SLOTS_FIRST = 32
"""A table grows to four times its size whenever it is half full, up to 131,072 slots."""

KEYS_PER_BLOCK = 64
"""A block with so many digests takes no further entry. It is written anew with each: about 300
bytes more, with one key in each entry."""

ENTRIES_PER_BLOCK = 256
"""How far apart the first and the last entry of a block may be: an offset is one byte."""

BLOCKS_FORGOTTEN_AT_ONCE = 8
"""Blocks that an entry with keys may delete: more than it can make, and a short work for etcd."""


def digest(key: str) -> int:
    """Return the 8-byte digest under which an idempotency key is remembered."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")


class _Table:
    """An open-addressed table of digest -> entry index; index 0 marks a free slot."""

    def __init__(self, slots: int, first: int) -> None:
        self._digests = array("Q", (0,)) * slots  # made like this, they take no byte more
        self._indexes = array("Q", (0,)) * slots
        self._mask = slots - 1
        self.used = 0
        self.first = first
        """The first entry with a key in here."""

    @property
    def room(self) -> int:
        """Return how many more keys it takes until it is half full."""
        return len(self._digests) // 2 - self.used

    def add(self, some: Iterable[tuple[int, int]]) -> None:
        digests, indexes, mask = self._digests, self._indexes, self._mask
        for digest, index in some:
            at = digest & mask
            while indexes[at]:
                at = (at + 1) & mask
            digests[at], indexes[at] = digest, index
            self.used += 1

    def find(self, digest: int) -> Iterator[int]:
        at = digest & self._mask
        while index := self._indexes[at]:
            if self._digests[at] == digest:
                yield index
            at = (at + 1) & self._mask

    def grown(self) -> "_Table":
        larger = _Table(4 * len(self._digests), self.first)
        both = zip(self._digests, self._indexes, strict=True)
        larger.add(pair for pair in both if pair[1])
        return larger


class KeyTables:
    """In which entry an idempotency key may have been used: a superset, confirmed by reading it.

    A row of tables of bounded size, so that neither growing nor forgetting ever takes long; the
    oldest is forgotten as a whole. At least the latest ``remembered`` keys are known, at 32 bytes
    each in full tables.
    """

    def __init__(self, remembered: int = KEYS_REMEMBERED, per_table: int = KEYS_PER_TABLE) -> None:
        self._per_table = per_table
        self._tables = deque([_Table(SLOTS_FIRST, 0)], maxlen=-(-remembered // per_table) + 1)

    @property
    def first(self) -> int:
        """Return the first entry of which keys are remembered; 0: nothing was forgotten yet."""
        return self._tables[0].first

    def add(self, digests: list[tuple[int, int]]) -> None:
        """Remember these keys, each with the entry in which it was used."""
        done = 0
        while done < len(digests):
            newest = self._tables[-1]
            if newest.used >= self._per_table:
                newest = _Table(SLOTS_FIRST, digests[done][1])
                self._tables.append(newest)
            elif not newest.room:
                newest = newest.grown()
                self._tables[-1] = newest
            fitting = min(newest.room, self._per_table - newest.used)
            newest.add(digests[done : done + fitting])
            done += fitting

    def find(self, digest: int) -> tuple[int, ...]:
        """Return the entries that may hold this key; none means that it is new."""
        return tuple(index for table in self._tables for index in table.find(digest))


class RequestKeys:
    """The keys that a counter remembers, and the blocks of them in the store, oldest first."""

    def __init__(self, remembered: int = KEYS_REMEMBERED, per_table: int = KEYS_PER_TABLE) -> None:
        self._tables = KeyTables(remembered, per_table)
        self._blocks: deque[int] = deque()
        """The first entry of each."""
        self._newest: list[tuple[int, int]] = []
        """Digests and their entries in the newest block."""

    def find(self, digest: int) -> tuple[int, ...]:
        """Return the entries that may hold this key; none means that it is new."""
        return self._tables.find(digest)

    def load(self, first: int, digests: list[tuple[int, int]]) -> None:
        """Take a block from the store, with the entry of each digest. The newest comes last."""
        self._blocks.append(first)
        self._newest = digests
        self._tables.add(digests)

    def add(self, digests: Iterable[int], index: int) -> None:
        """Take over what ``writes`` has written with the entry ``index``."""
        for _ in range(self._outdated()):
            self._blocks.popleft()
        if not self._goes_on(index):
            self._blocks.append(index)
            self._newest = []
        here = [(short, index) for short in digests]
        self._newest += here
        self._tables.add(here)

    def writes(self, keys: CounterKeys, digests: list[int], index: int) -> list[Put | Delete]:
        """Return what the entry ``index``, with these keys, changes beside the ledger."""
        writes: list[Put | Delete] = []
        first, block = index, [(short, index) for short in digests]
        if self._goes_on(index):
            first, block = self._blocks[-1], [*self._newest, *block]
        writes.append(Put(keys.request_keys(first), encode_digests(first, block)))
        outdated = self._outdated()
        if outdated:
            oldest, kept = self._blocks[0], self._blocks[outdated]
            writes.append(Delete(keys.request_keys(oldest), keys.request_keys(kept)))
        return writes

    def trim_writes(self, keys: CounterKeys, through: int) -> list[Put | Delete]:
        """Return the deletion of the blocks that hold keys of entries up to ``through`` only."""
        trimmed = self._up_to(through)
        if not trimmed:
            return []
        oldest, kept = self._blocks[0], self._blocks[trimmed]
        return [Delete(keys.request_keys(oldest), keys.request_keys(kept))]

    def trim(self, through: int) -> None:
        """Take over what ``trim_writes`` has deleted."""
        for _ in range(self._up_to(through)):
            self._blocks.popleft()

    def _up_to(self, through: int) -> int:
        trimmed = 0
        while trimmed < len(self._blocks) - 1 and self._blocks[trimmed + 1] <= through + 1:
            trimmed += 1
        return trimmed

    def _goes_on(self, index: int) -> bool:
        """Tell whether an entry's keys go into the newest block."""
        if not self._blocks or len(self._newest) >= KEYS_PER_BLOCK:
            return False
        return index < self._blocks[-1] + ENTRIES_PER_BLOCK

    def _outdated(self) -> int:
        """Return how many of the oldest blocks to delete: all their keys are forgotten."""
        first, blocks, outdated = self._tables.first, self._blocks, 0
        while outdated < min(len(blocks) - 1, BLOCKS_FORGOTTEN_AT_ONCE):
            if blocks[outdated + 1] > first:
                break
            outdated += 1
        return outdated
