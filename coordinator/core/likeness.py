"""Can two ways of writing numbers give the same text? Answered for all their texts at once.

Every place of a template takes texts of some kind. Put in a row, the places make a *machine*: it
reads a text character by character, each step tells in which place that character stands (the
label of the place), and it may have several steps to choose from. So one way through a machine is
one reading of a text: it says which characters make up which value.

Two machines are walked at once over the same text. There are only so many pairs of states, so the
walk ends, and then nothing was left out. It finds

- a text that both can read, or the proof that there is none;
- a text that both can read with different labels somewhere, or the proof that there is none. With
  the same labels everywhere the values are the same, for a value is the characters of its label.

(The walk of an automaton beside itself is the usual test of its unambiguity, e.g. Weber and
Seidl, On the degree of ambiguity of finite automata, 1991.)
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from coordinator.core.tokens import Chars, Kind, Number, OneOf

Label = int | str
"""Names a place, or what is counted as one and the same."""

CHOICE = "A1" + "".join(map(chr, range(ord(" "), ord("~") + 1)))
"""Characters of examples, those first that are easily read."""

END = 0


class Step(NamedTuple):
    """From one state to the next with any of these characters (bit n is character n)."""

    characters: int
    label: Label
    state: int


class Alike(NamedTuple):
    """A text that two machines can read, and the label of each character in both readings."""

    text: str
    one: tuple[Label, ...]
    other: tuple[Label, ...]


def _bits(characters: Iterable[str]) -> int:
    bits = 0
    for character in characters:
        bits |= 1 << ord(character)
    return bits


class Machine:
    """Reads the texts of places in a row."""

    def __init__(self, places: Iterable[tuple[Kind, Label]]) -> None:
        self.steps: list[list[Step]] = [[]]
        """The steps from each state; from the state ``END`` there are none."""
        self.begin = END
        for kind, label in reversed(list(places)):
            match kind:
                case Chars():
                    self.begin = self._characters(kind, label, self.begin)
                case OneOf(values):
                    self.begin = self._listed(values, label, self.begin)
                case Number():
                    self.begin = self._number(kind, label, self.begin)

    def _state(self, steps: list[Step]) -> int:
        self.steps.append(steps)
        return len(self.steps) - 1

    def _characters(self, kind: Chars, label: Label, after: int) -> int:
        """Add any text of a length; return the state where it begins."""
        bits, state = _bits(kind.alphabet), after
        for place in range(kind.longest, 0, -1):
            steps = [Step(bits, label, state)] if place < kind.longest else []
            if place >= kind.shortest:
                steps.append(Step(bits, label, after))
            state = self._state(steps)
        return state

    def _listed(self, values: Iterable[str], label: Label, after: int) -> int:
        """Add one of these values; those that begin alike share their first steps."""
        rests: dict[str, list[str]] = {}
        for value in values:
            rests.setdefault(value[0], []).append(value[1:])
        steps = []
        for first, after_first in rests.items():
            if "" in after_first:
                steps.append(Step(_bits(first), label, after))
            longer = [rest for rest in after_first if rest]
            if longer:
                steps.append(Step(_bits(first), label, self._listed(longer, label, after)))
        return self._state(steps)

    def _number(self, kind: Number, label: Label, after: int) -> int:
        """Add the numbers from 1 to the largest, padded."""
        known: dict[tuple[str, str], int] = {}
        steps: list[Step] = []
        for length in range(kind.width, kind.longest + 1):
            least = 1 if length == kind.width else 10 ** (length - 1)
            most = min(kind.largest, 10**length - 1)
            between = f"{least:0{length}}", f"{most:0{length}}"
            steps += self.steps[self._between(*between, label, after, known)]
        return self._state(steps)

    def _between(
        self, low: str, high: str, label: Label, after: int, known: dict[tuple[str, str], int]
    ) -> int:
        """Add the digits between two texts of digits, which have the same length."""
        if not low:
            return after
        if (low, high) not in known:
            rest = len(low) - 1
            digits: dict[tuple[str, str], int] = {}
            for digit in range(int(low[0]), int(high[0]) + 1):
                rest_low = low[1:] if digit == int(low[0]) else "0" * rest
                rest_high = high[1:] if digit == int(high[0]) else "9" * rest
                digits[rest_low, rest_high] = digits.get((rest_low, rest_high), 0) | _bits(
                    str(digit)
                )
            known[low, high] = self._state(
                [
                    Step(bits, label, self._between(*bounds, label, after, known))
                    for bounds, bits in digits.items()
                ]
            )
        return known[low, high]


class _Pair(NamedTuple):
    """Where two machines are after the same characters, and whether the labels have differed."""

    one: int
    other: int
    differing: bool


def common_text(one: Machine, other: Machine, longest: int) -> Alike | None:
    """Return a shortest text that both can read.

    None proves that there is none of up to ``longest`` characters.
    """
    return _walk(one, other, longest, differing=True)


def text_read_differently(one: Machine, other: Machine, longest: int) -> Alike | None:
    """Return a shortest text that both can read with different labels somewhere.

    None proves that there is none of up to ``longest`` characters.
    """
    return _walk(one, other, longest, differing=False)


def _walk(one: Machine, other: Machine, longest: int, *, differing: bool) -> Alike | None:
    begin = _Pair(one.begin, other.begin, differing)
    came_from: dict[_Pair, tuple[_Pair, Step, Step]] = {}
    reached = [begin]
    for _ in range(longest):
        before, reached = reached, []
        for pair in before:
            for following, mine, others in _following(pair, one, other):
                if following in came_from:
                    continue
                came_from[following] = pair, mine, others
                if following == (END, END, True):
                    return _read_back(following, begin, came_from)
                reached.append(following)
    return None


def _following(pair: _Pair, one: Machine, other: Machine) -> Iterator[tuple[_Pair, Step, Step]]:
    for mine in one.steps[pair.one]:
        for others in other.steps[pair.other]:
            if mine.characters & others.characters:
                differing = pair.differing or mine.label != others.label
                yield _Pair(mine.state, others.state, differing), mine, others


def _read_back(
    pair: _Pair, begin: _Pair, came_from: dict[_Pair, tuple[_Pair, Step, Step]]
) -> Alike:
    text, labels_one, labels_other = "", [], []
    while pair != begin:
        pair, mine, others = came_from[pair]
        both = mine.characters & others.characters
        text += next(character for character in CHOICE if both >> ord(character) & 1)
        labels_one.append(mine.label)
        labels_other.append(others.label)
    return Alike(text[::-1], tuple(labels_one[::-1]), tuple(labels_other[::-1]))
