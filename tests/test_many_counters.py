"""Many counters on one node: all in use, a few at a time in memory, and a hot one beside them.

``MANY_COUNTERS=10000`` makes it as large as promised; ``pytest -s`` prints the figures.
"""

# ruff: noqa: T201 - figures are what it is run for by hand

import asyncio
import json
import os
import re
import statistics
import time
import uuid
from contextlib import suppress
from itertools import count
from math import isqrt
from pathlib import Path

import pytest
from serving import QUIET, Switch, alone, until
from support import ask, running_node

from coordinator.clock import now
from coordinator.core.keys import Keys
from coordinator.core.plan import Rules
from coordinator.core.records import Issued, Origin
from coordinator.core.requests import Call, Done, Issue
from coordinator.counters import KEPT_MIN, Counters, Terms
from coordinator.service import Bounds, Node
from coordinator.store.memory import MemoryStore
from coordinator.witness import Witness

SIDE = isqrt(int(os.environ.get("MANY_COUNTERS", "900")))
CALLERS = 32
IDLE_S = 1.0
ROUNDS = 3
RSS_BYTES_EACH = 30_000
"""Of a counter in memory; what forgotten ones leave must be far less."""

HOT = ("s0", "p0")
OTHERS = [(f"s{i}", f"p{j}") for i in range(SIDE) for j in range(SIDE) if (i, j) != (0, 0)]


class Caller:
    """One connection to a node."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> bytes:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=2**24)
        reader, writer = self._streams
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(int(re.search(rb"(?i)length: (\d+)", head)[1]))
        assert head.startswith(b"HTTP/1.1 200"), body
        return body

    async def issue(self, site: str, partition: str) -> int:
        query = f"siteId={site}&partitionId={partition}&invoiceType=on-cycle"
        body = await self.get(f"/api/v1/sequence/next?{query}")
        return int(json.loads(body)["sequenceNumbers"][0])

    async def gauge(self, name: str) -> float:
        text = (await self.get("/metrics")).decode()
        return float(re.search(rf"(?m)^{name} (\S+)", text)[1])

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


class Hot:
    """A caller who never pauses; its numbers must be one after the other."""

    def __init__(self, port: int) -> None:
        self._caller = Caller(port)
        self._waits: list[float] = []

    async def run(self) -> None:
        for expected in count(1):
            began = time.monotonic()
            assert await self._caller.issue(*HOT) == expected
            self._waits.append(time.monotonic() - began)

    def median_ms(self) -> float:
        """Return the median wait since the last call."""
        waits, self._waits = self._waits, []
        return 1_000 * statistics.median(waits)


async def use_each_once(port: int, expected: int) -> float:
    """Take one number of each counter; return how many seconds that took."""
    left, began = iter(OTHERS), time.monotonic()

    async def work() -> None:
        caller = Caller(port)
        for place in left:
            assert await caller.issue(*place) == expected, place
        caller.close()

    await asyncio.gather(*(work() for _ in range(CALLERS)))
    return time.monotonic() - began


async def watch(port: int) -> list[float]:
    """Use all counters in rounds, beside the hot one; return the node's memory after each."""
    hot, operator = Hot(port), Caller(port)
    serving = asyncio.create_task(hot.run())
    await asyncio.sleep(1)
    before = await operator.gauge("process_resident_memory_bytes")
    print(f"\nhot counter alone: p50 {hot.median_ms():.1f} ms, memory {before / 1e6:.0f} MB")
    memory = []
    for number in range(1, ROUNDS + 1):
        took_s = await use_each_once(port, number)
        beside = hot.median_ms()
        memory.append(await operator.gauge("process_resident_memory_bytes"))
        loaded = await operator.gauge("numbering_counters_loaded")
        async with asyncio.timeout(60):
            while await operator.gauge("numbering_counters_loaded") > KEPT_MIN:
                await asyncio.sleep(0.2)
        print(
            f"{len(OTHERS)} others once each: {took_s:.1f} s, the hot one meanwhile p50 "
            f"{beside:.1f} ms, then {loaded:.0f} in memory, {memory[-1] / 1e6:.0f} MB; forgotten: "
            f"hot p50 {hot.median_ms():.1f} ms"
        )
    assert not serving.done(), serving
    serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving
    return [each - before for each in memory]


