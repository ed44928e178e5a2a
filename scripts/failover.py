#!/usr/bin/env python3
"""How long nobody is served when the etcd leader, or a node, is killed: over many kills.

Three etcd members and four nodes run in a throw-away folder, as the start command runs them.
Clients with idempotency keys take numbers one by one; when an answer is lost they repeat the
request, with its key, at the next node. Then the leader is killed (kill -9), again and again,
each time when the one before is back and healthy; then a node, in turns.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import random
import signal
import sys
import textwrap
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any

import aiohttp
from chaos.books import Books
from chaos.clients import STEADY, Caller, Client
from chaos.frame import exit_with, run_in_folder, say, write_json
from chaos.installation import Installation, LabError
from chaos.members import GatewayError
from chaos.verdict import Check, check_books, check_replay, read_ledger

from cluster.members import ELECTION_MS, HEARTBEAT_MS

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENTS_DEFAULT = 16
KILLS_DEFAULT = 20
CALM_S_DEFAULT = 20.0  # under load, before anything is killed: elections here are spurious
STEADY_S_MIN, STEADY_S_MAX = 0.5, 1.5  # between well again and the next kill
SUCCESS_S_MAX = 60.0
END_S_MAX = 60.0
LEADER_TARGET_S = 1.5
NODE_TARGET_S = 0.3


@dataclass
class Series:
    """The times of one kind of kill, in seconds."""

    what: str
    target_s: float | None
    times_s: list[float] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Tell whether the longest one is within the target."""
        return self.target_s is None or max(self.times_s, default=0.0) <= self.target_s

    def spread(self) -> dict[str, float]:
        """Return min, p50, p90 and max."""
        ordered = sorted(self.times_s) or [0.0]
        many = len(ordered) > 1
        tenths = quantiles(ordered, n=10, method="inclusive") if many else ordered * 9
        found = {"min": ordered[0], "p50": tenths[4], "p90": tenths[8], "max": ordered[-1]}
        return {name: round(seconds, 3) for name, seconds in found.items()}


@dataclass
class Result:
    """What a run measured."""

    etcd: str
    kills: int
    calm_s: float
    series: list[Series]
    calm_elections: int
    kill_elections: int
    figures: dict[str, int]
    checks: list[Check]

    @property
    def right(self) -> bool:
        """Tell whether every answer and the ledger are right, whatever the times."""
        return all(check.ok for check in self.checks)


class Measurement:
    """One run under way."""

    def __init__(self, installation: Installation, clients: list[Client], books: Books) -> None:
        self._installation = installation
        self._clients = clients
        self._books = books
        self._draw = random.Random(1)  # noqa: S311 - only the moments of the kills
        self.calm = Series("nothing killed: one request", None)
        self.leader_first = Series("leader killed: until a client is served", LEADER_TARGET_S)
        self.leader_all = Series("leader killed: until every client is served", None)
        self.node_first = Series("node killed: until a client of its is served", NODE_TARGET_S)
        self.node_all = Series("node killed: until all its clients are served", None)

    def series(self) -> list[Series]:
        """Return everything measured, in the order of the report."""
        leader, node = (self.leader_first, self.leader_all), (self.node_first, self.node_all)
        return [self.calm, *leader, *node]

    async def kill_leader(self) -> None:
        """Kill the leader once and wait until all is well."""
        await self._calm()
        name = await self._installation.leader()
        if name is None:
            raise LabError("the members have no leader")
        everyone = [client.name for client in self._clients]
        await self._kill(name, everyone, self.leader_first, self.leader_all)

    async def kill_node(self, name: str) -> None:
        """Kill a node once and wait until all is well."""
        await self._calm()
        while not (there := [client.name for client in self._clients if client.at == name]):
            await asyncio.sleep(0.05)
        await self._kill(name, there, self.node_first, self.node_all)

    async def _kill(self, name: str, clients: list[str], first: Series, every: Series) -> None:
        if self._installation.send(name, signal.SIGKILL) is None:
            raise LabError(f"{name} was not there to be killed")
        seen = [self._books.first_success(clients=frozenset({each})) for each in clients]
        async with asyncio.timeout(SUCCESS_S_MAX):
            times = await asyncio.gather(*seen)
        first.times_s.append(min(times))
        every.times_s.append(max(times))
        say(f"  {name:10} {min(times):6.3f} s, all {len(times)}: {max(times):6.3f} s")

    async def _calm(self) -> None:
        installation = self._installation
        await installation.wait_until("members are well", installation.members_are_healthy)
        await installation.wait_until("nodes are ready", installation.nodes_are_ready)
        await asyncio.sleep(self._draw.uniform(STEADY_S_MIN, STEADY_S_MAX))

    async def term(self) -> int:
        """Return the number that grows with every election."""
        found = []
        for gateway in self._installation.members.values():
            try:
                found.append((await gateway.status()).term)
            except GatewayError:
                continue
        return max(found, default=0)


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    options = parse(sys.argv[1:])
    with busy(options.busy):
        result = run_in_folder(
            "failover",
            lambda folder: measure(options, folder),
            is_wanted=lambda result: not result.right,
        )
    print_result(result)
    write_json(options.json, as_json(result))
    missed = [series for series in result.series if not series.ok]
    return 1 if not result.right or (options.check and missed) else 0


