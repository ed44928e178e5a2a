"""A reader of the event stream, as tests need it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp

EVENTS = "/api/v1/events"


class Event(NamedTuple):
    """One event as it came."""

    id: str
    name: str
    body: Any


class Stream:
    """An open stream."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def next(self, name: str = "", seconds: float = 10) -> Event:
        """Return the next event, of this name if one is given; fail when none comes."""
        async with asyncio.timeout(seconds):
            while (event := await self._read()) is not None:
                if event.name not in {"hello", ""} and name in {"", event.name}:
                    return event
        raise AssertionError("the stream has ended")

    async def until(self, condition: Any, seconds: float = 10) -> Event:
        """Return the first event that fulfils a condition."""
        async with asyncio.timeout(seconds):
            while not condition(event := await self.next()):
                pass
        return event

    async def ended(self, seconds: float = 10) -> None:
        """Return when the stream has ended."""
        async with asyncio.timeout(seconds):
            while await self._read() is not None:
                pass

    async def _read(self) -> Event | None:
        fields: dict[str, str] = {}
        async for line in self.answer.content:
            name, _, value = line.decode().rstrip("\r\n").partition(": ")
            if name:
                fields[name] = value
            elif fields:
                data = fields.get("data", "")
                return Event(
                    fields.get("id", ""), fields.get("event", ""), json.loads(data or "null")
                )
        return None


@asynccontextmanager
async def stream(url: str, last: str = "") -> AsyncIterator[Stream]:
    """Open a stream, from the event after ``last`` on."""
    headers = {"Last-Event-ID": last} if last else {}
    timeout = aiohttp.ClientTimeout(total=None)
    async with (
        aiohttp.ClientSession(read_bufsize=2**22) as session,
        session.get(url + EVENTS, headers=headers, timeout=timeout) as answer,
    ):
        assert answer.status == 200, await answer.text()
        yield Stream(answer)


def after(state: dict[str, Any], tick: Event) -> dict[str, Any]:
    """Return the state that a tick leads to: what a page does, written once more."""
    new = dict(state)
    for name, value in tick.body.items():
        if name in {"stats", "lasts"}:
            new[name] = state[name] | value
        elif name == "records":
            new["records"] = value.get("all") or _records(state["records"], value)
        elif name in {"gaps", "cluster", "proof", "time"}:
            new[name] = value
    return new


def _records(before: list[Any], changes: Any) -> list[Any]:
    changed = {record["auditId"]: record for record in changes["changed"]}
    kept = [changed.get(record["auditId"], record) for record in before]
    return (changes["new"] + kept)[:25]
