"""``coordinator check-duplicates`` on a real etcd, with ledgers tampered with by another client."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from books import Book, book, call, write
from import_calls import csv_of
from test_proof_etcd import Place
from workbooks import saved, workbook

from coordinator.cli import main
from coordinator.core import head as heads
from coordinator.core import ledger
from coordinator.core.catalogue import GapPolicy, Series
from coordinator.core.head import Head, advance
from coordinator.core.records import How
from coordinator.core.requests import Issue, Release, Reserve, Settle
from coordinator.duplicates import FINDINGS_KEPT, Finding, Findings, Kind
from coordinator.store.etcd import EtcdStore

LETTERS = Series("LET", "LET-{SEQ:3}", "LET")
TWINS = Series("TWN", "LET-{SEQ:3}", "TWN")
"""Written alike: the catalogue would refuse it."""

AGAIN = Series("AGN", "AGN-{SEQ:3}", "AGN", gap_policy=GapPolicy.REUSE)


@pytest.fixture
def place(etcd: str) -> Place:
    return Place(etcd)


def reserve(series: Series, token: str) -> Reserve:
    return Reserve(call(), series, (), token)


def settle(number: int, token: str, how: How, *, voids: bool = True) -> Settle:
    return Settle(call(), number, token, how, voids)


def fill(place: Place, counter: str, *batches: list[Any]) -> None:
    async def write_all() -> None:
        store = EtcdStore((place.url,))
        await write(store, place.keys.counter(counter), list(batches))
        await store.close()

    asyncio.run(write_all())


def fill_letters(place: Place) -> None:
    """1 confirmed, 2 void, 3 still reserved; of another series 1 given back; bills 1 to 3."""
    fill(
        place,
        "documents/LET",
        [reserve(LETTERS, "a"), reserve(LETTERS, "b"), reserve(LETTERS, "c")],
        [settle(1, "a", How.CONFIRMED), settle(2, "b", How.CANCELLED)],
    )
    again = [settle(1, "d", How.CANCELLED, voids=False)]
    fill(place, "documents/AGN", [reserve(AGAIN, "d")], again)
    fill(place, "invoice", [Issue(call(), 3)], [Release(call(), 2, "x")])


def checked(place: Place, capsys: pytest.CaptureFixture[str], code: int, *more: str) -> Any:
    assert main(["check-duplicates", *place.source, "--json", *more]) == code
    answer = json.loads(capsys.readouterr().out)
    assert answer["duplicates"] == (code == 1)
    return answer


def kinds(answer: Any) -> list[Any]:
    return [(f["kind"], f["counter"], f["number"], f["entry"]) for f in answer["findings"]]


def test_ledgers_in_order_are_shown_and_nothing_is_found(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    fill_letters(place)
    assert main(["check-duplicates", *place.source]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        *("counter", "documents/AGN", "documents/LET", "invoice", "all", "found:")
    ]
    assert lines[2].split() == ["documents/LET", "1", "1", "0", "1", "3", "2"]
    assert lines[4].split() == ["all", "3", "1", "2", "1", "4", "6"]


def test_a_number_that_goes_out_twice_is_found_in_a_ledger_whose_hashes_fit(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    tampered = book()
    tampered.forge(9, '"g":[[7,', '"g":[[6,')
    place.store(tampered)
    answer = checked(place, capsys, 1)
    assert kinds(answer) == [("number-twice", "invoice", 6, 9)]
    assert "no release lies between" in answer["findings"][0]["detail"]


def test_a_text_that_stands_for_two_numbers_is_found_and_reuse_is_none(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    back = [settle(1, "d", How.CANCELLED, voids=False)]
    fill(place, "documents/AGN", [reserve(AGAIN, "d")], back, [reserve(AGAIN, "e")])
    fill(place, "documents/LET", [reserve(LETTERS, "a")])
    assert not checked(place, capsys, 0)["findings"]
    fill(place, "documents/TWN", [reserve(TWINS, "b")])
    answer = checked(place, capsys, 1)
    assert kinds(answer) == [("text-twice", "documents/TWN", 1, 1)]
    assert "documents/LET" in answer["findings"][0]["detail"]


@pytest.mark.parametrize("how", ["missing", "unreadable", "head", "last"])
def test_what_cannot_be_read_is_no_clean_bill(
    place: Place, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    tampered = book()
    match how:
        case "missing":
            tampered.entries.pop(5)
        case "unreadable":
            tampered.entries[5] = b"{"
        case "head":
            tampered.head = b"{"
        case "last":
            tampered.entries.pop(11)
    place.store(tampered)
    answer = checked(place, capsys, 2)
    assert (answer["complete"], len(answer["not_checked"])) == (False, 1)


def list_of_letters(path: Path, *numbers: str) -> Path:
    rows = "\n".join(f"{n};a letter" for n in numbers)
    path.write_text(f"Document Number;title\n{rows}\n", encoding="utf-8")
    return path


LISTED = ("LET-001", "LET-002", "LET-001", "LET-003", "LET-004", "AGN-001", " LET-001", "2", "3")
EXPECTED = [
    ("unfit-row", 8),
    ("file-twice", 2),
    ("void", 3),
    ("only-reserved", 5),
    ("never-issued", 6),
    ("given-back", 7),
    ("given-back", 9),
]


def test_a_list_of_documents_is_compared_row_by_row(
    place: Place, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    fill_letters(place)
    path = list_of_letters(tmp_path / "own.csv", *LISTED)
    answer = checked(place, capsys, 1, "--documents", str(path))
    assert [(f["kind"], f["row"]) for f in answer["findings"]] == EXPECTED
    assert answer["rows"] == len(LISTED)
    assert "row 2, row 4" in answer["findings"][1]["detail"]
    fine = list_of_letters(tmp_path / "fine.csv", "LET-001", "1", "3")
    assert not checked(place, capsys, 0, "--documents", str(fine))["findings"]


def test_a_workbook_will_do_and_its_other_columns_may_hold_anything(
    place: Place, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    fill_letters(place)
    path = tmp_path / "own.xlsx"
    rows = (("x", "LET-001"), (None, "LET-009"), ("=1+1", 3))
    path.write_bytes(saved(workbook(*rows, header=("what", "document_number"))))
    answer = checked(place, capsys, 1, "--documents", str(path))
    assert [(f["kind"], f["row"]) for f in answer["findings"]] == [("never-issued", 3)]
    plain = ("--documents", str(path), "--plain", "another")
    answer = checked(place, capsys, 1, *plain)
    assert [(f["kind"], f["row"]) for f in answer["findings"]] == [
        ("never-issued", n) for n in (3, 4)
    ]


def trim(tampered: Book, through: int) -> None:
    """Take old entries away, and leave the checkpoint that stands for them."""
    head, tip = Head(start=1, next=1), ledger.NO_HASH
    for index in range(1, through + 1):
        content = tampered.entries.pop(index)
        tip = ledger.chain(tip, content)
        head = advance(head, ledger.decode(content), tip)
    tampered.beside[b"/sequence/c/invoice/checkpoint"] = heads.encode(head)


def test_of_trimmed_entries_it_claims_nothing(
    place: Place, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    tampered = book()
    trim(tampered, 4)
    place.store(tampered)
    assert checked(place, capsys, 0)["counters"][0]["trimmed"] == 4
    path = list_of_letters(tmp_path / "own.csv", "12", "3", "1", "LET-1")
    answer = checked(place, capsys, 2, "--documents", str(path))
    assert [said.split(":")[0] for said in answer["not_checked"]] == ["row 4", "row 5"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("title\nx\n", "no column document_number"),
        ("document_number,Document Number\n1,2\n", "2 times"),
        ("document_number\n", "no rows"),
        ("", "empty"),
    ],
)
def test_a_file_that_is_none_is_refused(
    place: Place, capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str, said: str
) -> None:
    path = tmp_path / "own.csv"
    path.write_text(content)
    assert main(["check-duplicates", *place.source, "--documents", str(path)]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--etcd-endpoints"),
        (("--etcd-endpoints", "http://127.0.0.1:1"), "etcd:"),
        (("--etcd-endpoints", "nonsense"), "--etcd-endpoints"),
        (("--etcd-endpoints", "http://127.0.0.1:1", "--documents", "/no/file"), "No such file"),
    ],
)
def test_what_cannot_be_checked_is_said(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert main(["check-duplicates", *words]) == 2
    assert said in capsys.readouterr().err


def test_an_installation_without_counters_is_nothing_to_check(
    etcd: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-duplicates", "--etcd-endpoints", etcd, "--root", "/nobody/"]) == 2
    assert "no counter under /nobody/" in capsys.readouterr().err


def test_findings_are_kept_up_to_a_bound_and_all_are_counted() -> None:
    findings = Findings()
    for number in range(FINDINGS_KEPT + 5):
        findings.add(Finding(Kind.VOID, "x", number=number))
        findings.not_known("y")
    assert (len(findings.kept), findings.counts[Kind.VOID]) == (FINDINGS_KEPT, FINDINGS_KEPT + 5)
    assert (len(findings.unknown), findings.unknown_total) == (FINDINGS_KEPT, FINDINGS_KEPT + 5)


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["check-duplicates", "--help"])
    said = capsys.readouterr().out
    assert "--documents" in said
    assert "Exit codes" in said


def test_numbers_that_were_imported_are_known_by_their_texts(
    place: Place, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    legacy = tmp_path / "legacy.csv"
    legacy.write_bytes(csv_of(["COR-2024-00001", "COR-2024-00003"]))
    assert main(["import", str(legacy), "--reason", "old books", "--yes", *place.source]) == 0
    capsys.readouterr()
    own = list_of_letters(tmp_path / "own.csv", "COR-2024-00001", "COR-2024-00002")
    answer = checked(place, capsys, 1, "--documents", str(own))
    assert [(f["kind"], f["row"]) for f in answer["findings"]] == [("never-issued", 3)]
    (letters,) = (c for c in answer["counters"] if c["counter"].startswith("documents/COR"))
    assert (letters["texts"], letters["void"]) == (2, 1)
