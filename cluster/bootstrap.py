"""Makes the environment in `.venv` when needed, then hands over to `python -m cluster up`.

Run by START-POC.sh and START-POC.bat, and by the test command as
`python cluster/bootstrap.py --prepare-only --extra test`. Standard library only, and readable
by old Pythons far enough to tell their owners what is needed.

An environment is whole when its marker file, written last, says what it was made from. A half-made
one has none and is made anew; one made from an older pyproject.toml is brought up to date.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.lock import FileLock

PYTHON_MIN = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
MARKER = VENV / "made-from.json"
LOG = VENV / "prepare.log"
WINDOWS = os.name == "nt"
PYTHON = VENV / ("Scripts/python.exe" if WINDOWS else "bin/python")
LOG_LINES_SHOWN = 15
DOT_S = 5.0  # a dot this often, so that a slow download does not look like a hang
WAIT_S_MAX = 900.0
POLL_S = 0.2


class PrepareError(Exception):
    """The environment cannot be made; the message says what to do."""


def main(words: list[str]) -> int:
    """Prepare the environment, then become the launcher; return an exit code if that fails."""
    if tuple(sys.version_info) < PYTHON_MIN:
        print(f"Python 3.11 or later is needed; this is {sys.version.split()[0]}.")
        return 1
    for name in ("SIGTERM", "SIGHUP"):  # they shall end the running step too, as Ctrl+C does
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) != signal.SIG_IGN:
            signal.signal(getattr(signal, name), signal.default_int_handler)
    prepare_only = "--prepare-only" in words
    try:
        extras = _extras(words) if prepare_only else set()
        prepare(extras)
    except PrepareError as problem:
        print(f"ERROR: {problem}")
        return 1
    except KeyboardInterrupt:
        print("\nStopped.")
        return 130
    except OSError as problem:
        print(f"ERROR: the environment in {VENV} cannot be made: {problem}")
        return 1
    return 0 if prepare_only else hand_over(words)


def prepare(extras: set[str]) -> None:
    """Make `.venv` whole for this checkout with at least these extras; quick when it is.

    Raises PrepareError, and OSError when the folder cannot be written.
    """
    if _is_whole(_marker(), extras):
        return
    VENV.mkdir(exist_ok=True)
    # This file is run by its path, so Python does not know the package yet.
    sys.path.insert(0, str(ROOT))
    from cluster.lock import FileLock  # noqa: PLC0415

    lock = FileLock(VENV / "lock")
    _wait_for(lock)
    try:
        marker = _marker()
        if not _is_whole(marker, extras):  # another start may have made it meanwhile
            _make(marker, extras | set(marker.get("extras", ())), lock)
    finally:
        lock.close()


def hand_over(words: Sequence[str]) -> int:
    """Become the launcher; on Windows, which cannot, run it and return its exit code."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    # PYTHONSAFEPATH: a folder named `cluster` where the person stands is not our package.
    environment = dict(
        os.environ, PYTHONPATH=os.pathsep.join(filter(None, paths)), PYTHONSAFEPATH="1"
    )
    command = [str(PYTHON), "-m", "cluster", "up", *words]
    if not WINDOWS:
        sys.stdout.flush()
        os.execve(command[0], command, environment)  # noqa: S606 - no shell is wanted
    child = subprocess.Popen(command, env=environment)
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            continue  # Ctrl+C reached the child too, which cleans up


def _extras(words: Sequence[str]) -> set[str]:
    """Return the extras named by `--extra NAME`; raises PrepareError on anything else."""
    extras: set[str] = set()
    rest = [word for word in words if word != "--prepare-only"]
    while rest:
        if rest[0] != "--extra" or len(rest) == 1:
            raise PrepareError("usage: bootstrap.py --prepare-only [--extra NAME]...")
        extras.add(rest[1])
        rest = rest[2:]
    return extras


def _fingerprint() -> dict[str, str]:
    """Return what an environment depends on; it holds absolute paths, so on its place as well."""
    project = (ROOT / "pyproject.toml").read_bytes()
    return {"place": str(VENV), "project": hashlib.sha256(project).hexdigest()}


