"""The ledger replayed by hand: an auditor's own reading of the documented format.

It shares no code with the product, on purpose: a mistake that the product makes both when it
writes and when it verifies would stay unseen. What it knows is the format's description alone:
entries chained by SHA-256, records in the order in which they were decided.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

NO_HASH = "0" * 64
EXAMPLES_MAX = 5

CHAIN = "the hash chain is whole"
TWICE = "no number is issued while somebody holds it"
COMPLETE = "issued and gaps are exactly 1 to the highest"
LOWEST = "gaps are reused lowest first, before any fresh number"
KEY_TWICE = "no key stands in the ledger twice"
RELEASES = "only issued numbers are released"
DERIVED = "head and gap keys are what the ledger gives"
BATCH_TWICE = "no batch of a node stands in the ledger twice, or after a newer one"
ALL = (CHAIN, TWICE, COMPLETE, LOWEST, KEY_TWICE, RELEASES, DERIVED, BATCH_TWICE)


class Committed(NamedTuple):
    """What one request with a key did."""

    kind: str  # "issue" or "release"
    numbers: tuple[int, ...]
    entry: int
    correlation: str


class Holder(NamedTuple):
    """Who a number is issued to, and by which entry."""

    entry: int
    key: str | None


@dataclass
class Replayed:
    """What the ledger says, and under each check's name what is wrong with it."""

    entries: int = 0
    next: int = 1
    tip: str = NO_HASH
    issues: int = 0
    reused: int = 0
    handed_over: int = 0
    """Batches in the ledger that another node than their own has committed."""
    serials: dict[str, int] = field(default_factory=dict)
    """The newest batch of each run of a node."""
    releases: int = 0
    issued: dict[int, Holder] = field(default_factory=dict)
    gaps: dict[int, tuple[int, int]] = field(default_factory=dict)  # released in entry, at ms
    by_key: dict[str, Committed] = field(default_factory=dict)
    keyless: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """What requests without a key were given, by correlation."""
    correlations: Counter[str] = field(default_factory=Counter)
    wrong: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in ALL})

    def finds(self, check: str, what: str) -> None:
        """Note something that is not right; only the first ones are worth reading."""
        self.wrong[check].append(what if len(self.wrong[check]) < EXAMPLES_MAX else "")


def replay(entries: Iterable[tuple[int, bytes]]) -> Replayed:
    """Replay a ledger from its entries' indexes and bytes, in the order of their keys."""
    replayed = Replayed()
    for index, content in entries:
        fields = _link(replayed, index, content)
        if fields is None:
            continue
        if fields["s"] != replayed.next:
            what = f"entry {index} begins at {fields['s']}, the one before ended at {replayed.next}"
            replayed.finds(COMPLETE, what)
        _parts(replayed, index, fields.get("a", []))
        for record in _records(fields):
            _apply(replayed, index, fields["t"], record)
    _count(replayed)
    return replayed


def _link(replayed: Replayed, index: int, content: bytes) -> dict[str, Any] | None:
    """Check an entry's place in the chain and return its fields; None when it has none."""
    replayed.entries += 1
    try:
        fields: dict[str, Any] = json.loads(content)
        own_index, previous = int(fields["i"]), str(fields["p"])
    except (ValueError, KeyError, TypeError) as broken:
        replayed.finds(CHAIN, f"entry {index} cannot be read: {broken!r}")
        return None
    if index != replayed.entries or own_index != index:
        replayed.finds(CHAIN, f"entry {replayed.entries} is {own_index}, under key {index}")
    if previous != replayed.tip:
        replayed.finds(CHAIN, f"entry {index} does not follow the one before it")
    replayed.tip = hashlib.sha256(bytes.fromhex(replayed.tip) + content).hexdigest()
    return fields


def _parts(replayed: Replayed, index: int, parts: list[list[Any]]) -> None:
    """Check that every batch comes once, and those of a run in their order."""
    replayed.handed_over += len(parts[1:])
    for _, run, serial, *_ in parts:
        if serial <= replayed.serials.get(run, 0):
            replayed.finds(BATCH_TWICE, f"entry {index} has batch {serial} of {run} after a newer")
        replayed.serials[run] = serial


