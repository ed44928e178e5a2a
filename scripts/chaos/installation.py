"""A throw-away cluster with a bad network: every node reaches every member by a way of its own."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import aiohttp
from tcp_proxy import TcpProxy

from chaos.members import Gateway, GatewayError
from cluster import members as etcd_members
from cluster.errors import StartError
from cluster.etcd_binary import find_etcd, tools_folder
from cluster.nodes import node_specs
from cluster.ports import Claims
from cluster.supervisor import RESTART_DELAY_S_MIN, TICK_S, Spec, Supervisor, log_tail

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

HOST = "127.0.0.1"
NODES = 4
TURN = b"/sequence/c/invoice/turn"
READY_S_MAX = 60.0
POLL_S = 0.05
FAKETIME_NAMES = ("libfaketimeMT.so.1", "libfaketime.so.1")  # MT: for programs with threads


class LabError(Exception):
    """The cluster cannot be brought up, or did not become healthy; the message says why."""


def find_faketime() -> Path | None:
    """Return the library that can move a process's wall clock, if this machine has it."""
    for folder in ("/usr/lib/*/faketime", "/usr/lib*/faketime", "/usr/local/lib*/faketime"):
        for name in FAKETIME_NAMES:
            found = sorted(Path("/").glob(f"{folder}/{name}".lstrip("/")))
            if found:
                return found[0]
    return None


