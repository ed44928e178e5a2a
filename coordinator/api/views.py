"""The reading calls of the sequence API: what is committed, the same from every node."""

from collections import Counter
from typing import Any

from aiohttp import web

from coordinator.api.answers import iso, json_answer, read
from coordinator.api.gate import Gate, Width
from coordinator.api.inputs import NUMBER_MAX, GapsQuery, NothingQuery, WhichQuery
from coordinator.api.proofs import Proofs
from coordinator.api.which import LISTED_MAX, Which
from coordinator.clock import now_ms
from coordinator.config import Settings
from coordinator.core.head import Head
from coordinator.counters import Counters
from coordinator.faults import CANNOT_READ
from coordinator.jobs.membership import Membership
from coordinator.overview import CounterSeen, Installation, NodeSeen, Overview
from coordinator.proof import report

PROOFS_MAX = 8
"""Of many counters, which are small, so many are proven at a time; of a few, one."""

OF_DOCUMENTS = "documents"
"""Where numbers went that no site has asked for: those of documents."""


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
        seen = await read(self._installation.overview())
        pages, last = await self._lowest_gaps(seen, asked)
        by_counter = {name: [n for n in pages.get(name, ()) if n <= last] for name in self._names}
        body = {
            "gaps": sorted(number for numbers in by_counter.values() for number in numbers),
            "count": sum(c.head.gaps for c in seen.counters if c.head is not None),
            "nextGap": _lowest_gap(seen),
            "nextStart": last + 1 if last < NUMBER_MAX else None,
            "byCounter": by_counter,
            "timestamp": iso(now_ms()),
        }
        return json_answer(body)

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
        is_all = which.counter is None and which.documentType is None
        names = self._names if is_all else await self._which.names(which)
        body = report(await read(self._proofs.of(names)))
        return json_answer(body | {"timestamp": iso(now_ms())})


def statistics(seen: Overview, settings: Settings, now_ms: int) -> dict[str, Any]:
    """Return the contract's statistics of one snapshot."""
    heads = [counter.head for counter in seen.counters if counter.head is not None]
    latency = [head.latency for head in heads]
    answers = sum(each.answers for each in latency)
    released, reused = sum(h.released for h in heads), sum(h.reused for h in heads)
    issued, gaps = sum(h.issued for h in heads), sum(h.gaps for h in heads)
    highest = max((h.highest for h in heads), default=settings.first_number - 1)
    last_ms = max((h.changed_ms for h in heads), default=0)
    body = {
        "currentCounter": highest,
        "totalGenerated": issued,
        "totalReleased": released,
        "availableGaps": gaps,
        "nextAvailableGap": _lowest_gap(seen),
        "averageLatencyMs": sum(each.total_us for each in latency) / max(1, answers) / 1000,
        "peakLatencyMs": max((each.peak_us for each in latency), default=0) / 1000,
        "requestsPerSecond": sum(h.rate.per_second(now_ms // 1000) for h in heads),
        "totalRequests": sum(h.requests for h in heads),
        "totalGapsCreated": released,
        "totalGapsRecovered": reused,
        "gapRecoveryRate": _percent(reused, released),
        "longestGapDuration": _longest_gap_ms(seen.counters, now_ms),
        "gapPercentage": _percent(gaps, sum(h.next - h.start for h in heads)),
        "activeSequences": issued - released,
        "currentStrategy": settings.strategy.value,
        "lastSequenceTime": iso(last_ms) if last_ms else None,
        "statisticsTime": iso(now_ms),
        "watermark": min(
            (c.watermark for c in seen.counters if c.watermark is not None),
            default=settings.first_number - 1,
        ),
        "openReservations": sum(h.held for h in heads),
        "voided": sum(h.void for h in heads),
        "systemHealthy": True,  # this very answer was read from a majority of the store
    }
    return body | _by_place(heads) | _of_nodes(seen.nodes, now_ms)


def _by_place(heads: list[Head]) -> dict[str, Any]:
    sites: Counter[str] = Counter()
    partitions: Counter[str] = Counter()
    types: Counter[str] = Counter()
    both: Counter[str] = Counter()
    cells: Counter[str] = Counter()
    for head in heads:
        for name, issued in head.counts.items():
            site, partition, invoice_type = (each or OF_DOCUMENTS for each in name.split(":"))
            sites[site] += issued
            partitions[partition] += issued
            types[invoice_type] += issued
            both[f"{site}:{partition}"] += issued
            cells[f"{site}:{partition}:{invoice_type}"] += issued
    return {
        "sequencesBySite": sites,
        "sequencesByPartition": partitions,
        "sequencesByInvoiceType": types,
        "sequencesBySitePartition": both,
        "sequencesBySitePartitionType": cells,
    }


def _of_nodes(nodes: tuple[NodeSeen, ...], now_ms: int) -> dict[str, Any]:
    active = [node for node in nodes if node.active]
    return {
        "activeNodes": len(active),
        "totalNodes": len(nodes),
        "primaryNode": active[0].node if active else None,
        "clusterHealthy": bool(active) and len(active) == len(nodes),
        "clusterAvailability": _percent(len(active), len(nodes)),
        "uptime": now_ms - min((node.started_ms for node in active), default=now_ms),
    }


def _lowest_gap(seen: Overview) -> int:
    return min((c.lowest_gap for c in seen.counters if c.lowest_gap is not None), default=-1)


def _longest_gap_ms(counters: tuple[CounterSeen, ...], now_ms: int) -> int:
    closed = max((c.head.longest_gap_ms for c in counters if c.head is not None), default=0)
    opened = [c.oldest_gap_ms for c in counters if c.oldest_gap_ms is not None]
    return max(closed, now_ms - min(opened, default=now_ms))


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 2) if whole else 0.0
