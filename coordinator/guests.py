"""Batches that other nodes have handed in: they are planned and committed among one's own."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence

from coordinator.core.forwarding import Forward, Report
from coordinator.core.head import Head
from coordinator.core.keys import number_in
from coordinator.core.records import Part
from coordinator.core.requests import NeedsEntries, NeedsHolder, Refused, Reply
from coordinator.core.state import CounterState
from coordinator.core.transaction import KeyValue
from coordinator.expected import HOLDER_WAITS_S
from coordinator.service import OutcomeUnknown, Overloaded, StoreDown

GUESTS_MAX = 64
"""More nodes than ever share a counter."""

RUNS_MET_MAX = 1_024

RECENT_MAX = 16
RECENT_BYTES_MAX = 256 * 1024
"""The newest entries are kept at hand: who handed a batch in has seen all but a few of them."""


class Guest:
    """A batch of another node, with the future that brings its outcome.

    ``proven_tip`` is what the store has as the hash of the entry that its sender has seen; None
    when that was not read.
    """

    __slots__ = ("forward", "proven_tip", "reply")

    def __init__(self, forward: Forward, proven_tip: str | None) -> None:
        self.forward = forward
        self.proven_tip = proven_tip
        self.reply: asyncio.Future[Report] = asyncio.get_running_loop().create_future()


class _Pace:
    """How soon the next batch of a run comes after it was told the outcome of one."""

    __slots__ = ("returns_in_s", "told_s")

    def __init__(self) -> None:
        self.told_s = float("-inf")
        self.returns_in_s = float("inf")


class RunsMet:
    """The latest serial of each run of a node that has handed in a batch."""

    def __init__(self) -> None:
        self._latest: OrderedDict[str, int] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._latest)

    def latest(self, run: str) -> int:
        """Return it; 0 for a run that was never met."""
        return self._latest.get(run, 0)

    def meet(self, run: str, serial: int) -> None:
        """Remember a serial, and forget the run met longest ago when there are too many."""
        self._latest[run] = max(serial, self.latest(run))
        self._latest.move_to_end(run)
        if len(self._latest) > RUNS_MET_MAX:
            self._latest.popitem(last=False)

    def tell(self, other: "RunsMet") -> None:
        """Have another one remember all of them."""
        for run, serial in self._latest.items():
            other.meet(run, serial)


class Guests:
    """Who waits of them, one batch of each run at most.

    ``met_before`` are the runs met for counters that were forgotten since, perhaps this one.
    """

    def __init__(self, met_before: RunsMet) -> None:
        self._waiting: dict[str, Guest] = {}
        self._recent: deque[tuple[int, str, KeyValue]] = deque()  # with the hash before it
        self._recent_bytes = 0
        self._paces: OrderedDict[str, _Pace] = OrderedDict()
        self._met = RunsMet()
        self._met_before = met_before

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def meet(self, part: Part) -> None:
        """Take each batch once, however often it comes: so to decline it is a promise.

        Raises OutcomeUnknown for one that came before.
        """
        run = part.instance
        if part.serial <= max(self._met.latest(run), self._met_before.latest(run)):
            raise OutcomeUnknown("this batch has come before")
        self._met.meet(run, part.serial)
        pace = self._paces.setdefault(run, _Pace())
        pace.returns_in_s = asyncio.get_running_loop().time() - pace.told_s
        self._paces.move_to_end(run)
        if len(self._paces) > RUNS_MET_MAX:
            self._paces.popitem(last=False)

    def retire(self) -> None:
        """Keep the promise of ``meet`` when the counter is forgotten."""
        self._met.tell(self._met_before)

    def told(self, guests: Iterable[Guest]) -> int:
        """Note that these know their outcome; return how many of them return at once, as before."""
        now_s, busy = asyncio.get_running_loop().time(), 0
        for guest in guests:
            pace = self._paces.get(guest.forward.part.instance)
            if pace is not None:
                pace.told_s = now_s
                busy += pace.returns_in_s < HOLDER_WAITS_S
        return busy

    def admit(self, forward: Forward, proven_tip: str | None) -> asyncio.Future[Report]:
        """Let a batch wait. The future may also bring NotServed or OutcomeUnknown.

        Raises Overloaded.
        """
        run = forward.part.instance
        older = self._waiting.pop(run, None)
        if older is not None:  # its sender has given it up
            decline([older], "a newer batch of the same run has come")
        if len(self._waiting) >= GUESTS_MAX:
            raise Overloaded(f"{GUESTS_MAX} other nodes wait already")
        guest = Guest(forward, proven_tip)
        self._waiting[run] = guest
        return guest.reply

    def take(self, state: CounterState) -> list[Guest]:
        """Return those that may still come true, in the order in which they came."""
        guests = [guest for guest in self._waiting.values() if not guest.reply.done()]
        self._waiting.clear()
        return [guest for guest in guests if self._is_open(guest, state)]

    def _is_open(self, guest: Guest, state: CounterState) -> bool:
        part, seen, tip, _ = guest.forward
        known = self.tip_of(seen, state.head) or guest.proven_tip
        if seen > state.head.index or known != tip:
            decline([guest], f"entry {seen} is not the one that it has seen")
            return False
        if not state.has_nothing_newer_of(part.instance, seen):
            decline([guest], "its run has gone on since, or may have")
            return False
        return True

    def put_back(self, guests: Sequence[Guest]) -> None:
        """Let them wait for the next plan; but not those that a newer batch has replaced."""
        for guest in guests:
            if self._waiting.setdefault(guest.forward.part.instance, guest) is not guest:
                decline([guest], "a newer batch of the same run has come")

    def decline_all(self, why: str) -> None:
        """Send all away: for certain nothing of theirs was or will be committed."""
        decline(list(self._waiting.values()), why)
        self._waiting.clear()

    def committed(self, entry: KeyValue, previous: str) -> None:
        """Keep an entry at hand, for those who hand in batches."""
        if not self._met:
            return
        recent = self._recent
        index = number_in(entry.key)
        if recent and recent[-1][0] + 1 != index:
            self.overtaken()  # the turn was elsewhere meanwhile
        recent.append((index, previous, entry))
        self._recent_bytes += len(entry.value)
        while len(recent) > RECENT_MAX or (
            len(recent) > 1 and self._recent_bytes > RECENT_BYTES_MAX
        ):
            self._recent_bytes -= len(recent.popleft()[2].value)

    def overtaken(self) -> None:
        """Let go of the entries: others follow now that are not among them."""
        self._recent.clear()
        self._recent_bytes = 0

    def recent(self, after: int) -> tuple[KeyValue, ...]:
        """Return the entries after this one, as far as they are at hand."""
        return tuple(entry for index, _, entry in self._recent if index > after)

    def tip_of(self, index: int, head: Head) -> str | None:
        """Return the hash of an entry, if it is known without reading."""
        if index == head.index:
            return head.tip
        return next((tip for follower, tip, _ in self._recent if follower == index + 1), None)


def decline(guests: Sequence[Guest], why: str) -> None:
    """Tell that nothing of these batches was or will be committed here."""
    fail(guests, StoreDown(why))


def fail(guests: Sequence[Guest], error: Exception) -> None:
    """Tell an error."""
    for guest in guests:
        if not guest.reply.done():
            guest.reply.set_exception(error)


def report_on(replies: Sequence[Reply], found: tuple[tuple[KeyValue, ...], ...]) -> Report:
    """Return what to tell of a batch whose first requests got these replies."""
    refused = [(at, reply) for at, reply in enumerate(replies) if isinstance(reply, Refused)]
    unproven: list[tuple[int, tuple[int, ...]]] = []
    for at, reply in enumerate(replies):
        match reply:
            case NeedsHolder():
                unproven.append((at, ()))
            case NeedsEntries(indexes):
                unproven.append((at, indexes))
    return Report(found, tuple(refused), tuple(unproven))
