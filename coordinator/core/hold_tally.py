"""What reservations should be, in a simple model that shares nothing with plan or apply.

A reservation is settled once, by who knows its token, and a void number never goes out again. Which
numbers are issued and free is the business of ``coordinator.core.tally``.
"""

from collections.abc import Iterator

from coordinator.core.breaks import Break, Findings
from coordinator.core.head import Head
from coordinator.core.holds import NUMBERS_PER_BLOCK, Hold, encode_holds
from coordinator.core.links import Link, Lost
from coordinator.core.marks import Mark, Voids, encode_voids
from coordinator.core.records import (
    Closed,
    Imported,
    Issued,
    Passed,
    Record,
    Released,
    Restarted,
    Settled,
    Voided,
    voids_of,
)


class HoldTally:
    """Open reservations and void numbers, replayed entry by entry."""

    def __init__(self, lost: Lost, findings: Findings) -> None:
        self._lost = lost
        self._findings = findings
        self._place = 0
        self.open: dict[int, Hold] = {}
        self._void: dict[int, Voids] = {}
        """What each entry has made void."""
        self._void_numbers: set[int] = set()
        """Those of them that had been in use."""
        self._is_closed = False
        self._trimmed = 0
        self._old_open = 0
        """How many of the reservations that trimmed entries have made are still open."""
        self._old_void = 0

    def begin_at(self, head: Head) -> None:
        """Begin after the trimmed entries, which come to this head.

        Which numbers they have reserved is seen when these are settled, or by their keys.
        """
        self._trimmed, self._is_closed = head.index, head.closed > 0
        self._old_open, self._old_void = head.held, head.void

    def compare_old(self, held: int, void: int) -> None:
        """Tell when the store has more or fewer of trimmed entries than the checkpoint counts."""
        if self._lost:
            return
        kinds = ("open reservations", self._old_open, held), ("void numbers", self._old_void, void)
        for name, counted, there in kinds:
            if counted != there:
                kind = Break.MISSING_KEY if there < counted else Break.STRAY_KEY
                said = f"trimmed entries leave {counted} {name}, the store has {there} of theirs"
                self._findings.add(kind, self._place, None, said)

    def replay(self, link: Link) -> None:
        """Take what the next entry says."""
        self._place = link.place
        entry = link.entry
        for record in entry.records:
            self._take(record, Mark(entry.index, entry.time_ms))
            if not isinstance(record, Issued) and (runs := voids_of(record)):
                earlier = self._void.get(entry.index, Voids(entry.time_ms, ()))
                self._void[entry.index] = earlier._replace(runs=(*earlier.runs, *runs))

    def _take(self, record: Record, here: Mark) -> None:
        match record:
            case Issued() | Passed() | Imported():
                self._go_out(record, here)
            case Settled():
                self._settle(record)
            case Released(_, number):
                self._check_use(Break.FALSE_RELEASE, number)
            case Voided(_, number):
                self._check_use(Break.FALSE_VOID, number)
                self._void_numbers.add(number)
            case Closed():
                if self.open:
                    said = f"closed while {len(self.open)} reservations are open"
                    self._found(Break.FALSE_CLOSE, min(self.open), said)
                self._is_closed = True
            case Restarted():
                self.open.clear()
                self._void.clear()
                self._void_numbers.clear()
                self._is_closed = False
                self._old_open = self._old_void = 0

    def _go_out(self, record: Issued | Passed | Imported, here: Mark) -> None:
        number = record.spans()[0].start if isinstance(record, Issued) else record.first
        if self._is_closed:
            self._found(Break.FALSE_CLOSE, number, "it went out after the close")
        if isinstance(record, Issued) and record.held:
            self.open[number] = Hold(number, here.entry, record.held)

    def _check_use(self, kind: Break, number: int) -> None:
        if number in self.open:
            self._found(kind, number, "it is reserved")
        elif number in self._void_numbers:
            self._found(kind, number, "it is void")

    def _settle(self, record: Settled) -> None:
        number, hold = record.number, self.open.pop(record.number, None)
        if hold is None and record.issued_in <= self._trimmed and self._old_open:
            self._old_open -= 1
        elif hold is None:
            if not self._lost:
                self._found(Break.FALSE_SETTLEMENT, number, "no reservation of it is open")
        elif (hold.issued_in, hold.held) != (record.issued_in, record.held):
            said = f"it names the reservation of entry {record.issued_in}"
            said += f" until {record.held.until_ms} ms; entry {hold.issued_in} made it"
            self._found(Break.FALSE_SETTLEMENT, number, f"{said} until {hold.held.until_ms} ms")
        if record.is_void:
            self._void_numbers.add(number)

    def values(self) -> Iterator[tuple[str, int, bytes]]:
        """Yield what should stand in the store: folder, entry or block, value."""
        for index, voids in self._void.items():
            yield "void", index, encode_voids(voids)
        blocks: dict[int, list[Hold]] = {}
        for number in sorted(self.open):
            blocks.setdefault(number // NUMBERS_PER_BLOCK, []).append(self.open[number])
        for block, holds in blocks.items():
            yield "held", block, encode_holds(holds)

    def _found(self, kind: Break, number: int, detail: str) -> None:
        self._findings.add(kind, self._place, number, detail)
