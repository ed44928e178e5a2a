"""The free numbers as one batch sees them: the gaps, and what the batch itself gives back."""

from bisect import insort

from coordinator.core.keys import CounterKeys
from coordinator.core.marks import Mark, encode_mark
from coordinator.core.records import Reused
from coordinator.core.state import Gaps
from coordinator.core.transaction import Delete, Put


class Free:
    """Takes the lowest first, and changes nothing but itself.

    When a batch ends, what it has given back and not taken again lies above all gaps that it has
    closed. So those are one range of keys, and no key is both deleted and written.
    """

    def __init__(self, gaps: Gaps) -> None:
        self._count = len(gaps)
        self._gaps = gaps
        self._ahead = iter(gaps)
        self._lowest = next(self._ahead, None)
        """The lowest run of the gaps that has not been taken, or what is left of it."""
        self._taken: range | None = None
        """From the first to the last of the gaps that have been taken."""
        self._returned: list[Reused] = []
        """Numbers given back in this batch and not taken again, ascending."""

    def __len__(self) -> int:
        return self._count

    def __contains__(self, number: int) -> bool:
        """Tell whether a number that the batch has not taken is free."""
        return number in self._gaps or any(run.first == number for run in self._returned)

    @property
    def lowest(self) -> int | None:
        """Return the number that is taken next; None when nothing is free."""
        runs = (self._lowest, *self._returned[:1])
        return min((run.first for run in runs if run is not None), default=None)

    def give_back(self, number: int, entry: int, time_ms: int) -> None:
        """Add one number, released by this entry at this moment."""
        insort(self._returned, Reused(number, entry, time_ms))
        self._count += 1

    def take(self, quantity: int) -> tuple[Reused, ...]:
        """Take so many of the numbers, which are at least as many, as the longest runs."""
        self._count -= quantity
        taken: list[Reused] = []
        while quantity:
            run = self._take_run(quantity)
            quantity -= run.quantity
            joined = taken[-1].joined(run) if taken else None
            if joined is None:
                taken.append(run)
            else:
                taken[-1] = joined
        return tuple(taken)

    def _take_run(self, quantity: int) -> Reused:
        """Take the lowest run, or the first ``quantity`` numbers of it."""
        run, returned = self._lowest, self._returned
        if run is None or (returned and returned[0].first < run.first):
            return returned.pop(0)
        if run.quantity > quantity:
            self._lowest = Reused(run.first + quantity, *run[1:3], run.quantity - quantity)
            run = run._replace(quantity=quantity)
        else:
            self._lowest = next(self._ahead, None)
        first = run.first if self._taken is None else self._taken.start
        self._taken = range(first, run.first + run.quantity)
        return run

    def writes(self, keys: CounterKeys) -> list[Put | Delete]:
        """Return what becomes of the gap keys."""
        writes: list[Put | Delete] = []
        closed = self.below_returned(self._taken) if self._taken is not None else None
        if closed:
            writes.append(keys.gaps_between(closed.start, closed.stop - 1))
        for number, entry, time_ms, _ in self._returned:
            writes.append(Put(keys.gap(number), encode_mark(Mark(entry, time_ms))))
        return writes

    def below_returned(self, span: range) -> range:
        """Return the part of a span of numbers taken that is not free again."""
        if not self._returned:
            return span
        return range(span.start, min(span.stop, self._returned[0].first))
