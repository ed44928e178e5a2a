"""Open reservations, in memory and beside the ledger.

In the store those of neighbouring numbers share a block, which is written anew whenever one of them
is made or settled: reservations come and go in the order of their numbers, so a batch of many
touches few blocks.
"""

from collections.abc import Iterable, Iterator
from heapq import nsmallest
from typing import NamedTuple

import orjson

from coordinator.core.keys import CounterKeys
from coordinator.core.records import Held
from coordinator.core.transaction import Delete, Put
from coordinator.core.unreadable import Unreadable, moment, text, whole

NUMBERS_PER_BLOCK = 32
NEVER_MS = float("inf")


class Hold(NamedTuple):
    """A number that is reserved, since this entry."""

    number: int
    issued_in: int
    held: Held


class Holds:
    """The open reservations of a counter, by number."""

    def __init__(self) -> None:
        self._by_number: dict[int, Hold] = {}
        self._none_due_before_ms = NEVER_MS

    def __len__(self) -> int:
        return len(self._by_number)

    def __iter__(self) -> Iterator[Hold]:
        return iter(self._by_number.values())

    def __contains__(self, number: int) -> bool:
        return number in self._by_number

    def of(self, number: int) -> Hold | None:
        """Return the open reservation of a number."""
        return self._by_number.get(number)

    def due(self, now_ms: int, limit: int) -> list[Hold]:
        """Return reservations whose time is over, the longest over first.

        It is asked often, so all of them are looked at only when one can be due.
        """
        if now_ms < self._none_due_before_ms:
            return []
        self._none_due_before_ms = min((hold.held.until_ms for hold in self), default=NEVER_MS)
        late = (hold for hold in self if hold.held.until_ms <= now_ms)
        return nsmallest(limit, late, key=lambda hold: hold.held.until_ms)

    def open(self, hold: Hold) -> None:
        """Add a reservation."""
        self._by_number[hold.number] = hold
        self._none_due_before_ms = min(self._none_due_before_ms, hold.held.until_ms)

    def settle(self, number: int) -> None:
        """Take away a reservation that has ended."""
        self._by_number.pop(number, None)

    def load(self, content: bytes) -> None:
        """Take a block from the store. Raises Unreadable."""
        for hold in decode_holds(content):
            self.open(hold)

    def writes(
        self, keys: CounterKeys, settled: Iterable[int], opened: Iterable[Hold]
    ) -> list[Put | Delete]:
        """Return what becomes of the blocks when these end, and then those begin.

        A number that is given up may be reserved anew by the same batch, never the other way round.
        """
        after: dict[int, dict[int, Hold]] = {}
        opened, settled = list(opened), set(settled)
        for number in (*(hold.number for hold in opened), *settled):
            block = number // NUMBERS_PER_BLOCK
            if block not in after:
                first = block * NUMBERS_PER_BLOCK
                some = map(self.of, range(first, first + NUMBERS_PER_BLOCK))
                after[block] = {hold.number: hold for hold in some if hold}
        for number in settled:
            after[number // NUMBERS_PER_BLOCK].pop(number, None)
        for hold in opened:
            after[hold.number // NUMBERS_PER_BLOCK][hold.number] = hold
        return [_write(keys.held(block), after[block]) for block in sorted(after)]


def _write(key: bytes, holds: dict[int, Hold]) -> Put | Delete:
    if not holds:
        return Delete(key, key + b"\0")
    return Put(key, encode_holds(holds[number] for number in sorted(holds)))


def encode_holds(holds: Iterable[Hold]) -> bytes:
    """Return the value of a ``held`` key."""
    return orjson.dumps([[number, entry, *held] for number, entry, held in holds])


def decode_holds(content: bytes) -> list[Hold]:
    """Return the reservations in the value of a ``held`` key. Raises Unreadable."""
    try:
        return [
            Hold(whole(number), whole(entry), Held(text(token), moment(until_ms), text(written)))
            for number, entry, token, until_ms, written in orjson.loads(content)
        ]
    except (ValueError, TypeError) as broken:
        raise Unreadable(f"{content[:80]!r} is no list of reservations") from broken
