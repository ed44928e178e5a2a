"""The document that describes all public addresses, as ``/openapi.json`` has it."""

import asyncio
from typing import Any

import orjson
from aiohttp import web

from coordinator import __version__
from coordinator.api.answers import JsonAnswer
from coordinator.api.description.document import About, document
from coordinator.api.inputs import NothingQuery
from coordinator.config import Settings


class OpenApi:
    """Handler of the document. It is made when it is first asked for, and then kept."""

    def __init__(self, settings: Settings) -> None:
        names = (settings.sites, settings.partitions, settings.invoice_types)
        self._about = About(__version__, *names)
        self._making = asyncio.Lock()
        self._made: dict[str, Any] | None = None
        self._written = b""

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of this handler."""
        return [web.get("/openapi.json", self.openapi)]

    async def openapi(self, request: web.Request) -> web.StreamResponse:
        """Return the document."""
        NothingQuery.parse(request.rel_url)
        await self.document()
        return JsonAnswer(self._written)

    async def document(self) -> dict[str, Any]:
        """Return the document; nobody may change it."""
        async with self._making:
            if self._made is None:  # in a thread: others want numbers meanwhile
                self._made = await asyncio.to_thread(document, self._about)
                self._written = orjson.dumps(self._made)
        return self._made
