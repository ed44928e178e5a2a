"""The texts of all document numbers beside a file's, on disk: memory stays the same, how many ever.

It is a private SQLite database that is gone with its process. Only what does not fit into its cache
goes to the disk.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import NamedTuple, Self

from coordinator.core.twice import State

CACHE_KIB = 65_536
PLACES_SHOWN_MAX = 20
NUMBER_DIGITS_MAX = 16

_SCHEMA = """
CREATE TABLE texts (text TEXT PRIMARY KEY, counter TEXT, number INTEGER, entry INTEGER,
                    state INTEGER) WITHOUT ROWID;
CREATE INDEX of_counter ON texts (counter, number);
CREATE TABLE own (line_row INTEGER, line INTEGER, text TEXT);
CREATE INDEX own_text ON own (text);
"""


class Known(NamedTuple):
    """A text of the ledgers: whose number it is, which entry wrote it, and what became of it."""

    counter: str
    number: int
    entry: int
    state: State


class Own(NamedTuple):
    """A document of the customer's file, and what the ledgers know of its number."""

    row: int
    line: int
    text: str
    known: Known | None


class TextIndex:
    """Texts of the ledgers, and of one file. A context: it is gone afterwards."""

    def __init__(self) -> None:
        self._base = sqlite3.connect("", isolation_level=None)  # private, on disk where too large
        self._base.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
        self._base.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._base.executescript(_SCHEMA)
        self._base.execute("BEGIN")  # never ended: each end would write to the disk

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._base.close()

    def add(self, text: str, counter: str, number: int, entry: int) -> Known | None:
        """Note what a number reads like; return whose number read so before, if another's."""
        done = self._base.execute(
            "INSERT INTO texts VALUES (?1, ?2, ?3, ?4, 0) ON CONFLICT (text) DO UPDATE"
            " SET entry = ?4 WHERE counter = ?2 AND number = ?3",
            (text, counter, number, entry),
        )
        if done.rowcount:
            return None
        found = self._base.execute(
            "SELECT counter, number, entry, state FROM texts WHERE text = ?", (text,)
        ).fetchone()
        known_counter, known_number, known_entry, state = found
        return Known(known_counter, known_number, known_entry, State(state))

    def forget_others(self, text: str, counter: str, number: int) -> None:
        """Forget what a number read like before it was issued again with this text."""
        self._base.execute(
            "DELETE FROM texts WHERE counter = ? AND number = ? AND text != ?",
            (counter, number, text),
        )

    def forget(self, counter: str) -> None:
        """Forget the texts of a counter: its count began anew, or it is read once more."""
        self._base.execute("DELETE FROM texts WHERE counter = ?", (counter,))

    def settle(self, counter: str, state_of: Callable[[int], State]) -> None:
        """Note what became of the numbers of a counter, once all its entries are taken."""
        self._base.create_function("state_of", 1, lambda number: int(state_of(number)))
        self._base.execute(
            "UPDATE texts SET state = state_of(number) WHERE counter = ?", (counter,)
        )

    def add_plain(self, counter: str, state_of: Callable[[int], State]) -> None:
        """Note what became of those numbers of a counter that stand in the file as mere numbers."""
        found = self._base.execute(
            "SELECT DISTINCT text FROM own WHERE text NOT GLOB '*[^0-9]*' AND text NOT GLOB '0*'"
            " AND length(text) <= ?",
            (NUMBER_DIGITS_MAX,),
        )
        for (text,) in found.fetchall():
            state = state_of(int(text))
            if state is not State.NEVER:
                self._base.execute(
                    "INSERT OR IGNORE INTO texts VALUES (?, ?, ?, 0, ?)",
                    (text, counter, int(text), int(state)),
                )

    def add_own(self, documents: Iterable[tuple[int, int, str]]) -> None:
        """Take the documents of the file: row, line and number."""
        self._base.executemany("INSERT INTO own VALUES (?, ?, ?)", documents)

    def own_twice(self) -> Iterator[tuple[str, int, list[tuple[int, int]]]]:
        """Yield each number that stands twice in the file: how often, and the first places."""
        found = self._base.execute(
            "SELECT text, count(*) FROM own GROUP BY text HAVING count(*) > 1"
            " ORDER BY min(line_row)"
        )
        for text, times in found:
            places = self._base.execute(
                "SELECT line_row, line FROM own WHERE text = ? ORDER BY line_row LIMIT ?",
                (text, PLACES_SHOWN_MAX),
            )
            yield text, times, places.fetchall()

    def own_not_issued(self) -> Iterator[Own]:
        """Yield the documents whose numbers are not issued for good, in the file's order."""
        found = self._base.execute(
            "SELECT line_row, line, own.text, counter, number, entry, state FROM own"
            " LEFT JOIN texts ON own.text = texts.text"
            " WHERE state IS NULL OR state != ? ORDER BY line_row",
            (int(State.ISSUED),),
        )
        for row, line, text, counter, number, entry, state in found:
            known = None if counter is None else Known(counter, number, entry, State(state))
            yield Own(row, line, text, known)
