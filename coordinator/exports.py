"""A ledger as a file: written from a store, and proven without one.

The rows of imports that its entries name are written too, each right after its entry.

What stands beside the ledger is read first, at one revision, and waits in a temporary file; the
entries up to that revision's head never change and are read at leisure. Writing takes the memory of
a page, however long the ledger is.
"""

import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from typing import IO, NamedTuple

from coordinator.core import head as heads
from coordinator.core import ledger
from coordinator.core.keys import CounterKeys, Keys
from coordinator.core.ledger_file import (
    LINE_BYTES_MAX,
    About,
    End,
    first_line,
    is_entry,
    last_line,
    line_of,
    read_first_line,
    read_line,
)
from coordinator.core.records import Imported
from coordinator.core.transaction import KeyValue, Range
from coordinator.core.unreadable import Unreadable
from coordinator.core.verify import Verdict, Verifier
from coordinator.imported_rows import difference
from coordinator.proof import ENTRIES_PAGE, TRIES, Progress, in_silence, last_entry
from coordinator.store import Compacted, Store
from coordinator.store.paging import all_of

SPOOL_BYTES_IN_MEMORY = 8_000_000
_IMPORT = b'"import"'
"""Stands in every entry that has imported numbers."""


class NotWhole(Exception):
    """The file is no export, or was not written to its end; nothing can be proven with it."""


class Exported(NamedTuple):
    """What was written."""

    about: About
    end: End


class _Beside(NamedTuple):
    """What stands beside the entries at one revision: ``lines`` of it, spooled.

    ``checkpoint`` is what trimmed entries came to, if any are.
    ``beyond`` is an entry after the head's: there should be none, so it is evidence.
    """

    revision: int
    head: bytes | None
    checkpoint: tuple[KeyValue, ...]
    beyond: tuple[KeyValue, ...]
    spool: IO[bytes]
    lines: int


async def export(
    store: Store,
    root: bytes,
    counter: str,
    start: int | None,
    time_ms: int,
    out: IO[bytes],
    progress: Progress = in_silence,
) -> Exported:
    """Write the counter's ledger, and all beside it, as of one revision. Raises StoreError."""
    keys = Keys(root).counter(counter)
    beside = await _beside(store, keys)
    with beside.spool:
        newest = last_entry(beside.head)
        if start is None:
            start = _first_number((await store.read(keys.entries(1, 1))).found[0])
            start = _start_of(beside.checkpoint) or start
        about = About(counter, root.decode(), start, newest or 0, beside.revision, time_ms)
        out.write(first_line(about))
        counted: Counter[bool] = Counter()
        for kv in beside.checkpoint:
            _write(out, keys, kv, counted)
        wanted = keys.entries(1)
        if newest is not None:
            wanted = Range(keys.entry(1), keys.entry(newest + 1))
        async for page in all_of(store, wanted, page=ENTRIES_PAGE):
            for kv in page:
                _write(out, keys, kv, counted)
                async for rows in _rows_of(store, keys, kv.value):
                    _write(out, keys, rows, counted)
            progress(counted.total(), about.entries)
        for kv in beside.beyond:
            _write(out, keys, kv, counted)
        beside.spool.seek(0)
        for chunk in iter(lambda: beside.spool.read(65_536), b""):
            out.write(chunk)
    end = End(counted[True], counted[False] + beside.lines, _tip_of(beside.head))
    out.write(last_line(end))
    out.flush()
    return Exported(about, end)


def _write(out: IO[bytes], keys: CounterKeys, kv: KeyValue, counted: Counter[bool]) -> None:
    """Write a key, and count whether it stands there as the bytes of an entry."""
    line = line_of(keys, kv)
    out.write(line)
    counted[is_entry(line)] += 1


async def _rows_of(store: Store, keys: CounterKeys, entry: bytes) -> AsyncIterator[KeyValue]:
    """Yield the rows of imports that an entry names, as far as they are there."""
    if _IMPORT not in entry:  # as in nearly all: nothing needs to be decoded
        return
    try:
        records = ledger.decode(entry).records
    except Unreadable:
        return  # the proof says so
    for record in records:
        if isinstance(record, Imported):
            for at in range(len(record.rows)):
                key = keys.installation.import_rows(record.source, at)
                for kv in (await store.read(Range(key))).found[0]:
                    yield kv


async def _beside(store: Store, keys: CounterKeys) -> _Beside:
    for remaining in reversed(range(TRIES)):
        spool = tempfile.SpooledTemporaryFile(SPOOL_BYTES_IN_MEMORY)  # noqa: SIM115 - handed on
        try:
            return await _spooled(store, keys, spool)
        except Compacted:  # reading was slower than the store's compaction
            spool.close()
            if not remaining:
                raise
        except BaseException:
            spool.close()
            raise
    raise AssertionError("the last try returns or raises")


