"""The result as text and as JSON: figures against their goals, tables, truths, the machine."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.lab import Lab, find_tool, python
from bench.tally import GROWTH, LOST, TRANSACTIONS, WRITTEN

if TYPE_CHECKING:
    from bench.results import Figure, Results

COSTS = (TRANSACTIONS, WRITTEN, GROWTH, LOST)
FSYNC_PROBES = 200
WHOLE_FROM = 1_000
"""From here on, figures are shown without decimals."""

VERDICTS = {True: "reached", False: "MISSED", None: ""}


def machine_facts(lab: Lab) -> dict[str, str]:
    """Say what a reader must know to compare these numbers with others."""
    return {
        "machine": f"{os.cpu_count()} cores, {_cpu_model()}, {_memory_gb()}",
        "system": f"{platform.system()} {platform.release()}",
        "Python": _version([python(), "--version"]),
        "aiohttp": _version([python(), "-c", "import aiohttp; print(aiohttp.__version__)"]),
        "etcd": _version([find_tool("etcd"), "--version"]),
        "PostgreSQL": _version([find_tool("postgres"), "--version"]),
        "Redis": _version([find_tool("redis-server"), "--version"]),
        "wrk": _version([find_tool("wrk"), "-v"]),
        "fsync of 4 KiB": f"{_fsync_ms(lab.folder):.2f} ms median on the servers' disk",
        "method": f"{lab.rounds} interleaved rounds of {lab.seconds:g} s, {lab.connections} "
        "connections; ratios are medians of the rounds' ratios; all servers and clients on this "
        "one machine",
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


def figure_rows(
    results: Results, figures: tuple[Figure, ...], *, only_measured: bool = False
) -> list[list[str]]:
    """Lay out each figure beside its goal: what, figure, ratio, goal, whether it was reached."""
    rows = []
    for figure in figures:
        verdict = figure.judge(results)
        if verdict.value is None:
            if not only_measured:
                rows.append([figure.what, "not measured", "", figure.goal, ""])
            continue
        said = _cell(verdict.value)
        # A figure without a unit is a ratio, or one number for each of another.
        absolute, ratio = (f"{said} {figure.unit}", "") if figure.unit else (verdict.beside, said)
        rows.append([figure.what, absolute, ratio, figure.goal, VERDICTS[verdict.ok]])
    return rows


def contender_rows(results: Results, titles: dict[str, str]) -> list[list[str]]:
    """Lay out what each contender reached, medians of its rounds."""
    rows = []
    for name, rounds in results.samples.items():
        speeds = [sample.per_second for sample in rounds]
        times = (
            results.median(name, value)
            for value in (
                lambda s: s.mean_ms,
                lambda s: s.p50_ms,
                lambda s: s.p99_ms,
                lambda s: s.max_ms,
            )
        )
        rows.append(
            [
                titles[name],
                f"{statistics.median(speeds):,.0f}",
                f"{min(speeds):,.0f} to {max(speeds):,.0f}",
                *(f"{time_ms:.2f}" for time_ms in times),
                str(sum(sample.errors for sample in rounds)),
            ]
        )
    return rows


def cost_rows(results: Results, titles: dict[str, str]) -> list[list[str]]:
    """Lay out what each contender that writes to etcd costs there, medians of its rounds."""
    rows = []
    for name, rounds in results.samples.items():
        cells = []
        for fact in COSTS:
            found = [sample.facts[fact] for sample in rounds if fact in sample.facts]
            cells.append(f"{statistics.median(found):,.2f}" if found else "")
        if any(cells):
            rows.append([titles[name], *cells])
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


def _table_of(rows: list[dict[str, str | float]]) -> str:
    head = list(dict.fromkeys(name for row in rows for name in row))
    return table(head, [[_cell(row.get(name, "")) for name in head] for row in rows])


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return value
    few = isinstance(value, float) and abs(value) < WHOLE_FROM
    return f"{value:,.2f}" if few else f"{value:,.0f}"


def print_report(
    results: Results,
    figures: tuple[Figure, ...],
    titles: dict[str, str],
    facts: dict[str, str],
    *,
    only_measured: bool,
) -> None:
    """Print the whole result on stdout; with ``only_measured``, no figures without a value."""
    rows = figure_rows(results, figures, only_measured=only_measured)
    print(table(["what", "figure", "ratio", "goal", ""], rows))
    if results.samples:
        head = ["contender (closed loop)", "requests/s", "rounds", "mean ms", "p50 ms", "p99 ms"]
        print("\n" + table([*head, "max ms", "errors"], contender_rows(results, titles)))
    costs = cost_rows(results, titles)
    if costs:
        print("\n" + table(["cost in etcd", *COSTS], costs))
    for title, lines in results.tables.items():
        print(f"\n{title}\n\n{_table_of(lines)}")
    if results.readings:
        readings = [
            [reading.what, f"{reading.value:,.2f} {reading.unit}", reading.note]
            for reading in results.readings.values()
        ]
        print("\n" + table(["reading", "value", "note"], readings))
    print()
    for check in results.checks:
        print(f"{'true ' if check.ok else 'FALSE'}  {check.what}: {check.detail}")
    for name, why in results.failures.items():
        print(f"not measured  {name}: {why}")
    print()
    for name, fact in facts.items():
        print(f"{name + ':':16}{fact}")


def as_json(
    results: Results, figures: tuple[Figure, ...], facts: dict[str, str], connections: int
) -> dict[str, Any]:
    """Return the whole result, every round included, as plain values."""
    judged = []
    for figure in figures:
        verdict = figure.judge(results)
        judged.append(
            {
                "what": figure.what,
                "measured": verdict.value,
                "of": verdict.beside,
                "unit": figure.unit,
                "goal": figure.goal,
                "reached": verdict.ok,
            }
        )
    return {
        "figures": judged,
        "connections": connections,
        "per_second": {name: results.per_second(name) for name in results.samples},
        "contenders": {
            name: [asdict(sample) for sample in rounds] for name, rounds in results.samples.items()
        },
        "tables": results.tables,
        "readings": {key: asdict(reading) for key, reading in results.readings.items()},
        "truths": [asdict(check) for check in results.checks],
        "not_measured": results.failures,
        "facts": facts,
    }
