"""The series in the store: one guarded transaction a change, whatever becomes of replies."""

import asyncio
from dataclasses import replace

import pytest
from support import LossyStore
from test_catalogue import NCR

from coordinator import registry as registries
from coordinator.core.catalogue import Catalogue, Exists, Series
from coordinator.core.keys import Keys
from coordinator.core.records import Origin
from coordinator.core.starter import STARTER
from coordinator.core.transaction import Guard, Put, Range, Transaction
from coordinator.faults import Damaged
from coordinator.registry import Change, InDoubt, OlderStore, Registry
from coordinator.store import NotCommitted, Outcome, Snapshot, Store, StoreError, Unknown
from coordinator.store.memory import MemoryStore

KEYS = Keys(b"/registry/")
WHO = Origin("", "", None, "ann", "127.0.0.1", "browser")


def numbered(number: int) -> Series:
    return replace(NCR, document_type=f"N{number}", prefix=f"N{number}")


async def define(registry: Registry, series: Series, name: str = "r", key: str = "") -> Change:
    def decide(before: Catalogue) -> tuple[Catalogue, Change]:
        after = before.with_new(series, key or None)
        return after, Change(after.version, series, WHO, name, 1, "needed", key or None)

    return await registry.change(decide)


async def test_a_change_is_there_with_who_made_it_and_why(store: Store) -> None:
    keys = Keys(f"/registry-{id(store)}/".encode())
    one, other = Registry(store, keys), Registry(store, keys)
    assert await one.catalogue() == STARTER
    made = await define(one, NCR, "first", "k")
    assert (await other.catalogue()).of("NCR") == NCR
    assert await other.changes_of("NCR", 10) == [made]
    assert await other.change_to(1) == made
    with pytest.raises(Exists):
        await define(other, NCR)


async def test_changes_at_the_same_moment_are_made_one_after_the_other(store: Store) -> None:
    keys = Keys(f"/registries-{id(store)}/".encode())
    nodes = [Registry(store, keys) for _ in range(4)]
    made = await asyncio.gather(*(define(nodes[n % 4], numbered(n)) for n in range(12)))
    assert sorted(change.version for change in made) == list(range(1, 13))
    assert len((await nodes[0].catalogue()).series) == len(STARTER.series) + 12


async def test_two_that_would_collide_are_not_both_made(store: Store) -> None:
    keys = Keys(f"/collide-{id(store)}/".encode())
    nodes = [Registry(store, keys) for _ in range(4)]
    made = await asyncio.gather(*(define(node, NCR) for node in nodes), return_exceptions=True)
    assert sorted(type(each).__name__ for each in made) == ["Change", "Exists", "Exists", "Exists"]


@pytest.mark.parametrize("seed", range(12))
async def test_on_a_bad_network_what_is_said_is_so(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registries, "CHANGE_WITHIN_S", 60.0)
    store = MemoryStore()
    nodes = [Registry(LossyStore(store, seed + n, 0.4), KEYS) for n in range(3)]
    some = [define(nodes[n % 3], numbered(n), f"r{n}") for n in range(9)]
    said = await asyncio.gather(*some, return_exceptions=True)
    truth = Registry(store, KEYS)
    catalogue = await truth.catalogue()
    defined = {series.document_type for series in catalogue.series}
    for n, outcome in enumerate(said):
        made = await truth.changes_of(f"N{n}", 10)
        if isinstance(outcome, Change):
            assert made == [outcome]
        else:
            assert isinstance(outcome, NotCommitted), outcome
            assert made == []
        assert (f"N{n}" in defined) == bool(made)
    assert catalogue.version == sum(isinstance(each, Change) for each in said)


class Silent(MemoryStore):
    """Takes a transaction, and never answers."""

    async def commit(self, transaction: Transaction) -> Outcome:
        await super().commit(transaction)
        await asyncio.Event().wait()
        raise AssertionError


class Doubtful(MemoryStore):
    async def commit(self, transaction: Transaction) -> Outcome:
        return Unknown("reply lost")


class Down(MemoryStore):
    async def read(self, *ranges: Range, revision: int = 0) -> Snapshot:
        await asyncio.Event().wait()
        raise AssertionError


@pytest.mark.parametrize(
    ("store", "told"), [(Silent, InDoubt), (Doubtful, InDoubt), (Down, StoreError)]
)
async def test_in_the_end_it_is_said_what_is_known(
    store: type[MemoryStore], told: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registries, "CHANGE_WITHIN_S", 0.2)
    with pytest.raises(told):
        await define(Registry(store(), KEYS), NCR)


async def test_a_store_that_went_back_is_refused() -> None:
    registry = Registry(MemoryStore(), KEYS)
    await define(registry, NCR)
    registry._store = MemoryStore()
    with pytest.raises(OlderStore, match="the store went back"):
        await registry.catalogue()
    with pytest.raises(OlderStore):
        await define(registry, numbered(1))


class Slow(MemoryStore):
    """Answers the first read late."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = asyncio.Event()
        self.reads = 0

    async def read(self, *ranges: Range, revision: int = 0) -> Snapshot:
        self.reads += 1
        is_first = self.reads == 1
        found = await super().read(*ranges, revision=revision)
        if is_first:
            await self.let_go.wait()
        return found


async def test_a_read_that_comes_late_is_no_store_that_went_back() -> None:
    store = Slow()
    registry = Registry(store, KEYS)
    late = asyncio.create_task(registry.catalogue())
    await asyncio.sleep(0)
    await define(registry, NCR)
    store.let_go.set()
    assert await late == STARTER
    assert (await registry.catalogue()).version == 1


async def test_a_damaged_catalogue_is_named() -> None:
    store = MemoryStore()
    put = (Put(KEYS.series, b"{}"), Put(KEYS.series_change(1), b"[]"))
    await store.commit(Transaction(Guard(KEYS.series), put, ()))
    with pytest.raises(Damaged, match="/registry/series"):
        await Registry(store, KEYS).catalogue()
    with pytest.raises(Damaged, match="no note of a change"):
        await Registry(store, KEYS).change_to(1)
    with pytest.raises(Damaged, match="is not in the store"):
        await Registry(store, KEYS).change_to(2)
