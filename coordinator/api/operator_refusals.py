"""Why an operator's decision about a document number is refused, and what to do instead."""

from coordinator.api import problems
from coordinator.api.answers import iso
from coordinator.api.orders import refusal
from coordinator.api.problems import FieldError, Kind, Problem, one_line
from coordinator.core.catalogue import Series
from coordinator.core.documents import Place
from coordinator.core.records import (
    Entry,
    How,
    Imported,
    Issued,
    Passed,
    Settled,
    Voided,
)
from coordinator.core.requests import Refused, Why
from coordinator.history import Event

FIELD = "document_number"

_TAKEN = {
    "issued": "is issued already. Choose another one; this one can be voided and replaced.",
    "reserved": "is reserved. Wait until its reservation is confirmed, cancelled or expired.",
    "void": "is void, and will never be issued again. Choose another one.",
    "free": "is free: it waits to be issued again, before any fresh one. Reserve a number instead.",
}
"""What it means that a number is not ahead of the count: by what became of it."""

_NOT_VOIDED: dict[Why, tuple[Kind, str]] = {
    Why.NEVER_ISSUED: (
        problems.NEVER_ISSUED,
        "{text} was never issued. Check the number; only what is in use can be voided.",
    ),
    Why.ALREADY_FREE: (
        problems.ALREADY_FREE,
        "{text} is not in use: it was given back and waits to be issued again. Nothing is to do.",
    ),
    Why.HELD: (
        problems.HELD,
        "{text} is reserved only. Cancel its reservation, or confirm it first.",
    ),
    Why.OTHER_TEXT: (
        problems.OTHER_TEXT,
        "This number was issued as {subject}, not as {text}. Send it as it was issued.",
    ),
    Why.TRIMMED: (
        problems.TRIMMED,
        "The entry that issued {text} has left the store; an older export of the ledger has it.",
    ),
}
_ALONE = "Nothing was changed. Send replace: false to void it alone, "
_OPEN = _ALONE + "and reserve a number in an open period."
_MORE = _ALONE + "or extend the series."
_NOT_REPLACED: dict[Why, tuple[Kind, str]] = {
    Why.CLOSED: (
        problems.CLOSED,
        "The count of {text} is closed, so nothing can take its place. " + _OPEN,
    ),
    Why.EXHAUSTED: (
        problems.EXHAUSTED,
        "The series ends at {subject}: nothing is left to replace {text}. " + _MORE,
    ),
}


def reads_otherwise(series: Series, text: str, place: Place | None) -> Problem:
    """Say that a text is no number of the series as it is defined now; ``place`` is what it is."""
    name = series.document_type
    said = f"{one_line(text)!r} does not read like a number of {name}, {series.template}"
    if place is not None and place.series.document_type != name:
        said += f"; it reads like one of {place.series.document_type}"
    elif place is not None:
        said += f"; it reads like one of {name} as it was, {place.series.template}"
    error = FieldError(FIELD, said)
    return Problem(problems.BAD_FORMAT, f"{FIELD}: {said}. Nothing was issued.", (error,))


def reads_like_none(text: str) -> Problem:
    """Say that a text is no document number of any series."""
    said = f"{one_line(text)!r} does not read like a number of any series, as it is or ever was"
    error = FieldError(FIELD, said)
    return Problem(problems.BAD_FORMAT, f"{FIELD}: {said}. Check the number.", (error,))


def not_given_out(refused: Refused, text: str, place: Place) -> Problem:
    """Say why a number that an operator has named was not issued."""
    if refused.why is not Why.TAKEN:
        return refusal(refused)
    if refused.subject in _TAKEN:
        return Problem(problems.DUPLICATE, f"{text} {_TAKEN[refused.subject]}")
    said = (
        f"{text}: number {place.number} lies {refused.subject} of its count. Choose a higher one."
    )
    return Problem(problems.BAD_FORMAT, said, (FieldError(FIELD, refused.subject),))


def not_voided(refused: Refused, text: str, *, replaces: bool) -> Problem:
    """Say why a number was neither voided nor replaced."""
    known = (_NOT_VOIDED | _NOT_REPLACED) if replaces else _NOT_VOIDED
    if refused.why not in known:
        return refusal(refused)
    kind, sentence = known[refused.why]
    return Problem(kind, sentence.format(text=text, subject=refused.subject))


def void_since(text: str, event: Event | None) -> Problem:
    """Say that a number is void already: since when, and why, as its last event tells."""
    how = "is void already"
    if event is not None:
        how = f"is void since {iso(event.entry.time_ms)}: {_how_void(event)}"
    said = f"{text} {how}. Nothing was changed; a void number is never issued again."
    return Problem(problems.HELD, said)


def _how_void(event: Event) -> str:
    match event.record:
        case Voided(_, number, reason=reason, replaced_by=other):
            given = (
                r.given.text
                for r in event.entry.records
                if isinstance(r, Issued) and r.given is not None and r.given.replaces == number
            )
            instead = next(given, str(other)) if other else ""
            return (f"replaced by {instead}, " if other else "not replaced, ") + repr(reason)
        case Settled(how=How.EXPIRED):
            return "its reservation has expired"
        case Settled(reason=reason):
            return f"its reservation was cancelled, {reason!r}"
        case Passed(reason=reason):
            return f"it never went out, {reason!r}"
        case Imported():
            return "an import left it out"
        case other_record:
            raise TypeError(f"{type(other_record).__name__} makes nothing void")


def already_closed(counter: str, entry: Entry | None) -> Problem:
    """Say that a counter is closed already, and since when if that is known."""
    since = "" if entry is None else f" since {iso(entry.time_ms)}"
    said = f"{counter} is closed{since}. Nothing was changed, and nothing needs to be done."
    return Problem(problems.CLOSED, said)
