"""Prove a ledger: replay it with a deliberately simple model, compare with what is stored.

What it says of numbers shares nothing with ``plan`` or ``apply``: it knows only what a gapless
count is. Only the totals in the head are recomputed by the same ``advance`` that wrote them.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from coordinator.core import head as heads
from coordinator.core import ledger
from coordinator.core.head import Head, advance
from coordinator.core.keys import CounterKeys, number_in
from coordinator.core.ledger import Entry, Issued, LossAccepted, Released, Restarted, Reused
from coordinator.core.marks import Mark, encode_digests, encode_mark, encode_reused
from coordinator.core.state import digest
from coordinator.core.transaction import KeyValue
from coordinator.core.unreadable import NUMBER_MAX, Unreadable

FINDINGS_MAX = 1_000
"""Findings reported in full; beyond it they are only counted."""


class Break(StrEnum):
    """The ways in which a ledger can be wrong."""

    UNREADABLE = "unreadable entry"
    MISSING_ENTRY = "entry missing"
    CHAIN = "hash chain broken"
    NOT_CANONICAL = "entry altered"
    SKIPPED = "number skipped"
    DUPLICATE = "number issued twice"
    NOT_LOWEST = "gap issued out of order"
    FALSE_RELEASE = "release of a number that nobody held"
    HEAD = "head disagrees with the ledger"
    GAP_WITHOUT_RELEASE = "gap key without a release"
    GAP_KEY_MISSING = "released number without a gap key"
    STRAY_KEY = "key that the ledger does not explain"
    ALTERED_KEY = "key that says other than the ledger"
    MISSING_KEY = "key missing"


class Finding(NamedTuple):
    """One break: where in the ledger (entry index), which number if one, and what was seen."""

    kind: Break
    entry: int
    number: int | None
    detail: str


class Verdict(NamedTuple):
    """What the proof came to. ``counts`` has every kind's count, also beyond the findings."""

    findings: tuple[Finding, ...]
    counts: dict[str, int]
    entries: int
    highest: int
    issued_now: int
    gaps: tuple[int, ...]
    tip: str

    @property
    def valid(self) -> bool:
        """Tell whether nothing at all was found."""
        return not self.counts


