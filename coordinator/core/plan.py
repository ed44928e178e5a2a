"""Decide a batch: what the ledger will say, what the store must write, what each caller gets.

The plan is a value. It changes nothing; it becomes true when its transaction commits. Within a
batch nobody waits for anybody, so any order is right; this one needs the fewest operations:
releases, then issues that are released at once, then the other issues. Numbers given back in a
batch are thus taken by the same batch, and the gaps that it closes are a prefix of the gap keys.
"""

from hashlib import sha256
from typing import NamedTuple

from coordinator.core import head as heads
from coordinator.core import ledger
from coordinator.core.free import Free
from coordinator.core.head import Head
from coordinator.core.keys import CounterKeys
from coordinator.core.marks import Mark, encode_mark, encode_reused
from coordinator.core.records import (
    Cause,
    Entry,
    Issued,
    LossAccepted,
    Part,
    Record,
    Released,
    Restarted,
    Trimmed,
)
from coordinator.core.request_keys import RequestKeys, digest
from coordinator.core.requests import (
    AcceptLoss,
    Ask,
    Done,
    Holder,
    Instant,
    Issue,
    NeedsEntries,
    NeedsHolder,
    Refused,
    Release,
    Reply,
    Request,
    Reset,
    Trim,
    Why,
)
from coordinator.core.room import Limits, how_many_fit
from coordinator.core.state import CounterState
from coordinator.core.transaction import Delete, Guard, KeyValue, Put, Range, Transaction

CATCH_UP_ENTRIES = 8
"""How many entries a lost compare brings back; a node further behind reads on from there."""


class Rules(NamedTuple):
    """What the counter's series allows, and the store."""

    start: int = 1
    max_value: int = 2**53 - 1
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
    batch = _Batch(state, now, rules.max_value)
    outcomes: list[_Outcome] = [_too_large(ask.request) for ask in asks[:1]]
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
            *batch.other_writes(keys),
        )
    transaction = Transaction(
        guard=guard,
        writes=writes,
        otherwise=(Range(keys.head), keys.entries(batch.index, CATCH_UP_ENTRIES), Range(keys.turn)),
    )
    return Plan(transaction, _replies(outcomes, entry), entry, after)


def answered_before(ask: Ask) -> Done | Refused | None:
    """Return the answer that the entries read for a request have for its idempotency key.

    Such an answer is for ever: it needs no look at the newest state.
    """
    call = ask.request.call
    for entry in ask.earlier:
        for record in entry.records:
            if record.cause.key is not None and record.cause.key == call.key:
                if record.cause.payload == call.payload:
                    return Done(entry, record, replayed=True)
                return Refused(Why.KEY_REUSED, record.cause.key)
    return None


class _Same(NamedTuple):
    """This request repeats the one at ``position`` of the same batch."""

    position: int


class _Other(NamedTuple):
    """This request has the key of the one at ``position``, and asks something else."""

    position: int
    key: str


_Outcome = Record | _Same | _Other | Refused | NeedsHolder | NeedsEntries | Done


def _replies(outcomes: list[_Outcome], entry: Entry | None) -> tuple[Reply, ...]:
    replies: list[Reply] = []
    for outcome in outcomes:
        match outcome:
            case Issued() | Released() | Restarted() | LossAccepted() | Trimmed():
                assert entry is not None, "a record was decided, so there is an entry"  # noqa: S101
                replies.append(Done(entry, outcome))
            case _Same(position):
                first = replies[position]
                replies.append(first._replace(replayed=True) if isinstance(first, Done) else first)
            case _Other(position, key):
                first = replies[position]
                taken = isinstance(first, Done)  # else the key is still free: ask again
                replies.append(Refused(Why.KEY_REUSED, key) if taken else NeedsEntries(()))
            case _:
                replies.append(outcome)
    return tuple(replies)


def _too_large(request: Request) -> Refused:
    return Refused(Why.TOO_LARGE, str(request.quantity if isinstance(request, Issue) else 1))


def _turn_of(request: Request) -> int:
    """Return when in its batch a request is decided: see the head of this module."""
    if isinstance(request, Issue):
        return 1 if request.release_at_once else 2
    return 0


