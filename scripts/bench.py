#!/usr/bin/env python3
"""Measure the coordinator beside its rivals: one command, one run, one machine, one table.

Every server is a throw-away one on a free loopback port. The contenders take turns in rounds, so
that a machine that speeds up or slows down hits all alike; ratios are taken within a round and
their median is reported. Each contender is asked at the end whether it holds what it answered.
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from bench.chart import NoPlaceError, chart, update_file
from bench.figures import figures
from bench.lab import BenchError, Lab, busy_share
from bench.options import list_of_rows, parse
from bench.progress import Progress, say
from bench.report import as_json, machine_facts, print_report
from bench.results import Results
from bench.rows import (
    CONTENDERS,
    GROUPS,
    LISTEN_SECONDS,
    PROBES,
    ROWS,
    WARM_UP_SECONDS,
    progress_of,
    usable,
)

if TYPE_CHECKING:
    import argparse

    from bench.contenders import Contender, Measure

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """Run what the command line selects; returns the exit code."""
    options = parse(sys.argv[1:], __doc__)
    if options.list:
        print(list_of_rows())
        return 0
    try:
        if options.earlier is not None:
            return chart_earlier(options)
        return measure(options)
    except KeyboardInterrupt:
        say("interrupted: everything that was started has been stopped")
        return 130
    except (BenchError, NoPlaceError, OSError, ValueError) as error:
        say(f"bench: {error}")
        return 2


def measure(options: argparse.Namespace) -> int:
    """Measure, report, and judge; returns the exit code. Raises BenchError."""
    wanted = options.only or list(ROWS)
    selected, left_out = usable(wanted)
    if not selected:
        return 2
    for name in STOP_SIGNALS:
        signal.signal(name, _stop)
    # PostgreSQL refuses root, so its user must be able to enter the folder.
    with tempfile.TemporaryDirectory(prefix="coordinator-bench-") as folder:
        Path(folder).chmod(0o755)
        lab = Lab(
            Path(folder),
            seconds=options.seconds,
            rounds=options.rounds,
            connections=options.connections,
            sizes=options.sizes,
            progress=Progress({}),
        )
        lab.progress = progress_of(lab, selected)
        results = Results(
            readings=lab.readings, tables=lab.tables, checks=lab.checks, failures=left_out
        )
        facts = machine_facts(lab)
        say(f"{len(selected)} rows, about {lab.progress.planned_s / 60:.0f} minutes")
        for open_group, rows in GROUPS:
            names = [name for name in rows if name in selected]
            try:
                with ExitStack() as stack:
                    group = stack.enter_context(open_group(lab)) if names else {}
                    run_contenders(lab, results, {name: group[name] for name in names})
            except BenchError as error:  # what they share did not start
                for name in names:
                    _give_up(lab, results, name, error)
        run_probes(lab, results, [name for name in PROBES if name in selected])
    if results.busy:
        facts["used by others"] = f"{max(results.busy):.0%} of the cores at worst, between samples"
    return report(options, lab, results, facts)


def report(options: argparse.Namespace, lab: Lab, results: Results, facts: dict[str, str]) -> int:
    """Write what was measured wherever it is wanted; returns the exit code."""
    goals = figures(lab)
    titles = {name: row.title for name, row in CONTENDERS.items()}
    print_report(results, goals, titles, facts, only_measured=bool(options.only))
    result = as_json(results, goals, facts, lab.connections)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    draw(options, result["per_second"], lab.connections)
    if not all(check.ok for check in results.checks):
        say("bench: a measured server does not hold what it answered; its figures are worthless")
        return 1
    missed = [figure.what for figure in goals if figure.judge(results).ok is False]
    return 1 if options.check and (missed or results.failures) else 0


def draw(options: argparse.Namespace, per_second: dict[str, float], connections: int) -> None:
    """Chart where it is wanted. Raises NoPlaceError or ValueError when it cannot be."""
    if options.chart or options.update_readme:
        block = chart(per_second, connections)
        print(f"\n{block}")
        if options.update_readme:
            update_file(options.readme, block)


def chart_earlier(options: argparse.Namespace) -> int:
    """Chart a run that was written to a file before; returns the exit code."""
    try:
        earlier = json.loads(options.earlier.read_text())
        per_second, connections = earlier["per_second"], earlier["connections"]
    except (ValueError, KeyError, TypeError):
        raise BenchError(f"{options.earlier} is not what --json wrote") from None
    options.chart = True
    draw(options, per_second, connections)
    return 0


def run_contenders(lab: Lab, results: Results, contenders: dict[str, Contender]) -> None:
    """Start all, measure them in turns, and let each verify what it holds."""
    with ExitStack() as stack:
        running: dict[str, Measure] = {}
        for name, contender in contenders.items():
            say(f"starting {name}")
            try:
                begin: Measure = stack.enter_context(contender())
                begin(WARM_UP_SECONDS)
            except BenchError as error:
                _give_up(lab, results, name, error)
            else:
                running[name] = begin
                results.samples[name] = []
        for _ in range(lab.rounds):
            for name, take in list(running.items()):
                results.busy.append(busy_share(LISTEN_SECONDS))
                try:
                    sample = take(lab.seconds)
                except BenchError as error:
                    # Without all its rounds it has no neighbours to be compared with.
                    del running[name], results.samples[name]
                    _give_up(lab, results, name, error)
                    continue
                results.samples[name].append(sample)
                lab.progress.sampled(
                    name,
                    f"{sample.per_second:9,.0f}/s  p50 {sample.p50_ms:6.2f} ms"
                    f"  p99 {sample.p99_ms:6.2f} ms  errors {sample.errors}",
                )
        if contenders:
            say("asking each what it holds")


def run_probes(lab: Lab, results: Results, names: list[str]) -> None:
    """Run each probe; what it records before it fails is kept."""
    for name in names:
        probe, row = PROBES[name]
        say(f"probing {name}: {row.title}")
        try:
            probe(lab)
        except BenchError as error:
            _give_up(lab, results, name, error)
        lab.progress.finished(name)


def _give_up(lab: Lab, results: Results, name: str, error: BenchError) -> None:
    results.failures[name] = str(error)
    lab.progress.finished(name)
    say(f"  not measured: {name}: {error}")


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
