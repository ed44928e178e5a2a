"""One key, one answer: how much is remembered and at what cost, and for which calls."""

import asyncio
import subprocess
import sys
import uuid
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import pytest
from etcd_members import held
from http_calls import ELSEWHERE, PLACE, SEQUENCE, Client, Start, get, issue, post
from serving import alone

from coordinator import history
from coordinator.api import sequence
from coordinator.api.problems import STORE_UNAVAILABLE, Problem
from coordinator.core import batch, ledger, records, state, writes
from coordinator.core.keys import Keys
from coordinator.core.plan import Rules
from coordinator.core.request_keys import KEYS_REMEMBERED, KeyTables, digest
from coordinator.core.requests import Call, Done, Instant, Issue, Refused, Release, Why
from coordinator.replica import Replica
from coordinator.sequencer import Bounds, Node, Sequencer, Watcher
from coordinator.store.memory import MemoryStore
from coordinator.witness import Witness

KEYS = Keys().counter("invoice")
HERE = records.Origin("site-1", "partition-a", "on-cycle")

MEASURE = """
import random
from coordinator.core.request_keys import RequestKeys

def kilobytes(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name))

chance, before, keys = random.Random(7), kilobytes("VmRSS"), RequestKeys()
for index in range(1, 1_300_001):
    keys.add([chance.getrandbits(64)], index)
print(1024 * (kilobytes("VmHWM") - before))
chance = random.Random(7)
for index in range(1, 1_300_001):
    digest = chance.getrandbits(64)
    if 300_000 < index <= 301_000 or (index > 300_000 and index % 100 == 0):
        assert index in keys.find(digest), index
"""
"""A process of its own that remembers many keys and prints what that took at its highest: with
1,300,000 keys every table has been filled and the oldest has been forgotten.
"""


def test_the_last_million_keys_are_known_at_64_bytes_each_even_while_tables_grow() -> None:
    assert KEYS_REMEMBERED == 1_000_000
    process = subprocess.run([sys.executable, "-c", MEASURE], check=True, capture_output=True)
    assert int(process.stdout) <= 64 * 1_000_000


def sequencer(store: MemoryStore, name: str) -> Sequencer:
    ticks = count(1)
    serving = Sequencer(
        store,
        KEYS,
        Node(name, name),
        Rules(),
        Bounds(),
        lambda: Instant(1_000 * next(ticks), next(ticks)),
        Watcher(lambda _: None, lambda *_: None, lambda: None, lambda: None),
        Witness(),
        count(1).__next__,
        alone(name),
    )
    serving.start()
    return serving


def call(key: str, payload: str = "p") -> Call:
    return Call(HERE, "c", 0, key, payload)


async def numbers(serving: Sequencer, key: str) -> tuple[list[int], bool]:
    answer = await serving.submit(Issue(call(key)))
    assert isinstance(answer, Done)
    assert isinstance(answer.record, records.Issued)
    return answer.record.numbers(), answer.replayed


async def test_after_a_restart_every_key_is_known_again() -> None:
    store = MemoryStore()
    before = sequencer(store, "before")
    many = [f"key-{number}" for number in range(3_000)]
    first = await asyncio.gather(*(numbers(before, key) for key in many))
    await before.submit(Release(call("undo"), 5, "x"))
    await before.stop(grace_s=1)
    loaded = await Replica(store, KEYS, 1, Witness()).state()
    assert all(loaded.keys.find(digest(key)) for key in (*many, "undo"))
    assert not loaded.keys.find(digest("never used"))
    after = sequencer(store, "after")
    again = await asyncio.gather(*(numbers(after, key) for key in many))
    assert [got for got, _ in again] == [got for got, _ in first]
    assert all(replayed for _, replayed in again)
    undone = await after.submit(Release(call("undo"), 5, "x"))
    assert isinstance(undone, Done)
    assert undone.replayed
    await after.stop(grace_s=1)


