"""What a reservation may and may not be: the oracle's rules, replayed from the ledger.

- it lasts as long as its series says; before its deadline nobody expires it, after it nobody
  confirms it, by the clock of whoever wrote the entry (deadlines are data)
- it ends once, for who knows its token, and everybody who is told of the end is told the same;
  who was told "confirmed" has the number
- a number that is given up is a gap or void for ever, as its series says; a void one never goes out
- the store's keys of open reservations and void numbers are just what the ledger gives
"""

from collections.abc import Callable
from typing import NamedTuple

from coordinator.core.head import Head
from coordinator.core.holds import NUMBERS_PER_BLOCK, decode_holds
from coordinator.core.keys import CounterKeys, number_in
from coordinator.core.marks import decode_voids
from coordinator.core.records import Entry, How, Issued, Settled
from coordinator.core.unreadable import Unreadable
from simulation.events import HOW, Asked, Kind, Rule, Told, token_of
from simulation.model import Timeline
from simulation.settings import Reserving

OPEN = "open"
Name = tuple[int, str]
"""A reservation: its number and its token."""


class Promise(NamedTuple):
    """An open reservation: who knows it, until when, and since which entry."""

    token: str
    until_ms: int
    entry: int


class Ended(NamedTuple):
    """How a reservation ended, and in which entry."""

    how: str
    entry: int


