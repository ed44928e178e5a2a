"""Bugs that can be planted into the real code, to see whether the oracle finds them.

Each is one that such a program has had, or would have if it were written with less care. `PLANTS`
below says in a line what each does; `rules` are the findings that fit it.
"""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from coordinator import commit as commits
from coordinator import committer as committers
from coordinator import replica as replicas
from coordinator import sequencer as sequencers
from coordinator import unheard
from coordinator.commit import Overtaken
from coordinator.core import batch as batches
from coordinator.core import head as heads
from coordinator.core.free import Free
from coordinator.core.head import Head
from coordinator.core.keys import CounterKeys
from coordinator.core.plan import Plan
from coordinator.core.records import Entry, Reused
from coordinator.core.requests import Done, Issue, Refused, Release, Why
from coordinator.core.state import CounterState
from coordinator.core.transaction import Delete, Guard, Put, Range, Transaction
from coordinator.jobs.trimming import checkpoint_after
from coordinator.replica import Replica
from coordinator.sequencer import Sequencer
from coordinator.service import StoreDown
from coordinator.store import Committed, Conflict, NotCommitted, Store, StoreError, Unknown
from coordinator.store.paging import all_of
from coordinator.unheard import Unheard
from coordinator.waiting import WaitingRoom
from simulation import node as nodes
from simulation import operator_bugs, reservation_bugs, turn_bugs
from simulation.events import Rule
from simulation.planting import Bug, Planting, rules, with_

Fate = Committed | Overtaken
Tell = Callable[[Unknown], None]

_commit = commits.commit
_answer = Sequencer._answer  # noqa: SLF001 - bugs are planted inside
_enqueue = Sequencer._enqueue  # noqa: SLF001
_all_trimmed = CounterKeys.all_trimmed

TRUST_S = 2.0
"""How long a planted bug trusts its turn, without asking."""

ENTRIES_LOOKED_AT = 200


# Lost replies


async def _blindly(store: Store, planned: Plan, tell: Tell) -> Fate:
    transaction = planned.transaction
    while True:
        outcome = await store.commit(transaction)
        match outcome:
            case Committed():
                return outcome
            case Conflict(found):
                return Overtaken(found, ours=False)
            case Unknown() as doubt:
                tell(doubt)
                await asyncio.sleep(0.02)
                (found_head,) = (await store.read(Range(transaction.guard.key))).found
                guard = Guard(transaction.guard.key)
                if found_head:
                    guard = Guard(guard.key, found_head[0].revision, found_head[0].value)
                transaction = transaction._replace(guard=guard)


async def _unknown_is_failed(store: Store, planned: Plan, _tell: Tell) -> Fate:
    match await store.commit(planned.transaction):
        case Committed() as outcome:
            return outcome
        case Conflict(found):
            return Overtaken(found, ours=False)
        case Unknown(why):
            raise NotCommitted(why)


async def _unknown_is_done(store: Store, planned: Plan, _tell: Tell) -> Fate:
    match await store.commit(planned.transaction):
        case Committed() as outcome:
            return outcome
        case Conflict(found):
            return Overtaken(found, ours=False)
        case Unknown():
            return Committed(planned.transaction.guard.revision + 1)


async def _refusal_ends_doubt(store: Store, planned: Plan, tell: Tell) -> Fate:
    in_doubt = False
    while True:
        outcome = await store.commit(planned.transaction)  # may raise, also while in doubt
        match outcome:
            case Committed():
                return outcome
            case Conflict(found):
                ours = in_doubt and commits._is_ours(planned, found)  # noqa: SLF001
                return Overtaken(found, ours)
            case Unknown() as doubt:
                in_doubt = True
                tell(doubt)
                await asyncio.sleep(0.02)


# What one transaction holds, and its guard


async def _gap_keys_apart(store: Store, planned: Plan, tell: Tell) -> Fate:
    transaction = planned.transaction

    def is_gap(write: Put | Delete) -> bool:
        return b"/gap/" in (write.key if isinstance(write, Put) else write.start)

    gaps = tuple(write for write in transaction.writes if is_gap(write))
    others = tuple(write for write in transaction.writes if not is_gap(write))
    first = planned._replace(transaction=transaction._replace(writes=others))
    fate = await _commit(store, first, tell)
    if gaps and isinstance(fate, Committed):
        head = heads.encode(planned.after)
        guard = Guard(transaction.guard.key, fate.revision, head)
        second = planned._replace(transaction=Transaction(guard, gaps, transaction.otherwise))
        await _commit(store, second, tell)
    return fate


async def _turn_instead_of_compare(store: Store, planned: Plan, tell: Tell) -> Fate:
    now_s = asyncio.get_running_loop().time()
    believes = vars(store)
    if now_s < believes.get("holds_turn_until_s", 0.0):
        nobody = Guard(b"/nobody")  # a key that is never there: this always commits
        planned = planned._replace(transaction=planned.transaction._replace(guard=nobody))
    fate = await _commit(store, planned, tell)
    if isinstance(fate, Committed) and planned.entry is not None:
        believes["holds_turn_until_s"] = now_s + TRUST_S
    return fate


