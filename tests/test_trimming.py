"""Old entries leave the store: what stays is proven, and nothing else changes."""

import asyncio
import io
from itertools import pairwise
from typing import Any

import orjson
import pytest
from books import HISTORY, KEYS, A, B, Book, call, commit, made, write
from hypothesis import given, settings
from hypothesis import strategies as st
from test_core_properties import (
    SITES,
    Model,
    batches,
    check_against_model,
    commit_batch,
    marks_in,
    numbers_in,
    request_of,
)

from coordinator.core.breaks import Break
from coordinator.core.head import decode
from coordinator.core.keys import Keys
from coordinator.core.requests import (
    Call,
    Done,
    Issue,
    NeedsEntries,
    Refused,
    Release,
    Trim,
    Why,
)
from coordinator.core.transaction import KeyValue, Range, prefix_end
from coordinator.exports import export, prove_file
from coordinator.history import History
from coordinator.jobs.trimming import checkpoint_after
from coordinator.proof import prove
from coordinator.replica import Replica
from coordinator.store import Store
from coordinator.store.memory import MemoryStore
from coordinator.witness import Seen, Witness

TRIMS = st.lists(st.tuples(st.integers(0, 11), st.integers(1, 12)), max_size=4)


async def trim(store: MemoryStore, replica: Replica, through: int) -> Any:
    checkpoint = await checkpoint_after(store, KEYS, 1, through)
    request = Trim(Call(SITES[0]._replace(site="", partition=""), "trim", 0), checkpoint)
    (answer,) = await commit_batch(store, replica, [request])
    return answer


async def everything(store: Store) -> dict[bytes, bytes]:
    (found,) = (await store.read(Range(KEYS.prefix, prefix_end(KEYS.prefix)))).found
    return {kv.key: kv.value for kv in found}


async def exported(store: Store) -> bytes:
    out = io.BytesIO()
    await export(store, Keys().root, "invoice", 1, 5_000, out)
    return out.getvalue()


@settings(max_examples=200, deadline=None)
@given(batches, TRIMS)
def test_any_history_goes_on_and_is_proven_however_it_is_trimmed(
    history: list[Any], trims: list[tuple[int, int]]
) -> None:
    async def run() -> None:
        store, model = MemoryStore(), Model()
        replica = Replica(store, KEYS, 1, Witness())
        for at, batch in enumerate(history):
            answers = await commit_batch(store, replica, [request_of(*r) for r in batch])
            answers = await trimmed_are_told(store, batch, answers)
            forget = [i for i, a in enumerate(answers) if a == "trimmed"]
            batch = [r for i, r in enumerate(batch) if i not in forget]  # noqa: PLW2901
            answers = [a for i, a in enumerate(answers) if i not in forget]
            check_against_model(model, batch, answers)
            for when, back in trims:
                head = (await replica.state()).head
                if when == at and head.trimmed < head.index - back:
                    answer = await trim(store, replica, head.index - back)
                    assert isinstance(answer, Done)
            state = await replica.state()
            assert numbers_in(state) == sorted(model.free)
            reloaded = await Replica(store, KEYS, 1, Witness()).state()
            assert reloaded.head == state.head
            assert marks_in(reloaded) == marks_in(state)
            verdict = await prove(store, KEYS, 1)
            assert verdict.valid, verdict.findings
            assert (verdict.trimmed, verdict.entries) == (state.head.trimmed, state.head.index)
            assert verdict.gaps == tuple(sorted(model.free))
            assert verdict.issued_now == len(model.owner) - len(model.free)
            of_file = prove_file(io.BytesIO(await exported(store)))[1]
            assert of_file == verdict
            await lives_are_told(store, model)

    asyncio.run(run())


async def trimmed_are_told(store: Store, batch: list[Any], answers: list[Any]) -> list[Any]:
    """Check that a release is refused as trimmed only if its entry is."""
    told = []
    for (kind, number, _), answer in zip(batch, answers, strict=True):
        if isinstance(answer, Refused) and answer.why is Why.TRIMMED:
            assert kind == "release"
            assert (await History(store, KEYS).holder(number)).trimmed
            told.append("trimmed")
        else:
            told.append(answer)
    return told


