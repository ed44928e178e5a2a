"""etcd through its JSON gateway: several members, connections kept, deadlines, failover.

Each member's connections are reused. A member that fails is left for the next one, and stays left
until another fails. Whether a transaction is sent again is decided in ``coordinator.commit``; here
another member is tried only while nothing has been sent at all.
"""

import asyncio
from typing import Any, NamedTuple

import aiohttp
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

_OK = 200
_JSON = {"Content-Type": "application/json"}
_READ_ROUNDS = 3
_PAUSE_BETWEEN_ROUNDS_S = 0.1


class Timeouts(NamedTuple):
    """How long one member may take, in seconds; then the next one is asked.

    ``attempt_s`` should be above a healthy round trip and below the callers' deadline: a member
    that lost its leader answers nothing until its own timeout of five seconds and more.
    """

    connect_s: float = 0.5
    attempt_s: float = 1.0
    read_s: float = 2.0


class EtcdStore:
    """A cluster of etcd members as a Store. Make it inside a running event loop."""

    def __init__(self, endpoints: tuple[str, ...], timeouts: Timeouts = Timeouts()) -> None:  # noqa: B008 - immutable
        self._endpoints = tuple(endpoint.rstrip("/") for endpoint in endpoints)
        self._current = 0
        self._timeouts = timeouts
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
            headers=_JSON,
            auto_decompress=False,
        )

    async def commit(self, transaction: Transaction) -> Outcome:
        """Send once, to the member that answered last; to the next where none took it."""
        body = codec.transaction_body(transaction)
        refusals = []
        for _ in self._endpoints:
            member = self._current
            try:
                status, answer = await self._post(
                    member, "/v3/kv/txn", body, self._timeouts.attempt_s
                )
            except aiohttp.ClientConnectorError as nothing_sent:
                refusals.append(str(nothing_sent))
                self._leave(member)
                continue
            except aiohttp.ConnectionTimeoutError as nothing_sent:
                refusals.append(str(nothing_sent))
                self._leave(member)
                continue
            except (TimeoutError, aiohttp.ClientError, OSError) as lost:
                self._leave(member)
                return Unknown(f"{self._endpoints[member]}: {lost or type(lost).__name__}")
            return self._outcome(member, transaction, status, answer)
        raise NotCommitted("; ".join(refusals))

    def _outcome(self, member: int, sent: Transaction, status: int, answer: bytes) -> Outcome:
        if status != _OK:
            self._leave(member)
            return outcome_of(status, answer)
        try:
            fields = orjson.loads(answer)
            if fields.get("succeeded", False):
                return Committed(codec.revision_of(fields) if sent.writes else sent.expected)
            found = codec.ranges_of(fields)
            if len(found) != len(sent.otherwise):
                return Unknown("an answer without its ranges")
            return Conflict(found)
        except (ValueError, KeyError, TypeError, AttributeError) as mutilated:
            self._leave(member)
            return Unknown(f"an answer that cannot be read: {mutilated!r}")

    async def read(self, *ranges: Range, revision: int = 0) -> Snapshot:
        """Read from the first member that answers."""
        answer = await self._ask("/v3/kv/txn", codec.read_body(ranges, revision))
        return Snapshot(codec.revision_of(answer), codec.ranges_of(answer))

    async def put_alive(self, key: bytes, value: bytes, lease: int) -> None:
        """Write a key under a lease. Doing it twice does no harm, so it is repeated."""
        await self._ask("/v3/kv/put", codec.put_body(key, value, lease))

    async def grant(self, ttl_s: int) -> int:
        """Return a new lease."""
        answer = await self._ask("/v3/lease/grant", orjson.dumps({"TTL": str(ttl_s)}))
        return int(answer["ID"])

    async def keep_alive(self, lease: int) -> bool:
        """Renew a lease; an answer without a time to live means that it is gone."""
        answer = await self._ask("/v3/lease/keepalive", orjson.dumps({"ID": str(lease)}))
        return int(answer.get("result", {}).get("TTL", 0)) > 0

    async def revoke(self, lease: int) -> None:
        """End a lease."""
        await self._ask("/v3/lease/revoke", orjson.dumps({"ID": str(lease)}))

    async def versions(self) -> dict[str, str]:
        """Return what each member says of its version."""

        async def version(endpoint: str) -> str:
            timeout = aiohttp.ClientTimeout(total=self._timeouts.attempt_s)
            try:
                async with self._session.get(f"{endpoint}/version", timeout=timeout) as response:
                    return str(orjson.loads(await response.read())["etcdserver"])
            except (TimeoutError, aiohttp.ClientError, OSError, ValueError, KeyError):
                return ""

        found = await asyncio.gather(*map(version, self._endpoints))
        return dict(zip(self._endpoints, found, strict=True))

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    def _leave(self, member: int) -> None:
        if member == self._current:  # another request may have left it already
            self._current = (member + 1) % len(self._endpoints)

    async def _post(
        self, member: int, path: str, body: bytes, timeout_s: float
    ) -> tuple[int, bytes]:
        timeout = aiohttp.ClientTimeout(
            total=timeout_s, connect=self._timeouts.connect_s, sock_connect=self._timeouts.connect_s
        )
        url = self._endpoints[member] + path
        async with self._session.post(url, data=body, timeout=timeout) as response:
            return response.status, await response.read()

    async def _ask(self, path: str, body: bytes) -> dict[str, Any]:
        """Ask member after member until one answers: only for what may be asked twice."""
        why = "no member"
        for attempt in range(_READ_ROUNDS * len(self._endpoints)):
            if attempt and attempt % len(self._endpoints) == 0:
                await asyncio.sleep(_PAUSE_BETWEEN_ROUNDS_S)
            member = self._current
            try:
                status, answer = await self._post(member, path, body, self._timeouts.read_s)
                if status == _OK:
                    fields: dict[str, Any] = orjson.loads(answer)
                    return fields
                error = error_of(status, answer)
                if error["code"] == Code.OUT_OF_RANGE:
                    raise Compacted(error["message"])
                why = error["message"]
                if error["code"] in FINAL:
                    raise StoreError(why)
            except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as lost:
                why = f"{self._endpoints[member]}: {lost or type(lost).__name__}"
            self._leave(member)
        raise Unavailable(f"no etcd member answered; the last said: {why}")
