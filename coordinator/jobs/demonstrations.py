"""The four demonstrations: through the public HTTP API of the nodes, checking what they claim.

Other traffic may run meanwhile. What must hold in any case is always checked (no number twice, all
requests answered, every number in the ledger); what only holds alone (numbers without a hole among
them) is checked when the totals show that nobody else was served.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import cycle
from typing import Any

from coordinator.config import Settings
from coordinator.jobs.callers import Failed, Nodes, places_of, session
from coordinator.jobs.running import Run, Script
from coordinator.store import StoreError

CHECKS = ("all answered", "in the ledger", "no number twice", "no gap")


class Demonstrations:
    """Makes the scripts of the demonstrations, for the nodes that live."""

    def __init__(self, settings: Settings, urls: Callable[[], Awaitable[tuple[str, ...]]]) -> None:
        self._urls = urls
        self._places = places_of(settings)
        self._alone_is_consecutive = settings.strategy.value == "GLOBAL_SEQUENTIAL"
        self._checks_planned = CHECKS if self._alone_is_consecutive else CHECKS[:2]

    def _script(self, script: Callable[[Nodes, Run], Awaitable[str]]) -> Script:
        async def through(run: Run) -> str:
            def repeated(_: str) -> None:
                run.repeated += 1

            async with session() as http:
                try:
                    urls = await self._urls()
                    if not urls:
                        raise Failed("no node is registered; wait a moment, then try again")
                    return await script(Nodes(http, urls, repeated), run)
                except (Failed, StoreError) as failed:
                    run.check("run", ok=False, detail=str(failed))
                    return f"Stopped: {failed}"

        return through

    def basic(self) -> Script:
        """One number for every site, partition and type, from node after node."""

        async def script(nodes: Nodes, run: Run) -> str:
            run.total, run.unit = len(self._places), "places"
            run.planned = self._checks_planned[1:]
            before = await nodes.read("stats")
            for at, place in enumerate(self._places):
                if run.stopping.is_set():
                    break
                number = await nodes.next(place, at)
                run.sequences.append(number)
                history = await nodes.read(f"audit/{number}", at + 1)
                ok = tuple(history[-1][k] for k in ("siteId", "partitionId")) == place[:2]
                where = "/".join(place)
                run.check(f"{where}: {number}", ok, f"the next node's ledger has it as {where}")
                run.done += 1
            await self._check(nodes, run, before)
            return f"{len(run.sequences)} numbers across all sites, partitions and types."

        return self._script(script)

    def concurrent(self, threads: int, requests_per_thread: int) -> Script:
        """Many callers at once, spread over all nodes."""
        total = threads * requests_per_thread

        async def script(nodes: Nodes, run: Run) -> str:
            seconds = await self._load(nodes, run, total, threads)
            count = len(run.sequences)
            return f"{count} numbers to {threads} concurrent callers in {seconds:.2f} s."

        return self._script(script)

    def load_test(self, total: int, threads: int) -> Script:
        """Sustained load, with its rate."""

        async def script(nodes: Nodes, run: Run) -> str:
            seconds = await self._load(nodes, run, total, threads)
            count = len(run.sequences)
            rate = count / max(seconds, 1e-9)
            return f"{count} numbers in {seconds:.2f} s: {rate:,.0f} numbers/s over HTTP."

        return self._script(script)

    def gaps(self) -> Script:
        """Release a number at one node; the next allocation at another has it again."""

        async def script(nodes: Nodes, run: Run) -> str:
            run.total, run.unit, run.planned = 3, "steps", ("lowest gap first",)
            suppressed = [p for p in self._places if p.invoice_type == "suppressed"]
            place = (suppressed or self._places)[0]
            number = await nodes.next(place, 0)
            run.check(f"issued {number}", ok=True, detail="to a suppressed invoice")
            run.done = 1
            await nodes.release(number, place, 1)
            history = await nodes.read(f"audit/{number}", 2)
            released = any(record["operationType"] == "RELEASE" for record in history)
            run.check(f"released {number}", released, "through another node; its ledger shows it")
            run.done = 2
            lowest = (await nodes.read("gaps", 2))["nextGap"]
            again = await nodes.next(place, 3)
            run.sequences.extend((number, again))
            reused = await nodes.read(f"audit/{again}", 0)
            last = reused[-1]["operationType"]
            alone = lowest == again
            detail = f"the lowest gap was {lowest}; node 4 issued {again} as {last}"
            if not alone:
                detail += "; another caller was served in between"
            run.check("lowest gap first", alone or last == "RECOVER", detail)
            run.done = 3
            stats = await nodes.read("stats", 1)
            return f"Gap {number} closed; {stats['availableGaps']} gaps are open now."

        return self._script(script)

    async def _load(self, nodes: Nodes, run: Run, total: int, threads: int) -> float:
        """Ask for ``total`` numbers with so many callers; return the seconds it took."""
        run.total, run.planned = total, self._checks_planned
        before = await nodes.read("stats")
        work = iter(zip(range(total), cycle(self._places), strict=False))
        asked = 0

        async def caller() -> None:
            nonlocal asked
            for at, place in work:
                if run.stopping.is_set():
                    return
                asked += 1
                run.sequences.append(await nodes.next(place, at))
                run.done += 1

        began = time.monotonic()
        callers = [asyncio.create_task(caller()) for _ in range(min(threads, total))]
        try:
            await asyncio.gather(*callers)
        finally:
            for task in callers:
                task.cancel()
        seconds = time.monotonic() - began
        answered = len(run.sequences)
        run.check("all answered", answered == asked, f"{answered} of {asked} requests")
        await self._check(nodes, run, before)
        return seconds

    async def _check(self, nodes: Nodes, run: Run, before: dict[str, Any]) -> None:
        """Check what must hold whoever else is served, and what holds when nobody was."""
        numbers = run.sequences
        after = await nodes.read("stats", 1)
        issued = after["totalGenerated"] - before["totalGenerated"]
        alone = issued == len(numbers) and after["totalReleased"] == before["totalReleased"]
        distinct = len(set(numbers))
        run.check("in the ledger", issued >= len(numbers), f"{issued} numbers issued meanwhile")
        if not self._alone_is_consecutive:
            return
        twice = distinct == len(numbers) or after["totalReleased"] != before["totalReleased"]
        run.check("no number twice", twice, f"{distinct} different of {len(numbers)}")
        if alone:
            fresh = [n for n in numbers if n > before["currentCounter"]]
            reused = len(numbers) - len(fresh)
            whole = len(fresh) == after["currentCounter"] - before["currentCounter"]
            lowest_first = reused == min(before["availableGaps"], len(numbers))
            detail = f"{reused} gaps reused, then {len(fresh)} fresh numbers without a hole"
            run.check("no gap", whole and lowest_first, detail)
        else:
            detail = "others were served meanwhile; the ledger proof covers all of them"
            run.check("no gap", ok=True, detail=detail)
