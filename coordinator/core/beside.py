"""What stands beside the ledger, as found in the store: 24 bytes a key, more while compared."""

from array import array
from bisect import bisect_left
from hashlib import sha256

from coordinator.core.breaks import Break, Findings
from coordinator.core.holds import decode_holds, encode_holds
from coordinator.core.keys import DIGITS, CounterKeys, number_in
from coordinator.core.links import Lost
from coordinator.core.marks import decode_digests, decode_mark, decode_voids, encode_mark
from coordinator.core.tally import Tally
from coordinator.core.transaction import KeyValue
from coordinator.core.unreadable import NUMBER_MAX, Unreadable


def short_hash(content: bytes) -> int:
    """Return 8 bytes that stand for a value."""
    return int.from_bytes(sha256(content).digest()[:8], "big")


class Report:
    """Where findings about keys go; ``last`` is the newest entry, ``lost`` those in doubt."""

    def __init__(self, findings: Findings, lost: Lost, last: int) -> None:
        self._findings = findings
        self.lost = lost
        self.last = last

    def add(self, kind: Break, entry: int, number: int | None, detail: str) -> None:
        """Note one break."""
        self._findings.add(kind, entry, number, detail)


class _Marks:
    """Released numbers, each with the entry and the moment; entry 0 for what cannot be read."""

    def __init__(self) -> None:
        self.numbers, self.entries, self.times = array("Q"), array("Q"), array("Q")

    def add(self, number: int, value: bytes) -> None:
        entry = time_ms = 0
        try:
            mark = decode_mark(value)
            if encode_mark(mark) == value:
                entry, time_ms = mark
        except Unreadable:
            pass
        self.numbers.append(number)
        self.entries.append(entry)
        self.times.append(time_ms)

    def compare(self, folder: str, tally: Tally, report: Report) -> None:
        gaps = folder == "gap"
        seen: set[int] = set()
        for number, entry, time_ms in zip(self.numbers, self.entries, self.times, strict=True):
            name = f"{folder}/{number:020}"
            seen.add(number)
            mark = tally.mark(number)
            if entry in report.lost or tally.is_unsure(number):
                continue  # a lost entry may have written it
            if mark is None and tally.is_old_mark(number, entry, is_gap=gaps):
                continue  # a trimmed entry has written it
            if mark is not None and (mark.is_free or not gaps):
                if (entry, time_ms) != mark[:2]:
                    was = f"entry {mark.entry} released {number} at {mark.time_ms} ms"
                    said = f"names entry {entry} at {time_ms} ms" if entry else "cannot be read"
                    report.add(Break.ALTERED_KEY, mark.entry, number, f"{name} {said}; {was}")
            elif not gaps:
                said = f"{name}: no entry has released {number}"
                report.add(Break.STRAY_KEY, report.last, number, said)
            elif tally.was_issued(number):
                said = f"{name}: {number} is issued, and waits as a gap to be issued again"
                report.add(Break.TWO_STATES, report.last, number, said)
            else:
                said = f"{name}: {number} was never issued, so it was never released"
                report.add(Break.GAP_WITHOUT_RELEASE, report.last, number, said)
        kind = Break.GAP_KEY_MISSING if gaps else Break.MISSING_KEY
        is_excused = tally.may_be_gone if gaps else tally.is_unsure
        for number in sorted(tally.free if gaps else tally.marks()):
            if number not in seen and not is_excused(number):
                mark = tally.mark(number)
                said = f"{folder}/{number:020} should be there: {number} was released"
                report.add(kind, mark.entry if mark else report.last, number, said)


def digest_list(digests: list[int]) -> bytes:
    """Return what stands for the digests of one entry's keys."""
    return array("Q", digests).tobytes()


class _Lists:
    """What entries have left in one folder: their indexes, and a hash of each value."""

    def __init__(self, trimmed: int = 0) -> None:
        self.indexes, self.hashes = array("Q"), array("Q")
        self.trimmed = trimmed

    def add(self, index: int, value: bytes) -> None:
        self.indexes.append(index)
        self.hashes.append(short_hash(value))

    def hash_of(self, index: int) -> int | None:
        at = bisect_left(self.indexes, index)
        found = at < len(self.indexes) and self.indexes[at] == index
        return self.hashes[at] if found else None

    def add_block(self, first: int, value: bytes) -> None:
        """Take the keys of several entries."""
        try:
            digests = decode_digests(first, value)
        except Unreadable:
            self.add(first, b"")
            return
        of_entry: dict[int, list[int]] = {}
        for short, index in digests:
            of_entry.setdefault(index, []).append(short)
        for index, some in of_entry.items():
            if index <= self.trimmed:
                continue  # of an entry that is gone, in a block with others that are there
            self.add(index, digest_list(some))

    def compare_blocks(self, expected: "_Lists", report: Report, remembered_from: int) -> None:
        """Compare the keys of entries; what is told of one says as much of those next to it."""
        found = dict(zip(self.indexes, self.hashes, strict=True))
        is_told = False
        for index, wanted in zip(expected.indexes, expected.hashes, strict=True):
            there = found.pop(index, None)
            is_well = there == wanted or (there is None and index < remembered_from)
            if not is_well and not is_told and index not in report.lost:
                kind = Break.MISSING_KEY if there is None else Break.ALTERED_KEY
                said = "are not there" if there is None else "are not those of the entry"
                said = f"the digests of the keys of entry {index} {said} (keys/...)"
                report.add(kind, index, None, said)
            is_told = not is_well
        for index in found:
            if index not in report.lost and not is_told:
                said = f"keys/{index:020}: entry {index} explains none"
                report.add(Break.STRAY_KEY, index, None, said)

    def compare(self, folder: str, expected: "_Lists", report: Report) -> None:
        for index, found in zip(self.indexes, self.hashes, strict=True):
            name, wanted = f"{folder}/{index:020}", expected.hash_of(index)
            if index in report.lost or wanted == found:
                continue
            if wanted is None:
                report.add(Break.STRAY_KEY, index, None, f"{name}: entry {index} explains none")
            else:
                said = f"{name} is not what entry {index} gives"
                report.add(Break.ALTERED_KEY, index, None, said)
        seen = set(self.indexes)
        for index in expected.indexes:
            if index not in seen and index not in report.lost:
                said = f"{folder}/{index:020} should be there, with entry {index}"
                report.add(Break.MISSING_KEY, index, None, said)


