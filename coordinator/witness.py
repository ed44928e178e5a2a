"""What this node has seen committed, kept in a file: a restart must know it too (invariant 10).

The file is written about a second after a change, and when the node stops. What it says is thus
never newer than the truth; a store that is older than it has gone back.
"""

import asyncio
import logging
import os
from pathlib import Path
from typing import NamedTuple

import orjson

from coordinator.core.ledger import NO_HASH
from coordinator.core.unreadable import digest_of_entry, text, whole

log = logging.getLogger(__name__)

SAVE_EVERY_S = 1.0


class Seen(NamedTuple):
    """The newest ledger entry seen committed, and its hash."""

    entry: int = 0
    tip: str = NO_HASH


class WitnessUnreadable(Exception):
    """The file is not what this program writes; the message says what to do."""


class Witness:
    """By counter. Without a path it remembers while the process runs."""

    def __init__(self, path: Path | None = None) -> None:
        """Raise WitnessUnreadable when the file is damaged, OSError when it cannot be read."""
        self._path = path
        self._seen: dict[str, Seen] = {}
        self._changed = False
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            self._seen = _decode(path)

    def seen(self, counter: str) -> Seen:
        """Return what was last seen of a counter."""
        return self._seen.get(counter, Seen())

    def note(self, counter: str, seen: Seen) -> None:
        """Remember what is known to be committed."""
        self._seen[counter] = seen
        self._changed = True

    def copy(self) -> "Witness":
        """Return another one that knows the same, without a file."""
        other = Witness()
        other._seen = dict(self._seen)
        return other

    def save(self) -> None:
        """Write the file if there is news; as a whole or not at all. Raises OSError."""
        if self._path is None or not self._changed:
            return
        self._changed = False
        seen = {"format": 1, "seen": self._seen}
        content = orjson.dumps(seen, default=list, option=orjson.OPT_INDENT_2)
        draft = self._path.with_suffix(".tmp")
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)

    async def keep_saving(self) -> None:
        """Save every second, until cancelled."""
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            try:
                await asyncio.to_thread(self.save)
            except OSError as failed:
                self._changed = True
                log.warning("what this node has seen cannot be written: %s", failed)


def _decode(path: Path) -> dict[str, Seen]:
    try:
        fields = orjson.loads(path.read_bytes())
        if fields["format"] != 1:
            raise ValueError(f"format {fields['format']}; known is 1")
        return {
            text(counter): Seen(whole(index), digest_of_entry(tip))
            for counter, (index, tip) in fields["seen"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as broken:
        raise WitnessUnreadable(
            f"{path} is damaged ({broken}). It tells what this node has seen committed. Restore "
            "it, or move it away to let this node trust the store as it is now."
        ) from broken
