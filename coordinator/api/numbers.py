"""One document number over HTTP: what it is now, and everything that ever happened to it."""

from typing import Any

import orjson
from aiohttp import web

from coordinator.api import problems
from coordinator.api.answers import iso, json_answer, read
from coordinator.api.audit_records import rows_of_life
from coordinator.api.documents import PATH
from coordinator.api.gate import Gate, Width
from coordinator.api.inputs import NothingQuery
from coordinator.api.problems import Problem, one_line
from coordinator.chains import Link, chain
from coordinator.clock import now_ms
from coordinator.config import Settings
from coordinator.core.catalogue import Catalogue
from coordinator.core.documents import Place, counted_by, place_of, values_told
from coordinator.core.importing import ImportedRow
from coordinator.core.keys import Keys
from coordinator.core.records import Imported, Issued, Record
from coordinator.core.standing import Standing, leaves_out, standing, text_in
from coordinator.core.templates import BadValue, render
from coordinator.counters import Counters
from coordinator.history import Life
from coordinator.imported_rows import row_of
from coordinator.registry import Registry
from coordinator.store import Store

NAME = "document_number"
SHOWN_MAX = 100
TYPES_SHOWN_MAX = 20


class Numbers:
    """Handler of single numbers."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        keys: Keys,
        registry: Registry,
        counters: Counters,
    ) -> None:
        self._store = store
        self._keys = keys
        self._registry = registry
        self._counters = counters
        self._gate = Gate(Width(at_once=2, waiting_max=64, within_s=settings.deadline_s))

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of these handlers; a number may have slashes, encoded or not."""
        return [web.get(f"{PATH}/numbers/{{{NAME}:(?s:.+)}}", self._gate.before(self.number))]

    async def number(self, request: web.Request) -> web.StreamResponse:
        """Return what a number is, what replaced it or was replaced, and its history."""
        NothingQuery.parse(request.rel_url)
        text = request.match_info[NAME]
        place = place_of(await read(self._registry.recent()), text)
        if place is None:  # its series may be younger than that
            catalogue = await read(self._registry.catalogue())
            place = place_of(catalogue, text)
        if place is None:
            raise Problem(problems.NEVER_ISSUED, reads_like_none(catalogue, text))
        history = self._counters.history(place.counter)
        life = await read(history.life(place.number))
        records = [event.record for event in life.events]
        row = await read(self._row(records, place.number))
        _check_found(text, place, life, records, row.text if row else "")
        now = standing(records, place.number, is_held=life.hold is not None)
        links = await read(chain(history, place.number, records))
        data = _shown(text, place, life, now, links)
        if isinstance(records[0], Imported) and not leaves_out(records[0], place.number):
            data["imported"] = _imported(records[0], row)
        return json_answer({"success": True, "data": data})

    async def _row(self, records: list[Record], number: int) -> ImportedRow | None:
        """Return what the file of an import says of a number, if one has it."""
        if not records or not isinstance(records[0], Imported):
            return None
        return await row_of(self._store, self._keys, records[0], number)


def _imported(record: Imported, row: ImportedRow | None) -> dict[str, Any]:
    told: dict[str, Any] = {"source": record.source}
    if row is not None:
        metadata = orjson.Fragment(row.metadata) if row.metadata else None
        told |= {"created_at": row.created_at or None, "metadata": metadata}
    return told


def _check_found(text: str, place: Place, life: Life, records: list[Record], imported: str) -> None:
    """Raise Problem for a number that was never written like this, here or in an import."""
    shown, number = one_line(text[:SHOWN_MAX]), place.number
    if not records and life.trimmed:
        detail = f"What happened to {shown} stands in entries up to {life.trimmed}, which have "
        detail += "left the store. An export of the ledger from before that has them."
        raise Problem(problems.TRIMMED, detail)
    if not records:
        detail = f"{shown} was never issued: counter {place.counter} has not come to {number} yet."
        raise Problem(problems.NEVER_ISSUED, detail)
    written = list(dict.fromkeys(filter(None, (imported, *map(text_in, records)))))
    if written and text not in written:
        detail = f"{shown} was never issued: number {number} of counter {place.counter} was "
        detail += f"written {' and '.join(written)}. Ask for that."
        raise Problem(problems.NEVER_ISSUED, detail)


def reads_like_none(catalogue: Catalogue, text: str) -> str:
    """Return what to say of a text that no series has written, nor ever did."""
    kinds = [f"{each.document_type} ({each.template})" for each in catalogue.series]
    more = ", ..." if len(kinds) > TYPES_SHOWN_MAX else ""
    there_are = ", ".join(kinds[:TYPES_SHOWN_MAX]) + more
    return f"{one_line(text[:SHOWN_MAX])!r} reads like no document number. There are {there_are}."


def _shown(text: str, place: Place, life: Life, now: Standing, links: list[Link]) -> dict[str, Any]:
    counted = counted_by(place.counter)
    scope = counted.scope if counted else {}
    texts = {link.number: _text_of(link, place, scope) for link in links}
    until_ms = life.hold.held.until_ms if life.hold else None
    left_s = None if until_ms is None else max(0, (until_ms - now_ms()) / 1000)
    return {
        "document_number": now.text or text,
        "document_type": place.series.document_type,
        "scope": scope,
        "scope_value": ", ".join(scope.values()) or None,
        "counter": place.counter,
        "sequence_value": place.number,
        "state": now.state.value,
        "reason": now.reason,
        "replaced_by": texts.get(now.replaced_by),
        "replaces": texts.get(now.replaces),
        "chain": list(texts.values()) if len(texts) > 1 else [],
        "expires_at": None if until_ms is None else iso(until_ms),
        "seconds_left": left_s,
        "history": rows_of_life(life.events, place.number),
        "history_complete": _is_whole(life),
        "imported": None,
    }


def _is_whole(life: Life) -> bool:
    """Tell whether the history begins at the beginning, and shows how its reservation ended."""
    last = life.events[-1].record
    is_forgotten = isinstance(last, Issued) and last.held is not None and life.hold is None
    return not life.trimmed and not is_forgotten


def _text_of(link: Link, place: Place, scope: dict[str, str]) -> str:
    """Return how a number of the chain is written; as its series writes it where nobody noted."""
    if link.text:
        return link.text
    try:
        values = values_told(place.series, scope) | place.values
        return render(place.series.format, values, link.number)
    except (BadValue, ValueError):
        return f"{place.counter} {link.number}"
