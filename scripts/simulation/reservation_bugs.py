"""Bugs that can be planted into reservations: see `bugs`."""

from collections.abc import Iterable
from typing import Any
from unittest.mock import patch

from coordinator import replica as replicas
from coordinator.core import batch as batches
from coordinator.core import outcomes, records
from coordinator.core import state as states
from coordinator.core import writes as writings
from coordinator.core.batch import Batch
from coordinator.core.holds import Hold, Holds
from coordinator.core.keys import CounterKeys
from coordinator.core.records import How, Record, Settled
from coordinator.core.requests import Ask, Done, Reserve, Settle
from coordinator.core.transaction import Delete, Put
from coordinator.replica import Replica
from simulation.events import Rule
from simulation.planting import Bug, rules, together, with_

_settle = Batch._settle  # noqa: SLF001 - bugs are planted inside
_settled_before = Batch._settled_before  # noqa: SLF001
_writes = Holds.writes
_turn_of = outcomes.turn_of
_keys_of = records.keys_of


def _whenever_found_due(self: Any, ask: Ask, request: Settle) -> Any:
    if request.how is not How.EXPIRED:
        return _settle(self, ask, request)
    outcome = _settle(self, ask, request._replace(how=How.CANCELLED))
    if isinstance(outcome, Settled):
        outcome = self.records[-1] = outcome._replace(how=How.EXPIRED)
        self.settled[request.number] = outcome
    return outcome


def _however_late(self: Any, ask: Ask, request: Settle) -> Any:
    if request.how is not How.CONFIRMED:
        return _settle(self, ask, request)
    with patch.object(self, "_now", self._now._replace(wall_ms=0)):
        return _settle(self, ask, request)


def _whoever_asks(self: Any, ask: Ask, request: Settle) -> Any:
    hold = self._state.holds.of(request.number)
    token = request.token if hold is None else hold.held.token
    return _settle(self, ask, request._replace(token=token))


def _cancelled_frees(self: Any, ask: Ask, request: Settle) -> Any:
    voids = request.voids and request.how is not How.CANCELLED
    return _settle(self, ask, request._replace(voids=voids))


def _as_it_wants(self: Any, ask: Ask, request: Settle) -> Any:
    outcome = _settled_before(self, ask, request)
    if isinstance(outcome, Done) and isinstance(outcome.record, Settled):
        return outcome._replace(record=outcome.record._replace(how=request.how))
    return outcome


def _without_settling(record: Record) -> list[str]:
    return [key for key in _keys_of(record) if not key.startswith("settle ")]


def _without_neighbours(
    self: Holds, keys: CounterKeys, settled: Iterable[int], opened: Iterable[Hold]
) -> list[Put | Delete]:
    opened = list(opened)
    return _writes(Holds() if opened else self, keys, settled, opened)


async def _not_loaded(*_: Any) -> None:
    """Load none."""


def _taken_first(request: Any) -> int:
    return 0 if isinstance(request, Reserve) else _turn_of(request)


def _new_one_is_lost(
    self: Holds, keys: CounterKeys, settled: Iterable[int], opened: Iterable[Hold]
) -> list[Put | Delete]:
    settled = set(settled)
    return _writes(self, keys, settled, [hold for hold in opened if hold.number not in settled])


PLANTS: dict[str, Bug] = {
    "settling-leaves-no-key": Bug(
        "who settles again is not told how the reservation has ended",
        rules(Rule.TRUE_REFUSAL),
        together(
            with_(states, "keys_of", _without_settling),
            with_(writings, "keys_of", _without_settling),
        ),
    ),
    "settled-twice": Bug(
        "a reservation that was settled stays open in memory, and is settled again",
        rules(Rule.ENDS_ONCE, Rule.COMPLETE),
        with_(Holds, "settle", lambda *_: None),
    ),
    "expired-early": Bug(
        "a reservation expires when a node finds it due, whatever the deadline says",
        rules(Rule.DEADLINE),
        with_(Batch, "_settle", _whenever_found_due),
    ),
    "late-confirm-wins": Bug(
        "a reservation that is over and has not been settled yet can be confirmed",
        rules(Rule.DEADLINE),
        with_(Batch, "_settle", _however_late),
    ),
    "void-is-a-gap": Bug(
        "a number that is void for ever becomes a gap too",
        rules(Rule.COMPLETE, Rule.GIVEN_UP),
        with_(Settled, "frees", property(lambda record: record.how is not How.CONFIRMED)),
    ),
    "cancel-frees": Bug(
        "a number that is cancelled is a gap, though its series says void",
        rules(Rule.GIVEN_UP),
        with_(Batch, "_settle", _cancelled_frees),
    ),
    "holds-not-loaded": Bug(
        "a node that loads the counter does not load the open reservations, nor count them",
        rules(Rule.AGREES, Rule.COMPLETE, Rule.TRUE_REFUSAL, Rule.ENDS_ONCE),
        together(
            with_(Replica, "_load_holds", _not_loaded),
            with_(replicas, "_check_counts", lambda *_: None),
        ),
    ),
    "neighbours-lost": Bug(
        "a block of reservations is written without those that it had",
        rules(Rule.COMPLETE),
        with_(Holds, "writes", _without_neighbours),
    ),
    "told-as-wanted": Bug(
        "who settles what has ended already is told that it came as wanted",
        rules(Rule.ENDS_ONCE),
        with_(Batch, "_settled_before", _as_it_wants),
    ),
    "token-unchecked": Bug(
        "whoever names a number settles its reservation, be it another's by now",
        rules(Rule.ASKED, Rule.ENDS_ONCE, Rule.UNIQUE),
        with_(Batch, "_settle", _whoever_asks),
    ),
    "hold-overlooked": Bug(
        "a number that is only reserved can be released",
        rules(Rule.COMPLETE, Rule.TRUE_REFUSAL),
        with_(Holds, "__contains__", lambda *_: False),
    ),
    "reserved-before-cancelled": Bug(
        "a batch reserves before it gives up: the gap that it takes may not be the lowest",
        rules(Rule.LOWEST, Rule.COMPLETE),
        with_(batches, "turn_of", _taken_first),
    ),
    "reserved-anew-lost": Bug(
        "a number that a batch gives up and reserves anew is not written down as reserved",
        rules(Rule.COMPLETE),
        with_(Holds, "writes", _new_one_is_lost),
    ),
}
