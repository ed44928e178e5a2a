"""``coordinator status``: counters and nodes, as a node sees them."""

import argparse
import json
from typing import Any

from coordinator.cli.command import BROKEN, NODE_URL, OK, UNUSABLE, Command, ask_node


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", default=NODE_URL, help="address of a node (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")


def _run(given: dict[str, Any]) -> int:
    stats, cluster = (ask_node(given["url"], path) for path in ("sequence/stats", "cluster"))
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


COMMAND = Command(
    name="status",
    help="show counters and nodes, as a node sees them",
    arguments=_arguments,
    run=_run,
    examples=("coordinator status --url http://127.0.0.1:8080", "coordinator status --json"),
)
