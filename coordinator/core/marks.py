"""The small values beside the ledger: all of them follow from it, and can be rebuilt from it."""

from struct import unpack
from typing import NamedTuple

import orjson

from coordinator.core.unreadable import Unreadable, moment, whole


class Mark(NamedTuple):
    """When a number was released (wall clock, ms), and by which entry."""

    entry: int
    time_ms: int


def encode_mark(mark: Mark) -> bytes:
    """Return the value of a ``gap`` or ``freed`` key."""
    return orjson.dumps({"e": mark.entry, "t": mark.time_ms})


def decode_mark(content: bytes) -> Mark:
    """Return the mark in the value of a ``gap`` or ``freed`` key. Raises Unreadable."""
    try:
        fields = orjson.loads(content)
        return Mark(whole(fields["e"]), moment(fields["t"]))
    except (ValueError, KeyError, TypeError) as broken:
        raise Unreadable(f"{content[:80]!r} is no mark of a release") from broken


class Voids(NamedTuple):
    """What one entry has made void, and when (wall clock, ms): runs of (first, quantity)."""

    time_ms: int
    runs: tuple[tuple[int, int], ...]


def encode_voids(voids: Voids) -> bytes:
    """Return the value of a ``void`` key."""
    return orjson.dumps({"t": voids.time_ms, "r": sorted(voids.runs)})


def decode_voids(content: bytes) -> Voids:
    """Return what the value of a ``void`` key says. Raises Unreadable."""
    try:
        fields = orjson.loads(content)
        runs = tuple((whole(first), whole(quantity)) for first, quantity in fields["r"])
        return Voids(moment(fields["t"]), runs)
    except (ValueError, KeyError, TypeError) as broken:
        raise Unreadable(f"{content[:80]!r} is no list of void numbers") from broken


def encode_reused(spans: list[range]) -> bytes:
    """Return the value of a ``reuse`` key: numbers, and ``[first, last]`` for some in a row."""
    merged: list[list[int]] = []
    for span in sorted(spans, key=lambda span: span.start):
        if merged and span.start <= merged[-1][1] + 1:
            merged[-1][1] = max(merged[-1][1], span.stop - 1)
        elif span:
            merged.append([span.start, span.stop - 1])
    return orjson.dumps([run if run[0] < run[1] else run[0] for run in merged])


def decode_reused(content: bytes) -> list[range]:
    """Return the numbers in the value of a ``reuse`` key, ascending. Raises Unreadable."""
    try:
        runs = (run if type(run) is list else (run, run) for run in orjson.loads(content))
        return [range(whole(first), whole(last) + 1) for first, last in runs]
    except (ValueError, TypeError) as broken:
        raise Unreadable(f"{content[:80]!r} is no list of numbers") from broken


def encode_digests(first: int, digests: list[tuple[int, int]]) -> bytes:
    """Return the value of a ``keys`` key: digests with the entry of each, ``first`` or later.

    8 bytes each for all the digests, then one byte each: how far after the first entry.
    """
    shorts = b"".join(short.to_bytes(8, "big") for short, _ in digests)
    return shorts + bytes(index - first for _, index in digests)


def decode_digests(first: int, content: bytes) -> list[tuple[int, int]]:
    """Return the digests in the value of the key ``keys/<first>``. Raises Unreadable."""
    count, beyond = divmod(len(content), 9)
    offsets = content[8 * count :]
    if beyond or not count or offsets[0] or list(offsets) != sorted(offsets):
        raise Unreadable(f"{content[:80]!r} is no list of digests")
    shorts = unpack(f">{count}Q", content[: 8 * count])
    return list(zip(shorts, map(first.__add__, offsets), strict=True))


def entries_with(first: int, content: bytes, short: int) -> list[int]:
    """Return the entries of a digest in the value of the key ``keys/<first>``, ascending.

    Without taking all of it apart, for who looks through very many.
    """
    count = len(content) // 9
    shorts, wanted = content[: 8 * count], short.to_bytes(8, "big")
    found, at = [], shorts.find(wanted)
    while at >= 0:
        if not at % 8:
            found.append(first + content[8 * count + at // 8])
        at = shorts.find(wanted, at + 1)
    return found
