"""Idempotency keys beside the ledger: in blocks, as many as are remembered."""

import random
from unittest.mock import patch

from books import KEYS, A, call, commit

from coordinator.core import request_keys, state
from coordinator.core.keys import number_in
from coordinator.core.marks import decode_digests
from coordinator.core.request_keys import RequestKeys, digest
from coordinator.core.requests import Issue
from coordinator.core.transaction import Range, prefix_end
from coordinator.core.verify import Verifier
from coordinator.replica import Replica
from coordinator.store.memory import MemoryStore
from coordinator.witness import Witness


def blocks_in(store: MemoryStore) -> dict[int, list[tuple[int, int]]]:
    found = store._range(KEYS.all_request_keys(), store._revision)
    return {number_in(kv.key): decode_digests(number_in(kv.key), kv.value) for kv in found}


async def test_keys_share_blocks_in_the_store_and_the_oldest_blocks_are_deleted() -> None:
    patches = {"KEYS_PER_BLOCK": 6, "ENTRIES_PER_BLOCK": 9, "BLOCKS_FORGOTTEN_AT_ONCE": 2}
    chance = random.Random(3)
    with patch.multiple(request_keys, **patches), patch.object(state, "RequestKeys", few_keys):
        store = MemoryStore()
        replica = Replica(store, KEYS, 1, Witness())
        names: list[str] = []
        for index in range(1, 250):
            here = [f"key {index} {n}" for n in range(chance.choice((0, 0, 1, 1, 3, 14)))]
            requests = [Issue(call(A, name)) for name in here] or [Issue(call())]
            await commit(store, replica, KEYS, requests)
            names += here
            blocks = blocks_in(store)
            indexes = [i for block in blocks.values() for _, i in block]
            assert indexes == sorted(indexes)
            stored = {short for block in blocks.values() for short, _ in block}
            assert {digest(name) for name in names[-40:]} <= stored
            reloaded = await Replica(store, KEYS, 1, Witness()).state()
            ours = await replica.state()
            assert list(reloaded.keys._blocks) == list(ours.keys._blocks) == list(blocks)
            assert reloaded.keys._newest == ours.keys._newest
        assert len(stored) < 40 + 2 * 10 + 6 * 14
        verifier = Verifier(KEYS, 1, 40)
        for kv in store._range(Range(KEYS.prefix, prefix_end(KEYS.prefix)), store._revision):
            if kv.key.startswith(KEYS.all_entries):
                verifier.feed(kv)
            elif kv.key != KEYS.head:
                verifier.beside(kv)
        (head,) = store._range(Range(KEYS.head), store._revision)
        verdict = verifier.finish(head.value)
        assert verdict.valid, verdict.findings


def few_keys() -> RequestKeys:
    return RequestKeys(remembered=40, per_table=10)
