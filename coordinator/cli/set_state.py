"""``coordinator set``: what only an operator decides."""

import argparse
import sys
from typing import Any, NamedTuple

from coordinator.cli.command import BROKEN, NODE_URL, OK, UNUSABLE, Command, ask_node, say

_DESCRIPTION = """\
After etcd was restored from a backup, nodes that have seen more than it holds refuse to serve.
Restore a newer backup if there is one. Otherwise accept the loss: each node then notes in the
ledger what was lost, by whose decision, and the count goes on where the backup ends. Numbers that
were issued after the backup will be issued AGAIN: find out first which invoices carry them.
"""


class Lost(NamedTuple):
    """What one node misses of one counter."""

    url: str
    counter: str
    entry: int
    tip: str


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", default=NODE_URL, help="address of a node (default: %(default)s)")
    parser.add_argument(
        "--accept-rewind", action="store_true", required=True, help="accept what a backup lacks"
    )
    parser.add_argument("--reason", default="", help="why, for the ledger; asked for if left out")
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")


def _run(given: dict[str, Any]) -> int:
    cluster = ask_node(given["url"], "cluster")
    if cluster is None:
        return UNUSABLE
    others = [node["url"] for node in cluster["nodes"] if node["active"]]
    urls = dict.fromkeys(others or [given["url"]])
    found = [_lost_at(url) for url in urls]
    if None in found:
        say("a node that is said to be active cannot be asked, see above: nothing was changed")
        return UNUSABLE
    lost = [each for misses in found for each in misses or ()]
    if not lost:
        print("No node refuses to serve for a store that went back: there is nothing to accept.")
        return OK
    for each in lost:
        print(f"{each.url} misses entry {each.entry} (hash {each.tip[:16]}) of {each.counter}")
    reason = given["reason"] or _ask("Why is this loss accepted? ", given)
    if not reason or not (given["yes"] or _ask("Type ACCEPT to go on: ", given) == "ACCEPT"):
        say("nothing was changed. Give --reason TEXT and --yes where nobody can be asked")
        return UNUSABLE
    hashes = dict.fromkeys((each.url, each.tip) for each in lost)
    done = [_accept(url, tip, reason) for url, tip in hashes]
    return OK if all(done) else BROKEN


def _lost_at(url: str) -> list[Lost] | None:
    said = ask_node(url, "cluster")
    if said is None:
        return None
    return [Lost(url, r["counter"], r["lostEntry"], r["lostHash"]) for r in said["rewinds"]]


def _ask(question: str, given: dict[str, Any]) -> str:
    if given["yes"] or not sys.stdin.isatty():
        return ""
    try:
        return input(question).strip()
    except EOFError:
        return ""


def _accept(url: str, tip: str, reason: str) -> bool:
    done = ask_node(url, "admin/accept-rewind", {"lostHash": tip, "reason": reason})
    if done is not None:
        print(f"{url} serves again; the ledger has noted it.")
    return done is not None


COMMAND = Command(
    name="set",
    help="decide what only an operator can: accept what a restored backup lacks",
    arguments=_arguments,
    run=_run,
    examples=(
        'coordinator set --accept-rewind --url http://127.0.0.1:8080 --reason "disk lost" --yes',
    ),
    description=_DESCRIPTION,
)
