"""Sites share a counter: one that floods waits for itself, the others hardly notice."""

import asyncio
import random
import statistics
import time
from collections import Counter
from itertools import count

import pytest
from serving import HERE, KEYS, QUIET, alone

from coordinator.clock import now
from coordinator.core.plan import Limits, Rules
from coordinator.core.requests import AcceptLoss, Ask, Call, Done, Issue
from coordinator.core.transaction import Transaction
from coordinator.history import History
from coordinator.sequencer import Sequencer
from coordinator.service import Bounds, Node, Overloaded, TooLate
from coordinator.store import Outcome
from coordinator.store.memory import MemoryStore
from coordinator.waiting import Pending, WaitingRoom
from coordinator.witness import Witness

NAMES = count(1)


def of(site: str) -> Issue:
    return Issue(Call(HERE._replace(site=site), f"c-{next(NAMES)}", 0))


def room(queue_max: int = 1_000) -> WaitingRoom:
    return WaitingRoom(Bounds(queue_max, 60.0), lambda _: TooLate("x"))


def let_in(waiting: WaitingRoom, site: str, times: int = 1) -> list[Pending]:
    some = []
    for _ in range(times):
        request = of(site)
        waiting.check_room(request)
        some.append(waiting.admit(Ask(request)))
        waiting.enqueue(some[-1])
    return some


def sites(batch: list[Pending]) -> list[str]:
    return [pending.ask.request.call.origin.site for pending in batch]


async def test_a_batch_takes_from_all_sites_alike_and_each_share_stands_together() -> None:
    waiting = room()
    flood, few, some = (let_in(waiting, s, n) for s, n in (("a", 100), ("b", 3), ("c", 20)))
    batch = waiting.take(30)
    assert Counter(sites(batch)) == {"a": 14, "b": 3, "c": 13}
    assert batch[:10] == flood[:10]
    assert [p for p in batch if p in few] == few
    rest = waiting.take(1_000)
    assert [p for p in batch + rest if p in flood] == flood, "each site's in their order"
    assert [p for p in batch + rest if p in some] == some
    assert not waiting.has_queue
    waiting.close()


async def test_small_batches_go_round() -> None:
    waiting = room()
    let_in(waiting, "a", 5)
    let_in(waiting, "b", 2)
    taken = [sites(waiting.take(1))[0] for _ in range(3)]
    let_in(waiting, "c")
    taken += [sites(waiting.take(1))[0] for _ in range(5)]
    assert "".join(taken) == "ababacaa"
    waiting.close()


async def test_who_is_put_back_goes_first() -> None:
    waiting = room()
    let_in(waiting, "a", 10)
    batch = waiting.take(4)
    let_in(waiting, "b", 10)
    waiting.put_back(batch)
    assert waiting.take(3) == batch[:3]
    assert waiting.take(3)[0] is batch[3]
    waiting.close()


async def test_a_site_may_hold_as_many_places_as_are_free() -> None:
    waiting = room(queue_max=16)
    for site, places in (("a", 8), ("b", 4), ("c", 2), ("d", 1)):
        held = let_in(waiting, site, places)
        with pytest.raises(Overloaded, match=f"{places} requests of {site} wait already"):
            let_in(waiting, site)
    operator = AcceptLoss(Call(HERE._replace(site=""), "operator", 0), 5, "", "x")
    waiting.check_room(operator)
    waiting.admit(Ask(operator))
    with pytest.raises(Overloaded, match="16 requests wait already"):
        let_in(waiting, "e")
    waiting.fail(held, TooLate("x"))
    let_in(waiting, "e")
    waiting.close()


async def test_who_leaves_frees_the_place_of_the_site() -> None:
    waiting = room(queue_max=4)
    for _ in range(20):
        for pending in let_in(waiting, "a", 2):
            pending.reply.cancel()
        await asyncio.sleep(0.06)  # a sweep
    assert waiting.take(10) == []
    await asyncio.sleep(0.12)
    assert waiting.is_deserted
    assert not waiting._lines
    waiting.close()


@pytest.mark.parametrize("seed", range(20))
async def test_everybody_is_taken_once_in_the_order_of_their_site(seed: int) -> None:
    chance, waiting = random.Random(seed), room(queue_max=200)
    asked: dict[str, list[Pending]] = {site: [] for site in "abc"}
    served: list[Pending] = []
    for _ in range(400):
        site = chance.choice("aaaaab" if chance.random() < 0.9 else "c")
        try:
            asked[site] += let_in(waiting, site)
        except Overloaded:
            assert site == "a"
        if chance.random() < 0.1:
            batch = waiting.take(chance.randint(1, 20))
            if chance.random() < 0.3:
                waiting.put_back(batch)
                continue
            for pending in batch:
                waiting.settle(pending, Done(None, None))  # type: ignore[arg-type]
            served += batch
    served += waiting.take(1_000)
    for site, pendings in asked.items():
        assert [p for p in served if p in set(pendings)] == pendings, site
    waiting.close()


class SlowStore(MemoryStore):
    """Each commit takes a while."""

    async def commit(self, transaction: Transaction) -> Outcome:
        await asyncio.sleep(0.01)
        return await super().commit(transaction)


async def test_a_flood_of_one_site_neither_delays_nor_refuses_another() -> None:
    store, rules = SlowStore(), Rules(limits=Limits(requests=20))
    bounds = Bounds(queue_max=1_000, deadline_s=30.0)
    witness, serials = Witness(), count(1).__next__
    serving = Sequencer(
        *(store, KEYS, Node("n", "n"), rules, bounds, now, QUIET, witness, serials, alone("n"))
    )
    serving.start()
    theirs: list[float] = []
    refused, flooding = 0, True

    async def ask(site: str) -> float:
        began = time.monotonic()
        assert isinstance(await serving.submit(of(site)), Done)
        return time.monotonic() - began

    async def flood() -> None:
        nonlocal refused
        while flooding:
            try:
                theirs.append(await ask("site-1"))
            except Overloaded:
                refused += 1
                await asyncio.sleep(0.02)

    floods = [asyncio.create_task(flood()) for _ in range(800)]
    await asyncio.sleep(0.5)
    ours = [await ask("site-2") for _ in range(10)]
    assert refused, "the flood is one"
    flooding = False
    await asyncio.gather(*floods)
    assert statistics.median(ours) < statistics.median(theirs) / 4
    await serving.stop(grace_s=1)
    assert (await History(store, KEYS).prove(start=1)).valid
