"""A start, step by step: data directory, etcd, members, nodes, READY; then watch until the end."""

import contextlib
import datetime as dt
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from cluster import members as etcd_members
from cluster import processes, state, web
from cluster.control import Control
from cluster.errors import StartError
from cluster.etcd_binary import find_etcd, tools_folder
from cluster.lock import FileLock
from cluster.members import Members
from cluster.nodes import node_specs
from cluster.ports import Claims
from cluster.supervisor import TICK_S, Spec, Supervisor, log_tail
from coordinator.store.versions import warning_for

__all__ = ["Options", "say", "up"]

MEMBERS_READY_S_MAX = 30.0
MEMBERS_PATIENCE_S = 10.0  # after this a majority is enough
NODES_READY_S_MAX = 60.0
OTHER_START_S_MAX = 90.0
_LEFTOVER_STOP_S_MAX = 5.0


@dataclass(frozen=True)
class Options:
    """The words of `up`; None means the person left it out."""

    data: Path
    host: str
    port: int | None
    browser: bool
    member_count: int | None
    endpoints: Sequence[str]  # of an etcd that runs already; empty: start our own


class _StopAskedError(Exception):
    """The person, or the system, wants the cluster to stop."""


def up(options: Options) -> int:
    """Bring the cluster up, watch it, take it down; return the exit code."""
    layout = state.Layout(options.data)
    try:
        layout.data.mkdir(parents=True, exist_ok=True)
        lock = FileLock(layout.lock)
        alone = lock.acquire()
    except OSError as problem:
        say(f"ERROR: the data directory {options.data} cannot be used: {problem}")
        return 1
    if not alone:
        return _join(options, layout)
    with contextlib.closing(lock):
        _stop_leftovers(layout)
        return _Start(options, layout).run()


def say(line: str) -> None:
    """Tell the person at the terminal, who may have gone."""
    with contextlib.suppress(OSError, ValueError):
        print(line, flush=True)