def _marker() -> dict[str, Any]:
    try:
        marker = json.loads(MARKER.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return marker if isinstance(marker, dict) else {}


def _is_whole(marker: dict[str, Any], extras: set[str]) -> bool:
    wanted = _fingerprint()
    return (
        all(marker.get(name) == value for name, value in wanted.items())
        and extras <= set(marker.get("extras", ()))
        and _works(marker)
    )


def _works(marker: dict[str, Any]) -> bool:
    """Tell whether the environment's interpreter runs and is still the one it was made with."""
    return marker.get("python") is not None and marker["python"] == _version_inside()


def _version_inside() -> str | None:
    code = "import sys; print(sys.version_info[:2], sys.prefix)"
    try:
        answer = subprocess.run(
            [str(PYTHON), "-I", "-S", "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.decode(errors="replace").strip() or None


def _wait_for(lock: FileLock) -> None:
    told = False
    deadline = time.monotonic() + WAIT_S_MAX
    while not lock.acquire():
        if not told:
            print("Another start is preparing the environment; waiting for it ...", flush=True)
            told = True
        if time.monotonic() > deadline:
            raise PrepareError(f"another start has been preparing {VENV} for too long.")
        time.sleep(POLL_S)


def _make(marker: dict[str, Any], extras: set[str], lock: FileLock) -> None:
    """Bring the environment up to date, or make it anew, and write the marker last."""
    anew = marker.get("place") != str(VENV) or not _works(marker)
    if anew:
        _check_python()
        print("Preparing the environment (first start only, about a minute) ...", flush=True)
    else:
        print("Bringing the environment up to date ...", flush=True)
    MARKER.unlink(missing_ok=True)
    LOG.write_bytes(b"")
    if anew:
        _empty()
        _run([sys.executable, "-m", "venv", str(VENV)], lock)
    what = str(ROOT) + (f"[{','.join(sorted(extras))}]" if extras else "")
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    _run([*pip, "install", "--editable", what], lock)
    marker = dict(_fingerprint(), python=_version_inside(), extras=sorted(extras))
    draft = MARKER.with_suffix(".tmp")
    draft.write_text(json.dumps(marker, indent=2), "utf-8")
    draft.replace(MARKER)


def _check_python() -> None:
    """Debian and Ubuntu ship Python without what an environment needs."""
    if importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip"):
        return
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    raise PrepareError(
        f"this Python ({sys.executable}) cannot make environments.\n"
        "Install what is missing and start again:\n"
        "    sudo apt install python3-venv\n"
        "or, for a Python beside the system's own:\n"
        f"    sudo apt install python{version}-venv"
    )


def _empty() -> None:
    """Remove everything but the lock, which this process holds, and the log."""
    for path in VENV.iterdir():
        if path.name in {"lock", LOG.name}:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _run(command: Sequence[str], lock: FileLock) -> None:
    """Run one step with its output in the log; raises PrepareError with the last lines.

    The step inherits the lock: should this process be killed, the next start waits for the step.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in {"PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_PREFIX", "PIP_USER"}
    }
    with LOG.open("ab") as log:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            cwd=str(ROOT),
            pass_fds=() if WINDOWS else (lock.fileno(),),
        )
        try:
            code = _wait(child)
        except BaseException:
            child.kill()
            child.wait()
            raise
    if code:
        lines = LOG.read_text("utf-8", errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        shown = "\n    ".join(lines)
        raise PrepareError(
            f"the environment could not be made. The last lines of {LOG}:\n    {shown}\n"
            "Is the package index reachable from here? A new start tries again."
        )


def _wait(child: subprocess.Popen[bytes]) -> int:
    dots = 0
    while True:
        try:
            code = child.wait(DOT_S)
        except subprocess.TimeoutExpired:
            print(".", end="", flush=True)
            dots += 1
        else:
            if dots:
                print(flush=True)
            return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
