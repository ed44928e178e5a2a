"""etcd through its JSON gateway: several members, connections kept, deadlines, failover.

A member that fails is left for the next one, and stays left until another fails. Whether a
transaction is sent again is decided in ``coordinator.commit``; here another member is tried only
while nothing has been sent at all.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import orjson

from coordinator.core.transaction import Range, Transaction
from coordinator.store import (
    Committed,
    Compacted,
    Conflict,
    NotCommitted,
    Outcome,
    Snapshot,
    StoreError,
    Unavailable,
    Unknown,
)
from coordinator.store import gateway as codec
from coordinator.store.outcomes import FINAL, Code, error_of, outcome_of
from coordinator.store.wire import NotSent, Patience, Reply, ReplyLost, Wire

_OK = 200
Answer = TypeVar("Answer")
_READ_ROUNDS = 3
_PAUSE_BETWEEN_ROUNDS_S = 0.1
_PATIENCE_DOUBLED_MAX = 2
READS_MAX = 16
"""Reads under way; others wait their turn, and only then does their time begin."""


class EtcdStore:
    """A cluster of etcd members as a Store.

    ``commit_s`` and ``read_s`` are how long one member may take before the next one is asked: above
    a healthy round trip, and below the callers' deadline, for a member that lost its leader says
    nothing until its own timeout of five seconds and more.
    """

    def __init__(
        self,
        endpoints: tuple[str, ...],
        connect_s: float = 0.5,
        commit_s: float = 1.0,
        read_s: float = 2.0,
    ) -> None:
        self._members = [Wire(endpoint.rstrip("/")) for endpoint in endpoints]
        self._current = 0
        self._commit_patience = Patience(connect_s, commit_s)
        self._unanswered = 0
        """Commits without an answer since the last one that had one."""
        self._read_patience = Patience(connect_s, read_s)
        self._reads = asyncio.Semaphore(READS_MAX)

    async def commit(self, transaction: Transaction) -> Outcome:
        """Send once, to the member that answered last; to the next where nothing could be sent."""
        body = codec.transaction_body(transaction)
        patience = self._patience()
        refusals = []
        for _ in self._members:
            member = self._members[self._current]
            try:
                reply = await member.post(b"/v3/kv/txn", body, patience)
            except NotSent as nothing_sent:
                refusals.append(str(nothing_sent))
                self._leave(member)
                continue
            except ReplyLost as lost:
                self._unanswered += 1
                self._leave(member)
                return Unknown(str(lost))
            self._unanswered = 0
            if reply.status != _OK:
                self._leave(member)
                return outcome_of(reply.status, reply.body)
            return _outcome(transaction, reply)
        raise NotCommitted("; ".join(refusals))

    async def read(self, *ranges: Range, revision: int = 0) -> Snapshot:
        """Read from the first member that answers."""

        def snapshot(answer: dict[str, Any]) -> Snapshot:
            found = codec.ranges_of(answer)
            if len(found) != len(ranges):
                raise ValueError("an answer without its ranges")
            return Snapshot(codec.revision_of(answer), found)

        async with self._reads:
            return await self._ask(b"/v3/kv/txn", codec.read_body(ranges, revision), snapshot)

    async def put_alive(self, key: bytes, value: bytes, lease: int) -> None:
        """Write a key under a lease. Doing it twice does no harm, so it is repeated."""
        await self._ask(b"/v3/kv/put", codec.put_body(key, value, lease), codec.revision_of)

    async def grant(self, ttl_s: int) -> int:
        """Return a new lease."""
        body = orjson.dumps({"TTL": str(ttl_s)})
        return await self._ask(b"/v3/lease/grant", body, lambda answer: int(answer["ID"]))

    async def keep_alive(self, lease: int) -> bool:
        """Renew a lease; an answer without a time to live means that it is gone."""
        body = orjson.dumps({"ID": str(lease)})
        left_s = await self._ask(
            b"/v3/lease/keepalive", body, lambda answer: int(answer["result"].get("TTL", 0))
        )
        return left_s > 0

    async def revoke(self, lease: int) -> None:
        """End a lease."""
        body = orjson.dumps({"ID": str(lease)})
        await self._ask(b"/v3/lease/revoke", body, codec.revision_of)

    async def versions(self) -> dict[str, str]:
        """Return what each member says of its version."""

        async def version(member: Wire) -> str:
            try:
                reply = await member.get(b"/version", self._read_patience)
                return str(orjson.loads(reply.body)["etcdserver"])
            except (NotSent, ReplyLost, ValueError, KeyError, TypeError):
                return ""

        found = await asyncio.gather(*map(version, self._members))
        return {member.url: said for member, said in zip(self._members, found, strict=True)}

    async def close(self) -> None:
        """Close all connections."""
        for member in self._members:
            member.close()

    def _patience(self) -> Patience:
        connect_s, reply_s = self._commit_patience
        doubled = min(self._unanswered // len(self._members), _PATIENCE_DOUBLED_MAX)
        return Patience(connect_s, reply_s * 2**doubled)

    def _leave(self, member: Wire) -> None:
        if member is self._members[self._current]:  # another request may have left it already
            self._current = (self._current + 1) % len(self._members)

    async def _ask(
        self, path: bytes, body: bytes, decode: Callable[[dict[str, Any]], Answer]
    ) -> Answer:
        """Ask member after member until one answers: only for what may be asked twice."""
        why = "no member"
        for attempt in range(_READ_ROUNDS * len(self._members)):
            if attempt and attempt % len(self._members) == 0:
                await asyncio.sleep(_PAUSE_BETWEEN_ROUNDS_S)
            member = self._members[self._current]
            try:
                reply = await member.post(path, body, self._read_patience)
                if reply.status == _OK:
                    return decode(orjson.loads(reply.body))
                error = error_of(reply.status, reply.body)
                if error["code"] == Code.OUT_OF_RANGE:
                    raise Compacted(error["message"])
                why = error["message"]
                if error["code"] in FINAL:
                    raise StoreError(why)
            except (NotSent, ReplyLost) as lost:
                why = str(lost)
            except (ValueError, KeyError, TypeError, AttributeError) as mutilated:
                why = f"{member.url}: an answer that cannot be read: {mutilated!r}"
            self._leave(member)
        raise Unavailable(f"no etcd member answered; the last said: {why}")


def _outcome(sent: Transaction, reply: Reply) -> Outcome:
    try:
        fields = orjson.loads(reply.body)
        if fields.get("succeeded", False):
            if len(fields.get("responses", ())) != len(sent.writes):
                return Unknown("an answer without its writes")
            return Committed(codec.revision_of(fields) if sent.writes else sent.guard.revision)
        found = codec.ranges_of(fields)
    except (ValueError, KeyError, TypeError, AttributeError) as mutilated:
        return Unknown(f"an answer that cannot be read: {mutilated!r}")
    if len(found) != len(sent.otherwise):
        return Unknown("an answer without its ranges")
    return Conflict(found)
