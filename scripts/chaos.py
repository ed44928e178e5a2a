#!/usr/bin/env python3
"""Break a whole cluster, over and over, while clients work; then prove that nothing was lost.

Three etcd members and four nodes run in a throw-away folder on free loopback ports. Every node
reaches every member by a way of its own, which can be cut. Thirty clients with idempotency keys
and some without take and release numbers; every 3 to 8 seconds a fault strikes. At the end every
answer is held against the ledger, which is replayed by a checker that shares no code with the
product.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import textwrap
from pathlib import Path

import aiohttp
from chaos.books import Books
from chaos.clients import Caller, Client, Mix, Vanishing
from chaos.faults import FAULTS
from chaos.frame import exit_with, run_in_folder, say, write_json
from chaos.injector import Injector
from chaos.installation import Installation, find_faketime
from chaos.meter import Meter
from chaos.report import Run, as_json, print_report
from chaos.verdict import Check, judge

CLIENTS = 30
VANISHING = 4
CLIENTS_END_S_MAX = 90.0
MINUTES_DEFAULT = 2.0
QUOTA_MIB = 64
QUOTA_MIB_PER_MINUTE = 12  # the ledger of the run itself, and the heads it leaves to compaction


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    options = parse(sys.argv[1:])
    faketime = find_faketime()
    kinds = [name for name in FAULTS if not options.only or name in options.only]
    left_out = [name for name in kinds if name == "clock" and faketime is None]
    if left_out:
        say("libfaketime is missing, so no clock can be moved: apt install libfaketime")
        if os.environ.get("CI"):
            return 2
    run = run_in_folder(
        "chaos",
        lambda folder: chaos(options, folder, kinds, left_out, faketime),
        is_wanted=lambda run: not run.ok,
        keep=options.keep,
    )
    print_report(run)
    write_json(options.json, as_json(run))
    return 0 if run.ok else 1


async def chaos(
    options: argparse.Namespace,
    folder: Path,
    kinds: list[str],
    left_out: list[str],
    faketime: Path | None,
) -> Run:
    """Bring the cluster up, break it for so long, and judge what is left."""
    draw = random.Random(options.seed)  # noqa: S311 - a run shall be repeatable
    quota = (QUOTA_MIB + int(QUOTA_MIB_PER_MINUTE * options.minutes)) * 2**20
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(connector=connector, trust_env=False) as http,
        Installation(folder, http, say, quota, faketime) as installation,
    ):
        say(f"{len(installation.members)} members and {len(installation.nodes)} nodes are up")
        books = Books()
        caller = Caller(http, installation.nodes, books)
        faults = {name: FAULTS[name] for name in kinds if name not in left_out}
        injector = Injector(installation, books, faults, draw, say)
        meter = Meter(http, installation.nodes)
        reading = asyncio.create_task(meter.run())
        stopping = asyncio.Event()
        clients = [
            asyncio.create_task(client.run(stopping)) for client in _clients(caller, options.seed)
        ]
        await injector.run(60 * options.minutes)
        say(f"{injector.now_s:6.1f} s  no more faults; clients finish")
        stopping.set()
        ended = await _ended(clients)
        reading.cancel()

        def judging(what: str) -> None:
            say(f"{injector.now_s:6.1f} s{what}")

        checks, ledger, fates = await judge(installation, caller, injector.struck, draw, judging)
        return Run(
            seed=options.seed,
            minutes=options.minutes,
            etcd=installation.etcd_version,
            deaths=installation.deaths(),
            struck=injector.struck,
            faults=faults,
            left_out=left_out,
            books=books,
            ledger=ledger,
            meter=meter.figures(),
            fates=fates,
            checks=[ended, *checks],
        )


def _clients(caller: Caller, seed: int) -> list[Client | Vanishing]:
    def drawn(kind: str, number: int) -> random.Random:
        return random.Random(f"{seed} {kind} {number}")  # noqa: S311 - to be repeatable

    keyed = [Client(caller, number, drawn("keyed", number), Mix()) for number in range(CLIENTS)]
    return [*keyed, *(Vanishing(caller, n, drawn("vanishing", n)) for n in range(VANISHING))]


async def _ended(clients: list[asyncio.Task[None]]) -> Check:
    """Let the clients finish what they have asked."""
    done, late = await asyncio.wait(clients, timeout=CLIENTS_END_S_MAX)
    for task in late:
        task.cancel()
    broken = [repr(task.exception()) for task in done if task.exception() is not None]
    detail = f"{len(clients)} clients, {len(late)} late"
    detail += f", {len(broken)} broken: {broken[0]}" if broken else ""
    return Check("every client came to its end", not late and not broken, detail)


def parse(words: list[str]) -> argparse.Namespace:
    """Read the command line."""
    table = "\n".join(f"  {name:15}{fault.says}" for name, fault in FAULTS.items())
    parser = argparse.ArgumentParser(
        prog="chaos.py",
        description=textwrap.dedent(__doc__),
        epilog=f"faults:\n{table}\n\n"
        "examples:\n"
        "  scripts/chaos.py                              two minutes, every kind of fault\n"
        "  scripts/chaos.py --minutes 10 --seed 7        longer, other draws\n"
        "  scripts/chaos.py --only kill-leader,cut --keep  two kinds; the logs stay\n\n"
        "Progress goes to stderr, one report to stdout. The seed fixes what is drawn, not how\n"
        "fast the machine is: a second run meets the same kinds of faults, not the same\n"
        "interleaving. The exit code is 0 when every check holds, 1 when one fails, 2 when a\n"
        "tool is missing in continuous integration (CI is set), 130 when interrupted.\n"
        "Programs: etcd, etcdctl, libfaketime. Debian: apt install etcd-server etcd-client "
        "libfaketime",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    def names(text: str) -> list[str]:
        chosen = [name.strip() for name in text.split(",") if name.strip()]
        unknown = [name for name in chosen if name not in FAULTS]
        if unknown or not chosen:
            raise argparse.ArgumentTypeError(f"unknown {unknown}; known are {', '.join(FAULTS)}")
        return chosen

    add = parser.add_argument
    add("--minutes", type=float, default=MINUTES_DEFAULT, metavar="M", help="how long (2)")
    add("--seed", type=int, default=1, metavar="N", help="what all draws come from (1)")
    add("--only", type=names, metavar="KIND,…", help="inject only these faults")
    add("--json", type=Path, metavar="FILE", help="also write everything as JSON")
    add(
        "--keep", action="store_true", help="keep the folder with data and logs even if all is well"
    )
    options = parser.parse_args(words)
    if options.minutes <= 0:
        parser.error("--minutes must be above 0")
    return options


if __name__ == "__main__":
    exit_with(main)
