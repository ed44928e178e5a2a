"""The key schema: every key that the product writes, in one place.

Numbers and indexes are written with 20 digits, so that the order of keys is the order of numbers.
"""

from typing import NamedTuple
from urllib.parse import quote, unquote

from coordinator.core.transaction import Delete, Range, prefix_end
from coordinator.core.unreadable import NUMBER_MAX, Unreadable

DIGITS = 20


def _digits(number: int) -> bytes:
    return b"%020d" % number


class CounterKeys(NamedTuple):
    """The keys of one counter, all under one prefix."""

    prefix: bytes

    @property
    def name(self) -> str:
        """Return the counter's name, as it stands in its keys."""
        return self.prefix.rstrip(b"/").rpartition(b"/")[2].decode()

    @property
    def installation(self) -> "Keys":
        """Return the keys of the installation that the counter is of."""
        return Keys(self.prefix[:-1].rpartition(b"/")[0].removesuffix(b"c"))

    @property
    def head(self) -> bytes:
        """Return the one key that every change to the counter compares and rewrites."""
        return self.prefix + b"head"

    @property
    def checkpoint(self) -> bytes:
        """Return the key of what the trimmed entries came to: the head as it was after them."""
        return self.prefix + b"checkpoint"

    @property
    def all_entries(self) -> bytes:
        """Return what the keys of all ledger entries begin with."""
        return self.prefix + b"entry/"

    def entry(self, index: int) -> bytes:
        """Return the key of a ledger entry; the first has index 1."""
        return self.prefix + b"entry/" + _digits(index)

    def entries(self, first: int, limit: int = 0) -> Range:
        """Return the range of the entries from ``first`` on."""
        return Range(self.entry(first), prefix_end(self.prefix + b"entry/"), limit)

    def gap(self, number: int) -> bytes:
        """Return the key of a released number that waits to be issued again."""
        return self.prefix + b"gap/" + _digits(number)

    def gaps(self, first: int = 0, limit: int = 0) -> Range:
        """Return the range of the gaps from ``first`` on."""
        return Range(self.gap(first), prefix_end(self.prefix + b"gap/"), limit)

    def gaps_between(self, first: int, last: int) -> Delete:
        """Return the deletion of the gaps from ``first`` to ``last``.

        etcd walks over every key that was deleted and not compacted yet, so a deletion that began
        at the lowest number possible would become slower with each one before it.
        """
        return Delete(self.gap(first), self.gap(last + 1))

    def void(self, index: int) -> bytes:
        """Return the key of the numbers that entry ``index`` has made void for ever."""
        return self.prefix + b"void/" + _digits(index)

    def voids(self, first: int = 0, limit: int = 0) -> Range:
        """Return the range of ``void`` keys from entry ``first`` on."""
        return Range(self.void(first), prefix_end(self.prefix + b"void/"), limit)

    def held(self, block: int) -> bytes:
        """Return the key of the open reservations of a block of numbers."""
        return self.prefix + b"held/" + _digits(block)

    def all_held(self, first: int = 0, limit: int = 0) -> Range:
        """Return the range of open reservations from a block on."""
        return Range(self.held(first), prefix_end(self.prefix + b"held/"), limit)

    def freed(self, number: int) -> bytes:
        """Return the key that names the last entry which released this number."""
        return self.prefix + b"freed/" + _digits(number)

    def freed_between(self, first: int, last: int) -> Range:
        """Return the range of ``freed`` keys from ``first`` to ``last``, both included."""
        return Range(self.freed(first), self.freed(last + 1))

    def reuse(self, index: int) -> bytes:
        """Return the key that lists the numbers which entry ``index`` took from the gaps."""
        return self.prefix + b"reuse/" + _digits(index)

    def reuses(self, first: int, limit: int = 0) -> Range:
        """Return the range of ``reuse`` keys from entry ``first`` on."""
        return Range(self.reuse(first), prefix_end(self.prefix + b"reuse/"), limit)

    def request_keys(self, index: int) -> bytes:
        """Return the key of the digests of the idempotency keys in entry ``index``."""
        return self.prefix + b"keys/" + _digits(index)

    def all_request_keys(self, first: int = 0, limit: int = 0) -> Range:
        """Return the range of digests from entry ``first`` on."""
        return Range(self.request_keys(first), prefix_end(self.prefix + b"keys/"), limit)

    @property
    def turn(self) -> bytes:
        """Return the key that names the node which commits for the others; nothing rests on it."""
        return self.prefix + b"turn"

    def beside_the_ledger(self) -> tuple[Range, ...]:
        """Return the ranges of all keys of the counter but its head, its entries and its turn."""
        entries = self.prefix + b"entry/"
        return (
            Range(self.prefix, self.entry(1)),
            Range(prefix_end(entries), self.head),
            Range(self.head + b"\0", self.turn),
            Range(self.turn + b"\0", prefix_end(self.prefix)),
        )

    def all_trimmed(self, trimmed: int, through: int) -> tuple[Delete, ...]:
        """Return the deletions of a trim: entries after ``trimmed``, and what they reused."""
        return (
            Delete(self.entry(trimmed + 1), self.entry(through + 1)),
            Delete(self.reuse(trimmed + 1), self.reuse(through + 1)),
        )

    def all_before_restart(self, index: int) -> tuple[Delete, ...]:
        """Return the deletions of a reset by entry ``index``: what is derived; the ledger stays."""
        folders = (b"freed/", b"gap/", b"held/", b"reuse/", b"void/")
        derived = tuple(Delete(self.prefix + f, prefix_end(self.prefix + f)) for f in folders)
        return (*derived, Delete(self.request_keys(0), self.request_keys(index)))


