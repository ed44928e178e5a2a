"""The result: absolute figures, ratios against their targets, truths, and the machine's facts."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.lab import Lab, find_tool, python

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.loads import Sample
    from bench.probes import Reading

FSYNC_PROBES = 200


class NotMeasuredError(Exception):
    """A figure needs a row that was not selected or could not be run."""


@dataclass
class Results:
    """Everything that one run has measured."""

    samples: dict[str, list[Sample]] = field(default_factory=dict)
    readings: dict[str, Reading] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    busy: list[float] = field(default_factory=list)

    def rounds(self, name: str) -> list[Sample]:
        """Return the rounds of a contender, or say that there are none."""
        if not self.samples.get(name):
            raise NotMeasuredError(name)
        return self.samples[name]

    def median(self, name: str, value: Callable[[Sample], float]) -> float:
        """Return the median over the rounds of a contender."""
        return statistics.median(value(sample) for sample in self.rounds(name))

    def ratio(self, name: str, rival: str) -> float:
        """Return the median of the ratios within each round: neighbours in time are compared."""
        return statistics.median(
            mine.per_second / theirs.per_second
            for mine, theirs in zip(self.rounds(name), self.rounds(rival), strict=True)
        )

    def reading(self, key: str) -> float:
        """Return what a probe measured."""
        if key not in self.readings:
            raise NotMeasuredError(key)
        return self.readings[key].value


@dataclass(frozen=True)
class Figure:
    """A figure to reach: what, how it follows from the results, and the bound it should keep."""

    what: str
    measured: Callable[[Results], float]
    bound: str
    limit: float
    unit: str = ""

    def judge(self, results: Results) -> tuple[float | None, bool | None]:
        """Return the value and whether it keeps its bound; None where not measured."""
        try:
            value = self.measured(results)
        except NotMeasuredError:
            return None, None
        return value, value >= self.limit if self.bound == "at least" else value <= self.limit


def machine_facts(lab: Lab) -> dict[str, str]:
    """Say what a reader must know to compare these numbers with others."""
    return {
        "machine": f"{os.cpu_count()} cores, {_cpu_model()}, {_memory_gb()}",
        "system": f"{platform.system()} {platform.release()}",
        "Python": _version([python(), "--version"]),
        "aiohttp": _version([python(), "-c", "import aiohttp; print(aiohttp.__version__)"]),
        "etcd": _version([find_tool("etcd"), "--version"]),
        "PostgreSQL": _version([find_tool("postgres"), "--version"]),
        "wrk": _version([find_tool("wrk"), "-v"]),
        "fsync of 4 KiB": f"{_fsync_ms(lab.folder):.2f} ms median on the servers' disk",
        "method": f"{lab.rounds} interleaved rounds of {lab.seconds:g} s, {lab.connections} "
        "connections; ratios are medians of the rounds' ratios",
    }


def _version(argv: list[str | None]) -> str:
    if argv[0] is None:
        return "not installed"
    try:
        done = subprocess.run(
            [str(word) for word in argv], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0].split(" Copyright")[0] if lines else "unknown"


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_gb() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB memory"
    except (ValueError, OSError):
        return "memory unknown"


def _fsync_ms(folder: Path) -> float:
    """Measure the disk that etcd and PostgreSQL wait for: a RAM disk would flatter both."""
    took = []
    with (folder / "fsync-probe").open("wb", buffering=0) as out:
        for _ in range(FSYNC_PROBES):
            began = time.perf_counter()
            out.write(b"\0" * 4096)
            os.fdatasync(out.fileno())
            took.append((time.perf_counter() - began) * 1e3)
    return statistics.median(took)


def absolute_rows(results: Results, titles: dict[str, str]) -> list[list[str]]:
    """Lay out what each contender reached, medians of its rounds."""
    rows = []
    for name, rounds in results.samples.items():
        speeds = [sample.per_second for sample in rounds]
        rows.append(
            [
                titles[name],
                f"{statistics.median(speeds):,.0f}",
                f"{min(speeds):,.0f} to {max(speeds):,.0f}",
                *(
                    f"{results.median(name, value):.2f}"
                    for value in (
                        lambda s: s.mean_ms,
                        lambda s: s.p50_ms,
                        lambda s: s.p99_ms,
                        lambda s: s.max_ms,
                    )
                ),
                str(sum(sample.errors for sample in rounds)),
            ]
        )
    return rows


def figure_rows(results: Results, figures: tuple[Figure, ...]) -> list[list[str]]:
    """Lay out each figure beside its bound."""
    rows = []
    for figure in figures:
        value, ok = figure.judge(results)
        said = "not measured" if value is None else f"{value:.2f} {figure.unit}".strip()
        bound = f"{figure.bound} {figure.limit:g} {figure.unit}".strip()
        rows.append([figure.what, said, bound, {True: "yes", False: "NO", None: "-"}[ok]])
    return rows


def table(head: list[str], rows: list[list[str]]) -> str:
    """Format rows as a Markdown table that also reads well as plain text."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in [head, *rows]
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def print_report(
    results: Results,
    lab: Lab,
    figures: tuple[Figure, ...],
    titles: dict[str, str],
    facts: dict[str, str],
) -> None:
    """Print the whole result on stdout."""
    print(table(["what", "measured", "bound", "ok?"], figure_rows(results, figures)))
    if results.samples:
        head = [
            "contender",
            "per second",
            "rounds",
            "mean ms",
            "p50 ms",
            "p99 ms",
            "max ms",
            "errors",
        ]
        print("\n" + table(head, absolute_rows(results, titles)))
    if results.readings:
        rows = [
            [reading.what, f"{reading.value:.2f} {reading.unit}", reading.note]
            for reading in results.readings.values()
        ]
        print("\n" + table(["reading", "value", "note"], rows))
    print()
    for check in lab.checks:
        print(f"{'true ' if check.ok else 'FALSE'}  {check.what}: {check.detail}")
    for name, why in results.failures.items():
        print(f"not measured  {name}: {why}")
    print()
    for name, fact in facts.items():
        print(f"{name + ':':16}{fact}")


def as_json(
    results: Results, lab: Lab, figures: tuple[Figure, ...], facts: dict[str, str]
) -> dict[str, Any]:
    """Return the whole result, every round included, as plain values."""
    judged = []
    for figure in figures:
        value, ok = figure.judge(results)
        judged.append(
            {
                "what": figure.what,
                "measured": value,
                "bound": figure.bound,
                "limit": figure.limit,
                "unit": figure.unit,
                "ok": ok,
            }
        )
    return {
        "figures": judged,
        "contenders": {
            name: [asdict(sample) for sample in rounds] for name, rounds in results.samples.items()
        },
        "readings": {key: asdict(reading) for key, reading in results.readings.items()},
        "truths": [asdict(check) for check in lab.checks],
        "not_measured": results.failures,
        "facts": facts,
    }
