"""Decide a batch: what the ledger will say, what the store must write, what each caller gets.

The plan is a value. It changes nothing; it becomes true when its transaction commits. Within a
batch nobody waits for anybody, so any order is right; this one needs the fewest operations:
releases and settlements, then issues that are released at once, then the other issues and the
reservations. Numbers given back in a batch are thus taken by the same batch, and the gaps that it
closes are a prefix of the gap keys.
"""

from typing import NamedTuple

from coordinator.core import head as heads
from coordinator.core import ledger
from coordinator.core.batch import Batch
from coordinator.core.head import Head
from coordinator.core.keys import CounterKeys
from coordinator.core.outcomes import Again, Other, Outcome, Same
from coordinator.core.records import Entry, Part
from coordinator.core.requests import (
    Ask,
    Done,
    Instant,
    Issue,
    NeedsEntries,
    NeedsHolder,
    Refused,
    Reply,
    Request,
    Why,
)
from coordinator.core.room import Limits, how_many_fit
from coordinator.core.state import CounterState
from coordinator.core.transaction import Delete, Guard, KeyValue, Put, Range, Transaction
from coordinator.core.writes import writes_of

CATCH_UP_ENTRIES = 8
"""How many entries a lost compare brings back; a node further behind reads on from there."""


NUMBERS_MAX = 2**53 - 1
"""The last number of a counter that ends nowhere before; every JSON reader knows it exactly."""


class Rules(NamedTuple):
    """What the counter allows, whatever its series does, and the store."""

    start: int = 1
    max_value: int = NUMBERS_MAX
    limits: Limits = Limits()


class Plan(NamedTuple):
    """What to send and what to answer once it is committed.

    ``after`` is the head then. ``replies`` belong to the first requests of the batch, in order;
    the requests after them did not fit and wait for the next one. ``entry`` is None when there is
    nothing to record: the transaction then only proves that the refusals are about the newest
    state.
    """

    transaction: Transaction
    replies: tuple[Reply, ...]
    entry: Entry | None
    after: Head

    @property
    def entry_written(self) -> KeyValue:
        """Return the entry as the store will have it."""
        put = self.transaction.writes[1]
        assert isinstance(put, Put), "there is an entry"  # noqa: S101
        return KeyValue(put.key, put.value, 0)


def plan(
    state: CounterState,
    keys: CounterKeys,
    guard: Guard,
    asks: list[Ask],
    now: Instant,
    parts: tuple[Part, ...],
    rules: Rules,
) -> Plan:
    """Decide as many of these requests as fit into one transaction, at least the first.

    With none at all, the transaction only proves that ``state`` is the newest. ``guard`` is the
    head in the store at which ``state`` is. ``parts`` are the nodes that have handed requests in,
    first the one that plans: ``Ask.part`` names one of them. Nothing is changed.
    """
    if len({part.instance for part in parts}) != len(parts):
        raise ValueError("two batches of one run: only one of them may come true")
    fitting = how_many_fit(asks, state, rules.limits)
    batch = Batch(state, now, rules.max_value)
    outcomes: list[Outcome] = [_too_large(ask.request) for ask in asks[:1]]
    if fitting:
        outcomes = batch.decide(asks[:fitting])
    entry, after = None, state.head
    writes: tuple[Put | Delete, ...] = ()
    if batch.records:
        entry = Entry(
            index=batch.index,
            previous=state.head.tip,
            time_ms=now.wall_ms,
            next_before=state.head.next,
            parts=parts,
            records=tuple(batch.records),
        )
        content = ledger.encode(entry)
        after = heads.advance(state.head, entry, ledger.chain(state.head.tip, content))
        writes = (
            Put(keys.head, heads.encode(after)),
            Put(keys.entry(entry.index), content),
            *writes_of(batch, state, keys, now.wall_ms),
        )
    transaction = Transaction(
        guard=guard,
        writes=writes,
        otherwise=(Range(keys.head), keys.entries(batch.index, CATCH_UP_ENTRIES), Range(keys.turn)),
    )
    return Plan(transaction, _replies(outcomes, entry), entry, after)


def _replies(outcomes: list[Outcome], entry: Entry | None) -> tuple[Reply, ...]:
    replies: list[Reply] = []
    for outcome in outcomes:
        match outcome:
            case Again(record):
                assert entry is not None, "a record was decided, so there is an entry"  # noqa: S101
                replies.append(Done(entry, record, replayed=True))
            case Same(position):
                first = replies[position]
                replies.append(first._replace(replayed=True) if isinstance(first, Done) else first)
            case Other(position, key):
                first = replies[position]
                taken = isinstance(first, Done)  # else the key is still free: ask again
                replies.append(Refused(Why.KEY_REUSED, key) if taken else NeedsEntries(()))
            case Done() | Refused() | NeedsHolder() | NeedsEntries():
                replies.append(outcome)
            case record:
                assert entry is not None, "a record was decided, so there is an entry"  # noqa: S101
                replies.append(Done(entry, record))
    return tuple(replies)


def _too_large(request: Request) -> Refused:
    return Refused(Why.TOO_LARGE, str(request.quantity if isinstance(request, Issue) else 1))
