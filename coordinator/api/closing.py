"""What the numbers of a counter came to when it was closed: for the books of the period."""

from collections.abc import Iterable
from typing import Any

from coordinator.core import head as heads
from coordinator.core.keys import CounterKeys, number_in
from coordinator.core.marks import decode_voids
from coordinator.core.state import Gaps
from coordinator.core.transaction import Range
from coordinator.faults import Damaged
from coordinator.store import Store
from coordinator.store.paging import all_of

RUNS_SHOWN_MAX = 1_000
"""Runs of numbers in each list of a report."""


async def report(store: Store, keys: CounterKeys, closed: int) -> dict[str, Any]:
    """Return what the numbers came to with entry ``closed``, which has closed the counter.

    What lies before it does not change any more, but for numbers made void since: their entries
    are later ones. So the report is the same whenever it is made. Raises StoreError, or Damaged.
    """
    snapshot = await store.read(Range(keys.head), keys.gaps(limit=RUNS_SHOWN_MAX))
    head_found, gaps_found = snapshot.found
    if not head_found:
        raise Damaged(f"{keys.name} is closed, and has no head")
    head = heads.decode(head_found[0].value)
    void = Gaps()  # sorted as they come, at 32 bytes a run: there may be a million
    async for page in all_of(store, keys.voids()):
        for kv in page:
            if number_in(kv.key) <= closed:
                for first, quantity in decode_voids(kv.value).runs:
                    void.add(first, 0, 0, quantity)
    return {
        "first": head.start,
        "last": head.highest,
        "issued": head.next - head.start - head.gaps - len(void),
        "gaps": _listed(head.gaps, ((number_in(kv.key), 1) for kv in gaps_found)),
        "void": _listed(len(void), ((run.first, run.quantity) for run in void)),
    }


def _listed(total: int, runs: Iterable[tuple[int, int]]) -> dict[str, Any]:
    """Return ascending numbers as a bounded list of runs, and how many there are in all."""
    shown: list[list[int]] = []
    for first, quantity in runs:
        if shown and shown[-1][1] + 1 == first:
            shown[-1][1] = first + quantity - 1
        elif len(shown) == RUNS_SHOWN_MAX:
            break
        else:
            shown.append([first, first + quantity - 1])
    listed = sum(last - first + 1 for first, last in shown)
    return {"total": total, "runs": shown, "all_listed": listed == total}