class Verifier:
    """Told the head, then fed all entries in order, then compared with all keys beside them."""

    def __init__(self, keys: CounterKeys, start: int) -> None:
        self._keys = keys
        self._start = start
        self._findings: list[Finding] = []
        self._counts: Counter[str] = Counter()
        self._stored: Head | None = None
        self._head = Head(start=start, next=start)
        self._entry = 0
        self._next = start
        self._free: set[int] = set()
        self._free_lowest_first: list[int] = []
        self._derived: dict[bytes, bytes] = {}
        """What must stand beside the ledger, by the entries replayed so far."""
        self._starts: list[tuple[int, int]] = []
        """The first fresh number of each entry that issued one, and the entry."""
        self._reused_in: dict[int, int] = {}

    def head(self, content: bytes | None) -> int:
        """Take the stored head; return the last entry to feed, a very high one if it is broken."""
        if content is None:
            return 0
        try:
            self._stored = heads.decode(content)
        except Unreadable as broken:
            self._found(Break.HEAD, None, str(broken))
            return NUMBER_MAX - 1
        self._start = self._next = self._stored.start
        self._head = Head(start=self._start, next=self._start)
        return self._stored.index

    def feed(self, kv: KeyValue) -> None:
        """Replay one stored entry."""
        try:
            index = number_in(kv.key)
        except Unreadable as broken:
            self._found(Break.STRAY_KEY, None, str(broken))
            return
        self._entry += 1
        if index != self._entry:
            self._found(Break.MISSING_ENTRY, None, f"entries {self._entry} to {index - 1}")
            self._entry = index
        try:
            entry = ledger.decode(kv.value)
        except Unreadable as broken:
            self._found(Break.UNREADABLE, None, str(broken))
            return
        if entry.previous != self._head.tip or entry.index != index:
            self._found(Break.CHAIN, None, f"expected the entry after {self._head.tip[:16]}")
        if ledger.encode(entry) != kv.value:
            self._found(Break.NOT_CANONICAL, None, "its bytes are not what the program writes")
        if entry.next_before != self._next:
            said = f"says that {entry.next_before} is next, the ledger gives {self._next}"
            self._found(Break.CHAIN, entry.next_before, said)
        self._replay(entry)
        # From what it names as its previous: one altered entry must not break all after it.
        self._head = advance(self._head, entry, ledger.chain(entry.previous, kv.value))

    def _replay(self, entry: Entry) -> None:
        taken: set[int] = set()
        released: set[int] = set()
        keys: list[int] = []
        for record in entry.records:
            match record:
                case Issued(_, first, fresh, reused):
                    for gap in reused:
                        self._reuse(gap)
                        taken.add(gap.number)
                        self._reused_in[gap.number] = self._entry
                    self._issue_fresh(first, fresh)
                case Released(_, number, issued_in):
                    self._release(number, issued_in)
                    released.add(number)
                case LossAccepted():
                    pass
                case Restarted():
                    self._restart()
            if record.cause.key is not None:
                keys.append(digest(record.cause.key))
        self._derive(entry, taken, released, keys)

    def _derive(self, entry: Entry, taken: set[int], released: set[int], keys: list[int]) -> None:
        """Note what this entry must have left beside the ledger."""
        index, derived = self._entry, self._derived
        mark = encode_mark(Mark(index, entry.time_ms))
        for number in taken - self._free:
            derived.pop(self._keys.gap(number), None)
        for number in released:
            derived[self._keys.freed(number)] = mark
            if number in self._free:
                derived[self._keys.gap(number)] = mark
        if taken - self._free:
            derived[self._keys.reuse(index)] = encode_reused(taken - self._free)
        if keys:
            derived[self._keys.request_keys(index)] = encode_digests(keys)

    def _restart(self) -> None:
        self._next = self._start
        self._free.clear()
        self._free_lowest_first.clear()
        self._derived.clear()
        self._starts.clear()
        self._reused_in.clear()

    def _reuse(self, gap: Reused) -> None:
        if gap.number not in self._free:
            self._found(Break.DUPLICATE, gap.number, "issued again without a release")
            return
        self._free.remove(gap.number)
        lowest = heappop(self._free_lowest_first)
        if lowest != gap.number:
            self._found(Break.NOT_LOWEST, gap.number, f"{lowest} was free and lower")
            self._free_lowest_first = list(self._free)
            heapify(self._free_lowest_first)

    def _issue_fresh(self, first: int, fresh: int) -> None:
        if fresh and self._free:
            lowest = self._free_lowest_first[0]
            self._found(Break.NOT_LOWEST, first, f"fresh number while {lowest} was free")
        if first > self._next:
            self._found(Break.SKIPPED, self._next, f"{self._next} to {first - 1} never issued")
        elif first < self._next:
            self._found(Break.DUPLICATE, first, f"{first} to {self._next - 1} issued before")
        if fresh and (not self._starts or self._starts[-1][1] != self._entry):
            self._starts.append((first, self._entry))
        self._next = max(self._next, first + fresh)

    def _release(self, number: int, issued_in: int) -> None:
        if number in self._free or not self._start <= number < self._next:
            self._found(Break.FALSE_RELEASE, number, "it was free already, or never issued")
            return
        at = bisect_right(self._starts, (number, NUMBER_MAX)) - 1
        holder = self._reused_in.pop(number, self._starts[at][1] if at >= 0 else 0)
        if issued_in != holder:
            said = f"names entry {issued_in} as its issue, the ledger gives {holder}"
            self._found(Break.FALSE_RELEASE, number, said)
        self._free.add(number)
        heappush(self._free_lowest_first, number)

    def finish(self, beside: Iterable[KeyValue]) -> Verdict:
        """Compare with the head and all keys beside the ledger, of one revision; conclude."""
        stored = self._stored or Head(start=self._start, next=self._start)
        for name in Head.__slots__:
            expected, found = getattr(self._head, name), getattr(stored, name)
            if found != expected:
                self._found(Break.HEAD, None, f"{name} is {found}, the ledger gives {expected}")
        for name, expected in (("next", self._next), ("gaps", len(self._free))):
            if getattr(stored, name) != expected:
                self._found(Break.HEAD, None, f"{name} should be {expected}, by the simple model")
        gap_keys = self._keys.gap(0)[:-20]
        for kv in beside:
            expected_value = self._derived.pop(kv.key, None)
            if expected_value is None:
                is_gap = kv.key.startswith(gap_keys)
                kind = Break.GAP_WITHOUT_RELEASE if is_gap else Break.STRAY_KEY
                self._found(kind, None, f"{kv.key!r} follows from no entry")
            elif expected_value != kv.value:
                said = f"{kv.key!r} is {kv.value[:60]!r}, the ledger gives {expected_value[:60]!r}"
                self._found(Break.ALTERED_KEY, None, said)
        for key in sorted(self._derived):
            kind = Break.GAP_KEY_MISSING if key.startswith(gap_keys) else Break.MISSING_KEY
            self._found(kind, number_in(key), f"{key!r} should be there")
        return Verdict(
            findings=tuple(self._findings),
            counts=dict(self._counts),
            entries=self._entry,
            highest=self._next - 1,
            issued_now=self._next - self._start - len(self._free),
            gaps=tuple(sorted(self._free)),
            tip=self._head.tip,
        )

    def _found(self, kind: Break, number: int | None, detail: str) -> None:
        self._counts[kind.value] += 1
        if len(self._findings) < FINDINGS_MAX:
            self._findings.append(Finding(kind, self._entry, number, detail))
