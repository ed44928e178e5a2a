"""A folder for the files of one import, gone when it ends.

A process that is killed leaves its folder behind; the next one that begins clears it away.
"""

import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

PREFIX = "coordinator-import-"

LEFT_S = 86_400.0
"""No import takes a day, nor does a person who is asked whether to import: whoever has an older
folder is gone."""


@contextmanager
def workplace() -> Iterator[Path]:
    """Have an empty folder meanwhile. Raises OSError when none can be made."""
    clear_left()
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def clear_left() -> None:
    """Clear away the folders of this user that were left behind, as far as that can be done."""
    try:
        folders = list(Path(tempfile.gettempdir()).glob(f"{PREFIX}*"))
    except OSError:  # there is no place for any, so none was left
        return
    for folder in folders:
        try:
            found = folder.lstat()
            is_left = time.time() - found.st_mtime > LEFT_S
            if is_left and (os.name == "nt" or found.st_uid == os.getuid()):
                shutil.rmtree(folder)
                log.info("%s was left behind by an import, and is cleared away", folder)
        except OSError as failed:
            log.warning("%s cannot be cleared away: %s", folder, failed)
