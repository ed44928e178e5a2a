"""What numbers that were issued elsewhere stand for: rows beside the ledger, which it proves."""

from bisect import bisect_right
from collections.abc import AsyncIterator
from hashlib import sha256

from coordinator.core.importing import ImportedRow, decode_rows
from coordinator.core.keys import Keys
from coordinator.core.records import Imported, Rows
from coordinator.core.transaction import Range
from coordinator.core.unreadable import Unreadable
from coordinator.faults import Damaged
from coordinator.store import Store


async def row_of(store: Store, keys: Keys, record: Imported, number: int) -> ImportedRow | None:
    """Return the row of a number; None when the import had none for it.

    Raises StoreError; Damaged when the rows are not those that the ledger names.
    """
    at = bisect_right(record.rows, number, key=lambda rows: rows.first) - 1
    if at < 0:
        return None
    content, wrong = await _piece(store, keys, record.source, at, record.rows[at])
    if wrong:
        raise Damaged(f"{wrong}; restore them from a backup of etcd")
    try:
        found = {row.number: row for row in decode_rows(content)}
    except Unreadable as broken:
        raise Damaged(str(broken)) from broken
    return found.get(number)


async def all_rows(store: Store, keys: Keys, record: Imported) -> AsyncIterator[ImportedRow]:
    """Yield all rows of an import, by number. Raises as ``row_of`` does."""
    for at, rows in enumerate(record.rows):
        content, wrong = await _piece(store, keys, record.source, at, rows)
        if wrong:
            raise Damaged(f"{wrong}; restore them from a backup of etcd")
        for row in decode_rows(content):
            yield row


async def wrong_with(store: Store, keys: Keys, source: str, at: int, rows: Rows) -> str:
    """Return what is wrong with some rows of an import, empty for nothing. Raises StoreError."""
    return (await _piece(store, keys, source, at, rows))[1]


async def _piece(store: Store, keys: Keys, source: str, at: int, rows: Rows) -> tuple[bytes, str]:
    key = keys.import_rows(source, at)
    (found,) = (await store.read(Range(key))).found
    if not found:
        return b"", f"the rows from number {rows.first} on are not at {key.decode()}"
    digest = sha256(found[0].value).hexdigest()
    if digest != rows.digest:
        said = f"the rows at {key.decode()} have the hash {digest}, the ledger names {rows.digest}"
        return b"", said
    return found[0].value, ""
