"""What every store must do, run against the real one and the one in memory."""

import asyncio
import uuid

import pytest
from etcd3gw.client import Etcd3Client
from support import free_port
from tcp_proxy import TcpProxy

from coordinator.core.transaction import Delete, Guard, Put, Range, Transaction, prefix_end
from coordinator.store import (
    Committed,
    Compacted,
    Conflict,
    NotCommitted,
    Rejected,
    Store,
    StoreError,
    Unavailable,
    Unknown,
)
from coordinator.store.etcd import EtcdStore
from coordinator.store.memory import MemoryStore
from coordinator.store.outcomes import outcome_of
from coordinator.store.paging import all_of


@pytest.fixture
def prefix() -> bytes:
    return f"/{uuid.uuid4().hex}/".encode()


NEW = Guard(b"")


def guarded(prefix: bytes, guard: Guard, *writes: Put | Delete) -> Transaction:
    head = prefix + b"head"
    everything = Range(prefix + b"entry/", prefix_end(prefix + b"entry/"))
    return Transaction(guard._replace(key=head), writes, (Range(head), everything))


async def put(store: Store, prefix: bytes, guard: Guard, **values: bytes) -> Guard:
    writes = [Put(prefix + name.replace("_", "/").encode(), v) for name, v in values.items()]
    outcome = await store.commit(guarded(prefix, guard, *writes))
    assert isinstance(outcome, Committed)
    return Guard(prefix + b"head", outcome.revision, values.get("head", guard.value))


async def test_a_guard_at_zero_means_that_the_key_does_not_exist(
    store: Store, prefix: bytes
) -> None:
    first = await put(store, prefix, NEW, head=b"1")
    (found,) = (await store.read(Range(prefix + b"head"))).found
    assert (found[0].value, found[0].revision) == (b"1", first.revision)
    assert isinstance(await store.commit(guarded(prefix, NEW, Put(prefix + b"x", b""))), Conflict)


async def test_a_moved_guard_writes_nothing_and_returns_the_ranges(
    store: Store, prefix: bytes
) -> None:
    first = await put(store, prefix, NEW, head=b"1", entry_1=b"one")
    second = await put(store, prefix, first, head=b"2", entry_2=b"two")
    outcome = await store.commit(guarded(prefix, first, Put(prefix + b"entry/3", b"lost")))
    assert isinstance(outcome, Conflict)
    head, entries = outcome.found
    assert [(kv.value, kv.revision) for kv in head] == [(b"2", second.revision)]
    assert [kv.value for kv in entries] == [b"one", b"two"]


async def test_the_same_revision_of_another_history_is_no_match(
    store: Store, prefix: bytes
) -> None:
    first = await put(store, prefix, NEW, head=b"1")
    elsewhere = first._replace(value=b"written elsewhere")
    outcome = await store.commit(guarded(prefix, elsewhere, Put(prefix + b"x", b"")))
    assert isinstance(outcome, Conflict)
    assert isinstance(await store.commit(guarded(prefix, first)), Committed)


async def test_the_same_transaction_sent_twice_commits_once(store: Store, prefix: bytes) -> None:
    transaction = guarded(prefix, NEW, Put(prefix + b"head", b"1"))
    assert isinstance(await store.commit(transaction), Committed)
    assert isinstance(await store.commit(transaction), Conflict)


async def test_a_transaction_without_writes_proves_the_guard_and_moves_nothing(
    store: Store, prefix: bytes
) -> None:
    first = await put(store, prefix, NEW, head=b"1")
    assert await store.commit(guarded(prefix, first)) == Committed(first.revision)
    later = first._replace(revision=first.revision + 1)
    assert isinstance(await store.commit(guarded(prefix, later)), Conflict)
    assert isinstance(
        await store.commit(guarded(prefix, first, Put(prefix + b"a", b""))), Committed
    )


async def test_a_range_delete_takes_exactly_its_keys(store: Store, prefix: bytes) -> None:
    first = await put(store, prefix, NEW, head=b"1", entry_1=b"", entry_2=b"", entry_3=b"")
    span = Delete(prefix + b"entry/1", prefix + b"entry/3")
    await store.commit(guarded(prefix, first, span))
    (left,) = (await store.read(Range(prefix + b"entry/", prefix_end(prefix + b"entry/")))).found
    assert [kv.key for kv in left] == [prefix + b"entry/3"]


