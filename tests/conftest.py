"""Fixtures: a real etcd, stores, nodes in this process, and a whole cluster as a user starts it."""

import re
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))

from described import watching
from sharing import Town
from support import free_port, running_etcd

from coordinator import commit as commits
from coordinator import sequencer as sequencers
from coordinator.api.server import Runner
from coordinator.app import NodeApp
from coordinator.config import Settings
from coordinator.store import Store
from coordinator.store.etcd import EtcdStore
from coordinator.store.memory import MemoryStore

ROOT = Path(__file__).parent.parent

settings.register_profile("all", deadline=None)  # a busy machine is no failure
settings.load_profile("all")


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The client URL of one real etcd member."""
    with running_etcd(tmp_path_factory.mktemp("etcd")) as url:
        yield url


@pytest.fixture(params=["memory", "etcd"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """Each store in turn."""
    if request.param == "memory":
        yield MemoryStore()
        return
    real = EtcdStore((request.getfixturevalue("etcd"),))
    yield real
    await real.close()


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits before it tries again."""
    for module in (commits, sequencers):
        monkeypatch.setattr(module, "PAUSE_FIRST_S", 0.0)
        monkeypatch.setattr(module, "PAUSE_LONGEST_S", 0.01)


@pytest.fixture
async def quick_town() -> AsyncIterator[Town]:
    """Nodes on the store in memory."""
    town = Town(MemoryStore())
    yield town
    await town.stop()


@pytest.fixture
def town(quick_town: Town) -> Town:
    """The same, for modules that know no other."""
    return quick_town


class NodeServer(TestServer):
    """Serves a node as ``coordinator serve`` does."""

    def __init__(self, node: NodeApp, port: int) -> None:
        super().__init__(node.web, port=port)
        self.node = node

    async def _make_runner(self, **more: object) -> Runner:
        more.pop("debug", None)
        return self.node.runner(1_000, **more)


@pytest.fixture
async def start_node(etcd: str) -> AsyncIterator[Callable[..., object]]:
    """Start nodes in this process, on a real etcd, all under a prefix of this test's own.

    Whatever their clients are answered must be described in the OpenAPI document.
    """
    root = f"/test-{uuid.uuid4().hex[:8]}/"
    async with AsyncExitStack() as stack:

        async def start(**settings: object) -> TestClient[web.Request, web.Application]:
            port = free_port()
            given = {"etcd_endpoints": etcd, "root": root, "profile": "demonstration", "port": port}
            chosen = Settings(**(given | settings))
            node = NodeApp(chosen, EtcdStore(chosen.etcd_endpoints, commit_s=chosen.etcd_attempt_s))
            stack.push_async_callback(node.stop)
            await node.membership.join()
            await node.membership.be_seen()
            client = TestClient(NodeServer(node, port), trace_configs=[watching()])
            await stack.enter_async_context(client)
            return client

        yield start


class Cluster(NamedTuple):
    """A cluster that the start command has brought up."""

    urls: list[str]
    data: Path
    process: subprocess.Popen[str]


def start_cluster(data: Path, port: int, *more: str) -> Cluster:
    """Start a cluster as the start script does; return when it says READY."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "cluster", "up", "--no-browser"),
            *("--port", str(port), "--data-dir", str(data), *more),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if re.match(r"READY ", line):
            return Cluster([f"http://127.0.0.1:{port + i}" for i in range(4)], data, process)
    raise AssertionError("the cluster did not become ready:\n" + "".join(lines))


def stop_cluster(cluster: Cluster) -> None:
    """Stop it as Ctrl+C does: within ten seconds, and with success."""
    cluster.process.send_signal(signal.SIGTERM)
    assert cluster.process.wait(timeout=10) == 0


@pytest.fixture(scope="session")
def cluster4(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three etcd members and four nodes."""
    cluster = start_cluster(tmp_path_factory.mktemp("cluster with space"), free_port(4))
    yield cluster
    stop_cluster(cluster)


FAST_FIRST = (
    *("core", "ledger", "layers", "proof", "export", "oracle", "lost", "trouble", "store", "api"),
    *("simulation", "cluster", "dashboard"),
)
"""Test modules by these words, quick ones first; what is not named comes after them."""

SLOWEST = "chaos"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the quick tests first, so that most mistakes show within seconds."""

    def rank(item: pytest.Item) -> int:
        name = item.path.stem
        if SLOWEST in name:
            return len(FAST_FIRST) + 1
        ranks = (at for at, word in enumerate(FAST_FIRST) if word in name)
        return next(ranks, len(FAST_FIRST))

    items.sort(key=rank)
