"""The oracle: judges a run by the invariants, and knows nothing of how they are kept.

It sees what clients ask and are told, and every revision of the store. It replays the ledger with
a model that is a table `number -> holder` and a set of free numbers. The rules, by method:

- `written`        one transaction holds head, one entry and the gap keys (4); after it the store's
                   gap keys and next number are just what the ledger gives: complete (2)
- `_issued`        a number goes out only if nobody holds it (1, 2), the lowest free one first (3)
- `_released`      only a number that its site holds comes back, for somebody who asked
- `_check_request` a request stands in the ledger once (5), and as it was asked; never after its
                   caller was told that nothing was allocated (6); a key stands there once (5)
- `_settled`       how reservations end, and all else of them: see `reservation_rules`
- `did`            what operators may do, and what comes of it: see `operator_rules`
- `_answered`      an answer is in the ledger before it is given (7), and is this request's (1);
                   the same key gets the same answer (5)
- `_refused`       a refusal was true at some moment between question and answer
- `_not_served`    who is told that nothing was allocated has nothing (6)
- `rewinding`      who has acknowledged more than the store has, writes nothing (10)
- `at_rest`        what a caller did not wait for comes back, unless its node died
"""

from coordinator.core import ledger
from coordinator.core.head import Head
from coordinator.core.keys import CounterKeys
from coordinator.core.records import (
    Entry,
    How,
    Issued,
    LossAccepted,
    Record,
    Released,
    Restarted,
    Settled,
    Trimmed,
)
from simulation.asking import Then, could_be_refused, is_as_asked
from simulation.events import (
    Asked,
    Event,
    Failure,
    Finding,
    Kind,
    Left,
    Note,
    Outcome,
    Rule,
    Saved,
    Told,
    WentBack,
    Wrote,
    numbers_of,
    said_of,
)
from simulation.model import FREE, RESERVED, VOID, Count, Held, InLedger, Known, Past, Use
from simulation.operator_rules import OperatorRules
from simulation.reservation_rules import ReservationRules
from simulation.rewinding import Acknowledged
from simulation.settings import Reserving
from simulation.written import Written

CLIENT_LEFT = "client-disconnected"
"""The reason of a release that nobody asked for: the caller of an un-keyed issue had gone."""


