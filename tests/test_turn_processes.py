"""Four real nodes on a real etcd: the one with the turn is killed, stopped or paused."""

import asyncio
import contextlib
import signal
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from http_calls import PLACE, SEQUENCE
from support import ROOT, answers, ask, free_port, until, wait_for

NODES = 4
CLIENTS_AT_EACH = 3
NUMBERS_BEFORE, NUMBERS_AFTER = 200, 400
PAUSE_S = 3.0
HANG_S = 120


class NodeProcess:
    """One node as a process of its own."""

    def __init__(self, name: str, folder: Path, etcd: str, root: str) -> None:
        self.name = name
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        words = ("--node-id", name, "--port", str(port), "--etcd-endpoints", etcd, "--root", root)
        with (folder / f"{name}.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "coordinator", "serve", *words],
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


@pytest.fixture
def nodes(etcd: str, tmp_path: Path) -> Iterator[list[NodeProcess]]:
    root = f"/turn-{uuid.uuid4().hex[:8]}/"
    some = [NodeProcess(f"node-{at}", tmp_path, etcd, root) for at in range(1, NODES + 1)]
    try:
        for node in some:
            wait_for(lambda url=node.url: answers(f"{url}/readyz"), 60, f"{node.name} is ready")
        yield some
    finally:
        for node in some:
            with contextlib.suppress(ProcessLookupError):
                node.send(signal.SIGCONT)
            node.process.kill()
            node.process.wait()


class Clients:
    """They take numbers under keys, and ask again, elsewhere, until each key has its answer."""

    def __init__(self, http: aiohttp.ClientSession, nodes: list[NodeProcess]) -> None:
        self._http = http
        self._nodes = nodes
        self._keys = (f"key-{at}" for at in count())
        self.numbers: dict[str, tuple[int, ...]] = {}
        self.stopping = False

    async def run(self, home: int) -> None:
        while not self.stopping:
            key = next(self._keys)
            for attempt in count(home):
                answer = await self._attempt(self._nodes[attempt % NODES], key)
                if answer is not None:
                    self.numbers[key] = tuple(answer["sequenceNumbers"])
                    break

    async def _attempt(self, node: NodeProcess, key: str) -> Any:
        address, names = f"{node.url}{SEQUENCE}/next", {"Idempotency-Key": key}
        patience = aiohttp.ClientTimeout(total=5)
        try:
            async with self._http.post(
                address, json=PLACE, headers=names, timeout=patience
            ) as answer:
                return await answer.json() if answer.status == 200 else None
        except (aiohttp.ClientError, OSError, TimeoutError):
            await asyncio.sleep(0.01)  # nobody is there just now
            return None

    async def take_more(self, many: int) -> None:
        wanted = len(self.numbers) + many
        await until(lambda: len(self.numbers) >= wanted, f"{many} more numbers", HANG_S)


def holder_of(nodes: list[NodeProcess]) -> NodeProcess | None:
    _, cluster = ask(nodes[0].url, "../cluster")
    names = [turn["nodeId"] for turn in cluster["turns"]]
    return next((node for node in nodes if node.name in names), None)


async def kill(holder: NodeProcess, _: Clients) -> None:
    holder.send(signal.SIGKILL)


async def stop(holder: NodeProcess, _: Clients) -> None:
    holder.send(signal.SIGTERM)


async def pause(holder: NodeProcess, clients: Clients) -> None:
    holder.send(signal.SIGSTOP)
    await asyncio.sleep(PAUSE_S)  # the fault itself
    await clients.take_more(1)
    holder.send(signal.SIGCONT)


@pytest.mark.parametrize("strike", [kill, stop, pause])
async def test_what_becomes_of_the_node_with_the_turn_costs_no_number(
    nodes: list[NodeProcess], strike: Any
) -> None:
    async with aiohttp.ClientSession() as http:
        clients = Clients(http, nodes)
        homes = [at for at in range(NODES) for _ in range(CLIENTS_AT_EACH)]
        tasks = [asyncio.create_task(clients.run(home)) for home in homes]
        await clients.take_more(NUMBERS_BEFORE)
        holder = holder_of(nodes)
        assert holder is not None, "somebody has the turn by now"
        await strike(holder, clients)
        await clients.take_more(NUMBERS_AFTER)
        clients.stopping = True
        async with asyncio.timeout(HANG_S):
            await asyncio.gather(*tasks)

    if strike is stop:
        assert holder.process.wait(timeout=HANG_S) == 0
    alive = [node for node in nodes if node.is_alive]
    assert len(alive) == (NODES if strike is pause else NODES - 1)
    taken = sorted(number for some in clients.numbers.values() for number in some)
    assert taken == list(range(1, len(taken) + 1))
    for node in alive:
        status, verdict = ask(node.url, "validate")
        assert (status, verdict["valid"]) == (200, True), verdict
    lost = sum(node.metric("numbering_lock_failures_total") for node in alive)
    handed = sum(node.metric("numbering_batches_handed_over_total") for node in alive)
    assert handed > 0
    assert lost < 0.1 * len(taken)
