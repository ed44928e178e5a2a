"""The reading calls of the sequence API: what is committed, the same from every node."""

from typing import Any

from aiohttp import web

from coordinator.api import problems
from coordinator.api.answers import iso, json_answer, read
from coordinator.api.gate import Gate, Width
from coordinator.api.inputs import NUMBER_MAX, GapsQuery, NothingQuery, WhichQuery
from coordinator.api.problems import FieldError, Problem
from coordinator.api.proofs import Proofs
from coordinator.api.statistics import lowest_gap, statistics
from coordinator.api.which import LISTED_MAX, Which
from coordinator.clock import now_ms
from coordinator.config import Settings
from coordinator.counters import Counters
from coordinator.faults import CANNOT_READ
from coordinator.jobs.membership import Membership
from coordinator.overview import Installation, Overview
from coordinator.proof import report

PROVEN_MAX = 1_000
"""Counters in one proof: some seconds, if they are small."""

PROOFS_MAX = 8
"""Of many counters, which are small, so many are proven at a time; of a few, one."""


class Views:
    """Handlers of the calls that change nothing."""

    def __init__(
        self,
        settings: Settings,
        installation: Installation,
        counters: Counters,
        membership: Membership,
        which: Which,
    ) -> None:
        self._which = which
        self._settings = settings
        self._installation = installation
        self._counters = counters
        self._membership = membership
        self._names = installation.counters
        self._quick = Gate(Width(at_once=8, waiting_max=256, within_s=settings.deadline_s))
        self._long = Gate(Width(at_once=2, waiting_max=64, within_s=settings.deadline_s))
        at_once = PROOFS_MAX if len(self._names) > LISTED_MAX else 1
        self._proofs = Proofs(counters, settings.first_number, at_once)
        self.proven: dict[str, Any] | None = None
        """What the last proof of invoices on this node came to, whoever asked for it."""

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of these handlers."""
        root = "/api/v1/sequence"
        return [
            web.get(f"{root}/stats", self._quick.before(self.stats)),
            web.get(f"{root}/gaps", self._long.before(self.gaps)),
            web.get(f"{root}/health", self._quick.before(self.health)),
            web.get(f"{root}/validate", self.validate),
        ]

    async def stats(self, request: web.Request) -> web.StreamResponse:
        """Return totals, rates and the state of the cluster."""
        NothingQuery.parse(request.rel_url)
        seen = await read(self._installation.overview())
        return json_answer(statistics(seen, self._settings, now_ms()))

    async def gaps(self, request: web.Request) -> web.StreamResponse:
        """Return the gaps in ascending order, a page at a time."""
        asked = GapsQuery.parse(request.rel_url)
        return json_answer(await self.gaps_of(await read(self._installation.overview()), asked))

    async def gaps_of(self, seen: Overview, asked: GapsQuery) -> dict[str, Any]:
        """Return a page of the gaps as its body. Raises Problem."""
        pages, last = await self._lowest_gaps(seen, asked)
        by_counter = {name: [n for n in pages.get(name, ()) if n <= last] for name in self._names}
        return {
            "gaps": sorted(number for numbers in by_counter.values() for number in numbers),
            "count": sum(c.head.gaps for c in seen.counters if c.head is not None),
            "nextGap": lowest_gap(seen),
            "nextStart": last + 1 if last < NUMBER_MAX else None,
            "byCounter": by_counter,
            "timestamp": iso(now_ms()),
        }

    async def _lowest_gaps(
        self, seen: Overview, asked: GapsQuery
    ) -> tuple[dict[str, list[int]], int]:
        """Return gaps by counter, and up to which number they are all there."""
        pages: dict[str, list[int]] = {}
        lowest: list[int] = []
        last = NUMBER_MAX
        for first, name in sorted(
            (c.lowest_gap, c.name) for c in seen.counters if c.lowest_gap is not None
        ):
            if first > last:
                break  # and so are all gaps of those that follow
            history = self._counters.history(name)
            pages[name] = (await read(history.gaps(asked.start, asked.limit + 1))).numbers
            lowest = sorted([*lowest, *pages[name]])[: asked.limit + 1]
            if len(lowest) > asked.limit:
                last = lowest[asked.limit - 1]
        return pages, last

    async def health(self, request: web.Request) -> web.StreamResponse:
        """Return whether numbers can be issued."""
        NothingQuery.parse(request.rel_url)
        numbers: dict[str, Any] = {"clusterHealthy": False}
        trouble = self._membership.trouble or self._counters.trouble
        try:
            seen = await self._installation.overview()
            numbers = statistics(seen, self._settings, now_ms())
        except CANNOT_READ as down:
            trouble = str(down)
        names = ("currentCounter", "totalGenerated", "availableGaps", "clusterHealthy")
        body = {
            "status": "DOWN" if trouble else "UP",
            "healthy": not trouble,
            **{name: numbers.get(name) for name in names},
            "systemHealthy": not trouble,
            "error": trouble or None,
            "timestamp": iso(now_ms()),
        }
        return json_answer(body, 503 if trouble else 200)

    async def validate(self, request: web.Request) -> web.StreamResponse:
        """Prove the ledgers; callers who ask while a proof runs get the outcome of that one.

        Without a name those of invoices: of documents' counters there may be very many.
        """
        which = WhichQuery.parse(request.rel_url)
        if which.counter is None and which.documentType is None:
            return json_answer(await self.prove())
        names = await self._which.names(which, limit=PROVEN_MAX)
        if len(names) > PROVEN_MAX:  # to prove some of them would look like proving all
            said = f"is needed: there are more than {PROVEN_MAX:,} counters of this type"
            said += "; the command coordinator validate proves them all"
            raise Problem(problems.MALFORMED, f"counter: {said}.", (FieldError("counter", said),))
        body = report(await read(self._proofs.of(names)))
        return json_answer(body | {"timestamp": iso(now_ms())})

    async def prove(self) -> dict[str, Any]:
        """Return what a proof of invoices comes to, begun now or under way. Raises Problem."""
        body = report(await read(self._proofs.of(self._names)))
        self.proven = body | {"timestamp": iso(now_ms())}
        return self.proven
