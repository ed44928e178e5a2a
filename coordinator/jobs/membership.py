"""Join the installation: agree on the settings that all must share, and be seen by the others.

A node is seen through a key under a lease. The display depends on it, and the turns it has.
"""

import asyncio
import logging
from typing import NamedTuple

import orjson

from coordinator.clock import now_ms
from coordinator.config import Profile, Settings
from coordinator.core.keys import Keys
from coordinator.core.transaction import Guard, Put, Range, Transaction
from coordinator.service import Node
from coordinator.store import Committed, Conflict, Store, StoreError, Unavailable, Unknown
from coordinator.store.versions import warning_for

log = logging.getLogger(__name__)

PAUSE_S = 0.5
LEAVE_WITHIN_S = 1.0


class CannotJoin(Exception):
    """This node must not serve here; the message says why, and what to do."""


class StoreFacts(NamedTuple):
    """What the members say of themselves."""

    versions: dict[str, str]
    warnings: tuple[str, ...]


class Membership:
    """Joins, stays seen, and leaves."""

    def __init__(self, store: Store, keys: Keys, settings: Settings, node: Node) -> None:
        self._store = store
        self._keys = keys
        self._settings = settings
        self._node = node
        self._started_ms = now_ms()
        self.lease = 0
        """This node's lease; 0 before it has one. It may have ended since."""
        self.facts = StoreFacts({}, ())
        self.trouble = "this node has not joined its installation yet"
        """Why this node may not serve; empty once it has joined."""

    def has_joined(self) -> bool:
        """Tell whether this node may serve."""
        return not self.trouble

    async def stay_seen(self) -> None:
        """Be seen by the others until cancelled."""
        while True:
            try:
                await self.be_seen()
            except StoreError as down:
                log.warning("this node cannot be seen by the others just now: %s", down)
            await asyncio.sleep(self._settings.node_ttl_s / 3)

    async def leave(self) -> None:
        """Be gone for the others at once."""
        if self.lease:
            try:
                async with asyncio.timeout(LEAVE_WITHIN_S):
                    await self._store.revoke(self.lease)
            except (StoreError, TimeoutError) as down:
                log.info("the lease of this node will expire by itself: %r", down)

    async def join(self) -> None:
        """Wait for etcd, and agree with it on what all must share. Raises CannotJoin."""
        while True:
            try:
                await self._look_at_members()
                await self._agree()
            except StoreError as down:
                self.trouble = f"this node waits for etcd: {down}"
                log.warning("%s", self.trouble)
                await asyncio.sleep(PAUSE_S)
            else:
                self.trouble = ""
                settings, versions = self._settings, self.facts.versions
                said = ", ".join(f"{url} {v or 'silent'}" for url, v in versions.items())
                what = f"{settings.series} {settings.strategy.value}, {settings.profile.value}"
                log.info("joined as run %s: %s; etcd: %s", self._node.instance, what, said)
                return

    async def _look_at_members(self) -> None:
        versions = await self._store.versions()
        found = {version: warning_for(version) for version in versions.values() if version}
        warnings = tuple(warning for warning in found.values() if warning)
        for warning in warnings:
            log.warning("%s", warning)
        if warnings and self._settings.profile is Profile.PRODUCTION:
            raise CannotJoin(f"{warnings[0]} The production profile does not run on it.")
        self.facts = StoreFacts(versions, warnings)

    async def _agree(self) -> None:
        """Write the shared settings if nobody has; else they must be ours."""
        key = self._keys.settings
        ours = orjson.dumps(self._settings.shared())
        transaction = Transaction(Guard(key), (Put(key, ours),), (Range(key),))
        outcome = await self._store.commit(transaction)
        match outcome:
            case Committed():
                return
            case Unknown(why):
                raise Unavailable(why)  # asked again by the caller; the guard makes that safe
            case Conflict(found):
                theirs = _settings_in(found[0][0].value)
                if theirs != self._settings.shared():
                    raise CannotJoin(
                        f"The installation in etcd was made with {theirs}, this node is configured "
                        f"with {self._settings.shared()}. Start it with the same settings, or with "
                        "another --root for a new installation."
                    )

    async def be_seen(self) -> None:
        """Renew the lease, or take a new one. Raises StoreError."""
        if self.lease and await self._store.keep_alive(self.lease):
            return
        settings, keys = self._settings, self._keys
        value = orjson.dumps(
            {
                "node": settings.node_id,
                "instance": self._node.instance,
                "url": settings.url,
                "site": settings.site,
                "partition": settings.partition,
                "started_ms": self._started_ms,
            }
        )
        lease = await self._store.grant(settings.node_ttl_s)
        await self._store.put_alive(keys.known_node(settings.node_id), value, 0)
        await self._store.put_alive(keys.node(settings.node_id), value, lease)
        self.lease = lease  # only now: a key that was not written would never be


def _settings_in(content: bytes) -> object:
    """Return the settings that stand in etcd, or the text that is no settings."""
    try:
        return orjson.loads(content)
    except ValueError:
        return content[:200].decode(errors="replace")
