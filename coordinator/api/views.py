"""The reading calls of the sequence API: what is committed, the same from every node."""

import heapq
from operator import itemgetter
from typing import Any, NoReturn

from aiohttp import web

from coordinator.api import problems
from coordinator.api.answers import iso, json_answer, read
from coordinator.api.audit import Cursor, Filter, Listing, listing
from coordinator.api.audit_records import rows_of_life
from coordinator.api.gate import Gate, Width
from coordinator.api.inputs import (
    NUMBER_MAX,
    AuditQuery,
    GapsQuery,
    LifeQuery,
    NothingQuery,
    NumberPath,
    WhichQuery,
)
from coordinator.api.problems import FieldError, Problem, one_line
from coordinator.api.proofs import Proofs
from coordinator.api.statistics import lowest_gap, statistics
from coordinator.clock import now_ms
from coordinator.config import Settings
from coordinator.core.documents import counted_by
from coordinator.core.series import counter_names
from coordinator.counters import Counters
from coordinator.document_counters import DocumentCounters
from coordinator.faults import CANNOT_READ
from coordinator.jobs.membership import Membership
from coordinator.overview import CounterSeen, Installation, Overview
from coordinator.proof import report

NEXT_CURSOR = "X-Next-Cursor"
NARROW_BY = "X-Narrow-By"
"""Says that more counters were meant than can be listed, and how to name fewer."""

PROOFS_MAX = 8
"""Of many counters, which are small, so many are proven at a time; of a few, one."""

LISTED_MAX = 32
"""Counters in one listing: each has its place in the cursor."""

PROVEN_MAX = 1_000
"""Counters in one proof: some seconds, if they are small."""

FINISHED = "end"
TRIMMED = "X-Trimmed-Through"
"""On a number's life: older records stood in entries up to this one, which have left the store."""


