"""Which rows of a file are wanted: ``2-10,15``, as a spreadsheet numbers them."""

import re
from bisect import bisect_right
from typing import NamedTuple

from coordinator.import_files import SHEET_ROWS_MAX, shown

PIECES_MAX = 5_000
_PIECE = re.compile(r"\s*(\d{1,7})(?:\s*-\s*(\d{1,7}))?\s*", re.ASCII)


class BadChoice(ValueError):
    """What was written is no choice of rows; the message says why."""


class Choice(NamedTuple):
    """Rows by their numbers, as ranges, ascending; none at all are all rows."""

    ranges: tuple[range, ...] = ()

    @classmethod
    def of(cls, text: str) -> "Choice":
        """Return the choice that a person has written. Raises BadChoice."""
        found: list[range] = []
        written = text.split(",") if text.strip() else []
        if len(written) > PIECES_MAX:
            raise BadChoice(f"rows are at most {PIECES_MAX:,} numbers and ranges")
        for piece in written:
            match = _PIECE.fullmatch(piece)
            if match is None:
                raise BadChoice(f"{shown(piece)!r} is no row; write rows like 2-10,15")
            first, last = int(match[1]), int(match[2] or match[1])
            if not 1 <= first <= last <= SHEET_ROWS_MAX:
                raise BadChoice(f"{shown(piece)!r}: rows go up, to {SHEET_ROWS_MAX:,} at most")
            found.append(range(first, last + 1))
        return cls(_merged(found))

    def takes(self, row: int) -> bool:
        """Tell whether a row is wanted."""
        if not self.ranges:
            return True
        at = bisect_right(self.ranges, row, key=lambda wanted: wanted.start)
        return at > 0 and row in self.ranges[at - 1]

    def __str__(self) -> str:
        return ",".join(f"{r[0]}-{r[-1]}" if len(r) > 1 else f"{r[0]}" for r in self.ranges)


def _merged(some: list[range]) -> tuple[range, ...]:
    merged: list[range] = []
    for each in sorted(some, key=lambda wanted: wanted.start):
        if merged and each.start <= merged[-1].stop:
            merged[-1] = range(merged[-1].start, max(merged[-1].stop, each.stop))
        else:
            merged.append(each)
    return tuple(merged)
