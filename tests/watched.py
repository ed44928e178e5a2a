"""etcd members under the supervisor, watched by a test."""

import time
from pathlib import Path

from etcd3gw import Etcd3Client

from cluster import etcd_binary, members, processes
from cluster.etcd_binary import find_etcd
from cluster.ports import Claims
from cluster.supervisor import TICK_S, Supervisor

HOST = "127.0.0.1"


class Watched:
    """A supervisor with members of one data directory, ticked by hand."""

    def __init__(self, data: Path, count: int | None = None) -> None:
        self.said: list[str] = []
        self.claims = Claims(HOST)
        folder = data / "etcd"
        etcd = find_etcd(etcd_binary.tools_folder(data), self.said.append)
        chosen = members.load_or_create(folder, count, self.claims)
        self.members = members.with_version(chosen, etcd.version)
        self.members.save(folder)
        self.supervisor = Supervisor(data, data / "logs", self.said.append, lambda: None)
        self.supervisor.start(members.member_specs(etcd.path, folder, self.members))

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of what runs now."""
        return {name: c.pid for name, c in self.supervisor.children.items() if c.pid}

    def until(self, condition, seconds: float = 15.0) -> None:
        """Tick until the condition holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.said
            self.supervisor.tick()
            time.sleep(TICK_S)

    def until_healthy(self) -> None:
        """Tick until every member is healthy."""
        self.until(lambda: all(members.is_healthy(m.client_url) for m in self.members.members))

    def client(self, number: int = 0) -> Etcd3Client:
        """Return the independent eye on one member."""
        return Etcd3Client(HOST, self.members.members[number].client_port, timeout=5)

    def stop(self) -> float:
        """Stop all and return the seconds it took."""
        pids = self.pids.values()
        began = time.monotonic()
        self.supervisor.stop()
        self.claims.close()
        took = time.monotonic() - began
        assert not any(processes.command_line(pid) for pid in pids)
        return took