async def test_ranges_come_in_key_order_limited_and_as_bytes(store: Store, prefix: bytes) -> None:
    value = bytes(range(256))
    await put(store, prefix, NEW, entry_2=value, entry_1=b"", entry_10=b"x")
    span = Range(prefix + b"entry/", prefix_end(prefix + b"entry/"))
    wanted = span, span._replace(limit=2), span._replace(keys_only=True)
    all_, some, bare = (await store.read(*wanted)).found
    names = [kv.key.rsplit(b"/", 1)[1] for kv in all_]
    assert names == [b"1", b"10", b"2"]
    assert [kv.value for kv in all_] == [b"", b"x", value]
    assert some == all_[:2]
    assert bare == tuple(kv._replace(value=b"") for kv in all_)


async def test_a_revision_shows_the_store_as_it_was(store: Store, prefix: bytes) -> None:
    first = await put(store, prefix, NEW, head=b"1", entry_1=b"")
    snapshot = await store.read(Range(prefix + b"head"))
    await store.commit(
        guarded(prefix, first, Put(prefix + b"head", b"2"), Delete(prefix + b"e", prefix + b"f"))
    )
    span = Range(prefix + b"entry/", prefix_end(prefix + b"entry/"))
    head, entries = (
        await store.read(Range(prefix + b"head"), span, revision=snapshot.revision)
    ).found
    assert head[0].value == b"1"
    assert len(entries) == 1


async def test_a_compacted_revision_is_refused(store: Store, prefix: bytes, etcd: str) -> None:
    first = await put(store, prefix, NEW, head=b"1")
    second = await put(store, prefix, first, head=b"2")
    if isinstance(store, MemoryStore):
        store.compact()
    else:
        port = int(etcd.rsplit(":", 1)[1])
        Etcd3Client(host="127.0.0.1", port=port, api_path="/v3/").post(
            f"{etcd}/v3/kv/compaction", json={"revision": str(second.revision), "physical": True}
        )
    with pytest.raises(Compacted):
        await store.read(Range(prefix + b"head"), revision=first.revision)
    (found,) = (await store.read(Range(prefix + b"head"))).found
    assert found[0].value == b"2"


async def test_pages_of_a_range_lose_and_repeat_nothing(store: Store, prefix: bytes) -> None:
    values = {f"entry_{i:03}": b"" for i in range(25)}
    await put(store, prefix, NEW, **values)
    span = Range(prefix + b"entry/", prefix_end(prefix + b"entry/"))
    pages = [page async for page in all_of(store, span, page=10)]
    assert [len(page) for page in pages] == [10, 10, 5]
    assert len({kv.key for page in pages for kv in page}) == 25


async def test_each_of_several_guards_holds_the_whole_transaction_back(
    store: Store, prefix: bytes
) -> None:
    first = await put(store, prefix, NEW, head=b"1", other=b"1")
    guards = [
        Guard(prefix + b"other", first.revision, b"1"),
        Guard(prefix + b"new"),
        Guard(prefix + b"head", first.revision, b"1"),
    ]
    moved = [
        guards[0]._replace(revision=first.revision + 1),
        guards[0]._replace(value=b"written elsewhere"),
        guards[1]._replace(revision=first.revision),
    ]
    wanted = guarded(prefix, first, Put(prefix + b"other", b"2"), Put(prefix + b"new", b"2"))
    for bad in moved:
        others = tuple(guard for guard in guards if guard.key != bad.key)
        assert isinstance(await store.commit(wanted._replace(also=(*others, bad))), Conflict)
        assert isinstance(await store.commit(wanted._replace(also=(bad, *others))), Conflict)
    held = wanted._replace(also=tuple(guards))
    assert isinstance(await store.commit(held._replace(writes=())), Committed)
    assert isinstance(await store.commit(held), Committed)
    assert isinstance(await store.commit(held), Conflict)
    (found,) = (await store.read(Range(prefix, prefix_end(prefix)))).found
    assert [kv.value for kv in found] == [b"1", b"2", b"2"]


async def test_as_many_guards_as_operations_are_taken_and_no_more(
    store: Store, prefix: bytes
) -> None:
    absent = tuple(Guard(prefix + b"%d" % n) for n in range(128))
    wanted = guarded(prefix, NEW, Put(prefix + b"x", b""))._replace(guard=absent[0])
    assert wanted._replace(also=absent[1:]).operations == 128
    assert isinstance(await store.commit(wanted._replace(also=absent[1:])), Committed)
    with pytest.raises(Rejected):
        await store.commit(wanted._replace(also=absent))


