"""Who knows of entries that a restored store lacks: whoever does may write nothing."""

from collections.abc import Callable

from coordinator.core.records import Entry
from simulation.events import Rule


class Acknowledged:
    """The newest entry that each has acknowledged; ``find`` hears of who writes all the same.

    A run of a node has by telling a client of it; a node, for all its runs, by writing it down.
    """

    def __init__(self, find: Callable[[Rule, str], None]) -> None:
        self._find = find
        self._newest: dict[str, int] = {}
        self._under_way: frozenset[tuple[str, int]] = frozenset()
        self._barred: set[str] = set()
        """Nodes and runs of nodes that know what a restored store lacks."""

    def told(self, run: str, entry: int) -> None:
        """Note that a run has told a client of an entry."""
        self._newest[run] = max(self._newest.get(run, 0), entry)

    def saved(self, node: str, entry: int) -> None:
        """Note that a node has written down up to which entry it knows the ledger."""
        self._newest[node] = entry

    def went_back(self, entry: int, under_way: frozenset[tuple[str, int]]) -> None:
        """Bar whoever knows more than a restored store has."""
        self._under_way = under_way
        self._barred |= {run for run, newest in self._newest.items() if newest > entry}

    def check_author(self, entry: Entry) -> None:
        """Find who writes on a store older than what it has acknowledged."""
        for part in entry.parts:
            is_barred = {part.instance, part.node} & self._barred
            if is_barred and part[1:3] not in self._under_way:
                said = f"{part.instance} has a part in entry {entry.index}"
                self._find(Rule.NO_REWIND, f"{said} of a store older than what it has acknowledged")