async def measure(options: argparse.Namespace, folder: Path) -> Result:
    """Bring a cluster up, kill, and judge."""
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(connector=connector, trust_env=False) as http,
        Installation(folder, http, say, by_proxy=False) as installation,
    ):
        books = Books()
        caller = Caller(http, installation.nodes, books)
        clients = [
            Client(caller, number, random.Random(number), STEADY)  # noqa: S311
            for number in range(options.clients)
        ]
        stopping = asyncio.Event()
        running = [asyncio.create_task(client.run(stopping)) for client in clients]
        taken = Measurement(installation, clients, books)
        terms = [await taken.term()]
        say(f"{options.calm_s:g} s under load, nothing is killed")
        await asyncio.sleep(options.calm_s)
        terms.append(await taken.term())
        taken.calm.times_s += books.durations_s
        say(f"killing the leader {options.kills} times")
        for _ in range(options.kills):
            await taken.kill_leader()
        terms.append(await taken.term())
        say(f"killing a node {options.kills} times")
        for number in range(options.kills):
            await taken.kill_node(caller.names[number % len(caller.names)])
        stopping.set()
        async with asyncio.timeout(END_S_MAX):
            await asyncio.gather(*running)
        ledger = await read_ledger(next(iter(installation.members.values())))
        return Result(
            etcd=installation.etcd_version,
            kills=options.kills,
            calm_s=options.calm_s,
            series=taken.series(),
            calm_elections=terms[1] - terms[0],
            kill_elections=terms[2] - terms[1],
            figures={
                "requests with a key": len(books.keyed),
                "of these failed": sum(asked.answer is None for asked in books.keyed.values()),
                **{name: books.counts[name] for name in ("answers 503", "answers 504")},
                **{name: books.counts[name] for name in ("answers lost", "connections refused")},
            },
            checks=[*check_books(books, ledger), *check_replay(ledger)],
        )


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep so many cores busy with something else meanwhile."""
    burners = [multiprocessing.Process(target=_burn, daemon=True) for _ in range(processes)]
    for burner in burners:
        burner.start()
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()


def _burn() -> None:
    while True:
        pass


def print_result(result: Result) -> None:
    """Write the report to stdout."""
    settings = f"heartbeat {HEARTBEAT_MS} ms, election {ELECTION_MS} ms"
    print(f"Failover: etcd {result.etcd}, {settings}, {result.kills} kills of each kind\n")
    print(f"  {'seconds':46}{'min':>8}{'p50':>8}{'p90':>8}{'max':>8}  target")
    for series in result.series:
        row = "".join(f"{seconds:8.3f}" for seconds in series.spread().values())
        target = ""
        if series.target_s is not None:
            target = f"  at most {series.target_s:g}: {'reached' if series.ok else 'MISSED'}"
        print(f"  {series.what:46}{row}{target}")
    print(f"\n  elections: {result.calm_elections} in {result.calm_s:g} s without a kill, ", end="")
    print(f"{result.kill_elections} in {result.kills} kills of a leader")
    for name, count in result.figures.items():
        print(f"  {count:>9,}  {name}")
    print()
    for check in result.checks:
        print(f"  {'PASS' if check.ok else 'FAIL'}  {check.name} ({check.detail})")


def as_json(result: Result) -> dict[str, Any]:
    """Return the run as JSON values."""
    fields = asdict(result) | {"heartbeat_ms": HEARTBEAT_MS, "election_ms": ELECTION_MS}
    fields["series"] = [asdict(series) | series.spread() for series in result.series]
    fields["checks"] = [check._asdict() for check in result.checks]
    return fields


def parse(words: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="failover.py",
        description=textwrap.dedent(__doc__),
        epilog="examples:\n"
        "  scripts/failover.py                     20 kills of each kind; about four minutes\n"
        "  scripts/failover.py --kills 50 --check  exit 1 also when a target is missed\n"
        "  scripts/failover.py --busy 2            while two other processes want a core each\n\n"
        "A time runs from the kill to the end of the first request that began after it and\n"
        "succeeded. The exit code is 0 when every request got its answer and the ledger holds\n"
        "what was answered, whatever the times; 1 otherwise.\n"
        "Programs: etcd. Debian: apt install etcd-server",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--kills", type=int, default=KILLS_DEFAULT, metavar="N", help="of each kind (20)")
    add("--clients", type=int, default=CLIENTS_DEFAULT, metavar="N", help="clients at work (16)")
    add(
        "--calm-s",
        type=float,
        default=CALM_S_DEFAULT,
        metavar="S",
        help="seconds under load before the first kill, to see needless elections (20)",
    )
    add("--busy", type=int, default=0, metavar="N", help="other processes that burn a core (0)")
    add("--json", type=Path, metavar="FILE", help="also write everything as JSON")
    add("--check", action="store_true", help="exit 1 when a target is missed")
    options = parser.parse_args(words)
    if min(options.kills, options.clients) < 1 or min(options.busy, options.calm_s) < 0:
        parser.error("--kills and --clients start at 1, --busy and --calm-s at 0")
    return options


if __name__ == "__main__":
    exit_with(main)
