"""``coordinator import``: bring numbers that were issued elsewhere into the books."""

import argparse
import asyncio
import csv
import getpass
import secrets
import socket
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
    invoices_from,
    say,
    say_invalid,
)
from coordinator.clock import monotonic_us
from coordinator.core.importing import TooLarge
from coordinator.core.plan import NUMBERS_MAX
from coordinator.core.records import Origin
from coordinator.core.requests import PASS_OVER_MAX, Call
from coordinator.csv_cells import safe_cell
from coordinator.import_files import BadFile, RowError
from coordinator.import_files.choice import BadChoice, Choice
from coordinator.importing.importer import Importer
from coordinator.importing.preparing import Prepared, prepare
from coordinator.importing.report import Counted, Done, FarAhead, Report, RowsRefused
from coordinator.importing.staging import UNITS, Phase, TooMany
from coordinator.registry import InDoubt, Registry
from coordinator.store import StoreError
from coordinator.witness import Witness
from coordinator.workplace import workplace

SHOWN_MAX = 20
PROGRESS_EVERY_S = 2.0
REASON_CHARS_MAX = 500
NODE = "command-line"


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="CSV or XLSX, with a header line")
    parser.add_argument("--check", action="store_true", help="check only; nothing is changed")
    parser.add_argument("--report", type=Path, metavar="CSV", help="write the errors to this file")
    parser.add_argument(
        "--rows", default="", metavar="2-10,15", help="only these rows, as a spreadsheet counts"
    )
    parser.add_argument(
        "--reason", default="import of a file", help="why, for the ledger (default: %(default)s)"
    )
    parser.add_argument(
        "--pass-over-max",
        metavar="N",
        type=int,
        default=PASS_OVER_MAX,
        help="so many numbers of a counter may become void (default: %(default)s)",
    )
    parser.add_argument(
        "--max-value",
        metavar="N",
        type=int,
        default=NUMBERS_MAX,
        help="the last invoice number, as the nodes are told it (default: theirs)",
    )
    parser.add_argument("--yes", action="store_true", help="import without asking")
    etcd_arguments(parser)


def _run(given: dict[str, Any]) -> int:
    path, report = given["file"], given["report"]
    wrong = _wrong_with(given)
    if wrong:
        say(wrong)
        return UNUSABLE
    try:
        return asyncio.run(_import(path, report, given))
    except ValidationError as invalid:
        say_invalid(invalid)
    except (BadFile, BadChoice, TooLarge) as bad:
        say(f"{path}: {bad}")
    except OSError as failed:
        say(f"{failed.filename or path}: {failed.strerror}")
    except TooMany as busy:
        say(str(busy))
    except InDoubt as doubt:
        say(f"it is not known whether the rows came in ({doubt}): run the same command again")
    except StoreError as down:
        say(f"etcd: {down}; nothing was changed")
    return UNUSABLE


def _wrong_with(given: dict[str, Any]) -> str:
    """Return what is wrong with the arguments; empty when nothing is."""
    path, report, reason = given["file"], given["report"], given["reason"].strip()
    if not given["etcd_endpoints"]:
        return "name the members by --etcd-endpoints: the definitions of series are there"
    if report and report.exists() and path.exists() and report.samefile(path):
        return f"{report} is the file itself: name another one for the report"
    if not (reason.isprintable() and 1 <= len(reason) <= REASON_CHARS_MAX):
        return f"--reason is one line of 1 to {REASON_CHARS_MAX} characters"
    if given["pass_over_max"] < 0 or given["max_value"] < 1:
        return "--pass-over-max is a number of numbers, 0 or more; --max-value is 1 or more"
    if not (given["check"] or given["yes"] or sys.stdin.isatty()):
        return "there is nobody to ask: add --check to change nothing, or --yes to import"
    return ""


async def _import(path: Path, report: Path | None, given: dict[str, Any]) -> int:
    """Check the file, tell what was found, import it; return the exit code."""
    choice = Choice.of(given["rows"])
    store, keys = connect(given)
    try:
        catalogue = await Registry(store, keys).catalogue()
        with workplace() as folder:
            rows_file = folder / "rows"
            prepared = prepare(path, catalogue, choice, rows_file, _Progress(path))
            invoices = await invoices_from(store, keys)
            importer = Importer(
                *(store, keys, NODE, Witness(), invoices), invoices_max=given["max_value"]
            )
            call = _call(prepared)
            earlier = None if given["check"] else await importer.earlier(prepared, call)
            if earlier:
                _show_done(earlier)
                return OK
            far = given["pass_over_max"]
            found = await importer.check(prepared, call, pass_over_max=far)
            if report:
                _write_report(report, found.errors)
            _show(found)
            if given["check"] or not found.fits:
                _conclude(found)
                return OK if found.fits else BROKEN
            if not given["yes"] and not _is_wanted(found):
                print("nothing was changed")
                return UNUSABLE
            wanted = (call, given["reason"].strip(), _Stored(), far)
            return await _commit(importer, prepared, rows_file, wanted)
    finally:
        await store.close()


