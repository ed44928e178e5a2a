#!/usr/bin/env python3
"""Run whole clusters in one process, in virtual time, from a seed, and judge them by an oracle.

The nodes run the product's own code. The network loses, delays, repeats and reorders; nodes crash,
stop and restart; clocks jump; the store compacts, fills up, and goes back to a backup. The oracle
knows the invariants of the design and nothing of how they are kept.
"""

from __future__ import annotations

import argparse
import os
import sys

from simulation.bugs import PLANTS, planted
from simulation.campaign import campaign, shrunk
from simulation.schedule import draw_schedule
from simulation.world import run

EXAMPLES = """\
examples:
  scripts/simulate.py                              2,000 schedules from seed 1, on all cores
  scripts/simulate.py --seed 77 --schedules 1 --verbose
                                                   the whole history of one schedule
  scripts/simulate.py --bug plan-anew              with a bug planted: it must be found
  scripts/simulate.py --list-bugs                  which bugs there are

The same seed gives the same history, byte for byte, on any machine. Schedule number i of a run is
that of seed SEED + i, so a failure can be run again alone. It is reported with its seed, what the
oracle found, and the history of the smallest part of the schedule that still fails.

exit status: 0 nothing was found, 1 something was found, 2 wrong usage
"""


def main() -> int:
    """Run the command line; return the exit status."""
    options = _options()
    if options.list_bugs:
        for name, bug in PLANTS.items():
            print(f"{name:<32}{bug.what}")
        return 0
    if options.verbose:
        return _tell_whole_histories(options)
    total = campaign(options.seed, options.schedules, options.jobs, options.bug)
    print("\n".join(total.lines()))
    if total.failed is None:
        print("nothing was found")
        return 0
    seed = total.failed.seed
    print(f"\nseed {seed} FAILED")
    print("\n".join(f"FOUND  {finding}" for finding in total.failed.findings))
    print("shrinking ...", file=sys.stderr, flush=True)
    print("\n".join(shrunk(seed, options.bug).lines()))
    with_bug = f" --bug {options.bug}" if options.bug else ""
    print(f"to see it whole: scripts/simulate.py --seed {seed} --schedules 1 --verbose{with_bug}")
    return 1


def _tell_whole_histories(options: argparse.Namespace) -> int:
    failed = False
    for seed in range(options.seed, options.seed + options.schedules):
        with planted(options.bug):
            result = run(draw_schedule(seed))
        print(f"seed {seed}: {result.schedule.settings}")
        print("\n".join(result.history))
        print("\n".join(f"FOUND  {finding}" for finding in result.findings))
        print(f"digest of seed {seed}: {result.digest}")
        failed = failed or bool(result.findings)
    return int(failed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default: 1)")
    parser.add_argument(
        "--schedules", type=_positive, default=2_000, help="how many (default: 2000)"
    )
    parser.add_argument(
        "--jobs", type=_positive, default=os.cpu_count() or 1, help="processes (default: all cores)"
    )
    parser.add_argument(
        "--verbose", action="store_true", help="print every history whole, one after the other"
    )
    parser.add_argument("--bug", choices=PLANTS, metavar="NAME", help="plant this bug first")
    parser.add_argument("--list-bugs", action="store_true", help="say which bugs there are")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
