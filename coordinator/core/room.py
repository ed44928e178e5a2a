"""How many requests fit into one transaction of the store."""

from functools import lru_cache
from typing import NamedTuple

from coordinator.core.records import Origin
from coordinator.core.requests import (
    AcceptLoss,
    Adjust,
    Ask,
    Assign,
    Close,
    Import,
    Issue,
    Release,
    Request,
    Reserve,
    Reset,
    Settle,
    Trim,
    Void,
)
from coordinator.core.state import CounterState
from coordinator.core.templates import TEXT_LENGTH_MAX

FIXED_OPERATIONS = 7
"""Head, entry, lists of reused and void numbers, request keys, deletion of gaps and of keys."""

OPERATIONS_PER_RELEASE = 2
"""The gap and the start of its history."""


OPERATIONS_PER_RESERVATION = 1
"""The block of open reservations that it is in; at most, for neighbours share one."""


class Limits(NamedTuple):
    """What one transaction may hold: etcd's defaults are 128 operations and 1.5 MiB."""

    operations: int = 128
    entry_bytes: int = 1_000_000
    requests: int = 1_024


def how_many_fit(asks: list[Ask], state: CounterState, limits: Limits) -> int:
    """Return how many requests one transaction takes; 0 when not even the first one fits."""
    operations, size = FIXED_OPERATIONS, 0
    runs = state.gaps.runs
    for position, ask in enumerate(asks[: limits.requests]):
        if isinstance(ask.request, Reset | Trim | Import):  # each is a batch of its own
            return max(position, 1)
        more_operations, more_size = _cost(ask.request, runs + position)
        operations, size = operations + more_operations, size + more_size
        if operations > limits.operations or size > limits.entry_bytes:
            return position
    return min(len(asks), limits.requests)


def _cost(request: Request, runs: int) -> tuple[int, int]:
    """Return at most how many operations and ledger bytes a request needs.

    A character of the caller's takes up to six bytes in JSON, a run of reused numbers up to 80, the
    names of who had a number that is replaced up to 1,200.
    """
    call = request.call
    text = len(call.correlation) + _text_length(call.origin)
    if call.key is not None or call.metadata is not None:
        text += len(call.key or "") + len(call.metadata or "") + 16
    operations, size = 0, 200 + 6 * text
    match request:
        case Issue(_, quantity, False):
            size += 80 * min(quantity, runs)
        case Issue(_, quantity, True):
            operations += OPERATIONS_PER_RELEASE * quantity
            size += (400 + 6 * text) * quantity
        case Reserve():
            operations += OPERATIONS_PER_RESERVATION
            size += 80 + 6 * TEXT_LENGTH_MAX
        case Settle(reason=reason):
            operations += OPERATIONS_PER_RESERVATION + OPERATIONS_PER_RELEASE
            size += 6 * (TEXT_LENGTH_MAX + len(reason))
        case Release(reason=reason):
            operations += OPERATIONS_PER_RELEASE
            size += 6 * len(reason)
        case AcceptLoss(reason=reason) | Adjust(reason=reason) | Close(reason=reason):
            size += 6 * len(reason)
        case Assign(reason=reason) | Void(reason=reason):
            operations += OPERATIONS_PER_RELEASE
            size += 1_600 + 12 * (text + TEXT_LENGTH_MAX + len(reason))
        case Import(_, imported, _, rows):
            size += 60 * len(imported) + 100 * len(rows)
    return operations, size


@lru_cache(maxsize=1_024)
def _text_length(origin: Origin) -> int:
    return sum(len(text) for text in origin if text is not None)
