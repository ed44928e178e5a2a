"""How many connections this process can hold: each is an open file, and so are etcd's and the log.

A process that runs out of files cannot even say so. Connections are therefore refused long before.
"""

import logging
import sys
from typing import NamedTuple

log = logging.getLogger(__name__)

OTHERS = 128
"""Files that are no caller's: the log, connections to etcd, those of demonstrations."""

BACKLOG_MAX = 1024
FILES_MAX = 1_048_576
FEW_CONNECTIONS = 1_000

# The event loop accepts a whole backlog at once, and some rounds go by until a connection that is
# one too many is closed again: so many backlogs may be open beyond the bound.
BACKLOGS_ON_THE_WAY = 4


class Room(NamedTuple):
    """What fits: connections of callers, and how many may wait to be accepted."""

    connections_max: int
    backlog: int


def room_for(connections_max: int, files: int | None) -> Room:
    """Return what of the wish fits into so many open files; None is no limit."""
    if files is None:
        return Room(connections_max, BACKLOG_MAX)
    backlog = max(1, min(BACKLOG_MAX, files // 16))
    fitting = files - OTHERS - BACKLOGS_ON_THE_WAY * backlog
    return Room(max(1, min(connections_max, fitting)), backlog)


def raise_limit() -> int | None:
    """Let this process open as many files as it may; return how many. None: the system sets none.

    The soft limit is often 1,024, for the sake of programs that use select(); this one does not.
    """
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415 - Windows has no such module

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, FILES_MAX)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return FILES_MAX if soft == resource.RLIM_INFINITY else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as refused:  # macOS: the kernel allows less than it says
        log.warning("the limit of open files stays at %d: %s", soft, refused)
        return soft
    return wanted


def room(connections_max: int) -> Room:
    """Raise the limit of open files; return what fits, and warn when that is little."""
    files = raise_limit()
    fitting = room_for(connections_max, files)
    if fitting.connections_max < min(connections_max, FEW_CONNECTIONS):
        log.warning(
            "only %d connections at a time: the limit of open files is %s. Raise it (ulimit -n, "
            "LimitNOFILE=) to serve more",
            fitting.connections_max,
            files,
        )
    else:
        log.info("up to %d connections at a time", fitting.connections_max)
    return fitting
