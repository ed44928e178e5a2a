"""Prove a ledger: replay it with a deliberately simple model, compare with what is stored.

What it says of numbers shares nothing with ``plan`` or ``apply``: it knows only what a gapless
count is. Only the totals in the head are recomputed by the same ``advance`` that wrote them.
"""

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from heapq import heappop, heappush
from typing import NamedTuple

from coordinator.core import ledger
from coordinator.core.head import Head, advance
from coordinator.core.ledger import Entry, Issued, LedgerFormatError, Released, Restarted, Reused

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
    """Replays entries in order; then compares with head and gap keys of the same revision."""

    def __init__(self, start: int) -> None:
        self._findings: list[Finding] = []
        self._counts: Counter[str] = Counter()
        self._start = start
        self._next = start
        self._free: set[int] = set()
        self._free_lowest_first: list[int] = []
        self._head = Head(start=start, next=start)
        self._entry = 0

    def feed(self, index: int, content: bytes) -> None:
        """Replay the entry stored at ``index``."""
        self._entry += 1
        if index != self._entry:
            self._found(Break.MISSING_ENTRY, None, f"entries {self._entry} to {index - 1}")
            self._entry = index
        try:
            entry = ledger.decode(content)
        except LedgerFormatError as broken:
            self._found(Break.UNREADABLE, None, str(broken))
            return
        if entry.previous != self._head.tip or entry.index != index:
            self._found(Break.CHAIN, None, f"expected the entry after {self._head.tip[:16]}")
        if ledger.encode(entry) != content:
            self._found(Break.NOT_CANONICAL, None, "its bytes are not what the program writes")
        if entry.next_before != self._next:
            said = f"says that {entry.next_before} is next, the ledger gives {self._next}"
            self._found(Break.CHAIN, entry.next_before, said)
        self._replay(entry)
        # From what it names as its previous: one altered entry must not break all after it.
        self._head = advance(self._head, entry, ledger.chain(entry.previous, content))

    def _replay(self, entry: Entry) -> None:
        for record in entry.records:
            match record:
                case Issued(_, first, fresh, reused):
                    for gap in reused:
                        self._reuse(gap)
                    self._issue_fresh(first, fresh)
                case Released(_, number):
                    self._release(number)
                case Restarted():
                    self._next = self._start
                    self._free.clear()
                    self._free_lowest_first.clear()

    def _reuse(self, gap: Reused) -> None:
        if gap.number not in self._free:
            self._found(Break.DUPLICATE, gap.number, "issued again without a release")
            return
        lowest = heappop(self._free_lowest_first)
        if lowest != gap.number:
            self._found(Break.NOT_LOWEST, gap.number, f"{lowest} was free and lower")
            self._free_lowest_first.remove(gap.number)
            self._free_lowest_first.sort()
            heappush(self._free_lowest_first, lowest)
        self._free.remove(gap.number)

    def _issue_fresh(self, first: int, fresh: int) -> None:
        if fresh and self._free:
            lowest = self._free_lowest_first[0]
            self._found(Break.NOT_LOWEST, first, f"fresh number while {lowest} was free")
        if first > self._next:
            self._found(Break.SKIPPED, self._next, f"{self._next} to {first - 1} never issued")
        elif first < self._next:
            self._found(Break.DUPLICATE, first, f"{first} to {self._next - 1} issued before")
        self._next = max(self._next, first + fresh)

    def _release(self, number: int) -> None:
        if number in self._free or not self._start <= number < self._next:
            self._found(Break.FALSE_RELEASE, number, "it was free already, or never issued")
            return
        self._free.add(number)
        heappush(self._free_lowest_first, number)

    def finish(self, head: Head | None, gap_keys: Iterable[int]) -> Verdict:
        """Compare the replay with what the store holds beside the ledger, and conclude."""
        stored = head if head is not None else Head(start=self._start, next=self._start)
        for name in Head.__slots__:
            expected, found = getattr(self._head, name), getattr(stored, name)
            if found != expected:
                self._found(Break.HEAD, None, f"{name} is {found}, the ledger gives {expected}")
        for name, expected in (("next", self._next), ("gaps", len(self._free))):
            if getattr(stored, name) != expected:
                self._found(Break.HEAD, None, f"{name} should be {expected}, by the simple model")
        keys = set(gap_keys)
        for number in sorted(keys - self._free):
            self._found(Break.GAP_WITHOUT_RELEASE, number, "a gap key nobody's release explains")
        for number in sorted(self._free - keys):
            self._found(Break.GAP_KEY_MISSING, number, "the ledger released it")
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
