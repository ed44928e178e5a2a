"""The load generator whose arrivals do not wait for answers: no coordinated omission.

Run as a process of its own: `python -m bench.generator`, a plan as JSON on stdin, the result as
JSON on stdout. Three ways to load:

open
    Requests are due at a constant rate, whatever the server does. Each latency runs from the moment
    at which its request was *due*: a server that stalls for a second is charged for everybody who
    came in that second. What was due and is unanswered at the end counts with the time it waited.
closed
    Every connection sends its next request when it has its answer: the most a server can do.
turns
    One connection to each target, one request at a time, the targets in turns: what one of them
    takes longer than another is their difference, however the machine drifts.

wrk, the usual tool, is of the second kind. A target is an address and the bytes of a request (with
`%d` they carry a number that counts up), or `etcd`: a bare transaction, one compare and one put.
"""

from __future__ import annotations

import asyncio
import base64
import json
import select
import selectors
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import httptools

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

from bench.histogram import Histogram

HTTP_OK, HTTP_CREATED = 200, 201
GRACE_SECONDS = 10.0  # for what is unanswered when the time is over
CONNECT_SECONDS_MAX = 10.0


@dataclass(frozen=True)
class Target:
    """Where requests go, and what they are.

    `request` is the whole request; where it has `%d`, the n-th one carries `first + n * step`.
    Empty, it is a bare etcd transaction on `key`, whose value has `value_bytes`. `then` makes it
    a pair: a second request, which carries the first one's token at `%s`. It belongs to one
    connection, counts once and is timed as a whole, and is not left half done.
    """

    port: int
    request: str = ""
    then: str = ""
    first: int = 0
    step: int = 1
    key: str = "/bare/head"
    value_bytes: int = 200


@dataclass(frozen=True)
class Plan:
    """What to do: `mode` is open, closed or turns.

    Connections are spread over the targets. `rate` (requests a second) belongs to the open mode;
    `requests`, where not 0, ends a closed one before its time.
    """

    mode: str
    targets: tuple[Target, ...]
    connections: int
    seconds: float
    rate: float = 0.0
    requests: int = 0

    def as_json(self) -> str:
        """Return it as text for the process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Return what `as_json` has written. Raises ValueError or TypeError."""
        fields = json.loads(text)
        targets = tuple(Target(**target) for target in fields.pop("targets"))
        return cls(targets=targets, **fields)


class Source:
    """Makes the requests of one target, and judges the answers."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._made = 0
        self._revision = "0"
        self._token = ""
        self.is_half_done = False
        """Whether the first request of a pair is answered, and the second one not sent."""
        self.latencies = Histogram()
        self.lateness = Histogram()
        """From due to sent: waiting for a free connection, and the generator's own slowness."""
        self.answered_well = 0
        self.errors = 0

    def request(self) -> bytes:
        """Return the next request's bytes."""
        target, number = self._target, self._made
        if self.is_half_done:
            self.is_half_done = False
            return _with_body(target.then, "%s", self._token)
        self._made += 1
        if not target.request:
            return self._transaction()
        if "%d" not in target.request:
            return target.request.encode()
        return _with_body(target.request, "%d", str(target.first + number * target.step))

    def answered(self, status: int, body: bytes, latency_us: int) -> None:
        """Count an answer; one that refuses is an error and no latency."""
        if status == HTTP_OK and not self._target.request:
            said = json.loads(body)
            if not said.get("succeeded"):
                status = 0  # the value from before is kept: the next one fails too, and is counted
            self._revision = said["header"]["revision"]
        if self._target.then and not self._token and status == HTTP_CREATED:
            self._token, self.is_half_done = json.loads(body)["data"]["token"], True
            return
        is_second, self._token = bool(self._token), ""
        if status == HTTP_OK and is_second == bool(self._target.then):
            self.latencies.record(latency_us)
            self.answered_well += 1
        else:
            self.errors += 1

    def unanswered(self, waited_us: int) -> None:
        """Count a request that was due and has no answer: it waited for at least so long."""
        self._token, self.is_half_done = "", False
        self.latencies.record(waited_us)
        self.errors += 1

    def _transaction(self) -> bytes:
        """Compare the key's revision with the one it was left at, and put it."""
        key = base64.b64encode(self._target.key.encode()).decode()
        value = base64.b64encode(b"x" * self._target.value_bytes).decode()
        compare = {"key": key, "target": "MOD", "mod_revision": self._revision, "result": "EQUAL"}
        put = {"request_put": {"key": key, "value": value}}
        body = json.dumps({"compare": [compare], "success": [put]})
        head = "POST /v3/kv/txn HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def _with_body(request: str, place: str, value: str) -> bytes:
    """Return a request with this value at its place, and with the length of its body."""
    head, _, body = request.partition("\r\n\r\n")
    body = body.replace(place, value)
    return f"{head}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


