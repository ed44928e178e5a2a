"""``coordinator import``: what a person is told of a file, and asked; all in a real etcd."""

import base64
import csv
import json
import os
import pty
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from coordinator.config import Settings
from coordinator.csv_cells import plain_cell


def run(etcd: str, path: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return coordinator(etcd, "import", str(path), *more)


def coordinator(etcd: str, *words: str) -> subprocess.CompletedProcess[str]:
    root = () if "--root" in words else ("--root", "/import-cli/")
    command = [sys.executable, "-m", "coordinator", *words]
    return subprocess.run(
        [*command, "--etcd-endpoints", etcd, *root],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


GAPPY = [f"COR,COR-1994-{n:05}" for n in range(90, 290, 2)]


def write(path: Path, *rows: str) -> Path:
    path.write_text("document_type,document_number\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_a_file_that_fits_says_what_it_would_do(etcd: str, tmp_path: Path) -> None:
    path = write(tmp_path / "old.csv", "COR,COR-2025-00001", "COR,COR-2025-00004")
    done = run(etcd, path, "--check")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "documents/COR/yearly=2025: 2 numbers, up to 4, 2 missing: 2 to 3",
        "2 rows: all of them fit; nothing was changed",
    ]


def test_errors_are_told_by_row_and_written_so_that_no_spreadsheet_calculates(
    etcd: str, tmp_path: Path
) -> None:
    path = write(
        tmp_path / "old.csv",
        *("COR,COR-2025-00001", "COR,=1+1", "COR,COR-2025-00001", "XYZ,XYZ-2025-00001"),
    )
    report = tmp_path / "errors.csv"
    done = run(etcd, path, "--check", "--report", str(report))
    assert done.returncode == 1
    assert "4 rows: 3 errors; nothing was changed" in done.stdout
    assert "row 3, document_number '=1+1': '=1+1' does not read like" in done.stdout
    with report.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert [row[0] for row in rows] == ["row", "3", "4", "5"]
    assert not [cell for row in rows for cell in row if cell[:1] in "=+-@" and cell]
    assert plain_cell(rows[1][3]) == "=1+1"


@pytest.mark.parametrize(
    ("words", "said"),
    [((), "--check"), (("--check", "--report", "/no/such/folder/x.csv"), "No such file")],
)
def test_what_cannot_be_done_is_said(
    etcd: str, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    path = write(tmp_path / "old.csv", "COR,COR-2025-00001")
    done = run(etcd, path, *words)
    assert done.returncode == 2
    assert said in done.stderr


def test_the_file_itself_is_no_report(etcd: str, tmp_path: Path) -> None:
    path = write(tmp_path / "old.csv", "COR,COR-2025-00001")
    before = path.read_bytes()
    done = run(etcd, path, "--check", "--report", str(path))
    assert (done.returncode, path.read_bytes()) == (2, before)
    assert "is the file itself" in done.stderr


def test_a_file_that_is_none_is_refused(etcd: str, tmp_path: Path) -> None:
    path = tmp_path / "old.csv"
    path.write_bytes(b"document_type;document_number\nCOR;COR-2025-\xe4\n")
    done = run(etcd, path, "--check")
    assert done.returncode == 2
    assert "UTF-8" in done.stderr
    assert run(etcd, tmp_path / "nothing.csv", "--check").returncode == 2
    assert run("http://127.0.0.1:1", write(path, "COR,X"), "--check").returncode == 2


def test_a_file_is_imported_once_after_a_word_of_consent(etcd: str, tmp_path: Path) -> None:
    path = write(tmp_path / "old.csv", *(f"COR,COR-1995-{n:05}" for n in range(2, 100_001)))
    unasked = run(etcd, path)
    assert (unasked.returncode, unasked.stdout) == (2, "")
    assert "--yes" in unasked.stderr
    done = run(etcd, path, "--yes", "--reason", "the books of 1995")
    assert done.returncode == 0, done.stderr
    first, goes_on, imported = done.stdout.splitlines()
    assert first == "documents/COR/yearly=1995: 99,999 numbers, up to 100,000, 1 missing: 1"
    assert goes_on == "documents/COR/yearly=1995: goes on with number 100,001"
    assert imported.startswith("99,999 numbers imported as ")
    again = run(etcd, path, "--yes")
    assert again.returncode == 0
    assert again.stdout.splitlines() == [goes_on, f"{imported} before; nothing was changed now"]
    counter = ("--counter", "documents/COR/yearly=1995")
    checked_only = run(etcd, write(tmp_path / "more.csv", *GAPPY), "--check")
    assert checked_only.stdout.splitlines()[0].endswith("119, 121, 123, 125, 127 and 80 more")
    proven = coordinator(etcd, "validate", *counter)
    assert (proven.returncode, "99999 numbers in use" in proven.stdout) == (0, True), proven.stdout
    export = tmp_path / "ledger.jsonl"
    assert coordinator(etcd, "audit-export", *counter, "-o", str(export)).returncode == 0
    checked = [sys.executable, "-m", "coordinator", "validate", "--file", str(export)]
    assert subprocess.run(checked, check=False, timeout=60, capture_output=True).returncode == 0


def test_rows_are_chosen_and_what_is_in_the_books_already_is_refused_by_row(
    etcd: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "old.csv", "COR,COR-1996-00001", "COR,no", "COR,COR-1996-00003")
    assert run(etcd, path, "--yes").returncode == 1
    done = run(etcd, path, "--yes", "--rows", "2,4")
    assert done.returncode == 0, done.stdout
    report = tmp_path / "errors.csv"
    refused = run(etcd, path, "--check", "--rows", "2", "--report", str(report))
    assert refused.returncode == 1
    assert "is issued here" in refused.stdout
    assert refused.stdout.endswith("3 rows: 1 errors; nothing was changed\n")
    with report.open(newline="", encoding="utf-8") as file:
        assert [row[5] for row in csv.reader(file)] == ["code", "NB005"]
    assert "is no row" in run(etcd, path, "--yes", "--rows", "x").stderr


def test_a_slipped_digit_voids_no_thousands_unless_that_is_said(etcd: str, tmp_path: Path) -> None:
    path = write(tmp_path / "old.csv", "COR,COR-1998-00001", "COR,COR-1998-02002")
    for more in (("--check",), ("--yes",), ("--yes", "--pass-over-max", "1999")):
        refused = run(etcd, path, *more)
        assert refused.returncode == 1
        assert refused.stdout.splitlines()[1:] == [
            "2,000 numbers of documents/COR/yearly=1998 would become void: 2 to 2,001",
            "look for a slipped digit; if it is meant: --pass-over-max 2000",
            "2 rows: too many numbers would become void; nothing was changed",
        ]
    assert run(etcd, path, "--yes", "--pass-over-max", "-1").returncode == 2
    assert run(etcd, path, "--yes", "--pass-over-max", "2000").returncode == 0


def test_no_invoice_comes_in_beyond_the_last_of_the_nodes(etcd: str, tmp_path: Path) -> None:
    root = "/import-cli-invoices/"
    settings = Settings(max_value=50).shared()
    store = {"key": f"{root}settings", "value": json.dumps(settings)}
    put = {name: base64.b64encode(text.encode()).decode() for name, text in store.items()}
    with urllib.request.urlopen(f"{etcd}/v3/kv/put", json.dumps(put).encode()) as answer:
        assert answer.status == 200
    path = write(tmp_path / "old.csv", "invoice,INV-00000051")
    done = coordinator(etcd, "import", str(path), "--check", "--max-value", "50", "--root", root)
    assert (done.returncode, "series ends at 50" in done.stdout) == (1, True), done.stdout
    done = coordinator(etcd, "import", str(path), "--check", "--max-value", "51", "--root", root)
    assert done.returncode == 0, done.stdout


def test_who_does_not_say_yes_changes_nothing(etcd: str, tmp_path: Path) -> None:
    path = write(tmp_path / "old.csv", "COR,COR-1997-00001")
    words = ["-m", "coordinator", "import", str(path), "--etcd-endpoints", etcd]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, *words, "--root", "/import-cli/"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.write(ours, b"no\n")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "Import 1 numbers?" in err
    assert out.endswith("nothing was changed\n")
    assert run(etcd, path, "--check").returncode == 0
