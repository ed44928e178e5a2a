"""Who commits for a counter: one node at a time has its turn, the others hand their batches to it.

That spares compares lost to each other, and nothing more: with no such node, or with two, all is
still right. So nobody asks for a turn before it is needed. A lost compare brings along who has it;
if nobody has it, or who has it does not answer, the loser takes it. The turn is a key under the
lease of its node: it goes when the node stops or is cut off.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

import orjson

from coordinator.core.transaction import Guard, KeyValue, Put, Range, Transaction
from coordinator.core.unreadable import text
from coordinator.store import Committed, Conflict, Store, StoreError

log = logging.getLogger(__name__)

AVOIDED_S = 1.0
"""A node that did not answer is not asked again for so long; its turn may be taken."""

TRUSTED_S = 10.0
"""After so long a node tries again whether it loses compares, unless the holder has served others
meanwhile: they may be idle by now."""


class Contact(NamedTuple):
    """A run of a node, its address, and the token that opens it to whoever reads the store."""

    node: str
    instance: str
    url: str
    token: str


class Seat(NamedTuple):
    """This node as a holder of turns; ``lease`` returns its lease, 0 while it has none."""

    me: Contact
    lease: Callable[[], int]


def decode(content: bytes) -> Contact | None:
    """Return who has a turn; None when that cannot be read: then the turn may be taken."""
    try:
        return Contact(*map(text, orjson.loads(content)))
    except (ValueError, TypeError):
        return None


class Turn:
    """Of one counter, as one node sees it."""

    def __init__(self, store: Store, key: bytes, seat: Seat) -> None:
        self._store = store
        self._key = key
        self._seat = seat
        self._holder: Contact | None = None
        self._until_s = 0.0
        self._avoided = ""
        self._avoided_until_s = 0.0

    @property
    def holder(self) -> Contact | None:
        """Return the other node that commits for this one; None when it commits by itself."""
        if self._holder is not None and asyncio.get_running_loop().time() > self._until_s:
            self._holder = None
        return self._holder

    async def lost_compare(self, found: tuple[KeyValue, ...]) -> None:
        """Take what a lost compare found under the key, and the turn when nobody answers to it."""
        holder = decode(found[0].value) if found else None
        if holder is not None and self._rely_on(holder):
            return
        lease = self._seat.lease()
        if not lease:
            return
        guard = Guard(self._key, found[0].revision, found[0].value) if found else Guard(self._key)
        mine = Put(self._key, orjson.dumps(list(self._seat.me)), lease)
        try:
            outcome = await self._store.commit(Transaction(guard, (mine,), (Range(self._key),)))
        except StoreError as down:
            log.debug("the turn %s cannot be taken just now: %s", self._key, down)
            return
        match outcome:
            case Committed():
                log.info("%s: this node commits for the others from now on", self._key.decode())
            case Conflict(((newer,),)):
                other = decode(newer.value)
                if other is not None:
                    self._rely_on(other)

    def _rely_on(self, holder: Contact) -> bool:
        """Hand batches to this node from now on, unless it is this one; False if it is avoided."""
        now_s = asyncio.get_running_loop().time()
        if holder.instance == self._avoided and now_s < self._avoided_until_s:
            return False
        if holder.instance == self._seat.me.instance:
            self._holder = None
        else:
            self._holder = holder
            self._until_s = now_s + TRUSTED_S
        return True

    def is_shared(self) -> None:
        """Note that the holder serves others too: whoever committed by itself would lose compares.

        It would also make the holder lose them, which commits for all.
        """
        self._until_s = asyncio.get_running_loop().time() + TRUSTED_S

    def not_served(self, *, silent: bool) -> None:
        """Note that the holder did not serve: because it does not answer, or does not want to."""
        if silent and self._holder is not None:
            self._avoided = self._holder.instance
            self._avoided_until_s = asyncio.get_running_loop().time() + AVOIDED_S
            log.info("%s does not answer: this node commits by itself", self._holder.node)
        self._holder = None
