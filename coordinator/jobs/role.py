"""Which node does what one node is enough for: a key that names it, and until when.

It only spares work. Two nodes at it at once must do no harm; when the one that has it dies, its
time ends and another takes it.
"""

import orjson

from coordinator.clock import now_ms
from coordinator.core.transaction import Guard, Put, Range, Transaction
from coordinator.core.unreadable import moment, text
from coordinator.store import Committed, Store


class Role:
    """One such key. A node that has it must ask again within ``lasts_ms`` to keep it."""

    def __init__(self, store: Store, key: bytes, node: str, lasts_ms: int) -> None:
        self._store = store
        self._key = key
        self._node = node
        self._lasts_ms = lasts_ms

    async def is_ours(self) -> bool:
        """Take the role, or renew it, unless another node has it. Raises StoreError."""
        now = now_ms()
        (found,) = (await self._store.read(Range(self._key))).found
        guard = Guard(self._key)
        if found:
            node, ends_ms = _holder_in(found[0].value)
            # An end that is further away than it can be was written by a clock that was wrong.
            if node != self._node and now < ends_ms <= now + self._lasts_ms:
                return False
            guard = Guard(self._key, found[0].revision, found[0].value)
        ours = orjson.dumps({"node": self._node, "until_ms": now + self._lasts_ms})
        wanted = Transaction(guard, (Put(self._key, ours),), (Range(self._key),))
        outcome = await self._store.commit(wanted)
        return isinstance(outcome, Committed)  # in doubt counts as no: the next round will tell


def _holder_in(content: bytes) -> tuple[str, int]:
    """Return whose it is and until when (ms); what cannot be read is nobody's."""
    try:
        fields = orjson.loads(content)
        return text(fields["node"]), moment(fields["until_ms"])
    except (ValueError, KeyError, TypeError):
        return "", 0
