"""Long ranges, page by page, at one revision."""

from collections.abc import AsyncIterator

from coordinator.core.transaction import KeyValue, Range
from coordinator.store import Store

PAGE = 5_000
"""Keys in one read: a few hundred KiB of small values."""


async def all_of(
    store: Store, wanted: Range, revision: int = 0, page: int = PAGE
) -> AsyncIterator[tuple[KeyValue, ...]]:
    """Yield the pages of a range; with a revision they belong together.

    Raises Compacted when that revision goes while reading, Unavailable when nobody answers.
    """
    wanted = wanted._replace(limit=page)
    while True:
        (found,) = (await store.read(wanted, revision=revision)).found
        if found:
            yield found
        if len(found) < page:
            return
        wanted = wanted._replace(start=found[-1].key + b"\0")
