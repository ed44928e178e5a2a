"""Callers that ask too much, too slowly, or never: others are served as if they were not there.

Each test has a node process of its own, on a real etcd.
"""

import asyncio
import contextlib
import re
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
from bad_requests import GOOD, NEXT, get, raw
from support import free_port
from tcp_proxy import TcpProxy
from wire import Answer, answer_on, ask

from coordinator.open_files import raise_limit

ROOT = Path(__file__).parent.parent
IDLE_CONNECTIONS = 10_000
RSS_BYTES_MAX = 300_000_000
OTHERS_WITHIN_S = 3.0
"""Generous: these machines are slow and busy. Unharmed, an answer takes some milliseconds."""

JSON = "Content-Type: application/json"
POST_WITHOUT_BODY = raw(f"POST {NEXT} HTTP/1.1", JSON, "Content-Length: 1000")


class NodeProcess(NamedTuple):
    """``coordinator serve``, ready."""

    port: int
    log: Path

    async def issue(self) -> int:
        """Issue one number as any caller does, in good time."""
        began = time.monotonic()
        answer = await ask(self.port, get(GOOD))
        assert answer.status == 200, answer
        assert time.monotonic() - began < OTHERS_WITHIN_S
        return int(re.search(rb'"firstSequenceNumber":(\d+)', answer.body)[1])

    async def rss(self) -> int:
        """Return how many bytes of memory it occupies."""
        metrics = (await ask(self.port, get("/metrics"))).body.decode()
        return int(float(re.search(r"(?m)^process_resident_memory_bytes (\S+)", metrics)[1]))

    def said(self) -> list[str]:
        """Return its log; a stack trace would be somebody's fault."""
        text = self.log.read_text("utf-8")
        assert "Traceback" not in text, text
        return text.splitlines()


@contextlib.asynccontextmanager
async def running_node(
    folder: Path, etcd: str, *flags: str, before: str = ""
) -> AsyncIterator[NodeProcess]:
    """Run a node until the block ends; ``before`` is Python that runs in it first."""
    node = NodeProcess(free_port(), folder / "node.log")
    code = f"import sys; {before or 'pass'}; from coordinator.cli import main; sys.exit(main())"
    words = ["serve", "--port", str(node.port), "--etcd-endpoints", etcd, *flags]
    root = f"/test-{uuid.uuid4().hex[:8]}/"
    with node.log.open("wb") as log:
        command = [sys.executable, "-c", code, *words, "--root", root]
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)  # noqa: ASYNC220
    try:
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                    if (await ask(node.port, get("/readyz"))).status == 200:
                        break
                await asyncio.sleep(0.1)
        yield node
        assert process.poll() is None, "the node did not survive"
    finally:
        process.terminate()
        assert process.wait(timeout=10) == 0


async def connect(port: int, count: int) -> list[socket.socket]:
    """Open so many connections that say nothing."""
    loop, opened = asyncio.get_running_loop(), []
    for _ in range(count):
        each = socket.socket()
        each.setblocking(False)
        opened.append(each)
    for at in range(0, count, 500):
        some = (loop.sock_connect(each, ("127.0.0.1", port)) for each in opened[at : at + 500])
        await asyncio.gather(*some)
    return opened


def close(sockets: list[socket.socket]) -> None:
    for each in sockets:
        each.close()


async def ended(each: socket.socket, within_s: float) -> bytes:
    """Return what came on a connection until the node ended it."""
    loop, came = asyncio.get_running_loop(), b""
    async with asyncio.timeout(within_s):
        with contextlib.suppress(ConnectionError):
            while data := await loop.sock_recv(each, 65_536):
                came += data
    return came


