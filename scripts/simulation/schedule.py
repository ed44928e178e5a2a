"""A schedule: what clients do and what goes wrong, drawn from a seed before anything runs.

It is data. The steps carry their own names and times, and the fate of a network message is drawn
from (seed, node, serial of the message), so that a schedule with steps left out is still the same
schedule in all else. That is what lets a failing one be shrunk.
"""

import random
from typing import NamedTuple

from simulation.operating import Operate, draw_operating, draw_operators
from simulation.reserving import Reserve, Settle, draw_reservations
from simulation.settings import (
    KEYS_SHARED,
    Operating,
    Reserving,
    Settings,
    draw_reserving,
    draw_settings,
)

SITES = 3

ROOM_FOR_OPERATORS = 8_000
"""Bytes of an entry: what an operator has done takes more at most than what others have."""

THE_TURN = -1
"""As the number of a node: the next one that serves a batch of another node."""

RUSHES = 3


class Issue(NamedTuple):
    """A client asks for numbers; ``leaves_ms`` later it goes away without an answer."""

    at_ms: int
    name: str
    node: int
    site: int
    quantity: int
    key: str | None = None
    at_once: bool = False
    leaves_ms: int | None = None


class Release(NamedTuple):
    """A client gives back a number. Which one depends on what its site holds by then.

    ``pick`` chooses among them; another site does it when this one holds none. With ``wild`` it is
    any number at all, held or not; with ``keeps`` the site does not note that it has given it
    back, and does so again.
    """

    at_ms: int
    name: str
    node: int
    site: int
    pick: int
    key: str | None = None
    wild: bool = False
    keeps: bool = False
    leaves_ms: int | None = None


class Reset(NamedTuple):
    """The count begins anew, as in a demonstration."""

    at_ms: int
    name: str
    node: int


class Crash(NamedTuple):
    """A node dies at once, and starts again with an empty memory."""

    at_ms: int
    node: int
    for_ms: int


class Stop(NamedTuple):
    """A node is told to stop, serves what waits for ``grace_ms`` at most, and starts again."""

    at_ms: int
    node: int
    grace_ms: int
    for_ms: int


class Pause(NamedTuple):
    """A node's process is stopped for a while; its clocks and the network go on."""

    at_ms: int
    node: int
    for_ms: int


class ClockJump(NamedTuple):
    """A node's wall clock is set."""

    at_ms: int
    node: int
    by_ms: int


class Cut(NamedTuple):
    """A node and the store cannot reach each other for a while."""

    at_ms: int
    node: int
    for_ms: int


class Trim(NamedTuple):
    """A node lets all but the newest entries leave the store."""

    at_ms: int
    node: int
    kept: int


class CutBetween(NamedTuple):
    """Two nodes cannot reach each other for a while; each reaches the store."""

    at_ms: int
    node: int
    other: int
    for_ms: int


class Full(NamedTuple):
    """The store has no space for a while: it says so, and may have written nevertheless."""

    at_ms: int
    for_ms: int


class Compact(NamedTuple):
    """The store forgets old revisions."""

    at_ms: int


class Backup(NamedTuple):
    """The store is copied."""

    at_ms: int


class Restore(NamedTuple):
    """The store is replaced by the last backup. What was under way to it is lost."""

    at_ms: int


OfNode = Crash | Stop | Pause | ClockJump | Cut | CutBetween | Trim
OfStore = Full | Compact | Backup | Restore
OfClient = Issue | Release | Reset | Reserve | Settle | Operate
Step = OfClient | OfNode | OfStore


class Schedule(NamedTuple):
    """All that a run depends on.

    ``faulty`` are the messages, by node and serial, that may meet a fault; None is all.
    ``variant`` draws other fates for all messages: only shrinking needs it.
    """

    seed: int
    settings: Settings
    steps: tuple[Step, ...]
    faulty: frozenset[tuple[str, int]] | None = None
    variant: int = 0

    @property
    def restores(self) -> bool:
        """Tell whether the store goes back in time."""
        return any(isinstance(step, Restore) for step in self.steps)


