"""Looks at the whole cluster all the time, so that whoever comes finds its history.

Once a second, twice while anybody watches; and as long as looking takes many times as long, less
often: those who want numbers share the processor. The members of etcd are looked at while watched.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from coordinator.clock import now_ms
from coordinator.faults import CANNOT_READ
from coordinator.jobs.struck import Struck
from coordinator.jobs.upkeep import Upkeep
from coordinator.latencies import Latencies
from coordinator.overview import Installation, Overview
from coordinator.store import StoreError
from coordinator.timeline import MARKERS_MAX, Marker, Point, Seen, Timeline, changes, later

log = logging.getLogger(__name__)

EVERY_S = 1.0
EVERY_WATCHED_S = 0.5
REST, REST_WATCHED = 19.0, 3.0
"""After a look nothing is looked at for so many times as long: 5 % of the time, or a quarter."""

LOOK_WITHIN_S = 3.0
MEMBERS_EVERY_S = 2.0
MEMBERS_UNWELL_EVERY_S = 0.5
"""While one of them does not answer: who watches a failover wants to know when it is over."""

STRUCK_EVERY_S, STRUCK_EVERY_WATCHED_S = 5.0, 0.5
"""The launcher of a demonstration remembers: what is told late has its right time all the same."""


class Sample(NamedTuple):
    """What was seen, and what happened since the sample before that was shown."""

    time_ms: int
    seen: Overview
    turns: dict[str, str]
    markers: tuple[Marker, ...]


class Silence(NamedTuple):
    """Nothing can be seen, since when and why; and what happened nevertheless."""

    since_ms: int
    why: str
    markers: tuple[Marker, ...]


class Audience(Protocol):
    """Those who watch."""

    came: asyncio.Event
    """Set when somebody begins to watch, who should not wait for the next look."""

    @property
    def watching(self) -> bool:
        """Tell whether there is anybody."""

    async def show(self, sample: Sample) -> None:
        """Show what was seen. Raises StoreError or Unreadable when more of it cannot be read."""

    def show_silence(self, silence: Silence) -> None:
        """Show that nothing can be seen."""


class Live:
    """Looks, keeps the history, and shows it to those who watch."""

    def __init__(
        self,
        installation: Installation,
        upkeep: Upkeep,
        latencies: Latencies,
        timeline: Timeline,
        audience: Audience,
        struck: Struck,
    ) -> None:
        self._installation = installation
        self._upkeep = upkeep
        self._latencies = latencies
        self._timeline = timeline
        self._audience = audience
        self._struck = struck
        self._requests = 0
        self._known = Seen()
        self._unshown: deque[Marker] = deque(maxlen=MARKERS_MAX)
        self._silent_since_ms = 0

    async def run(self) -> None:
        """Look until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_looking())
            group.create_task(self._keep_looking_at_members())
            group.create_task(self._keep_asking_what_was_struck())

    async def _keep_looking(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._audience.came.clear()
            began_s = loop.time()
            try:
                await self.look()
            except Exception:
                log.exception("a look at the cluster failed on an error in this program")
            took_s = loop.time() - began_s
            watched = self._audience.watching
            every_s, rest = (EVERY_WATCHED_S, REST_WATCHED) if watched else (EVERY_S, REST)
            await self._pause(max(every_s - took_s, rest * took_s))

    async def _pause(self, pause_s: float) -> None:
        """Wait, and no longer than until somebody comes to watch."""
        try:
            async with asyncio.timeout(pause_s):
                await self._audience.came.wait()
        except TimeoutError:
            pass

    async def look(self) -> None:
        """Look once, and show it if anybody watches."""
        try:
            async with asyncio.timeout(LOOK_WITHIN_S):
                seen = await self._installation.overview()
                self._count(seen)
                watched = self._audience.watching
                turns = await self._installation.turns() if watched else None
                nodes = {node.node: node.instance for node in seen.nodes if node.active}
                self._notice(Seen(nodes=nodes, turns=turns), now_ms())
                if turns is not None:
                    await self._show(seen, turns)
        except (*CANNOT_READ, TimeoutError) as down:
            self._fall_silent(str(down) or f"etcd did not answer within {LOOK_WITHIN_S:g} s")
            return
        if self._silent_since_ms:
            log.info("the cluster can be seen again")
            self._silent_since_ms = 0

    def _count(self, seen: Overview) -> None:
        answered = self._latencies.take()
        self._requests += answered.answers
        heads = [counter.head for counter in seen.counters if counter.head is not None]
        point = Point(
            time_ms=now_ms(),
            highest=max((head.highest for head in heads), default=0),
            issued=sum(head.issued for head in heads),
            released=sum(head.released for head in heads),
            reused=sum(head.reused for head in heads),
            gaps=sum(head.gaps for head in heads),
            held=sum(head.held for head in heads),
            void=sum(head.void for head in heads),
            requests=self._requests,
            p50_us=answered.p50_us,
            p99_us=answered.p99_us,
        )
        self._timeline.add(point)

    async def _show(self, seen: Overview, turns: dict[str, str]) -> None:
        markers = tuple(self._unshown)
        await self._audience.show(Sample(now_ms(), seen, turns, markers))
        self._shown(markers)

    def _fall_silent(self, why: str) -> None:
        if not self._silent_since_ms:
            self._silent_since_ms = now_ms()
            log.info("the cluster cannot be seen just now: %s", why)
        if self._audience.watching:
            markers = tuple(self._unshown)
            self._audience.show_silence(Silence(self._silent_since_ms, why, markers))
            self._shown(markers)

    def _shown(self, markers: Iterable[Marker]) -> None:
        for _ in markers:
            self._unshown.popleft()

    def _notice(self, seen: Seen, time_ms: int) -> None:
        markers = changes(self._known, seen, time_ms)
        self._known = later(self._known, seen)
        self._mark(markers)

    def _mark(self, markers: list[Marker]) -> None:
        self._timeline.mark(markers)
        self._unshown.extend(markers)

    async def _keep_asking_what_was_struck(self) -> None:
        while True:
            try:
                self._mark(await self._struck.news())
            except Exception:
                log.exception("asking what was struck failed on an error in this program")
            watched = self._audience.watching
            await asyncio.sleep(STRUCK_EVERY_WATCHED_S if watched else STRUCK_EVERY_S)

    async def _keep_looking_at_members(self) -> None:
        while True:
            began_ms = now_ms()
            try:
                if self._audience.watching:
                    await self._upkeep.look()
            except StoreError as down:
                log.debug("the members of etcd cannot be seen just now: %s", down)
            except Exception:
                log.exception("a look at etcd's members failed on an error in this program")
            members = self._upkeep.space.members
            # While a leader is elected none of them can say anything, though all may be well.
            if any(member is not None for member in members.values()):
                leads = (url for url, m in members.items() if m is not None and m.is_leader)
                answering = {url: member is not None for url, member in members.items()}
                self._notice(Seen(members=answering, leader=next(leads, None)), began_ms)
            all_are_well = None not in members.values()
            await asyncio.sleep(MEMBERS_EVERY_S if all_are_well else MEMBERS_UNWELL_EVERY_S)
