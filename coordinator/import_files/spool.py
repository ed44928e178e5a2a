"""A file of unknown size, taken in as far as it may be.

It is copied, so that what is read twice is the same twice, and a stream can be read like a file.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from coordinator.import_files import BYTES_MAX, BadFile

BYTES_IN_MEMORY = 8 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024


@contextmanager
def spooled(source: Path | IO[bytes]) -> Iterator[IO[bytes]]:
    """Yield a copy of the file, or of what is left of a stream; it is gone afterwards.

    Raises BadFile, without reading where the size can be asked for, and OSError.
    """
    with tempfile.SpooledTemporaryFile(BYTES_IN_MEMORY) as spool:
        if isinstance(source, Path):
            with source.open("rb") as file:
                _copy(file, spool)
        else:
            _copy(source, spool)
        spool.seek(0)
        yield spool


def _copy(source: IO[bytes], spool: IO[bytes]) -> None:
    _check(_bytes_left(source))
    copied = 0
    while chunk := source.read(CHUNK_BYTES):
        copied += len(chunk)
        _check(copied)
        spool.write(chunk)


def _bytes_left(source: IO[bytes]) -> int:
    """Return how much a file still holds; 0 when it cannot say, as a stream or a device."""
    if not source.seekable():
        return 0
    here = source.tell()
    end = source.seek(0, os.SEEK_END)
    source.seek(here)
    return end - here


def _check(length: int) -> None:
    if length > BYTES_MAX:
        raise BadFile(
            f"The file is larger than {BYTES_MAX >> 20} MiB. Split it, with the header in each "
            "part."
        )