async def _refusal_without_compare(store: Store, planned: Plan, tell: Tell) -> Fate:
    if planned.entry is None:
        return Committed(planned.transaction.guard.revision)
    return await _commit(store, planned, tell)


# Idempotency keys


def _key_by_plain_read() -> Planting:
    def known_by_reading(_self: Any, key: str, ask: Any) -> Any:
        for entry in ask.earlier:
            for record in entry.records:
                if record.cause.key == key:
                    is_same = record.cause.payload == ask.request.call.payload
                    return Done(entry, record, True) if is_same else Refused(Why.KEY_REUSED, key)
        return None

    async def look(self: Any, pending: Any, key: str) -> None:
        while not pending.reply.done():
            try:
                page = await self._history.newest(0, ENTRIES_LOOKED_AT)
            except StoreError:
                await asyncio.sleep(0.1)
                continue
            using = (e for e, _ in page.entries if any(r.cause.key == key for r in e.records))
            pending.ask = pending.ask._replace(earlier=tuple(using))
            _enqueue(self, pending)
            return

    def enqueue(self: Any, pending: Any) -> None:
        looked = vars(self).setdefault("looked", {})
        key = pending.ask.request.call.key
        if key is None or pending in looked:
            _enqueue(self, pending)
        else:
            looked[pending] = asyncio.get_running_loop().create_task(look(self, pending, key))

    stack = ExitStack()
    stack.enter_context(patch.object(batches.Batch, "_committed_before", known_by_reading))
    stack.enter_context(patch.object(Sequencer, "_enqueue", enqueue))
    return stack


# Replica


async def _only_the_returned_page(self: Any, found: Any, run: str = "") -> list[Entry]:
    head_found, entries, *_ = found
    if self._state is None or not head_found:
        self.forget()
        return []
    head = heads.decode(head_found[0].value)
    if head.index < self._state.head.index:
        self.forget()
        raise self._rewound(head)
    own = list(self._apply(self._state, head, entries, run))
    self.guard = replicas._guard_of(head_found[0])  # noqa: SLF001
    return own


async def _half_applied(self: Any, found: Any, run: str = "") -> list[Entry]:
    own = await _only_the_returned_page(self, found, run)
    if self._state is not None:
        state, head = self._state, heads.decode(found[0][0].value)
        wanted = Range(self._keys.entry(state.head.index + 1), self._keys.entry(head.index + 1))
        async for page in all_of(self._store, wanted):  # may raise, and the state stays
            own += self._apply(state, head, page, run)
    return own


# Sequencer and plan


def _answered_stay_queued() -> Planting:
    stack = ExitStack()
    stack.enter_context(patch.object(WaitingRoom, "drop_who_left", lambda *_: None))
    stack.enter_context(patch.object(WaitingRoom, "_forget_who_left", lambda _: None))
    return stack


def _shifted(self: Any, answers: Any) -> None:
    told = list(answers)

    def is_issue(at: int) -> bool:
        pending, reply = told[at]
        return isinstance(reply, Done) and isinstance(pending.ask.request, Issue)

    places = [at for at in range(len(told)) if is_issue(at)]
    shifted = list(told)
    for to, come_from in zip(places, places[1:] + places[:1], strict=True):
        shifted[to] = (told[to][0], told[come_from][1])
    _answer(self, shifted)


def _take_highest(self: Any, quantity: int) -> tuple[Reused, ...]:
    single = [Reused(n, *run[1:3]) for run in self._gaps for n in run.numbers]
    if single:
        self._taken = range(single[0].first, single[-1].first + 1)
    runs: list[Reused] = []
    for _ in range(quantity):
        runs.append(self._returned.pop() if self._returned else single[self._count - 1])
        self._count -= 1
    return tuple(runs)


async def _newest_as_checkpoint(store: Store, keys: CounterKeys, start: int, through: int) -> Head:
    right = await checkpoint_after(store, keys, start, through)
    head = heads.decode((await store.read(Range(keys.head))).found[0][0].value)
    return replace(head, index=right.index, tip=right.tip)


def _commits_by(how: Callable[[Store, Plan, Tell], Any]) -> Callable[[], Planting]:
    return lambda: patch.object(committers, "commit", how)


