"""Ledgers to tamper with: a real history, as plans have written it, taken out of its store."""

import asyncio
import copy
from dataclasses import replace
from typing import Any

import orjson

from coordinator.core import head as heads
from coordinator.core import ledger
from coordinator.core.head import Head, advance
from coordinator.core.keys import CounterKeys, Keys
from coordinator.core.ledger import NO_HASH
from coordinator.core.plan import Rules, plan
from coordinator.core.records import Origin, Part
from coordinator.core.requests import Ask, Call, Done, Instant, Issue, NeedsHolder, Release, Reset
from coordinator.core.transaction import KeyValue, Range, prefix_end
from coordinator.core.verify import Verdict, Verifier
from coordinator.history import History
from coordinator.replica import Replica
from coordinator.store import Committed, Store
from coordinator.store.memory import MemoryStore
from coordinator.witness import Witness

KEYS = Keys().counter("invoice")
A = Origin("site-1", "partition-a", "on-cycle")
B = Origin("site-2", "partition-b", "off-cycle")

Seen = list[tuple[str, int, int | None]]


def call(origin: Origin = A, key: str | None = None) -> Call:
    return Call(origin, "c", 0, key, None if key is None else "aa")


HISTORY: list[list[Any]] = [
    [Issue(call(), 5)],  # entry 1: 1 to 5
    [Issue(call()), Issue(call(B)), Issue(call())],  # 2: 6, 7, 8
    [Issue(call(B), 3)],  # 3: 9, 10, 11
    [Release(call(), 2, "x"), Release(call(), 4, "x")],  # 4
    [Issue(call(B, "order 1"))],  # 5: 2 again
    [Issue(call(), 2)],  # 6: 4 again, 12
    [Release(call(B), 7, "x"), Release(call(), 3, "x")],  # 7
    [Issue(call(A, "order 2"))],  # 8: 3 again
    [Issue(call(B), 1)],  # 9: 7 again
    [Release(call(), 8, "x")],  # 10: 8 stays a gap
    [Release(call(B), 10, "x")],  # 11: 10 stays a gap
]


async def commit(store: Store, replica: Replica, keys: CounterKeys, batch: list[Any]) -> None:
    """Commit a batch as a node does, with the evidence that it asks for."""
    state = await replica.state()
    index = state.head.index + 1
    asks = [Ask(request) for request in batch]
    while True:
        parts, now = (Part("node", "run", index),), Instant(1_000 * index, index)
        planned = plan(state, keys, replica.guard, asks, now, parts, Rules())
        wanted = [(i, r) for i, r in enumerate(planned.replies) if isinstance(r, NeedsHolder)]
        if not wanted:
            break
        for position, needs in wanted:
            holder = await History(store, keys).holder(needs.number)
            asks[position] = asks[position]._replace(holder=holder)
    assert all(isinstance(reply, Done) for reply in planned.replies), planned.replies
    outcome = await store.commit(planned.transaction)
    assert isinstance(outcome, Committed)
    replica.forget()


async def write(store: Store, keys: CounterKeys = KEYS, history: list[list[Any]] = HISTORY) -> None:
    replica = Replica(store, keys, 1, Witness())
    for batch in history:
        await commit(store, replica, keys, batch)


class Book:
    """A counter as bytes: entries by index, the head, and all keys beside them."""

    def __init__(self, found: tuple[KeyValue, ...]) -> None:
        self.entries: dict[int, bytes] = {}
        self.beside: dict[bytes, bytes] = {}
        self.head: bytes | None = None
        for kv in found:
            if kv.key == KEYS.head:
                self.head = kv.value
            elif kv.key.startswith(KEYS.all_entries):
                self.entries[int(kv.key[-20:])] = kv.value
            else:
                self.beside[kv.key] = kv.value

    def copy(self) -> "Book":
        return copy.deepcopy(self)

    def edit(self, index: int, old: str, new: str) -> None:
        """Alter an entry's bytes, and nothing else."""
        assert old.encode() in self.entries[index], self.entries[index]
        self.entries[index] = self.entries[index].replace(old.encode(), new.encode(), 1)

    def forge(self, index: int, old: str, new: str, *, also_head: bool = True) -> None:
        """Alter an entry as somebody does who knows the format: every hash fits again."""
        self.edit(index, old, new)
        self.rewrite(also_head=also_head)

    def rewrite(self, *, also_head: bool = True) -> None:
        """Compute the chain anew, and the head."""
        tip, head = NO_HASH, Head(start=1, next=1)
        for index in sorted(self.entries):
            entry = replace(ledger.decode(self.entries[index]), previous=tip)
            self.entries[index] = ledger.encode(entry)
            tip = ledger.chain(tip, self.entries[index])
            head = advance(head, entry, tip)
        if also_head:
            self.head = heads.encode(head)

    def edit_head(self, **fields: Any) -> None:
        assert self.head is not None
        self.head = orjson.dumps(orjson.loads(self.head) | fields)

    def kvs(self) -> list[KeyValue]:
        some = {KEYS.entry(index): content for index, content in self.entries.items()}
        if self.head is not None:
            some[KEYS.head] = self.head
        return [KeyValue(key, value, 0) for key, value in sorted((some | self.beside).items())]

    def prove(self, window: int = 1_000_000) -> Verdict:
        """Prove it without a store."""
        verifier = Verifier(KEYS, 1, window)
        for index, content in sorted(self.entries.items()):
            verifier.feed(KeyValue(KEYS.entry(index), content, 0))
        for key, value in self.beside.items():
            verifier.beside(KeyValue(key, value, 0))
        for place in verifier.flush(self.head):
            verifier.confirm(KeyValue(KEYS.entry(place), self.entries[place], 0), place)
        return verifier.finish(self.head)

    def seen(self) -> Seen:
        """Return what the proof finds: kind, entry, number."""
        return [(f.kind.value, f.entry, f.number) for f in self.prove().findings]


async def made(history: list[list[Any]] = HISTORY) -> Book:
    store = MemoryStore()
    await write(store, KEYS, history)
    return Book((await store.read(Range(KEYS.prefix, prefix_end(KEYS.prefix)))).found[0])


def book(history: list[list[Any]] = HISTORY) -> Book:
    return asyncio.run(made(history))


RESET = Reset(call())
