"""What the live view shows: all of it as a snapshot, and what changed from one look to the next."""

import asyncio
import logging
from typing import Any

from coordinator.api.answers import iso
from coordinator.api.audit_calls import Audit
from coordinator.api.broadcast import Broadcast
from coordinator.api.inputs import GapsQuery
from coordinator.api.last_numbers import LastNumbers
from coordinator.api.operations import Operations
from coordinator.api.problems import Problem
from coordinator.api.statistics import statistics
from coordinator.api.views import Views
from coordinator.clock import now_ms
from coordinator.config import Settings
from coordinator.jobs.live import Sample, Silence
from coordinator.overview import Overview
from coordinator.store import Unavailable
from coordinator.timeline import Marker, Point, Timeline

log = logging.getLogger(__name__)

RECORDS_SHOWN = 25
GAPS_SHOWN = 500
SNAPSHOT_FOR_MS = 10 * 60_000
SNAPSHOT_POINTS = 600
"""A point a second for ten minutes; what lies before is read with a range of one's own."""

_PARTS = ("stats", "cluster", "proof", "gaps", "lasts", "records")
_BY_NAME = {"stats", "lasts"}
"""Of these a change tells what differs, name by name; what is known no more is null."""

FINDINGS_SHOWN = 20
PROOF_ENTRIES_MAX = 200_000
PROOF_EVERY_S = 60.0
PROOF_REST = 20.0
"""Nothing is proven unasked for so many times as long as the last proof took."""