class Oracle:
    """Hears every event in order; ``findings`` are the rules that were broken."""

    def __init__(
        self, keys: CounterKeys, start: int, last: int, reserving: Reserving | None = None
    ) -> None:
        self.findings: list[Finding] = []
        self._written = Written(keys, self.find)
        self._start = start
        self._last = last  # the highest number of the series
        self._count = Count(start)
        self._asked: dict[str, Asked] = {}
        self._asked_at: dict[str, int] = {}
        self._gone: set[str] = set()
        self._left: dict[str, str] = {}
        """Requests whose client left, and the run of the node that was serving them."""
        self._got_nothing: set[str] = set()
        self._acknowledged = Acknowledged(self.find)
        self._reservations = ReservationRules(
            keys, reserving or Reserving(), self.find, lambda: self._past.time
        )
        self._lost: dict[str, InLedger] = {}
        """What the ledger had before the store was restored from a backup."""
        self._issued_in: dict[int, int] = {}
        """The entry that first issued a number."""
        self._past = Past(last + 1 - start)
        self._operators = OperatorRules((start, last), self._past, self._reservations, self.find)

    def hear(self, event: Event) -> None:
        """Judge one more event."""
        self._past.time += 1
        match event:
            case Asked():
                self._asked[event.request] = event
                self._asked_at[event.request] = self._past.time
            case Left(request, run):
                self._gone.add(request)
                self._left[request] = run
            case Saved(node, entry):
                self._acknowledged.saved(node, entry)
            case Told():
                self._told(event)
            case Wrote():
                self._wrote(event)
            case WentBack(entry, under_way):
                self._acknowledged.went_back(entry, under_way)
                self._went_back(entry)
            case Failure(what):
                self.find(Rule.NO_ERROR, what)
            case Note():
                pass

    def find(self, rule: Rule, what: str) -> None:
        """Note that a rule was broken."""
        self.findings.append(Finding(rule, what))

    # What the store takes

    def _wrote(self, event: Wrote) -> None:
        of_reservations = self._reservations.hear_keys(event.changes)
        batch = self._written.hear(event, concerns_others=of_reservations)
        if batch is None:
            return
        index, gone = batch.entry, batch.gone
        if index != self._count.entries + 1:
            said = f"after entry {self._count.entries} the ledger goes on with {index}"
            self.find(Rule.COMPLETE, said)
            return
        trimmed = self._count.trimmed
        self._replay(index, batch.content)
        if gone != list(range(trimmed + 1, self._count.trimmed + 1)):
            said = f"entry {index} notes that {self._count.trimmed} are trimmed; gone are {gone}"
            self.find(Rule.ONE_COMMIT, said)
        if gone and (said := self._count.differs_from(batch.checkpoint)):
            self.find(Rule.COMPLETE, said)
        self._compare(event.revision, batch.head)

    def _replay(self, index: int, content: bytes) -> None:
        entry = ledger.decode(content)
        self._acknowledged.check_author(entry)
        self._count.entries = index
        self._count.contents.append(content)
        for record in entry.records:
            self._operators.begin(index, record)
            match record:
                case Issued():
                    self._check_request(index, record, numbers_of(record))
                    self._issued(index, record)
                    self._reservations.reserved(entry, record)
                case Settled():
                    self._check_request(index, record, (record.number,))
                    self._settled(entry, record)
                case Released():
                    self._released(index, record)
                case Restarted():
                    self._check_request(index, record, ())
                    self._restart()
                case Trimmed(_, through):
                    self._trimmed(through)
                case LossAccepted():
                    self.find(Rule.ASKED, f"entry {index} accepts a loss; nobody decided that")
                case decided:
                    self._check_request(index, decided, numbers_of(decided))
                    asked = self._asked.get(decided.cause.correlation)
                    self._operators.did(index, decided, self._count, asked)
                    for number in numbers_of(decided):
                        self._issued_in.setdefault(number, index)
            self._operators.end(self._count)
        self._operators.check_pairs(index, entry.records)
        self._count.after.append((self._count.next, len(self._count.free)))
        left = self._last + 1 - self._count.next + len(self._count.free)
        self._past.left_are(left)

    def _compare(self, revision: int, head: Head) -> None:
        """Complete: at this revision ``start..next-1`` is just issued, reserved, gaps and void."""
        count = self._count
        self._reservations.compare(revision, head)
        if not count.covers(self._start, self._reservations.open, self._reservations.void):
            said = f"{count}, void {self._reservations.void} are not all numbers, each once"
            self.find(Rule.COMPLETE, f"at revision {revision} {said}")
        self._written.compare(revision, head, count)
        self._operators.compare(revision, head)

    def _issued(self, index: int, record: Issued) -> None:
        count, request = self._count, record.cause.correlation
        site = self._operators.issued(index, record, count, self._asked.get(request))
        holder = Held(request, site, index)
        is_named = record.given is not None and not record.given.replaces
        for number in record.numbers():
            if number in count.held:
                said = f"entry {index} issues {number}, which {count.held[number].request} holds"
                self.find(Rule.UNIQUE, said)
            if number in self._reservations.void:
                self.find(Rule.GIVEN_UP, f"entry {index} issues {number}, which is void")
            lowest = min(count.free, default=number)
            if number != lowest and not is_named:
                said = f"entry {index} issues {number} while {lowest} is free"
                self.find(Rule.LOWEST, said)
            if number not in count.free and number != count.next:
                said = f"entry {index} issues {number}, and the next number is {count.next}"
                self.find(Rule.COMPLETE, said)
            count.free.discard(number)
            count.next = max(count.next, number + 1)
            count.held[number] = holder
            self._past.number_is(number, RESERVED if record.held else holder.site)
            self._issued_in.setdefault(number, index)

    def _released(self, index: int, record: Released) -> None:
        count, number, cause = self._count, record.number, record.cause
        holder = count.held.get(number)
        if holder is None:
            self.find(Rule.COMPLETE, f"entry {index} releases {number}, which nobody holds")
            return
        if number in self._reservations.open:
            self.find(Rule.COMPLETE, f"entry {index} releases {number}, which is reserved")
        asked = self._asked.get(cause.correlation)
        at_once = asked is not None and asked.at_once and holder.request == cause.correlation
        if record.reason == CLIENT_LEFT:
            if holder.request not in self._gone or self._asked[holder.request].key is not None:
                said = f"entry {index} takes {number} from {holder.request}, which has not left"
                self.find(Rule.OWNER, said)
        elif not at_once:
            self._check_request(index, record, (number,))
            if cause.origin.site != holder.site:
                said = f"entry {index} releases {number} for {cause.origin.site}"
                self.find(Rule.OWNER, f"{said}; {holder.site} holds it")
        if record.issued_in != holder.entry:
            said = f"entry {index} releases {number} as issued by entry {record.issued_in}"
            self.find(Rule.COMPLETE, f"{said}; it was entry {holder.entry}")
        del count.held[number]
        count.free.add(number)
        self._past.number_is(number, FREE)

    def _settled(self, entry: Entry, record: Settled) -> None:
        """End a reservation: its number stays with who has reserved it, or goes."""
        number, count = record.number, self._count
        self._reservations.settled(entry, record, self._asked.get(record.cause.correlation))
        if number not in count.held:
            self.find(Rule.COMPLETE, f"entry {entry.index} settles {number}, which nobody holds")
        elif record.how is How.CONFIRMED:
            self._past.number_is(number, count.held[number].site)
        else:
            del count.held[number]
            if not record.is_void:
                count.free.add(number)
            self._past.number_is(number, VOID if record.is_void else FREE)

    def _trimmed(self, through: int) -> None:
        """Keys of entries that are gone are forgotten."""
        count = self._count
        count.trimmed = through
        self._reservations.trimmed(through)
        for key in [key for key, use in count.keys.items() if use.entry <= through]:
            del count.keys[key]
            self._past.key_is(key, None)

    def _restart(self) -> None:
        count = self._count
        for number in range(self._start, count.next):
            self._past.number_is(number, None)
        for key in count.keys:
            self._past.key_is(key, None)
        count.restart(self._start)
        self._reservations.start_anew()
        self._operators.start_anew()

    def _check_request(self, index: int, record: Record, numbers: tuple[int, ...]) -> None:
        count, request = self._count, record.cause.correlation
        asked = self._asked.get(request)
        if asked is None:
            self.find(Rule.ASKED, f"entry {index} has request {request}, which nobody sent")
            return
        if self._operators.goes_with(record, asked):
            return
        if request in count.in_ledger:
            before = count.in_ledger[request].entry
            said = f"request {request} stands in the ledger twice: entries {before} and {index}"
            self.find(Rule.ONCE, said)
        if request in self._got_nothing:
            said = f"entry {index} serves {request}, which was told that nothing was allocated"
            self.find(Rule.NOT_FAILED, said)
        key, payload = record.cause.key, record.cause.payload
        if not is_as_asked(asked, record, numbers):
            self.find(Rule.ASKED, f"entry {index} has {record}, asked was: {asked}")
        said = said_of(record)
        count.in_ledger[request] = InLedger(index, numbers, said)
        if key is not None:
            if key in count.keys:
                self.find(Rule.ONCE, f"entry {index} uses key {key}, which was used before")
            count.keys[key] = Use(payload, numbers, index, said)
            self._past.key_is(key, count.keys[key])

    # What clients are told

    def _told(self, told: Told) -> None:
        match told.outcome:
            case Outcome.ANSWERED:
                self._answered(told)
            case Outcome.REFUSED:
                self._refused(told)
            case Outcome.NOT_SERVED | Outcome.NO_NODE:
                self._not_served(told)
            case Outcome.FAILED:
                self.find(Rule.NO_ERROR, f"{told.request} failed: {told.why}")
            case Outcome.BROKEN:
                self._gone.add(told.request)
            case Outcome.UNKNOWN:  # whatever comes of it, it comes once
                self._left.pop(told.request, None)  # it left when that was all it could hear

    def _answered(self, told: Told) -> None:
        asked = self._asked[told.request]
        since = self._asked_at[told.request]
        has_ended = bool(asked.token) and self._reservations.told_end(asked, told, since)
        found = self._count.in_ledger.get(told.request) or self._lost.get(told.request)
        if found is not None:
            self._acknowledged.told(told.run, found.entry)
            if (told.numbers, told.said) != found[1:]:
                self.find(Rule.UNIQUE, f"{told}; the ledger has {found} for it")
            return
        uses = self._past.uses_of_key(asked.key, since)
        same = [(use.numbers, use.said) for use in uses if use.payload == asked.payload]
        if same and (told.numbers, told.said) not in same:
            self.find(Rule.ONCE, f"{told}; its key {asked.key} stands for {same}")
        elif uses and not same:
            said = f"{told.request} is answered, but key {asked.key} stands for another payload"
            self.find(Rule.ONCE, said)
        elif not uses and not has_ended:
            self._answered_without_commit(told)

    def _answered_without_commit(self, told: Told) -> None:
        for number in told.numbers:
            holder = self._count.held.get(number)
            if holder is not None and self._asked[told.request].kind is Kind.ISSUE:
                what = f"{told.request} is told {number}, which {holder.request} holds"
                return self.find(Rule.UNIQUE, what)
        what = f"{told.request} is answered {list(told.numbers)}, and nothing of it is committed"
        return self.find(Rule.NOT_EARLY, what)

    def _not_served(self, told: Told) -> None:
        self._got_nothing.add(told.request)
        found = self._count.in_ledger.get(told.request)
        if found is not None:
            said = f"{told.request} was told that nothing was allocated ({told.why})"
            self.find(Rule.NOT_FAILED, f"{said}, and stands in entry {found.entry}")

    def _refused(self, told: Told) -> None:
        self._not_served(told)
        asked, since = self._asked[told.request], self._asked_at[told.request]
        first = self._issued_in.get(asked.number)
        then = Then(
            self._past.of_number(asked.number, since),
            self._past.left(since),
            {use.payload for use in self._past.uses_of_key(asked.key, since)},
            first is not None and first <= self._count.trimmed,
            self._reservations.was_unknown(asked, since),
            self._reservations.was_open(asked, since),
        )
        is_true = self._operators.is_true(told, asked, since)
        if not (could_be_refused(told.why, asked, then) if is_true is None else is_true):
            self.find(Rule.TRUE_REFUSAL, f"{told} ({asked}); it never was so")

    def knows(self, node: str, known: Known) -> None:
        """Judge what a node knows: each number is in one state, and in the one that it has."""
        if not self._count.is_known_as(known, self._reservations.open, self._reservations.void):
            self.find(Rule.AGREES, f"{node} knows {known}; it is {self._count}")

    def at_rest(self, runs: set[str | None], now_ms: int = 0) -> None:
        """Judge what is left when all has come to rest; these runs of nodes are alive.

        All their clocks have reached ``now_ms``.
        """
        overdue = self._reservations.overdue(now_ms)
        if overdue:
            self.find(Rule.RECOVERS, f"reservations of {overdue} are over, and nobody ends them")
        for number, holder in self._count.held.items():
            if holder.entry <= self._count.trimmed or self._operators.is_closed:
                continue  # its node cannot know what became of a batch that old, or not undo it
            unheard = self._left.get(holder.request) in runs
            asked = self._asked[holder.request]
            if unheard and asked.kind is Kind.ISSUE and asked.key is None:
                said = f"{number} was issued to {holder.request}, which had left"
                self.find(Rule.UNHEARD, f"{said}; it never came back")

    def _went_back(self, entry: int) -> None:
        contents = self._count.contents[:entry]
        self._lost |= self._count.in_ledger
        self._past.forget()
        self._count = Count(self._start)
        self._reservations.start_anew()
        self._operators.start_anew()
        before, self.findings = self.findings, []
        for index, content in enumerate(contents, 1):
            self._replay(index, content)
        self.findings = before  # what it had then has been judged before
        self._written.gap_keys = set(self._count.free)
        self._reservations.restored()
