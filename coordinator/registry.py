"""The series in the store: read by every node, changed by one guarded transaction.

The whole catalogue is one key, so two nodes cannot make definitions at the same moment that collide
with each other: the second one's guard has moved, and it decides anew. Beside it stands one key for
each change, with who made it, when and why.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import orjson

from coordinator.commit import Found, send
from coordinator.core import catalogue as catalogues
from coordinator.core.catalogue import Catalogue, Series, UnknownSeries, decode_series
from coordinator.core.keys import Keys
from coordinator.core.records import Origin
from coordinator.core.starter import STARTER
from coordinator.core.transaction import Guard, KeyValue, Put, Range, Transaction
from coordinator.core.unreadable import NUMBER_MAX, Unreadable, moment, text, text_or_none, whole
from coordinator.faults import Damaged
from coordinator.store import (
    Committed,
    NotCommitted,
    Store,
    StoreError,
    Unavailable,
    Unknown,
)
from coordinator.store.paging import all_of

log = logging.getLogger(__name__)

TRIES_MAX = 20
"""Times that another change may come first until this one gives up."""

CHANGE_WITHIN_S = 8.0

RECENT_S = 1.0


class OlderStore(StoreError):
    """The store's catalogue is older than one this node has seen: the store went back."""


class Change(NamedTuple):
    """One change of the catalogue, to ``version``: who made it, when (wall clock, ms) and why.

    ``key`` is its idempotency key, ``payload`` the digest of what was asked under it.
    """

    version: int
    series: Series
    by: Origin
    correlation: str
    time_ms: int
    reason: str
    key: str | None = None
    payload: str | None = None


class InDoubt(Exception):
    """It is not known whether the change was made; the message says why."""


class Registry:
    """What a node knows of the series in the store."""

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._keys = keys
        self._seen = 0
        self._recent: Catalogue | None = None
        self._recent_s = 0.0

    async def catalogue(self) -> Catalogue:
        """Return the newest catalogue. Raises StoreError, or Damaged."""
        catalogue, _ = await self._read()
        return catalogue

    async def recent(self) -> Catalogue:
        """Return a catalogue that was the newest a second ago, or later. Raises as that does."""
        at_hand = self.at_hand
        if at_hand is None:
            now_s = asyncio.get_running_loop().time()
            at_hand = self._recent = await self.catalogue()
            self._recent_s = now_s
        return at_hand

    @property
    def at_hand(self) -> Catalogue | None:
        """Return what ``recent`` returns, if that needs no read."""
        is_recent = asyncio.get_running_loop().time() - self._recent_s <= RECENT_S
        return self._recent if is_recent else None

    async def series(self, document_type: str) -> Series:
        """Return a series as it was a second ago, or later; a new one is known at once.

        Raises UnknownSeries, and as ``catalogue`` does.
        """
        try:
            return (await self.recent()).of(document_type)
        except UnknownSeries:
            self._recent = None
            return (await self.recent()).of(document_type)

    async def change(self, decide: Callable[[Catalogue], tuple[Catalogue, Change]]) -> Change:
        """Make what ``decide`` makes of the newest catalogue the next one; return the change.

        What ``decide`` raises goes through. Raises StoreError when nothing was changed, InDoubt
        when that is not known.
        """
        doubts: list[str] = []
        try:
            async with asyncio.timeout(CHANGE_WITHIN_S):
                return await self._change(decide, doubts)
        except TimeoutError:
            if doubts:
                raise InDoubt(doubts[-1]) from None
            raise Unavailable(f"no answer within {CHANGE_WITHIN_S:g} s") from None

    async def _change(
        self, decide: Callable[[Catalogue], tuple[Catalogue, Change]], doubts: list[str]
    ) -> Change:
        catalogue, guard = await self._read()
        for _ in range(TRIES_MAX):
            after, change = await asyncio.to_thread(decide, catalogue)  # comparing takes a while
            written = _encode(change)
            log_key = self._keys.series_change(change.version)
            transaction = Transaction(
                guard,
                (Put(guard.key, catalogues.encode(after)), Put(log_key, written)),
                (Range(guard.key), Range(log_key)),
            )

            def is_ours(found: Found, written: bytes = written) -> bool:
                return any(kv.value == written for kv in found[1])

            def in_doubt(doubt: Unknown) -> None:
                doubts.append(doubt.why)

            doubts.append("it was sent, and no answer came in time")
            name = f"change {change.version} of the series, request {change.correlation}"
            fate = await send(self._store, transaction, name, is_ours, in_doubt)
            doubts.clear()
            if isinstance(fate, Committed) or fate.ours:
                self._seen = max(self._seen, change.version)
                return change
            catalogue, guard = self._taken(fate.found[0], catalogue.version)
        raise NotCommitted("others changed the series again and again meanwhile")

    async def changes_of(self, document_type: str, limit: int) -> list[Change]:
        """Return the latest changes of a series, newest first. Raises StoreError, or Damaged."""
        first, end = self._keys.series_change(0), self._keys.series_change(NUMBER_MAX)
        latest: deque[Change] = deque(maxlen=limit)
        async for page in all_of(self._store, Range(first, end)):
            changes = map(_decode, page)
            latest.extend(c for c in changes if c.series.document_type == document_type)
        return list(reversed(latest))

    async def change_to(self, version: int) -> Change:
        """Return the change that has made this version. Raises StoreError, or Damaged."""
        (found,) = (await self._store.read(Range(self._keys.series_change(version)))).found
        if not found:
            raise Damaged(f"the note of change {version} of the series is not in the store")
        return _decode(found[0])

    async def _read(self) -> tuple[Catalogue, Guard]:
        seen = self._seen
        (found,) = (await self._store.read(Range(self._keys.series))).found
        return self._taken(found, seen)

    def _taken(self, found: tuple[KeyValue, ...], seen: int) -> tuple[Catalogue, Guard]:
        """Return the catalogue that was found, and the guard of its next change.

        ``seen`` is the version that was known when it was asked for.
        """
        if not found:
            catalogue, guard = STARTER, Guard(self._keys.series)
        else:
            kv = found[0]
            guard = Guard(kv.key, kv.revision, kv.value)
            try:
                catalogue = catalogues.decode(kv.value)
            except Unreadable as broken:
                raise Damaged(f"{broken}; restore the key {kv.key.decode()}") from broken
        if catalogue.version < seen:
            raise OlderStore(
                f"the store has version {catalogue.version} of the series, this node has seen "
                f"version {seen}: the store went back"
            )
        self._seen = max(self._seen, catalogue.version)
        return catalogue, guard


def _encode(change: Change) -> bytes:
    return orjson.dumps(change._asdict(), default=list)


def _decode(kv: KeyValue) -> Change:
    try:
        fields = orjson.loads(kv.value)
        site, partition, *others = fields["by"]
        return Change(
            whole(fields["version"]),
            decode_series(fields["series"]),
            Origin(text(site), text(partition), *map(text_or_none, others)),
            text(fields["correlation"]),
            moment(fields["time_ms"]),
            text(fields["reason"]),
            text_or_none(fields["key"]),
            text_or_none(fields["payload"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as broken:
        raise Damaged(f"{kv.key.decode()} is no note of a change: {broken}") from broken
