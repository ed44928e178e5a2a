"""What calls about document numbers share: which series is meant, who serves its counter."""

from collections.abc import Mapping

from aiohttp import web

from coordinator.api import problems
from coordinator.api.answers import read
from coordinator.api.orders import ask, done_of, not_done, refusal
from coordinator.api.problems import Problem
from coordinator.api.templates import no_such_series
from coordinator.core.catalogue import Catalogue, Series, UnknownSeries
from coordinator.core.documents import INVOICE
from coordinator.core.requests import Adjust, Call, Done, Request, Why
from coordinator.counters import Counters
from coordinator.jobs.membership import Membership
from coordinator.registry import Registry
from coordinator.sequencer import Sequencer
from coordinator.service import Answer


class DocumentCalls:
    """Leads calls to series and counters, for one node."""

    def __init__(
        self,
        registry: Registry,
        counters: Counters,
        names: tuple[str, ...],
        membership: Membership,
    ) -> None:
        self.registry = registry
        self._counters = counters
        self._names = names
        self._membership = membership

    async def series(self, document_type: str) -> Series:
        """Return a series as it was a second ago, or later. Raises Problem."""
        try:
            return await read(self.registry.series(document_type))
        except UnknownSeries:
            raise no_such_series(document_type) from None

    def series_at_hand(self, document_type: str) -> Series | None:
        """Return what ``series`` returns, if that needs no read."""
        catalogue = self.registry.at_hand
        try:
            return None if catalogue is None else catalogue.of(document_type)
        except UnknownSeries:  # it may be new
            return None

    async def ask(
        self, http: web.Request, counter: str, wanted: Request, start: int | None
    ) -> Answer:
        """Have a request served; return also a refusal. Raises Problem when nobody could decide.

        ``start`` is the first number of the counter, if it is new and has one of its own.
        """
        return await ask(self.sequencer(counter, wanted, start), wanted, http.transport)

    def sequencer(self, counter: str, wanted: Request, start: int | None) -> Sequencer:
        """Return who serves this request. Raises Problem."""
        if self._membership.trouble:
            detail = not_done(wanted.call, self._membership.trouble, "Ask another node.")
            raise Problem(problems.STORE_UNAVAILABLE, detail)
        if counter == INVOICE and counter not in self._names:
            detail = "Invoices are counted by site here: ask /api/v1/sequence/next for a number."
            raise Problem(problems.UNKNOWN_NAME, detail)
        return self._counters.sequencer(counter, start)

    async def served_before(
        self, http: web.Request, call: Call, counters: Mapping[str, int | None]
    ) -> tuple[str, Done] | None:
        """Return what the key of a call has done in one of these counters, and in which.

        Raises Problem, also when it was used for another request there.
        """
        for counter, start in counters.items():
            if counter == INVOICE and counter not in self._names:  # nothing was counted there
                continue
            nothing = Adjust(call, 1, "", max_value=0)  # nothing is as low: only its key counts
            answer = await self.ask(http, counter, nothing, start)
            if isinstance(answer, Done):
                return counter, answer
            if answer.why is Why.KEY_REUSED:
                raise refusal(answer)
        return None

    async def serve(
        self, http: web.Request, counter: str, wanted: Request, start: int | None
    ) -> Done:
        """Have a request served. Raises Problem for everything but success."""
        return done_of(await self.ask(http, counter, wanted, start))


def series_in(catalogue: Catalogue, document_type: str) -> Series:
    """Return a series of the catalogue. Raises Problem."""
    try:
        return catalogue.of(document_type)
    except UnknownSeries:
        raise no_such_series(document_type) from None
