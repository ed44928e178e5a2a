"""The cost curve: what more connections bring, and more nodes at the same connections."""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from bench.contenders import loaded_node, nodes_on
from bench.servers import three_members

if TYPE_CHECKING:
    from bench.contenders import Measure
    from bench.lab import Lab
    from bench.loads import Sample

CONNECTIONS = (1, 4, 16, 64, 256)
NODES = {1: "one node", 2: "two nodes", 4: "four nodes"}
ROUNDS_MAX = 2
SHARE = 0.6
"""Of the usual length of a sample: there are many, and no ratio hangs on them."""

TABLE = "cost curve (milliseconds; closed loop)"
WARM_UP_SECONDS = 1.0
PAUSE_SECONDS = 0.2


def samples_of(lab: Lab) -> int:
    """Return how many samples the curve takes."""
    return min(ROUNDS_MAX, lab.rounds) * (len(CONNECTIONS) + len(NODES))


def curve(lab: Lab) -> None:
    """Measure small samples of each point, in turns, and lay them out as one table."""
    found: dict[str, list[Sample]] = {}
    with loaded_node(lab, "cost curve, one node") as load:
        load(WARM_UP_SECONDS, lab.connections)
        _in_turns(
            lab,
            found,
            {
                f"one node, one member, {many} connection{'s'[: many > 1]}": (
                    lambda seconds, many=many: load(seconds, many)  # type: ignore[misc]
                )
                for many in CONNECTIONS
            },
        )
    with ExitStack() as stack:
        members = stack.enter_context(three_members(lab))
        measures = {
            f"{named}, three members, {lab.connections} connections": (
                stack.enter_context(
                    nodes_on(lab, members, count, f"cost curve, {named}, three members")
                )
            )
            for count, named in NODES.items()
        }
        for measure in measures.values():
            measure(WARM_UP_SECONDS)
        _in_turns(lab, found, measures)
    lab.tables[TABLE] = [_row(name, samples) for name, samples in found.items()]


def _in_turns(lab: Lab, found: dict[str, list[Sample]], measures: dict[str, Measure]) -> None:
    for _ in range(min(ROUNDS_MAX, lab.rounds)):
        for name, measure in measures.items():
            time.sleep(PAUSE_SECONDS)  # what the last load left comes to its end
            sample = measure(lab.seconds * SHARE)
            found.setdefault(name, []).append(sample)
            said = f"{sample.per_second:9,.0f}/s  p50 {sample.p50_ms:.2f} ms"
            lab.progress.sampled("curve", f"{name:47} {said}  p99 {sample.p99_ms:.2f} ms")


def _row(name: str, samples: list[Sample]) -> dict[str, str | float]:
    """Return medians over the rounds; a fact that was not counted is left out."""
    row: dict[str, str | float] = {
        "load": name,
        "per second": statistics.median(sample.per_second for sample in samples),
        "p50": statistics.median(sample.p50_ms for sample in samples),
        "p99": statistics.median(sample.p99_ms for sample in samples),
    }
    for fact in {name: None for sample in samples for name in sample.facts}:
        row[fact] = statistics.median(s.facts[fact] for s in samples if fact in s.facts)
    return row
