"""A throw-away laboratory: servers on free loopback ports, in one folder, gone when it closes."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.progress import Progress, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
LOOPBACK = "127.0.0.1"

START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 15.0
HTTP_SECONDS_MAX = 60.0  # validate reads a ledger of a million numbers

PACKAGES = {  # tool -> the Debian package that brings it
    "wrk": "wrk",
    "etcd": "etcd-server",
    "postgres": "postgresql",
    "initdb": "postgresql",
    "psql": "postgresql-client",
    "pgbench": "postgresql",
    "redis-server": "redis-server",
    "redis-benchmark": "redis-tools",
}


class BenchError(Exception):
    """A row could not be measured; the message says why and what to do."""


@dataclass(frozen=True)
class Check:
    """A statement about what the measured servers hold, and whether it is true."""

    what: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Reading:
    """One measured value with its unit, and how it came about."""

    what: str
    value: float
    unit: str
    note: str = ""


@dataclass(frozen=True)
class Sizes:
    """How large the loads are that count numbers, not seconds."""

    memory_numbers: int
    growth_numbers: int
    growth_gaps: int


@dataclass
class Lab:
    """What every row is given: where to work, how long to measure, and where to write results."""

    folder: Path
    seconds: float
    rounds: int
    connections: int
    sizes: Sizes
    progress: Progress
    checks: list[Check] = field(default_factory=list)
    readings: dict[str, Reading] = field(default_factory=dict)
    tables: dict[str, list[dict[str, str | float]]] = field(default_factory=dict)
    """Tables by their title: rows of column and value."""

    def check(self, what: str, detail: str, *, ok: bool) -> None:
        """Record a truth that the row itself verified."""
        self.checks.append(Check(what, ok, detail))

    def record(self, key: str, reading: Reading) -> None:
        """Keep a reading, and say it."""
        self.readings[key] = reading
        unit = f" {reading.unit}".rstrip()
        say(f"  {reading.what}: {reading.value:,.2f}{unit}")

    def new_folder(self, name: str) -> Path:
        """Make an empty folder of the laboratory."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))


def busy_share(seconds: float) -> float:
    """Return the share of all cores that is in use during the next seconds.

    Called while our own servers idle, it tells how much the machine does for others.
    """
    stat = Path("/proc/stat")
    if not stat.exists():
        return min(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    before = [int(word) for word in stat.read_text().splitlines()[0].split()[1:9]]
    time.sleep(seconds)
    after = [int(word) for word in stat.read_text().splitlines()[0].split()[1:9]]
    spent = [b - a for a, b in zip(before, after, strict=True)]
    return 1 - (spent[3] + spent[4]) / max(1, sum(spent))  # idle, and waiting for a disk


def find_tool(name: str) -> str | None:
    """Find a program; Debian keeps PostgreSQL's servers off PATH, one folder for each version."""
    found = shutil.which(name)
    if found or not PACKAGES.get(name, "").startswith("postgresql"):
        return found
    versions = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{name}"),
        key=lambda path: float(path.parts[4]),
    )
    return str(versions[-1]) if versions else None


def tool(name: str) -> str:
    """Find a program or say which package has it."""
    found = find_tool(name)
    if found is None:
        raise BenchError(f"{name} is missing: apt install {PACKAGES.get(name, name)}")
    return found


def python() -> str:
    """Return the Python that servers run by: the one that runs this, with its libraries."""
    return sys.executable


def free_ports(count: int = 1) -> int:
    """Find the first of `count` neighbouring free loopback ports."""
    for _ in range(100):
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            first = probe.getsockname()[1]
        if all(_is_free(first + i) for i in range(count)):
            return int(first)
    raise BenchError(f"no {count} neighbouring free ports on {LOOPBACK}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except (OSError, OverflowError):
            return False
        return True


@contextmanager
def process(
    lab: Lab,
    name: str,
    argv: Sequence[str],
    *,
    stop: signal.Signals = signal.SIGTERM,
    user: str | None = None,
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Run a server, its output in a file, in its own session so that Ctrl+C reaches only us."""
    log = lab.new_folder(name) / "log"
    identity: dict[str, Any] = (
        {} if user is None else {"user": user, "group": user, "extra_groups": []}
    )
    with log.open("wb") as out:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=ROOT if user is None else lab.folder,
            start_new_session=True,
            **identity,
        )
    try:
        yield child, log
    finally:
        stop_process(child, stop)


def stop_process(child: subprocess.Popen[bytes], first: signal.Signals) -> None:
    """Ask politely, then kill whatever is left of the child's session."""
    if child.poll() is None:
        child.send_signal(first)
        try:
            child.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            say(f"  {child.args!r} did not stop in {STOP_SECONDS_MAX:g} s: killed")
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait(STOP_SECONDS_MAX)


def wait_until(
    ready: Callable[[], bool],
    running: tuple[subprocess.Popen[bytes], Path],
    what: str,
    seconds_max: float = START_SECONDS_MAX,
) -> None:
    """Poll until ready; fail with the server's last words when it dies or takes too long."""
    child, log = running
    deadline = time.monotonic() + seconds_max
    while not ready():
        if child.poll() is not None or time.monotonic() > deadline:
            why = "stopped" if child.poll() is not None else f"not ready in {seconds_max:g} s"
            last = " | ".join(log.read_text(errors="replace").splitlines()[-3:])
            raise BenchError(f"{what} {why}: {last[-300:] or 'it said nothing'}")
        time.sleep(0.02)


def get(port: int, path: str) -> tuple[int, bytes]:
    """Ask a loopback server; status 0 when it does not answer."""
    return _ask(port, "GET", path, None)


def _ask(port: int, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=HTTP_SECONDS_MAX)
    headers = {} if body is None else {"Content-Type": "application/json"}
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def get_json(port: int, path: str) -> dict[str, Any]:
    """Ask a loopback server for a JSON object, or say what it answered instead."""
    return _json(f"GET {path}", *_ask(port, "GET", path, None))


def post_json(port: int, path: str, body: object) -> dict[str, Any]:
    """Post JSON to a loopback server for a JSON object, or say what it answered instead."""
    return _json(f"POST {path}", *_ask(port, "POST", path, json.dumps(body).encode()))


def _json(what: str, status: int, body: bytes) -> dict[str, Any]:
    if status != http.client.OK:
        raise BenchError(f"{what} answered {status}: {body[:200].decode(errors='replace')}")
    return dict(json.loads(body))
