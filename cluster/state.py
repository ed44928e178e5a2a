"""`cluster.json` in the data directory: what runs, where, since when.

Written by the launcher alone, replaced as a whole; read by `status`, `kill`, `stop`, by tests,
and by the next start, which cleans up after a launcher that was killed.
"""

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["Layout", "read", "remove", "write"]

State = dict[str, Any]


class Layout:
    """The names inside a data directory."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.lock = data / "lock"
        self.state = data / "cluster.json"
        self.logs = data / "logs"
        self.members = data / "etcd"
        self.nodes = data / "nodes"


def read(layout: Layout) -> State | None:
    """Return the recorded state; None when nothing is recorded."""
    try:
        state = json.loads(layout.state.read_bytes())
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) else None


def write(layout: Layout, state: State) -> None:
    """Replace the record; a reader sees the old one or the new one, never a part."""
    replace(layout.state, json.dumps(state, indent=2).encode())


def replace(path: Path, content: bytes) -> None:
    """Write a file so that it is there as a whole or not at all, even after a power cut."""
    draft = path.with_suffix(".tmp")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def remove(layout: Layout) -> None:
    """Forget the record after a clean stop."""
    layout.state.unlink(missing_ok=True)