def draw_schedule(seed: int) -> Schedule:
    """Return the schedule of a seed."""
    chance = random.Random(f"schedule {seed}")  # noqa: S311 - a seed, no secret
    settings = draw_settings(chance)
    others = random.Random(f"reservations {seed}")  # noqa: S311 - a seed, no secret
    reserving = draw_reserving(others)
    if reserving.reservations:  # they take as long to simulate as what they take the place of
        settings = settings._replace(reserving=reserving, requests=settings.requests // 2)
    office = random.Random(f"operators {seed}")  # noqa: S311 - a seed, no secret
    settings = _with_operators(settings, draw_operating(office))
    rushes = [chance.randrange(settings.length_ms) for _ in range(RUSHES)]
    steps = [*_requests(chance, settings, rushes), *_faults(chance, settings, rushes)]
    steps += draw_reservations(others, settings, rushes)
    steps += draw_operators(office, settings, rushes)
    if settings.operating.closes:  # what is reserved beside a close must end by itself
        settings = settings._replace(reserving=_brief(settings.reserving))
    steps.sort(key=lambda step: step.at_ms)
    return Schedule(seed, settings, tuple(steps))


def _with_operators(settings: Settings, operating: Operating) -> Settings:
    """Return settings with operators, whose entries need some room, and fewer other requests."""
    if not (operating.acts or operating.closes):
        return settings
    return settings._replace(
        operating=operating,
        requests=max(4, settings.requests - 4 * operating.acts),
        entry_bytes_max=max(settings.entry_bytes_max, ROOM_FOR_OPERATORS),
    )


def _brief(reserving: Reserving) -> Reserving:
    return reserving._replace(reservations=max(1, reserving.reservations), lasts_s=1)


def _requests(chance: random.Random, settings: Settings, rushes: list[int]) -> list[Step]:
    """Draw what clients ask: alone or in bursts, at a favourite node, anywhere or everywhere."""
    bursts = [chance.randrange(settings.length_ms) for _ in range(chance.randint(1, 6))]
    favourite = chance.randrange(settings.nodes)
    steps: list[Step] = []
    for serial in range(settings.requests):
        in_burst = chance.random() < settings.in_bursts
        at_ms = chance.choice(bursts) if in_burst else chance.randrange(settings.length_ms)
        is_favoured = chance.random() < settings.at_favourite
        node = favourite if is_favoured else chance.randrange(settings.nodes)
        if chance.random() < settings.in_rushes:
            at_ms = chance.choice(rushes) + chance.randrange(settings.rush_ms)
            node = chance.randrange(settings.nodes)
        step = _request(chance, settings, at_ms, f"q{serial}", node)
        steps.append(step)
        if isinstance(step, Issue | Release):
            is_repeated = step.key is not None and chance.random() < settings.repeats
            if is_repeated or (isinstance(step, Release) and step.keeps):
                steps.append(_repeat(chance, settings, step))
    return steps


def _request(
    chance: random.Random, settings: Settings, at_ms: int, name: str, node: int
) -> Issue | Release | Reset:
    site = chance.randrange(SITES)
    quantity = chance.randint(1, settings.quantity_max)
    key = None
    if chance.random() < settings.keyed:
        which = chance.randrange(KEYS_SHARED)
        key = f"k{which}"
        if chance.random() >= settings.wild:  # the same key asks the same
            site, quantity = which % SITES, 1 + which % settings.quantity_max
    leaves_ms = None
    if chance.random() < settings.leaving:
        leaves_ms = chance.choice((0, 1, 5, 50, 500))
    if chance.random() < settings.resets:
        return Reset(at_ms, name, node)
    if chance.random() < settings.releases:
        wild, keeps = chance.random() < settings.wild, chance.random() < settings.wild
        pick = chance.randrange(1_000)
        if chance.random() < 0.5:  # noqa: PLR2004 - a coin: with the issues, or after them
            at_ms = chance.randrange(settings.length_ms)
        return Release(at_ms, name, node, site, pick, key, wild, keeps, leaves_ms)
    at_once = chance.random() < settings.at_once
    return Issue(at_ms, name, node, site, quantity, key, at_once, leaves_ms)


def _repeat(chance: random.Random, settings: Settings, step: Issue | Release) -> Step:
    """Ask the same again: at any node, at the same moment or later; rarely it is not the same."""
    at_ms = step.at_ms + chance.choice((0, 0, 1, 10, 100, 1_000))
    node = chance.randrange(settings.nodes)
    again = step._replace(name=f"{step.name}'", at_ms=at_ms, node=node, leaves_ms=None)
    if isinstance(again, Issue) and chance.random() < settings.wild:
        return again._replace(quantity=again.quantity + 1)
    return again


def _faults(chance: random.Random, settings: Settings, rushes: list[int]) -> list[Step]:
    """Draw what goes wrong: at any moment, more often while all nodes are busy."""
    steps: list[Step] = []

    def times(rate: float) -> list[int]:
        count = sum(chance.random() < rate for _ in range(6))
        return [moment() for _ in range(count)]

    def moment() -> int:
        if chance.random() < settings.in_rushes:
            return chance.choice(rushes) + chance.randrange(settings.rush_ms)
        return chance.randrange(settings.length_ms)

    def node() -> int:
        if chance.random() < settings.at_the_turn:
            return THE_TURN
        return chance.randrange(settings.nodes)

    def duration() -> int:
        return chance.choice((1, 10, 100, 500, 2_000, 5_000))

    steps += [Crash(at, node(), duration()) for at in times(settings.crashes)]
    steps += [Stop(at, node(), duration(), duration()) for at in times(settings.stops)]
    steps += [Pause(at, node(), duration()) for at in times(settings.pauses)]
    steps += [
        ClockJump(at, node(), chance.randint(-7_200_000, 7_200_000))
        for at in times(settings.clock_jumps)
    ]
    steps += [Cut(at, node(), duration()) for at in times(settings.cuts)]
    if settings.nodes > 1:
        steps += [
            CutBetween(at, one, other, duration())
            for at in times(settings.cuts_between)
            for one, other in (chance.sample(range(settings.nodes), 2),)
        ]
    steps += [Full(at, duration()) for at in times(settings.full)]
    steps += [Compact(at) for at in times(settings.compactions)]
    if not settings.restores:  # whoever is behind all entries takes the others on trust
        steps += [Trim(at, node(), chance.choice((1, 3, 10, 30))) for at in times(settings.trims)]
    if settings.restores:
        backup, restore = sorted(moment() for _ in range(2))
        again = [at for at in range(settings.nodes) if chance.random() < settings.restarts]
        steps += [Backup(backup), Restore(restore), *(Crash(restore, at, 1) for at in again)]
    return steps
