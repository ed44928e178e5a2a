"""The single members of etcd, for their upkeep: how large they are, compaction, defragmentation."""

import asyncio
from typing import Any, NamedTuple

import orjson

from coordinator.store import Compacted, StoreError, Unavailable
from coordinator.store.outcomes import Code, error_of
from coordinator.store.wire import NotSent, Patience, ReplyLost, Wire

_OK = 200
_ASK = Patience(connect_s=0.5, reply_s=2.0)
_COMPACT = Patience(connect_s=0.5, reply_s=60.0)
DEFRAGMENT_S_MAX = 300.0
"""A member answers nobody else meanwhile: about a second for each 100 MB."""

_DEFRAGMENT = Patience(connect_s=0.5, reply_s=DEFRAGMENT_S_MAX)


class Member(NamedTuple):
    """One member: bytes of its database and of what is used in it, and how far it has applied.

    ``term`` grows with every election.
    """

    url: str
    bytes: int
    bytes_used: int
    applied: int
    is_leader: bool
    term: int = 0


class Members:
    """All members of one etcd cluster, each by its own address."""

    def __init__(self, endpoints: tuple[str, ...]) -> None:
        self._wires = {endpoint.rstrip("/"): Wire(endpoint.rstrip("/")) for endpoint in endpoints}

    async def look(self) -> dict[str, Member | None]:
        """Return each member; None where it does not answer, or has no leader."""

        async def seen(url: str) -> Member | None:
            try:
                return await self.look_at(url)
            except StoreError:
                return None

        found = await asyncio.gather(*map(seen, self._wires))
        return dict(zip(self._wires, found, strict=True))

    async def look_at(self, url: str) -> Member:
        """Return one member. Raises StoreError."""
        said = await self._ask(url, b"/v3/maintenance/status", {}, _ASK)
        leader = int(said.get("leader", 0))
        if not leader:
            raise Unavailable(f"{url} has no leader")
        return Member(
            url=url,
            bytes=int(said.get("dbSize", 0)),
            bytes_used=int(said.get("dbSizeInUse", 0)),
            applied=int(said.get("raftAppliedIndex", 0)),
            is_leader=int(said.get("header", {}).get("member_id", 0)) == leader,
            term=int(said.get("raftTerm", 0)),
        )

    async def alarms(self, url: str) -> set[str]:
        """Return the alarms that are raised, like NOSPACE. Raises Unavailable."""
        said = await self._ask(url, b"/v3/maintenance/alarm", {"action": "GET"}, _ASK)
        return {str(alarm.get("alarm", "NONE")) for alarm in said.get("alarms", ())}

    async def compact(self, url: str, revision: int) -> None:
        """Forget what was before a revision. Raises StoreError; Compacted when that is done."""
        wanted = {"revision": str(revision), "physical": True}
        await self._ask(url, b"/v3/kv/compaction", wanted, _COMPACT)

    async def defragment(self, url: str) -> None:
        """Give a member's free space back. Raises StoreError."""
        await self._ask(url, b"/v3/maintenance/defragment", {}, _DEFRAGMENT)

    def close(self) -> None:
        """Close all connections."""
        for wire in self._wires.values():
            wire.close()

    async def _ask(
        self, url: str, path: bytes, wanted: dict[str, Any], patience: Patience
    ) -> dict[str, Any]:
        try:
            reply = await self._wires[url].post(path, orjson.dumps(wanted), patience)
            if reply.status == _OK:
                return dict(orjson.loads(reply.body))
        except (NotSent, ReplyLost) as lost:
            raise Unavailable(str(lost)) from None
        except (ValueError, TypeError) as mutilated:
            raise Unavailable(f"{url}: an answer that cannot be read: {mutilated}") from None
        error = error_of(reply.status, reply.body)
        if error["code"] == Code.OUT_OF_RANGE:
            raise Compacted(error["message"])
        raise StoreError(f"{url}: {error['message']}")
