"""Document numbers in two steps: pairs of reserve and confirm beside single `next` calls.

Both come from the same client of ours, from as many connections, in turns, at the same node: wrk
knows no token of an earlier answer. What the client itself costs stands on both sides of the ratio.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.generator import Plan, Target
from bench.histogram import Histogram
from bench.latency import next_request
from bench.loads import Generated, Sample, generate
from bench.servers import etcd, node
from bench.tally import Tally, values_under

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from bench.lab import Lab

DOCUMENTS = "/api/v1/document-numbering"
NEXT_BESIDE = "single next calls a second beside"
PAIRS_FOR_ONE = "pairs for each next call"
COUNTERS = "c/documents%2F"


@contextmanager
def reserve_confirm(lab: Lab) -> Iterator[Callable[[float], Sample]]:
    """Measure pairs, and in the same round `next` calls, which are a fact of the sample."""
    pairs_answered, errors, is_pairs_first = 0, 0, False
    with etcd(lab) as etcd_port, node(lab, etcd_port) as (port, _pid):
        singles = Tally(lab, [port], [etcd_port])

        def next_calls(seconds: float) -> Sample:
            load = [next_request(port)] * lab.connections
            return singles.measure(lambda: _sample(_generated(lab, load, seconds)), 0)

        def pairs(seconds: float) -> Sample:
            nonlocal pairs_answered, errors
            sample = _sample(_generated(lab, [pair_of(port)] * lab.connections, seconds))
            pairs_answered += sample.done
            errors += sample.errors
            return sample

        def measure(seconds: float) -> Sample:
            """Take turns in which is first: the second one meets a warmer machine."""
            nonlocal is_pairs_first
            is_pairs_first = not is_pairs_first
            if is_pairs_first:
                mine = pairs(seconds)
                beside = next_calls(seconds)
            else:
                beside = next_calls(seconds)
                mine = pairs(seconds)
            ratio = mine.per_second / max(beside.per_second, 1e-9)
            facts = {NEXT_BESIDE: beside.per_second, PAIRS_FOR_ONE: ratio}
            return replace(mine, facts=facts)

        yield measure
        singles.verify("next beside reserve-confirm")
        _verify(lab, etcd_port, pairs_answered, errors)


def pair_of(port: int) -> Target:
    """Return what reserves a number at the node at this port, and then confirms it."""
    kind = "HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
    body = json.dumps({"document_type": "COR"})
    reserve = f"POST {DOCUMENTS}/reserve {kind}Content-Length: {len(body)}\r\n\r\n{body}"
    confirm = f"POST {DOCUMENTS}/confirm {kind.rstrip()}\r\n\r\n" + '{"token":"%s"}'
    return Target(port, reserve, confirm)


def _generated(lab: Lab, targets: list[Target], seconds: float) -> list[Generated]:
    """Load from one connection for each target, each sending when it has its answer."""
    return generate(lab, Plan("closed", tuple(targets), len(targets), seconds))


def _sample(each: Iterable[Generated]) -> Sample:
    """Return what all connections came to."""
    pooled, done, errors, seconds = Histogram(), 0, 0, 0.0
    for one in each:
        pooled.add(one.latencies)
        done, errors, seconds = done + one.answered, errors + one.errors, one.seconds
    if not pooled.total:
        pooled.record(0)  # nothing was answered: the errors say so
    return Sample(
        per_second=done / max(seconds, 1e-9),
        p50_ms=pooled.percentile_ms(50),
        p90_ms=pooled.percentile_ms(90),
        p99_ms=pooled.percentile_ms(99),
        max_ms=pooled.max_us / 1e3,
        mean_ms=pooled.mean_us / 1e3,
        done=done,
        errors=errors,
    )


def _verify(lab: Lab, etcd_port: int, answered: int, errors: int) -> None:
    """Compare with the store, by a replay that shares nothing with the product.

    The client leaves no pair half done, so nothing may be between.
    """
    reserved: Counter[str] = Counter()
    settled: Counter[str] = Counter()
    numbers: dict[str, list[int]] = {}
    held = 0
    for key, value in values_under(etcd_port, f"/sequence/{COUNTERS}"):
        counter, _, kind = key.removeprefix(f"/sequence/{COUNTERS}").partition("/")
        held += kind.startswith("held/")
        if not kind.startswith("entry/"):
            continue
        for record in json.loads(value)["r"]:
            if record["o"] == "issue" and "x" in record:
                reserved[record["x"][0]] += 1
                numbers.setdefault(counter, []).append(record["f"])
            elif record["o"] == "settle" and record["s"] == "confirmed":
                settled[record["x"][0]] += 1
    confirmed = settled.total()
    is_once = reserved == settled and set(settled.values()) <= {1}
    whole = all(sorted(some) == list(range(1, len(some) + 1)) for some in numbers.values())
    lab.check(
        "reserve-confirm: the store holds what was answered, and nothing else",
        f"answered {answered:,} pairs, {confirmed:,} reserved once and confirmed once: {is_once}; "
        f"numbers without a hole: {whole}; {held} blocks held",
        ok=answered == confirmed and is_once and whole and not held,
    )
    lab.check("reserve-confirm: no request failed", f"{errors} errors", ok=errors == 0)
