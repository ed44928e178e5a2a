"""The trivial model: who holds each number, which are free, what the ledger has said."""

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple


class Held(NamedTuple):
    """Who holds a number: the request, its site, and the entry that issued it."""

    request: str
    site: str
    entry: int


class Use(NamedTuple):
    """A key stands in this entry of the ledger with this payload, for these numbers."""

    payload: str | None
    numbers: tuple[int, ...]
    entry: int


class InLedger(NamedTuple):
    """A request stands in this entry, for these numbers."""

    entry: int
    numbers: tuple[int, ...]


class Timeline(list[tuple[int, object]]):
    """The values that something has had, each from an event on."""

    def during(self, first: int) -> list[object]:
        """Return every value since the event ``first``, with the one it had then."""
        at = bisect_right(self, first, key=lambda moment: moment[0])
        return [value for _, value in self[max(0, at - 1) :]]


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
