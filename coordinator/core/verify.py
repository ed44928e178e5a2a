"""Prove a ledger: replay it, and compare with it all that is stored.

What it says of numbers comes from ``tally``, a deliberately simple model that shares nothing with
``plan`` or ``apply``. Only the totals in the head are recomputed by the same ``advance`` that
wrote them.

An entry that is missing, unreadable or altered is reported once. What it said is not known then,
so whatever it can explain is no finding: the same break is not told again by every entry after it.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from hashlib import sha256
from typing import NamedTuple

from coordinator.core import head as heads
from coordinator.core import ledger
from coordinator.core.beside import Beside, Report, digest_list
from coordinator.core.breaks import ADVICE, Break, Finding, Findings
from coordinator.core.head import Head, advance
from coordinator.core.hold_tally import HoldTally
from coordinator.core.keys import CounterKeys
from coordinator.core.links import Chain, Link
from coordinator.core.marks import encode_reused
from coordinator.core.records import (
    Imported,
    Issued,
    Record,
    Released,
    Restarted,
    Rows,
    Trimmed,
    keys_of,
)
from coordinator.core.request_keys import KEYS_REMEMBERED, KeyTables, digest
from coordinator.core.tally import Tally
from coordinator.core.transaction import KeyValue
from coordinator.core.unreadable import Unreadable

__all__ = ["ADVICE", "Break", "Finding", "Verdict", "Verifier"]

QUESTIONS_MAX = 10_000
"""Keys whose digest was seen before, held until the entry that had it is read again."""


class Verdict(NamedTuple):
    """What the proof came to. ``counts`` has every kind's count, also beyond the findings.

    ``entries`` is the newest entry; those up to ``trimmed`` have left the store, and are proven no
    further than that the others continue what they came to. ``rows_unproven`` says of how many
    imports the rows were not there to be compared with what the ledger names.
    """

    findings: tuple[Finding, ...]
    counts: dict[str, int]
    entries: int
    highest: int
    issued_now: int
    gaps: tuple[int, ...]
    tip: str
    trimmed: int
    rows_unproven: int = 0

    @property
    def valid(self) -> bool:
        """Tell whether nothing at all was found."""
        return not self.counts


class Named(NamedTuple):
    """Rows that entry ``entry`` names: the piece ``at`` of the import ``source``."""

    entry: int
    source: str
    at: int
    rows: Rows


class _Keyed(NamedTuple):
    """An idempotency key whose digest stands in an earlier entry too."""

    key: str
    entry: int
    number: int | None


class Verifier:
    """Fed all entries in order, and all keys beside them; then told the head.

    ``start`` is the first number of the series; None takes what the first entry names. ``window``
    is within how many keyed requests a key must not come twice. ``checkpoint`` are the bytes of
    that key, if it is there: the proof begins after the entries that it stands for.
    """

    def __init__(
        self,
        keys: CounterKeys,
        start: int | None,
        window: int = KEYS_REMEMBERED,
        checkpoint: bytes | None = None,
    ) -> None:
        self._findings = Findings()
        self._checkpoint = checkpoint
        self._noted, self._noted_in = "", 0
        """What the newest trim has noted of the checkpoint, and in which entry."""
        self._head = old = _decoded(checkpoint)
        self.trimmed = old.index if old else 0
        self._chain = Chain(self._findings, self.trimmed, old.tip if old else ledger.NO_HASH)
        self._tally = Tally(start, self._chain.lost, self._findings)
        if old:
            self._tally.start = self._tally.start or old.start
            self._tally.begin_at(old.index, old.next, old.gaps, old.void)
        self._holds = HoldTally(self._chain.lost, self._findings)
        if old:
            self._holds.begin_at(old)
        self._beside = Beside(keys, self._findings, self.trimmed)
        self._last: Link | None = None
        self._window = window
        self._forget_keys()
        self._questions: dict[int, list[_Keyed]] = {}
        self._named: list[Named] = []

    @property
    def entries(self) -> int:
        """Return how many entries have been taken."""
        return self._chain.place

    def _forget_keys(self) -> None:
        self._request_keys = KeyTables(self._window)
        self._keyed = 0
        self._keyed_entries, self._keyed_until = array("Q"), array("Q")

    def feed(self, kv: KeyValue) -> None:
        """Replay one stored entry."""
        for link in self._chain.take(kv):
            self._replay(link)

    def beside(self, kv: KeyValue) -> None:
        """Take one key that stands beside the ledger."""
        self._beside.take(kv)

    def beyond(self, kv: KeyValue, index: int) -> None:
        """Take a key among the entries, after entry ``index`` that the head names."""
        said = f"{kv.key!r} goes on after entry {index}, where the head is"
        self._findings.add(Break.BEYOND_HEAD, index, None, said)

    def closed_with(self, said: tuple[object, ...], found: tuple[object, ...]) -> None:
        """Take what the first and the last line of an export say of it, and what it holds.

        How many entries and keys, the newest entry, and its hash.
        """
        names = ("entries", "keys", "newest entry", "newest hash")
        wrong = [
            f"{name} {there}, not {claimed}"
            for name, claimed, there in zip(names, said, found, strict=True)
            if claimed != there
        ]
        if wrong:
            detail = f"it has {'; '.join(wrong)} as its first and last line say"
            self._findings.add(Break.FILE, self._chain.place, None, detail)

    def _replay(self, link: Link) -> None:
        entry = link.entry
        start_is_known = self._tally.start > 0
        self._tally.replay(link)
        self._holds.replay(link)
        if not start_is_known or self._head is None:
            self._head = Head(start=self._tally.start, next=self._tally.start)
        self._head = advance(self._head, entry, link.tip)
        self._last = link
        for record in entry.records:
            if type(record) is Trimmed:
                self._noted, self._noted_in = record.checkpoint, entry.index
            elif type(record) is Imported:
                rows = enumerate(record.rows)
                self._named += (Named(entry.index, record.source, at, each) for at, each in rows)
        if Restarted in map(type, entry.records):
            self._beside.restart()
            self._forget_keys()
        self._derive(link)

    def _derive(self, link: Link) -> None:
        """Note what this entry must have left beside the ledger, and its keys."""
        entry, tally = link.entry, self._tally
        issued = [record for record in entry.records if type(record) is Issued and record.reused]
        taken = {n for record in issued for run in record.reused for n in run.numbers}
        keyed = [(key, record) for record in entry.records for key in keys_of(record)]
        digests = [digest(key) for key, _ in keyed]
        taken -= tally.free
        if taken:
            spans = [range(number, number + 1) for number in taken]
            self._beside.expect("reuse", entry.index, encode_reused(spans))
        if digests:
            self._beside.expect("keys", entry.index, digest_list(digests))
            if link.trusted:
                self._look_for_keys(link, keyed, digests)

    def _look_for_keys(
        self, link: Link, keyed: list[tuple[str, Record]], digests: list[int]
    ) -> None:
        """Find keys that were used before: by digest now, by the key itself when it is read."""
        here: dict[str, int] = {}
        for ordinal, ((key, record), short) in enumerate(
            zip(keyed, digests, strict=True), self._keyed + 1
        ):
            number = _first_number(record)
            if here.setdefault(key, ordinal) != ordinal:
                said = f"{key!r} stands twice in this entry"
                self._findings.add(Break.KEY_TWICE, link.place, number, said)
                continue
            for earlier in self._request_keys.find(short):
                if ordinal - earlier < self._window and earlier <= self._keyed:
                    at = bisect_left(self._keyed_until, earlier)
                    self._ask(self._keyed_entries[at], _Keyed(key, link.place, number))
            self._request_keys.add([(short, ordinal)])
        self._keyed += len(digests)
        self._keyed_entries.append(link.place)
        self._keyed_until.append(self._keyed)

    def _ask(self, place: int, keyed: _Keyed) -> None:
        if len(self._questions) < QUESTIONS_MAX:
            self._questions.setdefault(place, []).append(keyed)

    @property
    def named(self) -> list[Named]:
        """Return all rows of imports that the ledger names; ask for them once all is flushed."""
        return self._named

    def bad_rows(self, named: Named, detail: str) -> None:
        """Take what is wrong with some of these rows."""
        self._findings.add(Break.ROWS, named.entry, named.rows.first, detail)

    def flush(self, head: bytes | None) -> tuple[int, ...]:
        """Replay what still waits, once all is fed; return the entries to ``confirm`` with.

        They hold a key with the same digest as a later one: only reading it again tells whether
        the keys are the same.
        """
        stored = _decoded(head)
        at_end = stored is not None and stored.index == self._chain.place
        for link in self._chain.end(stored.tip if stored and at_end else None):
            self._replay(link)
        return tuple(self._questions)

    def confirm(self, kv: KeyValue, place: int) -> None:
        """Read an entry again for its idempotency keys."""
        try:
            records = ledger.decode(kv.value).records
            keys = {key for record in records for key in keys_of(record)}
        except Unreadable:
            return  # found when it was fed
        for asked in self._questions.pop(place, ()):
            if asked.key in keys:
                said = f"{asked.key!r} was used in entry {place} already"
                self._findings.add(Break.KEY_TWICE, asked.entry, asked.number, said)

    def finish(self, head: bytes | None) -> Verdict:
        """Compare with the head and all keys beside the ledger, of one revision; conclude."""
        self.flush(head)
        tally, chain = self._tally, self._chain
        tally.settle()
        stored = _decoded(head)
        if self._checkpoint_differs(stored):
            return self._verdict()
        self._beside.tell_old_gaps(tally)
        tally.compare_old_gaps()
        self._holds.compare_old(self._beside.old_held, self._beside.old_void)
        self._compare_head(head)
        remembered_from = self._first_remembered()
        report = Report(self._findings, chain.lost, chain.place)
        for folder, number, value in self._holds.values():
            self._beside.expect(folder, number, value)
        self._beside.compare(tally, report, remembered_from)
        return self._verdict()

    def _checkpoint_differs(self, head: Head | None) -> bool:
        """Tell of a checkpoint that is not the noted one: then nothing else can be concluded."""
        there = sha256(self._checkpoint).hexdigest() if self._checkpoint is not None else ""
        is_due = head is not None and head.trimmed > 0
        if there == self._noted and is_due == (self._checkpoint is not None):
            return False
        if self._chain.lost.last > self._noted_in and is_due and self._checkpoint is not None:
            return False  # the entry that has noted it may be lost
        said = f"its hash is {there or 'none'}, the trim has noted {self._noted or 'none'}"
        self._findings.add(Break.CHECKPOINT, self._chain.place, None, said)
        return True

    def _verdict(self) -> Verdict:
        tally, chain = self._tally, self._chain
        return Verdict(
            findings=self._findings.in_order(),
            counts=dict(self._findings.counts),
            entries=chain.place,
            highest=tally.next - 1,
            issued_now=tally.next - tally.start - len(tally.free) - tally.void,
            gaps=tuple(sorted(tally.free)),
            tip=self._head.tip if self._head else ledger.NO_HASH,
            trimmed=self.trimmed,
        )

    def _first_remembered(self) -> int:
        """Return the first entry of those whose keys must stand beside the ledger."""
        at = bisect_left(self._keyed_until, self._keyed - self._window + 1)
        return self._keyed_entries[at] if at < len(self._keyed_entries) else 0

    def _compare_head(self, content: bytes | None) -> None:
        chain, tally = self._chain, self._tally
        if content is None:
            if chain.place:
                said = "the ledger has entries, and there is no head"
                self._findings.add(Break.HEAD_MISSING, chain.place, None, said)
            return
        stored = _decoded(content)
        if stored is None:
            said = f"{content[:80]!r} is no head"
            self._findings.add(Break.HEAD_UNREADABLE, chain.place, None, said)
            return
        is_same_tip = self._head is not None and self._head.tip == stored.tip
        if stored.index > chain.place and not is_same_tip:
            for link in chain.missing_to(stored.index):
                self._replay(link)
        start = tally.start or stored.start
        ours = self._head or Head(start=start, next=start)
        wrong = [
            f"{name} is {was}, the ledger gives {should}"
            for name, was, should in self._differences(stored, ours)
        ]
        if wrong:
            self._findings.add(Break.HEAD, chain.place, None, "; ".join(wrong))
        if stored.index == chain.place and stored.tip != ours.tip:
            chain.lost.add(stored.index, stored.index)  # it may be the newest entry that is altered

    def _differences(self, stored: Head, ours: Head) -> Iterator[tuple[str, object, object]]:
        """Yield what the head says wrongly, as far as the ledger can still tell."""
        chain, tally = self._chain, self._tally
        simple = {
            "next": tally.next,
            "gaps": len(tally.free),
            "start": tally.start or ours.start,
        }
        simple["index"] = chain.place
        is_told = bool(self._findings.counts)
        for name in Head.__slots__:
            was, should = getattr(stored, name), simple.get(name, getattr(ours, name))
            if name in {"start", "index"} or not chain.lost:
                known = True
            else:
                known = name in {"tip", "next"} and self._ends_well()
            if is_told and was == getattr(ours, name):
                continue  # the simple model differs: findings about numbers have said so
            if was != should and known:
                yield name, was, should

    def _ends_well(self) -> bool:
        last = self._last
        return last is not None and last.trusted and last.place == self._chain.place


def _decoded(head: bytes | None) -> Head | None:
    try:
        return None if head is None else heads.decode(head)
    except Unreadable:
        return None


def _first_number(record: Record) -> int | None:
    match record:
        case Issued(_, first, _, reused):
            return reused[0].first if reused else first
        case Released(_, number):
            return number
        case _:
            return None
