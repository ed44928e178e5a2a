"""A moment's patience for those who have just been answered: busy callers ask again at once.

Each round costs a commit, however many it serves; where several nodes share a counter, messages
too. Without this, half of all callers are always on their way while the others are served, and
there are twice as many rounds.

A node alone looks only at what is on its doorstep: it goes on reading requests while they keep
coming, and whoever is served one at a time never waits. Among several nodes the others need a while
to answer their callers and come again. In both cases the clock ends it.

Callers who ask again at once are served sooner for it, all together. Those who come by themselves,
one now and one then, only wait. Both look alike here; so it is tried both ways, again and again,
and among several nodes nobody waits unless more are served in a second.
"""

import asyncio
from contextlib import suppress

GUEST_WAITS_S = 0.008
"""The longest for callers who have just been answered by way of another node."""

HOLDER_WAITS_S = 0.02
"""The longest for nodes that have just been told what became of their batches."""

HERE_WAITS_S = 0.003
"""To read what has arrived, while there is no other node."""

QUIET_PASSES = 5
"""Passes of the event loop without a request after which no more have arrived. One that is being
answered, or read, takes up to three; each costs some microseconds while there is nothing to do."""

LONGER = 1.5
"""How much longer than the last time it may take until all are here."""

LEAST_S = 0.001


class Patience:
    """How long to wait, learned from how long it took until all had come, in time or too late."""

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s
        self.wait_s = most_s / 4

    def all_came(self, after_s: float) -> None:
        """Learn that it took so long."""
        if after_s <= self._most_s:
            self.wait_s = min(self._most_s, max(LONGER * after_s, LEAST_S))
        else:
            self.not_all_came()

    def not_all_came(self) -> None:
        """Learn that they do something else by now."""
        self.wait_s = max(LEAST_S, self.wait_s / 2)


TRIAL_REQUESTS = 500
"""Each way is tried for so many: their number in a second then varies by some percent by chance."""

GAIN = 1.1
"""So many times as many must be served in a second, for all to wait."""

IDLE_S = 0.5
"""What was tried before so long a pause says nothing of what comes after it."""

TRIALS_APART_FIRST, TRIALS_APART_MAX = 4, 64
"""A way that was right again is left ever less often."""


class Habit:
    """Whether to wait for others at all: whatever has served more, with the other way tried out."""

    def __init__(self) -> None:
        self.waits = True
        self._usually = True
        self._usual_rate = 0.0
        self._apart = TRIALS_APART_FIRST
        self._since_trial = 0
        self._began_s = self._latest_s = float("-inf")
        self._served = 0

    def served(self, count: int, now_s: float) -> None:
        """Take what a round has served."""
        if now_s - self._latest_s > IDLE_S:
            self._began_s, self._served = now_s, 0
        else:
            self._served += count
        self._latest_s = now_s
        if self._served >= TRIAL_REQUESTS and now_s > self._began_s:  # clocks may be coarse
            self._judge(self._served / (now_s - self._began_s))
            self._began_s, self._served = now_s, 0

    def _judge(self, rate: float) -> None:
        """Go on as usual, or try the other way, or learn what the trial has shown."""
        if self.waits == self._usually:
            self._usual_rate = rate
            self._since_trial += 1
            if self._since_trial >= self._apart:
                self.waits = not self._usually
            return
        waiting, at_once = (self._usual_rate, rate) if self._usually else (rate, self._usual_rate)
        is_worth_it = waiting > GAIN * at_once
        self._apart = min(TRIALS_APART_MAX, 4 * self._apart) if is_worth_it == self._usually else 1
        self.waits = self._usually = is_worth_it
        self._since_trial = 0


class Expected:
    """Counts down those who are expected."""

    def __init__(self) -> None:
        self._missing = 0
        self._are_here = True
        self._all_came = asyncio.Event()
        self._since_s = 0.0
        self._is_over = False
        self._for_callers, self._for_nodes = Patience(GUEST_WAITS_S), Patience(HOLDER_WAITS_S)
        self._patience = self._for_callers
        self._habit = Habit()

    def after_own_round(self, callers: int, nodes: int, others: int) -> None:
        """Expect so many who have just been answered here, and other nodes that were told.

        Those had ``others`` of their own callers in it.
        """
        if nodes:
            self._habit.served(callers + others, asyncio.get_running_loop().time())
            self._expect(callers + nodes, self._for_nodes)
        else:
            self._missing, self._are_here = callers, True

    def after_round_elsewhere(self, callers: int) -> None:
        """Expect so many who have just been answered by way of another node."""
        self._habit.served(callers, asyncio.get_running_loop().time())
        self._expect(callers, self._for_callers)

    def _expect(self, count: int, patience: Patience) -> None:
        if self._missing and not self._are_here:
            self._patience.not_all_came()
        self._missing, self._are_here, self._is_over = count, False, False
        self._patience = patience
        self._all_came.clear()
        self._since_s = asyncio.get_running_loop().time()

    def came(self) -> None:
        """Note that somebody has come."""
        if not self._missing:
            return
        self._missing -= 1
        if not self._missing and not self._are_here:
            self._patience.all_came(asyncio.get_running_loop().time() - self._since_s)
            self._all_came.set()

    async def wait(self) -> None:
        """Wait until all have come, or for as long as that may take."""
        if not self._missing or self._is_over:
            return
        if self._are_here:
            await self._while_they_come()
            self._missing = 0
            return
        if self._habit.waits:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._since_s + self._patience.wait_s):
                    await self._all_came.wait()
        self._is_over = True  # who comes later is counted all the same: next time it may pay

    async def _while_they_come(self) -> None:
        loop, quiet = asyncio.get_running_loop(), 0
        ends = loop.time() + HERE_WAITS_S  # something else may make each pass a slow one
        while self._missing and quiet < QUIET_PASSES and loop.time() < ends:
            missing = self._missing
            await asyncio.sleep(0)
            quiet = quiet + 1 if self._missing == missing else 0
