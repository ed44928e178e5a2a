"""What a node does by itself about reservations: it ends those whose time is over."""

import asyncio
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any

from coordinator.core.catalogue import GapPolicy, Series
from coordinator.core.holds import Holds
from coordinator.core.requests import Instant
from simulation.events import Asked, Event, Kind
from simulation.settings import Reserving, Settings

EXPIRED_AT_ONCE = 8
SITE = "no-site"
"""Who has reserved does not matter to who ends it."""


def series_of(settings: Settings) -> Series:
    """Return the series of the one counter in a run."""
    reserving = settings.reserving
    return Series(
        "COR",
        "{PREFIX}-{SEQ:5}",
        "COR",
        start=settings.start,
        max_value=settings.start + settings.series_length - 1,
        gap_policy=GapPolicy.VOID if reserving.voids else GapPolicy.REUSE,
        reservation_s=reserving.lasts_s,
    )


class Expiry:
    """Looks again and again, and asks its own node to end what is due. Runs in the process."""

    def __init__(
        self,
        reserving: Reserving,
        holds: Callable[[], Holds],
        now: Callable[[], Instant],
        observe: Callable[[Event], None],
        serve: Callable[[Asked], Coroutine[Any, Any, None]],
    ) -> None:
        self._reserving = reserving
        self._holds = holds
        self._now = now
        self._observe = observe
        self._serve = serve
        self._serial = count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_on = False

    @property
    def is_busy(self) -> bool:
        """Tell whether it waits for an answer."""
        return bool(self._tasks)

    def start(self, node: str, run: str) -> None:
        """Begin, if there are reservations at all."""
        self._is_on = self._reserving.reservations > 0
        if self._is_on:
            self._look_later(node, run)

    def stop(self) -> None:
        """Look no more."""
        self._is_on = False

    def _look(self, node: str, run: str) -> None:
        if not self._is_on:
            return
        loop = asyncio.get_running_loop()
        if not self._tasks:
            now_ms = self._now().wall_ms + self._reserving.hasty_ms
            for hold in self._holds().due(now_ms, EXPIRED_AT_ONCE):
                name = f"expiry-{run}-{next(self._serial)}"
                number, token = hold.number, hold.held.token
                asked = Asked(name, node, Kind.EXPIRE, SITE, number=number, token=token)
                self._observe(asked)
                task = loop.create_task(self._serve(asked))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        self._look_later(node, run)

    def _look_later(self, node: str, run: str) -> None:
        every_s = self._reserving.expires_every_ms / 1_000
        asyncio.get_running_loop().call_later(every_s, self._look, node, run)
