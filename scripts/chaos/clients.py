"""Clients as they should be, and a few as they should not: they ask, lose answers, ask again.

A keyed client repeats a request with the same key, on another node, until it gets a definite
answer. It names every attempt by an id of its own (X-Request-Id stands in the ledger), so that an
attempt of which it was told "nothing was allocated" can be held against the ledger.
"""

from __future__ import annotations

import asyncio
import json
import time
from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp

from chaos.books import Asked, Books

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

PAUSE_S = 0.05
KEYED_ANSWERED = "every keyed request got its definite answer"
SAME_ANSWER = "one key, one answer, on every node"
PLACES = tuple(
    {"siteId": site, "partitionId": partition}
    for site in ("site-1", "site-2")
    for partition in ("partition-a", "partition-b")
)


class Fate(Enum):
    """What a client knows after one attempt."""

    SETTLED = auto()
    NOTHING = auto()  # told 503, or never sent
    UNKNOWN = auto()  # told 504, or the connection was lost


class Mix(NamedTuple):
    """How a client behaves: shares of its requests, and seconds."""

    think_s_max: float = 0.2
    patience_s: tuple[float, ...] = (3.0, 12.0)
    release: float = 0.2
    burst: float = 0.01
    large: float = 0.05
    twins: float = 0.05
    again: float = 0.03
    clash: float = 0.01
    abandon: float = 0.15


STEADY = Mix(0.05, (3.0,), *(0.0,) * 7)
"""Only takes numbers, one by one, and never gives a key up."""

LARGE_COUNT_MAX = 120
BURST_RELEASES = 40
COUNT_MAX = 5


class Caller:
    """Sends requests to nodes and writes down what comes back."""

    def __init__(self, http: aiohttp.ClientSession, nodes: Mapping[str, str], books: Books) -> None:
        self._http = http
        self.nodes = nodes
        self.names = sorted(nodes)
        self.books = books

    async def attempt(self, asked: Asked, node: str, patience_s: float) -> Fate:
        """Send a keyed request once."""
        books = self.books
        asked.attempts += 1
        request_id = f"{asked.key}.{asked.attempts}"
        headers = {"Idempotency-Key": asked.key, "X-Request-Id": request_id}
        began, answered = time.monotonic(), asked.answer is not None
        status, body, replayed = await self.post(node, asked.path, asked.body, headers, patience_s)
        if status == 0 and body is None:
            books.counts["connections refused"] += 1
            books.told_nothing.add(request_id)
            return Fate.NOTHING
        if status == HTTPStatus.OK and body is not None:
            books.succeeded(asked.client, node, began)
            books.counts["replays"] += replayed
            asked.originals += not replayed
            if not replayed and (answered or asked.originals > 1):
                books.finds(SAME_ANSWER, f"{request_id} at {node}: not marked as replayed")
            self._settle(asked, body, node)
            return Fate.SETTLED
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            books.counts["answers 503"] += 1
            books.told_nothing.add(request_id)
            return Fate.NOTHING
        if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
            asked.refusal = f"{status} {body}"
            books.finds(KEYED_ANSWERED, f"{request_id} at {node}: {asked.refusal}"[:300])
            return Fate.SETTLED
        if status not in {0, HTTPStatus.GATEWAY_TIMEOUT}:
            books.finds(KEYED_ANSWERED, f"{request_id} at {node}: {status} {body}"[:300])
        books.counts["answers 504" if status else "answers lost"] += 1
        asked.doubts += 1
        return Fate.UNKNOWN

    async def post(
        self, node: str, path: str, body: Any, headers: dict[str, str], patience_s: float
    ) -> tuple[int, Any, bool]:
        """Return status, body and whether it was a replay.

        Status 0 with no body: nothing was sent. Status 0 with a text: the answer was lost.
        """
        self.books.counts["requests"] += 1
        url = f"{self.nodes[node]}/api/v1/sequence/{path}"
        timeout = aiohttp.ClientTimeout(total=patience_s)
        try:
            async with self._http.post(url, json=body, headers=headers, timeout=timeout) as answer:
                said = json.loads(await answer.read())
                replayed = answer.headers.get("Idempotent-Replayed") == "true"
                return answer.status, said, replayed
        except aiohttp.ClientConnectorError:
            return 0, None, False
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as lost:
            return 0, repr(lost), False

    def _settle(self, asked: Asked, body: dict[str, Any], node: str) -> None:
        if asked.answer is None:
            asked.answer = body
        elif asked.answer != body:
            what = f"{asked.key} at {node}: {asked.answer} and then {body}"
            self.books.finds(SAME_ANSWER, what[:700])


