"""What age does to a node: millions of numbers, thousands of open gaps, beside a fresh one."""

from __future__ import annotations

import json
import statistics
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.generator import Plan, Target
from bench.lab import BenchError, Lab, Reading, get_json
from bench.latency import next_request
from bench.loads import generate
from bench.servers import etcd, node
from bench.tally import NEXT, STATS, VALIDATE

if TYPE_CHECKING:
    from collections.abc import Iterator

BULK_MAX = 10_000  # numbers in one request
BULK_CONNECTIONS = 4
RELEASE_CONNECTIONS = 256
FILL_SECONDS_MAX = 900.0
RELEASES_AT_ONCE = 2_000  # between two words of progress
WARM_UP_SECONDS = 1.0
OWNER = {"siteId": "site-1", "partitionId": "partition-a"}


def growth(lab: Lab) -> None:
    """Compare a node on a grown counter with one on a fresh counter, in turns.

    The numbers come from bulk requests. The gaps are made by releasing one number at a time, spread
    over all of them: the API has no quicker way that leaves gaps open (suppressed invoices, which
    are released at once, take the lowest gaps again).
    """
    with etcd(lab) as grown_etcd, etcd(lab) as fresh_etcd:
        with node(lab, grown_etcd) as (port, _pid):
            _grow(lab, port)
        with (
            _started(lab, grown_etcd, "grown") as (grown, gaps),
            _started(lab, fresh_etcd, "fresh") as (fresh, _),
        ):
            # Every request takes a gap, and some must be left: half of them for each comparison,
            # shared by the rounds and the load before them.
            at_most = max(1, gaps // (2 * (lab.rounds + 2)))
            _compare_alone(lab, grown, fresh, at_most)
            _compare_busy(lab, grown, fresh, at_most)
            _check(lab, grown, gaps)


def _grow(lab: Lab, port: int) -> None:
    """Issue the numbers and release some of them. Raises BenchError when it takes too long."""
    numbers, gaps = lab.sizes.growth_numbers, lab.sizes.growth_gaps
    deadline = time.monotonic() + FILL_SECONDS_MAX
    asked = json.dumps(OWNER | {"invoiceType": "on-cycle", "count": BULK_MAX})
    _post(lab, port, "next", asked, -(-numbers // BULK_MAX), BULK_CONNECTIONS)
    lab.progress.sampled("growth", f"{numbers:,} numbers issued")
    step = max(1, numbers // gaps)
    released = 0
    while released < gaps:
        if time.monotonic() > deadline:
            raise BenchError(f"only {released:,} numbers released in {FILL_SECONDS_MAX:g} s")
        some = min(RELEASES_AT_ONCE, gaps - released)
        body = '{"sequenceNumber": %d, ' + json.dumps(OWNER | {"reason": "growth"})[1:]
        _post(lab, port, "release", body, some, RELEASE_CONNECTIONS, 1 + released * step, step)
        released += some
        lab.progress.sampled("growth", f"{released:,} of {gaps:,} gaps opened")


def _post(
    lab: Lab,
    port: int,
    what: str,
    body: str,
    requests: int,
    connections: int,
    first: int = 0,
    step: int = 1,
) -> None:
    """Post so many bodies; where one has %d, the numbers count up."""
    head = f"POST /api/v1/sequence/{what} HTTP/1.1\r\nHost: bench\r\n"
    head += "Content-Type: application/json\r\n"
    if "%d" not in body:
        head += f"Content-Length: {len(body)}\r\n"
    target = Target(port, f"{head}\r\n{body}", first=first, step=step)
    plan = Plan("closed", (target,), connections, FILL_SECONDS_MAX, requests=requests)
    said = generate(lab, plan)[0]
    if said.errors or said.answered != requests:
        raise BenchError(f"{what}: {said.answered:,} of {requests:,} requests succeeded")


@contextmanager
def _started(lab: Lab, etcd_port: int, what: str) -> Iterator[tuple[int, int]]:
    """Start a node and take its first number; yields its port and how many gaps it then has.

    The time runs to that number, not to "ready": only then the counter has been loaded.
    """
    began = time.monotonic()
    with node(lab, etcd_port) as (port, _pid):
        get_json(port, NEXT)
        took = time.monotonic() - began
        stats = get_json(port, STATS)
        counter, gaps = int(stats["currentCounter"]), int(stats["availableGaps"])
        note = f"{counter:,} numbers, {gaps:,} gaps"
        lab.record(f"start {what}", Reading(f"node start, {what} counter", took, "s", note))
        yield port, gaps


def _check(lab: Lab, port: int, gaps: int) -> None:
    """Check that gaps were open to the end, and that the ledger proves all of it."""
    left = int(get_json(port, STATS)["availableGaps"])
    said = f"{gaps:,} at first, {left:,} at the end"
    lab.check("growth: gaps were open all the time", said, ok=left > 0)
    proof = get_json(port, VALIDATE)
    said = str(proof.get("summary", ""))[:160]
    lab.check("growth: the ledger proves it", said, ok=proof["valid"] is True)


def _compare_alone(lab: Lab, grown: int, fresh: int, at_most: int) -> None:
    """Compare p50 at one connection, request by request in turns, at most so many of each."""
    targets = (next_request(grown), next_request(fresh))
    both = at_most * len(targets)
    generate(lab, Plan("turns", targets, len(targets), WARM_UP_SECONDS, requests=both))
    ratios = []
    for _ in range(lab.rounds):
        each = generate(lab, Plan("turns", targets, len(targets), lab.seconds, requests=both))
        if any(found.errors for found in each):
            raise BenchError("a request failed")
        old, new = (found.latencies.percentile_ms(50) for found in each)
        ratios.append(old / new)
        lab.progress.sampled("growth", f"p50 grown {old:.2f} ms, fresh {new:.2f} ms, 1 connection")
    what = "p50 of `next`, grown / fresh, 1 connection"
    lab.record("grown alone", Reading(what, statistics.median(ratios), ""))


def _compare_busy(lab: Lab, grown: int, fresh: int, at_most: int) -> None:
    """Compare p50 at all connections, at most so many requests to each node in a round."""

    def p50_ms(port: int) -> float:
        plan = Plan("closed", (next_request(port),), lab.connections, lab.seconds, requests=at_most)
        found = generate(lab, plan)[0]
        if found.errors:
            raise BenchError(f"{found.errors} requests failed")
        return found.latencies.percentile_ms(50)

    ratios = []
    for port in (grown, fresh):
        p50_ms(port)
    for _ in range(lab.rounds):
        old, new = p50_ms(grown), p50_ms(fresh)
        ratios.append(old / new)
        lab.progress.sampled("growth", f"p50 grown {old:.2f} ms, fresh {new:.2f} ms, busy")
    what = f"p50 of `next`, grown / fresh, {lab.connections} connections"
    lab.record("grown busy", Reading(what, statistics.median(ratios), ""))
