"""The settings of one schedule, drawn anew for each: the swarm.

A schedule with a little of everything explores little: faults drown each other. So each one
switches most kinds of faults off and turns the others up, and draws its own sizes and limits.
"""

import random
from typing import NamedTuple

RATES_OF_FAULTS = (0.0, 0.0, 0.0, 0.02, 0.1, 0.3)
"""How likely a message meets one kind of fault."""

RATES_OF_STEPS = (0.0, 0.0, 0.2, 0.5)
"""How likely each of six possible crashes (pauses ...) happens."""

CONTENDED = 0.4
"""In so many schedules all nodes are busy, and trouble is between them."""

PATIENCE_S = (0.01, 0.1, 0.5, 2.0)
QUICK_PATIENCE_S = (0.0, 0.05, 0.3)
"""Beyond the slowest way there and back: how long a node waits for the store, and for a node."""

LATENCIES_MS = ((0.2, 1.0), (0.5, 5.0), (1.0, 40.0), (5.0, 200.0))


KEYS_SHARED = 6
"""Keyed requests draw their key from so few, so that keys are repeated."""


class Network(NamedTuple):
    """How likely a message meets which fate; times one way."""

    latency_ms: tuple[float, float]
    attempt_s: float
    """After so long without a reply, a node takes it for lost."""
    refused: float
    request_lost: float
    reply_lost: float
    late: float
    twice: float
    late_s_max: float


class Bounds(NamedTuple):
    """Fixed bounds of the product, small ones to meet them."""

    catch_up_max: int
    catch_up_page: int
    freed_remembered_max: int
    runs_remembered_max: int
    recent_max: int
    asks_max: int
    guests_max: int
    avoided_s: float
    trusted_s: float
    waits_s: float


class Reserving(NamedTuple):
    """What reservations there are, and how the nodes look for those whose time is over."""

    reservations: int = 0
    voids: bool = False
    lasts_s: int = 1
    expires_every_ms: int = 1_000
    hasty_ms: int = 0
    """A node looks so far ahead: as one whose clock goes back right after it has looked."""
    keyed: float = 0.0


class Operating(NamedTuple):
    """What operators do: acts of one or two of them, and whether one closes the counter."""

    acts: int = 0
    closes: bool = False
    keyed: float = 0.0
    wild: float = 0.0


class Settings(NamedTuple):
    """What holds for one schedule. Shares and rates are from 0 to 1."""

    nodes: int
    length_ms: int
    requests: int
    network: Network
    between_nodes: Network

    # The product's own settings, small ones to meet their limits.
    start: int
    series_length: int
    deadline_s: float
    queue_max: int
    operations_max: int
    entry_bytes_max: int
    batch_max: int
    bounds: Bounds

    # What clients do.
    in_bursts: float
    in_rushes: float
    """How much comes at all nodes at about the same time."""
    rush_ms: int
    at_favourite: float
    quantity_max: int
    keyed: float
    repeats: float
    releases: float
    wild: float
    at_once: float
    leaving: float
    resets: float

    # What goes wrong.
    crashes: float
    stops: float
    pauses: float
    clock_jumps: float
    cuts: float
    cuts_between: float
    at_the_turn: float
    """How many of the faults of nodes strike the one that commits for the others."""
    full: float
    compactions: float
    trims: float
    restores: bool
    restarts: float
    """How many nodes are started anew when the store is restored."""
    reserving: Reserving = Reserving()
    operating: Operating = Operating()


