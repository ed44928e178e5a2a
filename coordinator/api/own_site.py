"""Changes that a page of another web site makes its reader's browser ask for are refused.

A node asks nobody for a password: who reaches it may use it. So a reader's browser, which reaches
it, must not be made to by any page that its reader looks at. Browsers say where a request comes
from: in ``Sec-Fetch-Site`` (https://www.w3.org/TR/fetch-metadata/), and where they leave that out,
for pages on plain HTTP, in ``Origin``. Other callers send neither.

Only pages of this very address are ours. A browser calls another port of the same host, or another
name of the same domain, the same site; but whatever runs there is another program, and the
dashboard asks nobody but the node that served it.
"""

from urllib.parse import urlsplit

from aiohttp import hdrs
from multidict import CIMultiDictProxy, istr

from coordinator.api import problems
from coordinator.api.problems import Problem, one_line

FETCH_SITE = istr("Sec-Fetch-Site")
ORIGIN = istr(hdrs.ORIGIN)
_OURS = {"same-origin", "none"}
_READING = {hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS}
_CHANGING_READS = {"/api/v1/sequence/next"}
_PORTS = {"http": 80, "https": 443}
_SHOWN_MAX = 200


def changes(method: str, path: str) -> bool:
    """Tell whether a route may change something."""
    return method not in _READING or path in _CHANGING_READS


def refuse_other_sites(headers: CIMultiDictProxy[str]) -> None:
    """Raise Problem for what a page of another web site asks for, by the headers of its request."""
    site = headers.get(FETCH_SITE)
    if site is not None:
        if site not in _OURS:
            raise _refusal(f"a {site} page")
    elif (origin := headers.get(ORIGIN)) is not None and not _is_at(
        origin, headers.get(hdrs.HOST, "")
    ):
        raise _refusal(f"a page of {origin}")


def _is_at(origin: str, host: str) -> bool:
    """Tell whether an origin is at the address in ``Host``, whose port a proxy may leave out."""
    try:
        asker, own = urlsplit(origin), urlsplit(f"//{host}")
        ports = {None, asker.port or _PORTS.get(asker.scheme)}
        own_port = own.port
    except ValueError:  # no address at all
        return False
    return asker.hostname is not None and asker.hostname == own.hostname and own_port in ports


def _refusal(who: str) -> Problem:
    asker = one_line(who[:_SHOWN_MAX])
    detail = f"A browser asks for this on behalf of {asker}, and of none of this node's own. "
    return Problem(
        problems.OTHER_SITE,
        f"{detail}Nothing was done. Use the dashboard, or a tool like curl.",
    )
