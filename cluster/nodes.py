"""The four nodes of the demonstration: two sites with two partitions each."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.members import ELECTION_MS, QUOTA_BYTES
from cluster.ports import shown_host
from cluster.supervisor import Spec

__all__ = ["node_specs"]

_PLACES = (
    ("node-1", "site-1", "partition-a"),
    ("node-2", "site-1", "partition-b"),
    ("node-3", "site-2", "partition-a"),
    ("node-4", "site-2", "partition-b"),
)
# A commit that was on its way to a leader that died is never answered; asked again, at another
# member, it waits there for the new leader. So this is part of every failover. On one machine a
# commit takes milliseconds, and one that merely takes long is waited for longer when asked again.
ATTEMPT_S = 0.5
assert ATTEMPT_S * 1000 <= ELECTION_MS  # noqa: S101 - else the wait outlasts the election


def node_specs(
    host: str,
    ports: Sequence[int],
    etcd_endpoints: Sequence[str],
    state: Path,
    environment: Mapping[str, str] | None = None,
) -> list[Spec]:
    """Return how to run each node; its `url` is its address for people and clients.

    In the folder `state` each keeps what it has seen committed. `environment` has settings that no
    command line shall show.
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
                *("--etcd-attempt-s", str(ATTEMPT_S)),
                *("--etcd-quota-bytes", str(QUOTA_BYTES)),
                *("--profile", "demonstration"),
            ),
            url=f"http://{shown_host(host)}:{port}",
            environment=environment or {},
        )
        for (name, site, partition), port in zip(_PLACES, ports, strict=True)
    ]
