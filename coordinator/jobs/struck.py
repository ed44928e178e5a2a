"""What the launcher has done to processes, or seen them do, as markers of the history.

A process that is struck and back within a second is missed by those who only look at who is there.
The launcher misses nothing, keeps its newest events, and tells them to every node that asks.
"""

import time
from collections.abc import Sequence

from coordinator.clock import now_ms
from coordinator.jobs.control import Control, ControlRefused, ControlSilent, Event
from coordinator.timeline import Marker

DONE = {
    "kill": "killed",
    "stop": "stopped",
    "pause": "paused",
    "restart": "restarted",
    "resumed": "resumed",
}
DIED = "died"
_ENDING = {"kill", "stop", "restart"}


class Struck:
    """Follows the launcher's events for one node."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._serial = 0

    async def news(self) -> list[Marker]:
        """Return what happened since the last call; nothing while the launcher cannot be asked.

        The first call returns all that the launcher remembers, also from before this node started.
        """
        if not self._control.configured:
            return []
        try:
            events = (await self._control.look()).events
        except (ControlSilent, ControlRefused):
            return []  # it tells the next time what has happened meanwhile
        began_ms = now_ms() - time.monotonic() * 1000
        newest = events[-1].serial if events else 0
        known = self._serial if newest >= self._serial else 0  # less: another run of the launcher
        self._serial = newest
        return [
            Marker(round(began_ms + event.at_s * 1000), kind, event.name)
            for event, kind in happened(events)
            if event.serial > known
        ]


def happened(events: Sequence[Event]) -> list[tuple[Event, str]]:
    """Return the events that are worth a marker, with its kind.

    An end that was asked for is told by what was asked; any other is a death. Of the first end of a
    process whose earlier events are forgotten nobody knows which it is: it is left out.
    """
    told: list[tuple[Event, str]] = []
    is_whole = not events or events[0].serial == 1
    known: set[str] = set()
    asked: set[str] = set()
    for event in events:
        if event.what in DONE:
            told.append((event, DONE[event.what]))
        if event.what == "ended" and event.name not in asked and (is_whole or event.name in known):
            told.append((event, DIED))
        if event.what in _ENDING:
            asked.add(event.name)
        else:
            asked.discard(event.name)
        known.add(event.name)
    return told
