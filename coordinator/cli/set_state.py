"""``coordinator set``: what only an operator decides: where a count goes on, or what is lost."""

import argparse
import sys
from typing import Any, NamedTuple

from coordinator.cli.command import BROKEN, NODE_URL, OK, UNUSABLE, Command, ask_node, say

_DESCRIPTION = """\
`set COR 1000` lets a count of documents go on after number 1000; it only goes up, and the numbers
that are passed over are void for ever. The ledger notes it with the reason. Scopes name the count,
as for a reservation: by NAME=VALUE, and by a day of its period (default: now).

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
    parser.add_argument("document_type", nargs="?", help="whose count shall go on, such as COR")
    parser.add_argument("value", nargs="?", type=int, help="the last number that counts as used")
    parser.add_argument(
        "--scope", action="append", metavar="NAME=VALUE", default=[], help="which count of it"
    )
    parser.add_argument("--issue-date", metavar="DATE", help="a day of the period that is counted")
    parser.add_argument(
        "--pass-over-max", metavar="N", type=int, help="so many numbers may become void (1000)"
    )
    parser.add_argument("--url", default=NODE_URL, help="address of a node (default: %(default)s)")
    parser.add_argument("--accept-rewind", action="store_true", help="accept what a backup lacks")
    parser.add_argument("--reason", default="", help="why, for the ledger; asked for if left out")
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")


def _run(given: dict[str, Any]) -> int:
    is_count = given["document_type"] is not None
    if is_count == given["accept_rewind"] or is_count != (given["value"] is not None):
        say("say what to set: a document type and a number, or --accept-rewind")
        return UNUSABLE
    return _adjust(given) if is_count else _accept_all(given)


def _adjust(given: dict[str, Any]) -> int:
    kind, value = given["document_type"], given["value"]
    scope = [each.partition("=") for each in given["scope"]]
    if not all(name and equals for name, equals, _ in scope):
        say("write --scope NAME=VALUE, such as --scope project=LCBP3")
        return UNUSABLE
    body = {"document_type": kind, "scope": {name: said for name, _, said in scope}}
    for name in ("issue_date", "pass_over_max"):
        body |= {} if given[name] is None else {name: given[name]}
    print(f"The next number of {kind} will be {value + 1}; what it passes over is void for ever.")
    reason = given["reason"] or _ask("Why? ", given)
    if not _is_meant(kind, reason, given):
        return UNUSABLE
    body |= {"current_value": value, "reason": reason}
    done = ask_node(given["url"], "admin/document-numbering/sequences/adjust", body)
    if done is None:
        return UNUSABLE
    data = done["data"]
    passed = data["passed_over"]
    void = f"{passed['first']} to {passed['last']} ({passed['count']}) are void"
    print(f"{data['counter']} goes on with {data['next_value']}; {void}.")
    return OK


def _is_meant(word: str, reason: str, given: dict[str, Any]) -> bool:
    if reason and (given["yes"] or _ask(f"Type {word} to go on: ", given) == word):
        return True
    say("nothing was changed. Give --reason TEXT and --yes where nobody can be asked")
    return False


def _accept_all(given: dict[str, Any]) -> int:
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
    if not _is_meant("ACCEPT", reason, given):
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
    help="decide what only an operator can: where a count goes on, what a backup lacks",
    arguments=_arguments,
    run=_run,
    examples=(
        'coordinator set COR 1000 --reason "taken over from the old system"',
        "coordinator set RFA 40 --scope project=LCBP3 --issue-date 2026-01-31 --reason TEXT --yes",
        'coordinator set --accept-rewind --url http://127.0.0.1:8080 --reason "disk lost" --yes',
    ),
    description=_DESCRIPTION,
)
