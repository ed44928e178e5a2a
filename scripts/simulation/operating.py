"""Operators as clients: what they have done to the count, drawn from the seed, and what they know.

An act is what one operator wants, or two at about the same time of the same number. Like all of a
schedule it is data; which number an act is about depends on what clients know when it begins.
"""

import random
from collections.abc import Iterator
from typing import NamedTuple

from coordinator.core.catalogue import Series
from coordinator.core.importing import ImportedRow, pieces
from coordinator.core.records import Rows
from coordinator.core.requests import Adjust, Assign, Call, Close, Import, Request, Void
from coordinator.core.templates import writing_of
from simulation.events import AHEAD, Asked, Kind, Outcome, Told
from simulation.reserving import TRIES_MAX, UNTOLD, Reserve
from simulation.settings import KEYS_SHARED, Operating, Settings

OFFICE = "office"
"""The site of all operators: what they name or import is held there."""

REASON = "decided by the office"

FAR = 5_000
"""So far ahead nobody may pass over numbers; ``ENOUGH`` is as many as a slip of a client passes."""

ENOUGH = 200

TRY_AGAIN_S = 0.3

A, V, R, U, I, G = (  # noqa: E741 - one letter each, for the tables below
    *(Kind.ASSIGN, Kind.VOID, Kind.REPLACE),
    *(Kind.ADJUST, Kind.IMPORT, Kind.RELEASE),
)

ACTS = (
    *((A,), (A,), (A, A), (A, A), (A, U), (U,), (U, U), (I,), (I, A), (I, I)),
    *((V,), (V, V), (V, V), (R,), (R,), (R, R), (R, V), (V, G), (G, V), (R, G)),
)
"""Who wants what of one number at about the same time."""


class Operate(NamedTuple):
    """An operator wants something of the number of an ``act``; ``leaves_ms`` later it goes away.

    It lies ``ahead`` of what clients know of, or is the one that ``pick`` chooses of those that
    somebody holds; with ``wild`` any number at all, or it is not written as it should be.
    """

    at_ms: int
    name: str
    node: int
    act: str
    kind: Kind
    pick: int = 0
    ahead: int = 0
    many: int = 1
    pass_over_max: int = ENOUGH
    wild: bool = False
    key: str | None = None
    leaves_ms: int | None = None


def draw_operators(
    chance: random.Random, settings: Settings, rushes: list[int]
) -> list[Operate | Reserve]:
    """Return what operators do in a schedule."""
    operating = settings.operating
    steps: list[Operate | Reserve] = []
    for serial in range(operating.acts):
        steps += _act(chance, settings, f"o{serial}", rushes)
    return steps + (_closing(chance, settings) if operating.closes else [])


def _act(
    chance: random.Random, settings: Settings, act: str, rushes: list[int]
) -> Iterator[Operate]:
    at_ms = chance.randrange(settings.length_ms)
    if chance.random() < settings.in_rushes:
        at_ms = chance.choice(rushes) + chance.randrange(settings.rush_ms)
    node, operating = chance.randrange(settings.nodes), settings.operating
    pick, ahead = chance.randrange(1_000), chance.choice((0, 0, 1, 1, 2, 4, 7))
    kinds = chance.choice(ACTS)
    if chance.random() < operating.wild:  # an import may pass over as many as it likes
        ahead = chance.choice((-3, -1, -1 if Kind.IMPORT in kinds else FAR, 10**7))
    for at, kind in enumerate(kinds):
        first = Operate(at_ms, f"{act}-{kind}-{at}", node, act, kind, pick, ahead)
        key = f"key-of-{first.name}" if chance.random() < operating.keyed else None
        if key and chance.random() < operating.wild:
            key = f"k{chance.randrange(KEYS_SHARED)}"
        step = first._replace(
            many=chance.choice((1, 1, 3)),
            pass_over_max=chance.choice((0, 3, ENOUGH, ENOUGH, ENOUGH)),
            wild=chance.random() < operating.wild / 2,
            key=key,
            leaves_ms=chance.choice((1, 50)) if chance.random() < settings.leaving / 4 else None,
        )
        yield step
        if key and chance.random() < settings.repeats:
            later_ms, other = chance.choice((0, 1, 10, 500)), chance.randrange(settings.nodes)
            again = step._replace(name=f"{step.name}'", at_ms=at_ms + later_ms, node=other)
            yield again._replace(leaves_ms=None)
        at_ms += chance.choice((0, 0, 0, 1, 10, 100))
        node = chance.choice((node, chance.randrange(settings.nodes)))


