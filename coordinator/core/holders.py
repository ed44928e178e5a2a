"""Which site and partition has which number, for the proof of a ledger."""

from array import array

from coordinator.core.records import Origin

PAGE = 4_096
OWNERS_MAX = 65_535
NOBODY = 0
"""No holder is known: nothing is said about who may release."""


class Holders:
    """Which site and partition has which number: two bytes a number, in pages."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, str], int] = {}
        self._names: list[tuple[str, str] | None] = [None]
        self._pages: dict[int, array[int]] = {}

    def place(self, origin: Origin) -> int:
        """Return the short name of who asked."""
        name = origin[:2]
        short = self._places.get(name)
        if short is None:
            if len(self._names) > OWNERS_MAX:
                return NOBODY
            short = self._places[name] = len(self._names)
            self._names.append(name)
        return short

    def give(self, first: int, count: int, place: int) -> None:
        """Note that one place has these numbers now.

        Of billions that nobody has, because an operator passed them over, no page is made.
        """
        if place == NOBODY:
            self._take_away(range(first, first + count))
            return
        for at in range(first, first + count, PAGE):
            self.give_each(at, [place] * min(PAGE, first + count - at))

    def _take_away(self, numbers: range) -> None:
        """Forget who has these numbers: where no page is, nobody is known."""
        pages = range(numbers.start // PAGE, -(-numbers.stop // PAGE))
        for page in self._pages if len(self._pages) < len(pages) else pages:
            if page in pages and page in self._pages:
                at = max(0, numbers.start - page * PAGE)
                stop = min(PAGE, numbers.stop - page * PAGE)
                self._pages[page][at:stop] = array("H", bytes(2 * (stop - at)))

    def give_each(self, first: int, places: list[int]) -> None:
        """Note who has the numbers from ``first`` on now, one place each."""
        done = 0
        while done < len(places):
            page, at = divmod(first + done, PAGE)
            holders = self._pages.get(page)
            if holders is None:
                holders = self._pages[page] = array("H", bytes(2 * PAGE))
            some = places[done : done + PAGE - at]
            holders[at : at + len(some)] = array("H", some)
            done += len(some)

    def of(self, number: int) -> tuple[str, str] | None:
        """Return who has this number; None when it is not known."""
        holders = self._pages.get(number // PAGE)
        return self._names[holders[number % PAGE]] if holders else None

    def clear(self) -> None:
        """Forget all numbers."""
        self._pages.clear()