async def lives_are_told(store: Store, model: Model) -> None:
    reading = History(store, KEYS)
    for number, owner in model.owner.items():
        holder = await reading.holder(number)
        life = await reading.life(number)
        if number in model.free:
            assert holder.origin is None
            assert not holder.trimmed
        elif holder.trimmed:
            assert life.events == []
        else:
            assert holder.origin is not None
            assert holder.origin.site == owner
        if not life.trimmed:
            assert type(life.events[0].record).__name__ == "Issued"
        kinds = [type(event.record).__name__ for event in life.events]
        assert all(one != other for one, other in pairwise(kinds))


async def trimmed_book(through: int = 6, history: list[list[Any]] = HISTORY) -> Book:
    store = MemoryStore()
    await write(store, KEYS, history)
    replica = Replica(store, KEYS, 1, Witness())
    assert isinstance(await trim(store, replica, through), Done)
    await commit(store, replica, KEYS, [Issue(call(), 3)])
    return Book(tuple(KeyValue(k, v, 0) for k, v in (await everything(store)).items()))


async def proven(book: Book) -> list[Any]:
    store = MemoryStore()
    for kv in book.kvs():
        store._set(kv.key, kv.value)
    verdict = await prove(store, KEYS, 1)
    of_file = prove_file(io.BytesIO(await exported(store)))[1]
    assert of_file == verdict
    return [finding[:3] for finding in verdict.findings]


async def test_a_trimmed_ledger_is_whole() -> None:
    book = await trimmed_book()
    assert await proven(book) == []
    assert sorted(book.entries) == list(range(7, 14))
    checkpoint = decode(book.beside[KEYS.checkpoint])
    assert (checkpoint.index, checkpoint.next, checkpoint.gaps) == (6, 13, 0)
    assert book.head is not None
    assert (decode(book.head).trimmed, decode(book.head).kept) == (6, 13)
    assert not [key for key in book.beside if KEYS.reuse(0) <= key < KEYS.reuse(7)]


def edit_checkpoint(book: Book, **fields: Any) -> None:
    there = orjson.loads(book.beside[KEYS.checkpoint])
    book.beside[KEYS.checkpoint] = orjson.dumps(there | fields)


TAMPERED: list[tuple[str, Any]] = [
    ("missing", lambda b: b.beside.pop(KEYS.checkpoint)),
    ("unreadable", lambda b: b.beside.update({KEYS.checkpoint: b"{"})),
    *((str(f), lambda b, f=f: edit_checkpoint(b, **f)) for f in (
        {"issued": 9}, {"gaps": 3}, {"next": 12}, {"next": 99}, {"tip": "ab" * 32}, {"index": 5},
        {"index": 8}, {"counts": {}}, {"start": 2}, {"changed_ms": 7},
    )),
    ("another time's", lambda b: b.beside.update({KEYS.checkpoint: b.head})),
]  # fmt: skip


@pytest.mark.parametrize("tamper", [t for _, t in TAMPERED], ids=[name for name, _ in TAMPERED])
async def test_a_damaged_checkpoint_is_found_for_what_it_is(tamper: Any) -> None:
    book = await trimmed_book()
    tamper(book)
    assert (Break.CHECKPOINT, 13, None) in await proven(book)


async def test_a_checkpoint_where_nothing_was_trimmed_is_found() -> None:
    book = await made()
    book.beside[KEYS.checkpoint] = book.head or b""
    assert (Break.CHECKPOINT, 11, None) in await proven(book)


async def test_gaps_that_trimmed_entries_have_left_are_counted() -> None:
    history: list[list[Any]] = [[Issue(call(), 9)]]
    history += [[Release(call(), number, "x") for number in (2, 4, 6)], [Issue(call(B), 1)]]
    store = MemoryStore()
    await write(store, KEYS, history)
    replica = Replica(store, KEYS, 1, Witness())
    assert isinstance(await trim(store, replica, 2), Done)
    whole = Book(tuple(KeyValue(k, v, 0) for k, v in (await everything(store)).items()))
    assert await proven(whole) == []
    verdict = await prove(store, KEYS, 1)
    assert (verdict.gaps, verdict.issued_now, verdict.trimmed) == ((4, 6), 7, 2)

    lost, more, taken = whole.copy(), whole.copy(), whole.copy()
    del lost.beside[KEYS.gap(4)]
    more.beside[KEYS.gap(5)] = more.beside[KEYS.gap(4)]
    taken.beside[KEYS.gap(2)] = taken.beside[KEYS.gap(4)]
    for book in (lost, more):
        assert {kind for kind, *_ in await proven(book)} == {Break.OLD_GAPS}
    assert await proven(taken) == [(Break.TWO_STATES, 4, 2)]
    lower = whole.copy()  # 1 was free when 2 went out
    lower.beside[KEYS.gap(1)] = lower.beside.pop(KEYS.gap(4))
    assert (Break.NOT_LOWEST, 4, 1) in await proven(lower)