async def _spooled(store: Store, keys: CounterKeys, spool: IO[bytes]) -> _Beside:
    snapshot = await store.read(Range(keys.head), Range(keys.checkpoint))
    revision, (found, checkpoint) = snapshot.revision, snapshot.found
    head = found[0].value if found else None
    lines = 0
    for kv in found:
        lines += 1
        spool.write(line_of(keys, kv))
    newest = last_entry(head)
    beyond: tuple[KeyValue, ...] = ()
    if newest is not None:
        after = await store.read(keys.entries(newest + 1, 1), revision=revision)
        beyond = after.found[0]
    for folder in keys.beside_the_ledger():
        async for page in all_of(store, folder, revision):
            for kv in page:
                if kv.key != keys.checkpoint:
                    lines += 1
                    spool.write(line_of(keys, kv))
    return _Beside(revision, head, checkpoint, beyond, spool, lines)


def _first_number(found: tuple[KeyValue, ...]) -> int:
    """Return the number that the first entry names as the next one; 0 when none can be read."""
    try:
        return ledger.decode(found[0].value).next_before if found else 0
    except Unreadable:
        return 0


def _start_of(checkpoint: tuple[KeyValue, ...]) -> int:
    try:
        return heads.decode(checkpoint[0].value).start if checkpoint else 0
    except Unreadable:
        return 0


def _tip_of(head: bytes | None) -> str | None:
    try:
        return None if head is None else heads.decode(head).tip
    except Unreadable:
        return None


def prove_file(file: IO[bytes], progress: Progress = in_silence) -> tuple[About, Verdict]:
    """Replay an exported ledger, as if it stood in a store. Raises NotWhole, OSError."""
    about = about_of(file)
    keys = Keys(about.root.encode()).counter(about.counter)
    verifier = Verifier(keys, about.start or None)
    head: bytes | None = None
    counted: Counter[bool] = Counter()
    rows: dict[bytes, str] = {}
    for is_plain, held in lines_of(file, keys):
        if isinstance(held, End):
            said = (held.entries, held.keys, about.entries, held.tip)
            newest = last_entry(head)
            there = (counted[True], counted[False], newest or about.entries, _tip_of(head))
            verifier.closed_with(said, there)
            break
        counted[is_plain] += 1
        if held.key == keys.head:
            head = held.value
        elif held.key == keys.checkpoint:
            verifier = Verifier(keys, about.start or None, checkpoint=held.value)
        elif held.key.startswith(keys.installation.rows_of_imports):
            rows[held.key] = sha256(held.value).hexdigest()
        elif not held.key.startswith(keys.all_entries) or held.key < keys.entry(1):
            verifier.beside(held)
        elif about.entries and held.key > keys.entry(about.entries):
            verifier.beyond(held, about.entries)
        else:
            verifier.feed(held)
            if verifier.entries % ENTRIES_PAGE == 0:
                progress(verifier.entries, about.entries)
    _confirm(verifier, file, keys, set(verifier.flush(head)))
    if about.has_rows:
        _check_rows(verifier, keys, rows)
        return about, verifier.finish(head)
    unproven = len({named.source for named in verifier.named})
    return about, verifier.finish(head)._replace(rows_unproven=unproven)


def _check_rows(verifier: Verifier, keys: CounterKeys, digests: dict[bytes, str]) -> None:
    """Compare the rows of imports with what the ledger says of them, by their hashes."""
    for named in verifier.named:
        key = keys.installation.import_rows(named.source, named.at)
        wrong = difference(key, named.rows, digests.get(key))
        if wrong:
            verifier.bad_rows(named, wrong)


def _confirm(verifier: Verifier, file: IO[bytes], keys: CounterKeys, asked: set[int]) -> None:
    """Go through the file once more for the entries that the verifier must see again."""
    places = {keys.entry(place): place for place in asked}
    if not places:
        return
    file.seek(0)
    about_of(file)
    for _, held in lines_of(file, keys):
        if isinstance(held, KeyValue) and held.key in places:
            verifier.confirm(held, places[held.key])


def about_of(file: IO[bytes]) -> About:
    """Return what the first line says of an exported ledger. Raises NotWhole."""
    try:
        return read_first_line(file.readline(LINE_BYTES_MAX))
    except Unreadable as broken:
        raise NotWhole(str(broken)) from broken


def lines_of(file: IO[bytes], keys: CounterKeys) -> Iterator[tuple[bool, KeyValue | End]]:
    """Yield what the other lines hold, and whether as an entry's own bytes.

    The closing one is the last. Raises NotWhole when that one is missing.
    """
    place = 0
    while line := file.readline(LINE_BYTES_MAX):
        content = line.removesuffix(b"\n")
        if content == line:
            raise NotWhole("its last line has no end: the export was interrupted")
        try:
            held = read_line(keys, content)
        except Unreadable as broken:
            if not is_entry(content):
                raise NotWhole(str(broken)) from broken
            held = KeyValue(keys.entry(place + 1), content, 0)  # the proof says what is wrong
        if isinstance(held, KeyValue) and held.key == keys.checkpoint:
            place = last_entry(held.value) or 0
        elif isinstance(held, KeyValue) and is_entry(content):
            place += 1
        if isinstance(held, End) and file.read(1):
            raise NotWhole("it goes on after its closing line")
        yield is_entry(content), held
        if isinstance(held, End):
            return
    raise NotWhole("its closing line is missing: the export was interrupted")
