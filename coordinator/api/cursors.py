"""Where a listing of several counters goes on: a place in each of them, as one text."""

from collections.abc import Sequence
from typing import NamedTuple

from coordinator.api import problems
from coordinator.api.problems import FieldError, Problem

FINISHED = "end"


class Cursor(NamedTuple):
    """Where a listing goes on: at this entry, after so many of its rows. Entry 0: the newest."""

    entry: int = 0
    skip: int = 0

    def __str__(self) -> str:
        return f"{self.entry}-{self.skip}"

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Return the cursor. Raises ValueError."""
        entry, skip = text.split("-")
        return cls(int(entry), int(skip))


def text_of(following: Sequence[Cursor | None]) -> str | None:
    """Return the text for these places, one for each counter; None when nothing follows."""
    if all(each is None for each in following):
        return None
    return ".".join(FINISHED if each is None else str(each) for each in following)


def cursors_in(text: str | None, counters: int, field: str, where: str) -> list[Cursor | None]:
    """Return the places in so many counters; without a text their beginnings.

    ``field`` is what the caller calls it, ``where`` where the caller has it from. Raises Problem.
    """
    if text is None:
        return [Cursor() for _ in range(counters)]
    try:
        cursors = [None if t == FINISHED else Cursor.parse(t) for t in text.split(".")]
    except ValueError:
        cursors = []
    if len(cursors) != counters:
        message = f"take it from {where} of the same listing"
        raise Problem(problems.MALFORMED, f"{field}: {message}.", (FieldError(field, message),))
    return cursors
