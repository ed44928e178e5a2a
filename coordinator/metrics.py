"""Prometheus metrics of one node, under the names of the reference system."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Metric,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from coordinator.core.catalogue import SERIES_MAX
from coordinator.core.documents import is_of_documents
from coordinator.core.head import Head
from coordinator.core.records import Entry, Given, How, Issued, Record, Settled
from coordinator.gauges import SequenceGauges
from coordinator.latencies import Latencies
from coordinator.service import Watcher
from coordinator.store.members import Member

COUNTERS_SHOWN_MAX = 256
"""Each has gauges of its own; more would make ``/metrics`` large and slow."""

PLACES_SHOWN_MAX = 1_024
TYPES_SHOWN_MAX = SERIES_MAX
OTHER = "other"

_WAIT_BUCKETS_US = tuple(
    step * unit for unit in (1_000, 10_000, 100_000, 1_000_000) for step in (1, 2, 5)
)


class Reserved(NamedTuple):
    """Numbers of documents that are reserved now, and those that are void for ever."""

    open: int = 0
    void: int = 0

    def plus(self, other: "Reserved") -> "Reserved":
        """Return both together."""
        return Reserved(self.open + other.open, self.void + other.void)


class _Waits(Collector):
    """A histogram that takes a whole batch at once: it stands in the path of every request."""

    def __init__(self) -> None:
        self._counts = [0] * (len(_WAIT_BUCKETS_US) + 1)
        self._total_us = 0

    def answered(self, waits_us: list[int]) -> None:
        for wait_us in waits_us:
            self._counts[bisect_left(_WAIT_BUCKETS_US, wait_us)] += 1
        self._total_us += sum(waits_us)

    def collect(self) -> Iterator[Metric]:
        bounds = [str(bound_us / 1_000_000) for bound_us in _WAIT_BUCKETS_US] + ["+Inf"]
        buckets = list(zip(bounds, map(float, accumulate(self._counts)), strict=True))
        yield HistogramMetricFamily(
            "numbering_lock_wait_seconds",
            "Time a request waits for its commit",
            buckets=buckets,
            sum_value=self._total_us / 1_000_000,
        )


def _streams(registry: CollectorRegistry) -> Gauge:
    return Gauge("numbering_live_streams", "Event streams that are open", registry=registry)


class _Reservations:
    """How many there are and how they end."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._settled = Counter(
            "numbering_reservations_settled",
            "Reservations that ended through this node: confirmed, cancelled or expired",
            ("how",),
            registry=registry,
        )
        for how in How:
            self._settled.labels(how.value)
        self._open, self._void = (
            Gauge(
                f"numbering_{what}",
                f"{said}, as the node that tends them has counted within the last minutes; "
                "others show none",
                ("document_type",),
                registry=registry,
            )
            for what, said in (
                ("reservations_open", "Numbers reserved"),
                ("voids", "Numbers that will never be issued again"),
            )
        )

    def settled(self, how: How) -> None:
        self._settled.labels(how.value).inc()

    def saw(self, by_type: dict[str, Reserved]) -> None:
        self._open.clear()
        self._void.clear()
        for document_type, seen in by_type.items():
            self._open.labels(document_type).set(seen.open)
            self._void.labels(document_type).set(seen.void)


