"""Reservations expire by themselves: nodes as they are run, over HTTP, on a real etcd."""

import asyncio
import contextlib
import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from etcd_members import running_members
from http_calls import Client, Start
from support import answers, ask, wait_for
from test_documents_api import TEMPLATES, call
from test_reservations_api import post, reserve, sequence_in
from test_turn_processes import NodeProcess

from coordinator.core import ledger
from coordinator.core.keys import Keys
from coordinator.core.records import How, Settled
from coordinator.jobs import expiry
from coordinator.proof import prove
from coordinator.registry import RECENT_S
from coordinator.store.etcd import EtcdStore

QUICK = {
    "document_type": "QCK",
    "template": "{PREFIX}-Q-{SEQ:5}",
    "reservation_s": 1,
    "reason": "reservations that end soon",
}
COUNTER = "documents/QCK"
SOON_S = 20
"""So long a test waits for what takes two or three seconds."""


def root_of_a_test() -> str:
    return f"/expiry-{uuid.uuid4().hex[:8]}/"


@contextlib.contextmanager
def expiring(*nodes: Client) -> Iterator[None]:
    """Run the job that expires on these nodes; the other jobs are not needed."""
    running = [asyncio.create_task(node.server.node.expiry.run()) for node in nodes]  # type: ignore[attr-defined]
    with patch.multiple(expiry, LOOK_EVERY_S=0.05):
        yield
    for each in running:
        each.cancel()


async def settled(etcd: str, root: str) -> list[Settled]:
    """Return how reservations ended, read straight from a ledger that is proven."""
    store, keys = EtcdStore((etcd,)), Keys(root.encode()).counter(COUNTER)
    verdict = await prove(store, keys, 1)
    assert verdict.valid, verdict.findings
    (entries,) = (await store.read(keys.entries(1))).found
    await store.close()
    records = [record for kv in entries for record in ledger.decode(kv.value).records]
    return [record for record in records if isinstance(record, Settled)]


async def until_settled(etcd: str, root: str, many: int, within_s: float = SOON_S) -> list[Settled]:
    async with asyncio.timeout(within_s):
        while len(found := await settled(etcd, root)) < many:
            await asyncio.sleep(0.1)
    return found


@pytest.mark.parametrize(("policy", "following"), [("void", 2), ("reuse", 1)])
async def test_a_number_nobody_confirms_expires_by_itself(
    start_node: Start, etcd: str, policy: str, following: int
) -> None:
    root = root_of_a_test()
    node = await start_node(root=root)
    await call(node, "POST", TEMPLATES, QUICK | {"gap_policy": policy}, 201)
    with expiring(node):
        reserved = await reserve(node, document_type="QCK")
        (ended,) = await until_settled(etcd, root, 1)
    assert (ended.how, ended.is_void) == (How.EXPIRED, policy == "void")
    problem, _ = await post(node, "confirm", {"token": reserved["token"]}, 409)
    assert problem["code"] == "NB004"
    assert "was expired at" in problem["detail"]
    other = await reserve(node, document_type="QCK")
    assert sequence_in(other["document_number"]) == following
    async with node.get("/metrics") as answer:
        assert 'numbering_reservations_settled_total{how="expired"} 1.0' in await answer.text()


async def test_four_nodes_at_it_and_callers_who_confirm_at_the_last_moment(
    start_node: Start, etcd: str
) -> None:
    root = root_of_a_test()
    nodes = [await start_node(root=root, node_id=f"node-{at}") for at in range(1, 5)]
    await call(nodes[0], "POST", TEMPLATES, QUICK, 201)
    await asyncio.sleep(RECENT_S)  # then every node knows the series
    drawn = random.Random(7)

    async def one(at: int) -> tuple[int, bool]:
        reserved = await reserve(nodes[at % 4], document_type="QCK")
        await asyncio.sleep(drawn.uniform(0.7, 1.3))
        path = "/api/v1/document-numbering/confirm"
        body = {"token": reserved["token"]}
        async with nodes[(at + 1) % 4].post(path, json=body) as answer:
            assert answer.status in {200, 409}, await answer.text()
            return sequence_in(reserved["document_number"]), answer.status == 200

    with expiring(*nodes), patch.multiple(expiry, GRACE_MS=0):
        told = dict(await asyncio.gather(*map(one, range(120))))
        ends = await until_settled(etcd, root, 120)
    assert len(ends) == len({record.number for record in ends}) == 120
    assert {r.number: r.how is How.CONFIRMED for r in ends} == told
    assert {True, False} == set(told.values())


async def test_what_was_due_while_etcd_stood_still_expires_afterwards(
    start_node: Start, tmp_path: Path
) -> None:
    root = root_of_a_test()
    with running_members(tmp_path, count=1) as (member,):
        node = await start_node(root=root, etcd_endpoints=member.url, deadline_s=1)
        await call(node, "POST", TEMPLATES, QUICK, 201)
        with expiring(node):
            await asyncio.gather(*(reserve(node, document_type="QCK") for _ in range(20)))
            member.pause()
            await asyncio.sleep(5)
            member.resume()
            ends = await until_settled(member.url, root, 20, within_s=2 * SOON_S)
    assert [record.how for record in ends] == [How.EXPIRED] * 20


@pytest.fixture
def two(etcd: str, tmp_path: Path) -> Iterator[tuple[str, list[NodeProcess]]]:
    """Two nodes as processes, and the prefix of their keys."""
    root = root_of_a_test()
    nodes = [NodeProcess(f"node-{at}", tmp_path, etcd, root) for at in (1, 2)]
    try:
        for node in nodes:
            wait_for(lambda url=node.url: answers(f"{url}/readyz"), 60, f"{node.name} is ready")
        yield root, nodes
    finally:
        for node in nodes:
            node.process.kill()
            node.process.wait()


async def test_what_a_killed_node_had_in_memory_expires_at_another(
    two: tuple[str, list[NodeProcess]], etcd: str
) -> None:
    root, (dies, stays) = two

    def posted(node: NodeProcess, path: str, body: Any, status: int) -> Any:
        told, answer = ask(node.url, f"../{path}", body)
        assert told == status, answer
        return answer

    posted(dies, TEMPLATES.removeprefix("/api/v1/"), QUICK, 201)
    for _ in range(5):
        posted(dies, "document-numbering/reserve", {"document_type": "QCK"}, 201)
    dies.process.kill()
    # Half a minute until the next search; and a minute more if the one that died had the role.
    ends = await until_settled(etcd, root, 5, within_s=150)
    assert {record.how for record in ends} == {How.EXPIRED}
    assert stays.is_alive
