"""The decisions of one batch: what becomes of each request, on the state and beside the others."""

from hashlib import sha256
from typing import NamedTuple

from coordinator.core import head as heads
from coordinator.core.free import Free
from coordinator.core.head import Head
from coordinator.core.holds import Hold
from coordinator.core.keys import CounterKeys
from coordinator.core.marks import Mark, encode_mark, encode_reused
from coordinator.core.records import (
    Cause,
    Held,
    How,
    Issued,
    LossAccepted,
    Record,
    Released,
    Restarted,
    Settled,
    Trimmed,
    keys_of,
    settling_key,
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
    Request,
    Reserve,
    Reset,
    Settle,
    Trim,
    Why,
)
from coordinator.core.state import CounterState
from coordinator.core.templates import render
from coordinator.core.transaction import Delete, Put


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


class Same(NamedTuple):
    """This request repeats the one at ``position`` of the same batch."""

    position: int


class Other(NamedTuple):
    """This request has the key of the one at ``position``, and asks something else."""

    position: int
    key: str


class Again(NamedTuple):
    """This request repeats what another one of the batch does, whoever asks."""

    record: Settled


Outcome = Record | Same | Other | Again | Refused | NeedsHolder | NeedsEntries | Done


def _turn_of(request: Request) -> int:
    """Return when in its batch a request is decided: see the head of this module."""
    match request:
        case Issue(release_at_once=True):
            return 1
        case Issue() | Reserve():
            return 2
        case _:
            return 0