class Views:
    """Handlers of the calls that change nothing."""

    def __init__(
        self,
        settings: Settings,
        installation: Installation,
        counters: Counters,
        membership: Membership,
        documents: DocumentCounters,
    ) -> None:
        self._documents = documents
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
            web.get(f"{root}/audit", self._long.before(self.audit)),
            web.get(f"{root}/audit/{{number}}", self._long.before(self.audit_of_number)),
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

    async def audit(self, request: web.Request) -> web.StreamResponse:
        """Return audit records, newest first; a header has the cursor of the next page.

        Of too many counters only those that changed last are listed, and there is no next page; of
        a document type's, those that are found first. A header says so.
        """
        asked = AuditQuery.parse(request.rel_url)
        names = await self._names_of(asked, asked.siteId, asked.partitionId)
        is_all = len(names) <= LISTED_MAX
        if asked.documentType is not None:
            names = names[:LISTED_MAX]
        elif not is_all:
            _refuse_cursor(asked.cursor)
            names = await self._changed_last(names)
        cursors = _cursors(asked.cursor, len(names))
        wanted = Filter(
            asked.siteId,
            asked.partitionId,
            asked.invoiceType,
            asked.operationType,
            asked.requestId,
        )
        lists: list[Listing] = []
        for name, cursor in zip(names, cursors, strict=True):
            history = self._counters.history(name)
            lists.append(
                Listing([], None)
                if cursor is None
                else await read(listing(history, cursor, asked.limit, wanted))
            )
        records, following = _merge(lists, asked.limit)
        response = json_answer([self._shown(names[at], r) for at, r in records])
        if not is_all and asked.documentType is None:
            response.headers[NARROW_BY] = "siteId, partitionId"
            return response
        if not is_all:
            response.headers[NARROW_BY] = "counter"
        if any(cursor is not None for cursor in following):
            texts = (FINISHED if cursor is None else str(cursor) for cursor in following)
            response.headers[NEXT_CURSOR] = ".".join(texts)
        return response

    async def newest(self, seen: Overview, limit: int) -> list[dict[str, Any]]:
        """Return the newest audit records of the counters that changed last. Raises Problem."""
        found = [c for c in seen.counters if c.head is not None]
        names = [c.name for c in heapq.nlargest(LISTED_MAX, found, key=_changed_ms)]
        histories = map(self._counters.history, names)
        lists = [await read(listing(each, Cursor(), limit, Filter())) for each in histories]
        return [self._shown(names[at], record) for at, record in _merge(lists, limit)[0]]

    async def _names_of(
        self,
        which: WhichQuery,
        site: str | None = None,
        partition: str | None = None,
        limit: int = LISTED_MAX,
    ) -> tuple[str, ...]:
        """Return the counters that are meant, and can have anything of this site and partition.

        Of a document type's, which have no end, those that are found first, and one more than
        ``limit`` when there are more. Raises Problem.
        """
        if which.counter is not None:
            await self._check_there(which.counter)
            return (which.counter,)
        if which.documentType is not None:
            found = await read(self._documents.after("", limit + 1, which.documentType))
            if not found:
                detail = f"No document of type {which.documentType} has been numbered yet."
                raise Problem(problems.UNKNOWN_NAME, detail)
            return tuple(each.name for each in found)
        settings = self._settings
        return counter_names(
            settings.series,
            settings.strategy,
            settings.sites if site is None else (site,),
            settings.partitions if partition is None else (partition,),
        )

    async def _check_there(self, counter: str) -> None:
        if counter in self._names:
            return
        head = None
        if counted_by(counter) is not None:
            head = await read(self._documents.head_of(counter))
        if head is None:
            detail = f"There is no counter {one_line(counter)!r}. Those of invoices are "
            detail += f"{', '.join(self._names[:LISTED_MAX])}; those of documents are listed at "
            detail += "/api/v1/admin/document-numbering/sequences."
            raise Problem(problems.UNKNOWN_NAME, detail)

    async def _changed_last(self, names: tuple[str, ...]) -> tuple[str, ...]:
        seen = await read(self._installation.overview())
        changed_ms = {c.name: c.head.changed_ms for c in seen.counters if c.head is not None}
        known = changed_ms.keys() & set(names)
        return tuple(heapq.nlargest(LISTED_MAX, known, key=lambda name: changed_ms[name]))

    async def audit_of_number(self, request: web.Request) -> web.StreamResponse:
        """Return everything that ever happened to a number, oldest first."""
        whose = LifeQuery.parse(request.rel_url)
        names = await self._names_of(whose, whose.siteId, whose.partitionId)
        if len(names) > LISTED_MAX and whose.documentType is not None:
            _refuse("counter", f"is needed: more than {LISTED_MAX} counters may have it")
        if len(names) > LISTED_MAX:
            _refuse("siteId", f"is needed, as is partitionId: {len(names)} counters may have it")
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

    def _shown(self, counter: str, record: dict[str, Any]) -> dict[str, Any]:
        return record | {
            "auditId": f"{counter}-{record['auditId']}",
            "counter": counter,
            "strategy": self._settings.strategy.value,
        }

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
        names = await self._names_of(which, limit=PROVEN_MAX)
        if len(names) > PROVEN_MAX:  # to prove some of them would look like proving all
            said = f"is needed: there are more than {PROVEN_MAX:,} counters of this type"
            _refuse("counter", f"{said}; the command coordinator validate proves them all")
        body = report(await read(self._proofs.of(names)))
        return json_answer(body | {"timestamp": iso(now_ms())})

    async def prove(self) -> dict[str, Any]:
        """Return what a proof of invoices comes to, begun now or under way. Raises Problem."""
        body = report(await read(self._proofs.of(self._names)))
        self.proven = body | {"timestamp": iso(now_ms())}
        return self.proven


def _changed_ms(counter: CounterSeen) -> int:
    return 0 if counter.head is None else counter.head.changed_ms


def _refuse(field: str, message: str) -> NoReturn:
    raise Problem(problems.MALFORMED, f"{field}: {message}.", (FieldError(field, message),))


def _refuse_cursor(text: str | None) -> None:
    if text is not None:
        _refuse("cursor", f"there is none for more than {LISTED_MAX} counters: name siteId")


def _cursors(text: str | None, counters: int) -> list[Cursor | None]:
    if text is None:
        return [Cursor() for _ in range(counters)]
    try:
        cursors = [None if t == FINISHED else Cursor.parse(t) for t in text.split(".")]
    except ValueError:
        cursors = []
    if len(cursors) != counters:
        _refuse("cursor", f"take it from the {NEXT_CURSOR} header of the same listing")
    return cursors


def _merge(
    lists: list[Listing], limit: int
) -> tuple[list[tuple[int, dict[str, Any]]], list[Cursor | None]]:
    """Return the newest records, each with its counter's position, and where each goes on."""
    tagged = (
        [(record["timestamp"], at, cursor, record) for cursor, record in one.records]
        for at, one in enumerate(lists)
    )
    merged = list(heapq.merge(*tagged, key=itemgetter(0), reverse=True))
    following = [one.following for one in lists]
    for _, at, cursor, _ in reversed(merged[limit:]):
        following[at] = cursor
    return [(at, record) for _, at, _, record in merged[:limit]], following
