"""How far imports are, over HTTP: those that a node has under way, and how the newest ended."""

import asyncio
from typing import Any

from aiohttp import web
from yarl import URL

from coordinator.api import problems
from coordinator.api.answers import iso, json_answer
from coordinator.api.elsewhere import ID, ask_owner, node_of
from coordinator.api.import_inputs import ImportsQuery
from coordinator.api.inputs import NothingQuery
from coordinator.api.problems import Problem
from coordinator.clock import now_ms
from coordinator.importing.book import KEPT_MAX, Course, ImportBook
from coordinator.importing.staging import UNITS
from coordinator.jobs.neighbours import Neighbours, Unreachable

PATH = "/api/v1/admin/document-numbering/imports"
ANSWER_WITHIN_S = 1.0
LOST = "What it has imported is in the ledger: repeat the upload with its key to hear of it."


class ImportProgress:
    """Handlers that tell how far imports are; each is kept by the node that does it."""

    def __init__(self, book: ImportBook, neighbours: Neighbours) -> None:
        self._book = book
        self._neighbours = neighbours

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of these handlers."""
        return [web.get(PATH, self.listed), web.get(f"{PATH}/{{id}}", self.one)]

    async def listed(self, request: web.Request) -> web.StreamResponse:
        """Return the newest imports, of all nodes or of this one, perhaps of one request only."""
        asked = ImportsQuery.parse(request.rel_url)
        found = [
            shown(course, self._book.node)
            for course in self._book.newest_first
            if asked.request_id is None or course.is_of(asked.request_id)
        ]
        if not asked.local:
            others = await self._neighbours.others()
            lists = await asyncio.gather(
                *(self._of(node.node, asked.request_id) for node in others)
            )
            found += [each for kept in lists for each in kept]
        found.sort(key=lambda each: str(each["started_at"]), reverse=True)
        return json_answer({"success": True, "data": found[:KEPT_MAX], "timestamp": iso(now_ms())})

    async def _of(self, node: str, request_id: str | None) -> list[dict[str, Any]]:
        wanted = {"local": "true"} | ({} if request_id is None else {"request_id": request_id})
        path = str(URL(PATH).with_query(wanted))
        try:
            _, body = await self._neighbours.ask(node, "GET", path, within_s=ANSWER_WITHIN_S)
            return list(body["data"])
        except (Unreachable, KeyError, TypeError):
            return []

    async def one(self, request: web.Request) -> web.StreamResponse:
        """Return how far an import is, or how it ended."""
        NothingQuery.parse(request.rel_url)
        course_id = request.match_info["id"]
        if not ID.fullmatch(course_id):
            raise Problem(problems.NO_SUCH_IMPORT, "Ids of imports look like node-1.0a1b2c3d.")
        course = self._book.find(course_id)
        if course is not None:
            return json_answer({"success": True, "data": shown(course, self._book.node)})
        if node_of(course_id) in {"", self._book.node}:
            detail = (
                f"This node has none. It keeps its newest {KEPT_MAX}, until it restarts. {LOST}"
            )
            raise Problem(problems.NO_SUCH_IMPORT, detail)
        return await ask_owner(self._neighbours, request, problems.NO_SUCH_IMPORT, LOST)


def shown(course: Course, node: str) -> dict[str, Any]:
    """Return how far an import is, as callers are told."""
    return {
        "id": course.id,
        "node": node,
        "request_id": course.request_id,
        "idempotency_key": course.key,
        "dry_run": course.dry_run,
        "phase": course.phase,
        "done": course.done,
        "total": course.total,
        "unit": UNITS[course.counted],
        "rows_total": course.rows_total,
        "document_types": course.document_types,
        "imported": course.imported,
        "import": course.name,
        "replayed": course.replayed,
        "code": course.code,
        "detail": course.detail,
        "started_at": iso(course.started_ms),
        "ended_at": None if course.ended_ms is None else iso(course.ended_ms),
        "duration_ms": (course.ended_ms or now_ms()) - course.started_ms,
    }
