"""The four nodes of the demonstration: two sites with two partitions each."""

import sys
from collections.abc import Sequence
from pathlib import Path

from cluster.ports import shown_host
from cluster.supervisor import Spec

__all__ = ["node_specs"]

_PLACES = (
    ("node-1", "site-1", "partition-a"),
    ("node-2", "site-1", "partition-b"),
    ("node-3", "site-2", "partition-a"),
    ("node-4", "site-2", "partition-b"),
)


def node_specs(
    host: str, ports: Sequence[int], etcd_endpoints: Sequence[str], state: Path
) -> list[Spec]:
    """Return how to run each node; its `url` is its address for people and clients.

    In the folder `state` each keeps what it has seen committed.
    """
    return [
        Spec(
            name=name,
            kind="node",
            command=(
                *(sys.executable, "-m", "coordinator", "serve"),
                *("--node-id", name, "--site", site, "--partition", partition),
                *("--host", host, "--port", str(port)),
                *("--advertise-url", f"http://{shown_host(host)}:{port}"),
                *("--etcd-endpoints", ",".join(etcd_endpoints)),
                *("--state-dir", str(state)),
                *("--profile", "demonstration"),
            ),
            url=f"http://{shown_host(host)}:{port}",
        )
        for (name, site, partition), port in zip(_PLACES, ports, strict=True)
    ]
