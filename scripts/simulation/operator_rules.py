"""What operators may do, and what comes of it: the oracle's rules, replayed from the ledger.

- a number that an operator names goes out to that operator, never one that was out before
- what lies between the count and such a number (an adjusted count, the first of an import) is void
- a void number is void for ever: nothing issues, releases or voids it again
- a number that is replaced and the one in its place name each other in one entry, and who had the
  one has the other
- the count never goes back but by a reset
- at a close nothing is reserved, and after it nothing goes out, comes back or is passed over
- what an operator is refused for was so between question and answer
"""

from collections.abc import Callable, Collection
from typing import NamedTuple, Protocol

from coordinator.core.head import Head
from coordinator.core.records import (
    Closed,
    Imported,
    Issued,
    Passed,
    Record,
    Restarted,
    Trimmed,
    Voided,
)
from coordinator.core.requests import Why
from simulation.events import AHEAD, Asked, Kind, Rule, Told
from simulation.model import FREE, RESERVED, VOID, Count, Held, Past, Timeline
from simulation.operating import OFFICE, text_of

ByOperator = Passed | Voided | Imported | Closed


class Reservations(Protocol):
    """What must be known of reservations: which numbers are reserved, and which are void."""

    void: set[int]

    @property
    def open(self) -> Collection[int]:
        """Return the numbers that are reserved."""
        ...


class Moment(NamedTuple):
    """What the whole count was at a time: the next number, how many are reserved, if closed."""

    next: int
    open: int
    is_closed: bool