def number_in(key: bytes) -> int:
    """Return the number or index at the end of a key. Raises Unreadable."""
    digits = key.rpartition(b"/")[2]
    if len(digits) != DIGITS or not digits.isdigit() or int(digits) > NUMBER_MAX:
        raise Unreadable(f"{key!r} does not end with a number")
    return int(digits)


class Keys(NamedTuple):
    """The keys of one installation."""

    root: bytes = b"/sequence/"

    def counter(self, counter: str) -> CounterKeys:
        """Return the keys of one counter; its name may hold slashes and any characters."""
        return CounterKeys(self.root + b"c/" + quote(counter, safe="").encode() + b"/")

    @property
    def upkeep(self) -> bytes:
        """Return the key that says which node tends etcd, and how long."""
        return self.root + b"upkeep"

    @property
    def expiry(self) -> bytes:
        """Return the key that says which node looks for forgotten reservations, and how long."""
        return self.root + b"expiry"

    @property
    def series(self) -> bytes:
        """Return the key of the catalogue of series, which every change of one rewrites."""
        return self.root + b"series"

    def series_change(self, version: int) -> bytes:
        """Return the key of the note of the change that made this version of the catalogue."""
        return self.root + b"series-changes/" + _digits(version)

    @property
    def settings(self) -> bytes:
        """Return the key of the settings that all nodes must share."""
        return self.root + b"settings"

    def node(self, node: str) -> bytes:
        """Return the key under a node's lease: it is there while the node lives."""
        return self.root + b"nodes/live/" + quote(node, safe="").encode()

    @property
    def counters(self) -> Range:
        """Return the range of all keys of all counters."""
        return Range(self.root + b"c/", prefix_end(self.root + b"c/"))

    def counters_in(self, folder: str) -> Range:
        """Return the range of all keys of the counters whose names begin with ``folder/``."""
        first = self.root + b"c/" + quote(f"{folder}/", safe="").encode()
        return Range(first, prefix_end(first))

    def counter_of(self, key: bytes) -> str:
        """Return the name of the counter that a key among ``counters`` belongs to."""
        return unquote(self._written_name(key).decode(errors="replace"))

    def after_counter_of(self, key: bytes) -> bytes:
        """Return the first key after all keys of the counter that this key belongs to."""
        return prefix_end(self.root + b"c/" + self._written_name(key) + b"/")

    def _written_name(self, key: bytes) -> bytes:
        return key.removeprefix(self.root + b"c/").partition(b"/")[0]

    def open_import(self, attempt: str) -> bytes:
        """Return the key that stands while an import puts its rows down, and until it commits."""
        return self.root + b"imports/open/" + attempt.encode()

    @property
    def open_imports(self) -> Range:
        """Return the range of the keys of all imports that have not been committed."""
        return Range(self.open_import(""), prefix_end(self.open_import("")))

    def present_import(self, attempt: str) -> bytes:
        """Return the key that stands while a process is at work on an import; under a lease."""
        return self.root + b"imports/present/" + attempt.encode()

    @property
    def present_imports(self) -> Range:
        """Return the range of the keys of all imports that a process is at work on."""
        return Range(self.present_import(""), prefix_end(self.present_import("")))

    def done_import(self, name: str) -> bytes:
        """Return the key that says what an import has done; it comes with its commit."""
        return self.root + b"imports/done/" + name.encode()

    def import_rows(self, source: str, at: int) -> bytes:
        """Return the key of some rows of an import, by the name that the ledger has for it."""
        return self.rows_of_imports + source.encode() + b"/" + _digits(at)

    @property
    def rows_of_imports(self) -> bytes:
        """Return what the keys of all rows of all imports begin with."""
        return self.root + b"imports/rows/"

    def all_import_rows(self, attempt: str) -> Delete:
        """Return the deletion of all rows of an import that was not committed."""
        rows = self.rows_of_imports + attempt.encode() + b"/"
        return Delete(rows, prefix_end(rows))

    def known_node(self, node: str) -> bytes:
        """Return the key that remembers a node which has once served."""
        return self.root + b"nodes/known/" + quote(node, safe="").encode()

    @property
    def nodes(self) -> Range:
        """Return the range of all node keys, known and live."""
        return Range(self.root + b"nodes/", prefix_end(self.root + b"nodes/"))
