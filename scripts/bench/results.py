"""What one run has measured, and figures to reach."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.lab import Check, Reading
    from bench.loads import Sample


class NotMeasuredError(Exception):
    """A figure needs a row that was not selected or could not be run."""


@dataclass
class Results:
    """Everything that one run has measured."""

    samples: dict[str, list[Sample]] = field(default_factory=dict)
    readings: dict[str, Reading] = field(default_factory=dict)
    tables: dict[str, list[dict[str, str | float]]] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    """Why a row was not measured, by its name."""
    busy: list[float] = field(default_factory=list)
    """Which share of the cores others used, before each sample."""

    def rounds(self, name: str) -> list[Sample]:
        """Return the rounds of a contender. Raises NotMeasuredError when there are none."""
        if not self.samples.get(name):
            raise NotMeasuredError(name)
        return self.samples[name]

    def median(self, name: str, value: Callable[[Sample], float]) -> float:
        """Return the median over the rounds of a contender. Raises NotMeasuredError."""
        return statistics.median(value(sample) for sample in self.rounds(name))

    def per_second(self, name: str) -> float:
        """Return the median of a contender's requests a second. Raises NotMeasuredError."""
        return self.median(name, lambda sample: sample.per_second)

    def fact(self, name: str, fact: str) -> float:
        """Return the median of another figure of its rounds. Raises NotMeasuredError."""
        values = [sample.facts[fact] for sample in self.rounds(name) if fact in sample.facts]
        if not values:
            raise NotMeasuredError(f"{name}: {fact}")
        return statistics.median(values)

    def ratio(self, name: str, rival: str) -> float:
        """Return the median of the ratios within each round: neighbours in time are compared.

        Raises NotMeasuredError when one of them was not measured.
        """
        return statistics.median(
            mine.per_second / theirs.per_second
            for mine, theirs in zip(self.rounds(name), self.rounds(rival), strict=True)
        )

    def reading(self, key: str) -> float:
        """Return what a probe measured. Raises NotMeasuredError."""
        if key not in self.readings:
            raise NotMeasuredError(key)
        return self.readings[key].value


@dataclass(frozen=True)
class Verdict:
    """A figure as it came out: None where it was not measured, `ok` also where it has no goal."""

    value: float | None
    beside: str
    ok: bool | None


@dataclass(frozen=True)
class Figure:
    """A figure, how it follows from the results, and the goal that it should keep, if it has one.

    A ratio has no unit; `beside` gives the two sides of it, for people.
    """

    what: str
    measured: Callable[[Results], float]
    bound: str = ""
    limit: float = 0.0
    unit: str = ""
    beside: Callable[[Results], str] | None = None

    def judge(self, results: Results) -> Verdict:
        """Return the value, what it was made of, and whether it keeps its goal."""
        try:
            value = self.measured(results)
            beside = self.beside(results) if self.beside is not None else ""
        except NotMeasuredError:
            return Verdict(None, "", None)
        if not self.bound:
            return Verdict(value, beside, None)
        ok = value >= self.limit if self.bound == "at least" else value <= self.limit
        return Verdict(value, beside, ok)

    @property
    def goal(self) -> str:
        """Return the goal in words; nothing when it has none."""
        return f"{self.bound} {self.limit:,} {self.unit}".strip() if self.bound else ""
