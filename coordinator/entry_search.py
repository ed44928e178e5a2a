"""Single ledger entries: the first one since a moment, and the bytes of one as they stand."""

from typing import NamedTuple

from coordinator.core import head as heads
from coordinator.core import ledger
from coordinator.core.head import Head
from coordinator.core.keys import CounterKeys
from coordinator.core.transaction import Range
from coordinator.core.unreadable import Unreadable
from coordinator.store import Store

CLOCKS_APART_MS = 2_000
"""Entries are in the order of commits, not of clocks: what nodes' clocks may differ by for a search
by time to find everything. It reads so much more on either side."""

_NOBODYS = "-"
"""No run is called that: single numbers of other runs need not be taken apart."""


class RawEntry(NamedTuple):
    """An entry's bytes as they stand, and what the ledger says of them elsewhere, at one revision.

    ``content`` is None where there is no such entry. ``previous`` is the hash of the entry before
    as these bytes name it, ``recorded`` is their own hash as it was written down when they were
    committed: in the entry after them, or in the head. Both are empty when they cannot be read.
    """

    head: Head | None
    content: bytes | None
    previous: str
    recorded: str


async def raw_entry(store: Store, keys: CounterKeys, index: int) -> RawEntry:
    """Return an entry as it stands, readable or not. Raises StoreError, or Unreadable: the head."""
    ranges = (Range(keys.head), Range(keys.entry(index)), Range(keys.entry(index + 1)))
    head_found, found, after = (await store.read(*ranges)).found
    head = heads.decode(head_found[0].value) if head_found else None
    if not found or head is None:
        return RawEntry(head, None, "", "")
    content = found[0].value
    recorded = head.tip if head.index == index else ""
    return RawEntry(
        head, content, _named_in(content), _named_in(after[0].value) if after else recorded
    )


def _named_in(content: bytes) -> str:
    try:
        return ledger.decode(content, _NOBODYS).previous
    except Unreadable:
        return ""


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
