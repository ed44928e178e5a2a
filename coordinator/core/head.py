"""The head: the counter's one key that every change compares and rewrites.

It holds what must be exact at every moment (next number, ledger index, tip of the hash chain) and
the totals that statistics show, so that every node answers the same from one read.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

from coordinator.core.ledger import NO_HASH
from coordinator.core.records import (
    Closed,
    Entry,
    Imported,
    Issued,
    Latency,
    LossAccepted,
    Origin,
    Part,
    Passed,
    Released,
    Restarted,
    Settled,
    Trimmed,
    Voided,
    voids_of,
)
from coordinator.core.unreadable import Unreadable, digest_of_entry, moment, text, whole

CLOCKS_DIFFER_S_MAX = 60
"""Nodes' clocks may differ by so much; a second further in the future was a clock that jumped."""


class Rate(NamedTuple):
    """Requests committed in one second of the wall clock and in the second before it."""

    second: int = 0
    requests: int = 0
    before: int = 0

    def add(self, requests: int, second: int) -> "Rate":
        """Count requests; a clock that steps back counts into the second already open."""
        if self.second - CLOCKS_DIFFER_S_MAX < second <= self.second:
            return self._replace(requests=self.requests + requests)
        return Rate(second, requests, self.requests if second == self.second + 1 else 0)

    def per_second(self, second: int) -> int:
        """Return the requests of the last whole second, seen from ``second``."""
        if second <= self.second:
            return self.before
        return self.requests if second == self.second + 1 else 0


@dataclass(frozen=True, slots=True)
class Head:
    """A counter after its newest entry. ``next`` is the next fresh number; ``tip`` its hash.

    ``since`` is the entry before which nothing counts any more (a reset), 0 without one.
    ``trimmed`` is the newest entry that has left the store, 0 without one; numbers from ``kept``
    on were first issued by entries that are there.
    ``held`` of the issued numbers are only reserved, ``void`` ones will never be issued again.
    ``closed`` is the entry after which no number goes out any more, 0 while they do.
    ``counts`` are issued numbers by ``site:partition:type``. Totals count numbers, but for
    ``requests`` and ``keyed``, which count calls.
    """

    start: int
    next: int
    index: int = 0
    tip: str = NO_HASH
    since: int = 0
    trimmed: int = 0
    kept: int = 0
    gaps: int = 0
    held: int = 0
    void: int = 0
    closed: int = 0
    issued: int = 0
    released: int = 0
    reused: int = 0
    requests: int = 0
    keyed: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    latency: Latency = Latency()  # noqa: RUF009 - immutable
    rate: Rate = Rate()  # noqa: RUF009 - immutable
    longest_gap_ms: int = 0
    changed_ms: int = 0

    @property
    def highest(self) -> int:
        """Return the highest number ever issued; one below the start when there is none."""
        return self.next - 1


def encode(head: Head) -> bytes:
    """Return the head's bytes for the store."""
    content = orjson.dumps(head, default=list)
    return bytes(memoryview(content))  # orjson's takes 8 KB, and each replica keeps one


def decode(content: bytes) -> Head:
    """Return the head that these bytes hold. Raises Unreadable when they hold none."""
    try:
        fields = orjson.loads(content)
        counts = {text(name): whole(issued) for name, issued in fields.pop("counts").items()}
        tip = digest_of_entry(fields.pop("tip"))
        latency = Latency(*map(whole, fields.pop("latency")))
        rate = Rate(*map(whole, fields.pop("rate")))
        moment(fields["changed_ms"])
        numbers = {name: whole(number) for name, number in fields.items()}
        return Head(tip=tip, counts=counts, latency=latency, rate=rate, **numbers)
    except (ValueError, TypeError, KeyError, AttributeError) as broken:
        raise Unreadable(f"the head: {broken}") from broken


