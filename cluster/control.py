"""What the nodes may ask of their launcher: who runs, and to kill, stop, pause or restart one.

For demonstrations only. It listens on loopback, and answers only to who has the token that the
launcher has made for this run and given to its nodes. It is served between two looks at the
children, in the same thread: no thread runs in the launcher but one, and the moment of a strike is
known exactly.
"""

import hmac
import io
import json
import math
import re
import secrets
import socket
import time
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, NamedTuple

from cluster import processes
from cluster.errors import StartError
from cluster.supervisor import (
    MEMBER_STOP_S_MAX,
    NODE_STOP_S_MAX,
    RESTART_DELAY_S_MIN,
    Child,
    Event,
    Supervisor,
)

__all__ = ["AWAY_S_MAX", "HOST", "PAUSE_S_MAX", "Control", "RefusedError", "act", "seen"]

HOST = "127.0.0.1"
ACTIONS = ("kill", "stop", "pause", "restart")
PAUSE_S_MAX = 30.0
AWAY_S_MAX = 120.0
_PAUSE_S_DEFAULT = 5.0
_ASKER_S_MAX = 0.5  # for a whole request: whoever is slower would hold up the launcher
_REQUEST_BYTES_MAX = 8_192
_BODY_BYTES_MAX = 1_000
_LENGTH = re.compile(rb"(?i)\r\ncontent-length:[ \t]*(\d{1,9})")
_ROOT = "/processes"


class RefusedError(Exception):
    """What was asked cannot be done; ``status`` is HTTP's."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


class Control:
    """The launcher's ear, with its address and its token."""

    def __init__(self, supervisor: Supervisor) -> None:
        """Listen on a free port of loopback. Raises StartError."""
        self.token = secrets.token_hex(16)
        try:
            self._server = _Server((HOST, 0), _Handler)
        except OSError as problem:
            raise StartError(f"The launcher cannot listen on {HOST}: {problem}") from problem
        self._server.supervisor = supervisor
        self._server.token = self.token
        self.url = f"http://{HOST}:{self._server.server_address[1]}"

    @property
    def environment(self) -> dict[str, str]:
        """What a node needs to know, as its environment: a command line can be seen by others."""
        return {"COORDINATOR_CONTROL_URL": self.url, "COORDINATOR_CONTROL_TOKEN": self.token}

    def wait(self, seconds: float) -> None:
        """Serve one request, or return after so long without any."""
        self._server.timeout = seconds
        self._server.handle_request()

    def close(self) -> None:
        """Listen no more."""
        self._server.server_close()


class Asked(NamedTuple):
    """What shall be done to a process; seconds None: as long as is usual for the action."""

    action: str
    seconds: float | None

    @classmethod
    def parse(cls, body: bytes) -> "Asked":
        """Return what a body asks for. Raises RefusedError."""
        try:
            fields = json.loads(body)
            action, seconds = fields["action"], fields.get("seconds")
        except (ValueError, TypeError, KeyError, AttributeError):
            raise RefusedError(HTTPStatus.BAD_REQUEST, 'send {"action": …}') from None
        if action not in ACTIONS:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"action: one of {', '.join(ACTIONS)}")
        longest = PAUSE_S_MAX if action == "pause" else AWAY_S_MAX
        if seconds is not None and not (
            isinstance(seconds, int | float) and 0 <= seconds <= longest
        ):
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"seconds: from 0 to {longest:g}")
        return cls(action, seconds)


def act(supervisor: Supervisor, name: str, asked: Asked) -> Event:
    """Do to a process what is asked. Raises RefusedError when it cannot be done."""
    child = supervisor.children.get(name)
    if child is None:
        known = ", ".join(supervisor.children)
        raise RefusedError(HTTPStatus.NOT_FOUND, f"{name} is none of {known}")
    if asked.action == "restart":
        return _restart(supervisor, child)
    if child.process is None or child.process.poll() is not None:
        raise RefusedError(HTTPStatus.CONFLICT, f"{name} does not run at the moment")
    pid, now = child.process.pid, time.monotonic()
    if asked.action == "pause":
        if not processes.CAN_PAUSE:
            raise RefusedError(HTTPStatus.CONFLICT, "this system cannot pause a process")
        event = supervisor.note(child, "pause")
        processes.pause(pid)
        child.paused_until = now + (_PAUSE_S_DEFAULT if asked.seconds is None else asked.seconds)
        return event
    if asked.action == "kill":
        child.away_s = RESTART_DELAY_S_MIN if asked.seconds is None else asked.seconds
        event = supervisor.note(child, "kill")
        processes.kill(pid)
        return event
    event = supervisor.note(child, "stop")
    _end(child, pid, math.inf if asked.seconds is None else asked.seconds)
    return event