def _closing(chance: random.Random, settings: Settings) -> list[Operate | Reserve]:
    """Draw who closes the count: in the middle of it, beside a reservation, and when all is quiet.

    Beside one means in the same batch: both come while a question about a number nobody has is
    under way.
    """
    steps: list[Operate | Reserve] = []
    length_ms = settings.length_ms
    times_ms = [chance.randrange(length_ms // 2, length_ms), length_ms + 3_500, length_ms + 4_000]
    for serial, at_ms in enumerate((*times_ms, length_ms + 7_500)):
        act, node = f"c{serial}", chance.randrange(settings.nodes)
        if at_ms in times_ms and chance.random() < 0.7:  # noqa: PLR2004 - mostly
            asking = Operate(at_ms, f"{act}-void", node, act, Kind.VOID, wild=True)
            steps += [asking, Reserve(at_ms, f"r9{serial}", node, 0)]
        key = f"key-of-{act}" if chance.random() < settings.operating.keyed else None
        steps.append(Operate(at_ms, f"{act}-close", node, act, Kind.CLOSE, key=key))
        if chance.random() < 0.5:  # noqa: PLR2004 - a coin
            other = Operate(at_ms, f"{act}-close'", node, act, Kind.CLOSE, key=key)
            steps.append(other._replace(node=chance.randrange(settings.nodes)))
    return steps


class Operators:
    """What operators know: the highest number told to anybody, and which number an act is of."""

    def __init__(self, start: int) -> None:
        self._start = start
        self._highest = start - 1
        self._of_act: dict[str, tuple[int, str]] = {}
        """The number of an act, and who held it as it began."""
        self._by_key: dict[str, Asked] = {}

    def question(self, step: Operate, node: str, held: dict[str, list[int]]) -> Asked:
        """Return what an operator asks; under a key the same as before, but for shared keys."""
        if step.key in self._by_key and self._by_key[step.key].kind is step.kind:
            return self._by_key[step.key]._replace(request=step.name, node=node)
        number, holder = self._of_act.get(step.act) or self._chosen(step, held)
        self._of_act[step.act] = number, holder
        asked = Asked(step.name, node, step.kind, OFFICE, number=number, key=step.key)
        match step.kind:
            case Kind.RELEASE:
                asked = asked._replace(site=holder)
            case Kind.IMPORT:
                runs = ((number, step.many), (number + step.many + 2, 1))
                asked = asked._replace(runs=runs, pass_over_max=step.pass_over_max)
            case Kind.CLOSE:
                asked = asked._replace(number=0)
            case _:
                text = f"no {number}" if step.wild else text_of(number)
                asked = asked._replace(text=text, pass_over_max=step.pass_over_max)
        if step.key is not None:
            payload = f"{asked.kind} {asked.number} {asked.runs} {asked.text}"
            asked = asked._replace(payload=payload)
            self._by_key[step.key] = asked
        return asked

    def _chosen(self, step: Operate, held: dict[str, list[int]]) -> tuple[int, str]:
        if step.kind in AHEAD:
            return self._highest + 1 + step.ahead, OFFICE
        some = sorted({(number, site) for site, numbers in held.items() for number in numbers})
        if step.wild or not some:
            return max(0, self._start - 2 + step.pick % 60), OFFICE
        return some[step.pick % len(some)]

    def hear(self, asked: Asked, told: Told, held: dict[str, list[int]]) -> None:
        """Learn from an answer, whoever has asked."""
        if told.outcome is not Outcome.ANSWERED:
            return
        ahead = asked.number - 1 if asked.kind is Kind.ADJUST else 0
        self._highest = max((self._highest, ahead, *told.numbers))
        if asked.kind is Kind.REPLACE:
            replacement = int(told.said.split()[-1])
            self._highest = max(self._highest, replacement)
            owner = next((site for site, some in held.items() if asked.number in some), OFFICE)
            if replacement not in held.setdefault(owner, []):
                held[owner].append(replacement)


def asks_again(asked: Asked, told: Told) -> Asked | None:
    """Return what an operator asks again under its key who was not told what came of it."""
    if asked.key is None or told.outcome not in UNTOLD or asked.request.count("+") >= TRIES_MAX:
        return None
    return asked._replace(request=f"{asked.request}+")


def text_of(number: int) -> str:
    """Return how a number of the one counter in a run is written."""
    return f"COR-{number:05}"


def rows_of(asked: Asked) -> tuple[Rows, bytes]:
    """Return what the file of an import has of each number: its name in the ledger, its bytes."""
    numbers = (number for first, many in asked.runs for number in range(first, first + many))
    (piece,) = pieces(ImportedRow(number, text_of(number), "", "") for number in numbers)
    return piece


def wanted(call: Call, asked: Asked, series: Series) -> Request:
    """Return the request of an operator as the HTTP edge hands it in."""
    number, last = asked.number, series.max_value
    match asked.kind:
        case Kind.ASSIGN:
            return Assign(call, number, asked.text, REASON, last, asked.pass_over_max)
        case Kind.ADJUST:
            return Adjust(call, number, REASON, last, asked.pass_over_max)
        case Kind.IMPORT:
            rows = (rows_of(asked)[0],)
            return Import(call, asked.runs, asked.request, rows, last, asked.pass_over_max)
        case Kind.CLOSE:
            return Close(call, REASON)
        case Kind.REPLACE:
            replacement = writing_of(series.format, ())
            return Void(call, number, asked.text, REASON, replacement)
        case _:
            return Void(call, number, asked.text, REASON)


def draw_operating(chance: random.Random) -> Operating:
    """Return what operators do in one schedule: nothing in every second one."""
    return Operating(
        acts=chance.choice((0, 0, 0, 3, 6, 12)),
        closes=chance.random() < 0.08,  # noqa: PLR2004 - it ends a counter: one in twelve
        keyed=chance.choice((0.0, 0.5, 0.9)),
        wild=chance.choice((0.0, 0.1, 0.4)),
    )
