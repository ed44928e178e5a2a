"""Prometheus metrics of one node, under the names of the reference system."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from coordinator.core.head import Head
from coordinator.core.ledger import Entry, Issued, Reused
from coordinator.sequencer import Watcher

_WAIT_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class Metrics:
    """What this node counts. Never read by a decision."""

    def __init__(self, max_value: int) -> None:
        self._max_value = max_value
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._issued = Counter(
            "numbering_sequences",
            "Numbers issued through this node",
            ("site", "partition", "invoice_type"),
            registry=self._registry,
        )
        self._reused = Counter(
            "numbering_gaps_reused", "Gaps issued again through this node", registry=self._registry
        )
        self._current = Gauge(
            "numbering_sequence_current",
            "Highest number ever issued, as this node last committed it",
            ("counter",),
            registry=self._registry,
        )
        self._utilization = Gauge(
            "numbering_sequence_utilization",
            "Share of the series used up, 0 to 1",
            ("counter",),
            registry=self._registry,
        )
        self._wait = Histogram(
            "numbering_lock_wait_seconds",
            "Time a request waits for its commit",
            buckets=_WAIT_BUCKETS_S,
            registry=self._registry,
        )
        self._batches = Counter(
            "numbering_batches", "Transactions committed by this node", registry=self._registry
        )
        self._lost = Counter(
            "numbering_lock_failures",
            "Compares lost to another node, and planned again",
            registry=self._registry,
        )
        self._overrides = Counter(
            "numbering_manual_overrides", "Numbers set by hand", registry=self._registry
        )
        self._errors = Counter(
            "numbering_errors", "Requests refused, by code", ("code",), registry=self._registry
        )

    def watcher(self, counter: str) -> Watcher:
        """Return what the sequencer of this counter reports to."""
        current = self._current.labels(counter)
        utilization = self._utilization.labels(counter)

        def answered(waits_us: list[int]) -> None:
            observe = self._wait.observe
            for wait_us in waits_us:
                observe(wait_us / 1_000_000)

        def committed(entry: Entry) -> None:
            self._batches.inc()
            issued: dict[tuple[str, str, str | None], int] = {}
            highest, reused = 0, list[Reused]()
            for record in entry.records:
                if isinstance(record, Issued):
                    name = record.cause.origin[:3]
                    issued[name] = issued.get(name, 0) + record.quantity
                    highest = record.first + record.fresh - 1
                    reused += record.reused
            for name, quantity in issued.items():
                self._issued.labels(*name).inc(quantity)
            if reused:
                self._reused.inc(len(reused))
            if issued:
                current.set(highest)
                utilization.set(highest / self._max_value)

        return Watcher(answered, committed, self._lost.inc)

    def saw(self, counter: str, head: Head | None) -> None:
        """Take over what a read of the store showed."""
        if head is not None:
            self._current.labels(counter).set(head.highest)
            self._utilization.labels(counter).set(head.highest / self._max_value)

    def refused(self, code: str) -> None:
        """Count a refusal."""
        self._errors.labels(code).inc()

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)
