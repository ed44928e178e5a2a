"""Keeps processes running: starts them, starts again what dies, stops them all in time.

Plain polling in one thread: seven processes looked at ten times a second cost nothing, and
there is no moment between two lines at which a child could be started and forgotten.
"""

import contextlib
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cluster import processes
from cluster.errors import StartError

__all__ = ["TICK_S", "Child", "Event", "Spec", "Supervisor", "log_tail"]

TICK_S = 0.1
RESTART_DELAY_S_MIN = 0.2
RESTART_DELAY_S_MAX = 10.0
STEADY_S = 30.0  # a process that ran this long starts its next restarts without delay again
NODE_STOP_S_MAX = 4.5
MEMBER_STOP_S_MAX = 3.0
MEMBER_PATIENCE_S = 1.0  # for one member, so that a stuck one leaves time to the others
STOP_S_MAX = 10.0
assert NODE_STOP_S_MAX + MEMBER_STOP_S_MAX < STOP_S_MAX - 1  # noqa: S101 - related bounds

LOG_BYTES_MAX = 16 * 2**20
EVENTS_KEPT = 200
_LOG_CHECK_S = 5.0
_TAIL_BYTES = 16_384
_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Spec:
    """One process as it shall run."""

    name: str
    kind: str  # "member" or "node"
    command: Sequence[str]
    url: str
    environment: Mapping[str, str] = field(default_factory=dict)  # what `ps` shall not show


@dataclass(frozen=True)
class Event:
    """Something that was done to a process, or that it did."""

    serial: int
    at_s: float  # monotonic: the same clock in every process of this machine
    name: str
    kind: str
    what: str  # kill, stop, pause, restart, as asked; ended, started, resumed, as seen


@dataclass
class Child:
    """A process as it is."""

    spec: Spec
    log: Path
    process: subprocess.Popen[bytes] | None = None  # None while it waits to be started again
    deaths: int = 0
    started: float = 0.0  # monotonic seconds
    delay_s: float = RESTART_DELAY_S_MIN
    due: float = field(default=0.0)  # monotonic seconds of the next start while it waits
    away_s: float | None = None  # how long it shall be away once it has ended; None: as usual
    end_by: float = math.inf  # killed if it still runs then
    paused_until: float | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self.process.pid if self.process else None


