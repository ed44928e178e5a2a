"""How many batches the nodes commit and hand over: read from their metrics, over all their runs."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Mapping

EVERY_S = 0.5
WITHIN_S = 2.0
NAMES = {
    "numbering_batches_total": "batches committed",
    "numbering_batches_handed_over_total": "batches handed over and served",
    "numbering_lock_failures_total": "compares lost",
}


class Meter:
    """Sums up what dies with a run of a node, but for its last moments."""

    def __init__(self, http: aiohttp.ClientSession, nodes: Mapping[str, str]) -> None:
        self._http = http
        self._nodes = nodes
        self._before: dict[str, float] = defaultdict(float)
        self._now: dict[tuple[str, str], float] = {}

    async def run(self) -> None:
        """Read again and again, until cancelled."""
        while True:
            await asyncio.gather(*map(self._read, self._nodes))
            await asyncio.sleep(EVERY_S)

    async def _read(self, node: str) -> None:
        timeout = aiohttp.ClientTimeout(total=WITHIN_S)
        try:
            async with self._http.get(f"{self._nodes[node]}/metrics", timeout=timeout) as answer:
                lines = (await answer.text()).splitlines()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return  # it is struck just now
        for line in lines:
            name, _, value = line.partition(" ")
            if name in NAMES:
                self._take(node, name, float(value))

    def _take(self, node: str, name: str, value: float) -> None:
        before = self._now.get((node, name), 0.0)
        if value < before:  # another run
            self._before[name] += before
        self._now[node, name] = value

    def figures(self) -> dict[str, int]:
        """Return the sums, in words."""
        sums = dict(self._before)
        for (_, name), value in self._now.items():
            sums[name] = sums.get(name, 0.0) + value
        return {words: int(sums.get(name, 0)) for name, words in NAMES.items()}
