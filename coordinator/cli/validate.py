"""``coordinator validate``: prove the ledger, by a node, straight from etcd, or from a file."""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError

from coordinator.cli.command import (
    BROKEN,
    NODE_URL,
    OK,
    UNUSABLE,
    Command,
    ask_node,
    connect,
    etcd_arguments,
    installation,
    say,
    say_invalid,
)
from coordinator.core.verify import ADVICE, Break, Verdict
from coordinator.exports import NotWhole, prove_file
from coordinator.proof import prove, report
from coordinator.store import StoreError

PROGRESS_EVERY_S = 2.0
NODE_ANSWERS_WITHIN_S = 3_600


def _arguments(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--url", help=f"let this node prove it (default: {NODE_URL})")
    source.add_argument("--file", type=Path, help="prove a file that audit-export has written")
    etcd_arguments(parser)
    parser.add_argument(
        "--counter",
        action="append",
        metavar="NAME",
        help="only this counter, such as documents/COR/yearly=2026; with --etcd-endpoints it may "
        "be repeated (default: all; by a node, those of invoices)",
    )
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")


class Meter:
    """Tells on stderr how far a long ledger has come: nothing at all about a short one."""

    def __init__(self, what: str, every_s: float = PROGRESS_EVERY_S) -> None:
        self._what = what
        self._every_s = every_s
        self._next = time.monotonic() + every_s

    def __call__(self, done: int, total: int) -> None:
        """Take how many entries are done."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._every_s
            say(f"{self._what}: {done:,} entries done of {f'{total:,}' if total else 'unknown'}")


def _run(given: dict[str, Any]) -> int:
    if given["etcd_endpoints"] and (given["url"] or given["file"]):
        say("give one of --url, --etcd-endpoints and --file")
        return UNUSABLE
    if given["counter"] and given["file"]:
        say("--counter does not go with --file: a file has one counter")
        return UNUSABLE
    if len(given["counter"] or ()) > 1 and not given["etcd_endpoints"]:
        say("a node proves one --counter at a time; with --etcd-endpoints there may be several")
        return UNUSABLE
    if given["file"]:
        answer = _from_file(given["file"])
    elif given["etcd_endpoints"]:
        answer = _from_etcd(given)
    else:
        path = "sequence/validate"
        if given["counter"]:
            path += f"?counter={quote(given['counter'][0], safe='')}"
        answer = ask_node(given["url"] or NODE_URL, path, timeout_s=NODE_ANSWERS_WITHIN_S)
    if answer is None:
        return UNUSABLE
    _show(answer, as_json=given["json"])
    return OK if answer["valid"] else BROKEN


def _from_file(path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            about, verdict = prove_file(file, Meter(str(path)))
    except OSError as failed:
        say(f"{path}: {failed.strerror}")
        return None
    except NotWhole as unusable:
        say(f"{path}: {unusable}. Write it again with `coordinator audit-export`")
        return None
    return report({about.counter: verdict})


def _from_etcd(given: dict[str, Any]) -> dict[str, Any] | None:
    try:
        return report(asyncio.run(_prove_all(given)))
    except ValidationError as invalid:
        say_invalid(invalid)
    except LookupError as unknown:
        say(str(unknown.args[0]))
    except StoreError as down:
        say(f"etcd: {down}")
    return None


async def _prove_all(given: dict[str, Any]) -> dict[str, Verdict]:
    """Return the verdict of each counter that is asked for. Raises LookupError, StoreError."""
    store, keys = connect(given)
    try:
        there = await installation(store, keys)
        wanted = given["counter"] or there.counters
        unknown = [name for name in wanted if name not in there.counters]
        if unknown or not wanted:
            names = ", ".join(there.counters) or "none"
            what = f"no counter {unknown[0]!r}" if unknown else "no counter"
            raise LookupError(f"{what} under {given['root']}; there are: {names}")
        return {
            name: await prove(store, keys.counter(name), there.start_of(name), Meter(name))
            for name in dict.fromkeys(wanted)
        }
    finally:
        await store.close()


def _show(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(answer, indent=2))
        return
    many = len(answer["tips"]) > 1
    for finding in answer["findings"]:
        print(_line(finding, with_counter=many))
    for name, tip in answer["tips"].items():
        print(f"{name}: the newest entry has hash {tip}")
    print("valid" if answer["valid"] else "NOT VALID", "-", answer["summary"])
    sys.stdout.flush()


def _line(finding: Mapping[str, Any], *, with_counter: bool) -> str:
    where = f"{finding['counter']}: " if with_counter else ""
    where += f"entry {finding['entry']}"
    if finding["number"] is not None:
        where += f", number {finding['number']}"
    known = finding["kind"] in {kind.value for kind in Break}
    advice = ADVICE[Break(finding["kind"])] if known else "ask the version that says so"
    return f"{where}: {finding['kind']}: {finding['detail']}. Next: {advice}."


COMMAND = Command(
    name="validate",
    help="prove the ledger; exit code 1 if anything is wrong",
    description="Replay the whole ledger and compare with it all that is stored: the hash chain, "
    "every number from the first one up, gaps, holders, idempotency keys, the head. One line for "
    "each break says where it is, what it is, and what to do next. Exit codes: 0 valid, 1 broken, "
    "2 could not be proven. With --etcd-endpoints no node is needed, with --file no etcd.",
    arguments=_arguments,
    run=_run,
    examples=(
        "coordinator validate --url http://127.0.0.1:8080",
        "coordinator validate --etcd-endpoints http://10.0.0.1:2379,http://10.0.0.2:2379",
        "coordinator validate --etcd-endpoints http://10.0.0.1:2379 --counter invoice --json",
        "coordinator validate --counter documents/COR/yearly=2026",
        "coordinator validate --file ledger.jsonl",
    ),
)
