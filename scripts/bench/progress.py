"""How far a run is, and how long it will still take."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

FLOOR, CEILING = 0.5, 4.0
"""How much quicker or slower than planned a run may claim to be."""


def say(text: str) -> None:
    """Report progress, apart from the result on stdout."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Share:
    """What a row has to do: so many samples, in about so many seconds, starts included."""

    samples: int
    seconds: float


class Progress:
    """Counts samples, and guesses the end from the plan and from how it has gone so far."""

    def __init__(self, shares: dict[str, Share]) -> None:
        self._shares = shares
        self._done = dict.fromkeys(shares, 0)
        self._began = time.monotonic()

    @property
    def planned_s(self) -> float:
        """Return the seconds that all should take."""
        return sum(share.seconds for share in self._shares.values())

    def sampled(self, row: str, text: str) -> None:
        """Count a sample of a row and say what came of it."""
        share = self._shares.get(row)
        if share is not None:
            self._done[row] = min(share.samples, self._done[row] + 1)
        done, total = sum(self._done.values()), sum(s.samples for s in self._shares.values())
        say(f"[{done}/{total}, {self._left()}] {row:18} {text}")

    def finished(self, row: str) -> None:
        """Expect nothing more of a row, whatever it has done."""
        if row in self._shares:
            self._done[row] = self._shares[row].samples

    def _left(self) -> str:
        seconds = self.left_s(time.monotonic() - self._began)
        return f"{int(seconds) // 60}:{int(seconds) % 60:02} left"

    def left_s(self, elapsed_s: float) -> float:
        """Return the seconds that are probably left after these have passed."""
        spent = sum(
            share.seconds * self._done[row] / max(1, share.samples)
            for row, share in self._shares.items()
        )
        pace = min(CEILING, max(FLOOR, elapsed_s / spent)) if spent else 1.0
        return max(0.0, self.planned_s - spent) * pace
