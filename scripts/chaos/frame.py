"""What chaos.py and failover.py share: a throw-away folder, an orderly end, words on the way."""

import asyncio
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from chaos.installation import LabError

T = TypeVar("T")
FAILED, INTERRUPTED = 1, 130


def say(text: str) -> None:
    """Report progress, apart from the report on stdout."""
    print(text, file=sys.stderr, flush=True)


def run_in_folder(
    name: str,
    work: Callable[[Path], Coroutine[Any, Any, T]],
    is_wanted: Callable[[T], bool],
    *,
    keep: bool = False,
) -> T:
    """Run the work in a folder of its own; SIGTERM ends it like Ctrl+C.

    The folder stays when it is to be kept anyway, or is wanted for what the work came to.
    Raises SystemExit, once told, when it was interrupted or the cluster could not be had.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"coordinator-{name}-"))
    try:
        outcome = asyncio.run(_ending_on_sigterm(work(folder)))
        keep = keep or is_wanted(outcome)
    except (LabError, TimeoutError) as trouble:
        say(f"{name}: {str(trouble) or repr(trouble)}")
        raise SystemExit(FAILED) from trouble
    except (KeyboardInterrupt, asyncio.CancelledError):
        say("interrupted: everything that was started has been stopped")
        raise SystemExit(INTERRUPTED) from None
    finally:
        if keep:
            say(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return outcome


async def _ending_on_sigterm(work: Coroutine[Any, Any, T]) -> T:
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await work


def write_json(path: Path | None, fields: dict[str, Any]) -> None:
    """Write a run as JSON, if that is wanted."""
    if path is not None:
        path.write_text(json.dumps(fields, indent=2) + "\n", "utf-8")


def exit_with(main: Callable[[], int]) -> NoReturn:
    """Run a script, say how long it took, and exit with its code."""
    began = time.monotonic()
    try:
        code = main()
    finally:
        say(f"took {time.monotonic() - began:.0f} s")
    sys.exit(code)