class Connection(asyncio.Protocol):
    """One kept connection; one request at a time. `free` is called when it has its answer."""

    def __init__(self, source: Source, free: Callable[[Connection], None]) -> None:
        self.source = source
        self.is_busy = False
        self.is_lost = False
        self._free = free
        self._due_at = 0.0
        self._body: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None

    def send(self, due_at: float) -> None:
        """Send the next request, which was due at this moment (seconds, monotonic)."""
        assert self._transport is not None, "sent before it was connected"  # noqa: S101
        self._due_at = due_at
        self.is_busy = True
        self._body = []
        is_due = not self.source.is_half_done
        self._transport.write(self.source.request())
        if is_due:
            self.source.lateness.record(int((time.monotonic() - due_at) * 1e6))

    def give_up(self, now: float) -> None:
        """End the connection; a request under way counts as unanswered."""
        if self.is_busy:
            self.is_busy = False
            self.source.unanswered(int((now - self._due_at) * 1e6))
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to write."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Parse; a server that speaks no HTTP is lost."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.give_up(time.monotonic())

    def connection_lost(self, _exc: Exception | None) -> None:
        """Count what was under way."""
        self.is_lost = True
        if self.is_busy:
            self.give_up(time.monotonic())
            self._free(self)

    def on_body(self, body: bytes) -> None:
        """Keep a part of an answer."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Take the time of an answer."""
        if self.is_busy:
            self.is_busy = False
            latency_us = int((time.monotonic() - self._due_at) * 1e6)
            status = self._parser.get_status_code()
            self.source.answered(status, b"".join(self._body), latency_us)
            if self.source.is_half_done:
                self.send(self._due_at)
            else:
                self._free(self)


class Arrivals:
    """When requests are due, at a constant rate: the n-th at `began + n / rate`, no later."""

    def __init__(self, began: float, rate: float, seconds: float) -> None:
        self._began, self._rate = began, rate
        self.total = max(1, round(rate * seconds))
        self.sent = 0

    @property
    def next_at(self) -> float:
        """Return the moment at which the next request is due, or was."""
        return self._began + self.sent / self._rate

    def take(self, now: float) -> float | None:
        """Return the moment at which a request was due that may go out now; None for none."""
        if self.sent >= self.total or self.next_at > now:
            return None
        due_at = self.next_at
        self.sent += 1
        return due_at

    def left(self) -> list[float]:
        """Take all that has never been sent, each with the moment at which it was due."""
        never = [self._began + number / self._rate for number in range(self.sent, self.total)]
        self.sent = self.total
        return never