def _call(prepared: Prepared) -> Call:
    """Return who asks. The key is the file's own: the same file comes in once."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "unknown"
    origin = Origin("", "", None, user, socket.gethostname(), "coordinator import")
    key = f"file {prepared.digest}"
    return Call(origin, f"import-{secrets.token_hex(8)}", monotonic_us(), key, prepared.digest)


def _is_wanted(found: Report) -> bool:
    question = f"Import {found.numbers:,} numbers? They can be voided later, not taken out. [y/N] "
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


async def _commit(
    importer: Importer,
    prepared: Prepared,
    rows_file: Path,
    wanted: tuple[Call, str, "_Stored", int],
) -> int:
    try:
        done = await importer.run(prepared, rows_file, *wanted)
    except (RowsRefused, FarAhead) as refused:  # others were quicker
        _show(refused.report)
        _conclude(refused.report)
        return BROKEN
    _show_done(done)
    return OK


class _Every:
    """Lets a line through every few seconds."""

    def __init__(self) -> None:
        self._next = time.monotonic() + PROGRESS_EVERY_S

    def is_due(self) -> bool:
        """Tell whether it is time for a line."""
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + PROGRESS_EVERY_S
        return True


class _Progress(_Every):
    """Tells on stderr how far a long file has been read."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def __call__(self, rows: int) -> None:
        if self.is_due():
            say(f"{self._path}: {rows:,} rows read")


class _Stored(_Every):
    """Tells on stderr how far a long import is."""

    def __call__(self, what: Phase, done: int, total: int) -> None:
        if self.is_due():
            say(f"{what}: {done:,} of {total:,} {UNITS[what]}")


def _show(found: Report) -> None:
    for each in found.counters:
        missing = f", {each.missing_total:,} missing: {_missing(each)}" if each.missing else ""
        print(f"{each.counter}: {each.numbers:,} numbers, up to {each.highest:,}{missing}")
    for error in found.errors[:SHOWN_MAX]:
        print(error)
    total = found.errors_total
    if total > SHOWN_MAX:
        listed = "them" if total == len(found.errors) else f"{len(found.errors):,} of all"
        print(f"... and {total - SHOWN_MAX:,} errors more; --report FILE lists {listed}")
    sys.stdout.flush()


def _conclude(found: Report) -> None:
    verdict = f"{found.errors_total:,} errors" if found.errors_total else "all of them fit"
    if found.far and not found.errors_total:
        verdict = "too many numbers would become void"
        for far in found.far:
            print(far)
        print(f"look for a slipped digit; if it is meant: --pass-over-max {found.pass_over_max}")
    print(f"{found.rows_total:,} rows: {verdict}; nothing was changed")
    sys.stdout.flush()


def _show_done(done: Done) -> None:
    when = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(done.time_ms / 1_000))
    for each in done.report.counters:
        print(f"{each.counter}: goes on with number {each.next_value:,}")
    before = " before; nothing was changed now" if done.replayed else ""
    print(f"{done.report.numbers:,} numbers imported as {done.name} on {when}{before}")
    sys.stdout.flush()


def _missing(counted: Counted) -> str:
    runs = counted.missing[:SHOWN_MAX]
    names = [f"{first:,}" if first == last else f"{first:,} to {last:,}" for first, last in runs]
    left = counted.missing_total - sum(last - first + 1 for first, last in runs)
    return ", ".join(names) + (f" and {left:,} more" if left else "")


def _write_report(path: Path, errors: Iterable[RowError]) -> None:
    """Write the errors for a spreadsheet: no cell of it begins a formula."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(("row", "line", "column", "value", "error", "code"))
        for error in errors:
            writer.writerow((error.row, error.line, *map(safe_cell, error[2:])))


COMMAND = Command(
    name="import",
    help="bring a file of document numbers that were issued elsewhere into the books",
    description="Read a CSV or XLSX file with the columns document_type, document_number and, if "
    "there are any, created_at and metadata, and check every row: alone, beside the others, "
    "against the series as they are defined in etcd, and against the numbers that are issued. It "
    "tells what each counter would be raised to, which numbers are missing below (they become "
    "void), and what is wrong, by row. If nothing is, all rows are imported in one commit, after "
    "asking; with --check nothing is changed. The same file is imported once: another run says "
    "when that was. Exit codes: 0 imported (with --check: all rows fit), 1 some rows do not fit, "
    "or more numbers would become void than --pass-over-max says, and nothing was changed, 2 "
    "the file cannot be read, etcd does not answer, or nobody said yes.",
    arguments=_arguments,
    run=_run,
    examples=(
        "coordinator import legacy.csv --check --etcd-endpoints http://10.0.0.1:2379",
        "coordinator import legacy.xlsx --check --report errors.csv --etcd-endpoints URL,...",
        'coordinator import legacy.csv --reason "the books of 2024" --etcd-endpoints URL,...',
        "coordinator import legacy.csv --pass-over-max 9999 --etcd-endpoints URL,...",
        "coordinator import legacy.csv --rows 2-500,502 --yes --etcd-endpoints URL,...",
    ),
)