def _restart(supervisor: Supervisor, child: Child) -> Event:
    """Bring a process to run again: one that is down, stands still, or runs."""
    event = supervisor.note(child, "restart")
    if child.process is None:
        child.due = 0.0
    elif child.paused_until is not None:
        supervisor.go_on(child)
    else:
        _end(child, child.process.pid, 0.0)
    return event


def _end(child: Child, pid: int, away_s: float) -> None:
    patience_s = NODE_STOP_S_MAX if child.spec.kind == "node" else MEMBER_STOP_S_MAX
    child.away_s = away_s
    child.end_by = time.monotonic() + patience_s
    if child.paused_until is not None:
        processes.go_on(pid)
        child.paused_until = None
    processes.end(pid)


def seen(supervisor: Supervisor) -> dict[str, Any]:
    """Return all processes as they are, and what has happened to them, oldest first."""
    now = time.monotonic()
    return {
        "processes": [_process(child, now) for child in supervisor.children.values()],
        "events": [asdict(event) for event in supervisor.events],
        "now_s": now,
    }


def _process(child: Child, now: float) -> dict[str, Any]:
    running = child.process is not None and child.process.poll() is None
    state, until = "running", None
    if not running:
        state, until = "down", child.due if child.process is None else now
    elif child.paused_until is not None:
        state, until = "paused", child.paused_until
    elif child.away_s is not None:
        state = "ending"
    known = until is not None and math.isfinite(until)
    return {
        "name": child.spec.name,
        "kind": child.spec.kind,
        "url": child.spec.url,
        "pid": child.pid,
        "state": state,
        "back_in_s": max(0.0, until - now) if known and until is not None else None,
        "deaths": child.deaths,
    }


def _request_of(connection: socket.socket) -> bytes:
    """Return what an asker sends within its time, whole or not."""
    ends = time.monotonic() + _ASKER_S_MAX
    received = b""
    while len(received) < _REQUEST_BYTES_MAX:
        head, separator, body = received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if separator and len(body) >= (int(length[1]) if length else 0):
            break
        connection.settimeout(max(0.001, ends - time.monotonic()))
        try:
            more = connection.recv(_REQUEST_BYTES_MAX)
        except OSError:
            break
        if not more:
            break
        received += more
    connection.settimeout(_ASKER_S_MAX)
    return received


class _Server(HTTPServer):
    supervisor: Supervisor
    token: str
    allow_reuse_address = False

    def handle_error(self, *_: object) -> None:
        """Let an asker who has gone be no trouble."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _ASKER_S_MAX

    def setup(self) -> None:
        super().setup()
        self.rfile = io.BufferedReader(io.BytesIO(_request_of(self.connection)))

    def do_GET(self) -> None:
        self._answer(self._look)

    def do_POST(self) -> None:
        self._answer(self._act)

    def _look(self) -> dict[str, Any]:
        if self.path != _ROOT:
            raise RefusedError(HTTPStatus.NOT_FOUND, f"there is only {_ROOT}")
        return seen(self.server.supervisor)

    def _act(self) -> dict[str, Any]:
        if not self.path.startswith(f"{_ROOT}/"):
            raise RefusedError(HTTPStatus.NOT_FOUND, f"post to {_ROOT}/NAME")
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > _BODY_BYTES_MAX:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"at most {_BODY_BYTES_MAX} bytes of JSON")
        asked = Asked.parse(self.rfile.read(int(length)))
        return asdict(act(self.server.supervisor, self.path.removeprefix(f"{_ROOT}/"), asked))

    def _answer(self, handler: Any) -> None:
        given = self.headers.get("Authorization", "").encode(errors="surrogateescape")
        try:
            if not hmac.compare_digest(given, f"Bearer {self.server.token}".encode()):
                raise RefusedError(HTTPStatus.FORBIDDEN, "for the nodes of this launcher only")
            status, body = HTTPStatus.OK, handler()
        except RefusedError as refused:
            status, body = refused.status, {"error": str(refused)}
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing: the launcher's words are for a person."""