class ReservationRules:
    """Replays reservations; ``find`` hears of what is wrong, ``now`` numbers the events."""

    def __init__(
        self,
        keys: CounterKeys,
        reserving: Reserving,
        find: Callable[[Rule, str], None],
        now: Callable[[], int],
    ) -> None:
        self._keys = keys
        self._reserving = reserving
        self._find = find
        self._now = now
        self._is_restored = False
        self._past: dict[Name, Timeline] = {}
        """Whether each was OPEN, how it had ended, or None: nobody can know any more."""
        self.start_anew()

    def start_anew(self) -> None:
        """Forget all: the count begins anew, or the store is another one."""
        self.open: dict[int, Promise] = {}
        self.void: set[int] = set()
        self._ended: dict[Name, Ended] = {}
        self._told: dict[Name, str] = {}
        """What clients were told that it came to."""
        self._void_keys: dict[int, set[int]] = {}
        """What the store has: by entry the numbers that it has made void."""
        self._held_keys: dict[int, dict[int, Promise]] = {}
        """What the store has: by block the open reservations of its numbers."""
        for past in self._past.values():
            past.append((self._now(), None))

    def restored(self) -> None:
        """Take it that the store has just the keys that the ledger gives.

        What clients were told of lost ends binds nobody: a person must decide what is true.
        """
        self._is_restored = True
        self._void_keys = {0: set(self.void)}
        for number, promise in self.open.items():
            self._held_keys.setdefault(number // NUMBERS_PER_BLOCK, {})[number] = promise

    # What the ledger says

    def reserved(self, entry: Entry, record: Issued) -> None:
        """Judge a reservation that is made."""
        held, numbers = record.held, record.numbers()
        if held is None:
            return
        request = record.cause.correlation
        if len(numbers) != 1 or held.token != token_of(request):
            self._find(Rule.ASKED, f"entry {entry.index} reserves {numbers} for {held.token}")
        until_ms = entry.time_ms + 1_000 * self._reserving.lasts_s
        if held.until_ms != until_ms:
            said = f"entry {entry.index} reserves {numbers} until {held.until_ms}"
            self._find(Rule.DEADLINE, f"{said}; its series says until {until_ms}")
        self.open[numbers[0]] = Promise(held.token, held.until_ms, entry.index)
        self._became((numbers[0], held.token), OPEN)

    def settled(self, entry: Entry, record: Settled, asked: Asked | None) -> None:
        """Judge the end of a reservation."""
        number, how, name = record.number, record.how, (record.number, record.held.token)
        what = f"entry {entry.index} settles {number} as {how} by {name[1]}"
        promise = self.open.pop(number, None)
        if promise is None or name in self._ended:
            before = self._ended.get(name)
            said = f"it was {before.how} by entry {before.entry}" if before else "it is not open"
            self._find(Rule.ENDS_ONCE, f"{what}; {said}")
            return
        if (promise.token, promise.until_ms) != record.held[:2]:
            self._find(Rule.ENDS_ONCE, f"{what}; its holder has {promise}")
        if promise.entry != record.issued_in:
            self._find(Rule.COMPLETE, f"{what}, made by entry {record.issued_in}: it is {promise}")
        if asked is not None:
            self._check_as_asked(what, record, asked)
        is_over = entry.time_ms >= promise.until_ms
        if how is not How.CANCELLED and is_over != (how is How.EXPIRED):
            self._find(Rule.DEADLINE, f"{what} at {entry.time_ms}; it lasts to {promise.until_ms}")
        should_be_void = self._reserving.voids and how is not How.CONFIRMED
        if record.is_void != should_be_void:
            self._find(Rule.GIVEN_UP, f"{what}, {'void' if record.is_void else 'not void'}")
        if record.is_void:
            self.void.add(number)
        self._ended[name] = Ended(how, entry.index)
        self._became(name, how)

    def _check_as_asked(self, what: str, record: Settled, asked: Asked) -> None:
        wanted = HOW.get(asked.kind)
        may_be = {wanted, How.EXPIRED} if wanted is How.CONFIRMED else {wanted}
        if record.how not in may_be or asked.token != record.held.token:
            self._find(Rule.ASKED, f"{what}; asked was: {asked}")

    def trimmed(self, through: int) -> None:
        """Forget the ends of reservations in entries that are gone."""
        for name in [name for name, ended in self._ended.items() if ended.entry <= through]:
            del self._ended[name]
            self._became(name, None)

    def _became(self, name: Name, state: str | None) -> None:
        self._past.setdefault(name, Timeline([(0, None)])).append((self._now(), state))

    # What the store has

    def hear_keys(self, changes: tuple[tuple[bytes, bytes | None], ...]) -> bool:
        """Take the changes of void numbers and open reservations; tell whether there are any."""
        any_here = False
        for key, value in changes:
            folder = key.removeprefix(self._keys.prefix).partition(b"/")[0]
            if folder == b"void":
                self._hear_voids(number_in(key), value)
                any_here = True
            elif folder == b"held":
                self._hear_block(number_in(key), value or b"[]")
                any_here = True
        return any_here

    def _hear_voids(self, entry: int, content: bytes | None) -> None:
        runs = () if content is None else decode_voids(content).runs
        self._void_keys[entry] = {first + at for first, many in runs for at in range(many)}

    def _hear_block(self, block: int, content: bytes) -> None:
        try:
            holds = decode_holds(content)
        except Unreadable as broken:
            self._find(Rule.COMPLETE, f"a block of reservations is written: {broken}")
            return
        self._held_keys[block] = {
            hold.number: Promise(*hold.held[:2], hold.issued_in) for hold in holds
        }

    def compare(self, revision: int, head: Head) -> None:
        """Complete: keys and head have just what the ledger gives."""
        at = f"at revision {revision}"
        void = [number for some in self._void_keys.values() for number in some]
        if set(void) != self.void or len(void) != len(self.void):
            said = f"void keys are of {sorted(void)}, the ledger gives {sorted(self.void)}"
            self._find(Rule.COMPLETE, f"{at} {said}")
        there: dict[int, Promise] = {}
        for some in self._held_keys.values():
            there |= some
        if there != self.open:
            said = f"the store has the reservations {there}, the ledger gives {self.open}"
            self._find(Rule.COMPLETE, f"{at} {said}")
        counts = (len(self.open), len(self.void))
        if (head.held, head.void) != counts:
            said = f"the head counts {head.held} reserved and {head.void} void numbers"
            self._find(Rule.COMPLETE, f"{at} {said}; there are {counts}")

    # What clients are told

    def told_end(self, asked: Asked, told: Told, since: int) -> bool:
        """Judge what is told of the end of a reservation; False when it has not ended at all."""
        name = (asked.number, asked.token)
        what = f"{told.request} is told {told.numbers} {told.said} of {name}"
        before = self._told.setdefault(name, told.said)
        if before != told.said and not self._is_restored:
            self._find(Rule.ENDS_ONCE, f"{what}; {before} was told before")
        ends = set(self._past.get(name, Timeline()).during(since)) - {None, OPEN}
        if ends and (told.said not in ends or told.numbers != (asked.number,)):
            self._find(Rule.ENDS_ONCE, f"{what}; the ledger has {ends}")
        return bool(ends)

    def was_unknown(self, asked: Asked, since: int) -> bool:
        """Tell whether nothing was known of a reservation at some time since this event."""
        past = self._past.get((asked.number, asked.token))
        return past is None or None in past.during(since)

    def was_open(self, asked: Asked, since: int) -> bool:
        """Tell whether a node asked for its end while a reservation was open."""
        past = self._past.get((asked.number, asked.token), Timeline())
        return asked.kind is Kind.EXPIRE and OPEN in past.during(since)

    def overdue(self, now_ms: int) -> list[int]:
        """Return the numbers whose reservation should have ended by now."""
        return [number for number, promise in self.open.items() if promise.until_ms <= now_ms]
