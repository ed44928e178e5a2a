"""The figures that a run is for, with their goals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.contenders import BULK
from bench.loads import SPREAD
from bench.pairs import NEXT_BESIDE, PAIRS_FOR_ONE
from bench.results import Figure, Results
from bench.tally import GROWTH, LOST, TRANSACTIONS, WRITTEN

if TYPE_CHECKING:
    from bench.lab import Lab

GAPLESS = ("postgres", "postgres-function")


def figures(lab: Lab) -> tuple[Figure, ...]:
    """Return everything that one run should say, in the order of the report."""
    return (
        *_ratios(lab.connections),
        _pairs(lab.connections),
        *_latencies(),
        *_growth(lab),
        *_costs(),
        *_one_machine(lab),
    )


def _against(what: str, mine: str, rival: str, goal: float | None) -> Figure:
    """Return the ratio of two contenders' requests a second."""
    return Figure(
        what,
        lambda r: r.ratio(mine, rival),
        "" if goal is None else "at least",
        goal or 0.0,
        beside=lambda r: f"{r.per_second(mine):,.0f}/s : {r.per_second(rival):,.0f}/s",
    )


def _best_gapless(results: Results) -> str:
    """Return the form that leaves the least lead."""
    return min(GAPLESS, key=lambda rival: results.ratio("one-node", rival))


def _ratios(connections: int) -> tuple[Figure, ...]:
    return (
        _against(
            f"four nodes / one node, {connections} connections in all, 3 members",
            "cluster-four",
            "cluster-one",
            0.85,
        ),
        Figure(
            "p50 of the four nodes' clients, highest / lowest",
            lambda r: r.fact("cluster-four", SPREAD),
            "at most",
            2,
        ),
        Figure(
            "compares lost with four busy nodes",
            lambda r: r.fact("cluster-four", LOST),
            "at most",
            2,
            "%",
        ),
        _against("one node / bare aiohttp hello", "one-node", "hello", 0.45),
        Figure(
            "one node over HTTP / PostgreSQL gapless, best form",
            lambda r: r.ratio("one-node", _best_gapless(r)),
            "at least",
            6,
            beside=lambda r: (
                f"{r.per_second('one-node'):,.0f}/s : {r.per_second(_best_gapless(r)):,.0f}/s"
            ),
        ),
        _against(
            "one node over HTTP / PostgreSQL nextval + audit, which leaves gaps",
            "one-node",
            "postgres-nextval",
            0.6,
        ),
        _against(
            "one node over HTTP / Redis INCR with fsync, which keeps no audit",
            "one-node",
            "redis",
            None,
        ),
        Figure(
            f"bulk {BULK:,}: numbers a second",
            lambda r: r.per_second("bulk") * BULK,
            "at least",
            1_000_000,
            "/s",
        ),
    )


def _pairs(connections: int) -> Figure:
    return Figure(
        f"pairs of reserve and confirm / single `next` calls, {connections} connections",
        lambda r: r.fact("reserve-confirm", PAIRS_FOR_ONE),
        "at least",
        0.5,
        beside=lambda r: (
            f"{r.per_second('reserve-confirm'):,.0f}/s : "
            f"{r.fact('reserve-confirm', NEXT_BESIDE):,.0f}/s"
        ),
    )


def _latencies() -> tuple[Figure, ...]:
    return (
        Figure(
            "p50 at 1 connection, `next` less one bare etcd transaction",
            lambda r: r.reading("next less bare"),
            "at most",
            1,
            "ms",
        ),
        Figure(
            "one node, p99 / p50",
            lambda r: r.median("one-node", lambda sample: sample.p99_ms / sample.p50_ms),
            "at most",
            3,
            beside=lambda r: (
                f"{r.median('one-node', lambda s: s.p99_ms):.2f} ms : "
                f"{r.median('one-node', lambda s: s.p50_ms):.2f} ms"
            ),
        ),
        Figure(
            "p99 at 50 % of the peak, open loop", lambda r: r.reading("open p99 50%"), unit="ms"
        ),
        Figure(
            "p99 at 80 % of the peak, open loop", lambda r: r.reading("open p99 80%"), unit="ms"
        ),
    )


def _growth(lab: Lab) -> tuple[Figure, ...]:
    grown = f"{lab.sizes.growth_numbers:,} numbers, {lab.sizes.growth_gaps:,} gaps"
    return (
        Figure(
            f"p50 of `next` after {grown} / fresh, 1 connection",
            lambda r: r.reading("grown alone"),
            "at most",
            1.2,
        ),
        Figure(
            f"p50 of `next` after {grown} / fresh, {lab.connections} connections",
            lambda r: r.reading("grown busy"),
            "at most",
            1.2,
        ),
        Figure(
            f"node start to its first number, after {grown}",
            lambda r: r.reading("start grown"),
            "at most",
            3,
            "s",
        ),
    )


def _costs() -> tuple[Figure, ...]:
    return (
        Figure(
            "one node: etcd transactions for 1,000 numbers",
            lambda r: r.fact("one-node", TRANSACTIONS),
            unit="txns",
        ),
        Figure(
            "four nodes: etcd transactions for 1,000 numbers",
            lambda r: r.fact("cluster-four", TRANSACTIONS),
            unit="txns",
        ),
        Figure(
            "one node: bytes written to etcd for a number",
            lambda r: r.fact("one-node", WRITTEN),
            unit="bytes",
        ),
        Figure(
            "one node: growth of etcd's database for a number, before compaction",
            lambda r: r.fact("one-node", GROWTH),
            unit="bytes",
        ),
        Figure(
            "one node: bytes of ledger for a number",
            lambda r: r.reading("ledger one node"),
            unit="bytes",
        ),
    )


def _one_machine(lab: Lab) -> tuple[Figure, ...]:
    numbers = lab.sizes.memory_numbers
    return (
        Figure("START-POC.sh to READY", lambda r: r.reading("start"), "at most", 10, "s"),
        Figure("memory of a node, idle", lambda r: r.reading("rss"), "at most", 80, "MB"),
        Figure(
            f"memory of a node, after {numbers:,} numbers",
            lambda r: r.reading("rss-loaded"),
            "at most",
            150,
            "MB",
        ),
    )
