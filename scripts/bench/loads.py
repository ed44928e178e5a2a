"""Load generators, both compiled ones: wrk for HTTP, pgbench for PostgreSQL."""

from __future__ import annotations

import json
import statistics
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.lab import HERE, LOOPBACK, BenchError, Lab, tool

if TYPE_CHECKING:
    from pathlib import Path

GRACE_SECONDS = 60.0  # what a generator may take beyond the time that it measures


@dataclass(frozen=True)
class Sample:
    """One round of one contender. Latencies in milliseconds; `done` counts answered requests."""

    per_second: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    mean_ms: float
    done: int
    errors: int


def wrk(lab: Lab, port: int, path: str, seconds: float) -> Sample:
    """Load a URL from the laboratory's connections with one thread.

    wrk corrects its percentiles for coordinated omission: a stalled connection counts for the
    requests that it should have sent meanwhile.
    """
    said = _run(
        [
            *(tool("wrk"), "--latency", "-t", "1", "-c", str(lab.connections)),
            *("-d", f"{max(1, round(seconds))}s", "--timeout", "10s"),
            *("-s", str(HERE / "wrk_json.lua"), f"http://{LOOPBACK}:{port}{path}"),
        ],
        seconds,
    ).stderr
    try:
        facts = json.loads(said.splitlines()[-1])
    except (IndexError, ValueError):
        raise BenchError(f"wrk on port {port} gave no result: {said[-200:]}") from None
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


def pgbench(lab: Lab, port: int, script: Path, seconds: float) -> Sample:
    """Run a script in prepared mode; percentiles come from pgbench's log of every transaction."""
    folder = lab.new_folder("pgbench")
    done = _run(
        [
            *(tool("pgbench"), "-h", LOOPBACK, "-p", str(port), "-U", "postgres", "-n"),
            *("-M", "prepared", "-c", str(lab.connections), "-j", "2"),
            *("-T", str(max(1, round(seconds))), "-f", str(script)),
            *("-l", "--log-prefix", str(folder / "log"), "postgres"),
        ],
        seconds,
    )
    if done.returncode != 0:
        raise BenchError(f"pgbench failed: {done.stderr[-300:]}")
    took_ms = sorted(
        int(line.split()[2]) / 1e3
        for log in folder.glob("log.*")
        for line in log.read_text().splitlines()
    )
    if not took_ms:
        raise BenchError("pgbench committed nothing")
    cuts = statistics.quantiles(took_ms, n=100, method="inclusive")
    return Sample(
        per_second=_pgbench_line(done.stdout, "tps = "),
        p50_ms=cuts[49],
        p90_ms=cuts[89],
        p99_ms=cuts[98],
        max_ms=took_ms[-1],
        mean_ms=statistics.fmean(took_ms),
        done=len(took_ms),
        errors=round(_pgbench_line(done.stdout, "number of failed transactions: ")),
    )


def _pgbench_line(report: str, start: str) -> float:
    for line in report.splitlines():
        if line.startswith(start):
            return float(line.removeprefix(start).split()[0])
    raise BenchError(f"pgbench did not say `{start.strip()}`: {report[-300:]}")


def _run(argv: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds + GRACE_SECONDS,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise BenchError(f"{argv[0]} hung for {seconds + GRACE_SECONDS:g} s") from None
