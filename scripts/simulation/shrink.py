"""Shrinking: the smallest schedule that still breaks the same rule.

Delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002):
leave out larger and smaller pieces as long as the rest still fails. First steps, then the faults
that messages met, until nothing more can go.
"""

from collections.abc import Callable
from typing import TypeVar

from simulation.schedule import Schedule, Step
from simulation.world import Result, run

T = TypeVar("T")

RUNS_MAX = 2_000
"""Runs in one shrinking: some ten seconds, for small schedules are quick."""

VARIANTS = 6
"""How many draws of fates are tried on a smaller schedule.

A step that is left out takes its messages with it, and those after them change places: the lost
reply that matters may then be another message's. With other fates it may come right again.
"""


def smallest(items: tuple[T, ...], fails: Callable[[tuple[T, ...]], bool]) -> tuple[T, ...]:
    """Return a part of ``items``, in their order, that still fails, and none of it can go."""
    pieces = 2
    if items and fails(items[:0]):
        return items[:0]
    while len(items) > 1:
        size = -(-len(items) // pieces)
        starts = range(0, len(items), size)
        without = [items[:at] + items[at + size :] for at in starts]
        smaller = next((rest for rest in without if fails(rest)), None)
        if smaller is not None:
            items, pieces = smaller, max(2, pieces - 1)
        elif size == 1:
            break
        else:
            pieces = min(len(items), 2 * pieces)
    return items


class Shrinker:
    """Shrinks one failing result; ``runs`` counts what it took."""

    def __init__(self, failed: Result) -> None:
        self.runs = 0
        self._rule = failed.findings[0].rule
        self._best = failed

    def shrink(self) -> Result:
        """Return the result of the smallest failing schedule that was found."""
        before = None
        while before != self._size():
            before = self._size()
            smallest(self._best.schedule.steps, self._fails_with_steps)
            smallest(self._best.faulty, self._fails_with_faults)
        return self._best

    def _size(self) -> tuple[int, int]:
        return len(self._best.schedule.steps), len(self._best.faulty)

    def _fails_with_steps(self, steps: tuple[Step, ...]) -> bool:
        fewer = self._best.schedule._replace(steps=steps)
        others = (fewer._replace(faulty=None, variant=variant) for variant in range(VARIANTS))
        return self._fails(fewer) or any(self._fails(other) for other in others)

    def _fails_with_faults(self, faulty: tuple[tuple[str, int], ...]) -> bool:
        return self._fails(self._best.schedule._replace(faulty=frozenset(faulty)))

    def _fails(self, schedule: Schedule) -> bool:
        """Tell whether this schedule breaks the same rule; remember it if so."""
        if self.runs >= RUNS_MAX:
            return False
        self.runs += 1
        result = run(schedule)
        fails = bool(result.findings) and result.findings[0].rule is self._rule
        if fails:
            self._best = result
        return fails
