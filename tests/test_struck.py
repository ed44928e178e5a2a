"""What the launcher did to processes becomes markers: each once, with its time and name."""

import time
from itertools import count

import pytest

from coordinator.clock import now_ms
from coordinator.jobs.control import Control, ControlSilent, Event, Seen
from coordinator.jobs.struck import Struck, happened
from coordinator.timeline import Marker, Timeline


def events(*said: str, first: int = 1) -> list[Event]:
    """Return events from words like ``node-1 kill``, one a second until now."""
    serials = count(first)
    began_s = time.monotonic() - len(said)
    return [
        Event(serial, began_s + serial - first, name, "node", what)
        for serial, (name, what) in zip(serials, (each.split() for each in said), strict=False)
    ]


def kinds(*said: str, first: int = 1) -> list[str]:
    return [f"{event.name} {kind}" for event, kind in happened(events(*said, first=first))]


def test_an_end_that_was_asked_for_is_no_death() -> None:
    assert kinds("n kill", "n ended", "n started") == ["n killed"]
    assert kinds("n stop", "n ended", "n restart", "n started") == ["n stopped", "n restarted"]
    assert kinds("n restart", "n ended", "n started", "n ended") == ["n restarted", "n died"]
    assert kinds("n pause", "n resumed", "n ended") == ["n paused", "n resumed", "n died"]
    assert kinds("n kill", "m ended", "n ended") == ["n killed", "m died"]


def test_an_end_whose_reason_is_forgotten_is_left_out() -> None:
    assert kinds("n ended", "n started", "n ended", first=7) == ["n died"]
    assert kinds("n ended") == ["n died"]


class Launcher(Control):
    """A launcher that says what a test gives it; ``None``: it is silent."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1", "")
        self.says: list[Event] | None = []

    async def look(self) -> Seen:
        if self.says is None:
            raise ControlSilent("away")
        return Seen((), tuple(self.says))


async def test_each_is_told_once_with_the_time_it_happened() -> None:
    launcher = Launcher()
    struck = Struck(launcher)
    launcher.says = events("n kill", "n ended", "n started", "m pause")
    first, second = await struck.news()
    assert (first.kind, first.who, second.kind, second.who) == ("killed", "n", "paused", "m")
    assert first.time_ms == pytest.approx(now_ms() - 4_000, abs=500)
    assert second.time_ms == pytest.approx(now_ms() - 1_000, abs=500)
    assert await struck.news() == []
    launcher.says = None
    assert await struck.news() == []
    launcher.says = events("n kill", "n ended", "n started", "m pause", "m resumed")
    assert [marker.kind for marker in await struck.news()] == ["resumed"]
    launcher.says = events("n stop")  # the launcher was started anew
    assert [marker.kind for marker in await struck.news()] == ["stopped"]


def test_what_is_told_late_stands_in_its_place() -> None:
    history = Timeline()
    history.mark([Marker(2_000, "node-gone", "n")])
    history.mark([Marker(1_000, "killed", "n"), Marker(3_000, "node-came", "n")])
    assert [marker.time_ms for marker in history.happened(0, 9_999)] == [1_000, 2_000, 3_000]
