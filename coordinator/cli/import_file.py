"""``coordinator import``: check a file of numbers that were issued elsewhere."""

import argparse
import asyncio
import csv
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from coordinator.cli.command import (
    BROKEN,
    OK,
    UNUSABLE,
    Command,
    connect,
    etcd_arguments,
    say,
    say_invalid,
)
from coordinator.core.catalogue import Catalogue
from coordinator.core.legacy import Found, Named, sort_out
from coordinator.csv_cells import safe_cell
from coordinator.imports import BadFile, ReadFile, RowError
from coordinator.imports.reading import read_file
from coordinator.registry import Registry
from coordinator.store import StoreError

SHOWN_MAX = 20
PROGRESS_EVERY_S = 2.0


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="CSV or XLSX, with a header line")
    parser.add_argument(
        "--check",
        action="store_true",
        required=True,
        help="check only; nothing is changed (importing itself does not exist yet)",
    )
    parser.add_argument("--report", type=Path, metavar="CSV", help="write the errors to this file")
    etcd_arguments(parser)


def _run(given: dict[str, Any]) -> int:
    path, report = given["file"], given["report"]
    try:
        return _check(path, report, given)
    except ValidationError as invalid:
        say_invalid(invalid)
    except BadFile as bad:
        say(f"{path}: {bad}")
    except OSError as failed:
        say(f"{failed.filename or path}: {failed.strerror}")
    except StoreError as down:
        say(f"etcd: {down}")
    return UNUSABLE


def _check(path: Path, report: Path | None, given: dict[str, Any]) -> int:
    """Check the file, tell what was found; return the exit code. Raises what reading raises."""
    if not given["etcd_endpoints"]:
        say("name the members by --etcd-endpoints: the definitions of series are there")
        return UNUSABLE
    if report and report.exists() and report.samefile(path):
        say(f"{report} is the file itself: name another one for the report")
        return UNUSABLE
    catalogue = asyncio.run(_catalogue(given))
    content = read_file(path, _Progress(path))
    found, errors = _judged(catalogue, content)
    if report:
        _write_report(report, errors)
    total = content.errors_total + len(errors) - len(content.errors)
    _show(content, found, errors, total)
    return BROKEN if total else OK


async def _catalogue(given: dict[str, Any]) -> Catalogue:
    store, keys = connect(given)
    try:
        return await Registry(store, keys).catalogue()
    finally:
        await store.close()


class _Progress:
    """Tells on stderr how far a long file has come."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next = time.monotonic() + PROGRESS_EVERY_S

    def __call__(self, rows: int) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + PROGRESS_EVERY_S
            say(f"{self._path}: {rows:,} rows read")


def _judged(catalogue: Catalogue, content: ReadFile) -> tuple[list[Found], list[RowError]]:
    """Return what the file holds of each counter, and all that is wrong, in the file's order."""
    rows = {row.row: row for row in content.rows}
    named = (Named(row.row, row.document_type, row.document_number) for row in content.rows)
    found, misfits = sort_out(catalogue, named)
    errors = list(content.errors)
    for at, sentence in misfits:
        row = rows[at]
        errors.append(RowError(at, row.line, "document_number", row.document_number, sentence))
    return found, sorted(errors, key=lambda error: error.row)


def _show(content: ReadFile, found: list[Found], errors: list[RowError], total: int) -> None:
    for each in found:
        missing = f", {each.missing_total:,} missing: {_runs(each.missing)}" if each.missing else ""
        print(f"{each.counter}: {each.numbers:,} numbers, up to {each.highest:,}{missing}")
    for error in errors[:SHOWN_MAX]:
        print(error)
    if total > SHOWN_MAX:
        listed = "them" if total == len(errors) else f"{len(errors):,} of all"
        print(f"... and {total - SHOWN_MAX:,} errors more; --report FILE lists {listed}")
    verdict = f"{total:,} errors" if total else "all of them fit"
    print(f"{content.rows_total:,} rows: {verdict}; nothing was changed")
    sys.stdout.flush()


def _runs(runs: Iterable[range]) -> str:
    names = [f"{r[0]:,}" if len(r) == 1 else f"{r[0]:,} to {r[-1]:,}" for r in runs]
    more = f" and {len(names) - SHOWN_MAX} runs more" if len(names) > SHOWN_MAX else ""
    return ", ".join(names[:SHOWN_MAX]) + more


def _write_report(path: Path, errors: list[RowError]) -> None:
    """Write the errors for a spreadsheet: no cell of it begins a formula."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(("row", "line", "column", "value", "error"))
        for error in errors:
            writer.writerow((error.row, error.line, *map(safe_cell, error[2:])))


COMMAND = Command(
    name="import",
    help="check a file of document numbers that were issued elsewhere",
    description="Read a CSV or XLSX file with the columns document_type, document_number and, if "
    "there are any, created_at and metadata, and check every row: alone, beside the others, and "
    "against the series as they are defined in etcd. It tells what each counter would be raised "
    "to, which numbers are missing below, and what is wrong, by row. With --check nothing is "
    "changed. Exit codes: 0 all rows fit, 1 some do not, 2 the file cannot be read.",
    arguments=_arguments,
    run=_run,
    examples=(
        "coordinator import legacy.csv --check --etcd-endpoints http://10.0.0.1:2379",
        "coordinator import legacy.xlsx --check --report errors.csv --etcd-endpoints URL,...",
    ),
)