async def test_many_repetitions_of_one_batch_read_its_entry_once() -> None:
    serving = sequencer(MemoryStore(), "node-1")
    many = [f"{uuid.uuid4()}" for _ in range(500)]
    await asyncio.gather(*(numbers(serving, key) for key in many))
    before = history._decoded.cache_info().misses
    again = await asyncio.gather(*(numbers(serving, key) for key in many))
    assert all(replayed for _, replayed in again)
    assert history._decoded.cache_info().misses - before <= 2
    await serving.stop(grace_s=1)


async def test_keys_with_one_digest_are_told_apart_by_the_ledger(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (batch, state, writes):
        monkeypatch.setattr(module, "digest", lambda _: 7)
    store = MemoryStore()
    serving = sequencer(store, "node-1")
    assert await numbers(serving, "a") == ([1], False)
    assert await numbers(serving, "b") == ([2], False)
    at_once = await asyncio.gather(*(numbers(serving, key) for key in "cdc"))
    assert sorted(at_once) == [([3], False), ([3], True), ([4], False)]
    reloaded = sequencer(store, "node-2")
    for each in (serving, reloaded):
        for number, key in enumerate("abcd", start=1):
            assert await numbers(each, key) == ([number], True)
        refused = await each.submit(Issue(call("b", "another payload")))
        assert isinstance(refused, Refused)
        assert refused.why is Why.KEY_REUSED
        await each.stop(grace_s=1)
    assert set((await Replica(store, KEYS, 1, Witness()).state()).keys.find(7)) == {1, 2, 3}


def test_a_key_is_known_from_the_moment_its_table_grows() -> None:
    keys = KeyTables(remembered=500, per_table=100)
    for number in range(1, 2_001):
        keys.add([(number * 0x9E3779B97F4A7C15 % 2**64, number)])
        for earlier in range(max(1, number - 499), number + 1, 7):
            assert keys.find(earlier * 0x9E3779B97F4A7C15 % 2**64) == (earlier,)


async def next_by_query(node: Client, status: int, count: int, key: str, **headers: str) -> Any:
    query = PLACE | {"count": str(count)} | ({"requestId": key} if key else {})
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    async with node.get(f"{SEQUENCE}/next", params=query, headers=names) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json(), answer.headers


async def next_by_body(node: Client, status: int, count: int, key: str, **headers: str) -> Any:
    body = PLACE | {"count": count} | ({"requestId": key} if key else {})
    return await post(node, "next", body, status, **headers)


async def release(node: Client, status: int, number: int, key: str, **headers: str) -> Any:
    body = {"sequenceNumber": number, "siteId": "site-1", "partitionId": "partition-a"}
    body |= {"reason": "x"} | ({"requestId": key} if key else {})
    return await post(node, "release", body, status, **headers)


async def reset(node: Client, status: int, _: int, key: str, **headers: str) -> Any:
    return await post(node, "reset", {"requestId": key} if key else None, status, **headers)


Changing = Callable[..., Awaitable[Any]]


@pytest.mark.parametrize("in_header", [True, False])
@pytest.mark.parametrize("change", [next_by_query, next_by_body, release, reset])
async def test_every_call_that_changes_something_takes_a_key(
    start_node: Start,
    etcd: str,
    change: Changing,
    in_header: bool,  # noqa: FBT001
) -> None:
    root = f"/keys-{uuid.uuid4().hex[:8]}/"
    one, two = await start_node(root=root), await start_node(root=root, node_id="node-2")
    await issue(one, count=5)
    given = {"key": "", "Idempotency_Key": "k-1"} if in_header else {"key": "k-1"}

    first, headers = await change(one, 200, 2, **given)
    assert "Idempotent-Replayed" not in headers
    found = held(etcd, f"{root}c/invoice/".encode())
    keys = Keys(root.encode()).counter("invoice")
    written = {found[key].revision for key in (keys.head, keys.entry(2), keys.request_keys(2))}
    assert len(written) == 1, "one transaction"
    (record,) = ledger.decode(found[keys.entry(2)].value).records
    assert record.cause.key == "k-1"
    assert found[keys.request_keys(2)].value == digest("k-1").to_bytes(8, "big") + b"\0"

    for node in (two, one, two):
        again, headers = await change(node, 200, 2, **given)
        assert again == first
        assert headers["Idempotent-Replayed"] == "true"
    others = [next_by_body, release] if change is not release else [next_by_body, release, reset]
    for other in others:
        problem, _ = await other(two, 422, 3, **given)
        assert problem["code"] == "NB013"
    now = held(etcd, f"{root}c/invoice/entry/".encode())
    assert len(now) == 2, "replays and refusals write nothing"


async def test_a_key_in_header_and_body_must_be_the_same(start_node: Start) -> None:
    node = await start_node()
    await issue(node, count=5)
    for change in (next_by_query, next_by_body, release, reset):
        problem, _ = await change(node, 400, 1, key="one", Idempotency_Key="another")
        assert problem["code"] == "NB009"
        await change(node, 200, 1, key=change.__name__, Idempotency_Key=change.__name__)


STRATEGIES = {"GLOBAL_SEQUENTIAL": 1, "SITE_SEQUENTIAL": 2, "PARTITION_SEQUENTIAL": 4}


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_a_reset_with_a_key_resets_every_counter_once(
    start_node: Start, strategy: str
) -> None:
    one = await start_node(strategy=strategy)
    two = await start_node(strategy=strategy, node_id="node-2")
    for place in (PLACE, ELSEWHERE):
        await get(one, "next", **(place | {"count": "5"}))
    first, _ = await reset(one, 200, 0, "anew")
    for place in (PLACE, ELSEWHERE):
        await get(two, "next", **place)
    highest = 2 if strategy == "GLOBAL_SEQUENTIAL" else 1
    for node in (two, one):
        again, headers = await reset(node, 200, 0, "", Idempotency_Key="anew")
        assert (again, headers["Idempotent-Replayed"]) == (first, "true")
    assert len(await get(one, "audit", operationType="RESET")) == STRATEGIES[strategy]
    problem, _ = await next_by_body(one, 422, 1, "anew")
    assert problem["code"] == "NB013"
    assert (await issue(one))["sequenceNumbers"] == [highest + 1]
    assert (await get(one, "validate"))["valid"]


async def test_a_reset_stopped_on_its_way_says_so_and_is_finished_with_the_same_key(
    start_node: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await start_node(strategy="PARTITION_SEQUENTIAL")
    serve, served = sequence.serve, count(1)

    async def serve_two(*asked: Any) -> Any:
        if next(served) > 2:
            raise Problem(STORE_UNAVAILABLE, "Nothing was allocated: etcd is away.")
        return await serve(*asked)

    monkeypatch.setattr(sequence, "serve", serve_two)
    problem, _ = await reset(node, 504, 0, "anew")
    assert problem["detail"].startswith("2 of 4 counters were reset")
    assert "same idempotency key" in problem["detail"]
    monkeypatch.setattr(sequence, "serve", serve)
    await reset(node, 200, 0, "anew")
    assert len(await get(node, "audit", operationType="RESET")) == 4
    _, headers = await reset(node, 200, 0, "anew")
    assert headers["Idempotent-Replayed"] == "true"


async def test_a_reset_refused_on_its_way_says_what_was_done(start_node: Start) -> None:
    node = await start_node(strategy="SITE_SEQUENTIAL")
    await post(node, "next", ELSEWHERE, Idempotency_Key="used")
    problem, _ = await reset(node, 422, 0, "used")
    assert problem["code"] == "NB013"
    assert problem["detail"].startswith("1 of 2 counters were reset")


@pytest.mark.parametrize("body", [{"requestID": "x"}, {"requestId": 7}, {"requestId": ""}, []])
async def test_a_reset_with_a_body_that_it_does_not_know_is_refused(
    start_node: Start, body: Any
) -> None:
    node = await start_node()
    await issue(node)
    problem, _ = await post(node, "reset", body, 400)
    assert problem["code"] == "NB009"
    assert (await issue(node))["sequenceNumbers"] == [2]
    await post(node, "reset", {}, 200)
    assert (await issue(node))["sequenceNumbers"] == [1]
