"""Long ranges, page by page, at one revision."""

import asyncio
from collections.abc import AsyncIterator

from coordinator.core.transaction import KeyValue, Range
from coordinator.store import Store

PAGE = 5_000
"""Keys in one read: a few hundred KiB of small values."""


async def all_of(
    store: Store, wanted: Range, revision: int = 0, page: int = PAGE
) -> AsyncIterator[tuple[KeyValue, ...]]:
    """Yield the pages of a range; with a revision they belong together.

    The next page is on its way while one is worked on. Raises Compacted when that revision goes
    while reading, Unavailable when nobody answers.
    """
    wanted = wanted._replace(limit=page)
    reading = asyncio.create_task(store.read(wanted, revision=revision))
    try:
        while True:
            (found,) = (await reading).found
            is_last = len(found) < page
            if not is_last:
                wanted = wanted._replace(start=found[-1].key + b"\0")
                reading = asyncio.create_task(store.read(wanted, revision=revision))
            if found:
                yield found
            if is_last:
                return
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
