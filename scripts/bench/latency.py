"""Latencies: at a constant rate without coordinated omission, and of one request on its own."""

from __future__ import annotations

import statistics

from bench.generator import Plan, Target
from bench.histogram import Histogram
from bench.lab import BenchError, Lab, Reading
from bench.loads import Generated, generate
from bench.servers import etcd, node
from bench.tally import NEXT

SHARES = (0.5, 0.8)
"""Of the peak: half busy, and nearly full."""

PERCENTS = (50.0, 90.0, 99.0, 99.9)
TABLE = "latency from the moment a request was due (open loop, milliseconds)"
WARM_UP_SECONDS = 1.0


def next_request(port: int, *, query: str = NEXT) -> Target:
    """Return what takes one number from the node at this port."""
    return Target(port, f"GET {query} HTTP/1.1\r\nHost: bench\r\n\r\n")


def open_loop(lab: Lab) -> None:
    """Measure the peak of our generator (closed loop), then latencies at shares of it."""
    with etcd(lab) as etcd_port, node(lab, etcd_port) as (port, _pid):
        targets = (next_request(port),)

        def run(mode: str, seconds: float, rate: float = 0.0) -> Generated:
            return generate(lab, Plan(mode, targets, lab.connections, seconds, rate))[0]

        run("closed", WARM_UP_SECONDS)
        peaks: list[float] = []
        found = {share: Histogram() for share in SHARES}
        errors = dict.fromkeys(SHARES, 0)
        for _ in range(lab.rounds):
            peak = run("closed", lab.seconds).per_second
            peaks.append(peak)
            lab.progress.sampled("latency", f"peak {peak:,.0f}/s (closed loop)")
            for share in SHARES:
                sample = run("open", lab.seconds, peak * share)
                found[share].add(sample.latencies)
                errors[share] += sample.errors
                p50, p99 = (sample.latencies.percentile_ms(percent) for percent in (50, 99))
                said = f"p50 {p50:.2f} ms  p99 {p99:.2f} ms  errors {sample.errors}"
                lab.progress.sampled("latency", f"{peak * share:,.0f}/s (open loop)  {said}")
    peak = statistics.median(peaks)
    for share, latencies in found.items():
        row: dict[str, str | float] = {"load": f"{share:.0%} of {peak:,.0f}/s"}
        row |= {f"p{percent:g}": latencies.percentile_ms(percent) for percent in PERCENTS}
        row |= {"max": latencies.max_us / 1e3, "requests": latencies.total}
        lab.tables.setdefault(TABLE, []).append(row | {"errors": errors[share]})
        lab.record(
            f"open p99 {share:.0%}",
            Reading(f"p99 at {share:.0%} of the peak", latencies.percentile_ms(99), "ms"),
        )


def alone(lab: Lab) -> None:
    """Measure `next` at one connection beside one bare etcd transaction, in turns."""
    differences, nexts, bares = [], [], []
    with etcd(lab) as etcd_port, node(lab, etcd_port) as (port, _pid):
        targets = (next_request(port), Target(etcd_port))
        generate(lab, Plan("turns", targets, len(targets), WARM_UP_SECONDS))
        for number in range(lab.rounds):
            # A key of its own for each run: the generator does not know an older one's revision.
            fresh = (targets[0], Target(etcd_port, key=f"/bare/{number}"))
            mine, bare = generate(lab, Plan("turns", fresh, len(fresh), lab.seconds))
            if mine.errors or bare.errors:
                raise BenchError(f"{mine.errors} requests and {bare.errors} transactions failed")
            nexts.append(mine.latencies.percentile_ms(50))
            bares.append(bare.latencies.percentile_ms(50))
            differences.append(nexts[-1] - bares[-1])
            lab.progress.sampled("alone", f"next {nexts[-1]:.2f} ms, bare {bares[-1]:.2f} ms")
    lab.record("next alone", Reading("p50 of `next`, 1 connection", statistics.median(nexts), "ms"))
    what = "p50 of one bare etcd transaction, compare and put"
    lab.record("bare alone", Reading(what, statistics.median(bares), "ms"))
    what = "p50 of `next` less that of a bare etcd transaction"
    lab.record("next less bare", Reading(what, statistics.median(differences), "ms"))
