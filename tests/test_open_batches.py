"""What a node must not forget while a batch that it has handed over is open."""

import asyncio

import pytest
from sharing import Fault, Gate, Town, ask, call, numbers_in, release, take
from support import until

from coordinator import replica as replicas
from coordinator.core.requests import Issue, Refused, Why
from coordinator.core.transaction import Transaction
from coordinator.sequencer import Sequencer
from coordinator.service import OutcomeUnknown
from coordinator.store import NotCommitted, Outcome, Rejected, Snapshot, Unavailable, Unknown

pytestmark = pytest.mark.usefixtures("no_pauses")


async def test_nothing_is_planned_anew_before_it_is_known_what_was_done(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.guests.RECENT_MAX", 1)
    holder, other = await town.pair()
    for serving in (holder, holder, other):
        await take(serving)
    assert other._replica.head is None, "what came in between is not at hand"
    way = town.ways["other"]
    way.faults.append(Fault.HELD)
    asking = [asyncio.create_task(ask(other, Issue(call()))) for _ in range(2)]
    await until(lambda: way.counts["served"] == 2, "both are committed in one batch")
    other._one_by_one = 2  # from here on one is planned while the other one waits
    search = other._replica.part_of

    async def fail_once(*_: object) -> object:
        other._replica.part_of = search  # type: ignore[method-assign]
        raise Unavailable("no reply in time")

    other._replica.part_of = fail_once  # type: ignore[method-assign,assignment]
    way.let_go.set()
    assert [numbers_in(answer) for answer in await asyncio.gather(*asking)] == [[8], [9]]
    await town.check(list(range(1, 10)))


async def test_a_store_that_refuses_does_not_end_the_wait_for_an_open_batch(town: Town) -> None:
    gate = Gate(town.store)
    _, other = await town.pair(other_store=gate)
    town.ways["other"].faults.append(Fault.REPLY_LOST)
    gate.outcomes = [NotCommitted("connection refused")] * 3
    assert await take(other) == [5]
    await town.check([1, 2, 3, 4, 5])


async def test_who_may_be_in_an_open_batch_is_not_told_that_nothing_was_done(town: Town) -> None:
    gate = Gate(town.store)
    _, other = await town.pair(other_store=gate)
    town.ways["other"].faults.append(Fault.LATE)
    gate.outcomes = [Rejected("etcd will never take this")]
    with pytest.raises(OutcomeUnknown):
        await take(other)
    assert await town.ways["other"].deliver_late() is None
    await town.check([1, 2, 3, 4, 5])


async def test_who_may_be_in_an_open_batch_is_not_refused(town: Town) -> None:
    holder, other = await town.pair(max_value=5)
    assert await take(holder) == [5]
    town.ways["other"].faults.append(Fault.LATE)
    with pytest.raises(OutcomeUnknown):
        await ask(other, Issue(call("late")))
    await ask(holder, release(2))
    assert await town.ways["other"].deliver_late() is None, "somebody has made room meanwhile"
    assert [r.cause.correlation for r in (await town.entries())[-1].records] == ["late"]


async def test_what_is_exhausted_is_refused_through_the_other_node(town: Town) -> None:
    _, other = await town.pair(max_value=5)
    assert await take(other) == [5]
    assert await ask(other, Issue(call())) == Refused(Why.EXHAUSTED, "5")
    assert town.ways["other"].counts == {"sent": 2, "served": 2}


async def test_what_a_lost_reply_had_committed_counts_once(town: Town) -> None:
    gate = Gate(town.store)
    serving = await town.node("only", store=gate)
    await take(serving)
    gate.outcomes = [Unknown("reply lost")]
    assert await take(serving, 10) == list(range(2, 12))
    assert town.counts["only"]["issued"] == 11


async def test_what_was_acknowledged_counts_as_seen_also_when_much_follows_it(town: Town) -> None:
    gate = Gate(town.store)
    _, other = await town.pair(holder_store=gate)
    busy = await town.node("busy")
    busy._handing.turn.lost_compare = _take_no_turn  # type: ignore[method-assign]
    commit = gate.commit

    async def lose_the_reply_while_others_go_on(transaction: Transaction) -> Outcome:
        gate.commit = commit  # type: ignore[method-assign]
        await commit(transaction)
        for _ in range(12):
            await take(busy)
        return Unknown("reply lost")

    gate.commit = lose_the_reply_while_others_go_on  # type: ignore[method-assign]
    assert await take(other) == [5]
    assert other._replica.seen.entry >= 5


async def _take_no_turn(_found: object) -> None:
    """Go on alone."""


async def test_entries_at_hand_have_no_hole_when_the_turn_was_elsewhere_meanwhile(
    town: Town,
) -> None:
    holder, other = await town.pair()
    idle = await town.node("idle")
    assert await take(idle) == [5]
    assert await take(other) == [6]
    _have_batches_handed(holder, to=other)
    assert [await take(holder) for _ in range(2)] == [[7], [8]]
    _have_batches_handed(other, to=holder)
    assert await take(holder) == [9]
    _have_batches_handed(idle, to=holder)
    assert await take(idle) == [10]
    assert (idle.rewound, idle.trouble) == (None, "")
    assert town.ways["idle"].counts == {"sent": 1, "served": 1}
    await town.check(list(range(1, 11)))


def _have_batches_handed(sender: Sequencer, *, to: Sequencer) -> None:
    to._handing.turn._holder = None
    sender._handing.turn._rely_on(to._handing.turn._seat.me)
    assert sender._handing.turn.holder is not None


async def test_what_is_told_counts_as_seen_also_when_what_follows_cannot_be_read(
    town: Town,
) -> None:
    gate = Gate(town.store)
    serving, busy = await town.node("only", store=gate), await town.node("busy")
    for each in (serving, busy):
        each._handing.turn.lost_compare = _take_no_turn  # type: ignore[method-assign]
    await take(serving)
    commit = gate.commit

    async def lose_the_reply_and_all_reads(transaction: Transaction) -> Outcome:
        gate.commit = commit  # type: ignore[method-assign]
        await commit(transaction)
        for _ in range(12):
            await take(busy)
        gate.read = _unread  # type: ignore[method-assign]
        return Unknown("reply lost")

    gate.commit = lose_the_reply_and_all_reads  # type: ignore[method-assign]
    assert await take(serving) == [2]
    assert serving._replica.seen.entry >= 2


async def _unread(*_: object, **__: object) -> Snapshot:
    raise Unavailable("no reply in time")


async def test_too_many_missed_entries_are_not_searched(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicas, "SEARCHED_MAX", 3)
    monkeypatch.setattr(replicas, "CATCH_UP_MAX", 2)
    holder, other = await town.pair()
    await take(other)
    way = town.ways["other"]
    way.faults.append(Fault.HELD)
    waiting = asyncio.create_task(ask(other, Issue(call())))
    await until(lambda: way.counts["served"], "the batch is committed")
    for _ in range(6):
        await take(holder)
    other._replica.forget()
    way.let_go.set()
    with pytest.raises(OutcomeUnknown, match="left the store"):
        await waiting


async def test_trouble_is_over_only_when_the_store_has_said_so(town: Town) -> None:
    gate = Gate(town.store)
    _, other = await town.pair(other_store=gate)
    gate.outcomes = [NotCommitted("connection refused")] * 100_000
    other._trouble.failed(NotCommitted("connection refused"))
    assert await take(other) == [5], "the node with the turn serves it"
    assert other.trouble
    gate.outcomes.clear()
    await until(lambda: not other.trouble, "the store was asked again")
