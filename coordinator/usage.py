"""How many numbers counters have used lately. The ledger itself has it.

Entries say when they were written, and which number was next before them, so halving finds the
first entry of the last days by some twenty single ones, however long the ledger is. Of several
counters one step each is made in one read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from coordinator.core import ledger
from coordinator.core.forecast import Used
from coordinator.core.head import Head
from coordinator.core.keys import CounterKeys
from coordinator.core.records import Entry, Imported, Passed
from coordinator.core.transaction import Range
from coordinator.store import Store

COUNTERS_PER_READ = 16
"""An entry has some kB, a full one 150: about 2 MB in a read at most."""

LEAPS_MAX = 8
NOBODYS = "-"
"""No run is called that: single numbers of other runs need not be taken apart."""


@dataclass(slots=True)
class _Search:
    """The first entry at or after a moment is one of ``low`` to ``high``, or there is none."""

    keys: CounterKeys
    head: Head
    low: int
    high: int
    oldest: int

    @property
    def probe(self) -> int:
        """Return the entry to look at next: first of all the oldest one, which is often it."""
        return self.low if self.low == self.oldest else (self.low + self.high) // 2

    def learn(self, time_ms: int | None, since_ms: int) -> None:
        """Take what the probe says; None when it was trimmed meanwhile."""
        probe = self.probe
        if time_ms is not None and time_ms >= since_ms:
            self.high = probe - 1
        else:
            self.low = probe + 1


async def used_since(
    store: Store, counters: Sequence[tuple[CounterKeys, Head]], since_ms: int
) -> list[Used]:
    """Return what each counter has used since a moment (wall clock, ms). Raises StoreError.

    Where the ledger begins only after that moment, it is what was used from there on. A leap that
    begins it, such as an import of numbers issued elsewhere, is no use; later leaps count.
    """
    used: list[Used] = []
    for at in range(0, len(counters), COUNTERS_PER_READ):
        some = [_search(keys, head) for keys, head in counters[at : at + COUNTERS_PER_READ]]
        while pending := [each for each in some if each.low <= each.high]:
            snapshot = await store.read(*(Range(s.keys.entry(s.probe)) for s in pending))
            for search, found in zip(pending, snapshot.found, strict=True):
                entry = ledger.decode(found[0].value, NOBODYS) if found else None
                search.learn(entry.time_ms if entry else None, since_ms)
        firsts = await store.read(*(s.keys.entries(s.low, LEAPS_MAX) for s in some))
        for search, found in zip(some, firsts.found, strict=True):
            entries = [ledger.decode(kv.value, NOBODYS) for kv in found]
            used.append(_used(search, entries, since_ms))
    return used


def _search(keys: CounterKeys, head: Head) -> _Search:
    oldest = max(head.since, head.trimmed) + 1
    return _Search(keys, head, oldest, head.index, oldest)


def _used(search: _Search, entries: list[Entry], since_ms: int) -> Used:
    """Return what was used from the first of these entries on."""
    head = search.head
    entries = [entry for entry in entries if entry.index <= head.index]
    since_ms = max(since_ms, entries[0].time_ms) if entries and _is_oldest(search) else since_ms
    for at, entry in enumerate(entries):
        if not any(isinstance(record, Imported | Passed) for record in entry.records):
            return Used(head.next - entry.next_before, since_ms)
        if at == LEAPS_MAX - 1:
            return Used(head.next - entry.next_before, since_ms)
    return Used(0, since_ms)


def _is_oldest(search: _Search) -> bool:
    """Tell whether the ledger begins with the entry that was found."""
    return search.low == search.oldest