class Batch:
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
        self._settled: dict[int, Settled] = {}

    def decide(self, asks: list[Ask]) -> list[Outcome]:
        """Return the outcome of each request, in their order, and fill ``records``."""
        outcomes = self._by_key(asks)
        in_order = sorted(range(len(asks)), key=lambda position: _turn_of(asks[position].request))
        for position in in_order:
            if position not in outcomes:
                outcomes[position] = self._decide(asks[position])
        return [outcomes[position] for position in range(len(asks))]

    def _decide(self, ask: Ask) -> Outcome:
        match ask.request:
            case Release():
                return self._release(ask, ask.request)
            case Issue(_, quantity, at_once):
                return (self._issue_and_release if at_once else self._allocate)(ask, quantity)
            case Reserve():
                return self._reserve(ask, ask.request)
            case Settle():
                return self._settle(ask, ask.request)
            case rare:
                return self._decide_rare(ask, rare)

    def _decide_rare(self, ask: Ask, request: Reset | Trim | AcceptLoss) -> Outcome:
        match request:
            case Reset():
                return self._note(Restarted(self._cause(ask)))
            case Trim(_, checkpoint):
                return self._trim(ask, checkpoint)
            case AcceptLoss(_, lost, tip, reason):
                accepted = LossAccepted(self._cause(ask), lost, tip, reason)
                return self._note(accepted) if lost else Refused(Why.NOTHING_LOST)

    def _by_key(self, asks: list[Ask]) -> dict[int, Outcome]:
        """Settle the requests whose idempotency key has been used before, or is used twice."""
        outcomes: dict[int, Outcome] = {}
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
                outcomes[position] = Same(first) if same else Other(first, call.key)
        return outcomes

    def _committed_before(self, key: str, ask: Ask) -> Outcome | None:
        candidates = self._candidates(digest(key))
        known = {entry.index: entry for entry in ask.earlier}
        if any(index not in known for index in candidates):
            return NeedsEntries(candidates)
        return answered_before(ask._replace(earlier=tuple(known[index] for index in candidates)))

    def _release(self, ask: Ask, request: Release) -> Outcome:
        number, state, holder = request.number, self._state, ask.holder
        if not state.head.start <= number < state.head.next:
            return Refused(Why.NEVER_ISSUED, str(number))
        if number in self._free:
            return Refused(Why.ALREADY_FREE, str(number))
        if number in state.void:
            return Refused(Why.VOID, str(number))
        if number in state.holds:
            return Refused(Why.HELD, str(number))
        if holder is None or not state.fresh_evidence(number, holder.read_at):
            return NeedsHolder(number)
        return self._release_of(ask, request, holder)

    def _release_of(self, ask: Ask, request: Release, holder: Holder) -> Outcome:
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

    def _issue_and_release(self, ask: Ask, quantity: int) -> Outcome:
        issued = self._allocate(ask, quantity)
        if isinstance(issued, Issued):
            cause = issued.cause._replace(key=None, payload=None, metadata=None)
            for number in issued.numbers():
                self._give_back(cause, number, self.index, "released automatically")
        return issued

    def _trim(self, ask: Ask, checkpoint: Head) -> Outcome:
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

    def _reserve(self, ask: Ask, request: Reserve) -> Issued | Refused:
        series = request.series
        if not len(self._free) and self._next > series.max_value:
            return Refused(Why.EXHAUSTED, str(series.max_value))
        issued = self._allocate(ask, 1)
        if isinstance(issued, Refused):
            return issued
        number = issued.spans()[0].start
        until_ms = self._now.wall_ms + 1_000 * series.reservation_s
        held = Held(request.token, until_ms, render(series.format, dict(request.values), number))
        reserved = issued._replace(held=held)
        self.records[-1] = reserved
        return reserved

    def _settle(self, ask: Ask, request: Settle) -> Outcome:
        """End a reservation once; who comes later hears how it ended."""
        number, hold = request.number, self._state.holds.of(request.number)
        if hold is None or hold.held.token != request.token:
            return self._settled_before(ask, request)
        if number in self._settled:
            return Again(self._settled[number])
        is_over = self._now.wall_ms >= hold.held.until_ms
        if request.how is How.EXPIRED and not is_over:
            return Refused(Why.NOT_DUE, hold.held.text)
        how = How.EXPIRED if is_over and request.how is How.CONFIRMED else request.how
        is_void = request.voids and how is not How.CONFIRMED
        record = Settled(
            self._cause(ask), number, hold.issued_in, how, hold.held, request.reason, is_void
        )
        self._settled[number] = record
        if record.frees:
            self._free.give_back(number, self.index, self._now.wall_ms)
        self.records.append(record)
        return record

    def _settled_before(self, ask: Ask, request: Settle) -> Outcome:
        short = digest(settling_key(request.number, request.token))
        candidates = self._candidates(short)
        known = {entry.index: entry for entry in ask.earlier}
        if any(index not in known for index in candidates):
            return NeedsEntries(candidates)
        for index in candidates:
            for record in known[index].records:
                if not isinstance(record, Settled) or record.number != request.number:
                    continue
                if record.held.token == request.token:
                    return Done(known[index], record, replayed=True)
        return Refused(Why.NO_RESERVATION, str(request.number))

    def _candidates(self, short: int) -> tuple[int, ...]:
        """Return the entries that are there, and may have used this key."""
        trimmed = self._state.head.trimmed
        return tuple(index for index in self._state.keys.find(short) if index > trimmed)

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
        ended = list(self._settled.values())
        released = {r.number for r in self.records if isinstance(r, Released)}
        released |= {r.number for r in ended if r.frees}
        writes += [Put(keys.freed(number), freed_now) for number in sorted(released)]
        writes += [Put(keys.void(r.number), freed_now) for r in ended if r.is_void]
        opened = [
            Hold(r.spans()[0].start, self.index, r.held)
            for r in self.records
            if isinstance(r, Issued) and r.held
        ]
        if opened or ended:
            writes += self._state.holds.writes(keys, self._settled, opened)
        issued = [r for r in self.records if isinstance(r, Issued) and r.reused]
        spans = (run.numbers for record in issued for run in record.reused)
        reused = [span for span in map(self._free.below_returned, spans) if span]
        if reused:
            writes.append(Put(keys.reuse(self.index), encode_reused(reused)))
        used = [key for record in self.records for key in keys_of(record)]
        if used:
            kept = RequestKeys() if isinstance(self.records[0], Restarted) else self._state.keys
            writes += kept.writes(keys, [digest(key) for key in used], self.index)
        return writes
