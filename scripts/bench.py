#!/usr/bin/env python3
"""Measure the coordinator beside its rivals: one command, one run, one machine, one table.

Every server is a throw-away one on a free loopback port. The contenders take turns in rounds, so
that a machine that speeds up or slows down hits all alike; ratios are taken within a round and
their median is reported.

To add a row: write a function in `bench/contenders.py` or `bench/probes.py` and name it in the
tables below.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import textwrap
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.contenders import (
    hello,
    missing_tools,
    one_node,
    postgres_function,
    postgres_transaction,
)
from bench.lab import PACKAGES, BenchError, Lab, busy_share, say
from bench.probes import Reading, memory, start_to_ready
from bench.report import Figure, Results, as_json, machine_facts, print_report

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.contenders import Measure

WARM_UP_SECONDS = 2.0
LISTEN_SECONDS = 0.5  # before each sample: how busy others keep the machine
NUMBERS = 1_000_000
NUMBERS_QUICK = 100_000
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Row:
    """Something to measure: its title, what runs it, and the programs that it needs."""

    title: str
    run: Callable[..., Any]
    needs: tuple[str, ...] = ()


# Contenders are measured against each other, in turns.
CONTENDERS: dict[str, Row] = {
    "hello": Row("bare aiohttp hello", hello, ("wrk",)),
    "one-node": Row("one node, one etcd member", one_node, ("wrk", "etcd")),
    "postgres": Row(
        "PostgreSQL gapless, transaction",
        postgres_transaction,
        ("initdb", "postgres", "psql", "pgbench"),
    ),
    "postgres-function": Row(
        "PostgreSQL gapless, stored function",
        postgres_function,
        ("initdb", "postgres", "psql", "pgbench"),
    ),
}

# Probes are measured one after the other, when the contenders have stopped.
PROBES: dict[str, Row] = {
    "start": Row("start to READY", start_to_ready),
    "memory": Row("memory of a node", memory, ("wrk", "etcd")),
}


def figures(numbers: int) -> tuple[Figure, ...]:
    """List the figures to reach; `numbers` is how many the loaded node has handed out."""
    return (
        Figure(
            "one node / bare aiohttp hello, requests per second",
            lambda r: r.ratio("one-node", "hello"),
            "at least",
            0.40,
        ),
        Figure(
            "one node / PostgreSQL gapless, transaction",
            lambda r: r.ratio("one-node", "postgres"),
            "at least",
            5,
        ),
        Figure(
            "one node / PostgreSQL gapless, better form",
            lambda r: min(
                r.ratio("one-node", rival) for rival in ("postgres", "postgres-function")
            ),
            "at least",
            5,
        ),
        Figure(
            "one node, p99 / p50",
            lambda r: r.median("one-node", lambda sample: sample.p99_ms / sample.p50_ms),
            "at most",
            3,
        ),
        Figure("start to READY", lambda r: r.reading("start"), "at most", 10, "s"),
        Figure("memory of a node, idle", lambda r: r.reading("rss"), "at most", 80, "MB"),
        Figure(
            f"memory of a node, after {numbers:,} numbers",
            lambda r: r.reading("rss-loaded"),
            "at most",
            150,
            "MB",
        ),
    )


def main() -> int:
    """Run what the command line selects; returns the exit code."""
    options = parse(sys.argv[1:])
    selected = options.only or [*CONTENDERS, *PROBES]
    if not _tools_are_here(selected):
        return 2
    for name in STOP_SIGNALS:
        signal.signal(name, _stop)
    results = Results()
    try:
        # PostgreSQL refuses root, so its user must be able to enter the folder.
        with tempfile.TemporaryDirectory(prefix="coordinator-bench-") as folder:
            Path(folder).chmod(0o755)
            lab = Lab(
                Path(folder),
                seconds=options.seconds,
                rounds=options.rounds,
                connections=options.connections,
                numbers=options.numbers,
            )
            facts = machine_facts(lab)
            run_contenders(lab, results, [name for name in CONTENDERS if name in selected])
            run_probes(lab, results, [name for name in PROBES if name in selected])
    except KeyboardInterrupt:
        say("interrupted: everything that was started has been stopped")
        return 130
    except BenchError as error:
        say(f"bench: {error}")
        return 2
    if results.busy:
        facts["used by others"] = f"{max(results.busy):.0%} of the cores at worst, between samples"
    titles = {name: row.title for name, row in CONTENDERS.items()}
    goals = figures(lab.numbers)
    print_report(results, lab, goals, titles, facts)
    if options.json is not None:
        text = json.dumps(as_json(results, lab, goals, facts), indent=2)
        options.json.write_text(text + "\n")
    if not all(check.ok for check in lab.checks):
        say("bench: a measured server does not hold what it answered; its figures are worthless")
        return 1
    missed = [figure.what for figure in goals if figure.judge(results)[1] is False]
    return 1 if options.check and (missed or results.failures) else 0


def run_contenders(lab: Lab, results: Results, names: list[str]) -> None:
    """Start all, measure them in turns, and let each verify what it holds."""
    with ExitStack() as stack:
        running: dict[str, Measure] = {}
        for name in names:
            say(f"starting {name}")
            try:
                measure: Measure = stack.enter_context(CONTENDERS[name].run(lab))
                measure(WARM_UP_SECONDS)
            except BenchError as error:
                results.failures[name] = str(error)
                say(f"  not measured: {error}")
            else:
                running[name] = measure
                results.samples[name] = []
        for number in range(lab.rounds):
            for name, measure in list(running.items()):
                results.busy.append(busy_share(LISTEN_SECONDS))
                try:
                    sample = measure(lab.seconds)
                except BenchError as error:
                    # Without all its rounds it has no neighbours to be compared with.
                    del running[name], results.samples[name]
                    results.failures[name] = str(error)
                    say(f"  not measured: {error}")
                    continue
                results.samples[name].append(sample)
                say(
                    f"round {number + 1}/{lab.rounds}  {name:20} {sample.per_second:9,.0f}/s"
                    f"  p50 {sample.p50_ms:6.2f} ms  p99 {sample.p99_ms:6.2f} ms"
                    f"  errors {sample.errors}"
                )


def run_probes(lab: Lab, results: Results, names: list[str]) -> None:
    """Run each probe; what it records before it fails is kept."""

    def record(key: str, reading: Reading) -> None:
        results.readings[key] = reading
        say(f"  {reading.what} {reading.value:.2f} {reading.unit}")

    for name in names:
        say(f"probing {name}")
        try:
            PROBES[name].run(lab, record)
        except BenchError as error:
            results.failures[name] = str(error)
            say(f"  not measured: {error}")


def parse(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    known = [*CONTENDERS, *PROBES]
    rows = "\n".join(f"  {name:20}{row.title}" for name, row in {**CONTENDERS, **PROBES}.items())
    parser = argparse.ArgumentParser(
        prog="bench.py",
        description=textwrap.dedent(__doc__.split("To add a row")[0]),
        epilog=f"rows:\n{rows}\n\n"
        "examples:\n"
        "  scripts/bench.py                           all rows; about four minutes\n"
        "  scripts/bench.py --quick                   a first impression; about a minute\n"
        "  scripts/bench.py --only hello,one-node     one ratio\n"
        "  scripts/bench.py --json FILE --check       for a pipeline\n\n"
        "The exit code is 0 whatever the figures; 1 when a server does not hold the numbers\n"
        "that it answered or, with --check, when a figure is missed; 2 when a program is missing.\n"
        "Programs: wrk, etcd, PostgreSQL. Debian: apt install wrk etcd-server postgresql",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    def names(text: str) -> list[str]:
        chosen = [name.strip() for name in text.split(",") if name.strip()]
        unknown = [name for name in chosen if name not in known]
        if unknown or not chosen:
            raise argparse.ArgumentTypeError(f"unknown {unknown}; known are {', '.join(known)}")
        return chosen

    add = parser.add_argument
    add("--only", type=names, metavar="ROW,…", help="measure only these rows")
    add("--seconds", type=float, metavar="S", help="length of one round (5; quick: 3)")
    add("--rounds", type=int, metavar="N", help="rounds of each contender (3; quick: 1)")
    add("--connections", type=int, default=64, metavar="N", help="connections and clients (64)")
    add("--numbers", type=int, metavar="N", help="numbers before memory is read again (1,000,000)")
    add("--quick", action="store_true", help=f"one short round, {NUMBERS_QUICK:,} numbers")
    add("--json", type=Path, metavar="FILE", help="also write everything as JSON")
    add("--check", action="store_true", help="exit 1 when a figure misses its bound")
    options = parser.parse_args(argv)
    options.seconds = options.seconds or (3.0 if options.quick else 5.0)
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.numbers = options.numbers or (NUMBERS_QUICK if options.quick else NUMBERS)
    if min(options.seconds, options.rounds, options.numbers, options.connections) < 1:
        parser.error("--seconds, --rounds, --numbers and --connections start at 1")
    return options


def _tools_are_here(selected: list[str]) -> bool:
    """Say at once everything that is missing, instead of failing at each in turn."""
    rows = {**CONTENDERS, **PROBES}
    missing: dict[str, list[str]] = {}
    for name in selected:
        for program in missing_tools(rows[name].needs):
            missing.setdefault(program, []).append(name)
    for program, names in missing.items():
        say(f"bench: {program} is missing, needed by {', '.join(names)}")
    if missing:
        packages = sorted({PACKAGES[program] for program in missing})
        say(f"bench: apt install {' '.join(packages)}   (or leave rows out with --only)")
    return not missing


def _stop(_number: int, _frame: object) -> None:
    """Unwind once; a second signal must not interrupt the cleaning up."""
    for name in STOP_SIGNALS:
        signal.signal(name, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    began = time.monotonic()
    code = main()
    say(f"took {time.monotonic() - began:.0f} s")
    sys.exit(code)
