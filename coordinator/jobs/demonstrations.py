"""The four demonstrations: through the public HTTP API of the nodes, checking what they claim.

Other traffic may run meanwhile. What must hold in any case is always checked (no number twice, all
requests answered, every number in the ledger); what only holds alone (numbers without a hole among
them) is checked when the totals show that nobody else was served.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from itertools import cycle, product
from typing import Any, NamedTuple

import aiohttp

from coordinator.config import Settings
from coordinator.store import StoreError

TRIES = 8
PAUSE_S = 0.1
TRY_TIMEOUT_S = 15.0
_SERVER_ERROR = 500


class Step(NamedTuple):
    """One thing that was done or checked."""

    name: str
    ok: bool
    detail: str


class Outcome(NamedTuple):
    """What a demonstration did, and whether every check held."""

    name: str
    steps: list[Step]
    sequences: list[int]
    summary: str

    @property
    def success(self) -> bool:
        """Tell whether every step held."""
        return all(step.ok for step in self.steps)


class Failed(Exception):
    """A request of a demonstration was refused, or nobody answered it."""


class Place(NamedTuple):
    """A site, a partition and an invoice type."""

    site: str
    partition: str
    invoice_type: str


class Nodes:
    """The nodes' public addresses, as a billing site would use them: keyed, retried elsewhere."""

    def __init__(self, session: aiohttp.ClientSession, urls: tuple[str, ...]) -> None:
        self._session = session
        self.urls = urls

    async def call(self, method: str, path: str, at: int = 0, **options: Any) -> Any:
        """Call the node at this position; on trouble the others, with the same key."""
        key = uuid.uuid4().hex
        why = ""
        for attempt in range(TRIES):
            url = self.urls[(at + attempt) % len(self.urls)] + path
            try:
                async with self._session.request(
                    method, url, headers={"Idempotency-Key": key}, **options
                ) as response:
                    body = await response.json()
            except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as lost:
                why = f"{url}: {lost or type(lost).__name__}"
            else:
                if response.status < _SERVER_ERROR:
                    if response.ok:
                        return body
                    raise Failed(f"{url}: {body.get('detail', body)}")
                why = f"{url}: {body.get('detail', body)}"
            await asyncio.sleep(PAUSE_S * attempt)
        raise Failed(f"no node served it in {TRIES} tries; the last: {why}")

    async def next(self, place: Place, at: int) -> int:
        """Return the next number from the node at this position."""
        query = dict(zip(("siteId", "partitionId", "invoiceType"), place, strict=True))
        body = await self.call("GET", "/api/v1/sequence/next", at, params=query)
        return int(body["sequenceNumbers"][0])

    async def release(self, number: int, place: Place, at: int) -> None:
        """Release a number through the node at this position."""
        body = {
            "sequenceNumber": number,
            "siteId": place.site,
            "partitionId": place.partition,
            "reason": "demonstration: suppressed invoice",
        }
        await self.call("POST", "/api/v1/sequence/release", at, json=body)

    async def read(self, path: str, at: int = 0) -> Any:
        """Return what a reading call answers."""
        return await self.call("GET", f"/api/v1/sequence/{path}", at)


