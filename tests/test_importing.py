"""What may go wrong around an import's one commit: lost replies, crashes, others at the same time.

On a real etcd behind a way that can be made bad, and on a store in memory that loses and delays.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from import_calls import COR, Place, cor, csv_of
from support import ROOT, LossyStore, until
from tcp_proxy import Fault, TcpProxy

from coordinator.core.breaks import Break
from coordinator.core.head import Head
from coordinator.core.keys import Keys
from coordinator.core.plan import Rules, plan
from coordinator.core.records import Imported, Origin, Part
from coordinator.core.requests import Ask, Call, Close, Instant
from coordinator.core.starter import STARTER
from coordinator.core.state import CounterState
from coordinator.core.transaction import Delete, Guard, Put, Transaction
from coordinator.faults import Damaged, Rewound
from coordinator.import_files.choice import Choice
from coordinator.imported_rows import row_of
from coordinator.importing import importer as importers
from coordinator.importing import staging
from coordinator.importing.importer import Importer
from coordinator.importing.preparing import Prepared, prepare
from coordinator.importing.report import Done, RowsRefused
from coordinator.proof import prove
from coordinator.registry import InDoubt
from coordinator.store import Committed, NotCommitted, Store, StoreError
from coordinator.store.etcd import EtcdStore
from coordinator.store.memory import MemoryStore
from coordinator.witness import Seen, Witness

OLD = "documents/COR/yearly=2024"


def call(key: str | None = None) -> Call:
    return Call(Origin("", "", None, "ann"), "r", 0, key)


class File:
    """A prepared file: its rows are where the importer finds them."""

    def __init__(self, folder: Path, content: bytes) -> None:
        source, self.rows = folder / "file.csv", folder / "rows"
        source.write_bytes(content)
        self.prepared: Prepared = prepare(source, STARTER, Choice(), self.rows)

    async def into(self, store: Store, place: Place, key: str | None = None) -> Done:
        importer = Importer(store, place.keys, "node-1", Witness(), None)
        return await importer.run(self.prepared, self.rows, call(key), "a test")


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture
def small(tmp_path: Path) -> File:
    return File(tmp_path, csv_of([cor(2), cor(3), cor(1, 2024)]))


@pytest.fixture
async def direct(etcd: str) -> AsyncIterator[EtcdStore]:
    opened = EtcdStore((etcd,))
    yield opened
    await opened.close()


@pytest.fixture
async def way(etcd: str) -> AsyncIterator[TcpProxy]:
    proxy = await TcpProxy("127.0.0.1", int(etcd.rsplit(":", 1)[1])).start()
    yield proxy
    await proxy.stop()


@pytest.fixture
async def behind(way: TcpProxy) -> AsyncIterator[EtcdStore]:
    opened = EtcdStore((way.url,), commit_s=0.3)
    yield opened
    await opened.close()


class AtCommit:
    """A store whose way becomes bad right before the commit of an import is sent."""

    def __init__(self, store: Store, do: Callable[[], None]) -> None:
        self._store = store
        self._do = do

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def commit(self, transaction: Transaction) -> object:
        if len(transaction.also) > 1:
            self._do()
            self._do = lambda: None
        return await self._store.commit(transaction)


async def all_or_none(store: Store, place: Place, numbers: int) -> bool:
    """Return whether the import is in the books; it is in all of them, or in none."""
    heads = [await place.head(store, counter) for counter in (COR, OLD)]
    done = await place.left(store, "done")
    assert len({head is None for head in heads} | {not done}) == 1
    if heads[0] is None:
        return False
    found = [await place.proven(store, counter) for counter in (COR, OLD)]
    assert sum(found) == numbers
    return True


@pytest.mark.parametrize("fault", [Fault.DROP_REPLY, Fault.LOSE_REPLIES, Fault.RESET_REQUESTS])
async def test_a_commit_whose_reply_was_lost_is_found_out_and_done_once(
    small: File, place: Place, direct: EtcdStore, behind: EtcdStore, way: TcpProxy, fault: Fault
) -> None:
    def turn_bad() -> None:
        way._fault = fault
        asyncio.get_running_loop().call_later(1, lambda: setattr(way, "_fault", Fault.NONE))

    done = await small.into(AtCommit(behind, turn_bad), place)  # type: ignore[arg-type]
    assert (done.replayed, done.report.numbers) == (False, 3)
    assert await all_or_none(direct, place, 3)
    assert len(await place.entries(direct)) == 1
    assert await place.left(direct, "open") == ()


@pytest.mark.parametrize("delivered", [True, False])
async def test_at_the_end_of_its_time_an_import_in_doubt_is_called_off_unless_it_was_done(
    small: File,
    place: Place,
    direct: EtcdStore,
    behind: EtcdStore,
    way: TcpProxy,
    monkeypatch: pytest.MonkeyPatch,
    *,
    delivered: bool,
) -> None:
    monkeypatch.setattr(importers, "COMMITTED_WITHIN_S", 1.0)

    def turn_bad() -> None:
        way._fault = Fault.LOSE_REPLIES if delivered else Fault.BLACK_HOLE
        asyncio.get_running_loop().call_later(1.5, lambda: setattr(way, "_fault", Fault.NONE))

    importing_ = small.into(AtCommit(behind, turn_bad), place)  # type: ignore[arg-type]
    if delivered:
        assert not (await importing_).replayed
    else:
        with pytest.raises(NotCommitted, match="called off"):
            await importing_
    assert await all_or_none(direct, place, 3) == delivered
    assert await place.left(direct, "open") == ()
    assert bool(await place.left(direct, "rows")) == delivered


async def test_what_stays_in_doubt_is_said_and_the_key_finds_it_out(
    small: File,
    place: Place,
    direct: EtcdStore,
    behind: EtcdStore,
    way: TcpProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importers, "COMMITTED_WITHIN_S", 0.8)
    monkeypatch.setattr(staging, "WRITTEN_WITHIN_S", 0.8)

    def turn_bad() -> None:
        way._fault = Fault.LOSE_REPLIES

    with pytest.raises(InDoubt):
        await small.into(AtCommit(behind, turn_bad), place, "k")  # type: ignore[arg-type]
    await way.set(Fault.NONE)
    assert (await small.into(direct, place, "k")).replayed
    assert await all_or_none(direct, place, 3)


async def run_import(source: Path, place: Place, url: str) -> asyncio.subprocess.Process:
    words = ("import", str(source), "--yes", "--etcd-endpoints", url, "--root", place.root)
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "coordinator", *words),
        cwd=ROOT,
        stdout=asyncio.subprocess.DEVNULL,
    )


async def test_a_crash_at_any_moment_leaves_all_or_nothing_and_the_next_run_ends_it(
    etcd: str, way: TcpProxy, direct: EtcdStore, tmp_path: Path
) -> None:
    long = "x" * 3_000
    rows = [f'COR,{cor(n)},,"{{""a"": ""{long}""}}"' for n in range(1, 200)]
    source = tmp_path / "old.csv"
    lines = ["document_type,document_number,created_at,metadata", *rows, f"COR,{cor(1, 2024)},,"]
    source.write_text("\n".join(lines), encoding="utf-8")

    whole = await run_import(source, Place(), way.url)
    assert await whole.wait() == 0
    replies = way.answered
    way.delay_s = 0.03
    outcomes = set()
    for killed_at in (replies - 5, replies - 2, replies - 1, replies):
        place, way.answered = Place(), 0
        process = await run_import(source, place, way.url)
        await until(lambda at=killed_at: way.answered >= at, "so many replies", 30)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        await asyncio.sleep(0.1)  # what is under way arrives
        outcomes.add(await all_or_none(direct, place, 200))
        again = await run_import(source, place, etcd)
        assert await again.wait() == 0
        assert await all_or_none(direct, place, 200)
    assert outcomes == {True, False}


@pytest.mark.parametrize("seed", range(12))
async def test_on_a_store_that_loses_and_delays_one_of_two_comes_in_whole(
    small: File, place: Place, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.commit.PAUSE_FIRST_S", 0.0)
    monkeypatch.setattr("coordinator.commit.PAUSE_LONGEST_S", 0.0)
    monkeypatch.setattr(staging, "PAUSE_S", 0.0)
    truth = MemoryStore()
    lossy: Store = LossyStore(truth, seed, 0.4)  # type: ignore[assignment]
    keys = ("a", "b") if seed % 2 else ("same", "same")

    async def one(key: str) -> bool:
        for _ in range(50):
            try:
                return not (await small.into(lossy, place, key)).replayed
            except StoreError:
                continue
            except RowsRefused as refused:
                return {error.code for error in refused.report.errors} != {"NB005"}
        raise AssertionError("it never comes to an end")

    first = sorted(await asyncio.gather(*map(one, keys)))
    assert first == [False, True]
    assert await all_or_none(truth, place, 3)
    assert [len(await place.entries(truth, counter)) for counter in (COR, OLD)] == [1, 1]
    rows = {kv.key.split(b"/")[-3] for kv in await place.left(truth, "rows")}
    open_ = {kv.key.rpartition(b"/")[2] for kv in await place.left(truth, "open")}
    assert len(rows - open_) == 1, "all other rows are those of imports that may be cleared away"


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_key_imports_one_file_even_where_two_have_no_counter_in_common(
    small: File, place: Place, direct: EtcdStore, tmp_path: Path, *, at_once: bool
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    other = File(folder, csv_of([cor(9, 2023)]))
    if at_once:
        both = small.into(direct, place, "k"), other.into(direct, place, "k")
        answers = await asyncio.gather(*both, return_exceptions=True)
    else:
        first = await small.into(direct, place, "k")
        answers = [first, *await asyncio.gather(other.into(direct, place, "k"),
                                                return_exceptions=True)]  # fmt: skip
    assert sorted(type(answer).__name__ for answer in answers) == ["Done", "KeyReused"]
    assert len(await place.left(direct, "done")) == 1
    assert await place.left(direct, "open") == ()


async def test_who_goes_away_leaves_nothing_behind(
    small: File, place: Place, direct: EtcdStore
) -> None:
    importing_: asyncio.Task[Done]

    def leave(_what: str, _done: int, _total: int) -> None:
        importing_.cancel()

    importer = Importer(direct, place.keys, "node-1", Witness(), None)
    run = importer.run(small.prepared, small.rows, call(), "a test", leave)
    importing_ = asyncio.create_task(run)
    with pytest.raises(asyncio.CancelledError):
        await importing_
    assert not await all_or_none(direct, place, 3)
    assert [await place.left(direct, what) for what in ("open", "rows")] == [(), ()]


async def test_numbers_beyond_the_series_and_of_a_closed_counter_are_refused_by_row(
    small: File, place: Place
) -> None:
    store, keys = MemoryStore(), place.keys.counter(OLD)
    state, close = CounterState(Head(start=1, next=1)), Close(call(), "the year is over")
    part = (Part("node-1", "run-1", 1),)
    closing = plan(state, keys, Guard(keys.head), [Ask(close)], Instant(1, 1), part, Rules())
    assert isinstance(await store.commit(closing.transaction), Committed)
    shares = small.prepared.shares
    narrow = small.prepared._replace(shares=(shares[0], shares[1]._replace(max_value=2)))
    importer = Importer(store, place.keys, "node-1", Witness(), None)
    report = await importer.check(narrow, call())
    assert [(error.row, error.code) for error in report.errors] == [(3, "NB002"), (4, "NB033")]
    assert "The series ends at 2" in report.errors[0].message
    assert report.errors[1].message == f"{OLD} is closed. Import no number of it."


async def test_a_store_that_went_back_takes_no_import(small: File, place: Place) -> None:
    witness = Witness()
    witness.note(place.keys.counter(COR).prefix.decode(), Seen(7, "a" * 64))
    importer = Importer(MemoryStore(), place.keys, "node-1", witness, None)
    with pytest.raises(Rewound):
        await importer.run(small.prepared, small.rows, call(), "a test")


async def test_the_proof_finds_rows_that_are_missing_or_altered(
    small: File, place: Place, direct: EtcdStore
) -> None:
    await small.into(direct, place)
    keys = place.keys.counter(COR)
    (entry,) = await place.entries(direct)
    (record,) = entry.records
    assert isinstance(record, Imported)
    key = place.keys.import_rows(record.source, 0)
    for write in (Put(key, b"[]"), Delete(key, key + b"\0")):
        outcome = await direct.commit(Transaction(Guard(b"/never"), (write,), ()))
        assert isinstance(outcome, Committed)
        verdict = await prove(direct, keys, 1)
        assert [(f.kind, f.entry, f.number) for f in verdict.findings] == [(Break.ROWS, 1, 2)]
        with pytest.raises(Damaged, match="restore them from a backup"):
            await row_of(direct, place.keys, record, 3)
    assert (await prove(direct, place.keys.counter(OLD), 1)).valid


def test_a_counter_knows_its_installation() -> None:
    for root in (b"/sequence/", b"/c/"):
        assert Keys(root).counter("a/b c").installation == Keys(root)
