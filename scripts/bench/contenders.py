"""The contenders: each starts its servers, yields one measured round, and at the end tells truth.

A contender is a context manager that yields `measure(seconds) -> Sample`. What follows its `yield`
verifies what the servers hold, so that speed is never bought with wrong numbers.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.lab import (
    HERE,
    LOOPBACK,
    BenchError,
    Lab,
    find_tool,
    free_ports,
    get,
    get_json,
    process,
    python,
    tool,
    wait_until,
)
from bench.loads import Sample, pgbench, wrk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Measure = Callable[[float], Sample]

HTTP_OK = 200
NEXT = "/api/v1/sequence/next?siteId=site-1&partitionId=partition-a&invoiceType=on-cycle"
STATS = "/api/v1/sequence/stats"
VALIDATE = "/api/v1/sequence/validate"
TRANSACTION, FUNCTION = "postgres_transaction.sql", "postgres_function.sql"


@contextmanager
def hello(lab: Lab) -> Iterator[Measure]:
    """Measure a bare aiohttp server: the ceiling of everything served from one Python process."""
    port = free_ports()
    with process(lab, "hello", [python(), str(HERE / "hello.py"), str(port)]) as running:
        wait_until(lambda: get(port, "/")[0] == HTTP_OK, running, "hello")
        yield lambda seconds: wrk(lab, port, "/", seconds)


@contextmanager
def one_node(lab: Lab) -> Iterator[Measure]:
    """Measure single numbers from one node over one etcd member."""
    with etcd(lab) as endpoint, node(lab, endpoint) as (port, _pid):
        handed_out = Tally(lab, port)
        yield handed_out.measure
        handed_out.verify("one node")


@contextmanager
def postgres_transaction(lab: Lab) -> Iterator[Measure]:
    """Measure PostgreSQL's gapless way as it is usually written: one transaction, four calls."""
    with _postgres_gapless(lab, TRANSACTION) as measure:
        yield measure


@contextmanager
def postgres_function(lab: Lab) -> Iterator[Measure]:
    """Measure PostgreSQL's gapless way in its best form: a function, one round trip."""
    with _postgres_gapless(lab, FUNCTION) as measure:
        yield measure


@contextmanager
def etcd(lab: Lab) -> Iterator[str]:
    """Run one throw-away etcd member with its default durability; yields its client URL."""
    client, peer = (f"http://{LOOPBACK}:{free_ports()}" for _ in range(2))
    argv = [
        *(tool("etcd"), "--name", "bench", "--data-dir", str(lab.new_folder("etcd-data"))),
        *("--listen-client-urls", client, "--advertise-client-urls", client),
        *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
        *("--initial-cluster", f"bench={peer}"),
    ]
    with process(lab, "etcd", argv) as running:
        port = int(client.rpartition(":")[2])
        wait_until(lambda: b'"true"' in get(port, "/health")[1], running, "etcd")
        yield client


@contextmanager
def node(lab: Lab, endpoint: str) -> Iterator[tuple[int, int]]:
    """Run one coordinator node; yields its port and its process id."""
    port = free_ports()
    argv = [
        *(python(), "-m", "coordinator", "serve", "--node-id", "bench", "--host", LOOPBACK),
        *("--port", str(port), "--etcd-endpoints", endpoint, "--profile", "demonstration"),
    ]
    with process(lab, "node", argv) as running:
        wait_until(lambda: get(port, "/readyz")[0] == HTTP_OK, running, "the node")
        yield port, running[0].pid