class Load:
    """One run: its connections, and whose turn it is."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.sources = [Source(target) for target in plan.targets]
        self._idle: deque[Connection] = deque()
        self._all: list[Connection] = []
        self._over = asyncio.Event()
        self._ends_at = 0.0
        self._sent = 0
        self._arrivals: Arrivals | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> float:
        """Load the targets and return the seconds from the first request to the last answer."""
        loop = asyncio.get_running_loop()
        for number in range(self._plan.connections):
            at = number % len(self.sources)
            async with asyncio.timeout(CONNECT_SECONDS_MAX):
                _, connection = await loop.create_connection(
                    lambda source=self.sources[at]: Connection(source, self._freed),  # type: ignore[misc]
                    "127.0.0.1",
                    self._plan.targets[at].port,
                )
            self._all.append(connection)
        self._idle.extend(self._all)
        began = time.monotonic()
        self._ends_at = began + self._plan.seconds
        if self._plan.mode == "open":
            self._arrivals = Arrivals(began, self._plan.rate, self._plan.seconds)
        self._pump()
        try:
            async with asyncio.timeout(self._plan.seconds + GRACE_SECONDS):
                await self._over.wait()
        except TimeoutError:
            pass  # what is left is counted below
        took = time.monotonic() - began
        self._close()
        return took

    def _close(self) -> None:
        now = time.monotonic()
        if self._timer is not None:
            self._timer.cancel()
        if self._arrivals is not None:
            for due_at in self._arrivals.left():
                self.sources[0].unanswered(int((now - due_at) * 1e6))
        for connection in self._all:
            connection.give_up(now)

    def _freed(self, connection: Connection) -> None:
        if not connection.is_lost:
            self._idle.append(connection)
        self._pump()

    def _pump(self) -> None:
        """Send what may go out now, and see whether all is done."""
        if self._arrivals is not None:
            self._send_what_is_due(self._arrivals)
        else:
            self._send_next()
        under_way = any(connection.is_busy for connection in self._all) if self._done() else True
        if not under_way or all(connection.is_lost for connection in self._all):
            self._over.set()

    def _done(self) -> bool:
        if self._arrivals is not None:
            return self._arrivals.sent >= self._arrivals.total
        enough = self._plan.requests and self._sent >= self._plan.requests
        return bool(enough) or time.monotonic() >= self._ends_at

    def _send_next(self) -> None:
        in_turns = self._plan.mode == "turns"
        while self._idle and not self._done():
            # First in, first out: with one request under way at a time, the targets take turns.
            self._idle.popleft().send(time.monotonic())
            self._sent += 1
            if in_turns:
                return

    def _send_what_is_due(self, arrivals: Arrivals) -> None:
        now = time.monotonic()
        while self._idle and (due_at := arrivals.take(now)) is not None:
            self._idle.popleft().send(due_at)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._idle and arrivals.sent < arrivals.total:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(arrivals.next_at, self._pump)


class PreciseSelector(selectors.DefaultSelector):
    """A selector that waits to the microsecond.

    asyncio rounds up to whole milliseconds for epoll: each request would go out half of one late,
    and be charged for it. `select` does not round, and an epoll file is readable when one of its
    sockets is. Other systems' selectors are precise by themselves.
    """

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait as long as asked, not longer."""
        if timeout is not None and timeout > 0 and hasattr(select, "epoll"):
            if not select.select([self.fileno()], [], [], timeout)[0]:
                return []
            timeout = 0
        return super().select(timeout)


def load(plan: Plan) -> dict[str, Any]:
    """Carry out a plan and return the result as JSON values."""
    with asyncio.Runner(
        loop_factory=lambda: asyncio.SelectorEventLoop(PreciseSelector())
    ) as runner:

        async def run() -> tuple[float, Sequence[Source]]:
            made = Load(plan)
            return await made.run(), made.sources

        took, sources = runner.run(run())
    targets = [
        {
            "answered": source.answered_well,
            "errors": source.errors,
            "latencies": source.latencies.as_json(),
            "lateness": source.lateness.as_json(),
        }
        for source in sources
    ]
    return {"seconds": took, "targets": targets}


if __name__ == "__main__":
    print(json.dumps(load(Plan.from_json(sys.stdin.read()))))