@pytest.mark.parametrize("what", ["operations", "bytes", "twice", "put and deleted"])
async def test_what_the_members_never_take_is_rejected(
    store: Store, prefix: bytes, what: str
) -> None:
    writes: dict[str, list[Put | Delete]] = {
        "operations": [Put(prefix + b"%d" % i, b"") for i in range(129)],
        "bytes": [Put(prefix + b"a", bytes(1_600_000))],
        "twice": [Put(prefix + b"a", b"1"), Put(prefix + b"a", b"2")],
        "put and deleted": [Put(prefix + b"a", b"1"), Delete(prefix + b"a", prefix + b"b")],
    }
    with pytest.raises(Rejected):
        await store.commit(guarded(prefix, NEW, *writes[what]))
    assert isinstance(await store.commit(guarded(prefix, NEW)), Committed)


async def test_a_lease_takes_its_key_along(store: Store, prefix: bytes) -> None:
    lease = await store.grant(60)
    await store.put_alive(prefix + b"node", b"here", lease)
    assert await store.keep_alive(lease)
    await store.revoke(lease)
    (found,) = (await store.read(Range(prefix + b"node"))).found
    assert found == ()
    assert not await store.keep_alive(lease)
    with pytest.raises(StoreError):
        await store.put_alive(prefix + b"node", b"late", lease)


async def test_a_lease_that_is_not_renewed_runs_out_in_memory() -> None:
    now = 0.0
    store = MemoryStore(lambda: now)
    await store.put_alive(b"node", b"here", await store.grant(5))
    now = 5.0
    assert (await store.read(Range(b"node"))).found == ((),)


async def test_where_nobody_listens_nothing_was_committed(prefix: bytes) -> None:
    store = EtcdStore((f"http://127.0.0.1:{free_port()}",))
    with pytest.raises(NotCommitted):
        await store.commit(guarded(prefix, NEW))
    with pytest.raises(Unavailable):
        await store.read(Range(prefix))
    await store.close()


async def test_a_dead_member_is_left_for_the_next(prefix: bytes, etcd: str) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    store = EtcdStore((dead, etcd))
    assert isinstance(await store.commit(guarded(prefix, NEW)), Committed)
    assert len((await store.read(Range(prefix))).found) == 1
    assert set(await store.versions()) == {dead, etcd}
    assert (await store.versions())[dead] == ""
    await store.close()


async def test_a_member_that_stays_silent_leaves_the_outcome_unknown(prefix: bytes) -> None:
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100_000)
        await asyncio.sleep(5)
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    store = EtcdStore((f"http://127.0.0.1:{port}",), commit_s=0.2)
    assert isinstance(await store.commit(guarded(prefix, NEW)), Unknown)
    await store.close()
    server.close()


async def test_members_slower_than_one_attempt_are_heard_in_the_end(
    prefix: bytes, etcd: str
) -> None:
    way = await TcpProxy("127.0.0.1", int(etcd.rsplit(":", 1)[1])).start()
    way.delay_s = 0.15  # each way
    store = EtcdStore((way.url,), commit_s=0.2)
    transaction = guarded(prefix, NEW, Put(prefix + b"head", b"1"))
    outcomes = [await store.commit(transaction)]
    while isinstance(outcomes[-1], Unknown) and len(outcomes) < 5:
        outcomes.append(await store.commit(transaction))
    assert isinstance(outcomes[0], Unknown)
    assert isinstance(outcomes[-1], Conflict)  # with itself: the first sending had committed
    await store.close()
    await way.stop()


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, b'{"code":3,"message":"etcdserver: request is too large"}', Rejected),
        (404, b'{"code":5,"message":"etcdserver: requested lease not found"}', NotCommitted),
        (403, b'{"code":7,"message":"etcdserver: permission denied"}', NotCommitted),
        (401, b'{"code":16,"message":"etcdserver: invalid auth token"}', NotCommitted),
        (429, b'{"code":8,"message":"etcdserver: too many requests"}', NotCommitted),
        (404, b"Not Found", NotCommitted),
    ],
)
def test_answers_that_mean_nothing_was_written(
    status: int, body: bytes, expected: type[Exception]
) -> None:
    with pytest.raises(expected):
        outcome_of(status, body)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, b'{"code":14,"message":"etcdserver: request timed out"}'),
        (503, b'{"code":14,"message":"etcdserver: leader changed"}'),
        (504, b'{"code":4,"message":"context deadline exceeded"}'),
        (408, b'{"code":1,"message":"context canceled"}'),
        (500, b'{"code":2,"message":"etcdserver: unknown"}'),
        (429, b'{"code":8,"message":"etcdserver: mvcc: database space exceeded"}'),
        (500, b'{"code":99,"message":"something later versions invent"}'),
        (502, b"<html>bad gateway</html>"),
        (500, b""),
    ],
)
def test_answers_that_leave_it_unknown(status: int, body: bytes) -> None:
    assert isinstance(outcome_of(status, body), Unknown)
