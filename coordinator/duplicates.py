"""Whether any number, or the text of any document number, stands for two things.

All ledgers are read, from the store page by page or from exported files line by line, one after the
other; each counter's numbers are let go of before the next. Only texts are kept for all of them, in
an index that goes to the disk.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from enum import StrEnum
from hashlib import sha256
from typing import IO, NamedTuple

from coordinator.core import head as heads
from coordinator.core import ledger
from coordinator.core.head import Head
from coordinator.core.importing import decode_rows
from coordinator.core.keys import Keys, number_in
from coordinator.core.ledger_file import End
from coordinator.core.records import Imported, Issued, LossAccepted, Restarted, Rows
from coordinator.core.transaction import KeyValue, Range
from coordinator.core.twice import Again, Numbers, State
from coordinator.core.unreadable import Unreadable
from coordinator.exports import about_of, lines_of
from coordinator.faults import Damaged
from coordinator.import_files import place
from coordinator.imported_rows import all_rows, difference
from coordinator.proof import ENTRIES_PAGE, TRIES, Progress
from coordinator.store import Store
from coordinator.store.paging import all_of
from coordinator.text_index import Own, TextIndex

FINDINGS_KEPT = 1_000


class Kind(StrEnum):
    """What can be found."""

    NUMBER_TWICE = "number-twice"
    TEXT_TWICE = "text-twice"
    FILE_TWICE = "file-twice"
    NEVER_ISSUED = "never-issued"
    VOID = "void"
    RESERVED = "only-reserved"
    GIVEN_BACK = "given-back"
    UNFIT = "unfit-row"


ADVICE = {
    Kind.NUMBER_TWICE: "find both documents by the number's history, give one a new number, and "
    "run `coordinator validate`",
    Kind.TEXT_TWICE: "find both documents, give one a new number, and compare the definitions of "
    "their series",
    Kind.FILE_TWICE: "find out which document has it by right, and give the others new numbers",
    Kind.NEVER_ISSUED: "correct the number, or import it if it was issued elsewhere",
    Kind.VOID: "give the document a new number: this one is void for ever",
    Kind.RESERVED: "confirm the reservation before the document goes out",
    Kind.GIVEN_BACK: "give the document a new number: this one goes to somebody else next",
    Kind.UNFIT: "correct the row, and check the file again",
}

OF_STATE = {
    State.VOID: (Kind.VOID, "is void"),
    State.RESERVED: (Kind.RESERVED, "is only reserved, not confirmed"),
    State.FREE: (Kind.GIVEN_BACK, "was given back and waits to be issued again"),
}


class Finding(NamedTuple):
    """One thing that must not be. Which of the places are named depends on the kind."""

    kind: Kind
    detail: str
    counter: str | None = None
    number: int | None = None
    entry: int | None = None
    text: str | None = None
    row: int | None = None


class Checked(NamedTuple):
    """What was read of one counter. ``unread`` says why not all of it could be."""

    counter: str
    entries: int
    trimmed: int
    issued: int
    reserved: int
    free: int
    void: int
    texts: int
    restarts: int
    losses: int
    unread: str


class Findings:
    """What was found: the first ``FINDINGS_KEPT`` of it, and how much of each kind."""

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self.counts: Counter[Kind] = Counter()
        self.unknown: list[str] = []
        """What could not be checked, a sentence each."""
        self.unknown_total = 0

    def add(self, finding: Finding) -> None:
        """Take one."""
        self.counts[finding.kind] += 1
        if len(self.kept) < FINDINGS_KEPT:
            self.kept.append(finding)

    def not_known(self, sentence: str) -> None:
        """Take what could not be checked."""
        self.unknown_total += 1
        if len(self.unknown) < FINDINGS_KEPT:
            self.unknown.append(sentence)


async def check(
    store: Store,
    keys: Keys,
    counters: Iterable[str],
    index: TextIndex,
    findings: Findings,
    plain: str | None = None,
    progress_of: Callable[[str], Progress] | None = None,
) -> list[Checked]:
    """Read the ledgers of these counters; return what was read of each.

    ``plain`` is the counter that mere numbers in the customer's file are of. Raises StoreError.
    """
    done = []
    for name in counters:
        progress = progress_of(name) if progress_of else lambda _done, _total: None
        one = await _whole(store, keys, name, index, progress)
        done.append(one.concluded(findings, plain))
    return done


def check_file(
    file: IO[bytes],
    index: TextIndex,
    findings: Findings,
    plain: str | None = None,
    progress_of: Callable[[str], Progress] | None = None,
) -> Checked:
    """Do the same with the ledger in an exported file. Raises NotWhole, OSError."""
    about = about_of(file)
    name, last = about.counter, about.entries
    keys = Keys(about.root.encode()).counter(name)
    progress = progress_of(name) if progress_of else lambda _done, _total: None
    reading, head = _Reading(name, index, None), b""
    for _, held in lines_of(file, keys):
        if isinstance(held, End):
            break
        if held.key == keys.head:
            head = held.value
        elif held.key == keys.checkpoint:
            reading = _Reading(name, index, _decoded(held.value))
        elif held.key.startswith(keys.installation.rows_of_imports):
            reading.take_rows(held)
        elif held.key.startswith(keys.all_entries) and (not last or held.key <= keys.entry(last)):
            reading.miss_rows(is_older=not about.has_rows)
            reading.take(held.key, held.value)
            reading.await_rows(keys.installation)
            if reading.place % ENTRIES_PAGE == 0:
                progress(reading.place, last)
    reading.miss_rows(is_older=not about.has_rows)
    if head and _decoded(head) is None:
        reading.unread = reading.unread or "its head cannot be read"
    if last and reading.place != last:
        reading.unread = reading.unread or f"entries after {reading.place} are missing"
    return reading.concluded(findings, plain)


async def _whole(
    store: Store, installation: Keys, name: str, index: TextIndex, progress: Progress
) -> "_Reading":
    """Read one ledger; again, when entries were trimmed meanwhile."""
    keys = installation.counter(name)
    for _ in range(TRIES):
        heads_found = (await store.read(Range(keys.head), Range(keys.checkpoint))).found
        head, checkpoint = (_decoded(found[0].value) if found else None for found in heads_found)
        reading = _Reading(name, index, checkpoint)
        if head is None and heads_found[0]:
            reading.unread = "its head cannot be read"
        last = head.index if head else None
        entries = keys.entries(1) if last is None else Range(keys.entry(1), keys.entry(last + 1))
        async for page in all_of(store, entries, page=ENTRIES_PAGE):
            for kv in page:
                reading.take(kv.key, kv.value)
            await _read_rows(store, installation, reading)
            progress(reading.place, last or 0)
        if last is not None and reading.place != last and not reading.unread:
            reading.unread = f"entries after {reading.place} are missing"
        again = (await store.read(Range(keys.checkpoint))).found
        if not reading.unread or again == heads_found[1:]:
            break
    return reading


async def _read_rows(store: Store, keys: Keys, reading: "_Reading") -> None:
    """Have the texts of numbers that were imported: they stand beside the ledger."""
    while reading.imports:
        record, entry = reading.imports.pop()
        try:
            async for row in all_rows(store, keys, record):
                reading.add_text(row.number, entry, row.text)
        except (Damaged, Unreadable) as broken:
            reading.unread = reading.unread or str(broken)


class _Reading:
    """One ledger on its way in."""

    def __init__(self, name: str, index: TextIndex, checkpoint: Head | None) -> None:
        self._name = name
        self._index = index
        self._trimmed = self.place = checkpoint.index if checkpoint else 0
        self.numbers = Numbers(self._trimmed, checkpoint.next if checkpoint else 0)
        self.found: list[Finding] = []
        self.more: Counter[Kind] = Counter()
        """What was found beyond those that are kept."""
        self.unread = ""
        self.imports: list[tuple[Imported, int]] = []
        """Those whose rows are still to be read, with their entry."""
        self._awaited: dict[bytes, tuple[Rows, int]] = {}
        self._texts = 0
        self._losses = 0
        index.forget(name)

    def take(self, key: bytes, content: bytes) -> None:
        """Take one entry; the first that cannot be read, or is missing, is noted."""
        try:
            entry, at = ledger.decode(content), number_in(key)
        except Unreadable as broken:
            self.unread = self.unread or f"{key!r} cannot be read: {broken}"
            self.place += 1
            return
        if at != self.place + 1 or entry.index != at:
            said = f"entry {self.place + 1} is missing, or another one stands in its place"
            self.unread = self.unread or said
        self.place = at
        for again in self.numbers.take(entry):
            self._note(_number_twice(self._name, again))
        for record in entry.records:
            match record:
                case Issued() if record.text:
                    number = record.spans()[0].start
                    if record.reused:
                        self._index.forget_others(record.text, self._name, number)
                    self.add_text(number, entry.index, record.text)
                case Imported():
                    self.imports.append((record, entry.index))
                case LossAccepted():
                    self._losses += 1
                case Restarted():
                    self._index.forget(self._name)
                    self.imports.clear()

    def add_text(self, number: int, entry: int, text: str) -> None:
        """Take how a number is written, as this entry has issued it."""
        self._texts += 1
        other = self._index.add(text, self._name, number, entry)
        if other is not None:
            detail = f"{text!r} is number {number} of {self._name} (entry {entry}), and "
            detail += f"number {other.number} of {other.counter} (entry {other.entry})"
            where = (self._name, number, entry, text)
            self._note(Finding(Kind.TEXT_TWICE, detail, *where))

    def await_rows(self, keys: Keys) -> None:
        """Let the rows come next, in a file, that the entry which was taken last has named."""
        for record, entry in self.imports:
            for at, rows in enumerate(record.rows):
                self._awaited[keys.import_rows(record.source, at)] = (rows, entry)
        self.imports.clear()

    def take_rows(self, kv: KeyValue) -> None:
        """Take rows of an import as they stand in a file; those not awaited mean nothing."""
        rows, entry = self._awaited.pop(kv.key, (None, 0))
        if rows is None:
            return
        wrong = difference(kv.key, rows, sha256(kv.value).hexdigest())
        try:
            for row in () if wrong else decode_rows(kv.value):
                self.add_text(row.number, entry, row.text)
        except Unreadable as broken:
            wrong = str(broken)
        self.unread = self.unread or wrong

    def miss_rows(self, *, is_older: bool) -> None:
        """Note that no rows come any more for the entry that was taken last."""
        if self._awaited:
            said = "this older export has no rows of imports: export it again"
            self.unread = self.unread or (said if is_older else "rows of an import are missing")
        self._awaited.clear()

    def _note(self, finding: Finding) -> None:
        if len(self.found) < FINDINGS_KEPT:
            self.found.append(finding)
        else:
            self.more[finding.kind] += 1

    def concluded(self, findings: Findings, plain: str | None) -> Checked:
        """Hand on what was found; return what was read."""
        self._index.settle(self._name, self.numbers.state)
        if self._name == plain:
            self._index.add_plain(self._name, self.numbers.state)
        for finding in self.found:
            findings.add(finding)
        findings.counts.update(self.more)
        if self.unread:
            findings.not_known(f"{self._name}: {self.unread}")
        states = (State.ISSUED, State.RESERVED, State.FREE, State.VOID)
        issued, reserved, free, void = map(self.numbers.count, states)
        return Checked(
            counter=self._name,
            entries=self.numbers.entries,
            trimmed=self._trimmed,
            issued=issued,
            reserved=reserved,
            free=free,
            void=void,
            texts=self._texts,
            restarts=self.numbers.restarts,
            losses=self._losses,
            unread=self.unread,
        )


def _number_twice(name: str, again: Again) -> Finding:
    span = str(again.first)
    if again.last > again.first:
        span += f" to {again.last} ({again.last - again.first + 1:,} numbers)"
    before = {
        State.ISSUED: "somebody had it, and no release lies between",
        State.RESERVED: "it was reserved, and that had not ended",
        State.VOID: "it was void for ever",
        State.OLD: "entries that have left the store had issued it",
    }[again.state]
    detail = f"{span} was issued again by entry {again.entry}: {before}"
    return Finding(Kind.NUMBER_TWICE, detail, name, again.first, again.entry)


def compare_file(index: TextIndex, checked: Iterable[Checked], findings: Findings) -> None:
    """Compare the customer's documents with what was read of all ledgers."""
    is_partial = any(each.trimmed or each.unread for each in checked)
    for text, times, places in index.own_twice():
        where = ", ".join(place(*each) for each in places)
        more = f" and {times - len(places)} rows more" if times > len(places) else ""
        detail = f"{text!r} stands {times} times in the file: {where}{more}"
        findings.add(Finding(Kind.FILE_TWICE, detail, text=text, row=places[0][0]))
    for own in index.own_not_issued():
        where = place(own.row, own.line)
        is_unknown = is_partial if own.known is None else own.known.state is State.OLD
        if is_unknown:
            said = "may be of entries that have left the store, or cannot be read"
            findings.not_known(f"{where}: {own.text!r} {said}")
        else:
            findings.add(_not_issued(own, where))


def _not_issued(own: Own, where: str) -> Finding:
    if own.known is None:
        detail = f"{where}: {own.text!r} was never issued"
        return Finding(Kind.NEVER_ISSUED, detail, text=own.text, row=own.row)
    kind, said = OF_STATE[own.known.state]
    counter, number, entry, _ = own.known
    detail = f"{where}: {own.text!r}, number {number} of {counter}, {said}"
    return Finding(kind, detail, counter, number, entry or None, own.text, own.row)


def _decoded(content: bytes) -> Head | None:
    try:
        return heads.decode(content)
    except Unreadable:
        return None
