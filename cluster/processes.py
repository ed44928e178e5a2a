"""Operating-system matters of processes: start, stop, recognise.

Every child gets its own session (process group on Windows), so that Ctrl+C at the terminal
reaches the launcher alone. On Linux the kernel kills the child when the launcher dies; elsewhere
the next start finds what is left by its recorded process id and command line.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

__all__ = [
    "CAN_PAUSE",
    "command_line",
    "end",
    "end_one",
    "go_on",
    "is_running",
    "kill",
    "pause",
    "spawn",
]

_ASK_TIMEOUT_S = 10
_PR_SET_PDEATHSIG = 1
CAN_PAUSE = sys.platform != "win32"
"""Whether `pause` and `go_on` do anything here."""


def spawn(
    command: Sequence[str], *, log: IO[bytes], environment: dict[str, str], folder: Path
) -> subprocess.Popen[bytes]:
    """Start a process that neither outlives the launcher nor hears its terminal.

    Raises OSError when the program cannot be started.
    """
    if sys.platform == "win32":
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            cwd=folder,
            creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,
        )
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=environment,
        cwd=folder,
        start_new_session=True,
        preexec_fn=_die_with_launcher,  # noqa: PLW1509 - no other thread runs in the launcher
    )


def end(pid: int) -> None:
    """Ask a process that `spawn` started to finish what it does and stop."""
    if sys.platform == "win32":
        _send(pid, signal.CTRL_BREAK_EVENT)
    else:
        _send(pid, signal.SIGTERM)


def end_one(pid: int) -> None:
    """Ask one process that leads no group of its own, such as a launcher, to stop."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def kill(pid: int) -> None:
    """Stop a process at once; it gets no chance to write anything down."""
    if sys.platform == "win32":
        _send(pid, signal.SIGTERM)  # TerminateProcess
    else:
        _send(pid, signal.SIGKILL)


def pause(pid: int) -> None:
    """Let a process stand still, as if its machine had lost its processor."""
    if sys.platform != "win32":
        _send(pid, signal.SIGSTOP)


def go_on(pid: int) -> None:
    """Let a process that stands still go on; it does not know that time has passed."""
    if sys.platform != "win32":
        _send(pid, signal.SIGCONT)


def is_running(pid: int, command: Sequence[str]) -> bool:
    """Tell whether `pid` is still the process started with this command.

    Process ids are used again; equal command lines, with ports and folders of one data
    directory in them, are not.
    """
    found = command_line(pid)
    # The program's own path is left out: macOS shows another one for Python.
    return found is not None and found.endswith(" ".join(command[1:]))


def command_line(pid: int) -> str | None:
    """Return the words of a running process, joined by spaces; None when there is none."""
    if sys.platform == "linux":
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return None
        return words.rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace") or None
    if sys.platform == "win32":
        return _ask(
            "powershell",
            "-NoProfile",
            "-Command",
            # A word with a space in it comes back quoted; `is_running` compares without quotes.
            f"(Get-CimInstance Win32_Process -Filter 'ProcessId={pid}').CommandLine -replace '\"'",
        )
    return _ask("ps", "-ww", "-o", "command=", "-p", str(pid))


def _send(pid: int, number: int) -> None:
    try:
        if sys.platform == "win32":
            os.kill(pid, number)
        else:
            os.killpg(pid, number)  # the child leads its group, and may have children
    except ProcessLookupError:
        pass
    except OSError:
        if sys.platform != "win32":  # Windows: gone already, or no console to send a break to
            raise


def _ask(*command: str) -> str | None:
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_ASK_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None


_launcher = os.getpid()
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def _die_with_launcher() -> None:
    """Run in the child before it becomes the program."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != _launcher:  # the launcher died before the line above
            os._exit(1)
