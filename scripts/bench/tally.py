"""The account of a load on nodes: what was answered, what it cost in etcd, whether it is true."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.lab import BenchError, Lab, Reading, get, get_json, post_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.loads import Sample

NEXT = "/api/v1/sequence/next?siteId=site-1&partitionId=partition-a&invoiceType=on-cycle"
POST_NEXT = "/api/v1/sequence/next"
STATS = "/api/v1/sequence/stats"
VALIDATE = "/api/v1/sequence/validate"
PAGE = 200  # entries in one read; those of bulk requests are small, too

TRANSACTIONS = "transactions for 1,000 numbers"
WRITTEN = "bytes written for a number"
GROWTH = "bytes of database for a number"
LOST = "compares lost, %"


class Tally:
    """Loads nodes, and knows between which bounds their counter must then be.

    `each` is how many numbers one request takes. All nodes work on the counter whose keys begin
    with `root`, in the etcd members at `etcd_ports`.
    """

    def __init__(
        self,
        lab: Lab,
        nodes: Sequence[int],
        etcd_ports: Sequence[int],
        root: str = "/sequence/",
        each: int = 1,
    ) -> None:
        self._lab, self._nodes, self._etcd_ports = lab, nodes, etcd_ports
        self._root, self._each = root, each
        self._answered, self._in_flight, self._errors = 0, 0, 0

    def measure(self, load: Callable[[], Sample], connections: int) -> Sample:
        """Load the nodes for one round; its facts tell what it cost in etcd."""
        before = self._counted()
        sample = load()
        after = self._counted()
        self._answered += sample.done * self._each
        self._in_flight += connections * self._each
        self._errors += sample.errors
        spent = {name: after[name] - before[name] for name in before if name in after}
        return replace(sample, facts=sample.facts | costs(spent, sample.done * self._each))

    def _counted(self) -> dict[str, float]:
        """Read the counts of all members and nodes; what a version does not count is left out.

        Every member writes everything, so bytes are the first one's; a transaction is handled by
        the one that was asked.
        """
        found: dict[str, float] = {}
        for at, port in enumerate(self._etcd_ports):
            counted = metrics(port)
            handled = sum_of(counted, "grpc_server_handled_total", 'grpc_method="Txn"')
            found["transactions"] = found.get("transactions", 0.0) + handled
            if at == 0:
                found["written"] = sum_of(counted, "etcd_debugging_mvcc_total_put_size_in_bytes")
                found["database"] = sum_of(counted, "etcd_mvcc_db_total_size_in_use_in_bytes")
        texts = [metrics(port) for port in self._nodes]
        found["batches"] = sum(sum_of(text, "numbering_batches_total") for text in texts)
        found["lost"] = sum(sum_of(text, "numbering_lock_failures_total") for text in texts)
        return found

    def verify(self, who: str) -> None:
        """Compare the counter with the answers, and have a node prove its ledger.

        wrk drops its connections when its time is over. What was being committed then is given
        back, but for answers that were on their way: at most one for each connection of each run.
        The bounds say so instead of hiding it.
        """
        try:
            stats = get_json(self._nodes[0], STATS)
            proof = get_json(self._nodes[0], VALIDATE)
            self._record_entries(who, int(stats["totalGenerated"]))
        except BenchError as error:
            self._lab.check(f"{who}: tells what it holds", str(error), ok=False)
            return
        counter, gaps = int(stats["currentCounter"]), int(stats["availableGaps"])
        held = int(stats["totalGenerated"]) - int(stats["totalReleased"])
        most = self._answered + self._in_flight
        self._lab.check(
            f"{who}: every answer is in the counter, and nothing else",
            f"answered {self._answered:,} <= held {held:,} <= {most:,} (in flight when wrk left), "
            f"currentCounter {counter:,} less {gaps:,} gaps",
            ok=self._answered <= held <= most and held == counter - gaps,
        )
        self._lab.check(f"{who}: no request failed", f"{self._errors} errors", ok=self._errors == 0)
        self._lab.check(
            f"{who}: the ledger proves it",
            str(proof.get("summary", ""))[:160],
            ok=proof["valid"] is True,
        )

    def _record_entries(self, who: str, numbers: int) -> None:
        """Record how long the ledger's entries are, for each number that was ever issued."""
        entries, size = ledger_size(self._etcd_ports[0], self._root)
        if entries and numbers:
            note = f"{entries:,} entries for {numbers:,} numbers"
            self._lab.record(
                f"ledger {who}", Reading(f"{who}: ledger", size / numbers, "bytes a number", note)
            )


def costs(spent: dict[str, float], numbers: int) -> dict[str, float]:
    """Return what numbers cost, from what was counted while so many were handed out.

    What was not counted is left out.
    """
    found: dict[str, float] = {}
    if numbers:
        columns = ((TRANSACTIONS, "transactions", 1_000), (WRITTEN, "written", 1))
        for name, counted, times in (*columns, (GROWTH, "database", 1)):
            if spent.get(counted):
                found[name] = times * spent[counted] / numbers
    tried = spent.get("batches", 0.0) + spent.get("lost", 0.0)
    if tried:
        found[LOST] = 100 * spent["lost"] / tried
    return found


def metrics(port: int) -> str:
    """Return what a server counts, in Prometheus' text format; nothing when it does not answer."""
    return get(port, "/metrics")[1].decode(errors="replace")


def sum_of(text: str, name: str, label: str = "") -> float:
    """Return the sum of all values of a metric whose labels hold this text."""
    total = 0.0
    for line in text.splitlines():
        if line.startswith((f"{name} ", f"{name}{{")) and label in line:
            total += float(line.rpartition(" ")[2])
    return total


def ledger_size(etcd_port: int, root: str) -> tuple[int, int]:
    """Return how many ledger entries there are under this prefix, and their bytes, keys included.

    Raises BenchError when etcd does not answer.
    """
    entries, size = 0, 0
    for key, value in values_under(etcd_port, f"{root}c/invoice/entry/"):
        entries, size = entries + 1, size + len(key) + len(value)
    return entries, size


def values_under(etcd_port: int, prefix: str) -> Iterator[tuple[str, bytes]]:
    """Yield each key that begins like this, and its value. Raises BenchError."""
    first = prefix.encode()
    end = first[:-1] + bytes([first[-1] + 1])
    while True:
        wanted = {"key": _base64(first), "range_end": _base64(end), "limit": str(PAGE)}
        page = post_json(etcd_port, "/v3/kv/range", wanted).get("kvs", [])
        for kv in page:
            key = base64.b64decode(kv["key"])
            yield key.decode(), base64.b64decode(kv.get("value", ""))
            first = key + b"\0"
        if len(page) < PAGE:
            return


def _base64(text: bytes) -> str:
    return base64.b64encode(text).decode()