class Tally:
    """Loads a node, and knows between which bounds its counter must then be."""

    def __init__(self, lab: Lab, port: int) -> None:
        self._lab, self._port = lab, port
        self._answered, self._runs, self._errors = 0, 0, 0

    def measure(self, seconds: float) -> Sample:
        """Load the node for one round and count what it answered."""
        sample = wrk(self._lab, self._port, NEXT, seconds)
        self._answered += sample.done
        self._errors += sample.errors
        self._runs += 1
        return sample

    def verify(self, who: str) -> None:
        """Compare the counter with the answers, and have the node prove its ledger.

        wrk drops its connections when its time is over. What was being committed then is given
        back, but for answers that were on their way: at most one for each connection of each run.
        The bounds say so instead of hiding it.
        """
        try:
            stats, proof = get_json(self._port, STATS), get_json(self._port, VALIDATE)
        except BenchError as error:
            self._lab.check(f"{who}: tells what it holds", str(error), ok=False)
            return
        counter, gaps = int(stats["currentCounter"]), int(stats["availableGaps"])
        held = int(stats["totalGenerated"]) - int(stats["totalReleased"])
        most = self._answered + self._runs * self._lab.connections
        self._lab.check(
            f"{who}: every answer is in the counter, and nothing else",
            f"answered {self._answered:,} <= held {held:,} <= {most:,} (in flight when wrk left), "
            f"currentCounter {counter:,} less {gaps:,} gaps",
            ok=self._answered <= held <= most and held == counter - gaps,
        )
        self._lab.check(f"{who}: no request failed", f"{self._errors} errors", ok=self._errors == 0)
        self._lab.check(
            f"{who}: the ledger proves it",
            str(proof.get("summary", ""))[:160],
            ok=proof["valid"] is True,
        )


@contextmanager
def _postgres_gapless(lab: Lab, script: str) -> Iterator[Measure]:
    """Run a throw-away PostgreSQL with default settings, hence with fsync."""
    user = _unprivileged_user()
    data, sockets, port = lab.new_folder("pg-data"), lab.new_folder("pg-sockets"), free_ports()
    if user is not None:
        who = pwd.getpwnam(user)
        for folder in (data, sockets):
            os.chown(folder, who.pw_uid, who.pw_gid)
    initdb = [tool("initdb"), "-D", str(data), "-U", "postgres", "-A", "trust"]
    with process(lab, "initdb", initdb, user=user) as running:
        wait_until(lambda: running[0].poll() == 0, running, "initdb")
    server = [
        *(tool("postgres"), "-D", str(data), "-p", str(port), "-k", str(sockets)),
        *("-c", f"listen_addresses={LOOPBACK}"),
        *("-c", f"max_connections={max(100, lab.connections + 20)}"),  # 100 is the default
    ]
    with process(lab, "postgres", server, stop=signal.SIGINT, user=user) as running:
        wait_until(lambda: _sql(port, "SELECT 1")[0], running, "PostgreSQL")
        made, said = _sql(port, (HERE / "postgres_schema.sql").read_text())
        if not made:
            raise BenchError(f"PostgreSQL refused the schema: {said}")
        yield lambda seconds: pgbench(lab, port, HERE / script, seconds)
        _, row = _sql(
            port, "SELECT value, count(number), max(number) FROM counter, audit GROUP BY value"
        )
        lab.check(
            f"{script.removesuffix('.sql')}: gapless",
            f"counter, audit rows and highest number: {row}",
            ok=len(set(row.split("|"))) == 1,
        )


def _unprivileged_user() -> str | None:
    """Name the user to run PostgreSQL as: it refuses root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        raise BenchError("PostgreSQL refuses root and there is no user `postgres`") from None


def _sql(port: int, text: str) -> tuple[bool, str]:
    done = subprocess.run(
        [
            *(tool("psql"), "-h", LOOPBACK, "-p", str(port), "-U", "postgres", "-X", "-q", "-At"),
            *("-v", "ON_ERROR_STOP=1", "-c", text, "postgres"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode == 0, (done.stdout + done.stderr).strip()


def missing_tools(names: tuple[str, ...]) -> tuple[str, ...]:
    """List the programs of a row that this machine lacks."""
    return tuple(name for name in names if find_tool(name) is None)
