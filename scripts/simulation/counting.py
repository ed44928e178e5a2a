"""What is counted of a run, for its summary: nothing is judged by it."""

from collections import Counter

from coordinator.core import ledger
from coordinator.core.records import Settled, voids_of
from simulation.events import Wrote
from simulation.node import KEYS


def count_what_is_written(
    event: Wrote, counts: Counter[str], came_true: set[tuple[str, int]]
) -> None:
    """Count what one revision writes, and note whose batches another node has committed."""
    counts["revisions"] += 1
    for key, value in event.changes:
        if value is None:
            continue
        counts["turns taken"] += key == KEYS.turn
        if not key.startswith(KEYS.all_entries):
            continue
        entry = ledger.decode(value)
        came_true.update(part[1:3] for part in entry.parts[1:])
        for record in entry.records:
            if isinstance(record, Settled):
                counts[f"reservations {record.how}"] += 1
            counts["void"] += sum(many for _, many in voids_of(record))
            counts[type(record).__name__] += 1
