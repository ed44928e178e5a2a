"""Throw-away servers on loopback: etcd, nodes, PostgreSQL, Redis; gone when their block ends."""

from __future__ import annotations

import os
import pwd
import secrets
import signal
import socket
import subprocess
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.lab import (
    HERE,
    LOOPBACK,
    BenchError,
    Lab,
    free_ports,
    get,
    process,
    python,
    tool,
    wait_until,
)
from cluster.members import Member, Members, member_specs
from cluster.nodes import node_specs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HTTP_OK = 200
MEMBERS = 3
REDIS_SECONDS_MAX = 5.0


@contextmanager
def hello_server(lab: Lab) -> Iterator[int]:
    """Run a bare aiohttp server; yields its port."""
    port = free_ports()
    with process(lab, "hello", [python(), str(HERE / "hello.py"), str(port)]) as running:
        wait_until(lambda: get(port, "/")[0] == HTTP_OK, running, "hello")
        yield port


@contextmanager
def etcd(lab: Lab) -> Iterator[int]:
    """Run one etcd member with its default durability; yields the port for its clients."""
    port = free_ports()
    client, peer = f"http://{LOOPBACK}:{port}", f"http://{LOOPBACK}:{free_ports()}"
    argv = [
        *(tool("etcd"), "--name", "bench", "--data-dir", str(lab.new_folder("etcd-data"))),
        *("--listen-client-urls", client, "--advertise-client-urls", client),
        *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
        *("--initial-cluster", f"bench={peer}"),
    ]
    with process(lab, "etcd", argv) as running:
        wait_until(lambda: _is_healthy(port), running, "etcd")
        yield port


@contextmanager
def three_members(lab: Lab) -> Iterator[list[int]]:
    """Run three etcd members as the start command does, with its flags; yields their ports."""
    first = free_ports(2 * MEMBERS)
    members = Members(
        secrets.token_hex(8),
        tuple(
            Member(f"member-{at + 1}", first + 2 * at, first + 2 * at + 1) for at in range(MEMBERS)
        ),
    )
    ports = [member.client_port for member in members.members]
    with ExitStack() as stack:
        started = [
            stack.enter_context(process(lab, spec.name, spec.command))
            for spec in member_specs(Path(tool("etcd")), lab.new_folder("members"), members)
        ]
        for port, running in zip(ports, started, strict=True):
            wait_until(lambda port=port: _is_healthy(port), running, "etcd")  # type: ignore[misc]
        yield ports


def _is_healthy(port: int) -> bool:
    return b'"true"' in get(port, "/health")[1]


@contextmanager
def node(
    lab: Lab, etcd_port: int, root: str = "/sequence/", flags: Sequence[str] = ()
) -> Iterator[tuple[int, int]]:
    """Run one node over one member; yields its port and its process id."""
    port = free_ports()
    argv = [
        *(python(), "-m", "coordinator", "serve", "--node-id", "bench", "--host", LOOPBACK),
        *("--port", str(port), "--etcd-endpoints", f"http://{LOOPBACK}:{etcd_port}"),
        *("--profile", "demonstration", "--root", root, *flags),
    ]
    with process(lab, "node", argv) as running:
        wait_until(lambda: get(port, "/readyz")[0] == HTTP_OK, running, "the node")
        yield port, running[0].pid


@contextmanager
def nodes(lab: Lab, etcd_ports: Sequence[int], count: int) -> Iterator[list[int]]:
    """Run 1 to 4 nodes with the flags that the start command gives them; yields their ports.

    They have a counter of their own, so that other nodes on the same members are no rivals.
    """
    endpoints = [f"http://{LOOPBACK}:{port}" for port in etcd_ports]
    first, state = free_ports(4), lab.new_folder("state")
    specs = node_specs(LOOPBACK, range(first, first + 4), endpoints, state)[:count]
    ports = list(range(first, first + count))
    with ExitStack() as stack:
        started = [
            stack.enter_context(process(lab, spec.name, (*spec.command, "--root", root_of(count))))
            for spec in specs
        ]
        for port, running in zip(ports, started, strict=True):
            wait_until(
                lambda port=port: get(port, "/readyz")[0] == HTTP_OK,  # type: ignore[misc]
                running,
                "a node",
            )
        yield ports


def root_of(count: int) -> str:
    """Return the prefix of the keys that so many nodes together write in etcd."""
    return f"/of-{count}/"


@contextmanager
def postgres(lab: Lab) -> Iterator[int]:
    """Run PostgreSQL with default settings, hence with fsync, and our schema; yields its port."""
    user = _unprivileged_user()
    data, sockets, port = lab.new_folder("pg-data"), lab.new_folder("pg-sockets"), free_ports()
    if user is not None:
        who = pwd.getpwnam(user)
        for folder in (data, sockets):
            os.chown(folder, who.pw_uid, who.pw_gid)
    initdb = [tool("initdb"), "-D", str(data), "-U", "postgres", "-A", "trust"]
    with process(lab, "initdb", initdb, user=user) as running:
        wait_until(lambda: running[0].poll() == 0, running, "initdb")
    server = [
        *(tool("postgres"), "-D", str(data), "-p", str(port), "-k", str(sockets)),
        *("-c", f"listen_addresses={LOOPBACK}"),
        *("-c", f"max_connections={max(100, lab.connections + 20)}"),  # 100 is the default
    ]
    with process(lab, "postgres", server, stop=signal.SIGINT, user=user) as running:
        wait_until(lambda: sql(port, "SELECT 1")[0], running, "PostgreSQL")
        made, said = sql(port, (HERE / "postgres_schema.sql").read_text())
        if not made:
            raise BenchError(f"PostgreSQL refused the schema: {said}")
        yield port


def _unprivileged_user() -> str | None:
    """Name the user to run PostgreSQL as: it refuses root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        raise BenchError("PostgreSQL refuses root and there is no user `postgres`") from None


def sql(port: int, text: str) -> tuple[bool, str]:
    """Run SQL; returns whether it succeeded, and what was said."""
    done = subprocess.run(
        [
            *(tool("psql"), "-h", LOOPBACK, "-p", str(port), "-U", "postgres", "-X", "-q", "-At"),
            *("-v", "ON_ERROR_STOP=1", "-c", text, "postgres"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode == 0, (done.stdout + done.stderr).strip()


@contextmanager
def redis(lab: Lab) -> Iterator[int]:
    """Run Redis so that every write is on the disk before it is answered; yields its port."""
    port, folder = free_ports(), lab.new_folder("redis-data")
    argv = [
        *(tool("redis-server"), "--port", str(port), "--bind", LOOPBACK, "--dir", str(folder)),
        *("--appendonly", "yes", "--appendfsync", "always", "--save", ""),
    ]
    with process(lab, "redis", argv) as running:
        wait_until(lambda: redis_says(port, "PING") == "PONG", running, "Redis")
        yield port


def redis_says(port: int, command: str) -> str:
    """Return Redis' answer of one line; nothing when it does not answer."""
    try:
        with socket.create_connection((LOOPBACK, port), REDIS_SECONDS_MAX) as way:
            way.sendall(f"{command}\r\n".encode())
            lines = way.makefile("r", encoding="ascii")
            said = lines.readline().strip()
            if said.startswith("$"):  # a text follows, after its length
                return lines.readline().strip()
            return said[1:]
    except OSError:
        return ""