class _Imports:
    """What files have brought in, by document type: only types of the catalogue are named."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._types: set[str] = set()
        self._rows = Counter(
            "numbering_imported_rows",
            "Rows of files that this node has imported: numbers issued elsewhere",
            ("document_type",),
            registry=registry,
        )
        self._refused = Counter(
            "numbering_imports_refused",
            "Files that this node has refused to import, once for each type of which they have "
            f"numbers ({OTHER!r} for files of which no row can be taken)",
            ("document_type",),
            registry=registry,
        )

    def imported(self, rows: Mapping[str, int]) -> None:
        for document_type, many in rows.items():
            self._rows.labels(self._label(document_type)).inc(many)

    def refused(self, document_types: Iterable[str]) -> None:
        for label in {self._label(each) for each in document_types} or {OTHER}:
            self._refused.labels(label).inc()

    def _label(self, document_type: str) -> str:
        if document_type not in self._types and len(self._types) >= TYPES_SHOWN_MAX:
            return OTHER
        self._types.add(document_type)
        return document_type


class Metrics:
    """What this node counts. Never read by a decision."""

    def __init__(
        self, max_value: int, counters: tuple[str, ...], series: str = "invoice", start: int = 1
    ) -> None:
        self.latencies = Latencies()
        self.shown = counters[:COUNTERS_SHOWN_MAX]
        """The counters that have gauges."""
        self._places: set[tuple[str, str, str | None]] = set()
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._issued = Counter(
            "numbering_sequences",
            "Numbers issued through this node (from the first "
            f"{PLACES_SHOWN_MAX} places to ask; the others together as {OTHER!r})",
            ("site", "partition", "invoice_type"),
            registry=registry,
        )
        self._reused = Counter(
            "numbering_gaps_reused", "Gaps issued again through this node", registry=registry
        )
        self.sequences = SequenceGauges(series, max_value, start)
        self._registry.register(self.sequences)
        self._loaded = Gauge(
            "numbering_counters_loaded", "Counters in this node's memory", registry=registry
        )
        self._waits = _Waits()
        self._registry.register(self._waits)
        self._batches = Counter(
            "numbering_batches", "Transactions committed by this node", registry=registry
        )
        self._lost = Counter(
            "numbering_lock_failures",
            "Compares lost to another node, and planned again",
            registry=registry,
        )
        self._handed = Counter(
            "numbering_batches_handed_over", "Batches served by another node", registry=registry
        )
        named = ("numbering_manual_overrides", "Numbers that operators named", ("document_type",))
        self._overrides = Counter(*named, registry=registry)
        self._reservations = _Reservations(registry)
        self._imports = _Imports(registry)
        self._bytes = Gauge(
            "numbering_store_bytes",
            "Size of a member's database in etcd: all of it, and what is in use",
            ("member", "what"),
            registry=registry,
        )
        self._errors = Counter(
            "numbering_errors", "Requests refused, by code", ("code",), registry=registry
        )

    def watcher(self, counter: str) -> Watcher:
        """Return what the sequencer of this counter reports to."""
        highest_of = self.sequences.invoices if counter in self.shown else None
        is_document = is_of_documents(counter)

        def committed(entry: Entry, part: int) -> None:
            if part == 0:
                self._batches.inc()
            issued: dict[tuple[str, str, str | None], int] = {}
            highest = reused = 0
            for record in entry.records:
                if record.cause.part != part:
                    continue
                if isinstance(record, Issued):
                    name = record.cause.origin[:3]
                    issued[name] = issued.get(name, 0) + record.quantity
                    highest = record.first + record.fresh - 1
                    reused += record.quantity_reused
                if not isinstance(record, Issued) or record.given is not None:
                    self._note_rare(record)
            self._note_issued(issued, reused)
            if issued and highest_of is not None:
                highest_of[counter] = highest
            if is_document:
                self.sequences.committed(counter, entry)

        return Watcher(self._answered, committed, self._lost.inc, self._handed.inc)

    def _answered(self, waits_us: list[int]) -> None:
        self._waits.answered(waits_us)
        self.latencies.answered(waits_us)

    def _note_issued(self, issued: dict[tuple[str, str, str | None], int], reused: int) -> None:
        for name, quantity in issued.items():
            self._issued.labels(*self._place(name)).inc(quantity)
        if reused:
            self._reused.inc(reused)

    def _note_rare(self, record: Record) -> None:
        match record:
            case Settled(how=how):
                self._reservations.settled(how)
            case Issued(given=Given(replaces=0)):
                self._overrides.labels(record.cause.origin.invoice_type).inc()
            case _:
                pass

    def _place(self, name: tuple[str, str, str | None]) -> tuple[str, str, str | None]:
        if name not in self._places:
            if len(self._places) >= PLACES_SHOWN_MAX:
                return (OTHER, OTHER, name[2])
            self._places.add(name)
        return name

    def saw(self, counter: str, head: Head | None) -> None:
        """Take over what a read of the store showed of a counter that has gauges."""
        if head is not None:
            self.sequences.invoices[counter] = head.highest

    def saw_reserved(self, by_type: dict[str, Reserved]) -> None:
        """Take over what there is by document type; nothing when another node counts."""
        self._reservations.saw(by_type)

    def saw_loaded(self, counters: int) -> None:
        """Take over how many counters are in memory."""
        self._loaded.set(counters)

    def saw_members(self, members: dict[str, Member | None]) -> None:
        """Take over how large the members' databases are."""
        for url, member in members.items():
            if member is not None:
                self._bytes.labels(url, "all").set(member.bytes)
                self._bytes.labels(url, "used").set(member.bytes_used)

    def show_streams(self, streams: Callable[[], int]) -> None:
        """Let the number of open event streams be asked here."""
        _streams(self._registry).set_function(streams)

    def imported(self, rows: Mapping[str, int], highest: Mapping[str, int]) -> None:
        """Count the rows of a file that came in, by document type.

        ``highest`` are the highest numbers of its counters: no sequencer tells of them.
        """
        self._imports.imported(rows)
        for counter, number in highest.items():
            if is_of_documents(counter):
                self.sequences.came_to(counter, number)

    def import_refused(self, document_types: Iterable[str]) -> None:
        """Count a file that was refused, and has numbers of these types."""
        self._imports.refused(document_types)

    def refused(self, code: str) -> None:
        """Count a refusal."""
        self._errors.labels(code).inc()

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)
