"""The last number of each site, partition and type, as the newest entries of the ledger tell it.

The store keeps how many numbers each place has, not which was its last: to find that is a look at
a few entries. What was found holds as long as the place's count stands still, so nothing is told
that is not so; of a place that has been served too long ago to be found, nothing is told.
"""

import heapq
from typing import NamedTuple

from coordinator.core.head import Head
from coordinator.core.records import Entry, Issued
from coordinator.counters import Counters
from coordinator.overview import Overview

ENTRIES_READ_FIRST, ENTRIES_MAX = 4, 256
"""Entries read first, then twice as many each time, and at most for one look: busy places are among
the newest few."""

COUNTERS_MAX = 32
"""Counters that are looked into at once, of those that changed last."""


class _Learnt(NamedTuple):
    """What is known of a place: its last number, None when it was looked for in vain.

    It holds for so many issued to the place, since this reset of its counter.
    """

    issued: int
    since: int
    number: int | None


class LastNumbers:
    """Learns them from look to look."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._learnt: dict[str, _Learnt] = {}

    async def of(self, seen: Overview) -> dict[str, int]:
        """Return them by ``site:partition:type``. Raises StoreError or Unreadable."""
        heads = [(each.name, each.head) for each in seen.counters if each.head is not None]
        for name, head in heapq.nlargest(COUNTERS_MAX, heads, key=lambda each: each[1].changed_ms):
            await self._learn(name, head)
        return {
            place: number
            for _, head in heads
            for place in head.counts
            if self._holds(place, head) and (number := self._learnt[place].number) is not None
        }

    async def _learn(self, name: str, head: Head) -> None:
        """Look for what has changed in the newest entries of a counter."""
        wanted = {place for place in head.counts if not self._holds(place, head)}
        before, oldest = head.index + 1, max(head.since + 1, head.index - ENTRIES_MAX)
        history, entries = self._counters.history(name), ENTRIES_READ_FIRST
        for place in wanted:
            self._learnt[place] = _Learnt(head.counts[place], head.since, None)
        while wanted and before > oldest:
            page = await history.newest(before, min(entries, before - oldest))
            entries *= 2
            for entry, _ in page.entries:
                for place, number in _last_in(entry).items():
                    if place in wanted:
                        wanted.discard(place)
                        self._learnt[place] = self._learnt[place]._replace(number=number)
            before = page.older

    def _holds(self, place: str, head: Head) -> bool:
        known = self._learnt.get(place)
        return known is not None and known[:2] == (head.counts[place], head.since)


def _last_in(entry: Entry) -> dict[str, int]:
    """Return the last number that each place has got by an entry."""
    last: dict[str, int] = {}
    for record in entry.records:
        if isinstance(record, Issued):
            origin = record.cause.origin
            last[f"{origin.site}:{origin.partition}:{origin.invoice_type}"] = record.spans()[-1][-1]
    return last
