"""What became of a number, told from its records: what it is now, and what each of them is by now.

The records are those of one number, oldest first, as ``coordinator.history`` finds them.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from coordinator.core.records import (
    How,
    Imported,
    Issued,
    Passed,
    Record,
    Released,
    Settled,
    Voided,
)


class NumberState(StrEnum):
    """What a number of a document is now."""

    RESERVED = "RESERVED"
    CONFIRMED = "CONFIRMED"
    """It is in use: confirmed, or given out in the place of another one."""
    OVERRIDDEN = "OVERRIDDEN"
    """It is in use: an operator has named it."""
    IMPORTED = "IMPORTED"
    """It is in use: it was issued elsewhere."""
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    """Its reservation ended like this, and it is void."""
    VOID = "VOID"
    FREE = "FREE"
    """It will be issued again, before any fresh one."""


class Fate(StrEnum):
    """What a record is by now, in the contract's words."""

    ACTIVE = "ACTIVE"
    RELEASED = "RELEASED"
    RECOVERED = "RECOVERED"
    EXPIRED = "EXPIRED"
    VOID = "VOID"


class Standing(NamedTuple):
    """What a number is now and why. ``text`` is how it was written, where the ledger says so.

    ``replaces`` and ``replaced_by`` are numbers of the same counter, 0 for none.
    """

    state: NumberState
    text: str = ""
    reason: str | None = None
    replaces: int = 0
    replaced_by: int = 0


def text_in(record: Record) -> str:
    """Return how the number is written by one of its records; empty where that does not say."""
    match record:
        case Issued():
            return record.text
        case Settled():
            return record.held.text
        case Voided():
            return record.text
        case _:
            return ""


def latest_tenure(records: Sequence[Record]) -> Sequence[Record]:
    """Return the records since the number came into the books or was last issued."""
    begins = (Issued, Imported, Passed)
    first = max((at for at, each in enumerate(records) if isinstance(each, begins)), default=0)
    return records[first:]


def standing(records: Sequence[Record], number: int, *, is_held: bool) -> Standing:
    """Return what a number is by all its records. ``is_held``: its reservation is open."""
    tenure = latest_tenure(records)
    first, last = tenure[0], tenure[-1]
    text = next(filter(None, map(text_in, tenure)), "")
    given = first.given if isinstance(first, Issued) else None
    replaces = given.replaces if given else 0
    if is_held:
        return Standing(NumberState.RESERVED, text)
    ended = _ended(last, number)
    if ended is not None:
        return ended._replace(text=text, replaces=replaces)
    if isinstance(first, Imported):
        return Standing(NumberState.IMPORTED, text)
    if given and not replaces:
        return Standing(NumberState.OVERRIDDEN, text, given.reason)
    return Standing(NumberState.CONFIRMED, text, given.reason if given else None, replaces)


def _ended(last: Record, number: int) -> Standing | None:
    """Return what a number is that is not in use, by its last record; None when it is."""
    match last:
        case Released(_, _, _, reason):
            return Standing(NumberState.FREE, reason=reason)
        case Settled(_, _, _, How.CANCELLED | How.EXPIRED as how, _, reason, is_void):
            ended = NumberState.CANCELLED if how is How.CANCELLED else NumberState.EXPIRED
            state = ended if is_void else NumberState.FREE
            return Standing(state, reason=reason or how.value)
        case Voided(_, _, _, _, reason, replaced_by):
            return Standing(NumberState.VOID, reason=reason, replaced_by=replaced_by)
        case Passed(_, _, _, reason):
            return Standing(NumberState.VOID, reason=reason)
        case Imported() if leaves_out(last, number):
            return Standing(NumberState.VOID, reason=LEFT_OUT)
        case _:
            return None


LEFT_OUT = "left out of an import of numbers issued elsewhere"


def leaves_out(record: Imported, number: int) -> bool:
    """Tell whether an import has passed over a number."""
    return any(first <= number < first + quantity for first, quantity in record.missing())


def ends(record: Record) -> Fate | None:
    """Return what a record that takes a number out of use makes of it; None for the others."""
    match record:
        case Released():
            return Fate.RELEASED
        case Settled(_, _, _, How.EXPIRED):
            return Fate.EXPIRED
        case Settled(_, _, _, How.CANCELLED, _, _, is_void):
            return Fate.VOID if is_void else Fate.RELEASED
        case Voided() | Passed():
            return Fate.VOID
        case _:
            return None


def fate(record: Record, number: int, later: Sequence[Record]) -> Fate:
    """Return what a record of a number is by now; ``later`` are the number's records after it."""
    ended = ends(record)
    if isinstance(record, Imported) and leaves_out(record, number):
        ended = Fate.VOID
    if ended is None:
        return next(filter(None, map(ends, later)), Fate.ACTIVE)
    return Fate.RECOVERED if any(isinstance(each, Issued) for each in later) else ended
