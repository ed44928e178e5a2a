"""``coordinator import --check``: what a person is told of a file; definitions in a real etcd."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from coordinator.csv_cells import plain_cell


def run(etcd: str, path: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "coordinator", "import", str(path), *more]
    return subprocess.run(
        [*command, "--etcd-endpoints", etcd, "--root", "/import-cli/"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


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
