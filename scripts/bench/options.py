"""The command line of `scripts/bench.py`."""

from __future__ import annotations

import argparse
import textwrap
from dataclasses import dataclass
from pathlib import Path

from bench.lab import ROOT, Sizes
from bench.rows import ROWS


@dataclass(frozen=True)
class Scale:
    """How much a run does: rounds, seconds of each sample, and the loads that count numbers."""

    rounds: int
    seconds: float
    sizes: Sizes


QUICK = Scale(1, 2.0, Sizes(memory_numbers=30_000, growth_numbers=500_000, growth_gaps=4_000))
USUAL = Scale(3, 5.0, Sizes(memory_numbers=1_000_000, growth_numbers=1_000_000, growth_gaps=20_000))
FULL = Scale(
    5, 5.0, Sizes(memory_numbers=1_000_000, growth_numbers=10_000_000, growth_gaps=100_000)
)

EXAMPLES = """
examples:
  scripts/bench.py                              all rows; about ten minutes
  scripts/bench.py --quick                      a first impression; under three minutes
  scripts/bench.py --full --json all.json       ten million numbers, 100,000 gaps; a quarter hour
  scripts/bench.py --only hello,one-node        one ratio
  scripts/bench.py --only cluster-one,cluster-four --rounds 8 --seconds 3
  scripts/bench.py --json FILE --check          for a pipeline
  scripts/bench.py --chart                      also print the chart, as Mermaid text
  scripts/bench.py --from FILE --update-readme  draw the chart of an earlier run

How to read it: a machine drifts, and a shared one by a factor of two. Contenders therefore take
turns within rounds, a ratio is taken within each round, and their median is what counts; compare
ratios, not figures, of two machines. "used by others" says how busy the machine was besides.
Latencies of contenders are those of a closed loop. `latency` has the honest ones: requests are due
at a constant rate, and each is timed from the moment at which it was due.

The exit code is 0 whatever the figures; 1 when a server does not hold the numbers that it answered
or, with --check, when a goal is missed or a row was not measured; 2 when a program is missing.
Programs (Debian): apt install wrk etcd-server postgresql redis-server redis-tools
Redis is optional: without it its row is left out.
"""


def parse(argv: list[str], description: str) -> argparse.Namespace:
    """Read the command line; `sizes`, `rounds` and `seconds` are filled in."""
    parser = argparse.ArgumentParser(
        prog="bench.py",
        description=textwrap.dedent(description),
        epilog=f"{list_of_rows()}\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_choices(parser)
    _add_outputs(parser)
    options = parser.parse_args(argv)
    scale = FULL if options.full else QUICK if options.quick else USUAL
    options.seconds = options.seconds or scale.seconds
    options.rounds = options.rounds or scale.rounds
    options.sizes = Sizes(
        memory_numbers=options.numbers or scale.sizes.memory_numbers,
        growth_numbers=options.growth_numbers or scale.sizes.growth_numbers,
        growth_gaps=options.growth_gaps or scale.sizes.growth_gaps,
    )
    sizes = options.sizes
    counts = (sizes.memory_numbers, sizes.growth_numbers, sizes.growth_gaps)
    if min(options.seconds, options.rounds, options.connections, *counts) < 1:
        parser.error("--seconds, --rounds, --connections and all numbers start at 1")
    if sizes.growth_gaps > sizes.growth_numbers:
        parser.error("--growth-gaps cannot be more than --growth-numbers")
    return options


def _add_choices(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--only", type=_names, metavar="ROW,…", help="measure only these rows")
    add("--list", action="store_true", help="name the rows and what they need, and end")
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument("--quick", action="store_true", help="one short round of everything")
    scale.add_argument("--full", action="store_true", help="more rounds, and the whole growth")
    add("--rounds", type=int, metavar="N", help="rounds of each row (3; quick 1, full 5)")
    add("--seconds", type=float, metavar="S", help="length of a sample (5; quick 2)")
    add("--connections", type=int, default=64, metavar="N", help="connections and clients (64)")
    add("--numbers", type=int, metavar="N", help="numbers before memory is read again (1,000,000)")
    add(
        "--growth-numbers",
        type=int,
        metavar="N",
        help="numbers of the grown counter (1,000,000; full 10,000,000)",
    )
    add("--growth-gaps", type=int, metavar="N", help="its open gaps (20,000; full 100,000)")


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--json", type=Path, metavar="FILE", help="also write everything as JSON")
    add("--chart", action="store_true", help="also print the chart, a Mermaid block")
    add("--update-readme", action="store_true", help="write the chart into the README")
    add(
        "--from",
        dest="earlier",
        type=Path,
        metavar="FILE",
        help="measure nothing: chart the run that --json wrote to FILE",
    )
    add("--check", action="store_true", help="exit 1 when a goal is missed")
    parser.set_defaults(readme=ROOT / "README.md")


def _names(text: str) -> list[str]:
    chosen = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in chosen if name not in ROWS]
    if unknown or not chosen:
        raise argparse.ArgumentTypeError(f"unknown {unknown}; known are {', '.join(ROWS)}")
    return chosen


def list_of_rows() -> str:
    """Return every row with its title and the programs that it needs."""
    lines = [
        f"  {name:20}{row.title:44}{' '.join(row.needs)}{' (optional)' * row.is_optional}"
        for name, row in ROWS.items()
    ]
    return "\n".join([f"  {'row':20}{'what':44}needs", *lines])
