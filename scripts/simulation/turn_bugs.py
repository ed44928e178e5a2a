"""Bugs that can be planted into what a node commits for others: see `bugs`."""

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from coordinator import committer as committers
from coordinator import handing as handings
from coordinator import replica as replicas
from coordinator.committer import Committer, Sheet
from coordinator.core import batch as batches
from coordinator.core import plan as plans
from coordinator.core.forwarding import may_be_handed_over
from coordinator.core.records import Part
from coordinator.core.requests import Ask, Done, Release
from coordinator.core.state import CounterState
from coordinator.guests import Guests
from coordinator.handing import Handing, Learned
from coordinator.waiting import Pending
from simulation.events import Rule
from simulation.planting import Bug, rules, together, with_

_plan = Committer.plan
_release = batches.Batch._release  # noqa: SLF001 - bugs are planted inside
_learn = Handing._learn  # noqa: SLF001
_admit = Guests.admit


# At the node with the turn


def _met_again(self: Guests, part: Part) -> None:
    self._met.meet(part.instance, part.serial)


def _answers_of_first_guest(self: Committer, state: Any, asks: list[Ask], part: Any) -> Sheet:
    def plan(_state: Any, keys: Any, guard: Any, of_all: list[Ask], *others: Any) -> Any:
        mixed = [ask._replace(part=min(ask.part, 1)) for ask in of_all]
        return plans.plan(_state, keys, guard, mixed, *others)

    with patch.object(committers, "plan", plan):
        return _plan(self, state, asks, part)


def _evidence_of_guests_believed(self: Any, ask: Ask, request: Release) -> Any:
    if not ask.part or ask.holder is None:
        return _release(self, ask, request)
    with patch.object(CounterState, "fresh_evidence", lambda *_: True):
        return _release(self, ask, request)


def _side_by_side(self: Guests, forward: Any, proven_tip: str | None) -> Any:
    run = forward.part.instance
    older = self._waiting.pop(run, None)
    reply = _admit(self, forward, proven_tip)
    if older is not None:
        self._waiting[f"{run} {older.forward.part.serial}"] = older
    return reply


# At the node that hands over


def _by_position(self: Handing, entry: Any, part: int) -> Iterator[tuple[Pending, Done]]:
    records = [r for r in entry.records if r.cause.part == part]
    for record, pending in zip(records, list(self._open.values()), strict=False):
        self._never([pending])
        yield pending, Done(entry, record)


def _whoever_may(_self: Handing, batch: list[Pending]) -> tuple[list[Pending], list[Pending]]:
    away = [pending for pending in batch if may_be_handed_over(pending.ask)]
    return away, [pending for pending in batch if pending not in away]


async def _not_found_out(_self: Handing) -> Learned:
    return Learned()


def _nothing_learned(self: Handing, own: list[Any], **_: bool) -> Learned:
    if own:
        self.close()
    return Learned()


PLANTS: dict[str, Bug] = {
    "newer-part-unchecked": Bug(
        "a batch is taken though its run has a newer part in the ledger",
        rules(Rule.ONCE, Rule.NOT_FAILED, Rule.UNHEARD),
        with_(CounterState, "has_nothing_newer_of", lambda *_: True),
    ),
    "batch-met-twice": Bug(
        "a batch that comes twice is taken twice: the first is declined for the second",
        rules(Rule.ONCE, Rule.NOT_FAILED, Rule.UNHEARD),
        with_(Guests, "meet", _met_again),
    ),
    "batch-done-twice": Bug(
        "a batch that comes twice is taken twice, whatever its run has done since",
        rules(Rule.ONCE),
        together(
            with_(Guests, "meet", _met_again),
            with_(CounterState, "has_nothing_newer_of", lambda *_: True),
        ),
    ),
    "batches-of-one-run": Bug(
        "two batches of one run wait side by side",
        rules(Rule.ONCE, Rule.NO_ERROR),
        with_(Guests, "admit", _side_by_side),
    ),
    "guests-mixed-up": Bug(
        "what was done for the second guest stands in the ledger as the first one's",
        rules(Rule.ONCE, Rule.UNHEARD),
        with_(Committer, "plan", _answers_of_first_guest),
    ),
    "guest-evidence-believed": Bug(
        "who held a number is not looked up again for a batch of another node",
        rules(Rule.OWNER, Rule.COMPLETE),
        with_(batches.Batch, "_release", _evidence_of_guests_believed),
    ),
    "no-reply-is-never": Bug(
        "a batch without a reply counts as one that will never be",
        rules(Rule.ONCE, Rule.NOT_FAILED, Rule.UNHEARD),
        with_(handings, "_may_come_true", lambda _: False),
    ),
    "own-parts-overlooked": Bug(
        "other nodes' entries are not searched for what they did for this one",
        rules(Rule.ONCE, Rule.UNHEARD),
        with_(replicas, "_has_part_of", lambda *_: False),
    ),
    "open-forgotten": Bug(
        "an entry with a part of this run closes what is open, and answers nobody",
        rules(Rule.ONCE, Rule.UNHEARD),
        with_(Handing, "_learn", _nothing_learned),
    ),
    "missed-not-looked-for": Bug(
        "a node that loads the counter anew does not read what was done for it meanwhile",
        rules(Rule.ONCE, Rule.NOT_FAILED, Rule.UNHEARD),
        with_(Handing, "find_out", _not_found_out),
    ),
    "answers-by-position": Bug(
        "answers of a batch handed over are told in the order in which the requests were sent",
        rules(Rule.UNIQUE, Rule.ONCE, Rule.NOT_EARLY),
        with_(Handing, "_answers_in", _by_position),
    ),
    "releases-named-alike": Bug(
        "what is given back for one caller has one name: one answer is taken for the others' too",
        rules(Rule.UNIQUE, Rule.ONCE, Rule.UNHEARD),
        together(
            with_(handings, "_name", lambda pending: (pending.ask.request.call.correlation, 0)),
            with_(handings, "_name_in", lambda record: (record.cause.correlation, 0)),
            with_(Handing, "choose", _whoever_may),
        ),
    ),
}
