"""Real etcd members that a test may pause, kill and start again; and an eye on what they hold."""

import contextlib
import json
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from etcd3gw.client import Etcd3Client
from support import answers, free_port, wait_for


class Member:
    """One member of a cluster, as a process of its own."""

    def __init__(self, name: str, folder: Path, *flags: str) -> None:
        self.name = name
        self.url, self.peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self._folder = folder
        self.flags = flags
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, cluster: str) -> None:
        binary = shutil.which("etcd")
        assert binary, "no etcd on PATH: scripts/test.sh installs etcd-server"
        with (self._folder / f"{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    binary,
                    *("--name", self.name, "--data-dir", str(self._folder / self.name)),
                    *("--listen-client-urls", self.url, "--advertise-client-urls", self.url),
                    *("--listen-peer-urls", self.peer, "--initial-advertise-peer-urls", self.peer),
                    *("--initial-cluster", cluster),
                    *("--heartbeat-interval", "50", "--election-timeout", "500"),
                    *self.flags,
                ],
                stdout=log,
                stderr=log,
            )

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def ask(self, path: str, **body: Any) -> Any:
        request = urllib.request.Request(f"{self.url}/v3/{path}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=3) as answer:
            return json.load(answer)

    def leads(self) -> bool:
        status = self.ask("maintenance/status")
        return bool(status["leader"] == status["header"]["member_id"])


class Members(list[Member]):
    """All members of one cluster."""

    @property
    def names(self) -> str:
        return ",".join(f"{member.name}={member.peer}" for member in self)

    def start(self) -> None:
        for member in self:
            member.start(self.names)
        self.wait_until_well()

    def wait_until_well(self) -> None:
        """Return when every member answers and knows the leader."""
        for member in self:
            wait_for(lambda url=member.url: answers(f"{url}/health"), 20, f"{member.name} answers")

    def leader(self) -> Member:
        self.wait_until_well()
        return next(member for member in self if member.leads())

    def followers(self) -> list[Member]:
        leader = self.leader()
        return [member for member in self if member is not leader]


@contextlib.contextmanager
def running_members(folder: Path, *flags: str, count: int = 3) -> Iterator[Members]:
    """Run a cluster of real members on loopback."""
    members = Members(Member(f"m{number}", folder, *flags) for number in range(count))
    try:
        members.start()
        yield members
    finally:
        for member in members:
            member.kill()


class Held(NamedTuple):
    """A key in etcd: its value, how often it was written, and by which revision last."""

    value: bytes
    times: int
    revision: int


def held(url: str, prefix: bytes) -> dict[bytes, Held]:
    """Return what etcd holds under a prefix, read by another client."""
    parts = urlsplit(url)
    client = Etcd3Client(host=parts.hostname, port=parts.port, api_path="/v3/", timeout=5)
    return {
        about["key"]: Held(value, int(about["version"]), int(about["mod_revision"]))
        for value, about in client.get_prefix(prefix.decode())
    }


def alter(url: str, prefix: bytes, old: bytes, new: bytes) -> bytes:
    """Write other bytes over those of the one value under a prefix that has them; return its key.

    As somebody would who can reach etcd and wants a record to say something else.
    """
    (key,) = (key for key, found in held(url, prefix).items() if old in found.value)
    parts = urlsplit(url)
    client = Etcd3Client(host=parts.hostname, port=parts.port, api_path="/v3/", timeout=5)
    assert client.put(key, held(url, key)[key].value.replace(old, new))
    return key
