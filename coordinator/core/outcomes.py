"""What may become of a request in a batch, and the answer of one that was made before."""

from typing import NamedTuple

from coordinator.core.records import Entry, Held, Record, Settled
from coordinator.core.requests import (
    Ask,
    Close,
    Done,
    Issue,
    NeedsEntries,
    NeedsHolder,
    Refused,
    Request,
    Reserve,
    Settle,
    Void,
    Why,
)


def answered_before(ask: Ask) -> Done | Refused | None:
    """Return the answer that the entries read for a request have.

    They have it for its idempotency key, or tell how the reservation ended that it would settle.
    Such an answer is for ever: it needs no look at the newest state.
    """
    call = ask.request.call
    for entry in ask.earlier:
        for record in entry.records:
            if record.cause.key is not None and record.cause.key == call.key:
                if record.cause.payload == call.payload:
                    return Done(entry, record, replayed=True)
                return Refused(Why.KEY_REUSED, record.cause.key)
    return _settled_before(ask.request, ask.earlier) if isinstance(ask.request, Settle) else None


def _settled_before(request: Settle, entries: tuple[Entry, ...]) -> Done | None:
    for entry in entries:
        for record in entry.records:
            match record:
                case Settled(number=request.number, held=Held(token=request.token)):
                    return Done(entry, record, replayed=True)
    return None


class Same(NamedTuple):
    """This request repeats the one at ``position`` of the same batch."""

    position: int


class Other(NamedTuple):
    """This request has the key of the one at ``position``, and asks something else."""

    position: int
    key: str


class Again(NamedTuple):
    """This request repeats what another one of the batch does, whoever asks."""

    record: Settled


Outcome = Record | Same | Other | Again | Refused | NeedsHolder | NeedsEntries | Done


def turn_of(request: Request) -> int:
    """Return when in its batch a request is decided: see the module ``plan``."""
    match request:
        case Issue(release_at_once=True):
            return 1
        case Void(replacement=replacement):
            return 0 if replacement is None else 2
        case Issue() | Reserve() | Close():
            return 2
        case _:
            return 0
