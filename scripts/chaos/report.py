"""One run as text for people and as JSON for pipelines."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chaos.books import Books
    from chaos.faults import Fault
    from chaos.injector import Struck
    from chaos.replay import Replayed
    from chaos.verdict import Check, Fates

COLUMNS = f"{'kind':15}{'times':>6}   {'anywhere: min  median  max':28}{'at that node':26}"


@dataclass(frozen=True)
class Run:
    """What a run was and what came of it."""

    seed: int
    minutes: float
    etcd: str
    deaths: int
    struck: Sequence[Struck]
    faults: Mapping[str, Fault]
    left_out: Sequence[str]
    books: Books
    ledger: Replayed
    meter: Mapping[str, int]
    fates: Fates
    checks: Sequence[Check]

    @property
    def ok(self) -> bool:
        """Tell whether every check holds."""
        return all(check.ok for check in self.checks)


def print_report(run: Run) -> None:
    """Write the report to stdout."""
    print(f"Fault injection: {run.minutes:g} min, seed {run.seed}, etcd {run.etcd}")
    print(f"\n{len(run.struck)} faults, {run.deaths} processes died and were started again")
    print("seconds from the fault to the first success of a request that began after it\n")
    print(f"  {COLUMNS}".rstrip())
    for kind, struck in sorted(_by_kind(run.struck).items()):
        anywhere = _spread([s.first_success_s for s in struck])
        there = _spread([s.served_there_s for s in struck])
        print(f"  {kind:15}{len(struck):6}   {anywhere:28}{there}".rstrip())
    for kind in run.left_out:
        print(f"  {kind:15}  left out: its tools are missing")
    print()
    for name, count in _figures(run).items():
        print(f"  {count:>9,}  {name}")
    print()
    for check in run.checks:
        print(f"  {'PASS' if check.ok else 'FAIL'}  {check.name} ({check.detail})")
    failed = sum(not check.ok for check in run.checks)
    print(f"\n{'PASS' if run.ok else 'FAIL'}: {len(run.checks)} checks, {failed} failed")


def as_json(run: Run) -> dict[str, Any]:
    """Return the whole run as JSON values."""
    return {
        "seed": run.seed,
        "minutes": run.minutes,
        "etcd": run.etcd,
        "ok": run.ok,
        "faults": [asdict(struck) for struck in run.struck],
        "left_out": list(run.left_out),
        "figures": _figures(run),
        "checks": [check._asdict() for check in run.checks],
    }


def _figures(run: Run) -> dict[str, int]:
    keyed = run.books.keyed.values()
    return {
        "requests sent": run.books.counts["requests"],
        "requests with a key": len(keyed),
        "numbers in the ledger": run.ledger.next - 1,
        "numbers reused": run.ledger.reused,
        "releases": run.ledger.releases,
        "batches in the ledger, handed over by another node": run.ledger.handed_over,
        **run.meter,
        "replays": run.books.counts["replays"],
        "keys sent to two nodes at once": run.books.counts["keys sent to two nodes at once"],
        "answers 503": run.books.counts["answers 503"],
        "answers 504": run.books.counts["answers 504"],
        "answers lost": run.books.counts["answers lost"],
        "connections refused": run.books.counts["connections refused"],
        "keys in doubt at some time": sum(asked.doubts > 0 for asked in keyed),
        "keys given up: nothing had come of it": run.fates.none,
        "keys given up: it had been done": run.fates.one,
        "clients without a key that vanished": run.books.counts["clients that vanished"],
        "other payloads refused": run.books.counts["other payloads refused"],
    }


def _by_kind(struck: Sequence[Struck]) -> dict[str, list[Struck]]:
    found: dict[str, list[Struck]] = defaultdict(list)
    for each in struck:
        found[each.kind].append(each)
    return found


def _spread(seconds: Sequence[float | None]) -> str:
    known = [second for second in seconds if second is not None]
    if not known:
        return ""
    return f"{min(known):.3f}  {median(known):.3f}  {max(known):.3f}"
