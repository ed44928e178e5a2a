"""What the clients asked and were told: the one account that the judge compares the ledger with."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from coordinator.jobs.timeline import counts_as_after

EXAMPLES_MAX = 5


@dataclass(eq=False)
class Asked:
    """One request with a key, however often and wherever it is sent."""

    key: str
    path: str  # "next" or "release"
    body: dict[str, Any]
    answer: dict[str, Any] | None = None
    refusal: str = ""
    attempts: int = 0
    originals: int = 0  # answers that were not marked as replayed
    doubts: int = 0  # attempts whose outcome stayed unknown
    abandoned: bool = False

    @property
    def client(self) -> str:
        """Return the name of the client that asks."""
        return self.key.partition("-")[0]

    @property
    def settled(self) -> bool:
        """Tell whether a definite answer came."""
        return self.answer is not None or bool(self.refusal)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Return the numbers that the answer gives or takes back."""
        if self.answer is None:
            return ()
        if self.path == "release":
            return (int(self.answer["sequenceNumber"]),)
        return tuple(self.answer["sequenceNumbers"])


class Watch(NamedTuple):
    """Waits for the first success of a request that began after ``since``, told by whom."""

    since: float
    node: str | None
    clients: frozenset[str] | None
    seen: asyncio.Future[float]

    def is_for(self, client: str, node: str, began: float) -> bool:
        """Tell whether this success is what is waited for."""
        if not counts_as_after(began, self.since) or self.node not in {None, node}:
            return False
        return self.clients is None or client in self.clients


@dataclass
class Books:
    """Everything that was asked, and everything that was told."""

    keyed: dict[str, Asked] = field(default_factory=dict)
    keyless: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Acknowledged without a key: the numbers, by request id."""
    told_nothing: set[str] = field(default_factory=set)
    """Ids of requests of which it was said, or is certain, that nothing came of them."""
    wrong: dict[str, list[str]] = field(default_factory=dict)
    """Answers that should not be, under the name of the check that they break."""
    counts: Counter[str] = field(default_factory=Counter)
    watches: list[Watch] = field(default_factory=list)
    durations_s: list[float] = field(default_factory=list)
    """Of every success."""

    def finds(self, check: str, what: str) -> None:
        """Note an answer that should not be."""
        self.wrong.setdefault(check, []).append(what)

    def succeeded(self, client: str, node: str, began: float) -> None:
        """Note a success (monotonic seconds) and tell whoever waits for it."""
        self.counts["successes"] += 1
        now = time.monotonic()
        self.durations_s.append(now - began)
        for watch in [watch for watch in self.watches if watch.is_for(client, node, began)]:
            self.watches.remove(watch)
            if not watch.seen.done():
                watch.seen.set_result(now - watch.since)

    def first_success(
        self, node: str | None = None, clients: frozenset[str] | None = None
    ) -> asyncio.Future[float]:
        """Return the seconds from now to the end of the first later request that succeeds.

        Only at this node, and only of one of these clients, if named.
        """
        seen = asyncio.get_running_loop().create_future()
        self.watches.append(Watch(time.monotonic(), node, clients, seen))
        return seen
