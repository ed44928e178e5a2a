"""A store whose content cannot be right. Waiting does not help; a person must look."""

from coordinator.store import StoreError


class Rewound(StoreError):
    """The store is older than what this node has acknowledged: restored from a backup, or another
    cluster. Allocating from it would issue numbers twice.
    """


class Damaged(StoreError):
    """Head, ledger and gap keys contradict each other, or cannot be read."""


class EntryMissing(Damaged):
    """The ledger lacks an entry that it should have."""
