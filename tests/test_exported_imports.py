"""Rows of imports in an exported ledger: proven, and known by their texts, without etcd."""

import asyncio
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from books import RESET, call, write
from import_calls import COR, cor, csv_of
from test_check_duplicates import TWINS, checked, fill, fill_letters, list_of_letters, reserve
from test_importing import File
from test_proof_etcd import Place
from test_trimming import trim

from coordinator.cli import main
from coordinator.core.breaks import Break
from coordinator.core.keys import Keys
from coordinator.core.requests import Done, Issue
from coordinator.core.transaction import Range, prefix_end
from coordinator.duplicates import Findings, check, check_file
from coordinator.exports import export, prove_file
from coordinator.importing.importer import Importer
from coordinator.proof import prove
from coordinator.replica import Replica
from coordinator.store.memory import MemoryStore
from coordinator.text_index import TextIndex
from coordinator.witness import Witness

KEYS = Keys()
MANY = 4_000
"""Rows of an import that takes several keys."""


@pytest.fixture
def place(etcd: str) -> Place:
    return Place(etcd)


class Books:
    """A store in memory, for the imports of files."""

    def __init__(self, folder: Path) -> None:
        self.store = MemoryStore()
        self._folder = folder

    async def take(self, *texts: str, kind: str = "COR") -> None:
        file = File(self._folder, csv_of(texts, kind))
        importer = Importer(self.store, KEYS, "node-1", Witness(), 1)
        await importer.run(file.prepared, file.rows, call(), "a test")

    async def exported(self, counter: str = COR) -> bytes:
        out = io.BytesIO()
        await export(self.store, KEYS.root, counter, 1, 5_000, out)
        return out.getvalue()


@pytest.fixture
def books(tmp_path: Path) -> Books:
    return Books(tmp_path)


async def two_imports(books: Books) -> Books:
    await books.take(cor(2), cor(3))
    await books.take(*map(cor, range(10, MANY + 10)))
    return books


def auditors_own_check(content: bytes) -> int:
    """What an auditor may write to know what imported numbers stand for; returns how many."""
    lines, rows = iter(content.splitlines()), 0
    for line in lines:
        for record in json.loads(line).get("r", ()):
            if record["o"] == "import":
                for _, digest in record["x"]:
                    text = json.loads(next(lines))["text"]
                    assert hashlib.sha256(text.encode()).hexdigest() == digest, "altered rows"
                    rows += len(json.loads(text))
    return rows


async def test_an_export_has_the_rows_right_after_the_entry_that_names_them(books: Books) -> None:
    content = await (await two_imports(books)).exported()
    assert auditors_own_check(content) == 2 + MANY
    lines = [json.loads(line) for line in content.splitlines()]
    kinds = ["entry" if "v" in line else next(iter(line)) for line in lines[1:]]
    several = kinds.count("key_in_root") - 1
    assert several > 1
    assert kinds[:3] == ["entry", "key_in_root", "entry"]
    assert kinds[3 : 3 + several] == ["key_in_root"] * several
    assert lines[-1]["end"]["keys"] == len(lines) - 2 - 2
    about, verdict = prove_file(io.BytesIO(content))
    assert (verdict.valid, verdict.issued_now, verdict.rows_unproven) == (True, 2 + MANY, 0)
    assert about.has_rows


@pytest.mark.parametrize("value", [None, b"[]", b"\xff\n", b"x" * 700_000])
async def test_the_proof_of_the_file_says_what_the_proof_of_the_store_says(
    books: Books, value: bytes | None
) -> None:
    await two_imports(books)
    rows = Range(KEYS.rows_of_imports, prefix_end(KEYS.rows_of_imports))
    key = (await books.store.read(rows)).found[0][0].key
    books.store._set(key, value)
    there = await prove(books.store, KEYS.counter(COR), 1)
    assert [finding.kind for finding in there.findings] == [Break.ROWS]
    assert prove_file(io.BytesIO(await books.exported()))[1] == there


