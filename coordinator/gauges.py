"""How far counters have come and how full they are, for Prometheus.

Whoever commits only notes a number in a dictionary; the rest is worked out when somebody asks.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from coordinator.core.documents import counted_by
from coordinator.core.forecast import percent_used
from coordinator.core.records import Closed, Entry, Trimmed, Voided, next_after

SHOWN_MAX = 256
"""Counters of documents with a line of their own; more would make ``/metrics`` large and slow."""

KNOWN_MAX = 10_000
"""Counters of documents that are remembered for the fullest of each series: about 2 MB."""


class SequenceGauges(Collector):
    """The highest number of each counter, and how full the fullest of each series is."""

    def __init__(self, series: str, max_value: int, start: int) -> None:
        self._series = series
        self._start = start
        self.invoices: dict[str, int] = {}
        """The highest number by counter of the default series."""
        self._documents: OrderedDict[str, int] = OrderedDict()
        self._bounds: Mapping[str, tuple[int, int]] = {}
        self._max_value = max_value

    def committed(self, counter: str, entry: Entry) -> None:
        """Take what an entry did to a counter of documents.

        One that is closed gives out nothing any more, so how full it is worries nobody. What can
        still happen to it makes none of a counter that is not known to be open.
        """
        if any(isinstance(record, Closed) for record in entry.records):
            self.closed(counter)
            return
        is_known = counter in self._documents
        if is_known or not all(isinstance(record, Voided | Trimmed) for record in entry.records):
            self.came_to(counter, next_after(entry) - 1)

    def closed(self, counter: str) -> None:
        """Forget a counter that gives out nothing any more."""
        self._documents.pop(counter, None)

    def came_to(self, counter: str, highest: int) -> None:
        """Take the highest number of an open counter of documents."""
        self._documents[counter] = highest
        self._documents.move_to_end(counter)
        if len(self._documents) > KNOWN_MAX:
            self._documents.popitem(last=False)

    def defined(self, bounds: Mapping[str, tuple[int, int]]) -> None:
        """Take over the first and the largest number of each series of documents."""
        self._bounds = bounds

    def collect(self) -> Iterator[Metric]:
        """Yield both metrics."""
        current = GaugeMetricFamily(
            "numbering_sequence_current",
            "Highest number of a counter, as this node last committed it (of documents, those "
            f"{SHOWN_MAX} counters in which it did so last, since it started)",
            labels=("counter", "document_type", "scope"),
        )
        for counter, highest in self.invoices.items():
            current.add_metric((counter, self._series, ""), highest)
        for counter, highest in list(reversed(self._documents.items()))[:SHOWN_MAX]:
            _, document_type, *scope = counter.split("/", 2)
            current.add_metric((counter, document_type, *(scope or ("",))), highest)
        yield current
        utilization = GaugeMetricFamily(
            "numbering_sequence_utilization",
            "Percent of its numbers that the fullest counter of a series has used up, of the "
            "counters in which this node has committed",
            labels=("document_type",),
        )
        for document_type, used in self._utilization().items():
            utilization.add_metric((document_type,), used)
        yield utilization

    def _utilization(self) -> dict[str, float]:
        shares = {document_type: used for document_type, (used, _) in self._fullest().items()}
        if self.invoices:
            highest = max(self.invoices.values())
            shares[self._series] = percent_used(highest, self._start, self._max_value)
        return shares

    def fullest(self) -> list[str]:
        """Return the fullest counter of each series of documents, as far as this node knows."""
        return [counter for _, counter in self._fullest().values()]

    def _fullest(self) -> dict[str, tuple[float, str]]:
        """Return how full the fullest counter of each type is, and which it is."""
        fullest: dict[str, tuple[float, str]] = {}
        for counter, highest in self._documents.items():
            counted = counted_by(counter)
            if counted is not None and counted.document_type in self._bounds:
                used = percent_used(highest, *self._bounds[counted.document_type])
                before = fullest.get(counted.document_type, (0.0, counter))
                fullest[counted.document_type] = max(before, (used, counter))
        return fullest