class _Start:
    """One run of the launcher: what it has found out and started so far."""

    def __init__(self, options: Options, layout: state.Layout) -> None:
        self.options = options
        self.layout = layout
        self.stopping = False
        self.ready = False
        self.began = time.monotonic()
        self.etcd: dict[str, object] = {}
        self.node_claims = Claims(options.host)
        self.member_claims = Claims(etcd_members.HOST)
        self.supervisor = Supervisor(layout.data, layout.logs, self.say, self.record)
        self.control = Control(self.supervisor)

    def run(self) -> int:
        code = 0
        try:
            with _signals(self._ask_to_stop):
                ports = self.node_claims.claim_block(self.options.port)
                endpoints = self._external_etcd() or self._own_etcd()
                url = self._nodes(ports, endpoints)
                self.ready = True
                self.record()
                hint = "Ctrl+C stops everything and leaves the data."
                _announce([*self._addresses(), hint], url, self.options)
                while True:
                    self._pause()
        except _StopAskedError:
            self.say("Stopping ...")
        except StartError as problem:
            self.say(f"ERROR: {problem}")
            code = 1
        finally:
            began = time.monotonic()
            with _signals(lambda: None):  # asked to stop twice is asked to stop
                self.supervisor.stop()
            state.remove(self.layout)
            self.node_claims.close()
            self.member_claims.close()
            self.control.close()
        if code == 0:
            self.say(
                f"Stopped in {time.monotonic() - began:.1f} s. The data stays in "
                f"{self.options.data}"
            )
        return code

    def say(self, line: str) -> None:
        """Tell the person, and keep it in the launcher's log."""
        say(line)
        with contextlib.suppress(OSError):
            self.layout.logs.mkdir(parents=True, exist_ok=True)
            with (self.layout.logs / "cluster.log").open("a", encoding="utf-8") as log:
                log.write(f"{_now()} {line}\n")

    def record(self) -> None:
        """Write down what runs, for the other commands and for a start after a crash."""
        children = self.supervisor.children.values()
        record = {
            "launcher": {"pid": os.getpid(), "command": [sys.executable, *sys.orig_argv[1:]]},
            "ready": self.ready,
            "data": str(self.options.data),
            "etcd": self.etcd,
            "processes": [
                {
                    "name": child.spec.name,
                    "kind": child.spec.kind,
                    "pid": child.pid,
                    "url": child.spec.url,
                    "deaths": child.deaths,
                    "log": str(child.log),
                    "command": list(child.spec.command),
                }
                for child in children
            ],
        }
        try:
            state.write(self.layout, record)
        except OSError as problem:
            say(f"WARNING: {self.layout.state} could not be written: {problem}")

    def _external_etcd(self) -> list[str]:
        endpoints = list(self.options.endpoints)
        if not endpoints:
            return []
        self.say(f"Using etcd at {', '.join(endpoints)}")
        versions = {url: etcd_members.version_of(url) for url in endpoints}
        if not any(versions.values()):
            raise StartError("None of these addresses answers as etcd: " + ", ".join(endpoints))
        for url, version in versions.items():
            warning = warning_for(version) if version else "it does not answer now."
            if warning:
                self.say(f"WARNING: {url}: {warning}")
        self.etcd = {"endpoints": endpoints, "versions": versions, "own": False}
        return endpoints

    def _own_etcd(self) -> list[str]:
        folder = self.layout.members
        count = self.options.member_count
        members = etcd_members.load_or_create(folder, count, self.member_claims)
        binary = find_etcd(tools_folder(self.options.data), self.say, members.etcd_version)
        self.say(f"etcd {binary.version} ({binary.why}): {binary.path}")
        if binary.warning:
            self.say(f"WARNING: {binary.warning}")
        members = etcd_members.with_version(members, binary.version)
        members.save(folder)
        endpoints = [member.client_url for member in members.members]
        self.etcd = {
            "endpoints": endpoints,
            "versions": dict.fromkeys(endpoints, binary.version),
            "own": True,
            "path": str(binary.path),
            "why": binary.why,
            "warning": binary.warning,
        }
        count = len(endpoints)
        self.say(f"Starting {count} etcd member{'s' * (count > 1)} ...")
        self.supervisor.start(etcd_members.member_specs(binary.path, folder, members))
        self._await_members(members)
        return endpoints

    def _await_members(self, members: Members) -> None:
        """Wait until all members are healthy; a majority is enough when one is broken."""
        count = len(members.members)
        majority = count // 2 + 1
        began = time.monotonic()
        told = False
        while True:
            healthy = [m for m in members.members if etcd_members.is_healthy(m.client_url)]
            if len(healthy) >= majority and not told:
                etcd_members.tell_addresses(members)
                told = True
            if len(healthy) == count:
                return
            waited = time.monotonic() - began
            broken = [c for c in self.supervisor.children.values() if c.deaths > 1]
            if len(healthy) >= majority and (waited > MEMBERS_PATIENCE_S or broken):
                missing = {m.name for m in members.members} - {m.name for m in healthy}
                self.say(
                    f"WARNING: etcd runs without {', '.join(sorted(missing))}: "
                    f"see {self.layout.logs}"
                )
                return
            if len(broken) > count - majority or waited > MEMBERS_READY_S_MAX:
                self._fail([c.spec.name for c in broken] or [m.name for m in members.members])
            self._pause()

    def _nodes(self, ports: Sequence[int], endpoints: Sequence[str]) -> str:
        """Start the nodes and wait for them; return the address of the first one's page."""
        specs = node_specs(
            *(self.options.host, ports, endpoints, self.layout.nodes), self.control.environment
        )
        self.say(f"Starting {len(specs)} nodes on ports {ports[0]} to {ports[-1]} ...")
        self.supervisor.start(specs)
        waiting = list(specs)
        began = time.monotonic()
        while waiting:
            waiting = [spec for spec in waiting if not _is_ready(spec, self.say)]
            dead = [s.name for s in specs if self.supervisor.children[s.name].deaths]
            if dead or time.monotonic() - began > NODES_READY_S_MAX:
                self._fail(dead or [spec.name for spec in waiting])
            self._pause(0.0 if not waiting else TICK_S)
        self.say(f"Started in {time.monotonic() - self.began:.1f} s.")
        return f"{specs[0].url}/dashboard"

    def _addresses(self) -> list[str]:
        children = self.supervisor.children.values()
        return [_address(c.spec.name, c.spec.url) for c in children if c.spec.kind == "node"]

    def _fail(self, names: Sequence[str]) -> None:
        log = self.supervisor.children[names[0]].log
        raise StartError(
            f"{', '.join(names)} did not start. The last lines of {log}:\n{log_tail(log)}"
        )

    def _pause(self, seconds: float = TICK_S) -> None:
        if self.stopping:
            raise _StopAskedError
        self.control.wait(seconds)
        self.supervisor.tick()

    def _ask_to_stop(self) -> None:
        self.stopping = True


