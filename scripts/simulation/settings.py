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

LATENCIES_MS = ((0.2, 1.0), (0.5, 5.0), (1.0, 40.0), (5.0, 200.0))


class Network(NamedTuple):
    """How likely a message between a node and the store meets which fate; times one way."""

    latency_ms: tuple[float, float]
    attempt_s: float
    """After so long without a reply, a node takes it for lost."""
    refused: float
    request_lost: float
    reply_lost: float
    late: float
    twice: float
    late_s_max: float


class Settings(NamedTuple):
    """What holds for one schedule. Shares and rates are from 0 to 1."""

    nodes: int
    length_ms: int
    requests: int
    network: Network

    # The product's own settings, small ones to meet their limits.
    start: int
    series_length: int
    deadline_s: float
    queue_max: int
    operations_max: int
    entry_bytes_max: int
    batch_max: int
    catch_up_max: int
    catch_up_page: int
    freed_remembered_max: int

    # What clients do.
    in_bursts: float
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
    full: float
    compactions: float
    trims: float
    restores: bool


def draw_settings(chance: random.Random) -> Settings:
    """Return the settings of one schedule."""

    def one_of(*values: float) -> float:
        return chance.choice(values)

    def whole(*values: int) -> int:
        return chance.choice(values)

    def steps() -> float:
        return chance.choice(RATES_OF_STEPS)

    return Settings(
        nodes=whole(1, 2, 2, 3, 3, 4),
        length_ms=whole(50, 500, 2_000, 10_000),
        requests=whole(4, 12, 25, 40, 80, 120),
        network=_draw_network(chance),
        start=whole(1, 1, 1_000),
        series_length=whole(30, *[10**6] * 7),
        deadline_s=one_of(0.3, 1.0, 3.0, 8.0),
        queue_max=whole(5, 20_000, 20_000, 20_000),
        operations_max=whole(16, 24, 128, 128),
        entry_bytes_max=whole(4_000, 1_000_000, 1_000_000),
        batch_max=whole(1, 1, 2, 8, 1_024, 1_024),
        catch_up_max=whole(3, 12, 256, 256, 256),
        catch_up_page=whole(1, 2, 16),
        freed_remembered_max=whole(1, 3, 65_536),
        in_bursts=one_of(0.0, 0.5, 1.0),
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
        full=one_of(0.0, 0.0, 0.0, 0.3),
        compactions=steps(),
        trims=one_of(0.0, 0.0, 0.5, 1.0),
        restores=chance.random() < 0.05,  # noqa: PLR2004 - one in twenty
    )


def _draw_network(chance: random.Random) -> Network:
    def rate() -> float:
        return chance.choice(RATES_OF_FAULTS)

    latency_ms = chance.choice(LATENCIES_MS)
    there_and_back_s = 2 * latency_ms[1] / 1_000
    return Network(
        latency_ms=latency_ms,
        attempt_s=there_and_back_s + chance.choice((0.01, 0.1, 0.5, 2.0)),
        refused=rate(),
        request_lost=rate(),
        reply_lost=rate(),
        late=rate(),
        twice=rate(),
        late_s_max=chance.choice((0.05, 1.0, 8.0)),
    )