class Client:
    """One keyed client, with a node that it prefers and numbers that it holds."""

    def __init__(self, caller: Caller, number: int, draw: random.Random, mix: Mix) -> None:
        self._caller = caller
        self._draw = draw
        self._mix = mix
        self.name = f"c{number:02}"
        self._place = PLACES[number % len(PLACES)]
        self._home = number % len(caller.names)
        self._at = self._home
        self._serial = 0
        self._held: list[int] = []
        self._burst = 0
        self._patience_s = mix.patience_s[number % len(mix.patience_s)]

    @property
    def at(self) -> str:
        """Return the node that this client asks now."""
        return self._caller.names[self._at]

    async def run(self, stopping: asyncio.Event) -> None:
        """Ask until told to stop; what has been asked is brought to its end."""
        while not stopping.is_set():
            await asyncio.sleep(self._draw.uniform(0, self._mix.think_s_max))
            if self._draw.random() < 0.1:  # noqa: PLR2004 - a client that had to leave comes back
                self._at = self._home
            asked = self._next_request()
            await self._ask(asked)
            if asked.answer is None:
                continue
            if asked.path == "next":
                self._held += asked.numbers
            await self._ask_once_more(asked)

    def _next_request(self) -> Asked:
        draw, mix = self._draw, self._mix
        self._serial += 1
        key = f"{self.name}-{self._serial}"
        if draw.random() < mix.burst:  # many gaps at once, for batches that take many
            self._burst = BURST_RELEASES
        self._burst -= self._burst > 0
        if self._held and (self._burst or draw.random() < mix.release):
            number = self._held.pop(draw.randrange(len(self._held)))
            asked = Asked(
                key, "release", self._place | {"sequenceNumber": number, "reason": "chaos"}
            )
        else:
            count = draw.choice((1, 1, 1, draw.randint(2, COUNT_MAX)))
            if draw.random() < mix.large:
                count = draw.randint(COUNT_MAX + 1, LARGE_COUNT_MAX)
            if not mix.release:
                count = 1
            body = self._place | {"invoiceType": "on-cycle", "count": count}
            asked = Asked(key, "next", body)
        self._caller.books.keyed[key] = asked
        return asked

    async def _ask(self, asked: Asked) -> None:
        names = self._caller.names
        if self._draw.random() < self._mix.twins:
            other = (self._at + 1) % len(names)
            await asyncio.gather(
                self._until_settled(asked, self._at, may_abandon=False),
                self._until_settled(asked, other, may_abandon=False),
            )
            self._caller.books.counts["keys sent to two nodes at once"] += 1
        else:
            self._at = await self._until_settled(asked, self._at, may_abandon=True)

    async def _until_settled(self, asked: Asked, at: int, *, may_abandon: bool) -> int:
        """Repeat at node after node; return the one that answered."""
        names = self._caller.names
        while True:
            fate = await self._caller.attempt(asked, names[at], self._patience_s)
            if fate is Fate.SETTLED:
                return at
            at = (at + 1) % len(names)
            if fate is Fate.UNKNOWN and may_abandon and self._draw.random() < self._mix.abandon:
                asked.abandoned = True
                return at
            if fate is Fate.NOTHING:
                await asyncio.sleep(PAUSE_S)

    async def _ask_once_more(self, asked: Asked) -> None:
        """Sometimes repeat what is settled, elsewhere; sometimes with another payload."""
        dice, names, caller = self._draw.random(), self._caller.names, self._caller
        node = names[(self._at + 2) % len(names)]
        if dice < self._mix.again:
            await caller.attempt(asked, node, self._patience_s)
        elif dice < self._mix.again + self._mix.clash and asked.path == "next":
            body = asked.body | {"count": asked.body["count"] + 1}
            headers = {"Idempotency-Key": asked.key, "X-Request-Id": f"{asked.key}.clash"}
            status, said, _ = await caller.post(node, "next", body, headers, self._patience_s)
            if status not in {0, 422, 503, 504}:
                caller.books.finds(SAME_ANSWER, f"{asked.key} with another payload: {said}"[:300])
            caller.books.counts["other payloads refused"] += (
                status == HTTPStatus.UNPROCESSABLE_ENTITY
            )


class Vanishing:
    """A client without a key that hangs up in the middle of most of its requests."""

    def __init__(self, caller: Caller, number: int, draw: random.Random) -> None:
        self._caller = caller
        self._draw = draw
        self._name = f"v{number:02}"

    async def run(self, stopping: asyncio.Event) -> None:
        """Ask until told to stop."""
        caller, draw, serial = self._caller, self._draw, 0
        while not stopping.is_set():
            await asyncio.sleep(draw.uniform(0, 0.3))
            serial += 1
            request_id = f"{self._name}-{serial}"
            body = draw.choice(PLACES) | {"invoiceType": "off-cycle", "count": draw.randint(1, 3)}
            node = draw.choice(caller.names)
            patience_s = draw.choice((0.002, 0.005, 0.02, 1.0))
            headers = {"X-Request-Id": request_id}
            status, said, _ = await caller.post(node, "next", body, headers, patience_s)
            if status == HTTPStatus.OK:
                caller.books.keyless[request_id] = tuple(said["sequenceNumbers"])
            elif status == HTTPStatus.SERVICE_UNAVAILABLE:
                caller.books.told_nothing.add(request_id)
            elif status == 0 and said is not None:
                caller.books.counts["clients that vanished"] += 1
