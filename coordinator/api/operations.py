"""For operators and their tools: liveness, readiness, metrics, the cluster."""

import asyncio
from typing import Any

from aiohttp import web

from coordinator.api.answers import iso, json_answer, read
from coordinator.api.inputs import NothingQuery
from coordinator.clock import now_ms
from coordinator.config import Settings
from coordinator.counters import Counters
from coordinator.document_counters import DocumentCounters
from coordinator.faults import CANNOT_READ
from coordinator.jobs.membership import Membership
from coordinator.jobs.upkeep import Upkeep
from coordinator.metrics import Metrics
from coordinator.overview import Installation, NodeSeen
from coordinator.registry import Registry
from coordinator.store.members import Member

READY_WITHIN_S = 3.0

CLOSED_YEARS_MAX = 10
"""Times that the fullest counter of a series turns out to be closed, in one look at the metrics."""


class Operations:
    """Handlers that tell how this node and its cluster are."""

    def __init__(
        self,
        settings: Settings,
        installation: Installation,
        counters: Counters,
        membership: Membership,
        upkeep: Upkeep,
        metrics: Metrics,
        registry: Registry,
        documents: DocumentCounters,
    ) -> None:
        self._registry = registry
        self._documents = documents
        self._settings = settings
        self._installation = installation
        self._counters = counters
        self._membership = membership
        self._upkeep = upkeep
        self._metrics = metrics

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of these handlers."""
        return [
            web.get("/livez", self.livez),
            web.get("/readyz", self.readyz),
            web.get("/metrics", self.metrics),
            web.get("/api/v1/cluster", self.cluster),
        ]

    async def livez(self, _: web.Request) -> web.Response:
        """Answer, without touching etcd: this process runs."""
        return web.Response(text="ok\n")

    async def readyz(self, request: web.Request) -> web.Response:
        """Answer 200 if this node can serve: it has joined, and etcd answers a linearizable read.

        ``?verbose`` adds one line for each check.
        """
        checks = {"joined": self._membership.trouble, "commits": self._counters.trouble}
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                await self._installation.nodes()
            checks["etcd"] = ""
        except CANNOT_READ as down:
            checks["etcd"] = str(down)
        except TimeoutError:
            checks["etcd"] = f"no answer within {READY_WITHIN_S:g} s"
        failed = {name: why for name, why in checks.items() if why}
        lines = [f"{name}: {why or 'ok'}" for name, why in checks.items()]
        if "verbose" not in request.query:
            lines = [f"{name}: {why}" for name, why in failed.items()] or ["ok"]
        return web.Response(text="\n".join(lines) + "\n", status=503 if failed else 200)

    async def metrics(self, _: web.Request) -> web.Response:
        """Return Prometheus metrics; the gauges are read from the store when it answers."""
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                seen = await self._installation.overview()
            for counter in seen.counters:
                self._metrics.saw(counter.name, counter.head)
            async with asyncio.timeout(READY_WITHIN_S):
                series = (await self._registry.recent()).series
            bounds = {each.document_type: (each.start, each.max_value) for each in series}
            self._metrics.sequences.defined(bounds)
            async with asyncio.timeout(READY_WITHIN_S):
                await self._forget_closed()
        except (*CANNOT_READ, TimeoutError):
            pass  # metrics must be readable above all when etcd is down
        self._metrics.saw_loaded(len(self._counters))
        self._metrics.saw_members(self._upkeep.space.members)
        return web.Response(
            body=self._metrics.text(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    async def _forget_closed(self) -> None:
        """See to it that no counter is told to be nearly full that another node has closed."""
        sequences = self._metrics.sequences
        for _ in range(CLOSED_YEARS_MAX):
            found = await self._documents.heads_of(sequences.fullest())
            closed = [each.name for each in found if each.head.closed]
            if not closed:
                return
            for name in closed:
                sequences.closed(name)

    async def cluster(self, request: web.Request) -> web.StreamResponse:
        """Return all nodes, the store, and warnings that an operator must see."""
        NothingQuery.parse(request.rel_url)
        nodes = await read(self._installation.nodes())
        return json_answer(self.cluster_of(nodes, await read(self._installation.turns())))

    def cluster_of(self, nodes: tuple[NodeSeen, ...], turns: dict[str, str]) -> dict[str, Any]:
        """Return the cluster as it is told to callers, with these nodes and turns."""
        versions = self._membership.facts.versions
        rewound = self._counters.rewound.items()
        return {
            "nodes": [
                {
                    "nodeId": node.node,
                    "instanceId": node.instance,
                    "url": node.url,
                    "site": node.site,
                    "partition": node.partition,
                    "active": node.active,
                    "startedAt": iso(node.started_ms),
                }
                for node in nodes
            ],
            "turns": [{"counter": name, "nodeId": node} for name, node in turns.items()],
            "store": {
                "endpoints": list(self._settings.etcd_endpoints),
                "version": ", ".join(sorted({v for v in versions.values() if v})),
                "healthy": not self._counters.trouble,
                "members": [
                    {"url": url, "answers": member is not None}
                    | ({} if member is None else _member(member))
                    for url, member in self._upkeep.space.members.items()
                ],
            },
            "rewinds": [
                {"counter": name, "lostEntry": lost.entry, "lostHash": lost.tip, "why": str(lost)}
                for name, lost in rewound
            ],
            "warnings": [
                *self._membership.facts.warnings,
                *self._upkeep.space.warnings,
                *(f"{self._settings.node_id} does not serve {n}: {why}." for n, why in rewound),
            ],
            "profile": self._settings.profile.value,
            "timestamp": iso(now_ms()),
        }


def _member(member: Member) -> dict[str, object]:
    return {
        "leader": member.is_leader,
        "databaseBytes": member.bytes,
        "usedBytes": member.bytes_used,
    }
