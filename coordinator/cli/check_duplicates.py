"""``coordinator check-duplicates``: look for numbers that stand for two documents."""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from coordinator.cli.command import (
    BROKEN,
    OK,
    UNUSABLE,
    Command,
    connect,
    etcd_arguments,
    installation,
    say,
    say_invalid,
)
from coordinator.cli.validate import PROGRESS_EVERY_S, Meter
from coordinator.duplicates import (
    ADVICE,
    Checked,
    Finding,
    Findings,
    Kind,
    check,
    check_file,
    compare_file,
)
from coordinator.exports import NotWhole
from coordinator.import_files import BadFile, place
from coordinator.import_files.documents import own_documents
from coordinator.store import StoreError
from coordinator.text_index import TextIndex

SHOWN_MAX = 100
PLAIN = "invoice"
COLUMNS = ("issued", "reserved", "free", "void", "texts", "entries")


class Outcome(NamedTuple):
    """What was read, and what was found. ``rows`` are those of the customer's file, if any."""

    checked: list[Checked]
    findings: Findings
    rows: int | None

    @property
    def code(self) -> int:
        """Return the exit code."""
        if self.findings.counts:
            return BROKEN
        return UNUSABLE if self.findings.unknown_total else OK


def _arguments(parser: argparse.ArgumentParser) -> None:
    etcd_arguments(parser)
    parser.add_argument(
        "--file",
        type=Path,
        action="append",
        metavar="LEDGER",
        help="read a file that audit-export has written instead, one for each counter",
    )
    parser.add_argument(
        "--documents",
        type=Path,
        metavar="FILE",
        help="also check this CSV or XLSX file with a column document_number",
    )
    parser.add_argument(
        "--plain",
        default=PLAIN,
        metavar="COUNTER",
        help="the counter that mere numbers in the file are of (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")


def _run(given: dict[str, Any]) -> int:
    if bool(given["etcd_endpoints"]) == bool(given["file"]):
        say("name the members by --etcd-endpoints, or exported ledgers by --file")
        return UNUSABLE
    path = given["documents"]
    try:
        outcome = asyncio.run(_check(given, path))
    except ValidationError as invalid:
        say_invalid(invalid)
    except BadFile as bad:
        say(f"{path}: {bad}")
    except LookupError as nothing:
        say(str(nothing.args[0]))
    except StoreError as down:
        say(f"etcd: {down}")
    except OSError as failed:
        say(f"{failed.filename or path}: {failed.strerror}")
    else:
        _show_json(outcome) if given["json"] else _show(outcome, path)
        sys.stdout.flush()
        return outcome.code
    return UNUSABLE


async def _check(given: dict[str, Any], path: Path | None) -> Outcome:
    """Read the file before the ledgers: what is issued meanwhile is no finding."""
    findings = Findings()
    with TextIndex() as index:
        rows = None if path is None else _read(path, index, findings)
        if given["file"]:
            checked = _of_files(given["file"], index, findings, given["plain"])
        else:
            checked = await _of_etcd(given, index, findings)
        if path is not None:
            compare_file(index, checked, findings)
    return Outcome(checked, findings, rows)


async def _of_etcd(given: dict[str, Any], index: TextIndex, findings: Findings) -> list[Checked]:
    store, keys = connect(given)
    try:
        there = await installation(store, keys)
        if not there.counters:
            raise LookupError(f"there is no counter under {given['root']}: nothing to check")
        return await check(store, keys, there.counters, index, findings, given["plain"], Meter)
    finally:
        await store.close()


def _of_files(paths: list[Path], index: TextIndex, findings: Findings, plain: str) -> list[Checked]:
    """Read exported ledgers. Raises LookupError for files that will not do."""
    checked: dict[str, Checked] = {}
    for path in paths:
        try:
            with path.open("rb") as file:
                one = check_file(file, index, findings, plain, Meter)
        except NotWhole as unusable:
            said = f"{path}: {unusable}. Write it again with `coordinator audit-export`"
            raise LookupError(said) from None
        if one.counter in checked:
            raise LookupError(f"{path}: another file has {one.counter} too: give the newest only")
        checked[one.counter] = one
    return list(checked.values())


