"""Serves the pages and their static files.

They are rendered once, with and without what changes something: nothing else in them changes while
a node runs. All that moves is fetched by the browser from the public HTTP API, so this module knows
neither the coordinator nor its store.
"""

import errno
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, NamedTuple

from aiohttp import web
from aiohttp.typedefs import Handler
from jinja2 import Environment, FileSystemLoader, StrictUndefined

_Handler = Callable[[web.Request], Awaitable[web.Response]]
_HERE: Final = Path(__file__).parent

# No inline script, no inline style, no other host: the templates and modules are written for this.
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "object-src 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # Always ask, mostly answered with 304 by the ETag: a page never mixes modules of two versions.
    "Cache-Control": "no-cache",
}


READ_ONLY: Final = "read-only"
"""In the address of a page: it shall have no control that changes anything."""

LANES_MAX: Final = 64
"""Places with buttons of their own; a page of thousands would be of no use to anybody."""


class PageFacts(NamedTuple):
    """What the page need not ask for: fixed from the start of a node to its end."""

    sites: tuple[str, ...]
    partitions: tuple[str, ...]
    invoice_types: tuple[str, ...]
    node_id: str
    instance_id: str
    version: str
    profile: str
    is_read_only: bool


def add_routes(app: web.Application, page: PageFacts) -> None:
    """Add `GET /dashboard`, its other pages and `/dashboard/static/…`, with security headers."""
    templates = environment()
    show = _showing(templates, page, "dashboard")
    # An application of its own, so that its headers reach every answer below it and none beside it.
    dashboard = web.Application(middlewares=[_without_odd_names])
    dashboard.router.add_get("", show)
    dashboard.router.add_get("/", show)
    dashboard.router.add_get("/audit", _showing(templates, page, "audit"))
    dashboard.router.add_get("/documents", _showing(templates, page, "documents"))
    dashboard.router.add_static("/static", _HERE / "static")
    dashboard.on_response_prepare.append(_harden)
    app.add_subapp("/dashboard", dashboard)


def environment() -> Environment:
    """Return what renders the pages."""
    return Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _showing(templates: Environment, page: PageFacts, name: str) -> _Handler:
    """Return the handler of the page with this name."""
    places = [(site, partition) for site in page.sites for partition in page.partitions]
    lanes = places[:LANES_MAX]
    unshown = len(places) - len(lanes)
    template = templates.get_template(f"{name}.html")
    facts = {"page": page, "here": name, "lanes": lanes, "unshown": unshown}
    usual = template.render(facts, read_only=page.is_read_only, asked="")
    reading = template.render(facts, read_only=True, asked=f"?{READ_ONLY}")

    async def show(request: web.Request) -> web.Response:
        html = reading if READ_ONLY in request.query else usual
        return web.Response(text=html, content_type="text/html")

    return show


@web.middleware
async def _without_odd_names(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a name that is too long for any file like that of no file."""
    try:
        return await handler(request)
    except OSError as odd:
        if odd.errno != errno.ENAMETOOLONG:
            raise
        raise web.HTTPNotFound from None


async def _harden(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
