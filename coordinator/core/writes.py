"""What a batch changes in the store beside the head and the entry: it follows from the records."""

from coordinator.core.batch import Batch
from coordinator.core.holds import Hold
from coordinator.core.keys import CounterKeys
from coordinator.core.marks import Mark, Voids, encode_mark, encode_reused, encode_voids
from coordinator.core.records import (
    Issued,
    Released,
    Restarted,
    Trimmed,
    Voided,
    keys_of,
    voids_of,
)
from coordinator.core.request_keys import RequestKeys, digest
from coordinator.core.state import CounterState
from coordinator.core.transaction import Delete, Put


def writes_of(
    batch: Batch, state: CounterState, keys: CounterKeys, time_ms: int
) -> list[Put | Delete]:
    """Return these changes, for a batch that was decided on this state at this wall clock."""
    writes: list[Put | Delete] = []
    match batch.records[0]:
        case Restarted():
            writes += keys.all_before_restart(batch.index)
        case Trimmed(_, through):
            writes.append(Put(keys.checkpoint, batch.checkpoint))
            writes += keys.all_trimmed(state.head.trimmed, through)
            writes += state.keys.trim_writes(keys, through)
    writes += batch.free.writes(keys)
    writes += _returned(batch, keys, Mark(batch.index, time_ms))
    opened = [
        Hold(r.spans()[0].start, batch.index, r.held)
        for r in batch.records
        if isinstance(r, Issued) and r.held
    ]
    if opened or batch.settled:
        writes += state.holds.writes(keys, batch.settled, opened)
    issued = [r for r in batch.records if isinstance(r, Issued) and r.reused]
    spans = (run.numbers for record in issued for run in record.reused)
    reused = [span for span in map(batch.free.below_returned, spans) if span]
    if reused:
        writes.append(Put(keys.reuse(batch.index), encode_reused(reused)))
    used = [key for record in batch.records for key in keys_of(record)]
    if used:
        kept = RequestKeys() if isinstance(batch.records[0], Restarted) else state.keys
        writes += kept.writes(keys, [digest(key) for key in used], batch.index)
    return writes


def _returned(batch: Batch, keys: CounterKeys, now: Mark) -> list[Put | Delete]:
    """Return the marks of the numbers that nobody has any more, and of those now void."""
    numbers = {r.number for r in batch.records if isinstance(r, Released | Voided)}
    numbers |= {r.number for r in batch.settled.values() if r.frees or r.is_void}
    content = encode_mark(now)
    writes: list[Put | Delete] = [Put(keys.freed(number), content) for number in sorted(numbers)]
    void = [run for record in batch.records for run in voids_of(record)]
    if void:
        writes.append(Put(keys.void(batch.index), encode_voids(Voids(now.time_ms, tuple(void)))))
    return writes
