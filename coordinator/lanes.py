"""How many counters of a node are on their way to the store at once.

Ten thousand counters that all have something to commit would open as many connections, and the
last of them would wait for its reply while the members work on the others: a healthy store would
look like one that does not answer. A counter therefore needs a place here, in the order of asking;
until then nothing of it is loaded, planned or sent.
"""

import asyncio

BUSY_MAX = 32
QUIET_MAX = 8
"""Enough to keep the members busy: with more, all wait longer for the same number of commits."""

BUSY_FOR_S = 1.0


class Lanes:
    """Places for the counters of one node. A counter in doubt keeps its place.

    One that has just been served has a lane apart from those that were quiet and those to be
    loaded: many counters that are used now and then do not slow down the one in constant use.
    """

    def __init__(self, busy_max: int = BUSY_MAX, quiet_max: int = QUIET_MAX) -> None:
        self._busy = asyncio.Semaphore(busy_max)
        self._quiet = asyncio.Semaphore(quiet_max)

    def lane(self, served_s: float) -> asyncio.Semaphore:
        """Return the lane of a counter that was last served at this time of the event loop."""
        quiet_s = asyncio.get_running_loop().time() - served_s
        return self._busy if quiet_s < BUSY_FOR_S else self._quiet
