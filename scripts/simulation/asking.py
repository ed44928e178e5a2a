"""Whether what was done, or refused, is what was asked."""

from typing import NamedTuple

from coordinator.core.records import (
    Closed,
    Imported,
    Issued,
    Passed,
    Record,
    Released,
    Restarted,
    Settled,
    Voided,
)
from coordinator.core.requests import Why
from simulation.events import HOW, Asked, Kind
from simulation.model import FREE, RESERVED, VOID


def is_as_asked(asked: Asked, record: Record, numbers: tuple[int, ...]) -> bool:
    """Tell whether a record does what was asked, for whom and under the key it was asked."""
    cause = record.cause
    if (cause.origin.site, cause.key, cause.payload) != (asked.site, asked.key, asked.payload):
        return False
    kind = asked.kind
    match record:
        case Issued(given=given, held=held):
            is_kind = kind is (Kind.ASSIGN if given else Kind.RESERVE if held else Kind.ISSUE)
            return is_kind and len(numbers) == (1 if given or held else asked.quantity)
        case Released():
            return kind is Kind.RELEASE and numbers == (asked.number,)
        case Settled():
            return kind in HOW and numbers == (asked.number,)
        case Restarted():
            return kind is Kind.RESET
        case _:
            return _is_as_decided(asked, record, numbers)


def _is_as_decided(asked: Asked, record: Record, numbers: tuple[int, ...]) -> bool:
    match record:
        case Passed(_, first, quantity):
            return asked.kind is Kind.ADJUST and first + quantity == asked.number
        case Voided(text=text, replaced_by=other):
            kind = Kind.REPLACE if other else Kind.VOID
            return asked.kind is kind and (numbers, text) == ((asked.number,), asked.text)
        case Imported(runs=runs):
            return asked.kind is Kind.IMPORT and runs == asked.runs
        case _:
            return isinstance(record, Closed) and asked.kind is Kind.CLOSE


class Then(NamedTuple):
    """What was so at one time or another between a question and its answer."""

    of_number: list[object]
    """The sites that held the number, or what else it was; None before it was issued."""
    left: list[int]
    """How many numbers the series had left."""
    payloads: set[str | None]
    """What its key stood for."""
    is_trimmed: bool
    """Whether the number was issued by an entry that is gone."""
    reservation_unknown: bool
    reservation_open: bool


def could_be_refused(why: str, asked: Asked, then: Then) -> bool:
    """Tell whether a refusal was true at some time."""
    nobody = {None, FREE, RESERVED, VOID}
    is_true: dict[str, bool] = {
        Why.NEVER_ISSUED: None in then.of_number,
        Why.ALREADY_FREE: FREE in then.of_number,
        Why.HELD: RESERVED in then.of_number,
        Why.VOID: VOID in then.of_number,
        Why.OTHER_OWNER: bool(set(then.of_number) - nobody - {asked.site}),
        Why.TRIMMED: then.is_trimmed,
        Why.KEY_REUSED: bool(then.payloads - {asked.payload}),
        Why.TOO_LARGE: asked.at_once,
        Why.EXHAUSTED: any(left < asked.quantity for left in then.left),
        Why.NO_RESERVATION: then.reservation_unknown,
        Why.NOT_DUE: then.reservation_open,
    }
    return is_true[why]
