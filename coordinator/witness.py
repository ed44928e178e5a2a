"""What this node has seen committed, kept in a file: a restart must know it too (invariant 10).

The file is written about a second after a change, and when the node stops. What it says is thus
never newer than the truth; a store that is older than it has gone back.

    {"format": 2, "seen": {counter: [entry, hash], ...}}     all counters, put there as a whole
    {counter: [entry, hash], ...}                            what one saving found changed; more

Savings append, so that they cost what has changed and not what is known; when they come to more
than the first line, the file is written anew. Each is on the disk before the next one begins: only
the last line can be torn, and what it said is known to be lost, the last second before a crash.
"""

import asyncio
import logging
import os
import threading
from pathlib import Path
from typing import NamedTuple

import orjson

from coordinator.core.ledger import NO_HASH
from coordinator.core.unreadable import digest_of_entry, text, whole

log = logging.getLogger(__name__)

SAVE_EVERY_S = 1.0
FORMAT = 2
APPENDED_BYTES_MIN = 65_536
"""Below this the file is not written anew, however little its first line has."""


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
        self._changed: set[str] = set()
        self._saving = threading.Lock()
        self._bytes_left = 0
        """How much may still be appended before the file is written anew."""
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
        self._changed.add(counter)

    def copy(self) -> "Witness":
        """Return another one that knows the same, without a file."""
        other = Witness()
        other._seen = dict(self._seen)
        return other

    def save(self) -> None:
        """Write what is new. Raises OSError; what was to be written is then kept for the next time.

        May be called from another thread than ``note``.
        """
        if self._path is None or not self._changed:
            return
        with self._saving:
            names = [self._changed.pop() for _ in range(len(self._changed))]
            news = _line({name: self._seen[name] for name in names})
            try:
                if len(news) <= self._bytes_left:
                    self._bytes_left -= len(news)
                    _write(self._path, news, "ab")
                else:
                    self._write_anew(self._path)
            except OSError:
                self._bytes_left = 0  # part of it may be there: nothing may come after that
                self._changed.update(names)
                raise

    def _write_anew(self, path: Path) -> None:
        everything = _line({"format": FORMAT, "seen": dict(self._seen)})
        draft = path.with_suffix(".tmp")
        _write(draft, everything, "wb")
        draft.replace(path)
        self._bytes_left = max(len(everything), APPENDED_BYTES_MIN)

    async def keep_saving(self) -> None:
        """Save every second, until cancelled."""
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            try:
                await asyncio.to_thread(self.save)
            except OSError as failed:
                log.warning("what this node has seen cannot be written: %s", failed)


def _line(value: object) -> bytes:
    return orjson.dumps(value, default=list, option=orjson.OPT_APPEND_NEWLINE)


def _write(path: Path, content: bytes, mode: str) -> None:
    with path.open(mode) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _decode(path: Path) -> dict[str, Seen]:
    try:
        content = path.read_bytes()
        is_one_document = content.startswith(b"{\n")  # format 1, which nothing was appended to
        first, *more = [content] if is_one_document else content.splitlines()
        fields = orjson.loads(first)
        if fields["format"] not in {1, FORMAT}:
            raise ValueError(f"format {fields['format']}; known are 1 and {FORMAT}")
        seen = _seen_in(fields["seen"])
        for at, line in enumerate(more, 1):
            try:
                seen |= _seen_in(orjson.loads(line))
            except orjson.JSONDecodeError:
                if at < len(more):
                    raise
                log.warning("%s: its last line is torn, as by a crash, and left out", path)
    except (ValueError, KeyError, TypeError, AttributeError) as broken:
        raise WitnessUnreadable(
            f"{path} is damaged ({broken}). It tells what this node has seen committed. Restore "
            "it, or move it away to let this node trust the store as it is now."
        ) from broken
    return seen


def _seen_in(fields: dict[str, list[object]]) -> dict[str, Seen]:
    return {
        text(counter): Seen(whole(index), digest_of_entry(tip))
        for counter, (index, tip) in fields.items()
    }
