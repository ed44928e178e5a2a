"""A ledger as a file: whole, at one revision, to be checked with or without this program."""

import base64
import copy
import hashlib
import io
import json
from pathlib import Path

import pytest
from books import HISTORY, KEYS, RESET, A, call, made, write

from coordinator import exports
from coordinator.core.breaks import Break
from coordinator.core.keys import Keys
from coordinator.core.marks import encode_digests
from coordinator.core.request_keys import digest
from coordinator.core.requests import Issue
from coordinator.core.transaction import Range
from coordinator.exports import NotWhole, export, prove_file
from coordinator.proof import prove
from coordinator.store import Compacted, Snapshot
from coordinator.store.memory import MemoryStore

ROOT = Keys().root


async def exported(store: MemoryStore) -> bytes:
    out = io.BytesIO()
    await export(store, ROOT, "invoice", 1, 5_000, out)
    return out.getvalue()


async def filled() -> MemoryStore:
    store = MemoryStore()
    await write(store)
    return store


def auditors_own_check(lines: list[bytes]) -> int:
    """What an auditor may write, with nothing of this program; returns the highest number."""
    first, *entries = [line for line in lines[:-1] if not line.startswith(b'{"key')]
    end, tip, seen = json.loads(lines[-1])["end"], "0" * 64, set()
    for line in entries:
        entry = json.loads(line)
        assert entry["p"] == tip, f"the chain breaks before entry {entry['i']}"
        tip = hashlib.sha256(bytes.fromhex(tip) + line).hexdigest()
        for r in entry["r"]:
            if r["o"] in ("issue", "issues"):
                seen.update(
                    range(r["f"], r["f"] + (len(r["q"]) if "issues" in r["o"] else r.get("n", 1)))
                )
    assert (end["tip"], end["entries"]) == (tip, len(entries)), "the file's end is another"
    assert seen == set(range(json.loads(first)["start"], max(seen) + 1)), "a number is missing"
    return max(seen)


async def test_an_auditor_checks_it_with_a_few_lines_of_their_own() -> None:
    content = await exported(await filled())
    lines = content.splitlines()
    assert auditors_own_check(lines) == 12
    for index in range(1, len(HISTORY)):
        with pytest.raises(AssertionError, match="chain"):
            auditors_own_check([*lines[:index], *lines[index + 1 :]])


async def test_it_holds_every_key_of_the_counter_as_it_is_in_the_store() -> None:
    store = await filled()
    about, *lines, end = (await exported(store)).splitlines()
    snapshot = await store.read(Range(KEYS.prefix, KEYS.prefix + b"\xff"))
    (there,) = snapshot.found
    found = {}
    for line in lines:
        fields = json.loads(line)
        if "v" in fields:
            found[KEYS.entry(fields["i"])] = line
        else:
            coded = fields.get("base64")
            value = base64.b64decode(coded) if coded is not None else fields["text"].encode()
            found[KEYS.prefix + fields["key"].encode()] = value
    assert found == {kv.key: kv.value for kv in there}
    assert json.loads(about) == {
        "format": "sequence ledger", "version": 2, "counter": "invoice", "root": "/sequence/",
        "start": 1, "entries": 11, "revision": snapshot.revision, "time_ms": 5_000,
    }  # fmt: skip
    assert json.loads(end)["end"]["entries"] + json.loads(end)["end"]["keys"] == len(lines)


async def test_the_proof_of_the_file_says_what_the_proof_of_the_store_says() -> None:
    whole = await filled()
    for key, value in (
        (None, None),
        (KEYS.gap(8), None),
        (KEYS.gap(5), b"x"),
        (KEYS.prefix + b"gap/\xff\n", b"\xff\n"),
        (KEYS.entry(5), None),
        (KEYS.entry(5), b"{\n\xff"),
        (KEYS.entry(5), b'{"v":2,"i":5}'),
        (KEYS.entry(5), b'{"v":2,"i":5'),
        (KEYS.entry(12), b'{"v":2,"i":12}'),
        (KEYS.head, None),
        (KEYS.head, b"\xff"),
    ):
        store = copy.deepcopy(whole)
        if key is not None:
            store._set(key, value)
        there = await prove(store, KEYS, 1)
        _, here = prove_file(io.BytesIO(await exported(store)))
        assert here == there
        assert here.valid == (key is None)


