"""Log lines that nobody can flood: the first of a kind at once, then one a second that counts."""

import asyncio
import logging

EVERY_S = 1.0


class SparingLog:
    """Writes a line at once, unless the same kind had one within the last second.

    Those are counted, and told in one line when the second is over. Belongs to a running loop.
    """

    def __init__(self, log: logging.Logger, every_s: float = EVERY_S) -> None:
        self._log = log
        self._every_s = every_s
        self._held: dict[str, int] = {}

    def info(self, kind: str, line: str, *values: object) -> None:
        """Write or count a line. There must be few kinds: each is remembered for a second."""
        if kind in self._held:
            self._held[kind] += 1
            return
        self._log.info(line, *values)
        self._hold(kind)

    def _hold(self, kind: str) -> None:
        self._held[kind] = 0
        asyncio.get_running_loop().call_later(self._every_s, self._tell, kind)

    def _tell(self, kind: str) -> None:
        count = self._held.pop(kind)
        if count:
            self._log.info("and %d more %s within %g s", count, kind, self._every_s)
            self._hold(kind)
