"""A store whose content cannot be right. Waiting does not help; a person must look."""

from coordinator.core.unreadable import Unreadable
from coordinator.store import NeedsOperator, StoreError

CANNOT_READ = (StoreError, Unreadable)
"""What a read may raise: nobody answered, or what was found is not what this program writes."""


class Rewound(NeedsOperator):
    """The store is older than what this node has acknowledged: restored from a backup, or another
    cluster. Allocating from it would issue numbers twice.

    ``entry`` and its hash ``tip`` are the newest that this node has seen committed, ``found`` is
    the newest in the store.
    """

    def __init__(self, entry: int, tip: str, found: int) -> None:
        super().__init__(
            f"the store's ledger is at entry {found}, and does not continue entry {entry} "
            f"(hash {tip[:16]}...) that this node has seen committed. Was etcd restored from a "
            "backup, or is this another cluster? No number is issued until the right store is "
            "back, or `coordinator set --accept-rewind` says that the loss is accepted"
        )
        self.entry = entry
        self.tip = tip
        self.found = found


class Damaged(NeedsOperator):
    """Head, ledger and gap keys contradict each other, or cannot be read."""


class EntryMissing(Damaged):
    """The ledger lacks an entry that it should have."""
