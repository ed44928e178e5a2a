"""The hash chain: entry after entry, and which of them cannot be what was committed.

When two neighbours do not fit, one of them was altered. The entry after both tells which: the one
whose hash still follows is right. So at most two entries wait before they are handed on.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from coordinator.core import ledger
from coordinator.core.breaks import Break, Findings
from coordinator.core.keys import number_in
from coordinator.core.ledger import NO_HASH
from coordinator.core.records import Entry
from coordinator.core.transaction import KeyValue
from coordinator.core.unreadable import UnknownFormat, UnknownOperation, Unreadable


class Lost:
    """Entries of which it is not known what they said: missing, unreadable or altered."""

    def __init__(self) -> None:
        self._firsts = array("Q")
        self._lasts = array("Q")
        self.last = 0

    def __bool__(self) -> bool:
        return bool(self.last)

    def __contains__(self, index: int) -> bool:
        at = bisect_right(self._firsts, index) - 1
        return at >= 0 and index <= self._lasts[at]

    def add(self, first: int, last: int) -> None:
        """Note that these entries are lost, both included."""
        begin = bisect_left(self._lasts, first)  # those from here on end at or after the first
        end = bisect_right(self._firsts, last)  # those before here begin at or before the last
        if begin < end:
            first = min(first, self._firsts[begin])
            last = max(last, self._lasts[end - 1])
        self._firsts[begin:end] = array("Q", (first,))
        self._lasts[begin:end] = array("Q", (last,))
        self.last = max(self.last, last)


class Link(NamedTuple):
    """The next readable entry, as it stands under its key ``place``.

    ``trusted`` says that nothing speaks against its bytes. ``tip`` is its hash; of an altered
    entry, the hash that it had. ``after_loss`` says that what stood before it is not known.
    """

    place: int
    entry: Entry
    tip: str
    trusted: bool = True
    after_loss: bool = False


_START = Link(0, Entry(0, NO_HASH, 0, 0, (), ()), NO_HASH)


class Chain:
    """Takes stored entries in the order of their keys, and hands on those that can be read."""

    def __init__(self, findings: Findings, trimmed: int = 0, tip: str = NO_HASH) -> None:
        self._findings = findings
        self._start = _START._replace(tip=tip)
        self._waiting: list[Link] = [self._start]
        """The last one; or the last two, when the second does not follow the first."""
        self._shift = 0
        self._after_loss = False
        self.place = trimmed
        """The last place that was taken; ``tip`` is the hash of the entry there."""
        self.lost = Lost()

    def take(self, kv: KeyValue) -> Iterator[Link]:
        """Take the next stored entry; yield those about which all is known now."""
        try:
            place = number_in(kv.key)
        except Unreadable as broken:
            self._findings.add(Break.STRAY_KEY, self.place, None, str(broken))
            return
        if place > self.place + 1:
            yield from self.missing_to(place - 1)
        self.place = place
        try:
            entry = ledger.decode(kv.value)
        except Unreadable as broken:
            self._findings.add(_kind_of(broken), place, None, str(broken))
            yield from self._lose(place, place)
            return
        shift = place - entry.index
        if shift and shift != self._shift:
            said = f"under the key of entry {place} stands entry {entry.index}"
            self._findings.add(Break.WRONG_PLACE, place, None, said)
            yield from self._lose(place, place)
            self.lost.add(entry.index, entry.index)
            self._shift = shift
            return
        self._shift = shift
        tip = ledger.chain(entry.previous, kv.value)
        link = Link(place, entry, tip, after_loss=self._after_loss)
        if ledger.encode(entry) != kv.value:
            said = "its bytes are not what the program writes for what they say"
            link = self._doubt(link, Break.NOT_CANONICAL, said)
        self._after_loss = False
        yield from self._follow(link)

    def missing_to(self, last: int) -> Iterator[Link]:
        """Note that all entries after the last one taken, up to ``last``, are missing."""
        first = self.place + 1
        which = f"entry {first} is" if first == last else f"entries {first} to {last} are"
        self._findings.add(Break.MISSING_ENTRY, first, None, f"{which} not in the store")
        yield from self._lose(first, last)
        self.place = last

    def end(self, tip: str | None) -> Iterator[Link]:
        """Hand on all that still waits; ``tip`` is what the head names as the newest hash."""
        yield from self._settle(tip)
        waiting, self._waiting = self._waiting, [self._start]
        yield from (link for link in waiting if link.place)

    def _lose(self, first: int, last: int) -> Iterator[Link]:
        yield from self.end(None)
        self.lost.add(first, last)
        self._after_loss = True

    def _follow(self, link: Link) -> Iterator[Link]:
        yield from self._settle(link.entry.previous)
        before = self._waiting[-1]
        if link.after_loss or not before.trusted or link.entry.previous == before.tip:
            yield from (waiting for waiting in self._waiting if waiting.place)
            self._waiting = [link]
        elif before.place:
            self._waiting.append(link)
        elif link.trusted:  # nothing can be wrong with what stands before the first entry
            said = "the first entry names another hash than that of what came before"
            self._waiting = [self._doubt(link, Break.CHAIN, said)]
        else:
            self._waiting = [link]

    def _settle(self, following: str | None) -> Iterator[Link]:
        """Tell which of two that do not fit was altered; ``following`` is the hash named next."""
        if len(self._waiting) == 1:
            return
        first, second = self._waiting
        mended = replace(second.entry, previous=first.tip)
        mended_tip = ledger.chain(first.tip, ledger.encode(mended))
        if following == mended_tip and second.trusted:
            said = f"it names {second.entry.previous} as the hash of entry {first.place}"
            second = self._doubt(second, Break.CHAIN, f"{said}, which is {first.tip}")
            second = second._replace(tip=mended_tip)
        else:
            said = f"its hash is {first.tip}, entry {second.place} was written after"
            first = self._doubt(first, Break.CHAIN, f"{said} {second.entry.previous}")
        yield first
        self._waiting = [second]

    def _doubt(self, link: Link, kind: Break, detail: str) -> Link:
        self._findings.add(kind, link.place, None, detail)
        self.lost.add(link.entry.index, link.entry.index)
        return link._replace(trusted=False)


def _kind_of(broken: Unreadable) -> Break:
    match broken.__cause__:
        case UnknownFormat():
            return Break.UNKNOWN_FORMAT
        case UnknownOperation():
            return Break.UNKNOWN_OPERATION
        case _:
            return Break.UNREADABLE