async def test_a_key_used_twice_is_found_in_a_file_too() -> None:
    store = MemoryStore()
    await write(store, KEYS, [[Issue(call(A, "key 1"))], [RESET], [Issue(call(A, "key 1"))]])
    assert prove_file(io.BytesIO(await exported(store)))[1].valid
    twice = await made([[Issue(call(A, "key 1"))], [Issue(call(A, "key 2"))]])
    twice.forge(2, "key 2", "key 1")
    twice.beside[KEYS.request_keys(1)] = encode_digests(1, [(digest("key 1"), i) for i in (1, 2)])
    for kv in twice.kvs():
        store._set(kv.key, kv.value)
    store._set(KEYS.entry(3), None)
    store._set(KEYS.request_keys(3), None)
    _, verdict = prove_file(io.BytesIO(await exported(store)))
    assert [f[:3] for f in verdict.findings] == [(Break.KEY_TWICE, 2, 2)]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
async def test_a_half_written_file_is_recognised(share: float) -> None:
    content = await exported(await filled())
    with pytest.raises(NotWhole):
        prove_file(io.BytesIO(content[: int(share * len(content))]))


async def test_a_file_cut_at_the_end_of_a_line_or_written_on_is_recognised() -> None:
    content = await exported(await filled())
    lines = content.splitlines(keepends=True)
    for wrong in (lines[:-1], lines[:5], [*lines, lines[-1]], [b"{}\n", *lines[1:]], [b"\n"]):
        with pytest.raises(NotWhole):
            prove_file(io.BytesIO(b"".join(wrong)))


async def test_a_line_taken_out_of_a_file_is_found() -> None:
    lines = (await exported(await filled())).splitlines(keepends=True)
    for at, kind in ((5, Break.MISSING_ENTRY), (-2, Break.MISSING_KEY)):
        less = [*lines]
        del less[at]
        _, verdict = prove_file(io.BytesIO(b"".join(less)))
        assert {finding.kind for finding in verdict.findings} == {kind, Break.FILE}


class Slow(MemoryStore):
    """A store that is written to and compacted while it is read."""

    compactions = 0

    async def read(self, *ranges: Range, revision: int = 0) -> Snapshot:
        if revision and self.compactions:
            remaining, self.compactions = self.compactions - 1, 0
            await write(self, KEYS, [[Issue(call(), 20)]])
            self.compactions = remaining
            raise Compacted("gone")
        return await super().read(*ranges, revision=revision)


async def test_it_starts_anew_when_its_revision_is_compacted_and_stays_consistent() -> None:
    store = Slow()
    await write(store)
    store.compactions = 1
    about, verdict = prove_file(io.BytesIO(await exported(store)))
    assert verdict.valid, verdict.findings
    assert about.entries == verdict.entries == len(HISTORY) + 1
    store.compactions = exports.TRIES
    with pytest.raises(Compacted):
        await exported(store)


async def test_what_is_committed_meanwhile_is_not_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    store = await filled()
    monkeypatch.setattr(exports, "ENTRIES_PAGE", 2)
    out = io.BytesIO()
    began = len(HISTORY)
    reads = 0
    read = store.read

    async def read_and_let_others_write(*ranges: Range, revision: int = 0) -> Snapshot:
        nonlocal reads
        reads += 1
        monkeypatch.setattr(store, "read", read)
        if reads > 1:
            await write(store, KEYS, [[Issue(call(), 3)]])
        monkeypatch.setattr(store, "read", read_and_let_others_write)
        return await read(*ranges, revision=revision)

    monkeypatch.setattr(store, "read", read_and_let_others_write)
    done = await export(store, ROOT, "invoice", None, 0, out)
    out.seek(0)
    about, verdict = prove_file(out)
    assert verdict.valid, verdict.findings
    assert (done.about.start, about.entries, verdict.entries) == (1, began, began)


async def test_an_empty_counter_is_an_empty_valid_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(await exported(MemoryStore()))
    with path.open("rb") as file:
        _, verdict = prove_file(file)
    assert (verdict.valid, verdict.entries, verdict.issued_now) == (True, 0, 0)
