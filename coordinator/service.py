"""What a sequencer promises: its bounds, and errors named by what the caller should do."""

from collections.abc import Callable
from typing import NamedTuple

from coordinator.core.records import Entry, Latency
from coordinator.core.requests import Done, Refused

Answer = Done | Refused


class Node(NamedTuple):
    """Who this process is: its configured name, and a name for this run of it."""

    node: str
    instance: str


class Bounds(NamedTuple):
    """How much may wait, and how long."""

    queue_max: int = 20_000
    deadline_s: float = 10.0


class NotServed(Exception):
    """For certain nothing was allocated or changed; asking again is safe."""


class Overloaded(NotServed):
    """The queue is full."""


class TooLate(NotServed):
    """The deadline passed while the request was still waiting for its turn."""


class StoreDown(NotServed):
    """The deadline passed, or the request was refused, because the store cannot serve."""


class OutcomeUnknown(Exception):
    """The deadline passed while the commit was in doubt: it may or may not come to be."""


class Watcher(NamedTuple):
    """What a sequencer tells its surroundings: for metrics, never for decisions."""

    answered: Callable[[list[int]], None]  # microseconds from arrival to answer
    committed: Callable[[Entry, int], None]  # an entry, and which part of it is this node's
    lost_compare: Callable[[], None]
    handed_over: Callable[[], None]  # a batch, served by the node with the turn


class AnswerTimes:
    """How long answers took since the last entry of this run: its next one records it."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._serial = 0
        self.since = Latency()

    def answered(self, waits_us: list[int]) -> None:
        """Take answers that were given, by how long their requests had waited."""
        answers, total_us, peak_us = self.since
        self.since = Latency(
            answers + len(waits_us), total_us + sum(waits_us), max(peak_us, *waits_us)
        )
        self._watcher.answered(waits_us)

    def committed(self, entry: Entry, part: int) -> None:
        """Take an entry with a part of this run, which has recorded what was known before."""
        serial = entry.parts[part].serial
        if serial > self._serial:  # else it was found once more, after a lost reply
            self._serial = serial
            self.since = Latency()
            self._watcher.committed(entry, part)
