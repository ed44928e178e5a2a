"""The nodes as a billing site uses them: every request keyed, repeated elsewhere on trouble."""

import asyncio
import uuid
from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import aiohttp

from coordinator.config import Settings

TRIES = 8
PAUSE_S = 0.1
TRY_TIMEOUT_S = 15.0
_SERVER_ERROR = 500


class Failed(Exception):
    """A request of a demonstration was refused, or nobody answered it."""


class Place(NamedTuple):
    """A site, a partition and an invoice type."""

    site: str
    partition: str
    invoice_type: str

    def query(self) -> dict[str, str]:
        """Return the place as the API takes it."""
        return {
            "siteId": self.site,
            "partitionId": self.partition,
            "invoiceType": self.invoice_type,
        }


def places_of(settings: Settings) -> list[Place]:
    """Return every place that gets numbers."""
    return [
        Place(*place)
        for place in product(settings.sites, settings.partitions, settings.invoice_types)
        if place[2] != "simulated" or settings.simulated_enabled
    ]


def session() -> aiohttp.ClientSession:
    """Return what the requests of one demonstration go through. Close it."""
    timeout = aiohttp.ClientTimeout(total=TRY_TIMEOUT_S)
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout)


class Nodes:
    """The nodes' public addresses."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        urls: tuple[str, ...],
        repeated: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``repeated`` hears why an attempt came to nothing."""
        self._session = session
        self._repeated = repeated
        self.urls = urls

    async def call(self, method: str, path: str, at: int = 0, **options: Any) -> Any:
        """Call the node at this position; on trouble the others, with the same key."""
        key = uuid.uuid4().hex
        why = ""
        for attempt in range(TRIES):
            url = self.urls[(at + attempt) % len(self.urls)]
            body, why = await self.attempt(method, url, path, key, **options)
            if not why:
                return body
            self._repeated(why)
            await asyncio.sleep(PAUSE_S * attempt)
        raise Failed(f"no node served it in {TRIES} tries; the last: {why}")

    async def attempt(
        self, method: str, url: str, path: str, key: str, **options: Any
    ) -> tuple[Any, str]:
        """Ask one node once; return its answer, or why there is none. Raises Failed if refused."""
        try:
            async with self._session.request(
                method, url + path, headers={"Idempotency-Key": key}, **options
            ) as response:
                body = await response.json()
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as lost:
            return None, f"{url}{path}: {str(lost) or type(lost).__name__}"
        if response.status >= _SERVER_ERROR:
            return None, f"{url}{path}: {body.get('detail', body)}"
        if not response.ok:
            raise Failed(f"{url}{path}: {body.get('detail', body)}")
        return body, ""

    async def next(self, place: Place, at: int) -> int:
        """Return the next number from the node at this position."""
        body = await self.call("GET", "/api/v1/sequence/next", at, params=place.query())
        return int(body["sequenceNumbers"][0])

    async def release(self, number: int, place: Place, at: int) -> None:
        """Release a number through the node at this position."""
        body = {
            "sequenceNumber": number,
            "siteId": place.site,
            "partitionId": place.partition,
            "reason": "demonstration: suppressed invoice",
        }
        await self.call("POST", "/api/v1/sequence/release", at, json=body)

    async def read(self, path: str, at: int = 0) -> Any:
        """Return what a reading call answers."""
        return await self.call("GET", f"/api/v1/sequence/{path}", at)
