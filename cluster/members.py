"""The etcd members of one data directory: their ports, their flags, their health.

Members know each other by peer address, and a stopped cluster remembers these addresses. So
ports are chosen once and kept in `members.json`. When another program took one meanwhile, that
member gets a new port and the others, who must be a majority, are told.
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from etcd3gw import Etcd3Client
from etcd3gw.exceptions import Etcd3Exception

from cluster import state, web
from cluster.errors import StartError
from cluster.ports import Claims
from cluster.supervisor import Spec

__all__ = [
    "Member",
    "Members",
    "endpoints_of",
    "is_healthy",
    "load_or_create",
    "member_specs",
    "tell_addresses",
    "version_of",
    "with_version",
]

HOST = "127.0.0.1"
MEMBERS_DEFAULT = 3

# A dead leader is noticed after one to two election timeouts: this is most of a failover. Measured
# with scripts/failover.py, 20 kills, on two cores that others used too: with 500 ms (and the nodes'
# attempts as short, see cluster/nodes.py) the next success comes after 0.6 s, 0.9 to 1.2 s at most;
# with 1000 ms after 1.2 s, 1.6 s at most. No needless election was seen with 500 ms in a minute of
# full load on overbooked cores. Members at several sites need more: ten round trips.
HEARTBEAT_MS = 50
ELECTION_MS = 500
QUOTA_BYTES = 8 * 2**30
# The coordinator plans by etcd's default limits; they are written down so that both sides agree.
TXN_OPERATIONS_MAX = 128
REQUEST_BYTES_MAX = 1_572_864
# Every commit rewrites a counter's `head`; its old values are garbage. Enough of them stay for a
# paged read at one revision to finish.
REVISIONS_KEPT = 50_000
# etcd holds this many transactions in memory; with batches of kilobytes its default of 100,000
# would be a gigabyte.
SNAPSHOT_TRANSACTIONS = 10_000
assert ELECTION_MS >= 10 * HEARTBEAT_MS  # noqa: S101 - related bounds


@dataclass(frozen=True)
class Member:
    """One member and the ports it uses on this machine."""

    name: str
    client_port: int
    peer_port: int

    @property
    def client_url(self) -> str:
        """Where nodes and tools reach it."""
        return f"http://{HOST}:{self.client_port}"

    @property
    def peer_url(self) -> str:
        """Where the other members reach it."""
        return f"http://{HOST}:{self.peer_port}"


@dataclass(frozen=True)
class Members:
    """All members of one data directory."""

    token: str  # names the etcd cluster; members of another one are refused
    members: tuple[Member, ...]
    etcd_version: str | None = None  # of the binary that last wrote the data; None before that

    def save(self, folder: Path) -> None:
        """Write it down before any member can rely on it."""
        folder.mkdir(parents=True, exist_ok=True)
        state.replace(folder / "members.json", json.dumps(asdict(self), indent=2).encode())


def with_version(members: Members, version: str) -> Members:
    """Return the members as written to from now on by this etcd."""
    return replace(members, etcd_version=version)


def load_or_create(folder: Path, wanted: int | None, claims: Claims) -> Members:
    """Return the members of this data directory with ports that are free now, and claimed.

    Raises StartError when `wanted` is another number than the data has, when the record is
    unreadable, or when too many peer ports are taken.
    """
    known = _load(folder)
    if known is None or not _has_data(folder, known):
        fresh = Members(secrets.token_hex(8), tuple(_names(wanted or MEMBERS_DEFAULT)))
        return _with_ports(fresh, claims)
    if wanted is not None and wanted != len(known.members):
        raise StartError(
            f"The data in {folder.parent} belongs to {len(known.members)} etcd members; "
            f"leave out --etcd-members, or choose another --data-dir."
        )
    chosen = _with_ports(known, claims)
    moved = [
        old
        for old, new in zip(known.members, chosen.members, strict=True)
        if old.peer_port != new.peer_port
    ]
    if moved and len(known.members) > 1 and len(moved) > (len(known.members) - 1) // 2:
        raise StartError(
            f"Other programs use the ports {', '.join(str(old.peer_port) for old in moved)}, by "
            f"which the etcd members of {folder.parent} know each other. Stop those programs "
            f"(`ss -ltnp` or `lsof -i` names them) and start again."
        )
    return chosen


def member_specs(etcd: Path, folder: Path, members: Members) -> list[Spec]:
    """Return how to run each member."""
    cluster = ",".join(f"{member.name}={member.peer_url}" for member in members.members)
    return [
        Spec(
            name=member.name,
            kind="member",
            command=(
                str(etcd),
                *("--name", member.name, "--data-dir", str(folder / member.name)),
                *("--listen-client-urls", member.client_url),
                *("--advertise-client-urls", member.client_url),
                *("--listen-peer-urls", member.peer_url),
                *("--initial-advertise-peer-urls", member.peer_url),
                *("--initial-cluster", cluster, "--initial-cluster-state", "new"),
                *("--initial-cluster-token", members.token),
                *("--heartbeat-interval", str(HEARTBEAT_MS)),
                *("--election-timeout", str(ELECTION_MS)),
                *("--auto-compaction-mode", "revision"),
                *("--auto-compaction-retention", str(REVISIONS_KEPT)),
                *("--quota-backend-bytes", str(QUOTA_BYTES)),
                *("--max-txn-ops", str(TXN_OPERATIONS_MAX)),
                *("--max-request-bytes", str(REQUEST_BYTES_MAX)),
                *("--snapshot-count", str(SNAPSHOT_TRANSACTIONS)),
                *("--logger", "zap", "--log-level", "warn"),
            ),
            url=member.client_url,
        )
        for member in members.members
    ]


def is_healthy(url: str) -> bool:
    """Tell whether this member has a leader and can read through it."""
    status, body = web.get(f"{url}/health")
    return status == 200 and b'"true"' in body  # noqa: PLR2004 - HTTP's OK


def tell_addresses(members: Members) -> None:
    """Make the cluster know every member by its peer address of today; needs a majority.

    Raises StartError when the cluster does not take it.
    """
    today = {member.name: member.peer_url for member in members.members}
    healthy = next((m for m in members.members if is_healthy(m.client_url)), None)
    if healthy is None:
        raise StartError("no etcd member is healthy any more; start again")
    client = Etcd3Client(HOST, healthy.client_port, timeout=5, api_path="/v3/")
    client.session.trust_env = False  # no proxy between the launcher and its own processes
    try:
        for known in client.members():
            url = today.get(known.get("name", ""))
            if url and known.get("peerURLs") != [url]:
                change = {"ID": known["ID"], "peerURLs": [url]}
                client.post(client.get_url("/cluster/member/update"), json=change)
    except Etcd3Exception as problem:
        raise StartError(f"etcd did not take a member's new address: {problem}") from problem


def version_of(url: str) -> str | None:
    """Return the version a member answers with; None when it does not answer."""
    status, body = web.get(f"{url.rstrip('/')}/version", timeout_s=3.0)
    try:
        return str(json.loads(body)["etcdserver"]) if status else None
    except (ValueError, KeyError, TypeError):
        return None


def endpoints_of(text: str) -> list[str]:
    """Return the addresses in a comma-separated list; raises ValueError naming a bad one."""
    urls = [part.strip().rstrip("/") for part in text.split(",") if part.strip()]
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path:
            raise ValueError(f"{url!r} is no address like http://127.0.0.1:2379")
    if not urls:
        raise ValueError("no address given")
    return urls


def _load(folder: Path) -> Members | None:
    path = folder / "members.json"
    try:
        record = json.loads(path.read_bytes())
        members = tuple(Member(**member) for member in record.pop("members"))
        return Members(members=members, **record)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as problem:
        raise StartError(f"{path} is unreadable: {problem}") from problem


def _has_data(folder: Path, members: Members) -> bool:
    return any((folder / member.name / "member" / "wal").is_dir() for member in members.members)


def _names(count: int) -> Sequence[Member]:
    return [Member(f"member-{number}", 0, 0) for number in range(1, count + 1)]


def _with_ports(members: Members, claims: Claims) -> Members:
    """Keep every port that can be kept, before choosing any new one."""
    wanted = [port for member in members.members for port in (member.client_port, member.peer_port)]
    kept = {port for port in wanted if port and not claims.claim(port)}

    def port_of_today(port: int) -> int:
        return port if port in kept else claims.claim_any()

    chosen = (
        Member(member.name, port_of_today(member.client_port), port_of_today(member.peer_port))
        for member in members.members
    )
    return replace(members, members=tuple(chosen))
