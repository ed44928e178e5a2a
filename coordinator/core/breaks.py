"""The ways in which a ledger can be wrong: names, what to do about each, and those found.

A finding names the entry at which it was seen. One cause has one finding: what only follows from
a break that is already reported is not reported again.
"""

from collections import Counter
from enum import StrEnum
from typing import NamedTuple

FINDINGS_MAX = 1_000
"""Findings reported in full; beyond it they are only counted."""


class Break(StrEnum):
    """The ways in which a ledger can be wrong."""

    UNREADABLE = "unreadable entry"
    UNKNOWN_FORMAT = "unknown ledger format"
    UNKNOWN_OPERATION = "unknown operation"
    MISSING_ENTRY = "entry missing"
    WRONG_PLACE = "entry in the wrong place"
    CHAIN = "hash chain broken"
    NOT_CANONICAL = "entry altered"
    BEYOND_HEAD = "entry beyond the head"
    SKIPPED = "number skipped"
    DUPLICATE = "number issued twice"
    NOT_LOWEST = "gap issued out of order"
    FALSE_REUSE = "reuse of a number never issued"
    FALSE_RELEASE = "release of a number that nobody held"
    FALSE_SETTLEMENT = "end of a reservation that was not open"
    FALSE_VOID = "void of a number that nobody held"
    FALSE_CLOSE = "number after the close"
    OTHER_HOLDER = "release by another than the holder"
    FALSE_REFERENCE = "record that names the wrong entry"
    FALSE_COUNT = "entry that names another next number"
    KEY_TWICE = "idempotency key used twice"
    HEAD = "head disagrees with the ledger"
    HEAD_MISSING = "head missing"
    HEAD_UNREADABLE = "unreadable head"
    TWO_STATES = "number in two states"
    GAP_WITHOUT_RELEASE = "orphan gap key"
    GAP_KEY_MISSING = "gap key missing"
    STRAY_KEY = "key that the ledger does not explain"
    ALTERED_KEY = "key that says other than the ledger"
    MISSING_KEY = "key missing"
    CHECKPOINT = "checkpoint not as the ledger noted it"
    OLD_GAPS = "other gaps than at the checkpoint"
    FILE = "file not as it was closed"
    ROWS = "rows of an import not as the ledger names them"


_RESTORE = "compare this entry with an export or a backup; restore the original bytes"
_STOP = "stop allocating on this counter and find out who wrote to etcd"
_BOOKS = "correct the books of these numbers by hand; keep an export as evidence"
_REBUILD = "the ledger is the truth: write this key anew from it, while no node runs"

ADVICE: dict[Break, str] = {
    Break.UNREADABLE: _RESTORE,
    Break.UNKNOWN_FORMAT: "validate with the version of this program that wrote it",
    Break.UNKNOWN_OPERATION: "validate with the version of this program that wrote it",
    Break.MISSING_ENTRY: "restore it from an export or a backup",
    Break.WRONG_PLACE: "put the entries back under the keys that their index names",
    Break.CHAIN: _RESTORE,
    Break.NOT_CANONICAL: _RESTORE,
    Break.BEYOND_HEAD: "the head was put back: restore the newest head from a backup",
    Break.SKIPPED: _BOOKS,
    Break.DUPLICATE: _BOOKS,
    Break.NOT_LOWEST: _STOP,
    Break.FALSE_REUSE: _BOOKS,
    Break.FALSE_RELEASE: _STOP,
    Break.FALSE_SETTLEMENT: _STOP,
    Break.FALSE_VOID: _STOP,
    Break.FALSE_CLOSE: _STOP,
    Break.OTHER_HOLDER: "ask both sites which of them has used the number",
    Break.FALSE_REFERENCE: _STOP,
    Break.FALSE_COUNT: _STOP,
    Break.KEY_TWICE: "look for one document with two numbers; release one of them",
    Break.HEAD: "restore the head from a backup; if it is right, entries were rewritten",
    Break.HEAD_MISSING: "restore the head from a backup; no number is issued without it",
    Break.HEAD_UNREADABLE: "restore the head from a backup; no number is issued without it",
    Break.TWO_STATES: "delete this gap key while no node runs, or the number goes out twice",
    Break.GAP_WITHOUT_RELEASE: "delete this gap key while no node runs",
    Break.GAP_KEY_MISSING: _REBUILD,
    Break.STRAY_KEY: "find out who wrote it, then delete it",
    Break.ALTERED_KEY: _REBUILD,
    Break.MISSING_KEY: _REBUILD,
    Break.CHECKPOINT: "restore it from an export or a backup; nothing is proven without it",
    Break.OLD_GAPS: "compare the gaps with an export from before the trim",
    Break.FILE: "lines were taken out or put in since: export again, and compare",
    Break.ROWS: "restore them from a backup; which numbers came in is proven without them",
}
"""What a person should do next about each kind."""


class Finding(NamedTuple):
    """One break: where in the ledger (entry index), which number if one, and what was seen."""

    kind: Break
    entry: int
    number: int | None
    detail: str


class Findings:
    """All that was found: the first ones in full, all of them counted."""

    def __init__(self) -> None:
        self._first: list[Finding] = []
        self.counts: Counter[str] = Counter()

    def add(self, kind: Break, entry: int, number: int | None, detail: str) -> None:
        """Note one break."""
        self.counts[kind.value] += 1
        if len(self._first) < FINDINGS_MAX:
            self._first.append(Finding(kind, entry, number, detail))

    def in_order(self) -> tuple[Finding, ...]:
        """Return the findings by entry."""
        return tuple(sorted(self._first, key=lambda finding: finding.entry))