async def test_what_is_trimmed_is_refused_with_its_reason() -> None:
    store = MemoryStore()
    await write(store, KEYS)
    replica = Replica(store, KEYS, 1, Witness())
    assert isinstance(await trim(store, replica, 6), Done)
    (answer,) = await commit_batch(store, replica, [Release(call(), 1, "x")])
    assert answer == Refused(Why.TRIMMED, "1")
    (answer,) = await commit_batch(store, replica, [Release(call(B), 7, "x")])
    assert isinstance(answer, Done)  # it was issued again later
    life = await History(store, KEYS).life(7)
    assert (life.trimmed, len(life.events)) == (6, 3)
    assert (await History(store, KEYS).life(1)).trimmed == 6
    (answer,) = await commit_batch(store, replica, [Issue(call(A, "order 1"))])
    assert isinstance(answer, Done)  # forgotten with its entry
    (answer,) = await commit_batch(store, replica, [Issue(call(A, "order 2"))])
    assert isinstance(answer, NeedsEntries)  # entry 8 is there
    page = await History(store, KEYS).newest(9, 100)
    assert ([entry.index for entry, _ in page.entries], page.older) == ([8, 7], 0)


async def test_a_trim_never_takes_the_newest_entry_or_comes_twice() -> None:
    store = MemoryStore()
    await write(store, KEYS)
    replica = Replica(store, KEYS, 1, Witness())
    assert await trim(store, replica, 11) == Refused(Why.NOTHING_TO_TRIM)
    assert isinstance(await trim(store, replica, 6), Done)
    checkpoint = decode((await everything(store))[KEYS.checkpoint])
    again = Trim(call(), checkpoint)
    assert await commit_batch(store, replica, [again]) == [Refused(Why.NOTHING_TO_TRIM)]


async def test_a_node_far_behind_loads_the_counter_anew() -> None:
    store, witness = MemoryStore(), Witness()
    await write(store, KEYS, HISTORY[:3])
    behind = Replica(store, KEYS, 1, witness)
    await behind.state()
    await write(store, KEYS, HISTORY[3:])
    ahead = Replica(store, KEYS, 1, Witness())
    assert isinstance(await trim(store, ahead, 8), Done)
    found = (await store.read(Range(KEYS.head), KEYS.entries(4, 8))).found
    await behind.catch_up(found)
    assert (await behind.state()).head == (await ahead.state()).head
    restarted = Replica(store, KEYS, 1, Witness())
    restarted._witness.note(KEYS.prefix.decode(), Seen(3, "ab" * 32))
    assert (await restarted.state()).head.index == 12


async def test_entries_that_are_trimmed_while_a_node_reads_on_are_no_damage() -> None:
    store = MemoryStore()
    await write(store, KEYS, HISTORY[:3])
    behind = Replica(store, KEYS, 1, Witness())
    await behind.state()
    await write(store, KEYS, HISTORY[3:7])
    head_only = (*(await store.read(Range(KEYS.head))).found, ())
    await write(store, KEYS, HISTORY[7:])
    ahead = Replica(store, KEYS, 1, Witness())
    assert isinstance(
        await trim(store, ahead, 8), Done
    )  # entry 7, where that head is, has gone too
    assert not await behind.catch_up(head_only)
    assert (await behind.state()).head == (await ahead.state()).head


async def test_exports_before_and_after_a_trim_are_one_chain() -> None:
    store = MemoryStore()
    await write(store, KEYS)
    before = (await exported(store)).splitlines()
    assert isinstance(await trim(store, Replica(store, KEYS, 1, Witness()), 6), Done)
    after = (await exported(store)).splitlines()
    name, checkpoint = "text", orjson.loads(after[1])
    assert checkpoint["key"] == "checkpoint"
    said = orjson.loads(checkpoint[name])
    # An auditor: the checkpoint names the hash that the older export has at this entry.
    assert orjson.loads(before[said["index"] + 1])["p"] == said["tip"]
    assert before[said["index"] + 1 : 12] == after[2:7]
