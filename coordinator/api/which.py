"""Which counters a reading is about: one, those of a document type, or those of invoices."""

import heapq
from typing import NamedTuple

from coordinator.api import problems
from coordinator.api.answers import read
from coordinator.api.inputs import WhichQuery
from coordinator.api.problems import Problem, one_line
from coordinator.config import Settings
from coordinator.core.documents import counted_by
from coordinator.core.series import counter_names
from coordinator.document_counters import DocumentCounters
from coordinator.overview import Installation

LISTED_MAX = 32
"""Counters in one listing: each has its place in the cursor."""


class Few(NamedTuple):
    """Counters for one listing; ``narrow_by`` tells what to name when they are not all."""

    names: tuple[str, ...]
    narrow_by: str


class Which:
    """Finds the counters that are meant."""

    def __init__(
        self, settings: Settings, installation: Installation, documents: DocumentCounters
    ) -> None:
        self._settings = settings
        self._installation = installation
        self._documents = documents
        self.of_invoices = installation.counters

    async def few(
        self, which: WhichQuery, site: str | None = None, partition: str | None = None
    ) -> Few:
        """Return the counters that are meant; of too many those that changed last.

        Of too many of a document type, those that are found first. Raises Problem.
        """
        names = await self.names(which, site, partition)
        if len(names) <= LISTED_MAX:
            return Few(names, "")
        if which.documentType is not None:
            return Few(names[:LISTED_MAX], "counter")
        return Few(await self._changed_last(names), "siteId, partitionId")

    async def names(
        self,
        which: WhichQuery,
        site: str | None = None,
        partition: str | None = None,
        limit: int = LISTED_MAX,
    ) -> tuple[str, ...]:
        """Return the counters that are meant, and can have anything of this site and partition.

        Of a document type's, which have no end, those that are found first, and one more than
        ``limit`` when there are more. Raises Problem.
        """
        if which.counter is not None:
            await self._check_there(which.counter)
            return (which.counter,)
        if which.documentType is not None:
            found = await read(self._documents.after("", limit + 1, which.documentType))
            if not found:
                detail = f"No document of type {which.documentType} has been numbered yet."
                raise Problem(problems.UNKNOWN_NAME, detail)
            return tuple(each.name for each in found)
        settings = self._settings
        return counter_names(
            settings.series,
            settings.strategy,
            settings.sites if site is None else (site,),
            settings.partitions if partition is None else (partition,),
        )

    async def _check_there(self, counter: str) -> None:
        if counter in self.of_invoices:
            return
        head = None
        if counted_by(counter) is not None:
            head = await read(self._documents.head_of(counter))
        if head is None:
            detail = f"There is no counter {one_line(counter)!r}. Those of invoices are "
            detail += f"{', '.join(self.of_invoices[:LISTED_MAX])}; those of documents are listed "
            detail += "at /api/v1/admin/document-numbering/sequences."
            raise Problem(problems.UNKNOWN_NAME, detail)

    async def _changed_last(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of the counters that changed last, as many as are listed at once."""
        seen = await read(self._installation.overview())
        changed_ms = {c.name: c.head.changed_ms for c in seen.counters if c.head is not None}
        known = changed_ms.keys() & set(names)
        return tuple(heapq.nlargest(LISTED_MAX, known, key=lambda name: changed_ms[name]))
