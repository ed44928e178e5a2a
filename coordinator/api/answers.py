"""How answers are written: JSON, moments, and reads of a store that may be down."""

from collections.abc import Awaitable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar

import orjson
from aiohttp import web

from coordinator.api import problems
from coordinator.api.problems import Problem
from coordinator.faults import CANNOT_READ

Read = TypeVar("Read")


@lru_cache(maxsize=256)
def iso(time_ms: int) -> str:
    """Return a moment as RFC 3339 text in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def json_answer(body: dict[str, Any] | list[Any], status: int = 200) -> web.Response:
    """Return a JSON answer that nobody may cache."""
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return web.Response(body=orjson.dumps(body), status=status, headers=headers)


async def read(reading: Awaitable[Read]) -> Read:
    """Wait for a read. Raises Problem when the store does not answer."""
    try:
        return await reading
    except CANNOT_READ as down:
        detail = f"The ledger cannot be read just now: {down}."
        raise Problem(problems.STORE_UNAVAILABLE, detail) from None
