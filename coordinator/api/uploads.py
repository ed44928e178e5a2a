"""Files on their way to this node: few at a time, so that their number bounds their bytes too."""

from collections.abc import Iterator
from contextlib import contextmanager

from coordinator.api.orders import of_this_request
from coordinator.api.problems import BUSY, Problem

UPLOADS_MAX = 4
"""Each is of ``imports.BYTES_MAX`` at most: with the file that is being imported, the copy that is
read and its rows they take some 450 MiB of disk, whoever sends them."""


class Uploads:
    """The places that files come in by. Who sends slowly has one of them, not the import's."""

    def __init__(self) -> None:
        self._under_way = 0

    def check_free(self, key: str | None) -> None:
        """Raise Problem while as many files are on their way as may be.

        ``key`` is the idempotency key of who asks.
        """
        if self._under_way >= UPLOADS_MAX:
            said = f"{UPLOADS_MAX} files are on their way to this node already"
            detail = f"Nothing was changed: {said}. Ask another, or wait."
            raise Problem(BUSY, of_this_request(detail, key))

    @contextmanager
    def place(self, key: str | None) -> Iterator[None]:
        """Have a file come in meanwhile. Raises Problem as ``check_free`` does."""
        self.check_free(key)
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
