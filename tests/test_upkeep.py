"""Upkeep of a real etcd of three members, while numbers are being issued."""

import asyncio
from collections.abc import Iterator
from itertools import count

import pytest
from serving import CALL, KEYS, node
from support import etcdctl
from watched import Watched

from coordinator.clock import now_ms
from coordinator.config import Settings
from coordinator.core.keys import Keys
from coordinator.core.requests import Done, Issue
from coordinator.history import History
from coordinator.jobs.upkeep import Upkeep
from coordinator.store import Store
from coordinator.store.etcd import EtcdStore
from coordinator.store.members import Members
from coordinator.store.memory import MemoryStore

JUNK = "x" * 500_000
REVISIONS_KEPT = 5


@pytest.fixture(scope="module")
def members3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    watched = Watched(tmp_path_factory.mktemp("upkeep"))
    watched.until_healthy()
    yield [member.client_url for member in watched.members.members]
    watched.stop()


class Spied(Members):
    """Notes who is defragmented, and how many at the same time."""

    def __init__(self, endpoints: tuple[str, ...]) -> None:
        super().__init__(endpoints)
        self.order: list[str] = []
        self.now = self.most = 0

    async def defragment(self, url: str) -> None:
        leader = next(m.url for m in (await self.look()).values() if m and m.is_leader)
        self.order.append("leader" if url == leader else "follower")
        self.now += 1
        self.most = max(self.most, self.now)
        await super().defragment(url)
        self.now -= 1


def upkeep_of(store: Store, members: Members, endpoints: list[str], name: str) -> Upkeep:
    settings = Settings(
        node_id=name,
        etcd_endpoints=",".join(endpoints),
        upkeep_every_s=60,
        revisions_kept=REVISIONS_KEPT,
    )
    return Upkeep(store, members, Keys(), settings, bytes_min=2**20)


def largest(upkeep: Upkeep) -> int:
    return max(member.bytes for member in upkeep.space.members.values() if member)


async def test_members_are_compacted_and_defragmented_one_by_one_while_numbers_flow(
    members3: list[str],
) -> None:
    endpoints = tuple(members3)
    store = EtcdStore(endpoints)
    for serial in range(40):
        await asyncio.to_thread(etcdctl, members3[0], "put", f"/junk/{serial}", given=JUNK)
    await asyncio.to_thread(etcdctl, members3[0], "del", "--prefix", "/junk/")
    for _ in range(REVISIONS_KEPT):
        await asyncio.to_thread(etcdctl, members3[0], "put", "/other", "x")
    serving = node(store)  # type: ignore[arg-type]
    stopped = asyncio.Event()

    async def client() -> int:
        for served in count():
            assert isinstance(await serving.submit(Issue(CALL)), Done)
            if stopped.is_set():
                return served + 1
        raise AssertionError

    clients = [asyncio.create_task(client()) for _ in range(4)]
    spied, idle = Spied(endpoints), Spied(endpoints)
    ours, theirs = (upkeep_of(store, m, members3, n) for n, m in (("a", spied), ("b", idle)))
    await ours.look()
    before = largest(ours)
    assert before > 20_000_000
    ours._bytes_min = 2**40
    await ours.tend()  # compacts; a member frees the space a moment later
    ours._bytes_min = 2**20
    for _ in range(300):
        await ours.look()
        if len(ours._who_needs_it()) == 3:
            break
        await asyncio.sleep(0.1)
    await ours.tend()
    await theirs.look()
    await theirs.tend()
    stopped.set()
    served = sum(await asyncio.gather(*clients))

    assert (spied.order, spied.most) == (["follower", "follower", "leader"], 1)
    assert idle.order == []  # it is not its turn
    await ours.look()
    assert largest(ours) < before / 2
    verdict = await History(store, KEYS).prove(start=1)
    assert (verdict.valid, verdict.highest) == (True, served)
    await serving.stop(grace_s=1)
    for each in (ours, theirs, store):
        await each.close() if isinstance(each, EtcdStore) else each.close()


async def test_a_full_database_and_an_alarm_are_told_in_time(members3: list[str]) -> None:
    members = Members(tuple(members3))
    settings = Settings(etcd_endpoints=",".join(members3), etcd_quota_bytes=1_000)
    upkeep = Upkeep(MemoryStore(), members, Keys(), settings)
    await upkeep.look()
    assert len(upkeep.space.warnings) == 3
    assert "--quota-backend-bytes" in upkeep.space.warnings[0]
    upkeep.close()


@pytest.mark.parametrize(
    ("turn", "is_ours"),
    [
        ('{"node":"other","until_ms":%d}', False),
        ('{"node":"a","until_ms":%d}', True),
        ('{"node":"other","until_ms":1}', True),
        ('{"node":"other","until_ms":%d0}', True),  # written by a clock that was wrong
        ('{"node":"other"}', True),
        ("nonsense", True),
        ('["other",1]', True),
    ],
)
async def test_a_turn_ends_and_nonsense_is_no_turn(turn: str, is_ours: bool) -> None:  # noqa: FBT001
    store = MemoryStore()
    soon_ms = now_ms() + 30_000
    store._set(Keys().upkeep, (turn.replace("%d", str(soon_ms))).encode())
    upkeep = upkeep_of(store, Members(("http://127.0.0.1:9",)), ["http://127.0.0.1:9"], "a")
    assert await upkeep.is_our_role() is is_ours
    upkeep.close()