def test_counters_in_use_now_and_then_stay_in_order_and_leave_the_memory(
    tmp_path: Path, etcd: str
) -> None:
    flags = ["--strategy", "PARTITION_SEQUENTIAL", "--counter-idle-s", str(IDLE_S)]
    flags += ["--sites", ",".join(f"s{i}" for i in range(SIDE))]
    flags += ["--partitions", ",".join(f"p{i}" for i in range(SIDE))]
    flags += ["--root", f"/test-{uuid.uuid4().hex[:8]}/", "--state-dir", str(tmp_path / "state")]
    with running_node(tmp_path, etcd, *flags) as url:
        grown = asyncio.run(watch(int(url.rsplit(":", 1)[1])))
        assert grown[0] < RSS_BYTES_EACH * len(OTHERS) + 10_000_000
        assert grown[-1] - grown[0] < 0.2 * RSS_BYTES_EACH * len(OTHERS) + 5_000_000
        began = time.monotonic()
        status, stats = ask(url, "stats")
        assert status == 200
        assert stats["totalGenerated"] >= ROUNDS * len(OTHERS)
        assert ask(url, "health")[1]["healthy"]
        assert len(ask(url, "gaps")[1]["gaps"]) <= 1, "what the hot one did not hear, at most"
        newest = ask(url, "audit?limit=20")[1]
        assert len(newest) == 20
        assert {row["counter"] for row in newest} <= {"invoice/s0/p0"}, "the hot one was last"
        rows = ask(url, "audit?siteId=s1&partitionId=p2&limit=2")[1]
        assert [row["sequenceNumber"] for row in rows] == [3, 2]
        assert ask(url, "audit/3")[0] == 400, "whose?"
        assert len(ask(url, "audit/3?siteId=s1&partitionId=p2")[1]) == 1
        print(f"the readings together: {time.monotonic() - began:.1f} s")


@pytest.fixture
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordinator.counters.KEPT_MIN", 0)


class Small:
    """Counters on a store in memory."""

    def __init__(self, **terms: float) -> None:
        self.store = Switch(MemoryStore())
        self.witness = Witness()
        self.counters = Counters(
            self.store,  # type: ignore[arg-type]
            Keys(),
            Node("n", "n"),
            Terms(Rules(), Bounds(deadline_s=1.0), **terms),  # type: ignore[arg-type]
            lambda _: QUIET,
            self.witness,
            alone("n"),
        )

    async def take(self, name: str) -> int:
        call = Call(Origin("site-1", "partition-a", "on-cycle"), "c", now().monotonic_us)
        answer = await self.counters.sequencer(name).submit(Issue(call))
        assert isinstance(answer, Done)
        assert isinstance(answer.record, Issued)
        return answer.record.first


async def test_of_more_counters_than_fit_those_asked_for_longest_ago_are_forgotten() -> None:
    small = Small(loaded_max=5)
    for number in (1, 2, 3):
        for name in "abcdefgh":
            assert await small.take(name) == number
            await asyncio.sleep(0.12)
        assert len(small.counters) == 5
    kept = small.counters.sequencer("h")
    await small.take("a")
    assert small.counters.sequencer("h") is kept
    await small.counters.stop(grace_s=1)


async def test_a_few_stay_however_idle() -> None:
    small = Small(idle_s=0.05)
    forgetting = asyncio.create_task(small.counters.keep_forgetting())
    for number in range(KEPT_MIN + 20):
        await small.take(f"c{number}")
    await until(lambda: len(small.counters) <= KEPT_MIN, "the others are forgotten")
    await asyncio.sleep(0.3)
    assert len(small.counters) > KEPT_MIN - 16
    assert await small.take("c0") == 2
    forgetting.cancel()
    await small.counters.stop(grace_s=1)


@pytest.mark.usefixtures("nothing_kept")
async def test_a_counter_in_trouble_or_in_use_is_not_forgotten() -> None:
    small = Small(idle_s=0.05, loaded_max=1)
    forgetting = asyncio.create_task(small.counters.keep_forgetting())
    await small.take("a")
    small.store.refuses = True
    waiting = asyncio.create_task(small.take("a"))
    for _ in range(20):
        await asyncio.sleep(0.02)
        assert len(small.counters) == 1
    assert small.counters.trouble
    small.counters.sequencer("b")  # there must be room for those who ask
    assert len(small.counters) == 2
    small.store.refuses = False
    assert await waiting == 2
    await until(lambda: not len(small.counters), "both are forgotten")
    assert await small.take("a") == 3
    forgetting.cancel()
    await small.counters.stop(grace_s=1)


@pytest.mark.usefixtures("nothing_kept")
async def test_a_rewound_counter_stays_known_and_a_forgotten_one_is_recognised() -> None:
    small = Small(idle_s=0.05)
    forgetting = asyncio.create_task(small.counters.keep_forgetting())
    await small.take("a")
    await until(lambda: not len(small.counters), "it is forgotten")
    small.store.store = MemoryStore()
    with pytest.raises(Exception, match="does not continue"):
        await small.take("a")
    await asyncio.sleep(0.5)
    assert list(small.counters.rewound) == ["a"]
    forgetting.cancel()
    await small.counters.stop(grace_s=0)


async def test_many_at_once_have_few_commits_under_way() -> None:
    small, under_way, most = Small(), 0, 0
    commit = small.store.commit

    async def counted(transaction: object) -> object:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001)
        under_way -= 1
        return await commit(transaction)  # type: ignore[arg-type]

    small.store.commit = counted  # type: ignore[assignment, method-assign]
    taken = await asyncio.gather(*(small.take(f"counter-{i}") for i in range(200)))
    assert set(taken) == {1}
    assert most <= 40
    await small.counters.stop(grace_s=1)