class Installation:
    """Three members, four nodes and their ways; use it with ``async with``."""

    def __init__(
        self,
        folder: Path,
        http: aiohttp.ClientSession,
        say: Callable[[str], None],
        quota_bytes: int | None = None,
        faketime: Path | None = None,
        *,
        by_proxy: bool = True,
    ) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.nodes: dict[str, str] = {}
        """The nodes' addresses, by name."""
        self.members: dict[str, Gateway] = {}
        self.ways: dict[str, dict[str, TcpProxy]] = {}
        """By node and member."""
        self.doors: dict[str, TcpProxy] = {}
        """By node the way on which the other nodes reach it; clients have one of their own."""
        self.etcdctl = Path(shutil.which("etcdctl") or "etcdctl")
        self.etcd_version = ""
        self._http = http
        self._say = say
        self._quota_bytes = quota_bytes
        self._faketime = faketime
        self._by_proxy = by_proxy
        self._claims = Claims(HOST)
        self._supervisor = Supervisor(folder, self.logs, self._heard, lambda: None)
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _start(self) -> None:
        try:
            binary = find_etcd(tools_folder(self.folder), self._say)
            self.etcd_version = binary.version
            beside = binary.path.with_name("etcdctl")
            self.etcdctl = beside if beside.exists() else self.etcdctl
            folder = self.folder / "etcd"
            members = etcd_members.load_or_create(folder, None, self._claims)
            self._supervisor.start(
                [
                    self._with_quota(spec)
                    for spec in etcd_members.member_specs(binary.path, folder, members)
                ]
            )
            self._watching = asyncio.create_task(self._watch())
            for member in members.members:
                self.members[member.name] = Gateway(self._http, member.client_url)
            await self.wait_until("all members are healthy", self.members_are_healthy)
            self._supervisor.start([self._with_clock(spec) for spec in await self._node_specs()])
        except StartError as trouble:
            raise LabError(str(trouble)) from trouble
        await self.wait_until("all nodes are ready", self.nodes_are_ready)

    async def _node_specs(self) -> list[Spec]:
        """Return how to run each node, on ways to the members that are its own."""
        ports = self._claims.claim_block(0)
        specs: list[Spec] = []
        for at in range(NODES):
            ways = await self._ways() if self._by_proxy else {}
            reached = ways or self.members
            members = [each.url for each in reached.values()]
            spec = node_specs(HOST, ports, members, self.folder / "nodes")[at]
            if self._by_proxy:
                spec = await self._with_door(spec)
            self.ways[spec.name] = ways
            self.nodes[spec.name] = spec.url
            specs.append(spec)
        return specs

    async def _with_door(self, spec: Spec) -> Spec:
        """Have a node tell the others an address before its own, which can be shut."""
        door = TcpProxy(HOST, int(spec.url.rsplit(":", 1)[1]))
        door.port = self._claims.claim_any()
        self.doors[spec.name] = await door.start()
        at = spec.command.index("--advertise-url") + 1
        return replace(spec, command=(*spec.command[:at], door.url, *spec.command[at + 1 :]))

    async def _ways(self) -> dict[str, TcpProxy]:
        """Make one node's ways, by member."""
        ways: dict[str, TcpProxy] = {}
        for name, gateway in self.members.items():
            way = TcpProxy(HOST, int(gateway.url.rsplit(":", 1)[1]))
            way.port = self._claims.claim_any()  # its own for good, also while it refuses
            ways[name] = await way.start()
        return ways

    def _with_quota(self, spec: Spec) -> Spec:
        if self._quota_bytes is None:
            return spec
        more = ("--quota-backend-bytes", str(self._quota_bytes))  # the last one counts
        return replace(spec, command=(*spec.command, *more))

    def _with_clock(self, spec: Spec) -> Spec:
        if self._faketime is None:
            return spec
        self.set_clock(spec.name, "+0")
        words = (
            "env",
            f"LD_PRELOAD={self._faketime}",
            f"FAKETIME_TIMESTAMP_FILE={self._clock_of(spec.name)}",
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
        )
        return replace(spec, command=(*words, *spec.command))

    def _clock_of(self, node: str) -> Path:
        return self.folder / f"{node}.clock"

    def set_clock(self, node: str, offset: str) -> None:
        """Move a node's wall clock: ``-90m``, ``+5h``; ``+0`` puts it right."""
        draft = self._clock_of(node).with_suffix(".draft")
        draft.write_text(offset + "\n", "ascii")
        draft.replace(self._clock_of(node))

    async def stop(self) -> None:
        """Stop everything; the folder stays."""
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
        for name in self._supervisor.children:
            self.send(name, signal.SIGCONT)
        await asyncio.to_thread(self._supervisor.stop)  # nodes leave by ways that work meanwhile
        for ways in self.ways.values():
            for way in ways.values():
                await way.stop()
        for door in self.doors.values():
            await door.stop()
        self._claims.close()

    async def _watch(self) -> None:
        while True:
            self._supervisor.tick()
            await asyncio.sleep(TICK_S)

    def _heard(self, line: str) -> None:
        """Keep what the supervisor says; the faults themselves are told elsewhere."""
        with (self.folder / "supervisor.log").open("a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%H:%M:%S')} {line}\n")

    def pid(self, name: str) -> int | None:
        """Return the process id of a member or node while it runs."""
        return self._supervisor.children[name].pid

    def deaths(self, name: str | None = None) -> int:
        """Return how often this process, or any, has died so far."""
        children = self._supervisor.children
        return sum(child.deaths for child in children.values() if name in {None, child.spec.name})

    def send(self, name: str, what: signal.Signals, pid: int | None = None) -> int | None:
        """Send a signal and return the process it went to.

        With ``pid``, only if that process is still the one that runs under this name.
        """
        child = self._supervisor.children[name]
        running = child.pid
        if running is None or pid not in {None, running}:
            return None
        if what in {
            signal.SIGKILL,
            signal.SIGTERM,
        }:  # no loop of crashes, which would be waited for ever longer
            child.delay_s = RESTART_DELAY_S_MIN
        with suppress(ProcessLookupError):
            os.kill(running, what)
        return running

    async def leader(self) -> str | None:
        """Return the name of the member that leads, as a majority sees it."""
        votes: list[str] = []
        names: dict[str, str] = {}
        for name, gateway in self.members.items():
            with suppress(GatewayError):
                status = await gateway.status()
                names[status.member] = name
                votes.append(status.leader)
        found = [vote for vote in votes if votes.count(vote) * 2 > len(self.members)]
        return names.get(found[0]) if found else None

    async def turn(self) -> str | None:
        """Return the name of the node that commits for the others, if any member tells."""
        for gateway in self.members.values():
            with suppress(GatewayError, ValueError, LookupError):
                async for pair in gateway.pairs(TURN):
                    return str(json.loads(pair.value)[0])
        return None

    async def members_are_healthy(self) -> bool:
        """Tell whether every member runs, answers and follows the same leader."""
        healthy = await asyncio.gather(*(each.is_healthy() for each in self.members.values()))
        return all(healthy) and await self.leader() is not None

    async def nodes_are_ready(self) -> bool:
        """Tell whether every node says that it can serve."""
        return all(await asyncio.gather(*map(self.is_ready, self.nodes)))

    async def is_ready(self, node: str) -> bool:
        """Tell whether a node says that it can serve."""
        try:
            timeout = aiohttp.ClientTimeout(total=3)
            async with self._http.get(f"{self.nodes[node]}/readyz", timeout=timeout) as answer:
                return answer.ok
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    async def ask_node(self, node: str, what: str, within_s: float) -> object:
        """Return what a node answers to a question of the sequence API, whatever it is."""
        url = f"{self.nodes[node]}/api/v1/sequence/{what}"
        try:
            timeout = aiohttp.ClientTimeout(total=within_s)
            async with self._http.get(url, timeout=timeout) as answer:
                return await answer.json(content_type=None)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as trouble:
            return repr(trouble)

    async def wait_until(
        self, what: str, is_so: Callable[[], Awaitable[bool]], within_s: float = READY_S_MAX
    ) -> None:
        """Poll until it is so. Raises LabError with the last words of what is not well."""
        ends = time.monotonic() + within_s
        while not await is_so():
            if time.monotonic() > ends:
                logs = [child.log for child in self._supervisor.children.values()]
                words = "\n".join(f"  {log.name}:\n{log_tail(log, 4)}" for log in logs)
                raise LabError(f"not within {within_s:g} s: {what}\n{words}")
            await asyncio.sleep(POLL_S)
