"""What one revision changes of the counter's keys, and that it is what the ledger gives."""

from collections.abc import Callable
from typing import NamedTuple

from coordinator.core import head as heads
from coordinator.core.head import Head
from coordinator.core.keys import CounterKeys, number_in
from simulation.events import CounterNames, Rule, Wrote
from simulation.model import Count


class Batch(NamedTuple):
    """One ledger entry with its head; the entries that left the store with it."""

    entry: int
    content: bytes
    head: Head
    gone: list[int]
    checkpoint: bytes | None


class Written:
    """Sorts the changes of revisions; ``find`` hears of what is wrong."""

    def __init__(self, keys: CounterKeys, find: Callable[[Rule, str], None]) -> None:
        self._names = CounterNames(keys)
        self._find = find
        self.gap_keys: set[int] = set()

    def hear(self, event: Wrote, *, concerns_others: bool) -> Batch | None:
        """Return what a revision says of the count, in one commit; None when it says nothing.

        ``concerns_others`` when it changes keys that others look after, and so must have an entry.
        """
        names = self._names
        entries = [(k, v) for k, v in event.changes if names.is_entry(k)]
        head = next((v for k, v in event.changes if names.is_head(k)), None)
        gaps = [(number_in(k), v) for k, v in event.changes if names.is_gap(k)]
        for number, value in gaps:
            (self.gap_keys.discard if value is None else self.gap_keys.add)(number)
        if not (entries or head is not None or gaps or concerns_others):
            return None  # of no concern to the count
        written = [(key, value) for key, value in entries if value is not None]
        gone = [number_in(key) for key, value in entries if value is None]
        if len(written) != 1 or head is None:
            said = f"revision {event.revision} changes {len(gaps)} gap keys, {len(entries)} "
            head_said = "and no head" if head is None else "and the head"
            self._find(Rule.ONE_COMMIT, f"{said}ledger entries {head_said}")
            return None
        key, content = written[0]
        checkpoint = dict(event.changes).get(names.keys.checkpoint)
        return Batch(number_in(key), content, heads.decode(head), gone, checkpoint)

    def compare(self, revision: int, head: Head, count: Count) -> None:
        """Complete: next number and gap keys are just what the ledger gives."""
        if head.next != count.next:
            said = f"the head's next number is {head.next}, the ledger gives {count.next}"
            self._find(Rule.COMPLETE, f"at revision {revision} {said}")
        if self.gap_keys != count.free:
            said = f"gap keys {sorted(self.gap_keys)}, the ledger gives {sorted(count.free)}"
            self._find(Rule.COMPLETE, f"at revision {revision} there are {said}")
