"""Single ledger entries: the first one since a moment, and the bytes of one as they stand."""

from typing import NamedTuple

from coordinator.core import head as heads
from coordinator.core import ledger
from coordinator.core.head import Head
from coordinator.core.keys import CounterKeys
from coordinator.core.transaction import Range
from coordinator.store import Store

CLOCKS_APART_MS = 2_000
"""Entries are in the order of commits, not of clocks: what nodes' clocks may differ by for a search
by time to find everything. It reads so much more on either side."""

_NOBODYS = "-"
"""No run is called that: single numbers of other runs need not be taken apart."""


class RawEntry(NamedTuple):
    """An entry's canonical bytes, None where there is none, and the head at the same revision.

    ``previous`` is the hash of the entry before it, as it says itself.
    """

    head: Head | None
    content: bytes | None
    previous: str


async def raw_entry(store: Store, keys: CounterKeys, index: int) -> RawEntry:
    """Return the bytes that an entry's hash is made of. Raises StoreError or Unreadable."""
    snapshot = await store.read(Range(keys.head), Range(keys.entry(index)))
    head_found, found = snapshot.found
    head = heads.decode(head_found[0].value) if head_found else None
    if not found:
        return RawEntry(head, None, ledger.NO_HASH)
    content = found[0].value
    return RawEntry(head, content, ledger.decode(content, _NOBODYS).previous)


async def first_since(store: Store, keys: CounterKeys, time_ms: int) -> int:
    """Return the first entry at or after a moment (wall clock, ms), the one after all if none is.

    By halving, some twenty entries are read however long the ledger is. Raises StoreError or
    Unreadable.
    """
    (found,) = (await store.read(Range(keys.head))).found
    if not found:
        return 1
    head = heads.decode(found[0].value)
    low, high = head.trimmed + 1, head.index
    while low <= high:
        probe = (low + high) // 2
        (there,) = (await store.read(Range(keys.entry(probe)))).found
        # One that is not there any more was trimmed meanwhile: all that is left is newer.
        if there and ledger.decode(there[0].value, _NOBODYS).time_ms >= time_ms:
            high = probe - 1
        else:
            low = probe + 1
    return low
