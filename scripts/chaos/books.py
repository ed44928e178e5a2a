"""What the clients asked and were told: the one account that the judge compares the ledger with."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

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
    doubts: int = 0  # attempts whose outcome stayed unknown
    abandoned: bool = False

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
    """Waits for the first success of a request that began after ``since``, at a node or any."""

    since: float
    node: str | None
    seen: asyncio.Future[float]


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

    def finds(self, check: str, what: str) -> None:
        """Note an answer that should not be."""
        self.wrong.setdefault(check, []).append(what)

    def succeeded(self, node: str, began: float) -> None:
        """Note a success (monotonic seconds) and tell whoever waits for it."""
        self.counts["successes"] += 1
        if not self.watches:
            return
        now = time.monotonic()
        for watch in [w for w in self.watches if began >= w.since and w.node in {None, node}]:
            self.watches.remove(watch)
            if not watch.seen.done():
                watch.seen.set_result(now - watch.since)

    def first_success(self, node: str | None = None) -> asyncio.Future[float]:
        """Return how long it will take from now to the first success of a later request."""
        seen = asyncio.get_running_loop().create_future()
        self.watches.append(Watch(time.monotonic(), node, seen))
        return seen
