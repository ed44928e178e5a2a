"""Numbers whose caller left before its answer was written: given back, and the ledger says why.

Nobody knows of such a number. Without this it would stay issued for good: a hole in the caller's
books. Only un-keyed requests are meant: a caller with a key asks again and gets its number.
"""

import asyncio
import logging
from collections.abc import Callable
from itertools import islice

from coordinator.core.records import Issued
from coordinator.core.requests import Ask, Call, Done, Holder, Instant, Issue, Release, Request
from coordinator.service import Answer, NotServed, OutcomeUnknown

log = logging.getLogger(__name__)

REASON = "client-disconnected"
AT_ONCE = 32
"""How many numbers of one call are given back at the same time."""

PAUSE_S = 0.5


class Unheard:
    """Gives numbers back until that is committed. ``release`` queues a release."""

    def __init__(
        self, release: Callable[[Ask], "asyncio.Future[Answer]"], now: Callable[[], Instant]
    ) -> None:
        self._release = release
        self._now = now
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, request: Request, outcome: Answer) -> None:
        """Take an outcome that nobody has heard; give back what it issued, if it did."""
        if not isinstance(request, Issue) or request.release_at_once or request.call.key:
            return
        if not isinstance(outcome, Done) or not isinstance(outcome.record, Issued):
            return
        numbers, index = outcome.record.numbers(), outcome.entry.index
        log.info(
            "caller left before its answer, request id %s: giving back %d from %d on",
            *(request.call.correlation, len(numbers), numbers[0]),
        )
        task = asyncio.create_task(self._give_back(request.call, numbers, index))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def is_busy(self) -> bool:
        """Tell whether numbers are still to be given back."""
        return bool(self._tasks)

    def abandon(self) -> list[asyncio.Task[None]]:
        """Give nothing more back of what was taken so far; return the tasks that end."""
        for task in self._tasks:
            task.cancel()
        return list(self._tasks)

    async def _give_back(self, call: Call, numbers: list[int], issued_in: int) -> None:
        ahead, left = iter(numbers), set(numbers)

        async def give_back(number: int) -> None:
            await self._give_back_one(call, number, issued_in)
            left.discard(number)

        try:
            while some := list(islice(ahead, AT_ONCE)):
                await asyncio.gather(*map(give_back, some))
        except asyncio.CancelledError:
            log.warning(
                "ended before all was given back of request id %s: %d numbers from %d on stay "
                "issued, unless their release was under way",
                *(call.correlation, len(left), min(left, default=0)),
            )
            raise

    async def _give_back_one(self, call: Call, number: int, issued_in: int) -> None:
        """Release the number for as long as this issue of it stands: repeating that is safe."""
        holder = Holder(number, issued_in, issued_in, call.origin)
        while True:
            call = call._replace(arrived_us=self._now().monotonic_us, metadata=None)
            try:
                await self._release(Ask(Release(call, number, REASON, issued_in), holder))
            except (NotServed, OutcomeUnknown) as again:
                log.debug("number %d could not be given back yet: %s", number, again)
                await asyncio.sleep(PAUSE_S)
            else:
                return
