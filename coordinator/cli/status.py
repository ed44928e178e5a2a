"""``coordinator status``: counters and nodes, or a series of documents, as a node sees them."""

import argparse
import json
from typing import Any
from urllib.parse import quote

from coordinator.cli.command import BROKEN, NODE_URL, OK, UNUSABLE, Command, ask_node

ADMIN = "admin/document-numbering"
COUNTERS_SHOWN_MAX = 50


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "document_type", nargs="?", metavar="TYPE", help="a series of documents, such as COR"
    )
    parser.add_argument("--url", default=NODE_URL, help="address of a node (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")


def _run(given: dict[str, Any]) -> int:
    if given["document_type"] is not None:
        return _show_series(given["url"], given["document_type"], as_json=given["json"])
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


def _show_series(url: str, document_type: str, *, as_json: bool) -> int:
    name = quote(document_type, safe="")
    template = ask_node(url, f"{ADMIN}/templates/{name}?limit=1")
    if template is None:
        return UNUSABLE
    query = f"document_type={name}&limit={COUNTERS_SHOWN_MAX}"
    counters = ask_node(url, f"{ADMIN}/sequences?{query}")
    if counters is None:
        return UNUSABLE
    series, found = template["data"]["template"], counters["data"]
    if as_json:
        print(json.dumps({"template": series} | found, indent=2))
        return OK
    print(f"Status of {series['document_type']}")
    print(f"Format:          {series['template']}")
    print(f"Manual override: {'yes' if series['allow_manual_override'] else 'no'}")
    for sequence in found["sequences"]:
        _show_counter(sequence)
    if not found["sequences"]:
        print(f"Max value:       {series['max_value']:,}")
        print("No number has been given out yet.")
    if found["next_cursor"]:
        print(f"There are more than {COUNTERS_SHOWN_MAX}: see /api/v1/{ADMIN}/sequences.")
    return OK


def _show_counter(sequence: dict[str, Any]) -> None:
    written = f"  ({sequence['document_number']})" if sequence["document_number"] else ""
    out = sequence["runs_out_on"] or "cannot be told"
    days = f"{sequence['per_day']:g} a day, {sequence['observed_days']:g} days observed"
    print(f"\n{sequence['counter']}{', closed' if sequence['closed'] else ''}")
    print(f"Current value:   {sequence['current_value']:,}{written}")
    print(f"Max value:       {sequence['max_value']:,}")
    print(f"Utilization:     {_percent(sequence['utilization'])}")
    print(f"Last used:       {sequence['last_used_at'] or 'never'}")
    print(f"Reserved:        {sequence['open_reservations']:,}")
    print(f"Void, gaps:      {sequence['voided']:,}, {sequence['gaps']:,}")
    print(f"Runs out on:     {out} ({days})")


def _percent(used: float) -> str:
    return "< 0.01 %" if 0 < used < 0.01 else f"{used:.2f} %"  # noqa: PLR2004


COMMAND = Command(
    name="status",
    help="show counters and nodes, or a series of documents, as a node sees them",
    arguments=_arguments,
    run=_run,
    examples=(
        "coordinator status --url http://127.0.0.1:8080",
        "coordinator status COR",
        "coordinator status --json",
    ),
)
