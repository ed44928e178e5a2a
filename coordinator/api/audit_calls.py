"""The audit over HTTP: searched, a number's whole life, single entries for who checks the chain."""

import heapq
from base64 import b64encode
from functools import partial
from typing import Any, NamedTuple, NoReturn

from aiohttp import web

from coordinator.api import problems
from coordinator.api.answers import iso, json_answer, read
from coordinator.api.audit import (
    ENTRIES_READ_MAX,
    Filter,
    Listing,
    listing,
    listing_of_number,
    merge,
)
from coordinator.api.audit_inputs import (
    AuditCsvQuery,
    AuditQuery,
    EntryQuery,
    LifeQuery,
    NumberPath,
    SearchQuery,
)
from coordinator.api.audit_records import rows_of_life
from coordinator.api.calls import NAME
from coordinator.api.csv_export import CsvExports, Piece
from coordinator.api.cursors import Cursor, cursors_in, text_of
from coordinator.api.gate import Gate, Width
from coordinator.api.numbers import reads_like_none
from coordinator.api.problems import FieldError, Problem
from coordinator.api.which import LISTED_MAX, Which
from coordinator.config import Settings
from coordinator.core import ledger
from coordinator.core.documents import place_of
from coordinator.core.keys import Keys
from coordinator.counters import Counters
from coordinator.entry_search import first_since, raw_entry
from coordinator.overview import Overview
from coordinator.registry import Registry
from coordinator.store import Store

NEXT_CURSOR = "X-Next-Cursor"
NARROW_BY = "X-Narrow-By"
"""Says that more counters were meant than can be listed, and how to name fewer."""

ENTRIES_READ = "X-Entries-Read"
"""How many ledger entries a listing has looked through."""

LOOKED_BACK_TO = "X-Looked-Back-To"
"""Those were as many as one call looks through: older records come with the next cursor."""

TRIMMED = "X-Trimmed-Through"
"""Older records stood in entries up to this one, which have left the store."""

ENTRIES_READ_MIN = 64
"""Entries that a call looks at for each counter, however many counters there are."""


class _Search(NamedTuple):
    """What is looked for: in these counters, all that a filter takes, or a number's life."""

    names: tuple[str, ...]
    wanted: Filter
    number: int | None
    text: str | None
    narrow_by: str

    @property
    def goes_on(self) -> bool:
        """Tell whether a next page is of the same counters: not of those that changed last."""
        return self.narrow_by in {"", "counter"}


class _Page(NamedTuple):
    """Records, newest first, and where to go on."""

    records: list[dict[str, Any]]
    cursor: str | None
    looked_at: int
    back_to_ms: int | None
    trimmed: int


