"""Rows of an import on their way into the store: they mean nothing until its commit names them.

    imports/present/<attempt>        stands before it and while its process lives: under a lease
    imports/open/<attempt>           written first; every write below it holds only while it stands
    imports/rows/<attempt>/...       pieces of rows
    imports/done/<name>              what was done; it comes with the commit, which takes open away

Whoever takes ``open`` away otherwise, because the import failed or was abandoned, deletes the rows
in the same transaction, and the import can never be committed any more. So nothing is left over
that nobody knows of, and no clock and no lease decides whether an import may be done: who takes
one away whose process lives after all has it begin again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, TypeVar

import orjson

from coordinator.clock import now_ms
from coordinator.commit import Found, Overtaken, send
from coordinator.core.keys import Keys
from coordinator.core.records import Rows
from coordinator.core.transaction import Delete, Guard, KeyValue, Put, Range, Transaction
from coordinator.importing.presence import PRESENT_S
from coordinator.store import Committed, NotCommitted, Store, StoreError, Unavailable, Unknown

log = logging.getLogger(__name__)

STAGED_WITHIN_S = 600.0
WRITTEN_WITHIN_S = 15.0
"""One piece of rows; long enough for the members to choose a new leader."""

PAUSE_S = 0.2

ABANDONED_MS = 3_600_000
"""An open import of a former version, which does not say that it is present, may be so old."""

OPEN_MAX = 8
"""Open imports of an installation: what broken off ones leave in etcd is bounded too."""

LOOKED_AT_MAX = 100


class Phase(StrEnum):
    """Where an import is, in this order, and how it ended."""

    RECEIVING = "receiving"
    READING = "reading"
    CHECKING = "checking"
    STAGING = "staging"
    COMMITTING = "committing"
    DONE = "done"
    """Its numbers are in the books; or it was a dry run, and all rows fit."""
    REFUSED = "refused"
    """Something is wrong with the file or the request; nothing was changed."""
    FAILED = "failed"
    """The node could not do it just now; nothing was changed."""
    UNKNOWN = "unknown"
    """Whether its numbers came in is not known."""


UNITS = {
    Phase.RECEIVING: "bytes",
    Phase.READING: "rows",
    Phase.CHECKING: "rows",
    Phase.STAGING: "pieces of rows",
    Phase.COMMITTING: "commits",
}
"""What is counted in a phase."""

Progress = Callable[[Phase, int, int], None]
"""Is told what is being done, how much of it is, and of how much."""


Written = TypeVar("Written")


class TooMany(Exception):
    """Too many imports are open; the message says what to do."""


class Piece(NamedTuple):
    """Rows that will stand at a key: what the ledger says of them, and how many bytes."""

    key: bytes
    rows: Rows
    length: int


class Staging:
    """What an installation has of imports that are not committed."""

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._keys = keys

    async def begin(self, attempt: str) -> Guard:
        """Open an import that is present; what it writes holds only while this guard does.

        Clears away those that no process is at work on. Raises TooMany, StoreError.
        """
        ranges = self._keys.open_imports._replace(limit=LOOKED_AT_MAX), self._keys.present_imports
        found, present = (await self._store.read(*ranges)).found
        at_work = {_attempt_of(kv) for kv in present}
        left = [kv for kv in found if _attempt_of(kv) not in at_work and _may_be_left(kv)]
        if len(found) - len(left) >= OPEN_MAX:
            raise TooMany(
                f"{len(found)} imports are being made, or were broken off within the last "
                f"{PRESENT_S} seconds. Try again when some of them are over."
            )
        for kv in left:
            log.warning("an import that was broken off is cleared away: %s", kv.key.decode())
            await self.end(Guard(kv.key, kv.revision, kv.value))
        key = self._keys.open_import(attempt)
        content = orjson.dumps({"t": now_ms(), "present": True})
        beginning = Transaction(Guard(key), (Put(key, content),), (Range(key),))
        fate = await _in_time(self._persist(beginning, f"import {attempt}"))
        revision = fate.revision if isinstance(fate, Committed) else fate.found[0][0].revision
        return Guard(key, revision, content)

    async def put(
        self, opened: Guard, pieces: list[Piece], source: Path, progress: Progress
    ) -> None:
        """Put the pieces down, which stand in a file one after the other. Raises StoreError."""
        try:
            async with asyncio.timeout(STAGED_WITHIN_S):
                with source.open("rb") as file:
                    for done, piece in enumerate(pieces, 1):
                        content = file.read(piece.length)
                        if sha256(content).hexdigest() != piece.rows.digest:
                            raise OSError(0, "prepared rows have changed on the disk", str(source))
                        await self._put(opened, Put(piece.key, content))
                        progress(Phase.STAGING, done, len(pieces))
        except TimeoutError:
            raise Unavailable(f"the rows were not written within {STAGED_WITHIN_S:g} s") from None

    async def _put(self, opened: Guard, put: Put) -> None:
        """Write a piece. That it may be written twice does no harm: it is the same."""
        transaction = Transaction(opened, (put,), (Range(opened.key),))
        name = f"rows at {put.key.decode()}"
        fate = await _in_time(self._persist(transaction, name))
        if isinstance(fate, Overtaken):
            raise NotCommitted("the import was cleared away meanwhile; begin it again")

    async def _persist(self, transaction: Transaction, name: str) -> Committed | Overtaken:
        while True:
            try:
                return await send(self._store, transaction, name, _is_there, _in_silence)
            except NotCommitted:  # no member takes it just now
                await asyncio.sleep(PAUSE_S)

    async def end(self, opened: Guard, name: str = "") -> tuple[KeyValue, ...] | None:
        """Let an open import never be committed, and delete its rows.

        Returns None when that is so now; else it was over already, and this is what the key that
        says what the import ``name`` has done holds. Raises StoreError.
        """
        attempt = opened.key.rpartition(b"/")[2].decode()
        writes = (Delete(opened.key, opened.key + b"\0"), self._keys.all_import_rows(attempt))
        transaction = Transaction(opened, writes, (Range(self._keys.done_import(name)),))
        fate = await _in_time(self._persist(transaction, f"clearing import {attempt} away"))
        return None if isinstance(fate, Committed) else fate.found[0]

    async def call_off(self, opened: Guard) -> None:
        """End an import that has failed; if that fails too, another import does it later."""
        try:
            await self.end(opened)
        except StoreError as failed:
            log.warning("%s is not cleared away yet: %s", opened.key.decode(), failed)


async def _in_time(writing: Awaitable[Written]) -> Written:
    try:
        async with asyncio.timeout(WRITTEN_WITHIN_S):
            return await writing
    except TimeoutError:
        raise Unavailable(f"no certain answer within {WRITTEN_WITHIN_S:g} s") from None


def _attempt_of(kv: KeyValue) -> bytes:
    return kv.key.rpartition(b"/")[2]


def _may_be_left(kv: KeyValue) -> bool:
    """Tell whether an open import that is not present may be cleared away."""
    try:
        fields = orjson.loads(kv.value)
        return "present" in fields or int(fields["t"]) < now_ms() - ABANDONED_MS
    except (ValueError, KeyError, TypeError):
        return True  # nobody knows what it is; its rows are of no use


def _is_there(found: Found) -> bool:
    """Tell whether a key is there that only this try can have written."""
    return any(found)


def _in_silence(_doubt: Unknown) -> None:
    """Tell nobody."""
