"""Bugs that can be planted into what operators do: see `bugs`."""

from typing import Any
from unittest.mock import patch

from coordinator import replica as replicas
from coordinator.core import batch as batches
from coordinator.core import records
from coordinator.core import writes as writings
from coordinator.core.batch import Batch
from coordinator.core.free import Free
from coordinator.core.records import Given, Issued, Passed, Record, Reused, Voided
from coordinator.core.requests import Ask, Assign, Holder, Refused, Void
from coordinator.core.state import CounterState, Gaps
from coordinator.replica import Replica
from simulation.events import Rule
from simulation.planting import Bug, rules, together, with_

_assign = Batch._assign  # noqa: SLF001 - bugs are planted inside
_void = Batch._void  # noqa: SLF001
_import = Batch._import  # noqa: SLF001
_close = Batch._close  # noqa: SLF001
_take_one = Batch._take_one  # noqa: SLF001
_in_use = Batch._in_use  # noqa: SLF001
_apply_end = CounterState._apply_end  # noqa: SLF001
_decide = Batch.decide
_voids_of = records.voids_of


# A number that is named, and what it passes over


def _one_short(cause: Any, first: int, quantity: int, reason: str) -> Passed:
    return Passed(cause, first, max(1, quantity - 1), reason)


def _single_numbers_only(record: Record) -> list[tuple[int, int]]:
    return [] if isinstance(record, Passed) else _voids_of(record)


def _also_a_gap(self: Any, ask: Ask, request: Assign) -> Any:
    lowest = self.free.lowest
    if request.number != lowest or self._closed:
        return _assign(self, ask, request)
    given = Given(request.text, request.reason)
    return self._note(Issued(self._cause(ask), self._next, 0, self.free.take(1), given=given))


def _as_the_batch_began(self: Any, ask: Ask, request: Assign) -> Any:
    following, self._next = self._next, self._state.head.next
    outcome = _assign(self, ask, request)
    self._next = max(following, self._next)
    return outcome


def _keyed_twice(self: Any, ask: Ask, request: Assign) -> Any:
    outcome = _assign(self, ask, request)
    before = self.records[-2] if len(self.records) > 1 else None
    if (
        isinstance(outcome, Issued)
        and isinstance(before, Passed)
        and before.reason.endswith(request.text)
    ):
        self.records[-2] = before._replace(cause=outcome.cause)
    return outcome


# Void numbers, and those in their place


async def _not_loaded(*_: Any) -> None:
    """Load none."""


def _without_its_own(self: Any, ask: Ask, request: Void) -> Any:
    self._voided.clear()
    return _void(self, ask, request)


def _only_looked_at(self: Any, ask: Ask, series: Any) -> Any:
    if not isinstance(ask.request, Void) or self.free.lowest is None:
        return _take_one(self, ask, series)
    with patch.object(Free, "take", lambda free, _: (Reused(free.lowest, 0, 0),)):
        return _take_one(self, ask, series)


def _unnamed(text: str, reason: str, _replaces: int = 0) -> Given:
    return Given(text, reason)


def _not_by_which(*fields: Any) -> Voided:
    return Voided(*fields[:5])


def _of_the_operator(self: Any, ask: Ask, request: Void) -> Any:
    def in_use(batch: Any, some: Ask, number: int) -> Any:
        holder = _in_use(batch, some, number)
        if isinstance(holder, Holder) and isinstance(some.request, Void):
            return holder._replace(origin=some.request.call.origin)
        return holder

    with patch.object(Batch, "_in_use", in_use):
        return _void(self, ask, request)


def _end_forgotten(self: CounterState, record: Any, entry: Any) -> None:
    with patch.object(CounterState, "_remember_freed", lambda *_: None):
        _apply_end(self, record, entry)


def _void_looks_in_use(self: Any, ask: Ask, number: int) -> Any:
    with patch.object(self._state, "void", Gaps()):
        return _in_use(self, ask, number)


# Imports and closing


