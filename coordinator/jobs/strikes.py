"""What was struck while a load ran, and what came after it, in milliseconds from the strike."""

import asyncio
import math
import time
from dataclasses import dataclass, field
from typing import Any

from coordinator.jobs.control import Control, ControlSilent, Event, Process
from coordinator.jobs.leading import LeaderWatch
from coordinator.jobs.timeline import Heard, callers_at, first_after

LOOK_S = 0.05
KEEN_S_MAX = 15.0
STRIKES_MAX = 100
NEW_LEADER = "new etcd leader"
_STRIKES = {"kill", "stop", "pause"}
_SEEN = {"ended": "ended", "started": "started again", "resumed": "goes on again"}


@dataclass
class Strike:
    """One process that was taken away; ``marks`` are what came after, with the time it took."""

    event: Event
    was_leader: bool
    callers: frozenset[int]
    marks: dict[str, float] = field(default_factory=dict)
    back_s: float | None = None
    """When its process was started, or went on, again."""
    gone_s: float | None = None
    """From when on nobody can be served by it: one that is told to stop serves to its end."""

    def mark(self, what: str, at_s: float) -> None:
        """Write down when something happened first."""
        self.marks.setdefault(what, at_s)


class Strikes:
    """Follows the launcher's events, the leader of etcd and the successes of a load."""

    def __init__(self, control: Control, leading: LeaderWatch, heard: Heard) -> None:
        self._control = control
        self._leading = leading
        self._heard = heard
        self._strikes: list[Strike] = []
        self._processes: tuple[Process, ...] = ()
        self._serial: int | None = None

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Take in what has happened since the last look."""
        if self._control.configured:
            try:
                seen = await self._control.look()
            except ControlSilent:
                pass  # it is asked again at once, and tells then what has happened meanwhile
            else:
                self._processes = seen.processes
                newest = max((event.serial for event in seen.events), default=0)
                known = newest if self._serial is None else self._serial
                self._serial = newest
                for event in seen.events:
                    if event.serial > known:
                        self._take(event)
        self._complete()

    def url_of(self, name: str) -> str | None:
        """Return the address of a process."""
        return next((each.url for each in self._processes if each.name == name), None)

    def name_of(self, url: str) -> str:
        """Return the name of a process by its address; the address where it is not known."""
        return next((each.name for each in self._processes if each.url == url), url)

    def _take(self, event: Event) -> None:
        if event.what in _STRIKES and len(self._strikes) < STRIKES_MAX:
            leader = self._leading.before(event.at_s)
            self._strikes.append(
                Strike(
                    event,
                    leader is not None and leader.url == self.url_of(event.name),
                    callers_at(self._heard.successes, event.name, event.at_s),
                    gone_s=None if event.what == "stop" else event.at_s,
                )
            )
        elif event.what in _SEEN:
            for strike in reversed(self._strikes):
                if strike.event.name == event.name:
                    strike.mark(f"{event.name} {_SEEN[event.what]}", event.at_s)
                    if event.what == "ended" and strike.gone_s is None:
                        strike.gone_s = event.at_s
                    if event.what != "ended" and strike.back_s is None:
                        strike.back_s = event.at_s
                    break

    def _complete(self) -> None:
        """Look for what each strike still waits for."""
        keen = False
        for strike in self._strikes:
            event = strike.event
            self._find_successes(strike)
            if strike.was_leader:
                leader = self._leading.after(event.at_s)
                if leader is not None:
                    at_s = min(leader.at_s, _led_by_s(strike))
                    strike.mark(f"{NEW_LEADER}: {self.name_of(leader.url)}", at_s)
                keen |= leader is None and time.monotonic() < event.at_s + KEEN_S_MAX
        if keen:
            self._leading.keen.set()
        else:
            self._leading.keen.clear()

    def _find_successes(self, strike: Strike) -> None:
        event, heard = strike.event, self._heard.successes
        if strike.gone_s is None:
            return
        names = ["first success"]
        if event.kind == "node" and strike.callers:
            names.append(f"first success of a caller of {event.name}")
        if strike.back_s is not None and event.kind == "node":
            names.append(f"{event.name} serves again")
        for what in names:
            if what in strike.marks:
                continue
            callers = strike.callers if what.startswith("first success of") else None
            again = what.endswith("serves again")
            since_s = strike.back_s if again and strike.back_s is not None else strike.gone_s
            first = first_after(heard, since_s, event.name if again else None, callers)
            if first is not None:
                strike.mark(what, first.ended_s)

    def shown(self, began_s: float) -> list[dict[str, Any]]:
        """Return all strikes for a person; times in milliseconds, ``atMs`` since the beginning."""
        return [
            {
                "name": strike.event.name,
                "kind": strike.event.kind,
                "action": strike.event.what,
                "atMs": _ms(strike.event.at_s - began_s),
                "wasLeader": strike.was_leader,
                "firstSuccessMs": _after(strike, "first success"),
                "newLeaderMs": next(
                    (
                        _ms(at_s - strike.event.at_s)
                        for what, at_s in strike.marks.items()
                        if what.startswith(NEW_LEADER)
                    ),
                    None,
                ),
                "marks": [
                    {"what": what, "afterMs": _ms(at_s - strike.event.at_s)}
                    for what, at_s in _in_order(strike)
                ],
            }
            for strike in self._strikes
        ]


def _in_order(strike: Strike) -> list[tuple[str, float]]:
    """Return the marks by time; a leader comes before whom it lets be served."""
    return sorted(strike.marks.items(), key=lambda m: (m[1], not m[0].startswith(NEW_LEADER)))


def _led_by_s(strike: Strike) -> float:
    """Return when there must have been a new leader: who is served shows that there is one.

    A leader that is stopped may still serve while it hands over.
    """
    served_s = strike.marks.get("first success")
    return math.inf if served_s is None or strike.event.what == "stop" else served_s


def _after(strike: Strike, what: str) -> int | None:
    at_s = strike.marks.get(what)
    return None if at_s is None else _ms(at_s - strike.event.at_s)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