class Demonstrations:
    """Runs a demonstration against the nodes that live."""

    def __init__(self, settings: Settings, urls: Callable[[], Awaitable[tuple[str, ...]]]) -> None:
        self._urls = urls
        self._places = [
            Place(*place)
            for place in product(settings.sites, settings.partitions, settings.invoice_types)
            if place[2] != "simulated" or settings.simulated_enabled
        ]
        self._alone_is_consecutive = settings.strategy.value == "GLOBAL_SEQUENTIAL"

    async def _run(self, name: str, script: Callable[[Nodes, Outcome], Awaitable[str]]) -> Outcome:
        outcome = Outcome(name, [], [], "")
        timeout = aiohttp.ClientTimeout(total=TRY_TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            try:
                urls = await self._urls()
                if not urls:
                    raise Failed("no node is registered; wait a moment, then try again")
                summary = await script(Nodes(session, urls), outcome)
            except (Failed, StoreError) as failed:
                summary = f"Stopped: {failed}"
                outcome.steps.append(Step("run", ok=False, detail=str(failed)))
        return outcome._replace(summary=summary)

    async def basic(self) -> Outcome:
        """One number for every site, partition and type, from node after node."""

        async def script(nodes: Nodes, outcome: Outcome) -> str:
            before = await nodes.read("stats")
            for at, place in enumerate(self._places):
                number = await nodes.next(place, at)
                outcome.sequences.append(number)
                history = await nodes.read(f"audit/{number}", at + 1)
                ok = tuple(history[-1][k] for k in ("siteId", "partitionId")) == place[:2]
                where = "/".join(place)
                outcome.steps.append(
                    Step(f"{where}: {number}", ok, f"the next node's ledger has it as {where}")
                )
            outcome.steps.extend(await self._checks(nodes, outcome.sequences, before))
            return f"{len(outcome.sequences)} numbers across all sites, partitions and types."

        return await self._run("basic", script)

    async def concurrent(self, threads: int, requests_per_thread: int) -> Outcome:
        """Many callers at once, spread over all nodes."""
        total = threads * requests_per_thread

        async def script(nodes: Nodes, outcome: Outcome) -> str:
            seconds = await self._load(nodes, outcome, total, threads)
            return f"{total} numbers to {threads} concurrent callers in {seconds:.2f} s."

        return await self._run("concurrent", script)

    async def load_test(self, total: int, threads: int) -> Outcome:
        """Sustained load, with its rate."""

        async def script(nodes: Nodes, outcome: Outcome) -> str:
            seconds = await self._load(nodes, outcome, total, threads)
            rate = total / max(seconds, 1e-9)
            return f"{total} numbers in {seconds:.2f} s: {rate:,.0f} numbers/s over HTTP."

        return await self._run("load-test", script)

    async def gaps(self) -> Outcome:
        """Release a number at one node; the next allocation at another has it again."""

        async def script(nodes: Nodes, outcome: Outcome) -> str:
            suppressed = [p for p in self._places if p.invoice_type == "suppressed"]
            place = (suppressed or self._places)[0]
            number = await nodes.next(place, 0)
            outcome.steps.append(Step(f"issued {number}", True, "to a suppressed invoice"))
            await nodes.release(number, place, 1)
            history = await nodes.read(f"audit/{number}", 2)
            released = any(record["operationType"] == "RELEASE" for record in history)
            outcome.steps.append(
                Step(f"released {number}", released, "through another node; its ledger shows it")
            )
            lowest = (await nodes.read("gaps", 2))["nextGap"]
            again = await nodes.next(place, 3)
            outcome.sequences.extend((number, again))
            reused = await nodes.read(f"audit/{again}", 0)
            last = reused[-1]["operationType"]
            alone = lowest == again
            detail = f"the lowest gap was {lowest}; node 4 issued {again} as {last}"
            if not alone:
                detail += "; another caller was served in between"
            outcome.steps.append(Step("lowest gap first", alone or last == "RECOVER", detail))
            stats = await nodes.read("stats", 1)
            return f"Gap {number} closed; {stats['availableGaps']} gaps are open now."

        return await self._run("gaps", script)

    async def _load(self, nodes: Nodes, outcome: Outcome, total: int, threads: int) -> float:
        """Ask for ``total`` numbers with so many callers; return the seconds it took."""
        before = await nodes.read("stats")
        work = iter(zip(range(total), cycle(self._places), strict=False))

        async def caller() -> None:
            for at, place in work:
                outcome.sequences.append(await nodes.next(place, at))

        began = time.monotonic()
        callers = [asyncio.create_task(caller()) for _ in range(min(threads, total))]
        try:
            await asyncio.gather(*callers)
        finally:
            for task in callers:
                task.cancel()
        seconds = time.monotonic() - began
        answered = len(outcome.sequences)
        outcome.steps.append(
            Step("all answered", answered == total, f"{answered} of {total} requests")
        )
        outcome.steps.extend(await self._checks(nodes, outcome.sequences, before))
        return seconds

    async def _checks(self, nodes: Nodes, numbers: list[int], before: dict[str, Any]) -> list[Step]:
        """Check what must hold whoever else is served, and what holds when nobody was."""
        after = await nodes.read("stats", 1)
        issued = after["totalGenerated"] - before["totalGenerated"]
        alone = issued == len(numbers) and after["totalReleased"] == before["totalReleased"]
        distinct = len(set(numbers))
        steps = [
            Step("in the ledger", issued >= len(numbers), f"{issued} numbers issued meanwhile"),
        ]
        if not self._alone_is_consecutive:
            return steps
        twice = distinct == len(numbers) or after["totalReleased"] != before["totalReleased"]
        steps.append(Step("no number twice", twice, f"{distinct} different of {len(numbers)}"))
        if alone:
            fresh = [n for n in numbers if n > before["currentCounter"]]
            reused = len(numbers) - len(fresh)
            whole = len(fresh) == after["currentCounter"] - before["currentCounter"]
            lowest_first = reused == min(before["availableGaps"], len(numbers))
            detail = f"{reused} gaps reused, then {len(fresh)} fresh numbers without a hole"
            steps.append(Step("no gap", whole and lowest_first, detail))
        else:
            detail = "others were served meanwhile; the ledger proof covers all of them"
            steps.append(Step("no gap", ok=True, detail=detail))
        return steps
