"""A lock file that the kernel releases when its holder dies, so no lock can be stale."""

import os
import sys
from pathlib import Path

__all__ = ["FileLock"]


class FileLock:
    """An exclusive lock between processes on one file, which stays in place when unlocked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the lock without waiting; False when another process holds it.

        Raises OSError when the file cannot be opened.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        if not _lock(descriptor):
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def fileno(self) -> int:
        """Return the descriptor that carries the lock; a child that inherits it holds it too.

        Raises ValueError when the lock is not held.
        """
        if self._descriptor is None:
            raise ValueError("the lock is not held")
        return self._descriptor

    def close(self) -> None:
        """Give the lock back; closing the file is what does it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415 - exists on Windows only

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl  # noqa: PLC0415 - exists elsewhere only

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
