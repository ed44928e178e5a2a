"""The contract's statistics: totals, rates and the state of the cluster, of one snapshot."""

from collections import Counter
from typing import Any

from coordinator.api.answers import iso
from coordinator.config import Settings
from coordinator.core.head import Head
from coordinator.overview import CounterSeen, NodeSeen, Overview

OF_DOCUMENTS = "documents"
"""Where numbers went that no site has asked for: those of documents."""


def statistics(seen: Overview, settings: Settings, now_ms: int) -> dict[str, Any]:
    """Return the contract's statistics of one snapshot."""
    heads = [counter.head for counter in seen.counters if counter.head is not None]
    latency = [head.latency for head in heads]
    answers = sum(each.answers for each in latency)
    released, reused = sum(h.released for h in heads), sum(h.reused for h in heads)
    issued, gaps = sum(h.issued for h in heads), sum(h.gaps for h in heads)
    highest = max((h.highest for h in heads), default=settings.first_number - 1)
    last_ms = max((h.changed_ms for h in heads), default=0)
    body = {
        "currentCounter": highest,
        "totalGenerated": issued,
        "totalReleased": released,
        "availableGaps": gaps,
        "nextAvailableGap": lowest_gap(seen),
        "averageLatencyMs": sum(each.total_us for each in latency) / max(1, answers) / 1000,
        "peakLatencyMs": max((each.peak_us for each in latency), default=0) / 1000,
        "requestsPerSecond": sum(h.rate.per_second(now_ms // 1000) for h in heads),
        "totalRequests": sum(h.requests for h in heads),
        "totalGapsCreated": released,
        "totalGapsRecovered": reused,
        "gapRecoveryRate": _percent(reused, released),
        "longestGapDuration": _longest_gap_ms(seen.counters, now_ms),
        "gapPercentage": _percent(gaps, sum(h.next - h.start for h in heads)),
        "activeSequences": issued - released,
        "currentStrategy": settings.strategy.value,
        "lastSequenceTime": iso(last_ms) if last_ms else None,
        "statisticsTime": iso(now_ms),
        "watermark": min(
            (c.watermark for c in seen.counters if c.watermark is not None),
            default=settings.first_number - 1,
        ),
        "openReservations": sum(h.held for h in heads),
        "voided": sum(h.void for h in heads),
        "systemHealthy": True,  # this very answer was read from a majority of the store
    }
    return body | _by_place(heads) | _of_nodes(seen.nodes, now_ms)


def _by_place(heads: list[Head]) -> dict[str, Any]:
    sites: Counter[str] = Counter()
    partitions: Counter[str] = Counter()
    types: Counter[str] = Counter()
    both: Counter[str] = Counter()
    cells: Counter[str] = Counter()
    for head in heads:
        for name, issued in head.counts.items():
            site, partition, invoice_type = (each or OF_DOCUMENTS for each in name.split(":"))
            sites[site] += issued
            partitions[partition] += issued
            types[invoice_type] += issued
            both[f"{site}:{partition}"] += issued
            cells[f"{site}:{partition}:{invoice_type}"] += issued
    return {
        "sequencesBySite": sites,
        "sequencesByPartition": partitions,
        "sequencesByInvoiceType": types,
        "sequencesBySitePartition": both,
        "sequencesBySitePartitionType": cells,
    }


def _of_nodes(nodes: tuple[NodeSeen, ...], now_ms: int) -> dict[str, Any]:
    active = [node for node in nodes if node.active]
    return {
        "activeNodes": len(active),
        "totalNodes": len(nodes),
        "primaryNode": active[0].node if active else None,
        "clusterHealthy": bool(active) and len(active) == len(nodes),
        "clusterAvailability": _percent(len(active), len(nodes)),
        "uptime": now_ms - min((node.started_ms for node in active), default=now_ms),
    }


def lowest_gap(seen: Overview) -> int:
    """Return the lowest gap of all counters; -1 when there is none."""
    return min((c.lowest_gap for c in seen.counters if c.lowest_gap is not None), default=-1)


def _longest_gap_ms(counters: tuple[CounterSeen, ...], now_ms: int) -> int:
    closed = max((c.head.longest_gap_ms for c in counters if c.head is not None), default=0)
    opened = [c.oldest_gap_ms for c in counters if c.oldest_gap_ms is not None]
    return max(closed, now_ms - min(opened, default=now_ms))


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 2) if whole else 0.0
