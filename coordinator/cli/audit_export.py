"""``coordinator audit-export``: hand a ledger to an auditor, as a file."""

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from coordinator.cli.command import (
    OK,
    UNUSABLE,
    Command,
    connect,
    etcd_arguments,
    installation,
    say,
    say_invalid,
)
from coordinator.cli.validate import Meter
from coordinator.clock import now_ms
from coordinator.exports import Exported, export
from coordinator.store import StoreError


def _arguments(parser: argparse.ArgumentParser) -> None:
    etcd_arguments(parser)
    parser.add_argument(
        "--counter", default="invoice", metavar="NAME", help="which counter (default: %(default)s)"
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="where to write; - is the output"
    )
    parser.add_argument("--force", action="store_true", help="replace a file that is there")


def _run(given: dict[str, Any]) -> int:
    if not given["etcd_endpoints"]:
        say("--etcd-endpoints is needed: an export is read straight from etcd")
        return UNUSABLE
    target = None if given["output"] == "-" else Path(given["output"])
    try:
        if target is None:
            done = asyncio.run(_export(given, sys.stdout.buffer))
        elif target.is_dir():
            say(f"{given['output'] or 'an empty name'} is no file to write to")
            return UNUSABLE
        elif target.exists() and not given["force"]:
            say(f"{target} is there already; --force replaces it")
            return UNUSABLE
        else:
            done = _export_to(given, target)
    except ValidationError as invalid:
        say_invalid(invalid)
    except LookupError as unknown:
        say(str(unknown.args[0]))
    except StoreError as down:
        say(f"etcd: {down}")
    except OSError as failed:
        say(f"{given['output']}: {failed.strerror or failed}")
    else:
        what = f"{done.end.entries:,} entries and {done.end.keys:,} keys"
        say(f"{what} at revision {done.about.revision}; the newest hash is {done.end.tip}")
        return OK
    return UNUSABLE


def _export_to(given: dict[str, Any], target: Path) -> Exported:
    """Write beside the target, and take its place when all is on the disk."""
    with tempfile.NamedTemporaryFile(
        dir=target.parent, prefix=f".{target.name}.", suffix=".part", delete=False
    ) as part:
        try:
            done = asyncio.run(_export(given, part))
            os.fsync(part.fileno())
            _give_usual_mode(Path(part.name))
            if target.exists() and not given["force"]:  # somebody has written it meanwhile
                raise FileExistsError(0, "is there now; --force replaces it")
            part.close()
            Path(part.name).replace(target)
        except BaseException:
            part.close()
            Path(part.name).unlink()
            raise
    return done


def _give_usual_mode(path: Path) -> None:
    """Make it as readable as any new file: it is there to be handed on."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


async def _export(given: dict[str, Any], out: IO[bytes]) -> Exported:
    store, keys = connect(given)
    counter = given["counter"]
    try:
        there = await installation(store, keys)
        if counter not in there.counters:
            names = ", ".join(there.counters) or "none"
            raise LookupError(f"no counter {counter!r} under {given['root']}; there are: {names}")
        start = there.start_of(counter)
        return await export(store, keys.root, counter, start, now_ms(), out, Meter(counter))
    finally:
        await store.close()


COMMAND = Command(
    name="audit-export",
    help="write a counter's ledger to a file that an auditor can check",
    description="Write the whole ledger of a counter as JSON lines, and all that stands beside it, "
    "as of one revision. Every entry is written as exactly the bytes that its hash was made of, "
    "so a few lines of any language check the chain; `coordinator validate --file` checks all. "
    "The file appears under its name only when it is complete. "
    "coordinator/core/ledger_file.py describes the format.",
    arguments=_arguments,
    run=_run,
    examples=(
        "coordinator audit-export --etcd-endpoints http://10.0.0.1:2379 -o ledger.jsonl",
        "coordinator audit-export --etcd-endpoints http://10.0.0.1:2379 -o - | gzip > ledger.gz",
        "coordinator audit-export --etcd-endpoints http://10.0.0.1:2379 --counter documents/N -o x",
        "coordinator validate --file ledger.jsonl",
    ),
)
