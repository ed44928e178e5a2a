"""The launcher with real processes: what runs, what survives, what is left when it has gone."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from watched import Watched

from cluster import bootstrap, members, nodes, processes, state, up, web
from cluster.errors import StartError
from cluster.ports import Claims
from cluster.supervisor import STOP_S_MAX, TICK_S, Spec, Supervisor

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


# --- members under the supervisor -----------------------------------------------------------------


@posix
def test_members_survive_kill_and_restart_and_keep_data(tmp_path):
    data = tmp_path / "data with space"
    data.mkdir()
    cluster = Watched(data)
    try:
        cluster.until_healthy()
        cluster.client().put("k", "v")
        victim = cluster.pids["member-2"]
        os.kill(victim, signal.SIGKILL)
        cluster.until(lambda: cluster.pids.get("member-2") not in {None, victim})
        cluster.until_healthy()
        assert cluster.client(1).get("k") == [b"v"]
        assert any("member-2 was stopped by SIGKILL" in line for line in cluster.said)
        ports = cluster.members.members
    finally:
        assert cluster.stop() < STOP_S_MAX

    with pytest.raises(StartError, match="3 etcd members"):
        members.load_or_create(data / "etcd", 1, Claims(HOST))
    # Another program has taken the port by which the others know member 3.
    with socket.create_server((HOST, ports[2].peer_port)):
        cluster = Watched(data)
        try:
            assert cluster.members.members[:2] == ports[:2]
            assert cluster.members.members[2].peer_port != ports[2].peer_port
            cluster.until(lambda: members.is_healthy(ports[0].client_url))
            members.tell_addresses(cluster.members)
            cluster.until_healthy()
            assert [cluster.client(n).get("k") for n in range(3)] == [[b"v"]] * 3
            known = {m["name"]: m["peerURLs"] for m in cluster.client().members()}
            assert known["member-3"] == [cluster.members.members[2].peer_url]
        finally:
            cluster.stop()


def test_two_of_three_peer_ports_taken_is_an_error_that_names_them(tmp_path):
    claims = Claims(HOST)
    chosen = members.load_or_create(tmp_path, 3, claims)
    chosen.save(tmp_path)
    for member in chosen.members:
        (tmp_path / member.name / "member" / "wal").mkdir(parents=True)
    claims.close()
    first, second = (member.peer_port for member in chosen.members[:2])
    again = Claims(HOST)
    with socket.create_server((HOST, first)), socket.create_server((HOST, second)):
        with pytest.raises(StartError, match=f"{first}, {second}"):
            members.load_or_create(tmp_path, None, again)
        again.close()


# --- the supervisor -------------------------------------------------------------------------------


def script(name: str, kind: str, code: str) -> Spec:
    return Spec(name, kind, (sys.executable, "-c", code), "")


@posix
def test_a_process_that_ignores_the_request_to_stop_is_killed_in_time(tmp_path):
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1); time.sleep(99)"
    supervisor = Supervisor(tmp_path, tmp_path / "logs", print, lambda: None)
    supervisor.start([script("n", "node", stubborn), script("m", "member", stubborn)])
    pids = [child.pid for child in supervisor.children.values()]
    while not all((tmp_path / "logs" / f"{name}.log").stat().st_size for name in "nm"):
        time.sleep(0.01)
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < STOP_S_MAX
    assert not any(processes.command_line(pid) for pid in pids)


def test_a_process_that_keeps_dying_is_restarted_ever_more_slowly(tmp_path):
    said: list[str] = []
    supervisor = Supervisor(tmp_path, tmp_path / "logs", said.append, lambda: None)
    supervisor.start([script("n", "node", "raise SystemExit(3)")])
    deadline = time.monotonic() + 10
    while len(said) < 3 and time.monotonic() < deadline:
        supervisor.tick()
        time.sleep(0.01)
    supervisor.stop()
    assert said == [
        "n ended with code 3; starting it again in 0.2 s",
        f"n ended with code 3; starting it again in 0.4 s (see {tmp_path / 'logs' / 'n.log'})",
        f"n ended with code 3; starting it again in 0.8 s (see {tmp_path / 'logs' / 'n.log'})",
    ]


def test_the_log_of_the_previous_start_is_kept(tmp_path):
    for word in ("first", "second"):
        supervisor = Supervisor(tmp_path, tmp_path, print, lambda: None)
        supervisor.start([script("n", "node", f"print('{word}')")])
        supervisor.children["n"].process.wait()
        supervisor.stop()
    assert (tmp_path / "n.log").read_text("utf-8") == "second\n"
    assert (tmp_path / "n.log.1").read_text("utf-8") == "first\n"


@posix
def test_what_a_killed_launcher_left_is_stopped_and_nothing_else(tmp_path):
    command = [sys.executable, "-c", "import time; time.sleep(99)"]
    ours, foreign = (subprocess.Popen(command, start_new_session=True) for _ in range(2))
    layout = state.Layout(tmp_path)
    state.write(
        layout,
        {
            "processes": [
                {"pid": ours.pid, "command": command},
                {"pid": foreign.pid, "command": [*command, "of something else"]},
            ]
        },
    )
    try:
        up._stop_leftovers(layout)
        assert ours.wait(30) == -signal.SIGTERM
        assert foreign.poll() is None
    finally:
        foreign.kill()
        foreign.wait()


# --- the whole, as a person starts it -------------------------------------------------------------


class Started:
    """START-POC.sh of a copy in a folder with a space, run from elsewhere through a link."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [folder / "start", "--no-browser", *words],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        began = time.monotonic()
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if line.startswith("READY "):
                break
        self.start_s = time.monotonic() - began
        assert self.lines, "nothing was said"
        assert self.lines[-1].startswith("READY "), "\n".join(self.lines)

    @property
    def urls(self) -> list[str]:
        """Addresses of the nodes, as printed."""
        return [found[1] for x in self.lines if (found := re.match(r" +node-\d +(\S+)/dash", x))]

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Send a signal and return the seconds until the launcher has gone."""
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.communicate(timeout=STOP_S_MAX + 5)
        return time.monotonic() - began


@pytest.fixture
def copy(tmp_path):
    """Make a copy of the checkout with an environment that borrows this one's packages."""
    root = tmp_path / "a copy"
    for name in ("cluster", "coordinator", "dashboard"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, root / name, ignore=ignore)
    for name in ("pyproject.toml", "START-POC.sh"):
        shutil.copy2(ROOT / name, root / name)
    venv = root / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    python = venv / "bin" / "python"
    code = "import sys, sysconfig; print(sys.version_info[:2], sys.prefix)"
    version = subprocess.check_output([python, "-I", "-S", "-c", code], text=True).strip()
    inside = next((venv / "lib").glob("python*")) / "site-packages"
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    (inside / "borrowed.pth").write_text(packages, "utf-8")
    project = bootstrap.hashlib.sha256((root / "pyproject.toml").read_bytes()).hexdigest()
    marker = {"place": str(venv), "project": project, "python": version, "extras": []}
    (venv / "made-from.json").write_text(json.dumps(marker), "utf-8")
    (tmp_path / "start").symlink_to(root / "START-POC.sh")
    return tmp_path


