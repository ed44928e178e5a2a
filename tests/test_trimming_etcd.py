"""The job that trims, on a real etcd, while numbers are issued and after."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from http_calls import ELSEWHERE, PLACE, Start, get, issue, post, release
from serving import alone
from support import ask, etcdctl, running_etcd, running_node

from coordinator.config import ENTRIES_KEPT_MIN, Settings
from coordinator.core.breaks import Break
from coordinator.core.keys import Keys
from coordinator.core.plan import Rules
from coordinator.counters import Counters, Terms
from coordinator.jobs import trimming
from coordinator.metrics import Metrics
from coordinator.proof import prove
from coordinator.service import Bounds, Node
from coordinator.store.etcd import EtcdStore
from coordinator.witness import Witness

KEYS = Keys().counter("invoice")


def test_fewer_entries_than_others_look_back_to_are_not_enough() -> None:
    for kept in (0, ENTRIES_KEPT_MIN):
        assert Settings(entries_kept=kept).entries_kept == kept
    for kept in (1, ENTRIES_KEPT_MIN - 1, -1):
        with pytest.raises(ValueError, match="entries"):
            Settings(entries_kept=kept)


@contextlib.asynccontextmanager
async def job(store: EtcdStore, root: str, kept: int) -> AsyncIterator[None]:
    """Run the job as a node does, but for a few entries at a time."""
    keys, terms = Keys(root.encode()), Terms(Rules(), Bounds())
    node = Node("trimmer", "t")
    counters = Counters(store, keys, node, terms, Metrics(1_000, ()).watcher, Witness(), alone("t"))
    few = {"ENTRIES_AT_ONCE": 20, "PAUSE_S": 0.01, "LOOK_EVERY_S": 0.1}

    async def always() -> bool:
        return True

    with patch.multiple(trimming, **few):
        trims = trimming.Trimming(store, keys, 1, kept, counters, ("invoice",), always)
        running = asyncio.create_task(trims.run())
        yield
        running.cancel()
    await counters.stop(1)


async def test_old_entries_leave_while_numbers_flow_and_the_rest_is_proven(
    start_node: Start, etcd: str
) -> None:
    root = "/trim/"
    one = await start_node(root=root)
    two = await start_node(root=root, node_id="node-2")
    await post(one, "next", PLACE | {"requestId": "first"})
    await issue(one, count=9)
    await release(one, 3)
    await release(one, 5)
    assert (await issue(two))["sequenceNumbers"] == [3]

    async def client(node: Any, some: int) -> list[int]:
        return [n for _ in range(some) for n in (await issue(node))["sequenceNumbers"]]

    keys = Keys(root.encode()).counter("invoice")
    store = EtcdStore((etcd,))
    async with job(store, root, kept=50):
        taken = await asyncio.gather(*(client(node, 120) for node in (one, two)))
        numbers = [5, *range(11, 250)]
        assert sorted(n for some in taken for n in some) == numbers
        for _ in range(100):
            if len((await store.read(keys.entries(1))).found[0]) < 70:
                break
            await asyncio.sleep(0.1)
    verdict = await prove(store, keys, 1)
    assert verdict.valid, verdict.findings
    assert verdict.trimmed >= 60
    assert verdict.issued_now == 249
    seen = await get(two, "validate")
    assert seen["valid"]
    assert seen["trimmed"] == {"invoice": verdict.trimmed}

    problem = await release(one, 7, 409)
    assert problem["code"] == "NB025"
    assert (await get(one, "audit/7", 409))["code"] == "NB025"
    assert (await post(one, "next", PLACE | {"requestId": "first"}))[0]["sequenceNumbers"] == [250]
    late = await start_node(root=root, node_id="node-3")
    assert (await issue(late, **ELSEWHERE))["sequenceNumbers"] == [251]
    assert (await get(late, "validate"))["valid"]
    rows = await get(late, "audit", limit=1_000)
    assert min(row["entryIndex"] for row in rows) == verdict.trimmed + 1
    assert {row["operationType"] for row in rows} == {"GENERATE", "ADJUST"}
    async with late.get("/api/v1/sequence/audit", params={"limit": 1_000}) as answer:
        assert answer.headers["X-Trimmed-Through"] == str(verdict.trimmed)
    async with late.get("/api/v1/sequence/audit.csv") as answer:
        gone = f"Entries up to {verdict.trimmed} have left the store and are not searched."
        assert gone in (await answer.text()).splitlines()[-1]
    await store.close()


def test_a_tampered_checkpoint_is_found_by_a_node(tmp_path: Path) -> None:
    with running_etcd(tmp_path) as etcd, running_node(tmp_path, etcd) as node:
        assert ask(node, "next", PLACE)[0] == 200
        etcdctl(etcd, "put", KEYS.checkpoint.decode(), "{}")
        status, said = ask(node, "validate")
        assert (status, said["valid"]) == (200, False)
        assert [f["kind"] for f in said["findings"]] == [Break.CHECKPOINT.value]