class _Batch:
    """The decisions of one batch: a small sheet of working, thrown away with the plan."""

    def __init__(self, state: CounterState, now: Instant, max_value: int) -> None:
        self.index = state.head.index + 1
        self.records: list[Record] = []
        self._state = state
        self._now = now
        self._max_value = max_value
        self._next = state.head.next
        self._free = Free(state.gaps)
        self._checkpoint = b""

    def decide(self, asks: list[Ask]) -> list[_Outcome]:
        """Return the outcome of each request, in their order, and fill ``records``."""
        outcomes = self._by_key(asks)
        in_order = sorted(range(len(asks)), key=lambda position: _turn_of(asks[position].request))
        for position in in_order:
            if position not in outcomes:
                outcomes[position] = self._decide(asks[position])
        return [outcomes[position] for position in range(len(asks))]

    def _decide(self, ask: Ask) -> _Outcome:
        match ask.request:
            case Release():
                return self._release(ask, ask.request)
            case Issue(_, quantity, at_once):
                return (self._issue_and_release if at_once else self._allocate)(ask, quantity)
            case Reset():
                return self._note(Restarted(self._cause(ask)))
            case Trim(_, checkpoint):
                return self._trim(ask, checkpoint)
            case AcceptLoss(_, lost, tip, reason):
                accepted = LossAccepted(self._cause(ask), lost, tip, reason)
                return self._note(accepted) if lost else Refused(Why.NOTHING_LOST)

    def _by_key(self, asks: list[Ask]) -> dict[int, _Outcome]:
        """Settle the requests whose idempotency key has been used before, or is used twice."""
        outcomes: dict[int, _Outcome] = {}
        first_with: dict[str, int] = {}
        for position, ask in enumerate(asks):
            call = ask.request.call
            if call.key is None:
                continue
            before = self._committed_before(call.key, ask)
            if before is not None:
                outcomes[position] = before
                continue
            first = first_with.setdefault(call.key, position)
            if first != position:
                same = call.payload == asks[first].request.call.payload
                outcomes[position] = _Same(first) if same else _Other(first, call.key)
        return outcomes

    def _committed_before(self, key: str, ask: Ask) -> _Outcome | None:
        trimmed = self._state.head.trimmed
        candidates = tuple(i for i in self._state.keys.find(digest(key)) if i > trimmed)
        known = {entry.index: entry for entry in ask.earlier}
        if any(index not in known for index in candidates):
            return NeedsEntries(candidates)
        return answered_before(ask._replace(earlier=tuple(known[index] for index in candidates)))

    def _release(self, ask: Ask, request: Release) -> _Outcome:
        number, state, holder = request.number, self._state, ask.holder
        if not state.head.start <= number < state.head.next:
            return Refused(Why.NEVER_ISSUED, str(number))
        if number in self._free:
            return Refused(Why.ALREADY_FREE, str(number))
        if holder is None or not state.fresh_evidence(number, holder.read_at):
            return NeedsHolder(number)
        return self._release_of(ask, request, holder)

    def _release_of(self, ask: Ask, request: Release, holder: Holder) -> _Outcome:
        number, held_by = request.number, holder.origin
        if held_by is None:
            return Refused(Why.TRIMMED, str(number)) if holder.trimmed else NeedsHolder(number)
        if request.issued_in not in {0, holder.issued_in}:
            return Refused(Why.ISSUED_ANEW, str(number))
        asking = request.call.origin
        if held_by[:2] != asking[:2]:
            return Refused(Why.OTHER_OWNER, f"{held_by.site}/{held_by.partition}")
        # The type is the number's own; a caller that releases does not name it.
        origin = asking._replace(invoice_type=held_by.invoice_type)
        cause = self._cause(ask)._replace(origin=origin)
        return self._give_back(cause, number, holder.issued_in, request.reason)

    def _issue_and_release(self, ask: Ask, quantity: int) -> _Outcome:
        issued = self._allocate(ask, quantity)
        if isinstance(issued, Issued):
            cause = issued.cause._replace(key=None, payload=None, metadata=None)
            for number in issued.numbers():
                self._give_back(cause, number, self.index, "released automatically")
        return issued

    def _trim(self, ask: Ask, checkpoint: Head) -> _Outcome:
        if not self._state.head.trimmed < checkpoint.index < self._state.head.index:
            return Refused(Why.NOTHING_TO_TRIM)
        self._checkpoint = heads.encode(checkpoint)
        content = sha256(self._checkpoint).hexdigest()
        through, tip, following = checkpoint.index, checkpoint.tip, checkpoint.next
        return self._note(Trimmed(self._cause(ask), through, tip, following, content))

    def _note(self, record: Record) -> Record:
        self.records.append(record)
        return record

    def _give_back(self, cause: Cause, number: int, issued_in: int, reason: str) -> Released:
        self._free.give_back(number, self.index, self._now.wall_ms)
        record = Released(cause, number, issued_in, reason)
        self.records.append(record)
        return record

    def _allocate(self, ask: Ask, quantity: int) -> Issued | Refused:
        """Take the lowest gaps first, then fresh numbers; all of them or none."""
        fresh = max(0, quantity - len(self._free))
        if self._next + fresh - 1 > self._max_value:
            return Refused(Why.EXHAUSTED, str(self._max_value))
        reused = self._free.take(quantity - fresh) if fresh < quantity else ()
        record = Issued(self._cause(ask), self._next, fresh, reused)
        self._next += fresh
        self.records.append(record)
        return record

    def _cause(self, ask: Ask) -> Cause:
        origin, correlation, arrived_us, key, payload, metadata = ask.request.call
        waited_us = max(0, self._now.monotonic_us - arrived_us)
        return Cause(origin, correlation, waited_us, key, payload, metadata, ask.part)

    def other_writes(self, keys: CounterKeys) -> list[Put | Delete]:
        """Return what the records change beside head and entry."""
        writes: list[Put | Delete] = []
        match self.records[0]:
            case Restarted():
                writes += keys.all_before_restart(self.index)
            case Trimmed(_, through):
                writes.append(Put(keys.checkpoint, self._checkpoint))
                writes += keys.all_trimmed(self._state.head.trimmed, through)
                writes += self._state.keys.trim_writes(keys, through)
        writes += self._free.writes(keys)
        freed_now = encode_mark(Mark(self.index, self._now.wall_ms))
        released = {r.number for r in self.records if isinstance(r, Released)}
        writes += [Put(keys.freed(number), freed_now) for number in sorted(released)]
        issued = [r for r in self.records if isinstance(r, Issued) and r.reused]
        spans = (run.numbers for record in issued for run in record.reused)
        reused = [span for span in map(self._free.below_returned, spans) if span]
        if reused:
            writes.append(Put(keys.reuse(self.index), encode_reused(reused)))
        used = [r.cause.key for r in self.records if r.cause.key is not None]
        if used:
            kept = RequestKeys() if isinstance(self.records[0], Restarted) else self._state.keys
            writes += kept.writes(keys, [digest(key) for key in used], self.index)
        return writes
