"""The life of gaps over HTTP: who released them, when and why, and who got them next."""

from typing import Any

from aiohttp import web

from coordinator.api.answers import iso, json_answer, read
from coordinator.api.audit_inputs import GapLivesQuery
from coordinator.api.gate import Gate, Width
from coordinator.api.which import Which
from coordinator.clock import now_ms
from coordinator.config import Settings
from coordinator.core.keys import Keys
from coordinator.core.records import How, Settled
from coordinator.core.standing import text_in
from coordinator.gap_lives import Deed, GapLife, gap_lives
from coordinator.store import Store


class Gaps:
    """Handler of what became of gaps."""

    def __init__(self, settings: Settings, store: Store, keys: Keys, which: Which) -> None:
        self._store = store
        self._keys = keys
        self._which = which
        self._gate = Gate(Width(at_once=2, waiting_max=64, within_s=settings.deadline_s))

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of these handlers."""
        return [web.get("/api/v1/sequence/gaps/life", self._gate.before(self.life))]

    async def life(self, request: web.Request) -> web.StreamResponse:
        """Return the lowest open gaps, and those that were refilled last, newest first.

        Of too many counters only those that changed last are looked at.
        """
        asked = GapLivesQuery.parse(request.rel_url)
        names = (await self._which.few(asked)).names
        opened: list[dict[str, Any]] = []
        refilled: list[dict[str, Any]] = []
        total, looked_back_to = 0, {}
        for name in names:
            found = await read(gap_lives(self._store, self._keys.counter(name), asked.limit))
            total += found.total
            opened += [_shown(name, each) for each in found.opened]
            refilled += [_shown(name, each) for each in found.refilled]
            looked_back_to[name] = found.looked_back_to
        opened.sort(key=lambda each: each["sequenceNumber"])
        refilled.sort(key=lambda each: each["issued"]["at"], reverse=True)
        body = {
            "open": opened[: asked.limit],
            "openTotal": total,
            "refilled": refilled[: asked.limit],
            "lookedBackTo": looked_back_to,
            "timestamp": iso(now_ms()),
        }
        return json_answer(body)


def _shown(counter: str, life: GapLife) -> dict[str, Any]:
    released = life.released and _deed(life.released)
    return {
        "counter": counter,
        "sequenceNumber": life.number,
        "releasedAt": iso(life.mark.time_ms),
        "releasedInEntry": life.mark.entry,
        "released": released,
        "issued": life.ended and _deed(life.ended),
        "openMs": (life.ended.entry.time_ms if life.ended else now_ms()) - life.mark.time_ms,
    }


def _deed(deed: Deed) -> dict[str, Any]:
    """Return who did something to a number, when and why."""
    entry, record = deed
    origin, part = record.cause.origin, entry.part_of(record)
    reason = getattr(record, "reason", "")
    if isinstance(record, Settled) and record.how is How.EXPIRED:
        reason = reason or "the reservation expired"
    return {
        "at": iso(entry.time_ms),
        "siteId": origin.site or None,
        "partitionId": origin.partition or None,
        "invoiceType": origin.invoice_type,
        "user": origin.user,
        "nodeId": part.node,
        "documentNumber": text_in(record) or None,
        "reason": reason or None,
        "requestId": record.cause.key or record.cause.correlation,
        "entryIndex": entry.index,
    }
