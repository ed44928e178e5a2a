"""The command line: ``coordinator serve | status | validate``; ``--help`` teaches."""

import argparse
import asyncio
import json
import logging
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from coordinator import __version__
from coordinator.app import CannotJoin, serve
from coordinator.config import Settings

OK, BROKEN, UNUSABLE = 0, 1, 2

_EPILOG = """\
examples:
  coordinator serve --node-id node-1 --port 8080 --etcd-endpoints http://10.0.0.1:2379
  coordinator status --url http://127.0.0.1:8080
  coordinator validate --url http://127.0.0.1:8080

Every setting of `serve` can also stand in the environment as COORDINATOR_<NAME>, for example
COORDINATOR_ETCD_ENDPOINTS; a flag wins. Exit codes: 0 done, 1 something is wrong, 2 not usable
as given.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = _parser()
    given = vars(parser.parse_args(arguments))
    run = given.pop("run")
    return int(run(given))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "coordinator",
        description="Gapless sequential numbers, highly available on etcd, proven by a ledger.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    node = commands.add_parser("serve", help="run one node", description="Run one node.")
    for name, field in Settings.model_fields.items():
        default = field.default
        if isinstance(default, tuple):
            default = ",".join(default)
        node.add_argument(
            f"--{name.replace('_', '-')}",
            default=argparse.SUPPRESS,
            metavar=name.rsplit("_", 1)[-1].upper(),
            help=f"{field.description or 'names, separated by commas'} (default: {default})",
        )
    node.set_defaults(run=_serve)
    for name, run, text in (
        ("status", _status, "show counters and nodes, as a node sees them"),
        ("validate", _validate, "prove the ledger; exit code 1 if anything is wrong"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--url", default="http://127.0.0.1:8080", help="address of a node")
        command.add_argument("--json", action="store_true", help="print the answer as JSON")
        command.set_defaults(run=run)
    return parser


def _serve(given: dict[str, Any]) -> int:
    try:
        settings = Settings(**given)
    except ValidationError as invalid:
        for error in invalid.errors():
            name = "-".join(str(part) for part in error["loc"]).replace("_", "-")
            where = f"--{name}: " if name else ""
            print(f"coordinator: {where}{error['msg']}", file=sys.stderr)
        return UNUSABLE
    logging.basicConfig(
        level=settings.log_level.upper(),
        format=f"%(asctime)s %(levelname)-7s {settings.node_id} %(message)s",
    )
    try:
        asyncio.run(serve(settings))
    except CannotJoin as refused:
        print(f"coordinator: {refused}", file=sys.stderr)
        return UNUSABLE
    except OSError as failed:
        print(f"coordinator: cannot serve on {settings.url}: {failed}", file=sys.stderr)
        return UNUSABLE
    return OK


def _status(given: dict[str, Any]) -> int:
    stats, cluster = (_get(given["url"], path) for path in ("sequence/stats", "cluster"))
    if stats is None or cluster is None:
        return UNUSABLE
    if given["json"]:
        print(json.dumps({"stats": stats, "cluster": cluster}, indent=2))
        return OK
    print(f"highest number   {stats['currentCounter']:>12,}")
    print(f"final up to      {stats['watermark']:>12,}")
    print(f"open gaps        {stats['availableGaps']:>12,}")
    print(f"issued           {stats['totalGenerated']:>12,}")
    print(f"released         {stats['totalReleased']:>12,}")
    print(f"etcd             {cluster['store']['version'] or 'unknown':>12}")
    for node in cluster["nodes"]:
        state = "active" if node["active"] else "gone"
        print(f"{node['nodeId']:<16} {state:>12}  {node['url']}")
    for warning in cluster["warnings"]:
        print(f"warning: {warning}")
    return OK if stats["clusterHealthy"] else BROKEN


def _validate(given: dict[str, Any]) -> int:
    verdict = _get(given["url"], "sequence/validate", timeout_s=3600)
    if verdict is None:
        return UNUSABLE
    if given["json"]:
        print(json.dumps(verdict, indent=2))
    else:
        print("valid" if verdict["valid"] else "NOT VALID", "-", verdict["summary"])
        for finding in verdict["findings"]:
            print(f"entry {finding['entry']}: {finding['kind']}: {finding['detail']}")
    return OK if verdict["valid"] else BROKEN


def _get(url: str, path: str, timeout_s: float = 30) -> Any:
    address = f"{url.rstrip('/')}/api/v1/{path}"
    try:
        with urllib.request.urlopen(address, timeout=timeout_s) as answer:  # noqa: S310
            return json.load(answer)
    except urllib.error.HTTPError as refused:
        detail = json.load(refused).get("detail", refused.reason)
        print(f"coordinator: {address}: {detail}", file=sys.stderr)
    except (OSError, ValueError) as failed:
        print(f"coordinator: {address}: {failed}. Is a node running there?", file=sys.stderr)
    return None
