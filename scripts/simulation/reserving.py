"""Clients that reserve: what they do with a reservation, drawn from the seed, and what they know.

Like all of a schedule it is data: a step that settles names the step that reserves, and waits for
it to be answered. So those that are to settle at once do so at once, however long it takes.
"""

import random
from collections.abc import Iterator
from typing import NamedTuple

from simulation.events import Asked, Kind, Outcome, Told
from simulation.settings import Settings

SITES = 3
TRIES_MAX = 3
"""How often a client settles again that was not told how the reservation has ended."""

TRY_AGAIN_S = 0.3
UNTOLD = {Outcome.UNKNOWN, Outcome.NOT_SERVED, Outcome.BROKEN, Outcome.NO_NODE}


class Reserve(NamedTuple):
    """A client reserves a number; ``leaves_ms`` later it goes away without an answer."""

    at_ms: int
    name: str
    node: int
    site: int
    key: str | None = None
    leaves_ms: int | None = None


class Settle(NamedTuple):
    """A client confirms or cancels what it got by the step ``of``, as soon as that is answered."""

    at_ms: int
    name: str
    node: int
    of: str
    kind: Kind
    key: str | None = None
    leaves_ms: int | None = None


def draw_reservations(
    chance: random.Random, settings: Settings, rushes: list[int]
) -> list[Reserve | Settle]:
    """Return the reservations of a schedule, and what becomes of each."""
    steps: list[Reserve | Settle] = []
    for serial in range(settings.reserving.reservations):
        at_ms = chance.randrange(settings.length_ms)
        if chance.random() < settings.in_rushes:
            at_ms = chance.choice(rushes) + chance.randrange(settings.rush_ms)
        name, node = f"r{serial}", chance.randrange(settings.nodes)
        key = f"key-of-{name}" if chance.random() < settings.reserving.keyed else None
        leaves_ms = chance.choice((1, 50)) if chance.random() < settings.leaving / 4 else None
        first = Reserve(at_ms, name, node, chance.randrange(SITES), key, leaves_ms)
        steps.append(first)
        if key and chance.random() < settings.repeats:
            node, pause_ms = chance.randrange(settings.nodes), chance.choice((0, 10, 500))
            again = first._replace(name=f"{name}'", at_ms=at_ms + pause_ms, node=node)
            steps.append(again._replace(leaves_ms=None))
        steps += _endings(chance, settings, first)
    return steps


def _endings(chance: random.Random, settings: Settings, first: Reserve) -> Iterator[Settle]:
    """Draw who settles a reservation, and when: nobody, one, or several at about the same time."""
    confirm, cancel = Kind.CONFIRM, Kind.CANCEL
    kinds = chance.choice(
        (
            *((), (confirm,), (confirm,), (cancel,), (cancel,), (confirm, confirm)),
            *((confirm, cancel), (confirm, cancel), (cancel, confirm), (cancel, cancel, confirm)),
        )
    )
    pause_ms = chance.choice((0, 0, 10, 100, 500, _until_its_end(chance, settings)))
    for at, kind in enumerate(kinds):
        name = f"{first.name}-{kind}-{at}"
        key = f"key-of-{name}" if chance.random() < settings.reserving.keyed else None
        node = chance.randrange(settings.nodes)
        yield Settle(first.at_ms + pause_ms, name, node, first.name, kind, key)
        pause_ms += chance.choice((0, 0, 0, 1, 20, 1_000))


def _until_its_end(chance: random.Random, settings: Settings) -> int:
    """Return about how long a reservation lasts, a little more or less."""
    return 1_000 * settings.reserving.lasts_s + chance.randrange(-100, 300)


class Ticket(NamedTuple):
    """What a client knows of its reservation."""

    number: int
    token: str
    site: str


class Tickets:
    """The reservations that clients know of, and who waits for one: by the name of its step."""

    def __init__(self) -> None:
        self._known: dict[str, Ticket] = {}
        self._waiting: dict[str, list[Settle]] = {}

    def __iter__(self) -> Iterator[tuple[str, Ticket]]:
        return iter(self._known.items())

    def of(self, step: Settle) -> Ticket | None:
        """Return the reservation to settle; else the step is kept until it is known."""
        ticket = self._known.get(step.of)
        if ticket is None:
            self._waiting.setdefault(step.of, []).append(step)
        return ticket

    def answered(self, asked: Asked, told: Told) -> list[Settle]:
        """Note a reservation that a step has made; return who has waited for it."""
        name = asked.request.rstrip("'")
        if not name[1:].isdigit():
            return []  # it was asked again at the end
        token = told.said.split()[0]
        self._known.setdefault(name, Ticket(told.numbers[0], token, asked.site))
        return self._waiting.pop(name, [])


def ask_to_settle(step: Settle, node: str, ticket: Ticket) -> Asked:
    """Return what a client asks to settle its reservation."""
    number, token, site = ticket
    payload = f"{step.kind} {token}" if step.key else None
    asked = Asked(step.name, node, step.kind, site, number=number, token=token)
    return asked._replace(key=step.key, payload=payload)


def asked_again(asked: Asked, told: Told) -> Asked | None:
    """Return what a client asks again that could not hear how its reservation has ended."""
    if told.outcome not in UNTOLD or asked.request.count("+") >= TRIES_MAX:
        return None
    return asked._replace(request=f"{asked.request}+")