PLANTS: dict[str, Bug] = {
    "blind-retry": Bug(
        "after a lost reply the same writes are sent again, on whatever the head is now",
        rules(Rule.ONCE, Rule.COMPLETE, Rule.ONE_COMMIT),
        _commits_by(_blindly),
    ),
    "plan-anew": Bug(
        "a lost reply counts as a failure: the batch is planned anew",
        rules(Rule.ONCE, Rule.NOT_FAILED, Rule.UNHEARD),
        _commits_by(_unknown_is_failed),
    ),
    "answer-early": Bug(
        "a lost reply counts as a success: numbers are answered before their commit is known",
        rules(Rule.NOT_EARLY, Rule.UNIQUE, Rule.ONCE, Rule.RECOVERS, Rule.TRUE_ALARM),
        _commits_by(_unknown_is_done),
    ),
    "refusal-ends-doubt": Bug(
        "a refused second sending makes the first one, which is in doubt, count as failed too",
        rules(Rule.ONCE, Rule.NOT_FAILED, Rule.UNHEARD),
        _commits_by(_refusal_ends_doubt),
    ),
    "others-entry-is-ours": Bug(
        "after a lost reply, any entry in the place of the batch's own is taken for it",
        rules(Rule.UNIQUE, Rule.NOT_EARLY),
        with_(commits, "_is_ours", lambda _plan, found: bool(found[1])),
    ),
    "own-entry-is-others": Bug(
        "after a lost reply, the batch's own entry is not recognised",
        rules(Rule.ONCE, Rule.NOT_FAILED, Rule.UNHEARD),
        with_(commits, "_is_ours", lambda _plan, _found: False),
    ),
    "gap-keys-apart": Bug(
        "the gap keys are written by a second transaction, after head and entry",
        rules(Rule.COMPLETE, Rule.ONE_COMMIT),
        _commits_by(_gap_keys_apart),
    ),
    "turn-as-lock": Bug(
        f"a node that has its turn writes without the compare for {TRUST_S:.0f} s",
        rules(Rule.COMPLETE, Rule.UNIQUE, Rule.ONE_COMMIT, Rule.AGREES),
        _commits_by(_turn_instead_of_compare),
    ),
    "refusal-unproven": Bug(
        "a refusal is told from memory, without the compare that proves it current",
        rules(Rule.TRUE_REFUSAL, Rule.AGREES),
        _commits_by(_refusal_without_compare),
    ),
    "key-by-plain-read": Bug(
        "an idempotency key is looked up by a read before the plan, and not in the replica",
        rules(Rule.ONCE),
        _key_by_plain_read,
    ),
    "keys-forgotten": Bug(
        "a node that loads the counter does not load the idempotency keys",
        rules(Rule.ONCE),
        with_(replicas, "decode_digests", lambda _first, _content: []),
    ),
    "one-page": Bug(
        "after a conflict, entries beyond those that came with it are not read",
        rules(Rule.COMPLETE),
        with_(Replica, "catch_up", _only_the_returned_page),
    ),
    "half-applied": Bug(
        "when reading on after a conflict fails, the half that was applied is planned on",
        rules(Rule.COMPLETE, Rule.RECOVERS, Rule.TRUE_ALARM),
        with_(Replica, "catch_up", _half_applied),
    ),
    "old-store-accepted": Bug(
        "a node does not look whether the store continues what it has acknowledged",
        rules(Rule.NO_REWIND),
        with_(Replica, "_check_continues", lambda *_: None),
    ),
    "stale-evidence": Bug(
        "who held a number is not read again, though it was released meanwhile",
        rules(Rule.OWNER, Rule.COMPLETE),
        with_(CounterState, "fresh_evidence", lambda *_: True),
    ),
    "replies-shifted": Bug(
        "each issue of a batch gets the answer of the next one",
        rules(Rule.UNIQUE, Rule.ONCE),
        with_(Sequencer, "_answer", _shifted),
    ),
    "doubt-told-as-failure": Bug(
        "at the deadline, a request whose commit is in doubt is told that nothing was allocated",
        rules(Rule.NOT_FAILED),
        with_(sequencers, "OutcomeUnknown", StoreDown),
    ),
    "served-after-failure": Bug(
        "a request that was told that nothing was allocated stays in the queue",
        rules(Rule.NOT_FAILED),
        _answered_stay_queued,
    ),
    "unheard-kept": Bug(
        "numbers of callers that left before their answer stay issued",
        rules(Rule.UNHEARD),
        with_(Unheard, "add", lambda *_: None),
    ),
    "unheard-taken": Bug(
        "such a number is given back whoever holds it by then",
        rules(Rule.OWNER, Rule.COMPLETE),
        with_(unheard, "Release", lambda call, number, why, _: Release(call, number, why)),
    ),
    "trim-too-much": Bug(
        "a trim deletes one entry more than it has noted",
        rules(Rule.ONE_COMMIT),
        with_(CounterKeys, "all_trimmed", lambda keys, a, b: _all_trimmed(keys, a, b + 1)),
    ),
    "trim-from-newest": Bug(
        "the checkpoint of a trim has the totals of the newest entry",
        rules(Rule.COMPLETE),
        with_(nodes, "checkpoint_after", _newest_as_checkpoint),
    ),
    "highest-first": Bug(
        "the highest gaps are issued first",
        rules(Rule.LOWEST),
        with_(Free, "take", _take_highest),
    ),
    **turn_bugs.PLANTS,
    **reservation_bugs.PLANTS,
    **operator_bugs.PLANTS,
}


def planted(name: str | None) -> Planting:
    """Return a context in which this bug is in the code; none for no name."""
    return nullcontext() if name is None else PLANTS[name].plant()
