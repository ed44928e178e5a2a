"""The life of gaps over HTTP: who released them, when and why, and who got them next."""

import heapq
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from types import MappingProxyType
from typing import Any, NamedTuple

from aiohttp import web

from coordinator.api import problems
from coordinator.api.answers import iso, json_answer, read
from coordinator.api.audit_inputs import GapLivesQuery
from coordinator.api.cursors import Cursor, cursors_in, text_of
from coordinator.api.gate import Gate, Width
from coordinator.api.problems import FieldError, Problem
from coordinator.api.which import Which
from coordinator.clock import now_ms
from coordinator.config import Settings
from coordinator.core.keys import Keys
from coordinator.core.records import How, Settled
from coordinator.core.standing import text_in
from coordinator.gap_lives import Deed, GapLife, Place, open_gaps, refilled_gaps
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

        ``openNext`` and ``refilledNext`` say where each list goes on: given as ``open`` or as
        ``refilled``, that list is answered from there on, and the other one is empty. Of too many
        counters only those that changed last are looked at, and neither goes on.
        """
        asked = GapLivesQuery.parse(request.rel_url)
        names, narrow_by = await self._which.few(asked)
        goes_on = narrow_by in {"", "counter"}
        if not goes_on and (asked.open or asked.refilled):
            message = f"there is no more of so many counters: name one by {narrow_by}"
            raise Problem(problems.MALFORMED, f"{message}.", (FieldError("counter", message),))
        opened = await self._opened(asked, names) if asked.refilled is None else _Listed()
        refilled = await self._refilled(asked, names) if asked.open is None else _Listed()
        body = {
            "open": opened.lives,
            "openTotal": opened.total,
            "openNext": opened.following if goes_on else None,
            "refilled": refilled.lives,
            "refilledNext": refilled.following if goes_on else None,
            "lookedBackTo": dict(refilled.looked_back_to),
            "timestamp": iso(now_ms()),
        }
        return json_answer(body)

    async def _opened(self, asked: GapLivesQuery, names: tuple[str, ...]) -> "_Listed":
        parts, total = [], 0
        begins = cursors_in(asked.open, len(names), "open", "openNext")
        for name, begin in zip(names, begins, strict=True):
            lives: list[_Life] = []
            following = None
            if begin is not None:
                keys = self._keys.counter(name)
                found = await read(open_gaps(self._store, keys, begin.entry, asked.limit))
                total += found.total
                lives = [(Cursor(gap.number), _shown(name, gap)) for gap in found.gaps]
                following = None if found.following is None else Cursor(found.following)
            parts.append(_Part(lives, following))
        shown, goes_on = _merged(parts, asked.limit, lambda life: life["sequenceNumber"])
        return _Listed(shown, goes_on, total if asked.open is None else None)

    async def _refilled(self, asked: GapLivesQuery, names: tuple[str, ...]) -> "_Listed":
        parts: list[_Part] = []
        looked_back_to: dict[str, int] = {}
        begins = cursors_in(asked.refilled, len(names), "refilled", "refilledNext")
        for name, begin in zip(names, begins, strict=True):
            lives: list[_Life] = []
            following = None
            if begin is not None:
                keys, place = self._keys.counter(name), Place(*begin)
                found = await read(refilled_gaps(self._store, keys, place, asked.limit))
                looked_back_to[name] = found.looked_back_to
                lives = [(Cursor(*at), _shown(name, gap)) for at, gap in found.gaps]
                following = None if found.following is None else Cursor(*found.following)
            parts.append(_Part(lives, following))
        shown, goes_on = _merged(parts, asked.limit, lambda life: life["issued"]["at"], last=True)
        return _Listed(shown, goes_on, looked_back_to=looked_back_to)


_Life = tuple[Cursor, dict[str, Any]]


class _Part(NamedTuple):
    """What one counter has for a list, each with its place, and where it goes on."""

    lives: list[_Life]
    following: Cursor | None


class _Listed(NamedTuple):
    """One list as it is answered."""

    lives: Sequence[dict[str, Any]] = ()
    following: str | None = None
    total: int | None = None
    looked_back_to: Mapping[str, int] = MappingProxyType({})


def _merged(
    parts: list[_Part], limit: int, order: Callable[[dict[str, Any]], Any], *, last: bool = False
) -> tuple[list[dict[str, Any]], str | None]:
    """Return the first of all parts together, or the ``last``, and where the list goes on."""
    tagged = (
        [(order(life), at, place, life) for place, life in p.lives] for at, p in enumerate(parts)
    )
    merged = list(heapq.merge(*tagged, key=itemgetter(0), reverse=last))
    following = [part.following for part in parts]
    for _, at, place, _ in reversed(merged[limit:]):
        following[at] = place
    return [life for *_, life in merged[:limit]], text_of(following)


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
