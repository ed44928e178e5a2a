"""Work that several callers wait for, and that goes on when one of them leaves."""

import asyncio
from typing import TypeVar

T = TypeVar("T")


def shielded(work: asyncio.Future[T]) -> asyncio.Future[T]:
    """Return what a caller waits for instead of the work itself: cancelling it ends nothing else.

    ``asyncio.shield`` stops listening when its caller leaves. Work that failed after the last one
    has left would then be reported as a bug ("exception was never retrieved"); whoever waits hears
    of a failure, and when nobody does, nobody is left to tell.
    """
    work.add_done_callback(_hear)
    return asyncio.shield(work)  # noqa: TID251 - the one place


def _hear(work: "asyncio.Future[T]") -> None:
    if not work.cancelled():
        work.exception()
