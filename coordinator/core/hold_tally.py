"""What reservations should be, in a simple model that shares nothing with plan or apply.

A reservation is settled once, by who knows its token, and a void number never goes out again. Which
numbers are issued and free is the business of ``coordinator.core.tally``.
"""

from collections.abc import Iterator

from coordinator.core.breaks import Break, Findings
from coordinator.core.holds import NUMBERS_PER_BLOCK, Hold, encode_holds
from coordinator.core.links import Link, Lost
from coordinator.core.marks import Mark, encode_mark
from coordinator.core.records import Issued, Record, Released, Restarted, Settled


class HoldTally:
    """Open reservations and void numbers, replayed entry by entry."""

    def __init__(self, lost: Lost, findings: Findings) -> None:
        self._lost = lost
        self._findings = findings
        self._place = 0
        self.open: dict[int, Hold] = {}
        self.void: dict[int, Mark] = {}

    def replay(self, link: Link) -> None:
        """Take what the next entry says."""
        self._place = link.place
        for record in link.entry.records:
            self._take(record, Mark(link.entry.index, link.entry.time_ms))

    def _take(self, record: Record, here: Mark) -> None:
        match record:
            case Issued(held=held):
                for number in (n for run in record.reused for n in run.numbers):
                    if number in self.void:
                        self._found(Break.DUPLICATE, number, "it is void, and issued again")
                if held:
                    number = record.spans()[0].start
                    self.open[number] = Hold(number, here.entry, held)
            case Settled():
                self._settle(record, here)
            case Released(_, number):
                if number in self.open:
                    self._found(Break.FALSE_RELEASE, number, "it is reserved")
                elif number in self.void:
                    self._found(Break.FALSE_RELEASE, number, "it is void")
            case Restarted():
                self.open.clear()
                self.void.clear()

    def _settle(self, record: Settled, here: Mark) -> None:
        number, hold = record.number, self.open.pop(record.number, None)
        if hold is None:
            if not self._lost:
                self._found(Break.FALSE_SETTLEMENT, number, "no reservation of it is open")
        elif (hold.issued_in, hold.held) != (record.issued_in, record.held):
            said = f"it names the reservation of entry {record.issued_in}"
            said += f" until {record.held.until_ms} ms; entry {hold.issued_in} made it"
            self._found(Break.FALSE_SETTLEMENT, number, f"{said} until {hold.held.until_ms} ms")
        if record.is_void:
            self.void[number] = here

    def values(self) -> Iterator[tuple[str, int, bytes]]:
        """Yield what should stand in the store: folder, number or block, value."""
        for number in sorted(self.void):
            yield "void", number, encode_mark(self.void[number])
        blocks: dict[int, list[Hold]] = {}
        for number in sorted(self.open):
            blocks.setdefault(number // NUMBERS_PER_BLOCK, []).append(self.open[number])
        for block, holds in blocks.items():
            yield "held", block, encode_holds(holds)

    def _found(self, kind: Break, number: int, detail: str) -> None:
        self._findings.add(kind, self._place, number, detail)
