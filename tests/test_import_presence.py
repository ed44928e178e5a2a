"""Imports that nobody is at work on any more: cleared away soon, and never committed after that."""

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from import_calls import Place
from tcp_proxy import TcpProxy
from test_importing import AtCommit, File, all_or_none, direct, place, run_import, small, way

from coordinator.clock import now_ms
from coordinator.core.transaction import Delete, Guard, Put, Transaction
from coordinator.import_files import in_silence
from coordinator.importing import presence, staging
from coordinator.importing.presence import present
from coordinator.importing.staging import TooMany
from coordinator.store import Committed, NotCommitted
from coordinator.store.etcd import EtcdStore

__all__ = ["direct", "place", "small", "way"]


async def test_what_was_broken_off_is_cleared_away_and_can_never_be_committed(
    small: File, place: Place, direct: EtcdStore
) -> None:
    overtaken: list[Guard] = []

    async def others_import() -> None:
        (there,) = await place.left(direct, "open")
        (here,) = await place.left(direct, "present")
        gone = Transaction(Guard(b"/never"), (Delete(here.key, here.key + b"\0"),), ())
        assert isinstance(await direct.commit(gone), Committed)  # as when its lease has ended
        another = staging.Staging(direct, place.keys)
        overtaken.append(await another.begin("another"))
        assert there.key not in [kv.key for kv in await place.left(direct, "open")]
        assert await place.left(direct, "rows") == ()

    class Slow(AtCommit):
        async def commit(self, transaction: Transaction) -> object:
            if len(transaction.also) > 1 and not overtaken:
                await others_import()
            return await self._store.commit(transaction)

    with pytest.raises(NotCommitted):
        await small.into(Slow(direct, lambda: None), place)  # type: ignore[arg-type]
    assert not await all_or_none(direct, place, 3)
    assert (await small.into(direct, place)).report.numbers == 3


async def test_rows_are_not_put_down_for_an_import_that_was_cleared_away(
    small: File, place: Place, direct: EtcdStore
) -> None:
    stage = staging.Staging(direct, place.keys)
    opened = await stage.begin("slow")
    assert await stage.end(opened) is None
    (share, *_) = small.prepared.shares
    rows, length = share.pieces[0]
    piece = staging.Piece(place.keys.import_rows("slow/000", 0), rows, length)
    with pytest.raises(NotCommitted, match="cleared away"):
        await stage.put(opened, [piece], small.rows, in_silence)
    assert await place.left(direct, "rows") == ()


async def test_open_imports_are_bounded(small: File, place: Place, direct: EtcdStore) -> None:
    stage = staging.Staging(direct, place.keys)
    async with AsyncExitStack() as under_way:
        for n in range(staging.OPEN_MAX):
            key = place.keys.present_import(f"under-way-{n}")
            await under_way.enter_async_context(present(direct, key))
            await stage.begin(f"under-way-{n}")
        with pytest.raises(TooMany, match="8 imports are being made"):
            await small.into(direct, place)
    assert not await all_or_none(direct, place, 3)
    assert await place.left(direct, "present") == ()
    assert len(await place.left(direct, "open")) == staging.OPEN_MAX
    assert (await small.into(direct, place)).report.numbers == 3
    assert await place.left(direct, "open") == ()


async def test_an_import_that_was_killed_bars_others_for_seconds_at_most(
    place: Place,
    small: File,
    direct: EtcdStore,
    way: TcpProxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(staging, "OPEN_MAX", 1)
    way.delay_s = 0.5
    process = await run_import(tmp_path / "file.csv", place, way.url)
    async with asyncio.timeout(60):
        while not await place.left(direct, "open"):
            await asyncio.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    barred = 0
    async with asyncio.timeout(60):
        while not barred or await place.left(direct, "open"):
            try:
                barred += 1
                assert (await small.into(direct, place)).report.numbers == 3
            except TooMany:
                await asyncio.sleep(0.2)
    assert await all_or_none(direct, place, 3)
    assert len({kv.key.split(b"/")[-3] for kv in await place.left(direct, "rows")}) == 1


async def test_an_open_import_of_a_former_version_is_left_alone_for_an_hour(
    small: File, place: Place, direct: EtcdStore
) -> None:
    for name, age_ms in (("new", 60_000), ("old", staging.ABANDONED_MS + 60_000)):
        key = place.keys.open_import(name)
        former = Put(key, b'{"t": %d}' % (now_ms() - age_ms))
        assert isinstance(await direct.commit(Transaction(Guard(key), (former,), ())), Committed)
    await small.into(direct, place)
    assert [kv.key.rpartition(b"/")[2] for kv in await place.left(direct, "open")] == [b"new"]


async def test_who_is_at_work_stays_present_also_when_its_lease_was_lost(
    place: Place, direct: EtcdStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "PRESENT_S", 1)
    key = place.keys.present_import("one")
    leases: list[int] = []

    class Noted(AtCommit):
        async def grant(self, ttl_s: int) -> int:
            leases.append(await direct.grant(ttl_s))
            return leases[-1]

    async with present(Noted(direct, lambda: None), key):  # type: ignore[arg-type]
        assert [kv.key for kv in await place.left(direct, "present")] == [key]
        await direct.revoke(leases[0])
        assert await place.left(direct, "present") == ()
        async with asyncio.timeout(20):
            while not await place.left(direct, "present"):
                await asyncio.sleep(0.02)
    assert await place.left(direct, "present") == ()
    assert len(leases) == 2
