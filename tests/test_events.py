"""The event stream over HTTP, on real nodes and a real etcd."""

import asyncio
import contextlib
import re
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from conftest import NodeServer
from etcd_members import running_members
from http_calls import ELSEWHERE, Client, get, issue, release
from streams import EVENTS, Event, Stream, after, stream
from support import ask, free_port, running_node, wait_for

from coordinator.api import broadcast as broadcasts
from coordinator.api.broadcast import Broadcast
from coordinator.api.problems import Problem
from coordinator.app import NodeApp
from coordinator.config import Settings
from coordinator.store.etcd import EtcdStore


class Watched(NamedTuple):
    """One node in this process, with the job that looks at the cluster."""

    app: NodeApp
    client: Client

    @property
    def broadcast(self) -> Broadcast:
        return self.app.live._audience.broadcast  # type: ignore[attr-defined]


@pytest.fixture
async def watched(etcd: str) -> AsyncIterator[Watched]:
    port = free_port()
    chosen = Settings(
        etcd_endpoints=(etcd,),  # type: ignore[arg-type]
        root=f"/test-{uuid.uuid4().hex[:8]}/",
        profile="demonstration",  # type: ignore[arg-type]
        port=port,
        head_s=1.0,  # what holds for requests must not end streams
        idle_s=1.0,
    )
    serving = NodeApp(chosen, EtcdStore(chosen.etcd_endpoints))
    await serving.membership.join()
    await serving.membership.be_seen()
    job = asyncio.create_task(serving.live.run())
    async with TestClient(NodeServer(serving, port)) as client:
        yield Watched(serving, client)
    job.cancel()
    await serving.stop()


@pytest.fixture
def node(watched: Watched) -> Client:
    return watched.client


def url_of(client: TestClient[web.Request, web.Application]) -> str:
    return str(client.make_url("")).rstrip("/")


async def test_a_stream_begins_with_everything(node: Client) -> None:
    for _ in range(3):
        await issue(node)
    await release(node, 2)
    async with stream(url_of(node)) as events:
        first = await events.next()
        assert events.answer.headers["Content-Type"] == "text/event-stream"
        assert events.answer.headers["Cache-Control"] == "no-store"
        assert events.answer.headers["X-Request-Id"]
    assert first.name == "snapshot"
    assert first.body["stats"]["currentCounter"] == 3
    assert first.body["stats"]["watermark"] == 1
    assert first.body["gaps"] == {"gaps": [2], "count": 1, "nextGap": 2}
    assert [r["sequenceNumber"] for r in first.body["records"]] == [2, 3, 2, 1]
    assert first.body["records"] == (await get(node, "audit", limit=25))
    assert [n["nodeId"] for n in first.body["cluster"]["nodes"]] == ["node-1"]
    fields, points = first.body["timeline"]["fields"], first.body["timeline"]["points"]
    newest = dict(zip(fields, points[-1], strict=True))
    assert (newest["issued"], newest["released"], newest["gaps"]) == (3, 1, 1)
    assert newest["requests"] == 4
    assert newest["p99_us"] >= newest["p50_us"] > 0


async def test_ticks_lead_from_a_snapshot_to_what_the_api_tells(node: Client) -> None:
    await issue(node, count=30)
    async with stream(url_of(node)) as events:
        state = (await events.next("snapshot")).body
        for number in (4, 9, 17):
            await release(node, number)
            state = after(state, await events.next("tick"))
        await issue(node, **ELSEWHERE)
        await issue(node, count=12)
        while state["stats"]["totalRequests"] < 6:
            state = after(state, await events.next("tick"))
        tick = await events.until(lambda event: "records" not in event.body)
        state = after(state, tick)
        assert state["records"] == await get(node, "audit", limit=25)
        assert "gaps" not in tick.body
        assert set(tick.body["stats"]) < set(state["stats"])
    told = await get(node, "stats")
    moving = {"statisticsTime", "uptime", "requestsPerSecond", "longestGapDuration"}
    assert {k: v for k, v in state["stats"].items() if k not in moving} == {
        k: v for k, v in told.items() if k not in moving
    }
    assert state["gaps"]["gaps"] == (await get(node, "gaps"))["gaps"]


async def test_who_comes_back_gets_what_it_missed(node: Client) -> None:
    async with stream(url_of(node)) as events, stream(url_of(node)) as other:
        await other.next("snapshot")
        await events.next("snapshot")
        last = await events.next("tick")
        events.answer.close()
        await issue(node)
        missed = await other.until(lambda event: "records" in event.body)
        async with stream(url_of(node), last.id) as again:
            found = [await again.next()]
            while serial(found[-1]) < serial(missed):
                found.append(await again.next())
    assert {event.name for event in found} == {"tick"}
    assert [serial(e) for e in found] == list(range(serial(last) + 1, serial(missed) + 1))
    assert found[-1] == missed


def serial(event: Event) -> int:
    return int(event.id.rpartition("-")[2])