async def test_ten_thousand_idle_connections_harm_nobody(tmp_path: Path, etcd: str) -> None:
    files = raise_limit()
    assert files is None or files > IDLE_CONNECTIONS * 3 // 2, "raise ulimit -Hn to run this test"
    async with running_node(tmp_path, etcd) as node:
        assert await node.issue() == 1
        idle = await connect(node.port, IDLE_CONNECTIONS)
        try:
            assert [await node.issue() for _ in range(20)] == list(range(2, 22))
            rss = await node.rss()
            assert rss < RSS_BYTES_MAX, rss
            some = idle[:: IDLE_CONNECTIONS // 10]
            for each in some:  # they are all connected, and may speak yet
                await asyncio.get_running_loop().sock_sendall(each, get("/livez"))
                assert await asyncio.get_running_loop().sock_recv(each, 12) == b"HTTP/1.1 200"
        finally:
            close(idle)
        assert await node.issue() == 22
        node.said()


async def test_when_all_connections_are_taken_those_that_idle_longest_have_to_go(
    tmp_path: Path, etcd: str
) -> None:
    async with running_node(tmp_path, etcd, "--connections-max", "64") as node:
        idle = await connect(node.port, 64)
        assert await node.issue() == 1
        assert await ended(idle[0], within_s=2) == b"", "it came first and asked for nothing"
        with pytest.raises(TimeoutError):
            await ended(idle[-1], within_s=0.2)
        flood = await connect(node.port, 2_000)
        assert await node.issue() == 2
        close(flood + idle)
        used = await connect(node.port, 64)
        for each in used:  # whoever has been served goes last, but goes
            await asyncio.get_running_loop().sock_sendall(each, get("/livez"))
            await asyncio.get_running_loop().sock_recv(each, 1_000)
        assert await node.issue() == 3
        assert await ended(used[0], within_s=2) == b""
        close(used)
        assert len([line for line in node.said() if "idle" in line]) <= 8


async def test_a_connection_too_many_is_refused_in_words(tmp_path: Path, etcd: str) -> None:
    async with running_node(tmp_path, etcd, "--connections-max", "2") as node:
        busy = await connect(node.port, 2)
        for each in busy:  # in the middle of a request: they are not idle
            await asyncio.get_running_loop().sock_sendall(each, POST_WITHOUT_BODY)
        await asyncio.sleep(0.2)
        refused = await ask(node.port, b"")
        assert (refused.status, refused.problem["code"]) == (503, "NB003")
        assert refused.headers["retry-after"]
        assert refused.headers["connection"] == "close"
        close(busy)
        await asyncio.sleep(0.2)
        assert await node.issue() == 1
        node.said()


async def test_a_node_that_may_open_few_files_says_so_and_never_runs_out(
    tmp_path: Path, etcd: str
) -> None:
    few = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))"
    async with running_node(tmp_path, etcd, before=few) as node:
        assert any("only 640 connections" in line and "1024" in line for line in node.said())
        for number in range(1, 4):
            flood = await connect(node.port, 2_000)
            assert await node.issue() == number
            close(flood)
        node.said()


async def test_slow_heads_are_ended_and_harm_nobody(tmp_path: Path, etcd: str) -> None:
    async with running_node(tmp_path, etcd, "--head-s", "1.5") as node:
        silent, slow = await connect(node.port, 50), await connect(node.port, 300)
        loop = asyncio.get_running_loop()
        for byte in get(GOOD)[:12]:  # a byte each tenth of a second does not help
            for each in slow:
                with contextlib.suppress(ConnectionError):
                    await loop.sock_sendall(each, bytes([byte]))
            await node.issue()
            await asyncio.sleep(0.1)
        for each in slow:
            answer = await ended(each, within_s=5)
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b"NB022" in answer
        assert [await ended(each, within_s=5) for each in silent] == [b""] * 50
        close(silent + slow)
        await asyncio.sleep(1.1)
        lines = [line for line in node.said() if "NB022" in line]
        assert 1 <= len(lines) <= 4
        assert re.search("and [0-9]+ more", lines[-1])


async def test_a_second_head_must_come_in_time_too(tmp_path: Path, etcd: str) -> None:
    async with running_node(tmp_path, etcd, "--head-s", "1", "--idle-s", "4") as node:
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
        for pause_s in (0.0, 1.5):  # idling between requests is no fault
            await asyncio.sleep(pause_s)
            writer.write(get(GOOD))
            assert (await answer_on(reader)).status == 200
        writer.write(get(GOOD)[:20])
        assert (await answer_on(reader)).status == 408
        assert await reader.read() == b""
        writer.close()
        idle = await connect(node.port, 1)
        assert await ended(idle[0], within_s=5) == b""
        close(idle)
        large = await connect(node.port, 1)
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                await asyncio.get_running_loop().sock_sendall(large[0], b"X-Filler: x\r\n" * 100)
        assert (await node.issue()) == 3


