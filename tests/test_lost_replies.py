"""Several sequencers on a store whose network loses replies, refuses, and delivers late."""

import asyncio
import random
from itertools import count

import pytest
from serving import alone
from support import LossyStore

from coordinator import commit as commits
from coordinator import sequencer as sequencers
from coordinator.core.keys import Keys
from coordinator.core.plan import Rules
from coordinator.core.records import Issued, Origin
from coordinator.core.requests import Call, Instant, Issue, Refused, Release
from coordinator.core.transaction import Range
from coordinator.history import History
from coordinator.sequencer import Sequencer
from coordinator.service import Bounds, Node, OutcomeUnknown, Overloaded, TooLate, Watcher
from coordinator.store import Snapshot
from coordinator.store.memory import MemoryStore
from coordinator.witness import Witness

KEYS = Keys().counter("invoice")
HERE = Origin("site-1", "partition-a", "on-cycle")
QUIET = Watcher(lambda _: None, lambda *_: None, lambda: None, lambda: None)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (commits, sequencers):
        monkeypatch.setattr(module, "PAUSE_FIRST_S", 0.0)
        monkeypatch.setattr(module, "PAUSE_LONGEST_S", 0.0)


def node(store: LossyStore, name: str, ticks: "count[int]", **bounds: float) -> Sequencer:
    serving = Sequencer(
        store,
        KEYS,
        Node(name, name),
        Rules(),
        Bounds(**{"deadline_s": 60.0} | bounds),
        lambda: Instant(1_000 * next(ticks), next(ticks)),
        QUIET,
        Witness(),
        count(1).__next__,
        alone(name),
    )
    serving.start()
    return serving


@pytest.mark.parametrize("seed", range(40))
async def test_no_lost_reply_doubles_or_loses_a_number(seed: int) -> None:
    truth = MemoryStore()
    ticks = count(1)
    stores = [LossyStore(truth, seed * 10 + i, trouble=0.4) for i in range(3)]
    nodes = [node(store, f"node-{i}", ticks) for i, store in enumerate(stores)]
    chance = random.Random(seed)
    held: dict[int, int] = {}

    async def client(serial: int) -> None:
        for _ in range(12):
            at = chance.choice(nodes)
            mine = [number for number, owner in held.items() if owner == serial]
            call = Call(HERE, f"client-{serial}", 0)
            if mine and chance.random() < 0.3:
                number = chance.choice(mine)
                del held[number]  # from here on it may be anybody's
                answer = await at.submit(Release(call, number, "not needed"))
                assert not isinstance(answer, Refused)
            else:
                answer = await at.submit(Issue(call, chance.randint(1, 3)))
                assert not isinstance(answer, Refused)
                assert isinstance(answer.record, Issued)
                for number in answer.record.numbers():
                    assert number not in held, "two hold the same number"
                    held[number] = serial

    await asyncio.gather(*(client(serial) for serial in range(8)))
    for serving in nodes:
        await serving.stop(grace_s=5)

    verdict = await History(truth, KEYS).prove(start=1)
    assert verdict.valid, verdict.findings
    # Every number that somebody was told of is theirs, and every other one is a gap.
    assert set(held) | set(verdict.gaps) == set(range(1, verdict.highest + 1))
    assert not set(held) & set(verdict.gaps)


async def test_the_faults_really_happen() -> None:
    truth = MemoryStore()
    store = LossyStore(truth, seed=1, trouble=0.6)
    serving = node(store, "node-1", count(1))
    for _ in range(60):
        await serving.submit(Issue(Call(HERE, "c", 0)))
    await serving.stop(grace_s=5)
    assert store.replies_lost > 5


class SilentStore(MemoryStore):
    """Takes transactions and never answers them."""

    async def commit(self, transaction: object) -> object:  # type: ignore[override]
        await asyncio.sleep(3600)
        raise AssertionError


async def test_a_commit_in_doubt_at_the_deadline_is_called_unknown_and_the_queue_too_late() -> None:
    serving = node(SilentStore(), "node-1", count(1), deadline_s=0.2)  # type: ignore[arg-type]
    sent = serving.submit(Issue(Call(HERE, "c", 0)))
    await asyncio.sleep(0.05)
    waiting = serving.submit(Issue(Call(HERE, "c", 0)))
    with pytest.raises(OutcomeUnknown):
        await sent
    with pytest.raises(TooLate):
        await waiting
    await serving.stop(grace_s=0)


class SlowToLoad(MemoryStore):
    """Answers reads late."""

    async def read(self, *ranges: Range, revision: int = 0) -> Snapshot:
        await asyncio.sleep(0.4)
        return await super().read(*ranges, revision=revision)


async def test_who_was_told_that_nothing_is_allocated_gets_nothing_later() -> None:
    store = SlowToLoad()
    serving = node(store, "node-1", count(1), deadline_s=0.5)  # type: ignore[arg-type]
    with pytest.raises(TooLate):
        await serving.submit(Issue(Call(HERE, "c", 0)))
    await asyncio.sleep(2)  # by now the counter is loaded
    answer = await serving.submit(Issue(Call(HERE, "c", 0)))
    assert not isinstance(answer, Refused)
    assert answer.record.numbers() == [1]
    await serving.stop(grace_s=0)


async def test_a_full_queue_refuses_at_once() -> None:
    serving = node(SilentStore(), "node-1", count(1), queue_max=5)  # type: ignore[arg-type]
    waiting = [serving.submit(Issue(Call(HERE, "c", 0)))]
    await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    waiting += [serving.submit(Issue(Call(HERE, "c", 0))) for _ in range(2)]
    with pytest.raises(Overloaded):
        serving.submit(Issue(Call(HERE, "c", 0)))
    await serving.stop(grace_s=0)
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [OutcomeUnknown, TooLate, TooLate]
