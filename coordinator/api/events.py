"""The stream of server-sent events, and the history that it begins with."""

from contextlib import suppress

from aiohttp import hdrs, web
from aiohttp_sse import EventSourceResponse

from coordinator.api.answers import json_answer
from coordinator.api.calls import NAME
from coordinator.api.live_inputs import EventsQuery, TimelineQuery
from coordinator.api.live_view import LiveView, timeline_of
from coordinator.api.problems import REQUEST_ID
from coordinator.timeline import Timeline

RETRY_MS = 1_000
"""How long a browser waits before it connects again."""

LAST_EVENT_ID = "Last-Event-ID"


class Events:
    """Handlers of the live view."""

    def __init__(self, view: LiveView, timeline: Timeline) -> None:
        self._view = view
        self._timeline = timeline

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of these handlers."""
        return [
            web.get("/api/v1/events", self.events),
            web.get("/api/v1/timeline", self.timeline),
        ]

    async def timeline(self, request: web.Request) -> web.StreamResponse:
        """Return a part of the history that this node keeps."""
        asked = TimelineQuery.parse(request.rel_url)
        return json_answer(timeline_of(self._timeline, asked.since, asked.until, asked.points))

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Stream a snapshot, or all since the last event that the caller names; then each change.

        It ends when its caller leaves, or when this node stops.
        """
        asked = EventsQuery.parse(request.rel_url)
        last = request.headers.get(LAST_EVENT_ID) or asked.lastEventId
        with self._view.broadcast.reader(last) as reader:
            stream = EventSourceResponse(headers={REQUEST_ID: request[NAME]})
            stream.headers[hdrs.CACHE_CONTROL] = "no-store"
            await stream.prepare(request)
            async with stream:
                with suppress(ConnectionResetError):  # the caller has left
                    await stream.send("", event="hello", retry=RETRY_MS)
                    while (events := await reader.events()) is not None:
                        for event in events:
                            await stream.send(event.data, id=event.id, event=event.name)
        return stream
