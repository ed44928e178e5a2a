"""The decisions of one batch: what becomes of each request, on the state and beside the others."""

from hashlib import sha256

from coordinator.core import head as heads
from coordinator.core.free import Free
from coordinator.core.head import Head
from coordinator.core.outcomes import Again, Other, Outcome, Same, answered_before, turn_of
from coordinator.core.records import (
    Cause,
    Closed,
    Given,
    Held,
    How,
    Imported,
    Issued,
    LossAccepted,
    Origin,
    Passed,
    Record,
    Released,
    Restarted,
    Settled,
    Trimmed,
    Voided,
    passed_over_by,
    settling_key,
    voids_of,
)
from coordinator.core.request_keys import digest
from coordinator.core.requests import (
    AcceptLoss,
    Adjust,
    Ask,
    Assign,
    Close,
    Holder,
    Import,
    Instant,
    Issue,
    NeedsEntries,
    NeedsHolder,
    Refused,
    Release,
    Reserve,
    Reset,
    Settle,
    Trim,
    Void,
    Why,
)
from coordinator.core.state import CounterState
from coordinator.core.templates import Writing

Operators = Assign | Void | Adjust | Import | Close


class Batch:
    """The decisions of one batch: a small sheet of working, thrown away with the plan."""

    def __init__(self, state: CounterState, now: Instant, max_value: int) -> None:
        self.index = state.head.index + 1
        self.records: list[Record] = []
        self._state = state
        self._now = now
        self._max_value = max_value
        self._next = state.head.next
        self._closed = state.head.closed > 0
        self._voided: set[int] = set()
        self._came_back: set[int] = set()
        self.free = Free(state.gaps)
        self.checkpoint = b""
        self.settled: dict[int, Settled] = {}

    def decide(self, asks: list[Ask]) -> list[Outcome]:
        """Return the outcome of each request, in their order, and fill ``records``."""
        outcomes = self._by_key(asks)
        in_order = sorted(range(len(asks)), key=lambda position: turn_of(asks[position].request))
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

    def _decide_rare(self, ask: Ask, request: Operators | Reset | Trim | AcceptLoss) -> Outcome:
        match request:
            case Reset():
                return self._note(Restarted(self._cause(ask)))
            case Trim(_, checkpoint):
                return self._trim(ask, checkpoint)
            case AcceptLoss(_, lost, tip, reason):
                accepted = LossAccepted(self._cause(ask), lost, tip, reason)
                return self._note(accepted) if lost else Refused(Why.NOTHING_LOST)
            case operators:
                return self._decide_operators(ask, operators)

    def _decide_operators(self, ask: Ask, request: Operators) -> Outcome:
        match request:
            case Assign():
                return self._assign(ask, request)
            case Void():
                return self._void(ask, request)
            case Adjust():
                return self._adjust(ask, request)
            case Import():
                return self._import(ask, request)
            case Close(_, reason):
                return self._close(ask, reason)

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

    def _in_use(self, ask: Ask, number: int) -> Holder | Refused | NeedsHolder:
        """Return who has a number that is issued, neither free nor void nor only reserved."""
        state, holder = self._state, ask.holder
        refused = None
        if not state.head.start <= number < state.head.next:
            refused = Why.NEVER_ISSUED
        elif number in self.free or number in self._came_back:  # another may have it again
            refused = Why.ALREADY_FREE
        elif number in state.void or number in self._voided:
            refused = Why.VOID
        elif number in state.holds:
            refused = Why.HELD
        elif holder is None or not state.fresh_evidence(number, holder.read_at):
            return NeedsHolder(number)
        elif holder.origin is not None:
            return holder
        elif holder.trimmed:
            refused = Why.TRIMMED
        return Refused(refused, str(number)) if refused else NeedsHolder(number)

    def _release(self, ask: Ask, request: Release) -> Outcome:
        number, holder = request.number, self._in_use(ask, request.number)
        if not isinstance(holder, Holder):
            return holder
        held_by = holder.origin
        assert held_by is not None, "it is in use"  # noqa: S101
        if self._closed:
            return Refused(Why.CLOSED, str(number))
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
        self.checkpoint = heads.encode(checkpoint)
        content = sha256(self.checkpoint).hexdigest()
        through, tip, following = checkpoint.index, checkpoint.tip, checkpoint.next
        return self._note(Trimmed(self._cause(ask), through, tip, following, content))

    def _note(self, record: Record) -> Record:
        self.records.append(record)
        return record

    def _give_back(self, cause: Cause, number: int, issued_in: int, reason: str) -> Released:
        self._come_back(number)
        record = Released(cause, number, issued_in, reason)
        self.records.append(record)
        return record

    def _come_back(self, number: int) -> None:
        self.free.give_back(number, self.index, self._now.wall_ms)
        self._came_back.add(number)

    def _take_one(self, ask: Ask, writing: Writing) -> Issued | Refused:
        """Take the next number of a series; it is not noted yet."""
        lowest = self.free.lowest or self._next
        if lowest > writing.max_value and not self._closed:
            return Refused(Why.EXHAUSTED, str(writing.max_value))
        return self._take(ask, 1)

    def _allocate(self, ask: Ask, quantity: int) -> Issued | Refused:
        taken = self._take(ask, quantity)
        if isinstance(taken, Issued):
            self.records.append(taken)
        return taken

    def _take(self, ask: Ask, quantity: int) -> Issued | Refused:
        """Take the lowest gaps first, then fresh numbers; all of them or none."""
        if self._closed:
            return Refused(Why.CLOSED)
        fresh = max(0, quantity - len(self.free))
        if self._next + fresh - 1 > self._max_value:
            return Refused(Why.EXHAUSTED, str(self._max_value))
        reused = self.free.take(quantity - fresh) if fresh < quantity else ()
        record = Issued(self._cause(ask), self._next, fresh, reused)
        self._next += fresh
        return record

    def _reserve(self, ask: Ask, request: Reserve) -> Issued | Refused:
        issued = self._take_one(ask, request.writing)
        if isinstance(issued, Refused):
            return issued
        number = issued.spans()[0].start
        until_ms = self._now.wall_ms + 1_000 * request.kept_s
        held = Held(request.token, until_ms, request.writing.text_of(number))
        reserved = issued._replace(held=held)
        self.records.append(reserved)
        return reserved

    def _settle(self, ask: Ask, request: Settle) -> Outcome:
        """End a reservation once; who comes later hears how it ended."""
        number, hold = request.number, self._state.holds.of(request.number)
        if hold is None or hold.held.token != request.token:
            return self._settled_before(ask, request)
        if number in self.settled:
            return Again(self.settled[number])
        is_over = self._now.wall_ms >= hold.held.until_ms
        if request.how is How.EXPIRED and not is_over:
            return Refused(Why.NOT_DUE, hold.held.text)
        how = How.EXPIRED if is_over and request.how is How.CONFIRMED else request.how
        is_void = request.voids and how is not How.CONFIRMED
        record = Settled(
            self._cause(ask), number, hold.issued_in, how, hold.held, request.reason, is_void
        )
        self.settled[number] = record
        if record.frees:
            self._come_back(number)
        self.records.append(record)
        return record

    def _settled_before(self, ask: Ask, request: Settle) -> Outcome:
        before = self._committed_before(settling_key(request.number, request.token), ask)
        return before or Refused(Why.NO_RESERVATION, str(request.number))

    def _candidates(self, short: int) -> tuple[int, ...]:
        """Return the entries that are there, and may have used this key."""
        trimmed = self._state.head.trimmed
        return tuple(index for index in self._state.keys.find(short) if index > trimmed)

    def _refused_to_reach(self, number: int, max_value: int) -> Refused | None:
        """Return why the count cannot go on with this number; None when it can.

        It ends where its series does, and where the counter does if that is before.
        """
        last = min(max_value, self._max_value)
        if self._closed:
            return Refused(Why.CLOSED)
        if number <= self._next - 1:
            return Refused(Why.NOT_AHEAD, str(self._next))
        return Refused(Why.EXHAUSTED, str(last)) if number > last else None

    def _refused_to_go(self, number: int, max_value: int, pass_over_max: int) -> Refused | None:
        """Return why the count cannot go on there at the word of an operator."""
        refused, many = self._refused_to_reach(number, max_value), number - self._next
        is_far = refused is None and many > pass_over_max
        return Refused(Why.FAR_AHEAD, str(many)) if is_far else refused

    def _adjust(self, ask: Ask, request: Adjust) -> Outcome:
        _, to, reason, *bounds = request
        refused = self._refused_to_go(to, *bounds)
        if refused is not None or to == self._next:
            return refused or Refused(Why.NOT_AHEAD, str(self._next))
        passed = Passed(self._cause(ask), self._next, to - self._next, reason)
        self._next = to
        return self._note(passed)

    def _assign(self, ask: Ask, request: Assign) -> Outcome:
        _, number, text, reason, *bounds = request
        refused = self._refused_to_go(number, *bounds)
        if refused is not None:
            is_taken = refused.why is Why.NOT_AHEAD
            return Refused(Why.TAKEN, self._what_became_of(number)) if is_taken else refused
        if number > self._next:
            cause = self._cause(ask)._replace(key=None, payload=None, metadata=None)
            said = passed_over_by(text)
            self.records.append(Passed(cause, self._next, number - self._next, said))
        self._next = number + 1
        return self._note(Issued(self._cause(ask), number, 1, given=Given(text, reason)))

    def _what_became_of(self, number: int) -> str:
        """Return the state of a number below the next one, in a word."""
        if number < self._state.head.start:
            return "below the start"
        if number in self.free:
            return "free"
        now_void = (run for record in self.records for run in voids_of(record))
        if number in self._state.void or any(n <= number < n + many for n, many in now_void):
            return "void"
        return "reserved" if number in self._state.holds else "issued"

    def _void(self, ask: Ask, request: Void) -> Outcome:
        number, holder = request.number, self._in_use(ask, request.number)
        if not isinstance(holder, Holder):
            return holder
        if holder.text not in {"", request.text}:
            return Refused(Why.OTHER_TEXT, holder.text)
        replaced_by = 0
        if request.replacement is not None:
            issued = self._take_one(ask, request.replacement)
            if isinstance(issued, Refused):
                return issued
            replaced_by = issued.spans()[0].start
            text = request.replacement.text_of(replaced_by)
            owner = holder.origin[:3] if holder.origin else ()  # as the one that it replaces
            origin = Origin(*owner, *issued.cause.origin[len(owner) :])
            cause = issued.cause._replace(key=None, payload=None, origin=origin)
            given = Given(text, request.reason, number)
            self.records.append(issued._replace(cause=cause, given=given))
        self._voided.add(number)
        cause, reason = self._cause(ask), request.reason
        return self._note(
            Voided(cause, number, holder.issued_in, request.text, reason, replaced_by)
        )

    def _import(self, ask: Ask, request: Import) -> Outcome:
        (lowest, _), (highest, many) = request.runs[0], request.runs[-1]
        refused = self._refused_to_reach(lowest, request.max_value)
        if refused is not None and refused.why is Why.NOT_AHEAD:
            return Refused(Why.TAKEN, self._what_became_of(lowest))
        if refused is None:
            refused = self._refused_to_reach(highest + many - 1, request.max_value)
        passed = highest + many - self._next - sum(quantity for _, quantity in request.runs)
        if refused is None and passed > request.pass_over_max:
            refused = Refused(Why.FAR_AHEAD, str(passed))
        if refused is not None:
            return refused
        _, runs, source, rows, *_ = request
        imported = Imported(self._cause(ask), self._next, runs, source, rows)
        self._next = imported.next
        return self._note(imported)

    def _close(self, ask: Ask, reason: str) -> Outcome:
        if self._closed:
            return Refused(Why.CLOSED)
        opened = sum(isinstance(r, Issued) and r.held is not None for r in self.records)
        open_now = len(self._state.holds) + opened - len(self.settled)
        if open_now:
            return Refused(Why.OPEN_RESERVATIONS, str(open_now))
        self._closed = True
        return self._note(Closed(self._cause(ask), reason))

    def _cause(self, ask: Ask) -> Cause:
        origin, correlation, arrived_us, key, payload, metadata = ask.request.call
        waited_us = max(0, self._now.monotonic_us - arrived_us)
        return Cause(origin, correlation, waited_us, key, payload, metadata, ask.part)
