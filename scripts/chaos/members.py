"""etcd as an operator reaches it: each member directly, through its JSON gateway.

This is an eye and a hand of its own: nothing of the product's way to etcd is used.
"""

from __future__ import annotations

import json
import os
import subprocess
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

ASK_S_MAX = 5.0
PAGE_ENTRIES = 500
RESOURCE_EXHAUSTED = 8  # gRPC's code


class GatewayError(Exception):
    """A member did not do what was asked; the message is its own."""


class NoSpaceError(GatewayError):
    """The quota of the store is used up."""


class Pair(NamedTuple):
    """A key and its value."""

    key: bytes
    value: bytes


class Status(NamedTuple):
    """What a member says of itself."""

    member: str
    leader: str
    revision: int
    size_bytes: int
    term: int
    """Grows with every election."""

    @property
    def leads(self) -> bool:
        """Tell whether this member is the leader."""
        return self.member == self.leader


class Gateway:
    """One member's gateway. Every call raises GatewayError when it does not succeed."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.url = url
        self._http = http

    async def ask(self, path: str, body: dict[str, Any], within_s: float = ASK_S_MAX) -> Any:
        """Post a request and return the answer's fields."""
        timeout = aiohttp.ClientTimeout(total=within_s)
        try:
            async with self._http.post(
                f"{self.url}/v3/{path}", json=body, timeout=timeout
            ) as answer:
                fields = json.loads(await answer.read())
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as trouble:
            raise GatewayError(f"{self.url} {path}: {trouble!r}") from trouble
        if answer.ok:
            return fields
        message = str(fields.get("message", fields))
        if fields.get("code") == RESOURCE_EXHAUSTED and "space" in message:
            raise NoSpaceError(message)
        raise GatewayError(f"{self.url} {path}: {message}")

    async def status(self) -> Status:
        """Return the member's own view."""
        fields = await self.ask("maintenance/status", {}, 1.0)
        header = fields["header"]
        leader = fields.get("leader", "0")
        if leader == "0":
            raise GatewayError(f"{self.url}: no leader")
        size_bytes = int(fields.get("dbSize", 0))
        revision, term = int(header.get("revision", 0)), int(header["raft_term"])
        return Status(header["member_id"], leader, revision, size_bytes, term)

    async def is_healthy(self) -> bool:
        """Tell whether the member has a leader and answers a linearizable read."""
        try:
            await self.status()
            await self.ask("kv/range", {"key": _text(b"health")}, 1.0)
        except GatewayError:
            return False
        return True

    async def put(self, key: bytes, value: bytes) -> None:
        """Write one key. Raises NoSpaceError when the quota is used up."""
        await self.ask("kv/put", {"key": _text(key), "value": _text(value)})

    async def delete_prefix(self, prefix: bytes) -> int:
        """Delete every key with this prefix; return the revision after it."""
        body = {"key": _text(prefix), "range_end": _text(_after(prefix))}
        return int((await self.ask("kv/deleterange", body))["header"]["revision"])

    async def compact(self, revision: int) -> None:
        """Forget every revision before this one; again is no error."""
        try:
            await self.ask("kv/compaction", {"revision": str(revision), "physical": True}, 30.0)
        except GatewayError as refusal:
            if "compacted" not in str(refusal):
                raise

    async def defragment(self) -> None:
        """Give the free space of the member's file back; it serves nothing meanwhile."""
        await self.ask("maintenance/defragment", {}, 60.0)

    async def alarms(self) -> list[dict[str, Any]]:
        """Return the alarms that are raised."""
        fields = await self.ask("maintenance/alarm", {"action": "GET"})
        return list(fields.get("alarms", ()))

    async def disarm(self) -> None:
        """Take all alarms back."""
        for alarm in await self.alarms():
            await self.ask("maintenance/alarm", alarm | {"action": "DEACTIVATE"})

    async def pairs(self, prefix: bytes) -> AsyncIterator[Pair]:
        """Yield every key with this prefix, in order, as of one revision."""
        start, end, revision = prefix, _after(prefix), 0
        while True:
            body = {"key": _text(start), "range_end": _text(end), "limit": str(PAGE_ENTRIES)}
            fields = await self.ask("kv/range", body | {"revision": str(revision)}, 30.0)
            revision = revision or int(fields["header"]["revision"])
            for kv in fields.get("kvs", ()):
                start = b64decode(kv["key"])
                yield Pair(start, b64decode(kv.get("value", "")))
            if not fields.get("more"):
                return
            start += b"\0"


def hashes(etcdctl: Path, urls: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return by member the hash of its keys and the revision it is of, as etcdctl tells them.

    Raises GatewayError when it does not get them all.
    """
    words = ("--endpoints", ",".join(urls), "endpoint", "hashkv", "--cluster", "-w", "json")
    try:
        answer = subprocess.run(
            [str(etcdctl), *words],
            env=dict(os.environ, ETCDCTL_API="3"),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as trouble:
        raise GatewayError(f"etcdctl endpoint hashkv: {trouble}") from trouble
    if answer.returncode:
        raise GatewayError(f"etcdctl endpoint hashkv: {answer.stderr.strip()[-300:]}")
    found = {}
    for each in json.loads(answer.stdout):
        said = each["HashKV"]
        found[str(each["Endpoint"])] = (int(said["hash"]), int(said["header"]["revision"]))
    return found


def _text(key: bytes) -> str:
    return b64encode(key).decode("ascii")


def _after(prefix: bytes) -> bytes:
    return prefix[:-1] + bytes([prefix[-1] + 1])
