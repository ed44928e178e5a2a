"""Load generators: wrk and our own for HTTP, pgbench for PostgreSQL, redis-benchmark for Redis."""

from __future__ import annotations

import csv
import json
import statistics
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.histogram import Histogram
from bench.lab import HERE, LOOPBACK, BenchError, Lab, python, tool

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.generator import Plan

SPREAD = "p50 of clients, highest / lowest"
GRACE_SECONDS = 60.0  # what a generator may take beyond the time that it measures


@dataclass(frozen=True)
class Sample:
    """One round of one contender. Latencies in milliseconds; `done` counts answered requests.

    `facts` are other figures of the same round, by name.
    """

    per_second: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    mean_ms: float
    done: int
    errors: int
    facts: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Generated:
    """What our own generator found out about one target."""

    seconds: float
    answered: int
    errors: int
    latencies: Histogram
    lateness: Histogram
    """From the moment a request was due until it was sent."""

    @property
    def per_second(self) -> float:
        """Return the requests answered in a second."""
        return self.answered / self.seconds


def wrk(lab: Lab, port: int, path: str, connections: int, seconds: float, body: str = "") -> Sample:
    """Load a URL from so many connections with one thread; a body is posted.

    wrk corrects its percentiles for coordinated omission by an estimate: a stalled connection
    counts for the requests that it should have sent meanwhile.
    """
    return _wrk_sample(_wrks(lab, [(port, connections)], path, seconds, body)[0])