def _join(options: Options, layout: state.Layout) -> int:
    """Another launcher holds the data directory: show the way to what it started."""
    say(f"A cluster is already running, or starting, on {options.data}")
    deadline = time.monotonic() + OTHER_START_S_MAX
    while time.monotonic() < deadline:
        record = state.read(layout)
        if record and record.get("ready"):
            nodes = [each for each in record["processes"] if each["kind"] == "node"]
            lines = [_address(node["name"], node["url"]) for node in nodes]
            _announce(lines, f"{nodes[0]['url']}/dashboard", options)
            return 0
        lock = FileLock(layout.lock)
        if lock.acquire():  # it gave up
            lock.close()
            return up(options)
        time.sleep(TICK_S)
    say("ERROR: it did not become ready. Stop it (python -m cluster stop), and start again.")
    return 1


def _stop_leftovers(layout: state.Layout) -> None:
    """Stop what a killed launcher left behind: the lock is ours, so nobody watches it."""
    record = state.read(layout) or {}
    left = [
        each["pid"]
        for each in record.get("processes", [])
        if each["pid"] and processes.is_running(each["pid"], each["command"])
    ]
    if not left:
        return
    say(f"Stopping {len(left)} processes that an earlier start left behind ...")
    for pid in left:
        processes.end(pid)
    deadline = time.monotonic() + _LEFTOVER_STOP_S_MAX
    while left and time.monotonic() < deadline:
        time.sleep(TICK_S)
        left = [pid for pid in left if processes.command_line(pid)]
    for pid in left:
        processes.kill(pid)


def _is_ready(node: Spec, say: Callable[[str], None] = say) -> bool:
    """Tell whether a node serves, or waits for a decision that only its operator can make."""
    status, body = web.get(f"{node.url}/readyz", timeout_s=2.0)
    if status == 503 and b"--accept-rewind" in body:  # noqa: PLR2004 - HTTP's Unavailable
        say(f"WARNING: {node.name}: {body.decode(errors='replace').strip()}")
        return True
    return status == 200  # noqa: PLR2004 - HTTP's OK


def _address(name: str, url: str) -> str:
    return f"  {name}  {url}/dashboard"


def _announce(lines: Sequence[str], url: str, options: Options) -> None:
    for line in lines:
        say(line)
    say(f"READY {url}")
    if options.browser and _has_display():
        # A process of its own: some browsers' starters block until the browser is closed.
        with contextlib.suppress(OSError):
            subprocess.Popen(
                [sys.executable, "-m", "webbrowser", url],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )


def _has_display() -> bool:
    if sys.platform in {"win32", "darwin"}:
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


@contextlib.contextmanager
def _signals(ask: Callable[[], None]) -> Iterator[None]:
    """Call `ask` when the terminal, the system or a person wants an end."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        ask()

    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        # `nohup` has asked to live on when the terminal closes.
        if not (number == getattr(signal, "SIGHUP", None) and before[number] == signal.SIG_IGN):
            signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