class Supervisor:
    """The children of one launcher."""

    def __init__(
        self, data: Path, logs: Path, say: Callable[[str], None], changed: Callable[[], None]
    ) -> None:
        self.children: dict[str, Child] = {}
        self.events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._data = data
        self._logs = logs
        self._say = say
        self._changed = changed
        self._logs_checked = time.monotonic()

    def start(self, specs: Sequence[Spec]) -> None:
        """Start these processes; raises StartError when a program cannot be run at all."""
        self._logs.mkdir(parents=True, exist_ok=True)
        for spec in specs:
            log = self._logs / f"{spec.name}.log"
            with contextlib.suppress(OSError):  # Windows: a leftover may still hold it
                log.replace(log.with_suffix(".log.1"))
            child = Child(spec, log)
            self.children[spec.name] = child
            try:
                self._spawn(child)
            except OSError as problem:
                raise StartError(f"{spec.name} cannot be started: {problem}") from problem
        self._changed()

    def tick(self) -> None:
        """Look once at everything; call it about every TICK_S seconds."""
        now = time.monotonic()
        changes = [self._look_at(child, now) for child in self.children.values()]
        if any(changes):
            self._changed()
        if now - self._logs_checked > _LOG_CHECK_S:
            self._logs_checked = now
            for log in self._logs.glob("*.log"):
                _bound(log)

    def stop(self) -> None:
        """Stop all, nodes before members, within STOP_S_MAX seconds."""
        for child in self.children.values():
            if child.process and child.paused_until is not None:
                processes.go_on(child.process.pid)  # one that stands still cannot hear
        for kind, seconds in (("node", NODE_STOP_S_MAX), ("member", MEMBER_STOP_S_MAX)):
            running = [
                child.process
                for child in self.children.values()
                if child.spec.kind == kind and child.process and child.process.poll() is None
            ]
            # Members go one after the other: a leader that goes hands over to one that stays. All
            # at once, it would wait for an answer from one that is going too.
            _stop_all(running, seconds, at_once=kind == "node")
        self.children.clear()

    def _look_at(self, child: Child, now: float) -> bool:
        if child.process is None:
            return now >= child.due and self._start_again(child, now)
        code = child.process.poll()
        if code is None:
            return self._look_at_running(child, child.process.pid, now)
        if now - child.started > STEADY_S:
            child.delay_s = RESTART_DELAY_S_MIN
        self._wait_to_restart(child, now, _ending(code))
        return True

    def _look_at_running(self, child: Child, pid: int, now: float) -> bool:
        if now >= child.end_by:
            processes.kill(pid)
            child.end_by = math.inf
        if child.paused_until is None or now < child.paused_until:
            return False
        self.go_on(child)
        return True

    def go_on(self, child: Child) -> None:
        """Let a child that stands still go on."""
        if child.process and child.paused_until is not None:
            processes.go_on(child.process.pid)
            child.paused_until = None
            self.note(child, "resumed")

    def note(self, child: Child, what: str) -> Event:
        """Write down what was done to a child, or what it did, with the time of now."""
        serial = self.events[-1].serial + 1 if self.events else 1
        event = Event(serial, time.monotonic(), child.spec.name, child.spec.kind, what)
        self.events.append(event)
        return event

    def _wait_to_restart(self, child: Child, now: float, ending: str) -> None:
        child.process = None
        child.paused_until = None
        child.end_by = math.inf
        child.deaths += 1
        self.note(child, "ended")
        if child.away_s is not None:  # as asked: no fault of its own that would slow the next start
            child.due = now + child.away_s
            child.away_s = None
            when = "when asked" if math.isinf(child.due) else f"in {child.due - now:g} s"
            self._say(f"{child.spec.name} {ending}, as asked; starting it again {when}")
            return
        child.due = now + child.delay_s
        again = child.delay_s > RESTART_DELAY_S_MIN
        where = f" (see {child.log})" if again else ""
        self._say(f"{child.spec.name} {ending}; starting it again in {child.delay_s:g} s{where}")
        child.delay_s = min(child.delay_s * 2, RESTART_DELAY_S_MAX)

    def _start_again(self, child: Child, now: float) -> bool:
        try:
            self._spawn(child)
        except OSError as problem:
            self._wait_to_restart(child, now, f"cannot be started ({problem})")
        return True

    def _spawn(self, child: Child) -> None:
        # The nodes find the code from any working directory, and nothing in that directory
        # can stand in for a module of theirs.
        paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **os.environ,
            **child.spec.environment,
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONSAFEPATH": "1",
            "PYTHONUNBUFFERED": "1",
        }
        with child.log.open("ab") as log:
            child.process = processes.spawn(
                child.spec.command, log=log, environment=environment, folder=self._data
            )
        child.started = time.monotonic()
        if child.deaths:
            self.note(child, "started")


def log_tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log, indented, for a person to read."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return "    (no log)"
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:]) or "    (empty log)"


def _stop_all(running: Sequence[subprocess.Popen[bytes]], seconds: float, *, at_once: bool) -> None:
    if at_once:
        for process in running:
            processes.end(process.pid)
    deadline = time.monotonic() + seconds
    for process in running:
        patience_s = max(0.0, deadline - time.monotonic())
        if not at_once:
            processes.end(process.pid)
            patience_s = min(patience_s, MEMBER_PATIENCE_S)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
    for process in running:
        if process.poll() is None:
            processes.kill(process.pid)
            process.wait()


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was stopped by {signal.Signals(-code).name}"
    except ValueError:
        return f"was stopped by signal {-code}"


def _bound(log: Path) -> None:
    """Keep a log that has grown too big as the previous one, and empty it in place.

    The child appends, so it goes on at the new end; Windows has no such append for children.
    """
    if sys.platform == "win32":
        return
    try:
        if log.stat().st_size > LOG_BYTES_MAX:
            shutil.copyfile(log, log.with_suffix(".log.1"))
            os.truncate(log, 0)
    except OSError:
        return  # a full disk shall not stop the launcher too
