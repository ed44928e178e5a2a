"""Everything that can be measured, by its name; what it needs, and how long it takes.

To add a row: write a contender (`bench/contenders.py`) or a probe, name it here, and where it has a
goal, in `bench/figures.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.contenders import BULK, cluster, rivals
from bench.curve import SHARE, curve, samples_of
from bench.growth import RELEASES_AT_ONCE, growth
from bench.lab import PACKAGES, Lab, find_tool
from bench.latency import SHARES, alone, open_loop
from bench.probes import memory, start_to_ready
from bench.progress import Progress, Share, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

WARM_UP_SECONDS = 1.0
LISTEN_SECONDS = 0.5  # before each sample: how busy others keep the machine
HTTP = ("wrk", "etcd")
POSTGRES = ("initdb", "postgres", "psql", "pgbench")
REDIS = ("redis-server", "redis-benchmark")


def _contender(lab: Lab) -> Share:
    around = 5.0 + WARM_UP_SECONDS  # start, first load, proof of what it holds
    return Share(lab.rounds, around + lab.rounds * (lab.seconds + LISTEN_SECONDS))


def _pairs(lab: Lab) -> Share:
    around = 6.0 + 2 * WARM_UP_SECONDS
    return Share(lab.rounds, around + lab.rounds * (2 * lab.seconds + LISTEN_SECONDS))


def _latency(lab: Lab) -> Share:
    samples = lab.rounds * (1 + len(SHARES))
    return Share(samples, 4 + samples * (lab.seconds + 0.5))


def _alone(lab: Lab) -> Share:
    return Share(lab.rounds, 4 + lab.rounds * (lab.seconds + 0.5))


def _curve(lab: Lab) -> Share:
    samples = samples_of(lab)
    return Share(samples, 20 + samples * (lab.seconds * SHARE + 0.3))


def _growth(lab: Lab) -> Share:
    steps = -(-lab.sizes.growth_gaps // RELEASES_AT_ONCE)
    releasing = lab.sizes.growth_gaps / 1_000  # releases a second, about
    filling = lab.sizes.growth_numbers / 2e6
    comparing = 1.5 * lab.rounds * lab.seconds
    return Share(1 + steps + 2 * lab.rounds, 15 + filling + releasing + comparing)


def _start(lab: Lab) -> Share:
    return Share(lab.rounds, 4.0 * (1 + lab.rounds))


def _memory(lab: Lab) -> Share:
    seconds = lab.sizes.memory_numbers / 10_000  # numbers a second, about
    return Share(max(1, round(seconds / lab.seconds)), 15 + seconds)


@dataclass(frozen=True)
class Row:
    """Something to measure: its title, the programs that it needs, and how long it takes.

    An optional one is left out, with a word about it, where its programs are missing.
    """

    title: str
    share: Callable[[Lab], Share]
    needs: tuple[str, ...] = ()
    is_optional: bool = False


# Contenders of one group are measured against each other, in turns.
GROUPS = (
    (
        rivals,
        {
            "hello": Row("bare aiohttp hello", _contender, ("wrk",)),
            "one-node": Row("one node, one etcd member", _contender, HTTP),
            "bulk": Row(f"one node, requests for {BULK:,} numbers each", _contender, HTTP),
            "reserve-confirm": Row("pairs of reserve and confirm, one node", _pairs, ("etcd",)),
            "postgres": Row("PostgreSQL gapless, transaction", _contender, POSTGRES),
            "postgres-function": Row("PostgreSQL gapless, function", _contender, POSTGRES),
            "postgres-nextval": Row("PostgreSQL nextval (leaves gaps)", _contender, POSTGRES),
            "redis": Row("Redis INCR (no audit record)", _contender, REDIS, is_optional=True),
        },
    ),
    (
        cluster,
        {
            "cluster-one": Row("one node, three etcd members", _contender, HTTP),
            "cluster-four": Row("four nodes, three etcd members", _contender, HTTP),
        },
    ),
)

# Probes are measured one after the other, when the contenders have stopped.
PROBES = {
    "latency": (open_loop, Row("latency at a constant rate", _latency, ("etcd",))),
    "alone": (alone, Row("one request less a bare etcd transaction", _alone, ("etcd",))),
    "curve": (curve, Row("cost curve: connections, nodes", _curve, HTTP)),
    "growth": (growth, Row("a grown counter beside a fresh one", _growth, HTTP)),
    "start": (start_to_ready, Row("start to READY", _start)),
    "memory": (memory, Row("memory of a node", _memory, HTTP)),
}

CONTENDERS = {name: row for _, rows in GROUPS for name, row in rows.items()}
ROWS = CONTENDERS | {name: row for name, (_, row) in PROBES.items()}


def progress_of(lab: Lab, names: Iterable[str]) -> Progress:
    """Return what counts the samples of these rows."""
    return Progress({name: ROWS[name].share(lab) for name in names})


def usable(selected: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return the rows that can be measured here, and why others cannot.

    Everything that is missing is said at once. No row at all is usable when one that is not
    optional lacks something: a table with holes is easily taken for the whole.
    """
    missing: dict[str, list[str]] = {}
    for name in selected:
        for program in missing_tools(ROWS[name].needs):
            missing.setdefault(program, []).append(name)
    left_out: dict[str, str] = {}
    for program, names in missing.items():
        say(f"bench: {program} is missing, needed by {', '.join(names)}")
        why = f"{program} is missing: apt install {PACKAGES[program]}"
        left_out |= {name: why for name in names if ROWS[name].is_optional}
    lacking = {name for names in missing.values() for name in names}
    if missing:
        packages = sorted({PACKAGES[program] for program in missing})
        say(f"bench: apt install {' '.join(packages)}   (or leave rows out with --only)")
    if lacking - set(left_out):
        return [], left_out
    return [name for name in selected if name not in left_out], left_out


def missing_tools(names: tuple[str, ...]) -> tuple[str, ...]:
    """List the programs of a row that this machine lacks."""
    return tuple(name for name in names if find_tool(name) is None)
