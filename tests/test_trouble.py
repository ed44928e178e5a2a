"""Stores that refuse, go away, come back older, or lost a key: what callers are told, and when it
is over.
"""

import asyncio
import contextlib
import copy

import pytest
from serving import CALL, HERE, KEYS, Switch, node, take, until

from coordinator import commit as commits
from coordinator import sequencer as sequencers
from coordinator.core.request_keys import KeyTables
from coordinator.core.requests import Call, Done, Issue, Release
from coordinator.core.transaction import Range
from coordinator.core.verify import Break
from coordinator.faults import Damaged, Rewound
from coordinator.history import History
from coordinator.replica import CATCH_UP_MAX, Replica
from coordinator.service import OutcomeUnknown, Overloaded, StoreDown
from coordinator.store.memory import MemoryStore
from coordinator.witness import Witness


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (commits, sequencers):
        monkeypatch.setattr(module, "PAUSE_FIRST_S", 0.001)
        monkeypatch.setattr(module, "PAUSE_LONGEST_S", 0.01)


async def test_a_store_that_refuses_is_no_doubt_and_trouble_ends_by_itself() -> None:
    switch = Switch(MemoryStore())
    serving = node(switch, deadline_s=0.3)
    assert await take(serving) == [1]
    switch.refuses = True
    with pytest.raises(StoreDown, match="connection refused"):
        await take(serving)
    assert serving.trouble
    switch.refuses = False
    await until(lambda: not serving.trouble, "the node notices without a request")
    assert await take(serving) == [2]
    await serving.stop(grace_s=1)


async def test_while_a_commit_is_in_doubt_the_node_says_so_and_then_adopts_it() -> None:
    switch = Switch(MemoryStore())
    serving = node(switch)
    switch.loses_replies = True
    asked = asyncio.ensure_future(take(serving))
    await until(lambda: "in doubt" in serving.trouble, "trouble is told")
    switch.loses_replies = False
    assert await asked == [1]
    await until(lambda: not serving.trouble, "trouble is over")
    assert await take(serving) == [2]
    await serving.stop(grace_s=1)


async def test_what_is_in_doubt_for_good_is_told_and_never_planned_anew() -> None:
    switch = Switch(MemoryStore())
    serving = node(switch, deadline_s=1.0)
    assert await take(serving) == [1]
    switch.loses_replies = True
    asked = asyncio.ensure_future(take(serving))
    await until(lambda: "in doubt" in serving.trouble, "trouble is told")
    switch.store._set(KEYS.entry(2), None)  # somebody trimmed what would have told
    switch.loses_replies = False
    with pytest.raises(OutcomeUnknown, match="entry 2 is gone"):
        await asked
    with pytest.raises(StoreDown):
        await take(serving)
    head = await History(switch.store, KEYS).head()
    assert head is not None
    assert head.next == 3
    await serving.stop(grace_s=0)


@pytest.mark.parametrize("forked", [False, True])
async def test_a_store_restored_from_a_backup_is_refused(forked: bool) -> None:  # noqa: FBT001
    switch = Switch(MemoryStore())
    serving = node(switch, deadline_s=0.5)
    await take(serving, 3)
    backup = copy.deepcopy(switch.store)
    for _ in range(5):
        await take(serving)
    if forked:  # others have gone on from the backup, further than this node had come
        other = node(backup, "node-2")
        for _ in range(9):
            await take(other)
        await other.stop(grace_s=1)
    switch.store = backup
    before = await History(backup, KEYS).head()
    for _ in range(2):
        with pytest.raises(StoreDown, match="does not continue"):
            await take(serving)
    assert await History(backup, KEYS).head() == before
    await serving.stop(grace_s=0)


@pytest.mark.parametrize("behind", [1, 8, 9, 100, CATCH_UP_MAX, CATCH_UP_MAX + 10])
async def test_a_node_that_is_behind_catches_up_and_goes_on(behind: int) -> None:
    store = MemoryStore()
    idle, busy = node(store, "node-1"), node(store, "node-2")
    await take(idle, 5)
    await idle.submit(Release(CALL, 4, "x"))
    for expected in ([4], *([n] for n in range(6, 5 + behind))):
        assert await take(busy) == expected
    assert await take(idle) == [5 + behind]
    await idle.stop(grace_s=1)
    await busy.stop(grace_s=1)
    assert (await History(store, KEYS).prove(start=1)).valid


async def test_head_and_gap_keys_that_contradict_each_other_are_not_served() -> None:
    store = MemoryStore()
    serving = node(store)
    await take(serving, 5)
    await serving.submit(Release(CALL, 4, "x"))
    await serving.stop(grace_s=1)
    store._set(KEYS.gap(4), None)
    with pytest.raises(Damaged, match="counts 1 gaps, the store has 0"):
        await Replica(store, KEYS, 1, Witness()).state()
    store._set(KEYS.gap(4), b"nonsense")
    with pytest.raises(Damaged, match="cannot be read"):
        await Replica(store, KEYS, 1, Witness()).state()


