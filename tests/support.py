"""What tests need of the real world: free ports, a real etcd, nodes, faults at a store's edge."""

import asyncio
import contextlib
import json
import random
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from http_calls import SEQUENCE

from coordinator.core.transaction import Transaction
from coordinator.store import Conflict, NotCommitted, Outcome, Store, Unknown

ROOT = Path(__file__).parent.parent


PORTS = range(16_000, 32_000)
"""Below those that connections take: a port that is free now is not taken by one of them later."""


def free_port(count: int = 1) -> int:
    """Return the first of so many free ports in a row."""
    while True:
        first = random.choice(PORTS)
        with contextlib.ExitStack() as probes, contextlib.suppress(OSError):
            for port in range(first, first + count):
                probe = probes.enter_context(socket.socket())
                probe.bind(("127.0.0.1", port))
            return first


def wait_for(condition: Any, seconds: float, what: str) -> Any:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        with contextlib.suppress(OSError):
            found = condition()
            if found:
                return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


async def until(condition: Any, what: str, seconds: float = 10) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.01)


def answers(url: str) -> bool:
    with urllib.request.urlopen(url, timeout=2) as answer:
        return bool(answer.status == 200)


@contextlib.contextmanager
def running_etcd(folder: Path, *flags: str) -> Iterator[str]:
    """Run one real etcd member on loopback; yield its client URL."""
    binary = shutil.which("etcd")
    assert binary, "no etcd on PATH: scripts/test.sh installs etcd-server"
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    with (folder / "etcd.log").open("wb") as log:
        process = subprocess.Popen(
            [
                binary,
                *("--name", "test", "--data-dir", str(folder / "etcd")),
                *("--listen-client-urls", client, "--advertise-client-urls", client),
                *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
                *("--initial-cluster", f"test={peer}"),
                *flags,
            ],
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(lambda: answers(f"{client}/health"), 20, "etcd answers")
        yield client
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def running_node(folder: Path, etcd: str, *flags: str, answering: str = "/readyz") -> Iterator[str]:
    """Run one node as a process of its own on a real etcd; yield its URL when it answers there."""
    port = free_port()
    command = [sys.executable, "-m", "coordinator", "serve", "--port", str(port)]
    with (folder / "node.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--etcd-endpoints", etcd, *flags], cwd=ROOT, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: answers(f"{url}{answering}"), 20, "the node is ready")
        yield url
    finally:
        process.terminate()
        process.wait(timeout=10)


def ask(url: str, path: str, body: object = None) -> tuple[int, Any]:
    """Call the sequence API: POST when there is a body. Return status and JSON."""
    address = f"{url}/api/v1/{path[3:]}" if path.startswith("../") else f"{url}{SEQUENCE}/{path}"
    headers = {"Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


def etcdctl(url: str, *words: str, given: str | None = None) -> str:
    """Run etcdctl on one member; return what it says. ``given`` is its standard input."""
    command = ["etcdctl", "--endpoints", url, *words]
    done = subprocess.run(
        command, check=True, capture_output=True, timeout=60, text=True, input=given
    )
    return done.stdout


class LossyStore:
    """A store whose network loses, delays and repeats, from a seed.

    A transaction may be refused before it is sent, lost on its way, or applied with its reply
    lost; a lost one may also arrive late, after others.
    """

    def __init__(self, store: Store, seed: int, trouble: float) -> None:
        self._store = store
        self._random = random.Random(seed)
        self._trouble = trouble
        self._late: list[Transaction] = []
        self.replies_lost = 0
        self.arrived_late = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, transaction: Transaction) -> Outcome:
        await asyncio.sleep(0)
        if self._late and self._random.random() < 0.3:
            outcome = await self._store.commit(self._late.pop(0))
            self.arrived_late += not isinstance(outcome, Conflict)
        if self._random.random() >= self._trouble:
            return await self._store.commit(transaction)
        match self._random.randrange(4):
            case 0:
                raise NotCommitted("connection refused")
            case 1:
                return Unknown("lost on its way")
            case 2:
                self._late.append(transaction)
                return Unknown("delayed on its way")
            case _:
                await self._store.commit(transaction)
                self.replies_lost += 1
                return Unknown("reply lost")