def get(url: str) -> dict:
    status, body = web.get(url, timeout_s=10)
    assert status == 200, body
    return json.loads(body)


def pids_of(record: dict) -> list[int]:
    return [each["pid"] for each in record["processes"]]


def until(condition, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(TICK_S)


@posix
def test_start_kill_stop_and_start_again(copy):
    data = copy / "a copy" / "data"
    layout = state.Layout(data)
    running: list[int] = []
    started = Started(copy, "--port", "0")
    try:
        assert started.start_s < 60  # the benchmark has the figure; here it must not hang
        assert len(started.urls) == 4
        assert started.lines[-1] == f"READY {started.urls[0]}/dashboard"
        for url in started.urls:
            assert web.get(f"{url}/readyz", timeout_s=5)[0] == 200
        query = "siteId=site-1&partitionId=partition-a&invoiceType=on-cycle"
        first = get(f"{started.urls[0]}/api/v1/sequence/next?{query}&count=3")
        assert first["sequenceNumbers"] == [1, 2, 3]

        again = Started(copy)  # the same data directory: shown, not started twice
        assert again.urls == started.urls
        assert again.process.wait(5) == 0

        before = state.read(layout)
        words = [sys.executable, "-m", "cluster", "kill", "node-2", "--data-dir", str(data)]
        subprocess.run(words, check=True, cwd=ROOT)
        until(lambda: pids_of(state.read(layout)) != pids_of(before))
        until(lambda: up._is_ready(nodes.Spec("node-2", "node", (), started.urls[1])))
        running = pids_of(state.read(layout))
    finally:
        assert started.stop() < STOP_S_MAX
    assert started.process.returncode == 0
    assert not any(processes.command_line(pid) for pid in running if pid)
    assert state.read(layout) is None

    started = Started(copy, "--port", "0")
    try:
        following = get(f"{started.urls[3]}/api/v1/sequence/next?{query}")
        assert following["sequenceNumbers"] == [4]
        running = pids_of(state.read(layout))
    finally:
        started.stop(signal.SIGKILL)
    if sys.platform == "linux":  # elsewhere the next start cleans up
        until(lambda: not any(processes.command_line(pid) for pid in running))