class Audit:
    """Handlers of what happened."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        keys: Keys,
        counters: Counters,
        registry: Registry,
        which: Which,
    ) -> None:
        self._settings = settings
        self._store = store
        self._keys = keys
        self._counters = counters
        self._registry = registry
        self._which = which
        self._long = Gate(Width(at_once=2, waiting_max=64, within_s=settings.deadline_s))
        self._exports = CsvExports(settings.deadline_s, self._long)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of these handlers."""
        root, long = "/api/v1/sequence", self._long.before
        return [
            web.get(f"{root}/audit", long(self.audit)),
            web.get(f"{root}/audit.csv", self._exports.gate.before(self.audit_csv)),
            web.get(f"{root}/audit/{{number}}", long(self.audit_of_number)),
            web.get(f"{root}/entries/{{index}}", long(self.entry)),
        ]

    async def end(self, _: web.Application) -> None:
        """Let exports that are under way come to their end: the node stops."""
        self._exports.end()

    async def audit(self, request: web.Request) -> web.StreamResponse:
        """Return audit records, newest first; a header has the cursor of the next page.

        Of too many counters only those that changed last are listed, and there is no next page; of
        a document type's, those that are found first. A header says so.
        """
        asked = AuditQuery.parse(request.rel_url)
        search = await self._search(asked)
        page = await self._page(search, asked.cursor, asked.limit, ENTRIES_READ_MAX)
        response = json_answer(page.records)
        headers = response.headers
        headers[ENTRIES_READ] = str(page.looked_at)
        if page.back_to_ms is not None:
            headers[LOOKED_BACK_TO] = iso(page.back_to_ms)
        if page.trimmed:
            headers[TRIMMED] = str(page.trimmed)
        if search.narrow_by:
            headers[NARROW_BY] = search.narrow_by
        if page.cursor is not None and search.goes_on:
            headers[NEXT_CURSOR] = page.cursor
        return response

    async def newest(self, seen: Overview, limit: int) -> list[dict[str, Any]]:
        """Return the newest records of the counters that changed last. Raises Problem."""
        found = [(c.head.changed_ms, c.name) for c in seen.counters if c.head is not None]
        names = [name for _, name in heapq.nlargest(LISTED_MAX, found)]
        histories = map(self._counters.history, names)
        lists = [await read(listing(each, Cursor(), limit, Filter())) for each in histories]
        return [self._shown(names[at], record) for at, record in merge(lists, limit)[0]]

    async def audit_csv(self, request: web.Request) -> web.StreamResponse:
        """Stream the same records as CSV. Its last line tells whether it has all of them."""
        asked = AuditCsvQuery.parse(request.rel_url)
        async with self._long.passed():
            search = await self._search(asked)
        if search.narrow_by:
            detail = f"More than {LISTED_MAX} counters are meant: name {search.narrow_by}."
            raise Problem(problems.MALFORMED, detail)
        _cursors(asked.cursor, search)  # refuses it before anything is sent

        async def piece(cursor: str | None, limit: int, entries_max: int) -> Piece:
            page = await self._page(search, cursor, limit, entries_max)
            return Piece(page.records, page.cursor, page.looked_at, page.trimmed)

        return await self._exports.stream(request, request[NAME], piece, asked.cursor, asked.limit)

    async def _search(self, asked: SearchQuery) -> _Search:
        wanted = Filter(
            asked.siteId,
            asked.partitionId,
            asked.invoiceType,
            asked.operationType,
            asked.requestId,
            asked.user,
            asked.from_ms,
            asked.to_ms,
        )
        if asked.documentNumber is not None:
            counter, number = await self._place_of(asked.documentNumber)
            return _Search((counter,), wanted, number, asked.documentNumber, "")
        few = await self._which.few(asked, asked.siteId, asked.partitionId)
        search = _Search(few.names, wanted, asked.number, None, few.narrow_by)
        if not search.goes_on:
            _refuse_cursor(asked.cursor)
        return search

    async def _place_of(self, text: str) -> tuple[str, int]:
        place = place_of(await read(self._registry.recent()), text)
        if place is None:  # its series may be younger than that
            catalogue = await read(self._registry.catalogue())
            place = place_of(catalogue, text)
            if place is None:
                raise Problem(problems.NEVER_ISSUED, reads_like_none(catalogue, text))
        return place.counter, place.number

    async def _page(
        self, search: _Search, cursor: str | None, limit: int, entries_max: int
    ) -> _Page:
        lists: list[Listing] = []
        entries_max = max(ENTRIES_READ_MIN, entries_max // max(1, len(search.names)))
        cursors = _cursors(cursor, search)
        for name, begin in zip(search.names, cursors, strict=True):
            one = Listing([], None)
            if begin is not None and search.number is not None:
                one = await read(
                    listing_of_number(
                        *(self._counters.history(name), search.number, search.text),
                        *(begin, limit, search.wanted),
                    )
                )
            elif begin is not None:
                one = await self._listing(name, begin, limit, search.wanted, entries_max)
            lists.append(one)
        records, following = merge(lists, limit)
        back_to_ms = max((one.back_to_ms or 0 for one in lists), default=0) or None
        return _Page(
            [self._shown(search.names[at], record) for at, record in records],
            text_of(following),
            sum(one.looked_at for one in lists),
            back_to_ms,
            max((one.trimmed for one in lists), default=0),
        )

    async def _listing(
        self, name: str, begin: Cursor, limit: int, wanted: Filter, entries_max: int
    ) -> Listing:
        keys = self._keys.counter(name)
        begins = partial(first_since, self._store, keys)
        history = self._counters.history(name)
        return await read(listing(history, begin, limit, wanted, entries_max, begins))

    async def audit_of_number(self, request: web.Request) -> web.StreamResponse:
        """Return everything that ever happened to a number, oldest first."""
        whose = LifeQuery.parse(request.rel_url)
        names, narrow_by = await self._which.few(whose, whose.siteId, whose.partitionId)
        if narrow_by:
            field, *more = narrow_by.split(", ")
            also = "".join(f", as is {each}" for each in more)
            _refuse(field, f"is needed{also}: more than {LISTED_MAX} counters may have it")
        number = NumberPath.parse(
            request.rel_url.with_query(number=request.match_info["number"])
        ).number
        records: list[dict[str, Any]] = []
        trimmed = 0
        for name in names:
            events = await read(self._counters.history(name).life(number))
            records += [self._shown(name, r) for r in rows_of_life(events.events, number)]
            trimmed = max(trimmed, events.trimmed)
        if not records and trimmed:
            detail = f"What happened to number {number} stands in entries up to {trimmed}, which "
            detail += "have left the store. An export of the ledger from before that has them."
            raise Problem(problems.TRIMMED, detail)
        if not records:
            detail = f"Number {number} was never issued, so it has no history."
            raise Problem(problems.NEVER_ISSUED, detail)
        response = json_answer(records)
        if trimmed:
            response.headers[TRIMMED] = str(trimmed)
        return response

    async def entry(self, request: web.Request) -> web.StreamResponse:
        """Return one entry's exact bytes: SHA-256 of the previous hash and these is its hash.

        ``hash`` is computed from them now, ``recordedHash`` was written down with the next commit:
        in the entry after it, or in the ledger's head. They differ when anybody has changed it.
        """
        asked = EntryQuery.parse(request.rel_url.update_query(index=request.match_info["index"]))
        index, name = asked.index, await self._one_counter(asked.counter)
        keys = self._keys.counter(name)
        head, content, previous, recorded = await read(raw_entry(self._store, keys, index))
        newest = head.index if head else 0
        if content is None and head and index <= head.trimmed:
            detail = f"Entries up to {head.trimmed} have left the store. An export from before "
            detail += "that has this one."
            raise Problem(problems.TRIMMED, detail)
        if content is None or head is None:
            detail = f"The ledger of {name} has {newest} entries; there is none with {index}."
            raise Problem(problems.NO_SUCH_ENTRY, detail)
        body = {
            "counter": name,
            "index": index,
            "previousHash": previous or None,
            "hash": ledger.chain(previous, content) if previous else None,
            "recordedHash": recorded or None,
            "recordedIn": "head" if index == newest else index + 1,
            "contentBase64": b64encode(content).decode(),
            "newestIndex": newest,
            "newestHash": head.tip,
            "trimmedThrough": head.trimmed,
        }
        return json_answer(body)

    async def _one_counter(self, name: str | None) -> str:
        names = await self._which.names(LifeQuery(counter=name))
        if len(names) > 1:
            some = ", ".join(names[:LISTED_MAX])
            _refuse("counter", f"is needed: there are {some}")
        return names[0]

    def _shown(self, counter: str, record: dict[str, Any]) -> dict[str, Any]:
        return record | {
            "auditId": f"{counter}-{record['auditId']}",
            "counter": counter,
            "strategy": self._settings.strategy.value,
        }


def _refuse(field: str, message: str) -> NoReturn:
    raise Problem(problems.MALFORMED, f"{field}: {message}.", (FieldError(field, message),))


def _refuse_cursor(text: str | None) -> None:
    if text is not None:
        _refuse("cursor", f"there is none for more than {LISTED_MAX} counters: name siteId")


def _cursors(text: str | None, search: _Search) -> list[Cursor | None]:
    return cursors_in(text, len(search.names), "cursor", f"the {NEXT_CURSOR} header")
