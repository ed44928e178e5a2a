"""One node commits for the others: on every way that loses, delays and repeats, all comes right."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from sharing import Fault, Town, ask, call, numbers_in, release, take
from support import until

from coordinator import sequencer as sequencers
from coordinator import turn as turns
from coordinator.core.plan import Limits
from coordinator.core.records import Released, Restarted
from coordinator.core.requests import Done, Issue, Refused, Reset, Why
from coordinator.peers import Declined, NoReply
from coordinator.sequencer import Sequencer
from coordinator.service import OutcomeUnknown
from coordinator.store import Store
from coordinator.unheard import REASON

pytestmark = pytest.mark.usefixtures("no_pauses")


@pytest.fixture
async def town(store: Store) -> AsyncIterator[Town]:
    """Nodes on each store in turn."""
    town = Town(store)
    yield town
    await town.stop()


async def test_who_loses_a_compare_takes_the_turn_and_the_next_one_hands_over(town: Town) -> None:
    _, other = await town.pair()
    held = [1, 2, 3, 4]
    for _ in range(5):
        held += await take(other)
    assert town.ways["other"].counts == {"sent": 5, "served": 5}
    assert town.counts["other"]["lost compares"] == 1
    newest = (await town.entries())[-1]
    assert [part.node for part in newest.parts] == ["holder", "other"]
    assert newest.part_of(newest.records[0]).node == "other"
    await town.check(held)


async def test_many_at_all_nodes_get_every_number_once_on_ways_that_lose_and_repeat(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "AVOIDED_S", 0.0)
    nodes = [await town.node(f"node-{at}") for at in range(4)]
    chance = random.Random(7)
    for way in town.ways.values():
        way.faults.extend(
            chance.choice((Fault.REQUEST_LOST, Fault.REPLY_LOST, Fault.TWICE, Fault.LATE))
            for _ in range(12)
        )
    held: list[int] = []

    async def client(serving: Sequencer) -> None:
        for _ in range(15):
            held.extend(await take(serving, chance.randint(1, 3)))

    await asyncio.gather(*(client(serving) for serving in nodes for _ in range(6)))
    for way in town.ways.values():
        while way.late:
            await way.deliver_late()
    await town.check(held)
    assert sum(counts["handed over"] for counts in town.counts.values()) > 0


@pytest.mark.parametrize("fault", [Fault.REQUEST_LOST, Fault.SILENT])
async def test_a_batch_that_did_not_arrive_is_committed_here(town: Town, fault: Fault) -> None:
    _, other = await town.pair()
    town.ways["other"].faults.append(fault)
    assert await take(other) == [5]
    assert (await town.entries())[-1].parts[0].node == "other"
    await town.check([1, 2, 3, 4, 5])


async def test_a_reply_lost_after_the_commit_brings_the_same_numbers(town: Town) -> None:
    _, other = await town.pair()
    town.ways["other"].faults.append(Fault.REPLY_LOST)
    assert await take(other, 3) == [5, 6, 7]
    assert [len(entry.records) for entry in await town.entries()] == [1] * 5
    await town.check([1, 2, 3, 4, 5, 6, 7])


async def test_what_arrives_after_its_sender_has_gone_on_is_declined(town: Town) -> None:
    _, other = await town.pair()
    way = town.ways["other"]
    way.faults.append(Fault.LATE)
    assert await take(other) == [5]
    assert isinstance(await way.deliver_late(), Declined)
    await town.check([1, 2, 3, 4, 5])


async def test_what_arrives_before_its_sender_has_gone_on_is_its_answer(quick_town: Town) -> None:
    _, other = await quick_town.pair()
    way = quick_town.ways["other"]
    way.faults.append(Fault.LATE)
    gone_on = asyncio.Event()
    commit = other._commit

    async def commit_later(*given: object) -> bool:
        await gone_on.wait()
        return await commit(*given)  # type: ignore[arg-type]

    other._commit = commit_later  # type: ignore[assignment,method-assign]
    taking = asyncio.create_task(take(other))
    await until(lambda: way.late, "the batch is on its way")
    assert await way.deliver_late() is None
    gone_on.set()
    assert await taking == [5]
    await quick_town.check([1, 2, 3, 4, 5])


async def test_a_batch_that_comes_twice_is_served_once(town: Town) -> None:
    _, other = await town.pair()
    way = town.ways["other"]
    way.faults.append(Fault.TWICE)
    assert await take(other) == [5]
    assert isinstance(await way.deliver_late(), NoReply), "it must not be told that it was declined"
    assert await take(other) == [6]
    await town.check([1, 2, 3, 4, 5, 6])


async def test_the_turn_of_a_node_that_is_gone_is_taken_over(town: Town) -> None:
    holder, other = await town.pair()
    third = await town.node("third")
    assert await take(third) == [5]
    await holder.stop(1)
    del town.nodes["holder"]
    assert await take(other) == [6]  # loses no compare: it takes the turn when it does
    assert await take(third) == [7]
    assert await take(other) == [8]
    assert await take(third) == [9]
    assert {entry.parts[0].node for entry in (await town.entries())[-2:]} <= {"other", "third"}
    assert town.counts["other"]["handed over"] + town.counts["third"]["handed over"] >= 2
    await town.check(list(range(1, 10)))


async def test_a_node_that_hands_over_itself_declines_and_nothing_is_lost(quick_town: Town) -> None:
    holder, other = await quick_town.pair()
    quick_town.ways["holder"].is_bad = True
    holder._handing.turn._holder = other._handing.turn.holder._replace(node="nobody")  # type: ignore[union-attr]
    holder._handing.turn._until_s = float("inf")
    assert await take(other) == [5]
    assert quick_town.ways["other"].counts["declined"] == 1
    await quick_town.check([1, 2, 3, 4, 5])


async def test_a_node_far_behind_is_served_and_stays_right(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.guests.RECENT_MAX", 2)
    holder, other = await town.pair()
    held = [1, 2, 3, 4]
    for _ in range(20):
        held += await take(holder)
    held += await take(other)  # the entries in between are not at hand
    assert other._replica.head is None
    held += await take(other)
    assert town.ways["other"].counts == {"sent": 2, "served": 2}
    town.ways["other"].is_bad = True
    held += await take(other)
    assert other._replica.head is not None
    await town.check(held)


async def test_a_node_far_behind_finds_out_what_became_of_its_batch(
    quick_town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.guests.RECENT_MAX", 2)
    holder, other = await quick_town.pair()
    held = [1, 2, 3, 4]
    for _ in range(5):
        held += await take(holder)
    held += await take(other)
    quick_town.ways["other"].faults.append(Fault.REPLY_LOST)
    assert other._replica.head is None
    held += await take(other, 2)
    await quick_town.check(held)


async def test_requests_of_one_name_are_told_apart(town: Town) -> None:
    _, other = await town.pair()
    asking = [ask(other, Issue(call("same"), quantity)) for quantity in (1, 2, 3)]
    answers = await asyncio.gather(*asking)
    assert [len(numbers_in(answer)) for answer in answers] == [1, 2, 3]
    await town.check([1, 2, 3, 4, *(n for answer in answers for n in numbers_in(answer))])


async def test_a_key_has_one_answer_by_way_of_any_node(town: Town) -> None:
    holder, other = await town.pair()
    town.ways["other"].faults.append(Fault.REPLY_LOST)
    first = await take(other, key="k", payload="p")
    for serving in (holder, other, other):
        again = await ask(serving, Issue(call(key="k", payload="p")))
        assert (numbers_in(again), again.replayed) == (first, True)  # type: ignore[union-attr]
        wrong = await ask(serving, Issue(call(key="k", payload="q"), 2))
        assert wrong == Refused(Why.KEY_REUSED, "k")
    both = [take(each, key="new", payload="p") for each in (holder, other)]
    one, two = await asyncio.gather(*both)
    assert one == two
    await town.check([1, 2, 3, 4, *first, *one])


async def test_a_release_by_way_of_another_node_needs_evidence_that_still_holds(town: Town) -> None:
    holder, other = await town.pair()
    assert isinstance(await ask(other, release(4)), Done)
    assert await ask(other, release(4)) == Refused(Why.ALREADY_FREE, "4")
    assert await ask(other, release(99)) == Refused(Why.NEVER_ISSUED, "99")
    stale = await other._evidence._history.holder(3)
    await ask(holder, release(3))
    elsewhere = call()._replace(origin=call().origin._replace(site="site-2"))
    assert numbers_in(await ask(holder, Issue(elsewhere))) == [3]  # another site holds it now
    pending = other._room.admit(sequencers.Ask(release(3), stale))
    other._enqueue(pending)
    assert await pending.reply == Refused(Why.OTHER_OWNER, "site-2/partition-a")
    assert town.ways["other"].counts["declined"] == 0
    await town.check([1, 2, 3], gaps=(4,))


async def test_a_batch_larger_than_a_transaction_is_served_in_the_end(quick_town: Town) -> None:
    limits = Limits(operations=16, requests=5)
    _, other = await quick_town.pair(limits=limits)
    taken = await asyncio.gather(*(take(other) for _ in range(23)))
    held = [number for numbers in taken for number in numbers]
    await quick_town.check([1, 2, 3, 4, *held])
    released = await asyncio.gather(*(ask(other, release(number)) for number in held))
    assert all(isinstance(answer, Done) for answer in released)
    await quick_town.check([1, 2, 3, 4], gaps=tuple(held))
    assert max(len(entry.records) for entry in await quick_town.entries()) <= 5


async def test_a_reset_is_done_by_the_node_that_was_asked(quick_town: Town) -> None:
    _, other = await quick_town.pair()
    town_records = [take(other), ask(other, Reset(call())), take(other)]
    await asyncio.gather(*town_records)
    resets = [e for e in await quick_town.entries() if isinstance(e.records[0], Restarted)]
    assert [entry.parts[0].node for entry in resets] == ["other"]
    assert len(await take(other)) == 1


async def test_numbers_of_callers_who_left_with_an_open_batch_come_back(
    quick_town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.guests.RECENT_MAX", 1)
    holder, other = await quick_town.pair()
    await take(holder)
    await take(holder)
    assert await take(other) == [7]  # from here on its replica is not loaded
    assert other._replica.head is None
    way = quick_town.ways["other"]
    way.faults.append(Fault.HELD)
    request = Issue(call(), 2)
    reply = other.submit(request)
    await until(lambda: way.counts["served"] == 2, "the batch is committed")
    reply.cancel()
    other.caller_left(request, reply)
    way.let_go.set()
    assert await take(other) == [10]
    await until(lambda: not other._unheard.is_busy, "the numbers are given back")
    given_back = [
        r for e in await quick_town.entries() for r in e.records if isinstance(r, Released)
    ]
    assert {(record.number, record.reason) for record in given_back} == {
        (8, REASON),
        (9, REASON),
    }
    await quick_town.check([1, 2, 3, 4, 5, 6, 7, 10], gaps=(8, 9))


async def test_at_the_deadline_an_open_batch_is_called_unknown(quick_town: Town) -> None:
    _, other = await quick_town.pair(deadline_s=0.5)
    way = quick_town.ways["other"]
    way.faults.append(Fault.HELD)
    with pytest.raises(OutcomeUnknown):
        await other.submit(Issue(call()))
    way.let_go.set()
    assert await take(other) == [6]
    await quick_town.check([1, 2, 3, 4, 5, 6])
