"""The launcher's control: only with its token, only on loopback; and what it does to processes."""

import json
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import control as controls
from cluster import processes
from cluster.control import Asked, Control, RefusedError, act, seen
from cluster.supervisor import TICK_S, Spec, Supervisor

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
SLEEPER = "import time\nwhile True: time.sleep(0.01); print('.', flush=True)"


class Launcher:
    """A supervisor with two small processes, and its control, served as the launcher does."""

    def __init__(self, folder: Path) -> None:
        self.said: list[str] = []
        self.folder = folder
        self.supervisor = Supervisor(folder, folder, self.said.append, lambda: None)
        self.control = Control(self.supervisor)
        command = (sys.executable, "-c", SLEEPER)
        self.supervisor.start(
            [Spec("node-1", "node", command, ""), Spec("m", "member", command, "")]
        )

    def tick(self) -> None:
        self.control.wait(TICK_S / 10)
        self.supervisor.tick()

    def state(self, name: str = "node-1") -> str:
        return next(p["state"] for p in seen(self.supervisor)["processes"] if p["name"] == name)

    def what(self) -> list[str]:
        return [event.what for event in self.supervisor.events]

    def until(self, condition: object) -> None:
        ends = time.monotonic() + 10
        while not condition():  # type: ignore[operator]
            assert time.monotonic() < ends, (self.said, self.what())
            self.tick()

    def ask(self, path: str, body: object = None, token: str | None = None) -> tuple[int, dict]:
        """Ask over HTTP from another thread, while this one serves."""
        answers: list[tuple[int, dict]] = []
        thread = threading.Thread(target=lambda: answers.append(self._ask(path, body, token)))
        thread.start()
        self.until(lambda: answers)
        thread.join()
        return answers[0]

    def _ask(self, path: str, body: object, token: str | None) -> tuple[int, dict]:
        data = None if body is None else json.dumps(body).encode()
        bearer = f"Bearer {self.control.token if token is None else token}"
        request = urllib.request.Request(self.control.url + path, data, {"Authorization": bearer})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            return refused.code, json.load(refused)


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    launcher = Launcher(tmp_path)
    yield launcher
    launcher.supervisor.stop()
    launcher.control.close()


def test_only_who_has_the_token_is_answered_and_only_on_loopback(launcher: Launcher) -> None:
    status, body = launcher.ask("/processes")
    assert status == 200
    assert [p["name"] for p in body["processes"]] == ["node-1", "m"]
    pid = launcher.supervisor.children["node-1"].pid
    for token in ("", "x", launcher.control.token[:-1], "\u00e4"):
        assert launcher.ask("/processes", token=token)[0] == 403
        assert launcher.ask("/processes/node-1", {"action": "kill"}, token)[0] == 403
    assert launcher.what() == []
    assert launcher.supervisor.children["node-1"].pid == pid
    assert launcher.control._server.socket.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/processes/node-9", {"action": "kill"}, 404),
        ("/processes/node-1", {"action": "explode"}, 400),
        ("/processes/node-1", {"action": "pause", "seconds": 31}, 400),
        ("/processes/node-1", {"action": "kill", "seconds": -1}, 400),
        ("/processes/node-1", ["kill"], 400),
        ("/processes/node-1", {"action": "kill", "more": "x" * 2_000}, 400),
        ("/elsewhere", {"action": "kill"}, 404),
        ("/elsewhere", None, 404),
    ],
)
def test_nonsense_is_refused(launcher: Launcher, path: str, body: object, status: int) -> None:
    assert launcher.ask(path, body)[0] == status
    assert launcher.what() == []


@posix
def test_an_asker_who_says_nothing_does_not_hold_up_the_launcher(launcher: Launcher) -> None:
    port = int(launcher.control.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port)) as silent:
        silent.sendall(b"GET /processes HT")
        began = time.monotonic()
        launcher.tick()
        assert time.monotonic() - began < 5
        assert launcher.ask("/processes")[0] == 200


@posix
def test_what_is_killed_starts_again_each_time_as_soon(launcher: Launcher) -> None:
    for turn in range(1, 4):  # no loop of crashes, which would be waited for ever longer
        pid = launcher.supervisor.children["node-1"].pid
        assert launcher.ask("/processes/node-1", {"action": "kill"})[0] == 200
        launcher.until(
            lambda pid=pid: launcher.supervisor.children["node-1"].pid not in {None, pid}
        )
        assert launcher.what() == ["kill", "ended", "started"] * turn
    assert "node-1 was stopped by SIGKILL, as asked; starting it again in 0.2 s" in launcher.said
    times = [event.at_s for event in launcher.supervisor.events]
    assert times == sorted(times)


@posix
def test_what_is_stopped_stays_down_until_it_is_restarted(launcher: Launcher) -> None:
    act(launcher.supervisor, "node-1", Asked("stop", None))
    launcher.until(lambda: launcher.state() == "down")
    for _ in range(20):
        launcher.tick()
    assert launcher.state() == "down"
    with pytest.raises(RefusedError, match="does not run"):
        act(launcher.supervisor, "node-1", Asked("kill", None))
    act(launcher.supervisor, "node-1", Asked("restart", None))
    launcher.until(lambda: launcher.state() == "running")
    pid = launcher.supervisor.children["node-1"].pid
    act(launcher.supervisor, "node-1", Asked("restart", None))
    launcher.until(lambda: launcher.supervisor.children["node-1"].pid not in {None, pid})
    assert launcher.state("m") == "running"


@posix
def test_what_is_paused_stands_still_and_goes_on_by_itself(launcher: Launcher) -> None:
    log = launcher.folder / "node-1.log"
    launcher.until(lambda: log.stat().st_size > 0)
    act(launcher.supervisor, "node-1", Asked("pause", 0.5))
    assert launcher.state() == "paused"
    time.sleep(0.1)  # what it wrote before may still be on its way
    written = log.stat().st_size
    time.sleep(0.2)
    assert log.stat().st_size == written
    launcher.until(lambda: launcher.state() == "running")
    launcher.until(lambda: log.stat().st_size > written)
    act(launcher.supervisor, "node-1", Asked("pause", 30))
    act(launcher.supervisor, "node-1", Asked("restart", None))
    assert launcher.state() == "running"
    assert launcher.what() == ["pause", "resumed", "pause", "restart", "resumed"]


@posix
def test_what_does_not_stop_is_killed(launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controls, "NODE_STOP_S_MAX", 0.3)
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1); time.sleep(99)"
    launcher.supervisor.start([Spec("s", "node", (sys.executable, "-c", stubborn), "")])
    launcher.until(lambda: (launcher.folder / "s.log").stat().st_size)
    act(launcher.supervisor, "s", Asked("stop", None))
    told = "s was stopped by SIGKILL, as asked"
    launcher.until(lambda: any(told in line for line in launcher.said))
    assert launcher.state("s") == "down"


@posix
def test_what_stands_still_hears_that_all_is_stopped(launcher: Launcher) -> None:
    polite = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(print('bye')))"
    polite = f"{polite}; print('here', flush=True); time.sleep(99)"
    launcher.supervisor.start([Spec("p", "node", (sys.executable, "-c", polite), "")])
    log = launcher.folder / "p.log"
    launcher.until(lambda: log.stat().st_size)
    act(launcher.supervisor, "p", Asked("pause", 30))
    pid = launcher.supervisor.children["p"].pid
    launcher.supervisor.stop()
    assert log.read_text("utf-8").split() == ["here", "bye"]
    assert not processes.command_line(pid or 0)
