"""Changes that a page of another web site makes its reader's browser ask for are refused.

A node asks nobody for a password: who reaches it may use it. So a reader's browser, which reaches
it, must not be made to by any page that its reader looks at. Browsers say where a request comes
from: in ``Sec-Fetch-Site`` (https://www.w3.org/TR/fetch-metadata/), and where they leave that out,
for pages on plain HTTP, in ``Origin``. Other callers send neither.
"""

from urllib.parse import urlsplit

from aiohttp import hdrs, web
from multidict import istr

from coordinator.api import problems
from coordinator.api.problems import Problem, one_line

FETCH_SITE = istr("Sec-Fetch-Site")
ORIGIN = istr(hdrs.ORIGIN)
_OURS = {"same-origin", "same-site", "none"}
_READING = {hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS}
_CHANGING_READS = {"/api/v1/sequence/next"}
_SHOWN_MAX = 200


def changes(method: str, path: str) -> bool:
    """Tell whether a route may change something."""
    return method not in _READING or path in _CHANGING_READS


def refuse_other_sites(request: web.Request) -> None:
    """Raise Problem for what a page of another web site asks for."""
    headers = request.headers
    site = headers.get(FETCH_SITE)
    if site is not None:
        if site not in _OURS:
            raise _refusal(f"a {site} page")
    elif (origin := headers.get(ORIGIN)) is not None and _host(origin) != _host(
        f"//{headers.get(hdrs.HOST, '')}"
    ):
        raise _refusal(f"a page of {origin}")


def _host(address: str) -> str | None:
    """Return the host of an address without its port: None where there is none, as in ``null``."""
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _refusal(who: str) -> Problem:
    asker = one_line(who[:_SHOWN_MAX])
    detail = f"A browser asks for this on behalf of {asker}, and of none of this node's own. "
    return Problem(
        problems.OTHER_SITE,
        f"{detail}Nothing was done. Use the dashboard, or a tool like curl.",
    )