async def test_rows_taken_out_of_a_file_or_altered_in_it_are_found(books: Books) -> None:
    lines = (await (await two_imports(books)).exported()).splitlines(keepends=True)
    assert cor(2).encode() in lines[2]
    for changed, kinds in (
        ([*lines[:2], *lines[3:]], {Break.ROWS, Break.FILE}),
        ([*lines[:2], lines[2].replace(b"00002", b"00007"), *lines[3:]], {Break.ROWS}),
        ([*lines[:2], lines[4], *lines[3:]], {Break.ROWS}),
    ):
        _, verdict = prove_file(io.BytesIO(b"".join(changed)))
        assert {finding.kind for finding in verdict.findings} == kinds
        (found,) = (finding for finding in verdict.findings if finding.kind is Break.ROWS)
        assert found[1:3] == (1, 2)


def as_before(content: bytes) -> bytes:
    """Return an export as it was written before rows came with it."""
    first, *lines, last = map(json.loads, content.splitlines())
    kept = [line for line in content.splitlines()[1:-1] if b"key_in_root" not in line[:15]]
    last["end"]["keys"] -= len(lines) - len(kept)
    ends = (json.dumps(each).encode() for each in (first | {"version": 1}, last))
    return b"\n".join((next(ends), *kept, next(ends), b""))


