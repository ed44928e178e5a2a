"""The trivial model: who holds each number, which are free, what the ledger has said."""

from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from coordinator.core import head as heads

FREE, RESERVED, VOID = "free", "reserved", "void"
"""What a number is while no site holds it for good."""


class Held(NamedTuple):
    """Who holds a number: the request, its site, and the entry that issued it."""

    request: str
    site: str
    entry: int


class Use(NamedTuple):
    """A key stands in this entry of the ledger with this payload, for these numbers.

    ``said`` is what its caller is told beside them.
    """

    payload: str | None
    numbers: tuple[int, ...]
    entry: int
    said: str = ""


class InLedger(NamedTuple):
    """A request stands in this entry, for these numbers; ``said`` is told beside them."""

    entry: int
    numbers: tuple[int, ...]
    said: str = ""


class Timeline(list[tuple[int, object]]):
    """The values that something has had, each from an event on."""

    def during(self, first: int) -> list[object]:
        """Return every value since the event ``first``, with the one it had then."""
        at = bisect_right(self, first, key=lambda moment: moment[0])
        return [value for _, value in self[max(0, at - 1) :]]


class Known(NamedTuple):
    """What a node knows of a count after an entry: its next number, and what is not just issued.

    Each a list, for a number that stands there twice is wrong.
    """

    entry: int
    next: int
    free: list[int]
    void: list[int]
    reserved: list[int]


@dataclass
class Count:
    """The trivial model: what the ledger says so far."""

    next: int
    entries: int = 0
    held: dict[int, Held] = field(default_factory=dict)
    free: set[int] = field(default_factory=set)
    in_ledger: dict[str, InLedger] = field(default_factory=dict)
    keys: dict[str, Use] = field(default_factory=dict)
    contents: list[bytes] = field(default_factory=list)
    trimmed: int = 0
    after: list[tuple[int, int]] = field(default_factory=list)
    """The next number and how many are free, after each entry."""

    def differs_from(self, checkpoint: bytes | None) -> str:
        """Return how a checkpoint differs from what the trimmed entries come to; else nothing."""
        said = heads.decode(checkpoint) if checkpoint else None
        should = (self.trimmed, *self.after[self.trimmed - 1])
        if said is not None and (said.index, said.next, said.gaps) == should:
            return ""
        return f"the checkpoint is {said}, the ledger gives {should}"

    def covers(self, start: int, reserved: Collection[int], void: Collection[int]) -> bool:
        """Tell whether ``start..next-1`` is held (issued or reserved), free and void, each once."""
        if len(self.held) + len(self.free) + len(void) != self.next - start:
            return False
        if not (self.free.isdisjoint(void) and self.held.keys() >= set(reserved)):
            return False
        return self.held.keys().isdisjoint(self.free) and self.held.keys().isdisjoint(void)

    def restart(self, start: int) -> None:
        """Begin anew; what the ledger has said stays."""
        self.next = start
        self.held.clear()
        self.free.clear()
        self.keys.clear()

    def is_known_as(self, known: Known, reserved: Collection[int], void: Collection[int]) -> bool:
        """Tell whether a node that has seen all entries knows each number as what it is."""
        if known.entry != self.entries:
            return True  # of another time
        return known[1:] == (self.next, sorted(self.free), sorted(void), sorted(reserved))


class Past:
    """What was so at each time: who held a number, what a key stood for, how much was left."""

    def __init__(self, left: int) -> None:
        self.time = 0  # events heard
        self._of_number: dict[int, Timeline] = {}  # site that holds it, or another word
        self._of_key: dict[str, Timeline] = {}
        self._left = Timeline([(0, left)])

    def number_is(self, number: int, holder: str | None) -> None:
        """Note who holds a number now, or what else it is."""
        self._of_number.setdefault(number, Timeline([(0, None)])).append((self.time, holder))

    def key_is(self, key: str, use: Use | None) -> None:
        """Note what a key stands for now."""
        self._of_key.setdefault(key, Timeline()).append((self.time, use))

    def left_are(self, left: int) -> None:
        """Note how many numbers the series has left."""
        self._left.append((self.time, left))

    def forget(self) -> None:
        """Note that no number and no key is known any more."""
        for timeline in (*self._of_number.values(), *self._of_key.values()):
            timeline.append((self.time, None))

    def of_number(self, number: int, since: int) -> list[object]:
        """Return what a number has been since this event."""
        return self._of_number.get(number, Timeline([(0, None)])).during(since)

    def uses_of_key(self, key: str | None, since: int) -> list[Use]:
        """Return what a key has stood for since this event."""
        timeline = self._of_key.get(key or "", Timeline())
        return [use for use in timeline.during(since) if isinstance(use, Use)]

    def left(self, since: int) -> list[int]:
        """Return how many numbers were left since this event."""
        return [left for left in self._left.during(since) if isinstance(left, int)]
