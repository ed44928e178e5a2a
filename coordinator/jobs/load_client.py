"""A caller of the public HTTP API that asks until it knows what became of its request.

A refusal that says *nothing was allocated*, and an outcome that is not known, are repeated with the
same idempotency key at the next node. What is told in between is counted by its code.
"""

import asyncio
import time
import uuid
from array import array
from collections import Counter
from typing import Any, NamedTuple

import aiohttp

TRIES = 6
PAUSE_S = 0.2
CALL_TIMEOUT_S = 30.0
NOT_ANSWERED = "no answer"
_PASSING = frozenset({429, 502, 503})
_UNKNOWN = frozenset({500, 504})


class Refused(Exception):
    """The request was refused, for certain; the message is the node's."""


class NotKnown(Exception):
    """It is not known what became of the request, though it was repeated."""


class Times(NamedTuple):
    """How long calls of one kind took, in milliseconds."""

    calls: int
    p50_ms: float
    p99_ms: float
    max_ms: float


class Nodes:
    """The nodes at these addresses: calls are spread over them, timed and counted."""

    def __init__(self, session: aiohttp.ClientSession, urls: tuple[str, ...]) -> None:
        self._session = session
        self._urls = urls
        self._took_us: dict[str, array[int]] = {}
        self.errors: Counter[str] = Counter()

    async def post(self, path: str, body: object, at: int = 0, timed: str = "") -> Any:
        """Return what the node at this position answers, or the next that does.

        ``timed`` names the kind of call; the time of the whole counts, with all repetitions.
        Raises Refused or NotKnown.
        """
        key = uuid.uuid4().hex
        began = time.monotonic()
        is_unknown, why = False, ""
        for attempt in range(TRIES):
            url = self._urls[(at + attempt) % len(self._urls)] + path
            status, answer = await self._ask("POST", url, key, body)
            if status < 400:  # noqa: PLR2004 - the lowest of HTTP's errors
                if timed:
                    self.timed(timed, began)
                return answer
            code, detail = _said(status, answer)
            self.errors[code] += 1
            why = f"{url}: {detail}"
            if status not in _PASSING | _UNKNOWN:
                raise Refused(why)
            is_unknown = is_unknown or status in _UNKNOWN
            await asyncio.sleep(PAUSE_S * (attempt + 1))
        if is_unknown:
            raise NotKnown(why)
        raise Refused(why)

    async def get(self, path: str) -> Any:
        """Return what the first node answers that does. Raises Refused."""
        why = ""
        for url in self._urls:
            status, answer = await self._ask("GET", url + path, "", None)
            if status < 400:  # noqa: PLR2004
                return answer
            why = f"{url}: {_said(status, answer)[1]}"
        raise Refused(why)

    def timed(self, what: str, began: float) -> None:
        """Note that something has ended that began at this moment (seconds, monotonic)."""
        took_us = int((time.monotonic() - began) * 1e6)
        self._took_us.setdefault(what, array("Q")).append(took_us)

    def times(self) -> dict[str, Times]:
        """Return how long calls took, by their kind."""
        return {name: _times(sorted(took_us)) for name, took_us in self._took_us.items()}

    async def _ask(self, method: str, url: str, key: str, body: object) -> tuple[int, Any]:
        """Return status and answer; 504 when there was none: what became of it is not known."""
        headers = {"Idempotency-Key": key} if key else {}
        try:
            async with self._session.request(method, url, json=body, headers=headers) as answer:
                return answer.status, await answer.json(content_type=None)
        except aiohttp.ClientConnectorError as nobody:  # it was never sent
            return 503, {"code": NOT_ANSWERED, "detail": str(nobody)}
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as lost:
            return 504, {"code": NOT_ANSWERED, "detail": str(lost) or type(lost).__name__}


def _said(status: int, answer: Any) -> tuple[str, str]:
    """Return the code and the sentence of a refusal."""
    fields = answer if isinstance(answer, dict) else {}
    return str(fields.get("code", f"HTTP {status}")), str(fields.get("detail", f"HTTP {status}"))


def _times(took_us: list[int]) -> Times:
    count = len(took_us)
    p50, p99 = (took_us[min(count - 1, count * percent // 100)] for percent in (50, 99))
    return Times(count, p50 / 1e3, p99 / 1e3, took_us[-1] / 1e3)
