"""Keep etcd's database small: compaction, and defragmentation of one member after the other.

Every node watches the members; the one that has the role does the work. The role (``jobs.role``)
only spares work: two nodes at it at once would do no harm but to speed.
"""

import asyncio
import logging
from typing import NamedTuple

from coordinator.config import Settings
from coordinator.core.keys import Keys
from coordinator.core.transaction import Range
from coordinator.jobs.role import Role
from coordinator.store import Compacted, Store, StoreError, Unavailable
from coordinator.store.members import DEFRAGMENT_S_MAX, Member, Members

log = logging.getLogger(__name__)

FREE_SHARE_MIN = 0.5
"""Share of a database that must be free before it is worth the pause."""

BYTES_MIN = 64 * 2**20
"""A smaller database is left alone."""

BACK_WITHIN_S = 60.0
"""How long a defragmented member may take to catch up, before the round ends."""

ROLE_MS_MIN = int(1_000 * (DEFRAGMENT_S_MAX + BACK_WITHIN_S)) + 60_000
QUOTA_WARNING_SHARE = 0.8
LOOK_EVERY_S = 15.0
PAUSE_S = 0.2


class Space(NamedTuple):
    """The members as last seen, and what an operator must know about their space."""

    members: dict[str, Member | None]
    warnings: tuple[str, ...]


class Upkeep:
    """Watches the members of etcd, and while this node has the role, tends them."""

    def __init__(
        self,
        store: Store,
        members: Members,
        keys: Keys,
        settings: Settings,
        bytes_min: int = BYTES_MIN,
    ) -> None:
        self._store = store
        self._members = members
        self._keys = keys
        self._settings = settings
        self._bytes_min = bytes_min
        # Longer than from one round to the next, and than one member may take: it is renewed then.
        lasts_ms = int(2_000 * settings.upkeep_every_s) + ROLE_MS_MIN
        self._role = Role(store, keys.upkeep, settings.node_id, lasts_ms)
        self.space = Space({}, ())

    async def run(self) -> None:
        """Look often, tend every ``upkeep_every_s`` seconds, until cancelled."""
        every_s = self._settings.upkeep_every_s
        loop = asyncio.get_running_loop()
        due = loop.time() + every_s
        while True:
            try:
                await self.look()
                if every_s and loop.time() >= due:
                    due = loop.time() + every_s
                    await self.tend()
            except StoreError as down:
                log.info("upkeep of etcd is put off: %s", down)
            except Exception:
                log.exception("upkeep of etcd failed on an error in this program; it goes on")
            await asyncio.sleep(min(LOOK_EVERY_S, every_s or LOOK_EVERY_S))

    def close(self) -> None:
        """Let go of all connections."""
        self._members.close()

    async def look(self) -> None:
        """See how the members are. Raises Unavailable when none answers."""
        members = await self._members.look()
        answering = [member for member in members.values() if member is not None]
        if not answering:
            self.space = Space(members, ())
            raise Unavailable("no member of etcd answers")
        warnings = [
            f"etcd has raised the alarm {alarm}."
            for alarm in sorted(await self._members.alarms(answering[0].url))
        ]
        quota = self._settings.etcd_quota_bytes
        warnings += [
            f"The database of {member.url} has {member.bytes:,} bytes of {quota:,}. When it is "
            "full no number can be issued: raise --quota-backend-bytes in time."
            for member in answering
            if member.bytes > QUOTA_WARNING_SHARE * quota
        ]
        self.space = Space(members, tuple(warnings))

    async def tend(self) -> None:
        """Compact, then defragment who needs it, one by one; nothing unless it is our role."""
        if not await self.is_our_role():
            return
        await self._compact()
        for url in self._who_needs_it():
            if not await self.is_our_role():
                return
            if not await self._all_are_well():
                log.info("defragmentation waits: not all members of etcd are well")
                return
            await self._defragment(url)

    async def is_our_role(self) -> bool:
        """Take the role, or renew it, unless another node has it."""
        return await self._role.is_ours()

    async def _compact(self) -> None:
        kept = self._settings.revisions_kept
        revision = (await self._store.read(Range(self._keys.upkeep))).revision - kept
        if revision <= 0:
            return
        answering = [m.url for m in self.space.members.values() if m is not None]
        try:
            await self._members.compact(answering[0], revision)
        except Compacted:
            return  # etcd does it by itself
        log.info("etcd is compacted: its latest %d revisions stay", kept)

    def _who_needs_it(self) -> list[str]:
        """Return the members with much free space, the leader last: it moves its lead away."""
        found = [member for member in self.space.members.values() if member is not None]
        large = [
            member
            for member in found
            if member.bytes >= self._bytes_min
            and member.bytes - member.bytes_used >= FREE_SHARE_MIN * member.bytes
        ]
        return [member.url for member in sorted(large, key=lambda member: member.is_leader)]

    async def _all_are_well(self) -> bool:
        await self.look()
        return all(member is not None for member in self.space.members.values())

    async def _defragment(self, url: str) -> None:
        before = self.space.members[url]
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self._members.defragment(url)
        after = await self._back(url, until=loop.time() + BACK_WITHIN_S)
        log.info(
            "defragmented %s in %.1f s: %s bytes, before %s",
            *(url, loop.time() - began, f"{after.bytes:,}", f"{before.bytes if before else 0:,}"),
        )

    async def _back(self, url: str, until: float) -> Member:
        """Wait until a member has applied what the others have. Raises Unavailable."""
        others = [m for m in (await self._members.look()).values() if m is not None]
        target = max((member.applied for member in others), default=0)
        while True:
            try:
                member = await self._members.look_at(url)
                if member.applied >= target:
                    return member
            except Unavailable:
                pass
            if asyncio.get_running_loop().time() > until:
                raise Unavailable(f"{url} has not caught up after its defragmentation")
            await asyncio.sleep(PAUSE_S)