@pytest.mark.parametrize("last", ["elsewhere-1", "nonsense", "-", "{}-99999999", "{}-x"])
async def test_who_names_what_this_run_never_sent_gets_a_snapshot(node: Client, last: str) -> None:
    async with stream(url_of(node)) as events:
        run = (await events.next("snapshot")).id.rpartition("-")[0]
    async with stream(url_of(node), last.format(run)) as events:
        assert (await events.next()).name == "snapshot"
    async with node.get(EVENTS, params={"lastEventId": last.format(run)}) as answer:
        assert (await Stream(answer).next()).name == "snapshot"


async def test_too_many_streams_are_refused_clearly(
    node: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcasts, "STREAMS_MAX", 2)
    async with stream(url_of(node)) as one, stream(url_of(node)) as two:
        await one.next()
        await two.next()
        async with node.get(EVENTS) as answer:
            assert answer.status == 503
            assert answer.headers["Retry-After"]
            assert (await answer.json())["code"] == "NB047"
        two.answer.close()
        async with asyncio.timeout(10):
            while (await node.get(EVENTS)).status != 200:
                await asyncio.sleep(0.1)


async def test_what_else_than_an_id_is_asked_is_refused(node: Client) -> None:
    async with node.get(EVENTS, params={"since": "1"}) as answer:
        assert answer.status == 400
    async with node.get("/api/v1/timeline", params={"points": "1"}) as answer:
        assert answer.status == 400
        assert (await answer.json())["errors"][0]["field"] == "points"
    async with node.get("/api/v1/timeline", params={"since": "1"}) as answer:
        assert "from, to, points" in (await answer.json())["detail"]


async def test_a_reload_finds_the_history_in_a_range(node: Client) -> None:
    await issue(node)
    async with stream(url_of(node)) as events:
        for _ in range(4):
            tick = await events.next("tick")
    async with node.get("/api/v1/timeline") as answer:
        whole = await answer.json()
    times = [point[0] for point in whole["points"]]
    assert len(times) >= 2
    assert tick.body["points"][-1][1:3] == whole["points"][-1][1:3] == [1, 1]
    wanted = {"from": str(times[1]), "to": str(times[1])}
    async with node.get("/api/v1/timeline", params=wanted) as answer:
        part = await answer.json()
    assert [point[0] for point in part["points"]] == [times[1]]
    assert part["markers"] == []


async def test_what_stands_in_the_strip_is_proven_by_itself(node: Client) -> None:
    await issue(node)
    async with stream(url_of(node)) as events:
        proven = await events.until(lambda event: (event.body or {}).get("proof"))
    assert proven.body["proof"]["valid"]
    assert proven.body["proof"]["upTo"] == 1
    assert proven.body["proof"]["duplicates"] == 0


async def test_a_stream_outlives_the_bounds_of_requests(watched: Watched) -> None:
    async with stream(url_of(watched.client)) as events:
        began = time.monotonic()
        while time.monotonic() < began + 3:
            await events.next()
        server = watched.client.server.runner.server  # type: ignore[union-attr]
        assert [connection.idles for connection in server.connections] == [False]