def _gaps_of_the_file_forgotten(self: Any, ask: Ask, request: Any) -> Any:
    outcome: Any = _import(self, ask, request)
    if isinstance(outcome, Refused) or len(outcome.runs) == 1:
        return outcome
    first, _ = outcome.runs[0]
    whole = outcome._replace(runs=((first, outcome.next - first),))
    self.records[-1] = whole
    return whole


def _new_ones_overlooked(self: Any, ask: Ask, reason: str) -> Any:
    records, self.records = self.records, [r for r in self.records if not isinstance(r, Issued)]
    outcome = _close(self, ask, reason)
    self.records = records if isinstance(outcome, Refused) else [*records, outcome]
    return outcome


def _open_when_it_begins(self: Any, asks: list[Ask]) -> Any:
    self._closed = False
    return _decide(self, asks)


PLANTS: dict[str, Bug] = {
    "passed-one-short": Bug(
        "the run of numbers that are passed over is one too short",
        rules(Rule.COMPLETE, Rule.ASKED),
        with_(batches, "Passed", _one_short),
    ),
    "void-run-unwritten": Bug(
        "the key of a run of void numbers is not written",
        rules(Rule.COMPLETE),
        with_(writings, "voids_of", _single_numbers_only),
    ),
    "voids-not-loaded": Bug(
        "a node that loads the counter does not load the void numbers, nor count them",
        rules(Rule.AGREES),
        together(
            with_(Replica, "_load_voids", _not_loaded),
            with_(replicas, "_check_counts", lambda *_: None),
        ),
    ),
    "gap-assigned": Bug(
        "an operator can name a number that was out before, if it is a gap",
        rules(Rule.ASSIGNED),
        with_(Batch, "_assign", _also_a_gap),
    ),
    "assigned-twice": Bug(
        "two operators who name one number in one batch both get it",
        rules(Rule.ASSIGNED, Rule.COMPLETE, Rule.UNIQUE, Rule.FORWARD),
        with_(Batch, "_assign", _as_the_batch_began),
    ),
    "key-on-what-is-passed": Bug(
        "the run that is passed over has the key of the request too, and answers it when repeated",
        rules(Rule.ONCE, Rule.ASKED),
        with_(Batch, "_assign", _keyed_twice),
    ),
    "voided-twice": Bug(
        "two operators who void one number in one batch both do",
        rules(Rule.GIVEN_UP, Rule.REPLACES),
        with_(Batch, "_void", _without_its_own),
    ),
    "replacement-not-taken": Bug(
        "a gap that takes the place of a void number stays a gap",
        rules(Rule.COMPLETE, Rule.UNIQUE),
        with_(Batch, "_take_one", _only_looked_at),
    ),
    "replacement-unnamed": Bug(
        "a replacement does not say which number it replaces",
        rules(Rule.REPLACES),
        with_(batches, "Given", _unnamed),
    ),
    "replaced-by-unnamed": Bug(
        "a number that is replaced does not say by which",
        rules(Rule.REPLACES, Rule.ASKED),
        with_(batches, "Voided", _not_by_which),
    ),
    "replacement-of-the-operator": Bug(
        "a replacement is the operator's, not that of who had the number",
        rules(Rule.OWNER),
        with_(Batch, "_void", _of_the_operator),
    ),
    "void-forgotten": Bug(
        "what was read of a number before it was made void is believed, and it looks in use",
        rules(Rule.COMPLETE, Rule.GIVEN_UP, Rule.REPLACES),
        together(
            with_(CounterState, "_apply_end", _end_forgotten),
            with_(Batch, "_in_use", _void_looks_in_use),
        ),
    ),
    "import-fills-up": Bug(
        "numbers that an import leaves out come into use with the others",
        rules(Rule.ASKED),
        with_(Batch, "_import", _gaps_of_the_file_forgotten),
    ),
    "close-overlooks-new": Bug(
        "a close does not count the reservations that its own batch has made",
        rules(Rule.CLOSED),
        with_(Batch, "_close", _new_ones_overlooked),
    ),
    "closed-for-a-batch": Bug(
        "a counter is closed for the batch that closes it only",
        rules(Rule.CLOSED),
        with_(Batch, "decide", _open_when_it_begins),
    ),
}