class LiveView:
    """Composes what those who watch are told, and tells it."""

    def __init__(
        self,
        settings: Settings,
        instance: str,
        views: Views,
        audit: Audit,
        operations: Operations,
        timeline: Timeline,
        lasts: LastNumbers,
    ) -> None:
        self._settings = settings
        self._views = views
        self._audit = audit
        self._operations = operations
        self._timeline = timeline
        self._lasts = lasts
        self.broadcast = Broadcast(instance, self.snapshot)
        self.came = self.broadcast.came
        self._told: dict[str, Any] = {}
        self._told_at_ms = 0
        self._silence: dict[str, Any] | None = None
        self._seen: Overview | None = None
        self._turns: dict[str, str] = {}
        self._heads: object = None
        self._proof: asyncio.Task[None] | None = None
        self._proof_due_s = 0.0
        self._proven_heads: object = None

    @property
    def watching(self) -> bool:
        """Tell whether anybody watches."""
        return self.broadcast.readers > 0

    async def show(self, sample: Sample) -> None:
        """Tell what has changed. Raises StoreError or Unreadable when it cannot be read."""
        seen = sample.seen
        now: dict[str, Any] = {
            "stats": statistics(seen, self._settings, sample.time_ms),
            "cluster": self._cluster(seen, sample.turns),
            "proof": self._proof_shown(),
        }
        heads = [(c.name, c.head.index, c.head.tip) for c in seen.counters if c.head]
        if heads != self._heads:
            try:
                now["records"] = await self._audit.newest(seen, RECORDS_SHOWN)
                now["gaps"] = await self._gaps(seen)
                now["lasts"] = await self._lasts.of(seen)
            except Problem as refused:
                raise Unavailable(refused.detail) from refused
        # From here on nothing waits: what is told fits together.
        self._seen, self._turns, self._heads, self._silence = seen, sample.turns, heads, None
        body = self._changed(now) | {"time": sample.time_ms, **self._points_since_told()}
        self._tell("tick", body, sample.markers)
        self._prove_if_due(seen)

    def show_silence(self, silence: Silence) -> None:
        """Tell since when nothing can be seen, and what is known nevertheless."""
        self._silence = {"since": silence.since_ms, "why": silence.why}
        now = {}
        if self._seen is not None:
            now["cluster"] = self._cluster(self._seen, self._turns)
        body = self._changed(now) | {"time": now_ms(), "stale": self._silence}
        self._tell("stale", body, silence.markers)

    def snapshot(self) -> dict[str, Any]:
        """Return all that was told, with the history of the last minutes."""
        now = now_ms()
        since = now - SNAPSHOT_FOR_MS
        return {
            **{name: self._told.get(name) for name in _PARTS},
            "time": self._told_at_ms or now,
            "stale": self._silence,
            "timeline": history(self._timeline.points(since, now, SNAPSHOT_POINTS)),
            "markers": told(list(self._timeline.markers)),
        }

    def _cluster(self, seen: Overview, turns: dict[str, str]) -> dict[str, Any]:
        body = self._operations.cluster_of(seen.nodes, turns)
        del body["timestamp"]  # the event has its time; nothing but this would change
        return body

    async def _gaps(self, seen: Overview) -> dict[str, Any]:
        page = await self._views.gaps_of(seen, GapsQuery(limit=GAPS_SHOWN))
        gaps = page["gaps"]
        # They are read a moment after the heads: what is counted must be what is listed.
        count = page["count"] if len(gaps) >= GAPS_SHOWN else len(gaps)
        return {"gaps": gaps, "count": count, "nextGap": gaps[0] if gaps else -1}

    def _tell(self, name: str, body: dict[str, Any], markers: tuple[Marker, ...]) -> None:
        if markers:
            body["markers"] = told(markers)
        self._told_at_ms = body["time"] if name == "tick" else self._told_at_ms
        self.broadcast.tell(name, body)

    def _changed(self, now: dict[str, Any]) -> dict[str, Any]:
        """Return what differs from what was told, and take it for told."""
        changed: dict[str, Any] = {}
        for name, value in now.items():
            before = self._told.get(name)
            if before == value:
                continue
            if name in _BY_NAME and before is not None:
                names = {**before, **value}
                changed[name] = {k: value.get(k) for k in names if before.get(k) != value.get(k)}
            elif name == "records" and before is not None:
                changed[name] = _records_changed(before, value)
            else:
                changed[name] = value
            self._told[name] = value
        return changed

    def _points_since_told(self) -> dict[str, Any]:
        second = self._told_at_ms - self._told_at_ms % 1_000
        points = self._timeline.points(second, now_ms(), SNAPSHOT_POINTS)
        return {"points": list(map(list, points))}

    def _proof_shown(self) -> dict[str, Any] | None:
        proven = self._views.proven
        if proven is None:
            return None
        shown = {name: proven[name] for name in ("valid", "entries", "summary", "timestamp")}
        return shown | {
            "upTo": proven["entries"] + sum(proven["trimmed"].values()),
            "duplicates": len(proven["duplicates"]),
            "findings": proven["findings"][:FINDINGS_SHOWN],
        }

    def _prove_if_due(self, seen: Overview) -> None:
        entries = sum(c.head.index - c.head.trimmed for c in seen.counters if c.head)
        running = self._proof is not None and not self._proof.done()
        known = self._heads == self._proven_heads and self._views.proven is not None
        now_s = asyncio.get_running_loop().time()
        fits = 0 < entries < PROOF_ENTRIES_MAX
        if running or known or now_s < self._proof_due_s or not fits:
            return
        self._proof = asyncio.create_task(self._prove(self._heads))

    async def _prove(self, heads: object) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            await self._views.prove()
            self._proven_heads = heads
        except Problem as refused:
            log.info("the ledger could not be proven just now: %s", refused.detail)
        finally:
            now_s = loop.time()
            self._proof_due_s = now_s + max(PROOF_EVERY_S, PROOF_REST * (now_s - began_s))

    async def end(self, _: object = None) -> None:
        """End all streams, and the proof that runs for them."""
        self.broadcast.end()
        if self._proof is not None:
            self._proof.cancel()


def history(points: list[Point]) -> dict[str, Any]:
    """Return points as they are told: the names of their fields once, and lists of values."""
    return {"fields": Point._fields, "points": list(map(list, points))}


def told(markers: list[Marker] | tuple[Marker, ...]) -> list[dict[str, Any]]:
    """Return what happened as it is told."""
    return [{"time": m.time_ms, "kind": m.kind, "who": m.who} for m in markers]


def timeline_of(timeline: Timeline, since_ms: int, until_ms: int, limit: int) -> dict[str, Any]:
    """Return a part of the history as the body of an answer."""
    return {
        **history(timeline.points(since_ms, until_ms, limit)),
        "markers": told(timeline.happened(since_ms, until_ms)),
        "timestamp": iso(now_ms()),
    }


def _records_changed(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the records that are new, those that others have changed, or all of them."""
    earlier = {record["auditId"]: record for record in before}
    new = [record for record in after if record["auditId"] not in earlier]
    kept = [record for record in after if record["auditId"] in earlier]
    follows = after == new + kept and [r["auditId"] for r in kept] == list(earlier)[: len(kept)]
    if not follows:
        return {"all": after}
    changed = [record for record in kept if record != earlier[record["auditId"]]]
    return {"new": new, "changed": changed}