def draw_settings(chance: random.Random) -> Settings:
    """Return the settings of one schedule."""

    def one_of(*values: float) -> float:
        return chance.choice(values)

    def whole(*values: int) -> int:
        return chance.choice(values)

    def steps() -> float:
        return chance.choice(RATES_OF_STEPS)

    network = _draw_network(chance, chance.choice(LATENCIES_MS), PATIENCE_S)
    settings = Settings(
        nodes=whole(1, 2, 2, 3, 3, 4, 4),
        length_ms=whole(50, 500, 2_000, 10_000),
        requests=whole(4, 12, 25, 40, 80, 120),
        network=network,
        between_nodes=_draw_network(chance, network.latency_ms, QUICK_PATIENCE_S),
        start=whole(1, 1, 1_000),
        series_length=whole(30, *[10**6] * 7),
        deadline_s=one_of(0.3, 1.0, 3.0, 8.0),
        queue_max=whole(5, 20_000, 20_000, 20_000),
        operations_max=whole(16, 24, 128, 128),
        entry_bytes_max=whole(4_000, 1_000_000, 1_000_000),
        batch_max=whole(1, 1, 2, 8, 1_024, 1_024),
        bounds=_draw_bounds(chance),
        in_bursts=one_of(0.0, 0.5, 1.0),
        in_rushes=one_of(0.0, 0.5, 1.0, 1.0),
        rush_ms=round(one_of(10, 50) * network.latency_ms[1]),
        at_favourite=one_of(0.0, 0.5, 0.9, 0.97),
        quantity_max=whole(1, 2, 5, 20),
        keyed=one_of(0.0, 0.2, 0.8),
        repeats=one_of(0.0, 0.5, 0.9),
        releases=one_of(0.0, 0.2, 0.5),
        wild=one_of(0.0, 0.1, 0.4),
        at_once=one_of(0.0, 0.0, 0.3),
        leaving=one_of(0.0, 0.2, 0.6),
        resets=one_of(0.0, 0.0, 0.0, 0.0, 0.05),
        crashes=steps(),
        stops=steps(),
        pauses=steps(),
        clock_jumps=steps(),
        cuts=steps(),
        cuts_between=steps(),
        at_the_turn=one_of(0.0, 0.5, 0.9),
        full=one_of(0.0, 0.0, 0.0, 0.3),
        compactions=steps(),
        trims=one_of(0.0, 0.0, 0.5, 1.0),
        restores=chance.random() < 0.1,  # noqa: PLR2004 - one in ten
        restarts=one_of(0.0, 0.3, 0.7),
    )
    return _contended(chance, settings) if chance.random() < CONTENDED else settings


def draw_reserving(chance: random.Random) -> Reserving:
    """Return what reservations there are in one schedule: none in every second one."""
    return Reserving(
        reservations=chance.choice((0, 0, 0, 4, 8, 16)),
        voids=chance.choice((False, True)),
        lasts_s=chance.choice((1, 1, 2, 600)),
        expires_every_ms=chance.choice((200, 1_000, 1_000)),
        hasty_ms=chance.choice((0, 0, 3_000)),
        keyed=chance.choice((0.0, 0.5)),
    )


def _contended(chance: random.Random, settings: Settings) -> Settings:
    """Return settings with which one node commits for all, most of the time.

    Batches between nodes meet what else is drawn for messages to the store, which is quiet or
    nearly so: whatever troubles the store, hands the turn on and ends what is to be looked at.
    """
    rate = chance.choice((0.0, 0.0, 0.05))
    quiet = dict.fromkeys(("refused", "request_lost", "reply_lost", "late", "twice"), rate)
    return settings._replace(
        nodes=chance.choice((3, 4)),
        length_ms=chance.choice((500, 2_000)),
        requests=chance.choice((80, 160)),
        network=settings.network._replace(latency_ms=chance.choice(LATENCIES_MS[1:3]), **quiet),
        between_nodes=settings.between_nodes._replace(
            latency_ms=chance.choice(LATENCIES_MS[:2]),
            attempt_s=chance.choice((0.02, 0.1, 0.3)),
            late_s_max=chance.choice((0.05, 0.5)),
        ),
        in_rushes=1.0,
        rush_ms=chance.choice((100, 400)),
        series_length=chance.choice((40, 10**6, 10**6)),
        leaving=chance.choice((0.0, 0.2, 0.6)),
        deadline_s=chance.choice((0.3, 3.0, 8.0)),
        queue_max=20_000,
        cuts=chance.choice((0.0, 0.0, 0.2)),
        full=0.0,
    )


def _draw_bounds(chance: random.Random) -> Bounds:
    return Bounds(
        catch_up_max=chance.choice((3, 12, 256, 256, 256)),
        catch_up_page=chance.choice((1, 2, 16)),
        freed_remembered_max=chance.choice((1, 3, 65_536)),
        runs_remembered_max=chance.choice((1, 2, 1_024, 1_024)),
        recent_max=chance.choice((1, 2, 16, 16)),
        asks_max=chance.choice((1, 3, 256, 256)),
        guests_max=chance.choice((1, 64, 64, 64)),
        avoided_s=chance.choice((0.0, 0.05, 1.0)),
        trusted_s=chance.choice((0.1, 1.0, 10.0)),
        waits_s=chance.choice((0.0, 0.003, 0.05)),
    )


def _draw_network(
    chance: random.Random, latency_ms: tuple[float, float], patience_s: tuple[float, ...]
) -> Network:
    def rate() -> float:
        return chance.choice(RATES_OF_FAULTS)

    there_and_back_s = 2 * latency_ms[1] / 1_000
    return Network(
        latency_ms=latency_ms,
        attempt_s=there_and_back_s + chance.choice(patience_s),
        refused=rate(),
        request_lost=rate(),
        reply_lost=rate(),
        late=rate(),
        twice=rate(),
        late_s_max=chance.choice((0.05, 1.0, 8.0)),
    )
