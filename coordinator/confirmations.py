"""In which entry a reservation was confirmed.

A number that stays in use leaves no key of its own beside the ledger. But a reservation is settled
under a key made of its number and its token, and the digests of used keys stand beside the ledger,
in the order of the entries: looking for one from the reservation on finds it early, most often.
"""

from coordinator.core import ledger
from coordinator.core.keys import CounterKeys, number_in
from coordinator.core.marks import entries_with
from coordinator.core.records import Settled, settling_key
from coordinator.core.request_keys import ENTRIES_PER_BLOCK, digest
from coordinator.core.transaction import Range
from coordinator.store import Store
from coordinator.store.paging import all_of

BLOCKS_PER_READ = 100
"""Blocks of digests in one read: 60 kB of small ones, 1 MB of large ones."""


async def settled_in(
    store: Store, keys: CounterKeys, reserved_in: int, number: int, token: str
) -> int:
    """Return the entry that settled a reservation; 0 when its key is remembered no more.

    ``reserved_in`` is the entry that made it. All the digests there are can be 9 MB.
    """
    short = digest(settling_key(number, token))
    wanted = keys.all_request_keys(max(0, reserved_in - ENTRIES_PER_BLOCK))
    async for page in all_of(store, wanted, page=BLOCKS_PER_READ):
        for kv in page:
            for index in entries_with(number_in(kv.key), kv.value, short):
                if await _is_settled_in(store, keys, index, number, token):
                    return index
    return 0


async def _is_settled_in(
    store: Store, keys: CounterKeys, index: int, number: int, token: str
) -> bool:
    (found,) = (await store.read(Range(keys.entry(index)))).found
    return any(
        isinstance(record, Settled) and (record.number, record.held.token) == (number, token)
        for kv in found
        for record in ledger.decode(kv.value).records
    )