def _records(fields: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """Yield one record for each request; single fresh numbers share one in the ledger."""
    for block in fields["r"]:
        if block["o"] != "issues":
            yield block
            continue
        for number, correlation in enumerate(block["q"], block["f"]):
            yield {"o": "issue", "q": correlation, "f": number}


def _apply(replayed: Replayed, index: int, time_ms: int, record: dict[str, Any]) -> None:
    match record["o"]:
        case "issue":
            numbers = _issue(replayed, index, record)
        case "release":
            numbers = _release(replayed, index, time_ms, record)
        case "trim":  # old entries left the store; no number moves
            return
        case other:  # a restart would be somebody's who does not belong here
            replayed.finds(COMPLETE, f"entry {index}: operation {other!r}")
            return
    correlation = str(record["q"])
    replayed.correlations[correlation] += 1
    key = record.get("k")
    if key is None:
        replayed.keyless[correlation] = numbers
        return
    if key in replayed.by_key:
        before = replayed.by_key[key].entry
        replayed.finds(KEY_TWICE, f"key {key}: in entry {before} and in entry {index}")
    replayed.by_key[key] = Committed(record["o"], numbers, index, correlation)


def _issue(replayed: Replayed, index: int, record: dict[str, Any]) -> tuple[int, ...]:
    first, fresh = record["f"], record.get("n", 1)
    taken = [
        (number, released_in, released_ms)
        for first, released_in, released_ms, *more in record.get("g", ())
        for number in range(first, first + (more[0] if more else 1))
    ]
    replayed.issues += 1
    replayed.reused += len(taken)
    lowest = sorted(replayed.gaps)[: len(taken)] if taken else []
    if [number for number, _, _ in taken] != lowest:
        what = f"entry {index} reuses {taken[:EXAMPLES_MAX]}, the lowest are {lowest}"
        replayed.finds(LOWEST, what)
    if fresh and len(taken) < len(replayed.gaps):
        left = sorted(set(replayed.gaps) - {number for number, _, _ in taken})
        replayed.finds(LOWEST, f"entry {index} issues {first} while {left[:3]} wait")
    for number, released_in, released_ms in taken:
        if replayed.gaps.pop(number, None) != (released_in, released_ms):
            what = f"entry {index} reuses {number}, which entry {released_in} did not free"
            replayed.finds(TWICE if number in replayed.issued else COMPLETE, what)
    if first != replayed.next:
        what = f"entry {index} issues from {first} on, next was {replayed.next}"
        replayed.finds(COMPLETE, what)
    numbers = (*(number for number, _, _ in taken), *range(first, first + fresh))
    for number in numbers:
        before = replayed.issued.get(number)
        if before is not None:
            what = f"{number}: entry {before.entry} ({before.key}) and entry {index}"
            replayed.finds(TWICE, what)
        replayed.issued[number] = Holder(index, record.get("k"))
    replayed.next = max(replayed.next, first + fresh)
    return numbers


def _release(
    replayed: Replayed, index: int, time_ms: int, record: dict[str, Any]
) -> tuple[int, ...]:
    number = record["u"]
    replayed.releases += 1
    holder = replayed.issued.pop(number, None)
    if holder is None:
        replayed.finds(RELEASES, f"entry {index} releases {number}, which nobody holds")
    elif holder.entry != record["e"]:
        what = f"entry {index}: {number} was issued by {holder.entry}, not by {record['e']}"
        replayed.finds(RELEASES, what)
    replayed.gaps[number] = (index, time_ms)
    return (number,)


def _count(replayed: Replayed) -> None:
    """Check completeness by counting, not by trust in the steps above."""
    both = replayed.issued.keys() & replayed.gaps.keys()
    if both:
        replayed.finds(COMPLETE, f"issued and free at once: {sorted(both)[:EXAMPLES_MAX]}")
    found = replayed.issued.keys() | replayed.gaps.keys()
    whole = set(range(1, replayed.next))
    if found != whole:
        missing, beyond = sorted(whole - found), sorted(found - whole)
        what = f"missing {missing[:EXAMPLES_MAX]}, beyond the highest {beyond[:EXAMPLES_MAX]}"
        replayed.finds(COMPLETE, what)


def compare_derived(replayed: Replayed, head: bytes, gap_numbers: Iterable[int]) -> None:
    """Note where the head and the gap keys are not what the ledger gives."""
    try:
        fields = json.loads(head)
        said = (fields["next"], fields["index"], fields["tip"], fields["gaps"])
    except (ValueError, KeyError, TypeError) as broken:
        replayed.finds(DERIVED, f"the head cannot be read: {broken!r}")
        return
    ours = (replayed.next, replayed.entries, replayed.tip, len(replayed.gaps))
    if said != ours:
        replayed.finds(DERIVED, f"the head says {said}, the ledger gives {ours}")
    difference = set(gap_numbers) ^ replayed.gaps.keys()
    if difference:
        what = f"gap keys and ledger differ at {sorted(difference)[:EXAMPLES_MAX]}"
        replayed.finds(DERIVED, what)
