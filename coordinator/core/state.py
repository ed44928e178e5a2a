"""A counter in memory: the replica that a node plans on."""

import hashlib
from array import array
from bisect import bisect_left
from collections import OrderedDict

from coordinator.core.head import Head, advance
from coordinator.core.ledger import Entry, Issued, Released, Restarted, Reused

FREED_REMEMBERED_MAX = 65_536
"""How many released numbers are remembered to judge the age of evidence."""

KEYS_PER_GENERATION = 1_000_000
"""A counter recognises at least this many of its latest keyed requests."""


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

    def oldest_ms(self) -> int | None:
        """Return when the gap that has been open for longest was released."""
        return min(self._released_ms, default=None)


def digest(key: str) -> int:
    """Return the 8-byte digest under which an idempotency key is remembered."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")


class _Generation:
    """An open-addressed table of digest -> entry index; 0 in ``indexes`` marks a free slot."""

    def __init__(self, slots: int) -> None:
        self.digests = array("Q", bytes(8 * slots))
        self.indexes = array("Q", bytes(8 * slots))
        self.used = 0

    def add(self, digest: int, index: int) -> None:
        mask = len(self.digests) - 1
        at = digest & mask
        while self.indexes[at]:
            at = (at + 1) & mask
        self.digests[at], self.indexes[at] = digest, index
        self.used += 1

    def find(self, digest: int) -> list[int]:
        mask = len(self.digests) - 1
        at = digest & mask
        found = []
        while self.indexes[at]:
            if self.digests[at] == digest:
                found.append(self.indexes[at])
            at = (at + 1) & mask
        return found


class RequestKeys:
    """In which entry an idempotency key may have been used: a superset, confirmed by reading it.

    Two generations: when the newer one is full, the older one is forgotten. At least the latest
    ``per_generation`` keys are known, at 16 bytes a slot.
    """

    def __init__(self, per_generation: int = KEYS_PER_GENERATION) -> None:
        self._per_generation = per_generation
        self._older = _Generation(16)
        self._newer = _Generation(16)

    def add(self, digest: int, index: int) -> None:
        """Remember that this key was used in this entry."""
        if self._newer.used >= self._per_generation:
            self._older, self._newer = self._newer, _Generation(16)
        elif self._newer.used * 2 >= len(self._newer.digests):
            grown = _Generation(len(self._newer.digests) * 4)
            for known, at in zip(self._newer.digests, self._newer.indexes, strict=True):
                if at:
                    grown.add(known, at)
            self._newer = grown
        self._newer.add(digest, index)

    def find(self, digest: int) -> tuple[int, ...]:
        """Return the entries that may hold this key; none means that it is new."""
        return (*self._newer.find(digest), *self._older.find(digest))


class CounterState:
    """One counter as it is after the entry ``head.index``. Only ``apply`` changes it.

    ``freed`` maps recently released numbers to the entry that released them; every release after
    entry ``freed_known_from`` is in it.
    """

    def __init__(self, head: Head) -> None:
        self.head = head
        self.gaps = Gaps()
        self.keys = RequestKeys()
        self.freed: OrderedDict[int, int] = OrderedDict()
        self.freed_known_from = head.index

    def apply(self, entry: Entry, tip: str) -> None:
        """Advance by the next entry; ``tip`` is its hash.

        Raises ValueError when it is not the next one of this chain: nothing is changed then.
        """
        before = self.head
        follows = (before.index + 1, before.tip, before.next)
        if (entry.index, entry.previous, entry.next_before) != follows:
            raise ValueError(f"entry {entry.index} does not follow entry {before.index}")
        self.head = advance(self.head, entry, tip)
        for record in entry.records:
            match record:
                case Issued():
                    self.gaps.remove_lowest(len(record.reused))
                case Released():
                    self.gaps.add(record.number, entry.index, entry.time_ms)
                    self._remember_freed(record.number, entry.index)
                case Restarted():
                    self.gaps = Gaps()
                    self.keys = RequestKeys()
                    self.freed.clear()
                    self.freed_known_from = entry.index
                    continue
            if record.cause.key is not None:
                self.keys.add(digest(record.cause.key), entry.index)

    def _remember_freed(self, number: int, index: int) -> None:
        self.freed[number] = index
        self.freed.move_to_end(number)
        if len(self.freed) > FREED_REMEMBERED_MAX:
            _, self.freed_known_from = self.freed.popitem(last=False)

    def fresh_evidence(self, number: int, read_at: int) -> bool:
        """Tell whether what was read of a number at entry ``read_at`` still holds here."""
        return read_at >= max(self.freed_known_from, self.freed.get(number, 0))