class OperatorRules:
    """Replays what operators do; ``find`` hears of what is wrong."""

    def __init__(
        self,
        bounds: tuple[int, int],
        past: Past,
        reservations: Reservations,
        find: Callable[[Rule, str], None],
    ) -> None:
        self._start, self._last = bounds
        self._past = past
        self._reservations = reservations
        self._find = find
        self._moments = Timeline()
        self._texts: dict[int, Timeline] = {}
        """How numbers are written; empty where the ledger does not say."""
        self.start_anew()

    def start_anew(self) -> None:
        """Forget all: the count begins anew, or the store is another one."""
        self.is_closed = False
        self._head_next = 0
        now = Moment(self._start, open=0, is_closed=False)
        self._moments.append((self._past.time, now))

    # What the ledger says

    def goes_with(self, record: Record, asked: Asked) -> bool:
        """Tell whether a record only goes with the one that answers its request."""
        match record:
            case Passed():
                return asked.kind is Kind.ASSIGN and record.cause.key is None
            case Issued(given=given) if given:
                return asked.kind is Kind.REPLACE and record.cause.key is None
        return False

    def begin(self, index: int, record: Record) -> None:
        """Judge a record of any kind before it is replayed."""
        if not self.is_closed or isinstance(record, Trimmed | Restarted):
            return
        if not isinstance(record, Voided):  # a mistake can still be taken out of the books
            self._find(Rule.CLOSED, f"entry {index} has {record}, and the count is closed")

    def end(self, count: Count) -> None:
        """Note what the count is after a record."""
        now = Moment(count.next, len(self._reservations.open), self.is_closed)
        if self._moments[-1][1] != now:
            self._moments.append((self._past.time, now))

    def issued(self, index: int, record: Issued, count: Count, asked: Asked | None) -> str:
        """Judge what is issued to operators; return the site that has it by right."""
        for number in record.numbers():
            if record.text or number in self._texts:
                self._is_written(number, record.text)
        given, site = record.given, record.cause.origin.site
        if given is None:
            return site
        kind = None if asked is None else asked.kind
        what = f"entry {index} issues {record.numbers()} as {given}"
        if given.replaces or kind is Kind.REPLACE:
            return self._takes_the_place(what, record, count)
        named = (asked.number, asked.text) if asked and kind is Kind.ASSIGN else None
        if (*record.numbers(), given.text) != named or site != OFFICE:
            self._find(Rule.ASSIGNED, f"{what} to {site}; asked was: {asked}")
        elif record.reused or named[0] < count.next:
            self._find(Rule.ASSIGNED, f"{what}; the next number is {count.next}")
        return site

    def _takes_the_place(self, what: str, record: Issued, count: Count) -> str:
        assert record.given is not None, "it takes another's place"  # noqa: S101
        replaced = count.held.get(record.given.replaces)
        if replaced is None or len(record.numbers()) != 1:
            self._find(Rule.REPLACES, f"{what}; nobody has what it replaces, or it is not one")
            return record.cause.origin.site
        if record.cause.origin.site != replaced.site:
            said = f"{what} to {record.cause.origin.site}"
            self._find(Rule.OWNER, f"{said}; {replaced.site} has what it replaces")
        if record.text != text_of(record.numbers()[0]):
            self._find(Rule.REPLACES, f"{what}, which is written otherwise")
        return replaced.site

    def did(self, index: int, record: ByOperator, count: Count, asked: Asked | None) -> None:
        """Replay what an operator has done."""
        match record:
            case Passed(_, first, quantity):
                self._passes(index, first, first + quantity, count)
                named = asked.number if asked and asked.kind in AHEAD else 0
                if first + quantity != named:
                    said = f"entry {index} passes over {quantity} numbers from {first}"
                    self._find(Rule.ASKED, f"{said}; asked was: {asked}")
            case Voided():
                self._voided(index, record, count)
            case Imported():
                self._imported(index, record, count)
            case Closed():
                if self._reservations.open:
                    said = f"entry {index} closes; reserved are {list(self._reservations.open)}"
                    self._find(Rule.CLOSED, said)
                self.is_closed = True

    def _passes(self, index: int, first: int, end: int, count: Count) -> None:
        """Make the numbers up to ``end`` void, which is the next one then."""
        if end < count.next:
            self._find(Rule.FORWARD, f"entry {index} goes from {count.next} to {end}")
        if first != count.next:
            said = f"entry {index} goes on from {first}, and the next number is {count.next}"
            self._find(Rule.COMPLETE, said)
        for number in range(count.next, end):
            self._becomes_void(number)
        count.next = max(count.next, end)

    def _becomes_void(self, number: int) -> None:
        self._reservations.void.add(number)
        self._past.number_is(number, VOID)

    def _voided(self, index: int, record: Voided, count: Count) -> None:
        number, what = record.number, f"entry {index} makes {record.number} void"
        holder = count.held.get(number)
        if number in self._reservations.void:
            self._find(Rule.GIVEN_UP, f"{what}, which is void")
        elif holder is None or number in self._reservations.open:
            self._find(Rule.COMPLETE, f"{what}, which nobody has for good")
        elif holder.entry != record.issued_in:
            said = f"{what}, issued by entry {record.issued_in}"
            self._find(Rule.COMPLETE, f"{said}; it was entry {holder.entry}")
        else:
            del count.held[number]
            self._becomes_void(number)

    def _imported(self, index: int, record: Imported, count: Count) -> None:
        cause = record.cause
        holder = Held(cause.correlation, cause.origin.site, index)
        if record.first != count.next:
            said = f"entry {index} imports from {record.first}, the next number is {count.next}"
            self._find(Rule.COMPLETE, said)
        for first, many in record.runs:
            self._passes(index, count.next, first, count)
            for number in range(first, first + many):
                count.held[number] = holder
                self._past.number_is(number, holder.site)
                self._is_written(number, text_of(number))  # as the row of the file says
            count.next = max(count.next, first + many)

    def _is_written(self, number: int, text: str) -> None:
        self._texts.setdefault(number, Timeline([(0, "")])).append((self._past.time, text))

    def check_pairs(self, index: int, records: tuple[Record, ...]) -> None:
        """Judge whether numbers that are replaced and those in their place name each other."""
        gone = [(r.number, r.replaced_by) for r in records if isinstance(r, Voided)]
        gone = [pair for pair in gone if pair[1]]
        come = [
            (record.given.replaces, number)
            for record in records
            if isinstance(record, Issued) and record.given and record.given.replaces
            for number in record.numbers()
        ]
        if sorted(gone) != sorted(come):
            said = f"entry {index}: (replaced, by) are {gone}, (replaces, number) are {come}"
            self._find(Rule.REPLACES, said)

    def compare(self, revision: int, head: Head) -> None:
        """Judge the store's own word on where the count is."""
        if head.next < self._head_next:
            said = f"at revision {revision} the next number is {head.next}"
            self._find(Rule.FORWARD, f"{said}; it was {self._head_next} before")
        self._head_next = head.next
        if bool(head.closed) != self.is_closed:
            said = f"at revision {revision} the head says closed by entry {head.closed}"
            self._find(Rule.COMPLETE, f"{said}; the ledger {self.is_closed}")

    # What operators are told

    def is_true(self, told: Told, asked: Asked, since: int) -> bool | None:
        """Tell whether a refusal was true at some time; None for one that others have to judge."""
        moments = [m for m in self._moments.during(since) if isinstance(m, Moment)]
        number, said = asked.number, told.said
        highest = sum(asked.runs[-1]) - 1 if asked.runs else number
        between = highest + 1 - number - sum(many for _, many in asked.runs) if asked.runs else 0
        may_say: dict[str, set[str]] = {
            Why.NOT_AHEAD: {str(m.next) for m in moments if number <= m.next},
            Why.FAR_AHEAD: {
                str(far)
                for m in moments
                if (far := number - m.next + between) > asked.pass_over_max
            },
            Why.OPEN_RESERVATIONS: {str(m.open) for m in moments if m.open},
            Why.TAKEN: self._words(number, since),
        }
        if told.why == Why.CLOSED:
            return any(m.is_closed for m in moments)
        if told.why == Why.OTHER_TEXT:
            texts = self._texts.get(number, Timeline()).during(since)
            return said != asked.text and said in texts
        if asked.kind in AHEAD:
            may_say[Why.EXHAUSTED] = {str(self._last)} if highest > self._last else set()
        return said in may_say[told.why] if told.why in may_say else None

    def _words(self, number: int, since: int) -> set[str]:
        """Return what a number may have been called since an event."""
        if number < self._start:
            return {"below the start"}
        been = self._past.of_number(number, since)
        return {
            str(state) if state in {FREE, RESERVED, VOID} else "issued"
            for state in been
            if state is not None
        }
