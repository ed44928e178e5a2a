"""Small HTTP reads for readiness: no proxy, short timeouts, never an exception."""

import http.client
import urllib.error
import urllib.request

__all__ = ["get"]

# The environment's proxy must not stand between the launcher and its own processes.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url: str, *, timeout_s: float = 1.0) -> tuple[int, bytes]:
    """Return status and body of `url`; status 0 and the reason as body when nobody answered."""
    try:
        with _opener.open(url, timeout=timeout_s) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as problem:
        return problem.code, problem.read()
    except (OSError, ValueError, http.client.HTTPException) as problem:
        # Refused, timed out, reset, or something that speaks no HTTP.
        return 0, str(problem).encode()