async def test_who_does_not_read_gets_a_snapshot_and_slows_nobody(watched: Watched) -> None:
    url, large = url_of(watched.client), {"x": "x" * 200_000}
    with small_socket(watched.client.port) as slow:
        slow.sendall(f"GET {EVENTS} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        async with stream(url) as quick:
            await quick.next("snapshot")
            for at in range(60):
                watched.broadcast.tell("large", large | {"at": at})
                await asyncio.sleep(0)
                assert (await quick.next("large")).body["at"] == at
        said = await asyncio.to_thread(read_until_second_snapshot, slow)
    assert 0 < said.count(b"event: large") < 60


def small_socket(port: int | None) -> socket.socket:
    each = socket.socket()
    each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    each.connect(("127.0.0.1", port))
    each.settimeout(10)
    return each


def read_until_second_snapshot(slow: socket.socket) -> bytes:
    said = bytearray()
    while said.count(b"event: snapshot") < 2:
        chunk = slow.recv(65_536)
        assert chunk, "the stream was ended"
        said += chunk
    return bytes(said)


class Slowly:
    """Readers of a broadcast that a test turns by hand."""

    def __init__(self) -> None:
        self.snapshots = 0
        self.broadcast = Broadcast("run", self._snapshot)

    def _snapshot(self) -> dict[str, int]:
        self.snapshots += 1
        return {"all": self.snapshots}

    def tell(self, times: int, size: int = 1) -> None:
        for _ in range(times):
            self.broadcast.tell("tick", {"x": "x" * size})


async def test_a_reader_that_falls_behind_gets_a_snapshot_next() -> None:
    told = Slowly()
    told.tell(1)
    with told.broadcast.reader(None) as slow, told.broadcast.reader(None) as quick:
        assert [e.name for e in await slow.events() or ()] == ["snapshot"]
        assert [e.id for e in await quick.events() or ()] == ["run-1"]
        told.tell(broadcasts.BEHIND_MAX)
        assert len(await quick.events() or ()) == broadcasts.BEHIND_MAX
        told.tell(1)
        assert [e.name for e in await quick.events() or ()] == ["tick"]
        assert [(e.name, e.id) for e in await slow.events() or ()] == [("snapshot", "run-22")]
        told.tell(1)
        assert [e.id for e in await slow.events() or ()] == ["run-23"]
    assert told.snapshots == 2  # one for both at the same place
    assert told.broadcast.readers == 0


async def test_the_ring_is_bounded_in_events_and_in_bytes() -> None:
    told = Slowly()
    told.tell(broadcasts.EVENTS_KEPT + 50)
    with told.broadcast.reader("run-51") as reader:
        assert len(await reader.events() or ()) == broadcasts.EVENTS_KEPT - 1
    with told.broadcast.reader("run-49") as reader:
        assert [e.name for e in await reader.events() or ()] == ["snapshot"]
    told.tell(20, size=broadcasts.BYTES_KEPT // 4)
    with told.broadcast.reader("run-300") as reader:
        assert [e.name for e in await reader.events() or ()] == ["snapshot"]
    with told.broadcast.reader("run-308") as reader:
        assert [e.id for e in await reader.events() or ()] == ["run-309", "run-310"]


async def test_the_end_wakes_all_readers_and_lets_nobody_in() -> None:
    told = Slowly()
    told.tell(1)
    with told.broadcast.reader(None) as reader:
        await reader.events()
        waiting = asyncio.create_task(reader.events())
        await asyncio.sleep(0)
        told.broadcast.end()
        assert await waiting is None
    with pytest.raises(Problem), told.broadcast.reader(None):
        pass


@contextlib.contextmanager
def process_on(url: str) -> Iterator[tuple[int, Callable[[signal.Signals], None]]]:
    """Find the process that serves an address, to send it signals."""
    port = url.rpartition(":")[2]
    said = subprocess.run(["pgrep", "-f", f"serve --port {port}"], capture_output=True, check=True)
    pid = int(said.stdout.split()[0])
    yield pid, lambda number: subprocess.run(["kill", f"-{number.value}", str(pid)], check=True)


async def test_a_node_stops_within_three_seconds_with_streams_open(
    etcd: str, tmp_path: Path
) -> None:
    root = f"/test-{uuid.uuid4().hex[:8]}/"
    with running_node(tmp_path, etcd, "--root", root) as url, process_on(url) as (pid, send):
        async with stream(url) as one, stream(url) as two, aiohttp.ClientSession() as session:
            unread = await session.get(url + EVENTS)  # a reader that never reads
            await one.next("snapshot")
            await two.next("tick")
            began = time.monotonic()
            send(signal.SIGTERM)
            await one.ended(3)
            await two.ended(3)
            await asyncio.to_thread(wait_for, lambda: gone(pid), 3, "the node has stopped")
            assert time.monotonic() - began < 3
            unread.close()
    log = (tmp_path / "node.log").read_text()
    assert "Traceback" not in log


def gone(pid: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


async def test_a_stream_tells_that_etcd_is_down_and_when_it_is_back(tmp_path: Path) -> None:
    with running_members(tmp_path, count=1) as members:
        with running_node(tmp_path, members[0].url) as url:
            place = {"siteId": "site-1", "partitionId": "partition-a", "invoiceType": "on-cycle"}
            assert (await asyncio.to_thread(ask, url, "next", place))[0] == 200
            async with stream(url) as events:
                await events.next("snapshot")
                members[0].kill()
                stale = await events.next("stale", 20)
                assert stale.body["stale"]["why"]
                async with stream(url) as late:
                    snapshot = await late.next("snapshot", 20)
                    assert snapshot.body["stale"]["since"] == stale.body["stale"]["since"]
                    assert snapshot.body["stats"]["currentCounter"] == 1
                    assert snapshot.body["timeline"]["points"]
                members[0].start(members.names)
                back = await events.next("tick", 30)
                assert back.body["time"] > stale.body["time"]
        lines = (tmp_path / "node.log").read_text()
        assert len(re.findall("cannot be seen just now: [^m]", lines)) <= 3


async def test_members_that_go_and_come_and_a_new_leader_are_marked(tmp_path: Path) -> None:
    with running_members(tmp_path) as members:
        endpoints = ",".join(member.url for member in members)
        with running_node(tmp_path, endpoints) as url:
            async with stream(url) as events:
                await events.next("tick")
                leader = members.leader()
                await asyncio.sleep(2.5)  # the job has seen the members once
                leader.kill()
                seen = await heard(events, {"member-gone", "new-leader"})
                assert ("member-gone", leader.url) in seen
                assert next(who for kind, who in seen if kind == "new-leader") != leader.url
                leader.start(members.names)
                assert ("member-came", leader.url) in await heard(events, {"member-came"})
            _, timeline = await asyncio.to_thread(ask, url, "../timeline")
            kinds = [marker["kind"] for marker in timeline["markers"]]
            assert kinds.count("member-gone") == kinds.count("member-came") == 1


async def heard(events: Stream, kinds: set[str]) -> set[tuple[str, str]]:
    """Return all markers until these kinds were among them."""
    found: set[tuple[str, str]] = set()

    def complete(event: Event) -> bool:
        found.update((m["kind"], m["who"]) for m in event.body.get("markers", ()))
        return kinds <= {kind for kind, _ in found}

    await events.until(complete, 30)
    return found