async def test_a_head_that_is_gone_or_put_back_is_not_served() -> None:
    store = MemoryStore()
    serving = node(store)
    for _ in range(5):
        await take(serving)
    early = (await store.read(Range(KEYS.head))).found[0][0].value
    for _ in range(3):
        await take(serving)
    await serving.stop(grace_s=1)
    for value, kind in ((early, Break.BEYOND_HEAD), (None, Break.HEAD_MISSING)):
        store._set(KEYS.head, value)
        with pytest.raises(Damaged, match="goes on after"):
            await Replica(store, KEYS, 1, Witness()).state()
        verdict = await History(store, KEYS).prove(start=1)
        assert [finding.kind for finding in verdict.findings] == [kind]
    store._set(KEYS.head, early)
    for index in (6, 7, 8):
        store._set(KEYS.entry(index), None)
    store._set(KEYS.entry(5), (await store.read(Range(KEYS.entry(4)))).found[0][0].value)
    with pytest.raises(Damaged, match="not the one that the head names"):
        await Replica(store, KEYS, 1, Witness()).state()


@pytest.mark.parametrize("name", [b"foo", b"entryx", b"headx", b"zzz", b"gap/1", b"entry/x"])
async def test_any_other_key_of_the_counter_is_found_by_the_proof(name: bytes) -> None:
    store = MemoryStore()
    serving = node(store)
    await take(serving, 3)
    await serving.submit(Release(CALL, 2, "x"))
    await serving.stop(grace_s=1)
    assert (await History(store, KEYS).prove(start=1)).valid
    store._set(KEYS.prefix + name, b"x")
    assert not (await History(store, KEYS).prove(start=1)).valid


async def test_a_request_that_cannot_be_planned_fails_alone() -> None:
    serving = node(MemoryStore())
    poison = Call(HERE._replace(user="\ud800"), "c", 0)  # no edge lets this through
    calls = [CALL, CALL, poison, CALL]
    outcomes = await asyncio.gather(
        *(serving.submit(Issue(call)) for call in calls), return_exceptions=True
    )
    assert isinstance(outcomes[2], TypeError)
    numbers = [o.record.numbers() for o in outcomes if isinstance(o, Done)]  # type: ignore[union-attr]
    assert numbers == [[1], [2], [3]]
    assert await take(serving) == [4]
    await serving.stop(grace_s=1)


async def test_an_emptied_store_is_refused() -> None:
    switch = Switch(MemoryStore())
    serving = node(switch, deadline_s=0.5)
    await take(serving)
    switch.store = MemoryStore()
    with pytest.raises(StoreDown, match="does not continue"):
        await take(serving)
    assert issubclass(Rewound, Exception)
    assert await History(switch.store, KEYS).head() is None
    await serving.stop(grace_s=0)


async def test_callers_who_left_while_waiting_get_no_number() -> None:
    switch = Switch(MemoryStore())
    serving = node(switch)
    assert await take(serving) == [1]
    switch.refuses = True
    waiting = [serving.submit(Issue(CALL)) for _ in range(5)]
    await asyncio.sleep(0.05)
    for each in waiting:
        each.cancel()
    switch.refuses = False
    assert await take(serving) == [2]
    await serving.stop(grace_s=1)


def test_the_latest_keys_are_known_and_the_oldest_forgotten() -> None:
    keys = KeyTables(remembered=100, per_table=20)
    for digest in range(1, 301):
        keys.add([(digest, 1_000 + digest)])
        assert keys.find(digest) == (1_000 + digest,)
        oldest = max(1, digest - 99)
        assert keys.find(oldest) == (1_000 + oldest,)
    assert keys.find(50) == ()
    keys.add([(300, 5)])  # two keys with the same digest are both candidates
    assert set(keys.find(300)) == {1_300, 5}


async def test_what_waits_is_bounded_while_a_commit_is_in_doubt() -> None:
    switch = Switch(MemoryStore())
    serving = node(switch, deadline_s=0.2, queue_max=50)
    switch.loses_replies = True
    replies = []
    for _ in range(300):
        with contextlib.suppress(Overloaded):
            replies.append(serving.submit(Issue(CALL)))
        await asyncio.sleep(0.005)
        if len(replies) % 3 == 0:
            replies[-1].cancel()
    assert len(replies) > 100  # places come free although nothing is committed
    assert sum(len(line.queue) for line in serving._room._lines.values()) <= 50
    switch.loses_replies = False
    await asyncio.gather(*replies, return_exceptions=True)
    await take(serving)
    await serving.stop(grace_s=1)