async def test_slow_and_endless_bodies_are_ended_and_harm_nobody(tmp_path: Path, etcd: str) -> None:
    endless = raw(f"POST {NEXT} HTTP/1.1", JSON, "Transfer-Encoding: chunked")
    async with running_node(tmp_path, etcd) as node:
        slow = await connect(node.port, 300)
        loop = asyncio.get_running_loop()
        for each in slow:
            await loop.sock_sendall(each, POST_WITHOUT_BODY)
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
        writer.write(endless)
        answering = asyncio.create_task(answer_on(reader))
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(10):
                while not writer.is_closing():
                    writer.write(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
                    await writer.drain()
        answer = await answering
        assert (answer.status, answer.problem["code"]) == (413, "NB018")
        writer.close()
        for _ in range(10):  # one byte a second
            for each in slow:
                await loop.sock_sendall(each, b" ")
            await node.issue()
            await asyncio.sleep(1)
        for each in slow:
            answer = await ended(each, within_s=10)
            assert answer.startswith(b"HTTP/1.1 408 ")
        close(slow)
        assert await node.rss() < RSS_BYTES_MAX
        node.said()


async def test_a_full_queue_refuses_at_once_and_serves_whom_it_took(
    tmp_path: Path, etcd: str
) -> None:
    host, port = etcd.removeprefix("http://").split(":")
    proxy = await TcpProxy(host, int(port)).start()
    async with running_node(tmp_path, proxy.url, "--queue-max", "10", "--etcd-attempt-s", "5") as n:
        assert await n.issue() == 1
        proxy.delay_s = 1.0

        async def one() -> tuple[Answer, float]:
            began = time.monotonic()
            return await ask(n.port, get(GOOD)), time.monotonic() - began

        outcomes = await asyncio.gather(*(one() for _ in range(60)))
        refused = [(answer, took_s) for answer, took_s in outcomes if answer.status == 503]
        served = [answer for answer, _ in outcomes if answer.status == 200]
        assert len(refused) == 55
        assert len(served) == 5
        for answer, took_s in refused:
            assert answer.problem["code"] == "NB003"
            assert answer.headers["retry-after"] == "1"
            assert took_s < 1.0, "it waited for a commit"
        proxy.delay_s = 0.0
        numbers = [re.search(rb'"firstSequenceNumber":(\d+)', a.body)[1] for a in served]
        assert sorted(map(int, numbers)) == [2, 3, 4, 5, 6]
        assert await n.issue() == 7, "whoever was refused got no number"
        assert len([line for line in n.said() if "NB003" in line]) <= 3
    await proxy.stop()


async def test_a_flood_of_garbage_harms_nobody_and_fills_no_log(tmp_path: Path, etcd: str) -> None:
    async with running_node(tmp_path, etcd) as node:
        began = time.monotonic()

        async def flood() -> None:
            for _ in range(100):
                assert (await ask(node.port, b"\0\0garbage\r\n\r\n")).status == 400

        async with asyncio.TaskGroup() as floods:
            for _ in range(20):
                floods.create_task(flood())
            for _ in range(10):
                await node.issue()
        await asyncio.sleep(1.1)
        lines = [line for line in node.said() if "NB009" in line]
        assert 2 <= len(lines) <= time.monotonic() - began + 2
        counted = sum(int(found[1]) for x in lines if (found := re.search(r"and (\d+) more", x)))
        assert counted == 1_999, "every refusal is in a line or in a count"


async def test_a_flood_of_long_readings_keeps_no_number_waiting(tmp_path: Path, etcd: str) -> None:
    async with running_node(tmp_path, etcd) as node:
        for _ in range(12):
            assert (await ask(node.port, get(f"{GOOD}&count=100"))).status == 200
        listing = get("/api/v1/sequence/audit?limit=1000")
        readers = [asyncio.create_task(ask(node.port, listing, within_s=60)) for _ in range(300)]
        await asyncio.sleep(0.5)
        assert not all(reader.done() for reader in readers), "the flood is still on"
        assert [await node.issue() for _ in range(5)] == list(range(1_201, 1_206))
        answers = await asyncio.gather(*readers)
        refused = [answer for answer in answers if answer.status == 503]
        assert {answer.status for answer in answers} == {200, 503}
        assert len(refused) >= 300 - 64 - 12, "few run and few wait"
        assert {answer.problem["code"] for answer in refused} == {"NB003"}
        assert all(answer.headers["retry-after"] for answer in refused)
        assert await node.rss() < RSS_BYTES_MAX
        node.said()