def _read(path: Path, index: TextIndex, findings: Findings) -> int:
    """Take the customer's documents; return how many rows there are."""
    rows = 0
    next_s = time.monotonic() + PROGRESS_EVERY_S

    def fitting() -> Iterator[tuple[int, int, str]]:
        nonlocal rows, next_s
        for document in own_documents(path):
            rows += 1
            if time.monotonic() >= next_s:
                next_s = time.monotonic() + PROGRESS_EVERY_S
                say(f"{path}: {rows:,} rows read")
            row, line, number, unfit = document
            if unfit:
                where = f"{place(row, line)}, {number!r}: {unfit.rstrip('.')}"
                findings.add(Finding(Kind.UNFIT, where, text=number, row=row))
            else:
                yield row, line, number

    index.add_own(fitting())
    return rows


def _show(outcome: Outcome, path: Path | None) -> None:
    for line in _table(outcome.checked):
        print(line)
    if outcome.rows is not None:
        print(f"{path}: {outcome.rows:,} rows")
    findings = outcome.findings
    total = findings.counts.total()
    for finding in findings.kept[:SHOWN_MAX]:
        where = f"{finding.counter}: " if finding.kind is Kind.NUMBER_TWICE else ""
        print(f"{finding.kind}: {where}{finding.detail}. Next: {ADVICE[finding.kind]}.")
    if total > SHOWN_MAX:
        print(f"... and {total - SHOWN_MAX:,} findings more; --json lists up to 1,000")
    for sentence in findings.unknown[:SHOWN_MAX]:
        print(f"not checked: {sentence}")
    if findings.unknown_total > SHOWN_MAX:
        print(f"... and {findings.unknown_total - SHOWN_MAX:,} more that could not be checked")
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in findings.counts.items())
    print(f"found: {kinds}" if kinds else "found: nothing stands for two", end="")
    print(f"; {findings.unknown_total:,} not checked" if findings.unknown_total else "")


def _table(checked: list[Checked]) -> Iterator[str]:
    """Yield what was checked: a line for each counter, as far as a person reads, and the sum."""
    shown = checked[:SHOWN_MAX]
    width = max(len(name) for name in ("counter", "all", *(each.counter for each in shown)))
    yield f"{'counter':{width}}" + "".join(f" {name:>13}" for name in COLUMNS)
    for each in shown:
        notes = [f"from entry {each.trimmed + 1} on"] if each.trimmed else []
        notes += [f"begun anew {each.restarts} times"] if each.restarts else []
        notes += [f"{each.losses} losses accepted"] if each.losses else []
        cells = "".join(f" {getattr(each, name):>13,}" for name in COLUMNS)
        yield f"{each.counter:{width}}{cells}" + (f"  ({', '.join(notes)})" if notes else "")
    if len(checked) > len(shown):
        yield f"... and {len(checked) - len(shown):,} counters more"
    if len(checked) > 1:
        sums = (sum(getattr(each, name) for each in checked) for name in COLUMNS)
        yield f"{'all':{width}}" + "".join(f" {value:>13,}" for value in sums)


def _show_json(outcome: Outcome) -> None:
    findings = outcome.findings
    answer = {
        "duplicates": bool(findings.counts),
        "complete": not findings.unknown_total,
        "counts": dict(findings.counts),
        "findings": [
            finding._asdict() | {"next": ADVICE[finding.kind]} for finding in findings.kept
        ],
        "not_checked": findings.unknown,
        "counters": [each._asdict() for each in outcome.checked],
        "rows": outcome.rows,
    }
    print(json.dumps(answer, indent=2))


COMMAND = Command(
    name="check-duplicates",
    help="look for numbers and document numbers that stand for two things",
    description="Read all ledgers straight from etcd, or from exported files, and look whether any "
    "number was ever issued again without a release, cancellation or expiry between, and whether "
    "the text of any document number stands for two numbers. With --documents also check a list "
    "of your own documents: numbers that stand twice in it, that were never issued, or that are "
    "void, given back or only reserved, with their rows. Other columns are passed over. Callers "
    "need not stop meanwhile. Whether a ledger itself is whole and unaltered says `coordinator "
    "validate`. Exit codes: 0 none found, 1 some found, 2 not all could be checked.",
    arguments=_arguments,
    run=_run,
    examples=(
        "coordinator check-duplicates --etcd-endpoints http://10.0.0.1:2379",
        "coordinator check-duplicates --file cor-2025.jsonl --file cor-2026.jsonl",
        "coordinator check-duplicates --documents letters.csv --etcd-endpoints URL,...",
        "coordinator check-duplicates --documents bills.xlsx --json --etcd-endpoints URL",
    ),
)