def advance(head: Head, entry: Entry, tip: str) -> Head:
    """Return the head after one more entry. Reads only its arguments, changes none."""
    next_number, gaps, trimmed, kept = head.next, head.gaps, head.trimmed, head.kept
    held, void, closed = head.held, head.void, head.closed
    released, reused = head.released, head.reused
    requests, keyed, longest_gap_ms = head.requests, head.keyed, head.longest_gap_ms
    issued_to: dict[Origin, int] = {}
    for record in entry.records:
        requests += 1
        keyed += record.cause.key is not None
        match record:
            case Issued():
                origin = record.cause.origin
                issued_to[origin] = issued_to.get(origin, 0) + record.quantity
                next_number = record.first + record.fresh
                held += record.held is not None
                if record.reused:
                    gaps -= record.quantity_reused
                    reused += record.quantity_reused
                    oldest_ms = min(gap.released_ms for gap in record.reused)
                    longest_gap_ms = max(longest_gap_ms, entry.time_ms - oldest_ms)
            case Closed():
                closed = entry.index
            case Trimmed(_, through, _, following, _):
                trimmed = through
                kept = following if through >= head.since else head.start
            case Restarted():
                return _restarted(head, entry, tip)
            case _:
                effect = _effect_of(record)
                next_number = max(next_number, effect.next)
                released, gaps = released + effect.freed, gaps + effect.freed
                held, void = held - effect.settled, void + effect.void
                if effect.imported:
                    origin = record.cause.origin
                    issued_to[origin] = issued_to.get(origin, 0) + effect.imported
    return Head(
        start=head.start,
        next=next_number,
        index=entry.index,
        tip=tip,
        since=head.since,
        trimmed=trimmed,
        kept=kept,
        gaps=gaps,
        held=held,
        void=void,
        closed=closed,
        issued=head.issued + sum(issued_to.values()),
        released=released,
        reused=reused,
        requests=requests,
        keyed=keyed,
        counts=_count(head.counts, issued_to),
        latency=_add(head.latency, entry.parts),
        rate=head.rate.add(len(entry.records), entry.time_ms // 1000),
        longest_gap_ms=longest_gap_ms,
        changed_ms=max(head.changed_ms, entry.time_ms),
    )


class _Effect(NamedTuple):
    """What a record adds to the totals of a head; ``next`` is the next number that it leads to."""

    freed: int = 0
    settled: int = 0
    void: int = 0
    imported: int = 0
    next: int = 0


def _effect_of(record: Released | Settled | Passed | Voided | Imported | LossAccepted) -> _Effect:
    void = sum(quantity for _, quantity in voids_of(record))
    match record:
        case Released():
            return _Effect(freed=1)
        case Settled():
            return _Effect(freed=int(record.frees), settled=1, void=void)
        case Passed(_, first, quantity):
            return _Effect(void=void, next=first + quantity)
        case Voided():
            return _Effect(void=void)
        case Imported():
            return _Effect(void=void, imported=record.quantity, next=record.next)
        case LossAccepted():
            return _Effect()  # no number moves


def _restarted(head: Head, entry: Entry, tip: str) -> Head:
    return Head(
        start=head.start,
        next=head.start,
        index=entry.index,
        tip=tip,
        since=entry.index,
        trimmed=head.trimmed,
        changed_ms=entry.time_ms,
    )


def _count(before: dict[str, int], issued_to: dict[Origin, int]) -> dict[str, int]:
    counts = dict(before)
    for origin, quantity in issued_to.items():
        name = f"{origin.site}:{origin.partition}:{origin.invoice_type}"
        counts[name] = counts.get(name, 0) + quantity
    return counts


def _add(before: Latency, parts: tuple[Part, ...]) -> Latency:
    answers, total_us, peak_us = before
    for part in parts:
        answers += part.latency.answers
        total_us += part.latency.total_us
        peak_us = max(peak_us, part.latency.peak_us)
    return Latency(answers, total_us, peak_us)