def wrks(lab: Lab, ports: Sequence[int], connections: int, seconds: float, path: str) -> Sample:
    """Load several ports with a wrk each, which share the connections; the sum is one sample.

    The fact SPREAD is the highest p50 of a wrk, divided by the lowest. Percentiles of all come from
    199 of each, so that p99 is right to half a percent of the requests.
    """
    share = max(1, connections // len(ports))
    each = _wrks(lab, [(port, share) for port in ports], path, seconds, "")
    samples = [_wrk_sample(facts) for facts in each]
    halves = [sample.p50_ms for sample in samples]
    done = sum(sample.done for sample in samples)
    pooled = Histogram()
    for facts in each:
        for point_us in facts["points_us"]:
            pooled.record(point_us, max(1, facts["requests"] // len(facts["points_us"])))
    return Sample(
        per_second=sum(sample.per_second for sample in samples),
        p50_ms=pooled.percentile_ms(50),
        p90_ms=pooled.percentile_ms(90),
        p99_ms=pooled.percentile_ms(99),
        max_ms=max(sample.max_ms for sample in samples),
        mean_ms=sum(sample.mean_ms * sample.done for sample in samples) / max(1, done),
        done=done,
        errors=sum(sample.errors for sample in samples),
        facts={SPREAD: max(halves) / max(min(halves), 1e-3)},
    )


def _wrks(
    lab: Lab, targets: Sequence[tuple[int, int]], path: str, seconds: float, body: str
) -> list[dict[str, Any]]:
    """Run a wrk for each (port, connections), all at the same time; return what each counted."""
    whole = max(1, round(seconds))
    commands = [
        [
            *(tool("wrk"), "--latency", "-t", "1", "-c", str(connections)),
            *("-d", f"{whole}s", "--timeout", "10s", "-s", str(HERE / "wrk_json.lua")),
            f"http://{LOOPBACK}:{port}{path}",
            *(("--", body) if body else ()),
        ]
        for port, connections in targets
    ]
    results = []
    for (port, _), (_, said) in zip(targets, _run_all(lab, commands, whole), strict=True):
        try:
            results.append(dict(json.loads(said.splitlines()[-1])))
        except (IndexError, ValueError):
            raise BenchError(f"wrk on port {port} gave no result: {said[-200:]}") from None
    return results


def _wrk_sample(facts: dict[str, Any]) -> Sample:
    return Sample(
        per_second=facts["requests"] * 1e6 / facts["duration_us"],
        p50_ms=facts["p50_us"] / 1e3,
        p90_ms=facts["p90_us"] / 1e3,
        p99_ms=facts["p99_us"] / 1e3,
        max_ms=facts["max_us"] / 1e3,
        mean_ms=facts["mean_us"] / 1e3,
        done=facts["requests"],
        errors=facts["errors_status"] + facts["errors_socket"] + facts["timeouts"],
    )


def generate(lab: Lab, plan: Plan) -> list[Generated]:
    """Carry out a plan of our own generator in a process of its own; a result for each target."""
    command = [python(), "-m", "bench.generator"]
    said, complaint = _run_all(
        lab, [command], plan.seconds, stdin=plan.as_json(), folder=HERE.parent
    )[0]
    try:
        result = json.loads(said)
    except ValueError:
        raise BenchError(f"the generator gave no result: {complaint[-300:]}") from None
    return [
        Generated(
            seconds=result["seconds"],
            answered=target["answered"],
            errors=target["errors"],
            latencies=Histogram.from_json(**target["latencies"]),
            lateness=Histogram.from_json(**target["lateness"]),
        )
        for target in result["targets"]
    ]


def pgbench(lab: Lab, port: int, script: Path, seconds: float) -> Sample:
    """Run a script in prepared mode; percentiles come from pgbench's log of every transaction."""
    folder = lab.new_folder("pgbench")
    whole = max(1, round(seconds))
    command = [
        *(tool("pgbench"), "-h", LOOPBACK, "-p", str(port), "-U", "postgres", "-n"),
        *("-M", "prepared", "-c", str(lab.connections), "-j", "2"),
        *("-T", str(whole), "-f", str(script)),
        *("-l", "--log-prefix", str(folder / "log"), "postgres"),
    ]
    report, complaint = _run_all(lab, [command], whole)[0]
    took_ms = sorted(
        int(line.split()[2]) / 1e3
        for log in folder.glob("log.*")
        for line in log.read_text().splitlines()
    )
    if not took_ms:
        raise BenchError(f"pgbench committed nothing: {complaint[-300:]}")
    cuts = statistics.quantiles(took_ms, n=100, method="inclusive")
    return Sample(
        per_second=_pgbench_line(report, "tps = "),
        p50_ms=cuts[49],
        p90_ms=cuts[89],
        p99_ms=cuts[98],
        max_ms=took_ms[-1],
        mean_ms=statistics.fmean(took_ms),
        done=len(took_ms),
        errors=round(_pgbench_line(report, "number of failed transactions: ")),
    )


def _pgbench_line(report: str, start: str) -> float:
    for line in report.splitlines():
        if line.startswith(start):
            return float(line.removeprefix(start).split()[0])
    raise BenchError(f"pgbench did not say `{start.strip()}`: {report[-300:]}")


def redis_benchmark(lab: Lab, port: int, requests: int, seconds: float) -> Sample:
    """Send so many INCRs, which should take so many seconds; redis-benchmark knows no time.

    It tells p95, not p90: that stands for both.
    """
    command = [
        *(tool("redis-benchmark"), "-h", LOOPBACK, "-p", str(port), "--csv"),
        *("-c", str(lab.connections), "-n", str(requests), "INCR", "counter"),
    ]
    said, complaint = _run_all(lab, [command], seconds)[0]
    try:
        row = next(row for row in csv.DictReader(said.splitlines()) if row["test"])
        found = {name: float(value) for name, value in row.items() if name != "test"}
        return Sample(
            per_second=found["rps"],
            p50_ms=found["p50_latency_ms"],
            p90_ms=found["p95_latency_ms"],
            p99_ms=found["p99_latency_ms"],
            max_ms=found["max_latency_ms"],
            mean_ms=found["avg_latency_ms"],
            done=requests,
            errors=0,
        )
    except (StopIteration, KeyError, ValueError, TypeError):
        raise BenchError(f"redis-benchmark gave no result: {complaint[-300:]}") from None


def _run_all(
    lab: Lab,
    commands: Sequence[Sequence[str]],
    seconds: float,
    *,
    stdin: str = "",
    folder: Path | None = None,
) -> list[tuple[str, str]]:
    """Run commands at the same time; return what each wrote to stdout and stderr.

    Raises BenchError when one fails or hangs. Whatever happens, none is left behind.
    """
    deadline = time.monotonic() + seconds + GRACE_SECONDS
    with ExitStack() as stack:
        running = []
        for command in commands:
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=folder or lab.folder,
                start_new_session=True,
            )
            stack.enter_context(child)  # closes its pipes
            stack.callback(child.kill)  # before that
            running.append(child)
        said = []
        for child in running:
            try:
                said.append(child.communicate(stdin, max(0.1, deadline - time.monotonic())))
            except subprocess.TimeoutExpired:
                raise BenchError(f"{commands[0][0]} hung for {seconds:g} s and more") from None
            if child.returncode != 0:
                raise BenchError(f"{child.args!r} failed: {''.join(said[-1])[-300:]}")
        return said
