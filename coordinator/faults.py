"""A store whose content cannot be right. Waiting does not help; a person must look."""

from coordinator.core.unreadable import Unreadable
from coordinator.store import StoreError

CANNOT_READ = (StoreError, Unreadable)
"""What a read may raise: nobody answered, or what was found is not what this program writes."""


class Rewound(StoreError):
    """The store is older than what this node has acknowledged: restored from a backup, or another
    cluster. Allocating from it would issue numbers twice.
    """


class Damaged(StoreError):
    """Head, ledger and gap keys contradict each other, or cannot be read."""


class EntryMissing(Damaged):
    """The ledger lacks an entry that it should have."""
