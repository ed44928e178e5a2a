"""The schedule: which fault strikes when, and how long it was until somebody was served again."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chaos.faults import CannotStrikeError, Strike
from chaos.installation import LabError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from chaos.books import Books
    from chaos.faults import Fault
    from chaos.installation import Installation

PAUSE_S_MIN, PAUSE_S_MAX = 3.0, 8.0
TRIES_MAX = 20
TRY_AGAIN_S = 0.5
HEAL_S_MAX = 120.0
NODES_STRUCK_MAX = 2  # the others serve on, so that a fault's own effect can be seen


@dataclass
class Struck:
    """One fault that was injected; times in seconds since the beginning of the run."""

    kind: str
    target: str
    at_s: float
    healed_s: float | None = None
    first_success_s: float | None = None
    """From the fault to the first success, anywhere, of a request that began after it."""
    served_there_s: float | None = None
    """The same at the node that was struck."""
    detail: str = ""
    trouble: str = ""


@dataclass
class Injector:
    """Draws faults from a seed, lets them strike, and waits until they are healed."""

    installation: Installation
    books: Books
    faults: Mapping[str, Fault]
    draw: random.Random
    say: Callable[[str], None]
    struck: list[Struck] = field(default_factory=list)
    _busy: set[str] = field(default_factory=set)
    _running: set[asyncio.Task[Any]] = field(default_factory=set)
    _began: float = field(default_factory=time.monotonic)

    @property
    def now_s(self) -> float:
        """Return seconds since the beginning of the run."""
        return time.monotonic() - self._began

    async def run(self, seconds: float) -> None:
        """Inject faults for so long; then wait until every one of them is healed."""
        waiting = sorted(self.faults)  # every kind once, before any is drawn again
        self.draw.shuffle(waiting)
        while True:
            pause_s = self.draw.uniform(PAUSE_S_MIN, PAUSE_S_MAX)
            if self.now_s + pause_s > seconds:
                break
            await asyncio.sleep(pause_s)
            others = self.draw.sample(sorted(self.faults), len(self.faults))
            kind = await self._strike([*waiting, *others])
            if kind in waiting:
                waiting.remove(kind)
        await asyncio.sleep(max(0.0, seconds - self.now_s))
        for kind in waiting:
            self.say(f"  {kind} did not get its turn in this time")
        if self._running:
            await asyncio.wait(self._running, timeout=HEAL_S_MAX)
        for task in self._running:
            task.cancel()

    async def _strike(self, kinds: list[str]) -> str | None:
        """Let the first of these kinds strike for which there is a target now."""
        for _ in range(TRIES_MAX):
            turn = await self.installation.turn()
            for kind in kinds:
                targets = self._free_targets(self.faults[kind], turn)
                if targets:
                    target = self.draw.choice(targets)
                    self._launch(kind, target)
                    return kind
            await asyncio.sleep(TRY_AGAIN_S)
        return None

    def _free_targets(self, fault: Fault, turn: str | None) -> list[str]:
        if fault.strikes == "members":  # one thing at a time with the members: a majority stays up
            return [] if "members" in self._busy else ["members"]
        nodes = set(self.installation.nodes)
        if len(self._busy & nodes) >= NODES_STRUCK_MAX:
            return []
        wanted = nodes if fault.strikes == "node" else nodes & {turn}
        return sorted(wanted - self._busy)

    def _launch(self, kind: str, target: str) -> None:
        self._busy.add(target)
        task = asyncio.create_task(self._through(kind, target), name=f"{kind} {target}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _through(self, kind: str, target: str) -> None:
        """Take one fault from its beginning until all is well again with its target."""
        struck = Struck(kind, target, self.now_s)
        self.struck.append(struck)
        watchers: list[asyncio.Task[None]] = []

        def begins(name: str, detail: str = "") -> None:
            struck.target, struck.at_s, struck.detail = name, self.now_s, detail
            what = f"{kind:15} {name:10} {detail}"
            self.say(f"{struck.at_s:6.1f} s  {what}")
            watchers.append(asyncio.create_task(self._watch(struck, target)))

        strike = Strike(self.installation, target, self.draw, begins)
        try:
            await self.faults[kind].run(strike)
        except Exception as trouble:  # noqa: BLE001 - whatever it is, it must not pass for a fault
            expected = isinstance(trouble, CannotStrikeError | LabError)
            struck.trouble = str(trouble) if expected else repr(trouble)
            self.say(f"{self.now_s:6.1f} s  {kind} went wrong: {trouble}")
        finally:
            self._busy.discard(target)
        struck.healed_s = self.now_s
        for watcher in watchers:
            with suppress(TimeoutError):
                await asyncio.wait_for(watcher, HEAL_S_MAX)

    async def _watch(self, struck: Struck, target: str) -> None:
        anywhere = self.books.first_success()
        there = self.books.first_success(target) if target != "members" else None
        struck.first_success_s = await anywhere
        self.say(
            f"{self.now_s:6.1f} s    {struck.kind} {struck.target}: "
            f"first success after {struck.first_success_s:.3f} s"
        )
        if there is not None:
            struck.served_there_s = await there
