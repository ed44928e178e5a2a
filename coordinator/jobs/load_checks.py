"""What a load test claims of the numbers that it got, and whether that holds."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

SHOWN_MAX = 10


class Standing(NamedTuple):
    """Where a counter was before or after: the next fresh number, and what else tells of others.

    ``unclear`` says why its numbers need not follow each other, if so; ``released`` counts those
    that came back, where that is told.
    """

    counter: str
    next: int
    unclear: str = ""
    released: int = 0


class Claim(NamedTuple):
    """One thing that must hold. ``ok`` is None where it cannot be told; ``detail`` says why."""

    name: str
    ok: bool | None
    detail: str


def claims_of(numbers: list[int], before: Standing, after: Standing) -> list[Claim]:
    """Return what must hold of the numbers that this load test was given, in any order."""
    return [_distinct(numbers, before, after), _consecutive(numbers, before, after)]


def _distinct(numbers: list[int], before: Standing, after: Standing) -> Claim:
    twice = [number for number, times in Counter(numbers).items() if times > 1]
    detail = f"{len(set(numbers)):,} different of {len(numbers):,}"
    if not twice:
        return Claim("no number twice", True, detail)
    detail += f"; twice: {_some(sorted(twice))}"
    if before.released != after.released:
        return Claim("no number twice", None, f"{detail}; others released numbers meanwhile")
    return Claim("no number twice", False, detail)


def _consecutive(numbers: list[int], before: Standing, after: Standing) -> Claim:
    """Judge by where the counter was and is: what nobody else took must be ours, all of it."""
    name = "consecutive"
    if before.counter != after.counter:
        return Claim(name, None, f"{before.counter} gave way to {after.counter} meanwhile")
    if before.unclear or after.unclear:
        return Claim(name, None, before.unclear or after.unclear)
    if before.released != after.released:
        return Claim(name, None, "others released numbers meanwhile")
    moved = range(before.next, after.next)
    strange = sorted(set(numbers) - set(moved))
    if strange:
        outside = f"{_some(strange)} outside of {_span(moved)}, which the counter has gone through"
        return Claim(name, False, outside)
    others = len(moved) - len(set(numbers))
    if others:
        return Claim(
            name, None, f"others were served meanwhile: {others:,} numbers of {_span(moved)}"
        )
    return Claim(name, True, f"{_span(moved)}, nobody else was served")


def _span(numbers: range) -> str:
    return f"{numbers[0]:,} to {numbers[-1]:,}" if numbers else "none"


def _some(numbers: Iterable[int]) -> str:
    listed = list(numbers)
    more = f" and {len(listed) - SHOWN_MAX:,} more" if len(listed) > SHOWN_MAX else ""
    return ", ".join(f"{number:,}" for number in listed[:SHOWN_MAX]) + more
