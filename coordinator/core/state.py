"""A counter in memory: the replica that a node plans on."""

import hashlib
from array import array
from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Iterator

from coordinator.core.head import Head
from coordinator.core.ledger import Entry, Issued, LossAccepted, Released, Restarted, Reused

FREED_REMEMBERED_MAX = 65_536
"""How many released numbers are remembered to judge the age of evidence."""

KEYS_REMEMBERED = 1_000_000
"""A counter recognises at least this many of its latest keyed requests."""

KEYS_PER_TABLE = 65_536

RUNS_REMEMBERED_MAX = 1_024
"""Of so many runs of nodes it is remembered which entry has their latest part."""


class Gaps:
    """Released numbers in ascending order, each with the entry and the moment of its release.

    Three parallel arrays: 24 bytes a gap, and the lowest gaps are a prefix.
    """

    def __init__(self) -> None:
        self.numbers = array("Q")
        self._entries = array("Q")
        self._released_ms = array("Q")

    def __len__(self) -> int:
        return len(self.numbers)

    def __contains__(self, number: int) -> bool:
        at = bisect_left(self.numbers, number)
        return at < len(self.numbers) and self.numbers[at] == number

    def __getitem__(self, at: int) -> Reused:
        return Reused(self.numbers[at], self._entries[at], self._released_ms[at])

    def add(self, number: int, entry: int, released_ms: int) -> None:
        """Open a gap."""
        at = bisect_left(self.numbers, number)
        self.numbers.insert(at, number)
        self._entries.insert(at, entry)
        self._released_ms.insert(at, released_ms)

    def remove_lowest(self, count: int) -> None:
        """Close the lowest ``count`` gaps."""
        del self.numbers[:count]
        del self._entries[:count]
        del self._released_ms[:count]


def digest(key: str) -> int:
    """Return the 8-byte digest under which an idempotency key is remembered."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")


class _Table:
    """An open-addressed table of digest -> entry index; index 0 marks a free slot."""

    def __init__(self, slots: int) -> None:
        self._digests = array("Q", (0,)) * slots  # made like this, they take no byte more
        self._indexes = array("Q", (0,)) * slots
        self._mask = slots - 1
        self.used = 0

    @property
    def is_half_full(self) -> bool:
        return self.used * 2 > self._mask

    def add(self, digest: int, index: int) -> None:
        at = digest & self._mask
        while self._indexes[at]:
            at = (at + 1) & self._mask
        self._digests[at], self._indexes[at] = digest, index
        self.used += 1

    def find(self, digest: int) -> Iterator[int]:
        at = digest & self._mask
        while index := self._indexes[at]:
            if self._digests[at] == digest:
                yield index
            at = (at + 1) & self._mask

    def grown(self) -> "_Table":
        larger = _Table(2 * len(self._digests))
        for digest, index in zip(self._digests, self._indexes, strict=True):
            if index:
                larger.add(digest, index)
        return larger


class RequestKeys:
    """In which entry an idempotency key may have been used: a superset, confirmed by reading it.

    A row of tables of bounded size, so that neither growing nor forgetting ever takes long; the
    oldest is forgotten as a whole. At least the latest ``remembered`` keys are known, at 32 bytes
    each in full tables.
    """

    def __init__(self, remembered: int = KEYS_REMEMBERED, per_table: int = KEYS_PER_TABLE) -> None:
        self._per_table = per_table
        self._tables = deque([_Table(16)], maxlen=-(-remembered // per_table) + 1)

    def add(self, digest: int, index: int) -> None:
        """Remember that this key was used in this entry."""
        newest = self._tables[-1]
        if newest.used >= self._per_table:
            newest = _Table(16)
            self._tables.append(newest)
        elif newest.is_half_full:
            newest = newest.grown()
            self._tables[-1] = newest
        newest.add(digest, index)

    def find(self, digest: int) -> tuple[int, ...]:
        """Return the entries that may hold this key; none means that it is new."""
        return tuple(index for table in self._tables for index in table.find(digest))


class CounterState:
    """One counter as it is after the entry ``head.index``. Only ``apply`` changes it.

    ``freed`` maps recently released numbers to the entry that released them; every release after
    entry ``freed_known_from`` is in it. So is the latest part of every run in ``runs``, after entry
    ``runs_known_from``.
    """

    def __init__(self, head: Head) -> None:
        self.head = head
        self.gaps = Gaps()
        self.keys = RequestKeys()
        self.freed: OrderedDict[int, int] = OrderedDict()
        self.freed_known_from = head.index
        self.runs: OrderedDict[str, int] = OrderedDict()
        self.runs_known_from = head.index

    def apply(self, entry: Entry, after: Head) -> None:
        """Advance by the next entry; ``after`` is the head that it leads to.

        Raises ValueError when it is not the next one of this chain: nothing is changed then.
        """
        before = self.head
        follows = (before.index + 1, before.tip, before.next)
        if (entry.index, entry.previous, entry.next_before) != follows:
            raise ValueError(f"entry {entry.index} does not follow entry {before.index}")
        self.head = after
        for part in entry.parts:
            self._remember_run(part.instance, entry.index)
        for record in entry.records:
            match record:
                case Issued():
                    self.gaps.remove_lowest(len(record.reused))
                case Released():
                    self.gaps.add(record.number, entry.index, entry.time_ms)
                    self._remember_freed(record.number, entry.index)
                case LossAccepted():
                    pass
                case Restarted():
                    self.gaps = Gaps()
                    self.keys = RequestKeys()
                    self.freed.clear()
                    self.freed_known_from = entry.index
            if record.cause.key is not None:
                self.keys.add(digest(record.cause.key), entry.index)

    def _remember_run(self, instance: str, index: int) -> None:
        self.runs[instance] = index
        self.runs.move_to_end(instance)
        if len(self.runs) > RUNS_REMEMBERED_MAX:
            _, self.runs_known_from = self.runs.popitem(last=False)

    def has_nothing_newer_of(self, instance: str, seen: int) -> bool:
        """Tell whether for certain no entry after ``seen`` has a part of this run."""
        return seen >= max(self.runs_known_from, self.runs.get(instance, 0))

    def _remember_freed(self, number: int, index: int) -> None:
        self.freed[number] = index
        self.freed.move_to_end(number)
        if len(self.freed) > FREED_REMEMBERED_MAX:
            _, self.freed_known_from = self.freed.popitem(last=False)

    def fresh_evidence(self, number: int, read_at: int) -> bool:
        """Tell whether what was read of a number at entry ``read_at`` still holds here."""
        return read_at >= max(self.freed_known_from, self.freed.get(number, 0))
