"""The proof of a ledger as it stands in a store, and its report.

Entries never change once committed, so only what stands beside them must be read at one revision.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from coordinator.core import head as heads
from coordinator.core.keys import CounterKeys
from coordinator.core.transaction import KeyValue, Range
from coordinator.core.unreadable import Unreadable
from coordinator.core.verify import Break, Verdict, Verifier
from coordinator.imported_rows import wrong_with
from coordinator.store import Compacted, Store
from coordinator.store.paging import all_of

ENTRIES_PAGE = 8
"""Entries in one read: reading a page must not keep those waiting who want numbers."""

SLICE_BYTES = 16_384
"""How much is replayed before others have their turn: about three milliseconds."""

TRIES = 3
GAPS_SHOWN = 1_000

Progress = Callable[[int, int], None]
"""Told how many entries are done, of how many (0: not known)."""


def in_silence(_done: int, _total: int) -> None:
    """Tell nobody."""


async def prove(
    store: Store, keys: CounterKeys, start: int | None, progress: Progress = in_silence
) -> Verdict:
    """Replay the whole ledger and compare it with all that stands beside it at one revision.

    The replay gives way to others after each slice, so that a node goes on serving meanwhile. A
    thread would not do: Python hands its one lock over every 5 ms only, several times a request.
    Raises StoreError; Compacted when the store was slower than its own compaction, several times.
    """
    for remaining in reversed(range(TRIES)):
        try:
            return await _prove(store, keys, start, progress)
        except Compacted:  # a slow read of the gaps lost its revision
            if not remaining:
                raise
    raise AssertionError("the last try returns or raises")


async def _prove(store: Store, keys: CounterKeys, start: int | None, progress: Progress) -> Verdict:
    beside = keys.beside_the_ledger()
    firsts = (folder._replace(limit=1) for folder in beside)
    snapshot = await store.read(Range(keys.head), Range(keys.checkpoint), *firsts)
    revision, (head_found, checkpoint_found, *first_of_each) = snapshot.revision, snapshot.found
    head = head_found[0].value if head_found else None
    checkpoint = checkpoint_found[0].value if checkpoint_found else None
    verifier = Verifier(keys, start, checkpoint=checkpoint)
    for folder, first in zip(beside, first_of_each, strict=True):
        if first:
            async for page in all_of(store, folder, revision):
                await _each(verifier.beside, page)
    last = last_entry(head)
    entries = keys.entries(1) if last is None else Range(keys.entry(1), keys.entry(last + 1))
    if last is None:  # without a head nobody writes, but the very first commit
        at_that_time = await store.read(keys.entries(1, 1), revision=revision)
        if not at_that_time.found[0]:
            return verifier.finish(head)
    else:
        beyond = await store.read(keys.entries(last + 1, 1), revision=revision)
        for kv in beyond.found[0]:
            verifier.beyond(kv, last)
    async for page in all_of(store, entries, page=ENTRIES_PAGE):
        await _each(verifier.feed, page)
        progress(verifier.entries, last or 0)
    for place in verifier.flush(head):
        (found,) = (await store.read(Range(keys.entry(place)))).found
        for kv in found:
            verifier.confirm(kv, place)
    await _check_rows(store, keys, verifier)
    return await asyncio.to_thread(verifier.finish, head)


async def _check_rows(store: Store, keys: CounterKeys, verifier: Verifier) -> None:
    """Compare the rows of imports with what the ledger says of them, a piece at a time."""
    for named in verifier.named:
        wrong = await wrong_with(store, keys.installation, named.source, named.at, named.rows)
        if wrong:
            verifier.bad_rows(named, wrong)


def last_entry(head: bytes | None) -> int | None:
    """Return the entry that the head names as the newest; None without a readable head."""
    try:
        return None if head is None else heads.decode(head).index
    except Unreadable:
        return None


async def _each(take: Callable[[KeyValue], None], page: tuple[KeyValue, ...]) -> None:
    taken = 0
    for kv in page:
        take(kv)
        taken += len(kv.key) + len(kv.value)
        if taken > SLICE_BYTES:
            taken = 0
            await asyncio.sleep(0)


def _what_else(trimmed: Mapping[str, int]) -> str:
    if not trimmed:
        return ""
    gone = ", ".join(f"{name} up to entry {entry}" for name, entry in trimmed.items())
    return f" after a checkpoint ({gone}; an older export proves those)"


def _what_not(verdicts: Mapping[str, Verdict]) -> str:
    imports = sum(verdict.rows_unproven for verdict in verdicts.values())
    if not imports:
        return ""
    return f" The rows of {imports} imports are not in this older export, and so not proven."


def report(verdicts: Mapping[str, Verdict]) -> dict[str, Any]:
    """Return what the proof of these counters came to, as the API and the command line tell it."""
    findings = [
        {"counter": name} | finding._asdict()
        for name, verdict in verdicts.items()
        for finding in verdict.findings
    ]
    found = sum(sum(verdict.counts.values()) for verdict in verdicts.values())
    entries = sum(verdict.entries - verdict.trimmed for verdict in verdicts.values())
    trimmed = {name: verdict.trimmed for name, verdict in verdicts.items() if verdict.trimmed}
    issued = sum(verdict.issued_now for verdict in verdicts.values())
    gaps = sorted(gap for verdict in verdicts.values() for gap in verdict.gaps)
    conclusion = f"{found} break{'s' * (found > 1)} found" if found else "no break found"
    return {
        "valid": not found,
        "gaps": gaps[:GAPS_SHOWN],
        "duplicates": [f["number"] for f in findings if f["kind"] is Break.DUPLICATE],
        "summary": f"{entries} ledger entries replayed{_what_else(trimmed)}: "
        f"{issued} numbers in use, "
        f"{len(gaps)} gaps waiting, {conclusion}.{_what_not(verdicts)}",
        "findings": findings,
        "entries": entries,
        "trimmed": trimmed,
        "tips": {name: verdict.tip for name, verdict in verdicts.items()},
    }