class Beside:
    """All keys of a counter but its head and entries: taken as they come, compared at the end."""

    def __init__(self, keys: CounterKeys, findings: Findings, trimmed: int) -> None:
        self._prefix = keys.prefix
        self._checkpoint = keys.checkpoint
        self._findings = findings
        self._marks = {"gap": _Marks(), "freed": _Marks()}
        self._reuse, self._keys = _Lists(), _Lists(trimmed)
        self._others = {"void": _Lists(), "held": _Lists()}
        """Of entries, and of blocks of numbers."""
        self._trimmed = trimmed
        self.old_held = self.old_void = 0
        """How many numbers the keys hold that trimmed entries have written."""
        self._expected = _nothing_expected()

    def take(self, kv: KeyValue) -> None:
        """Take one key as it was found; the checkpoint is taken by itself."""
        if kv.key == self._checkpoint:
            return
        folder, _, digits = (
            kv.key.removeprefix(self._prefix).decode(errors="replace").partition("/")
        )
        try:
            number = number_in(kv.key)
        except Unreadable:
            number = NUMBER_MAX + 1
        if len(digits) != DIGITS or number > NUMBER_MAX or not kv.key.startswith(self._prefix):
            self._findings.add(Break.STRAY_KEY, 0, None, f"{kv.key!r} is no key of this program")
        elif folder in self._marks:
            self._marks[folder].add(number, kv.value)
        elif folder == "keys":
            self._keys.add_block(number, kv.value)
        elif folder == "reuse":
            self._reuse.add(number, kv.value)
        elif folder in self._others:
            self._take_of_holds(folder, number, kv.value)
        else:
            self._findings.add(Break.STRAY_KEY, 0, None, f"{kv.key!r} is no key of this program")

    def _take_of_holds(self, folder: str, number: int, value: bytes) -> None:
        """Take void numbers or open reservations; those of trimmed entries are only counted."""
        if not self._trimmed:
            self._others[folder].add(number, value)
            return
        try:
            if folder == "void" and number <= self._trimmed:
                self.old_void += sum(many for _, many in decode_voids(value).runs)
                return
            if folder == "held":
                holds = decode_holds(value)
                newer = [hold for hold in holds if hold.issued_in > self._trimmed]
                if len(newer) < len(holds) and value == encode_holds(holds):
                    self.old_held += len(holds) - len(newer)
                    if not newer:
                        return
                    value = encode_holds(newer)
        except Unreadable:
            pass  # it is compared as it is, and found
        self._others[folder].add(number, value)

    def tell_old_gaps(self, tally: Tally) -> None:
        """Tell the tally of gaps that may be those that trimmed entries have left."""
        gaps = self._marks["gap"]
        for number, entry in zip(gaps.numbers, gaps.entries, strict=True):
            if entry and tally.is_old_gap(number, entry):
                tally.meet_old_gap(number)
                tally.free.add(number)

    def expect(self, folder: str, index: int, value: bytes) -> None:
        """Note what an entry has left in a folder."""
        self._expected[folder].add(index, value)

    def restart(self) -> None:
        """Forget what entries have left: a reset deletes it."""
        self._expected = _nothing_expected()

    def compare(self, tally: Tally, report: Report, remembered_from: int) -> None:
        """Tell what differs. Keys of entries before ``remembered_from`` may be gone."""
        for folder, marks in self._marks.items():
            marks.compare(folder, tally, report)
        self._reuse.compare("reuse", self._expected["reuse"], report)
        for folder, found in self._others.items():
            found.compare(folder, self._expected[folder], report)
        self._keys.compare_blocks(self._expected["keys"], report, remembered_from)


def _nothing_expected() -> dict[str, _Lists]:
    return {folder: _Lists() for folder in ("reuse", "keys", "void", "held")}
