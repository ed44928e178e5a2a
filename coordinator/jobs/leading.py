"""Which member leads etcd, asked of every member itself and often: for the moment it changes."""

import asyncio
import time
from typing import NamedTuple

from coordinator.store import StoreError
from coordinator.store.members import Members

CALM_S, KEEN_S = 0.2, 0.02
ASK_S_MAX = 0.5


class LeaderSeen(NamedTuple):
    """A leader, when it was first seen (monotonic seconds), and the term it leads in."""

    at_s: float
    url: str
    term: int


class LeaderWatch:
    """Looks at every member. ``keen`` is set while every millisecond counts."""

    def __init__(self, members: Members, urls: tuple[str, ...]) -> None:
        self._members = members
        self._urls = tuple(url.rstrip("/") for url in urls)
        self.keen = asyncio.Event()
        self.seen: list[LeaderSeen] = []

    @property
    def leader(self) -> LeaderSeen | None:
        """Return who leads, as last seen."""
        return self.seen[-1] if self.seen else None

    def before(self, at_s: float) -> LeaderSeen | None:
        """Return who led at a moment, as far as was seen."""
        return next((each for each in reversed(self.seen) if each.at_s <= at_s), None)

    def after(self, at_s: float) -> LeaderSeen | None:
        """Return the first leader that came after a moment."""
        return next((each for each in self.seen if each.at_s > at_s), None)

    async def run(self) -> None:
        """Look until cancelled."""
        await asyncio.gather(*map(self._watch, self._urls))

    async def _watch(self, url: str) -> None:
        while True:
            try:
                async with asyncio.timeout(ASK_S_MAX):
                    member = await self._members.look_at(url)
                if member.is_leader and member.term > (self.leader.term if self.leader else 0):
                    self.seen.append(LeaderSeen(time.monotonic(), url, member.term))
            except (StoreError, TimeoutError):
                pass
            if self.keen.is_set():
                await asyncio.sleep(KEEN_S)
                continue
            try:
                await asyncio.wait_for(self.keen.wait(), CALM_S)
            except TimeoutError:
                continue


async def leader_of(members: Members, urls: tuple[str, ...]) -> str | None:
    """Return the address of the member that leads now, as it says itself."""

    async def term(url: str) -> tuple[int, str]:
        try:
            async with asyncio.timeout(ASK_S_MAX):
                member = await members.look_at(url)
        except (StoreError, TimeoutError):
            return 0, url
        return (member.term if member.is_leader else 0), url

    newest, leader = max(await asyncio.gather(*(term(url.rstrip("/")) for url in urls)))
    return leader if newest else None