async def test_an_older_file_is_proven_as_far_as_it_goes_and_says_so(
    books: Books, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = as_before(await (await two_imports(books)).exported())
    _, verdict = prove_file(io.BytesIO(old))
    assert (verdict.valid, verdict.rows_unproven) == (True, 2)
    path = tmp_path / "old.jsonl"
    path.write_bytes(old)
    assert await asyncio.to_thread(main, ["validate", "--file", str(path)]) == 0
    said = capsys.readouterr().out
    assert "The rows of 2 imports are not in this older export, and so not proven." in said
    duplicates = ["check-duplicates", "--file", str(path), "--json"]
    assert await asyncio.to_thread(main, duplicates) == 2
    (unknown,) = json.loads(capsys.readouterr().out)["not_checked"]
    assert "older export" in unknown


async def test_what_was_trimmed_is_exported_no_more(books: Books) -> None:
    for number in (2, 3, 5):
        await books.take(f"INV-{number:08}", kind="invoice")
    replica = Replica(books.store, KEYS.counter("invoice"), 1, Witness())
    assert isinstance(await trim(books.store, replica, 2), Done)
    content = await books.exported("invoice")
    assert auditors_own_check(content) == 1
    verdict = prove_file(io.BytesIO(content))[1]
    assert (verdict.valid, verdict.trimmed) == (True, 2)
    with TextIndex() as index:
        one = check_file(io.BytesIO(content), index, Findings())
    assert (one.trimmed, one.texts, one.unread) == (2, 1, "")


async def test_a_reset_forgets_the_texts_of_imports_before_it(books: Books) -> None:
    """In a file as in the store, where several entries are read at once."""
    await books.take("INV-00000002", kind="invoice")
    await write(books.store, KEYS.counter("invoice"), [[RESET], [Issue(call())]])
    for is_file in (True, False):
        with TextIndex() as index:
            if is_file:
                content = io.BytesIO(await books.exported("invoice"))
                check_file(content, index, Findings())
            else:
                await check(books.store, KEYS, ["invoice"], index, Findings())
            index.add_own([(2, 2, "INV-00000002")])
            (own,) = index.own_not_issued()
            assert own.known is None, is_file


# --- by the command line, of a real etcd ----------------------------------------------------------


def files_of(place: Place, folder: Path) -> list[str]:
    """Export all counters; return the words that name the files."""
    there = (meta["key"] for _, meta in place.client.get_prefix(f"{place.root}c/"))
    words = []
    for at, counter in enumerate(sorted({place.keys.counter_of(key) for key in there})):
        path = folder / f"{at}.jsonl"
        asked = ["audit-export", *place.source, "--counter", counter, "-o", str(path), "--force"]
        assert main(asked) == 0
        assert main(["validate", "--file", str(path)]) == 0
        words += ["--file", str(path)]
    return words


def import_letters(place: Place, folder: Path) -> None:
    legacy = folder / "legacy.csv"
    legacy.write_bytes(csv_of(["COR-2024-00001", "COR-2024-00003"]))
    assert main(["import", str(legacy), "--reason", "old books", "--yes", *place.source]) == 0


def answer_to(words: list[str], capsys: pytest.CaptureFixture[str], code: int) -> Any:
    capsys.readouterr()
    assert main(["check-duplicates", "--json", *words]) == code
    return json.loads(capsys.readouterr().out)


def test_files_tell_of_duplicates_what_etcd_tells(
    place: Place, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import_letters(place, tmp_path)
    fill_letters(place)
    listed = ("COR-2024-00001", "COR-2024-00002", "LET-001", "LET-002", "AGN-001", "3", "2")
    own = ["--documents", str(list_of_letters(tmp_path / "own.csv", *listed))]
    words = files_of(place, tmp_path)
    capsys.readouterr()
    of_etcd = checked(place, capsys, 1, *own)
    assert answer_to([*words, *own], capsys, 1) == of_etcd
    found = [(f["kind"], f["row"]) for f in of_etcd["findings"]]
    assert found == [("never-issued", 3), ("void", 5), ("given-back", 6), ("given-back", 8)]
    fill(place, "documents/TWN", [reserve(TWINS, "b")])
    of_etcd = checked(place, capsys, 1)
    assert [each["kind"] for each in of_etcd["findings"]] == ["text-twice"]
    assert answer_to(files_of(place, tmp_path), capsys, 1) == of_etcd


def cut(lines: list[bytes]) -> list[bytes]:
    return lines[:-1]


def without_last_entry(lines: list[bytes]) -> list[bytes]:
    return [line for line in lines if b'"i":1,' not in line]


def with_other_rows(lines: list[bytes]) -> list[bytes]:
    return [line.replace(b"COR-2024-00003", b"COR-2024-00009") for line in lines]


def without_rows(lines: list[bytes]) -> list[bytes]:
    return [line for line in lines if b"key_in_root" not in line]


def without_head(lines: list[bytes]) -> list[bytes]:
    return [b'{"key":"head","text":"x"}\n' if b'"head"' in line else line for line in lines]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_last_entry, "entries after 0 are missing"),
        (with_other_rows, "the ledger names"),
        (without_rows, "rows of an import are missing"),
        (without_head, "its head cannot be read"),
    ],
)
def test_a_file_that_is_not_as_it_was_written_is_no_clean_bill(
    place: Place,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    change: Callable[[list[bytes]], list[bytes]],
    said: str,
) -> None:
    import_letters(place, tmp_path)
    words = files_of(place, tmp_path)
    assert answer_to(words, capsys, 0)["complete"]
    path = Path(words[1])
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    (unknown,) = answer_to(words, capsys, 2)["not_checked"]
    assert said in unknown


def test_files_that_will_not_do_are_refused(
    place: Place, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import_letters(place, tmp_path)
    words = files_of(place, tmp_path)
    broken = tmp_path / "broken.jsonl"
    broken.write_bytes(b"".join(cut(Path(words[1]).read_bytes().splitlines(keepends=True))))
    for wrong, said in (
        ([*words, *words], "another file has documents/COR/yearly=2024 too"),
        (["--file", str(broken)], "Write it again with `coordinator audit-export`"),
        (["--file", str(tmp_path / "none")], "No such file"),
        ([*words, *place.source], "--etcd-endpoints, or exported ledgers by --file"),
        ([], "--etcd-endpoints, or exported ledgers by --file"),
    ):
        assert main(["check-duplicates", *wrong]) == 2
        assert said in capsys.readouterr().err, wrong
