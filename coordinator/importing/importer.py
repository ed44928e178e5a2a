"""Numbers issued elsewhere come into the books: all rows of a file in one commit, or none.

The rows are put down first (``staging``). One transaction then compares the heads of all counters
that the file touches, and makes the ledger entry of each, which names the rows by their SHA-256.
Sequencers that have such a counter loaded lose their next compare, and catch up.
"""

import asyncio
from itertools import islice
from pathlib import Path

import orjson

from coordinator.clock import now, now_ms
from coordinator.commit import Found, send
from coordinator.core import importing
from coordinator.core.documents import INVOICE
from coordinator.core.importing import Clash, TooLarge, clashes, joined
from coordinator.core.keys import Keys
from coordinator.core.plan import NUMBERS_MAX, Plan, Rules, plan
from coordinator.core.records import Part
from coordinator.core.requests import PASS_OVER_MAX, Ask, Call, Import, Why
from coordinator.core.room import Limits
from coordinator.core.transaction import Guard, Put, Range
from coordinator.import_files import ERRORS_KEPT
from coordinator.importing.preparing import Prepared, Share
from coordinator.importing.presence import present
from coordinator.importing.report import (
    Attempt,
    Counted,
    Done,
    Far,
    FarAhead,
    Report,
    RowsRefused,
    counted,
    error_of,
    far_of,
    note_of,
    read_note,
    replayed,
)
from coordinator.importing.staging import Phase, Piece, Progress, Staging
from coordinator.registry import InDoubt
from coordinator.replica import Replica
from coordinator.store import Committed, NotCommitted, Store, StoreError, Unknown
from coordinator.witness import Witness

COMMITTED_WITHIN_S = 15.0
TRIES_MAX = 300


def in_silence(_what: Phase, _done: int, _total: int) -> None:
    """Tell nobody."""


class Importer:
    """Imports prepared files into one installation, as the node of this name.

    ``invoices_from`` is the first number of the installation's invoices; None where they have no
    counter that they share. ``invoices_max`` is the last one that its nodes issue.
    """

    def __init__(
        self,
        store: Store,
        keys: Keys,
        node: str,
        witness: Witness,
        invoices_from: int | None,
        operations_max: int = 128,
        invoices_max: int = NUMBERS_MAX,
    ) -> None:
        self._store = store
        self._keys = keys
        self._node = node
        self._witness = witness
        self._invoices_from = invoices_from
        self._invoices_max = invoices_max
        self._limits = Limits(operations=operations_max)
        self._staging = Staging(store, keys)

    async def check(
        self,
        prepared: Prepared,
        call: Call,
        progress: Progress = in_silence,
        pass_over_max: int = PASS_OVER_MAX,
    ) -> Report:
        """Return what an import would do now. Raises TooLarge, StoreError."""
        attempt = Attempt.of(prepared, call, "", pass_over_max)
        report, _ = await self._fitting(attempt, progress)
        return report

    async def earlier(self, prepared: Prepared, call: Call) -> Done | None:
        """Return what was imported under this call's key. Raises KeyReused, StoreError."""
        if call.key is None:
            return None
        name = Attempt.of(prepared, call, "").name
        (found,) = (await self._store.read(Range(self._keys.done_import(name)))).found
        return replayed(found[0], name, prepared) if found else None

    async def run(
        self,
        prepared: Prepared,
        rows_file: Path,
        call: Call,
        reason: str,
        progress: Progress = in_silence,
        pass_over_max: int = PASS_OVER_MAX,
    ) -> Done:
        """Import the file, once for the key of the call.

        Of each counter ``pass_over_max`` numbers become void by it at most.
        Raises RowsRefused, FarAhead, TooLarge, KeyReused, TooMany, and StoreError when nothing was
        changed; InDoubt when that is not known.
        """
        earlier = await self.earlier(prepared, call)
        if earlier:
            return earlier
        attempt = Attempt.of(prepared, call, reason, pass_over_max)
        try:
            return await self._run(attempt, rows_file, progress)
        except RowsRefused:  # by another one under this key, perhaps, which came first
            earlier = await self.earlier(prepared, call)
            if earlier:
                return earlier
            raise

    async def _run(self, attempt: Attempt, rows_file: Path, progress: Progress) -> Done:
        report, replicas = await self._fitting(attempt, progress)
        _check(report)
        async with present(self._store, self._keys.present_import(attempt.id)):
            return await self._put_in(attempt, rows_file, replicas, progress)

    async def _put_in(
        self, attempt: Attempt, rows_file: Path, replicas: list[Replica], progress: Progress
    ) -> Done:
        opened = await self._staging.begin(attempt.id)
        try:
            pieces = self._pieces(attempt)
            await self._staging.put(opened, pieces, rows_file, progress)
            progress(Phase.COMMITTING, 0, 1)
            return await self._commit(attempt, opened, replicas)
        except InDoubt as doubt:
            return await self._find_out(attempt, opened, doubt)
        except BaseException:
            await self._staging.call_off(opened)
            raise

    def _pieces(self, attempt: Attempt) -> list[Piece]:
        return [
            Piece(self._keys.import_rows(attempt.source(at), n), rows, length)
            for at, share in enumerate(attempt.prepared.shares)
            for n, (rows, length) in enumerate(share.pieces)
        ]

    async def _fitting(self, attempt: Attempt, progress: Progress) -> tuple[Report, list[Replica]]:
        """Return what the import would do, and the counters loaded. Raises TooLarge."""
        shares = attempt.prepared.shares
        fitting = importing.counters_max(self._limits.operations)
        if len(shares) > fitting:
            raise TooLarge(
                f"The file has numbers of {len(shares)} counters; one commit takes {fitting}. "
                "Split it by counter: by document type, project or year."
            )
        witness = self._witness.copy()  # the node's own is its sequencers' to write
        counters = [(self._keys.counter(share.counter), self._start_of(share)) for share in shares]
        replicas = [Replica(self._store, keys, start, witness) for keys, start in counters]
        report, plans = await self._planned(attempt, replicas, progress)
        if plans:
            joined(plans, Guard(b""), Put(b"", note_of(attempt, 0, report)))
        return report, replicas

    async def _planned(
        self, attempt: Attempt, replicas: list[Replica], progress: Progress = in_silence
    ) -> tuple[Report, list[Plan]]:
        """Return what the import does to the newest states known; no plans when rows are wrong."""
        plans: list[Plan] = []
        counters: list[Counted] = []
        far: list[Far | None] = []
        prepared = attempt.prepared
        errors, total = list(prepared.errors), prepared.errors_total
        checked, to_check = 0, sum(len(share.numbers) for share in prepared.shares)
        for at, (share, replica) in enumerate(zip(prepared.shares, replicas, strict=True)):
            state = await replica.state()
            many, found = clashes(state, share.numbers, self._last_of(share))
            if share.counter == INVOICE and self._invoices_from is None:
                many = len(share.numbers)
                found = (Clash(at, Why.OTHER_OWNER) for at in range(many))
            errors += [error_of(share, clash) for clash in islice(found, ERRORS_KEPT)]
            total += many
            counters.append(counted(share, state.head.next))
            far.append(far_of(share, state.head.next, attempt.pass_over_max))
            if not total and not any(far):
                asks = [Ask(self._request(attempt, at))]
                part = Part(self._node, f"import-{attempt.id}", 1)
                rules = Rules(self._start_of(share), self._last_of(share), self._limits)
                keys = self._keys.counter(share.counter)
                given = (state, keys, replica.guard, asks, now(), (part,), rules)
                plans.append(await asyncio.to_thread(plan, *given))
                if plans[-1].entry is None:
                    raise RuntimeError(f"{share.counter} refuses what clashes with nothing")
            checked += len(share.numbers)
            progress(Phase.CHECKING, checked, to_check)
        errors.sort(key=lambda error: error.row)
        told = (tuple(errors[:ERRORS_KEPT]), total, tuple(filter(None, far)))
        report = Report(prepared.rows_total, tuple(counters), *told)
        return report, plans if report.fits else []

    def _start_of(self, share: Share) -> int:
        return (share.counter == INVOICE and self._invoices_from) or share.start

    def _last_of(self, share: Share) -> int:
        is_bounded = share.counter == INVOICE
        return min(share.max_value, self._invoices_max) if is_bounded else share.max_value

    def _request(self, attempt: Attempt, at: int) -> Import:
        share = attempt.prepared.shares[at]
        note = orjson.dumps({"import": attempt.name, "reason": attempt.reason}).decode()
        origin = attempt.call.origin._replace(invoice_type=share.document_type)
        call = attempt.call._replace(origin=origin, key=None, payload=None, metadata=note)
        rows = tuple(rows for rows, _ in share.pieces)
        bounds = (self._last_of(share), attempt.pass_over_max)
        return Import(call, share.runs, attempt.source(at), rows, *bounds)

    async def _commit(self, attempt: Attempt, opened: Guard, replicas: list[Replica]) -> Done:
        doubts: list[str] = []
        try:
            async with asyncio.timeout(COMMITTED_WITHIN_S):
                for _ in range(TRIES_MAX):
                    done = await self._try(attempt, opened, replicas, doubts)
                    if done:
                        return done
        except TimeoutError:
            if doubts:
                raise InDoubt(doubts[-1]) from None
        raise NotCommitted("others changed the counters again and again meanwhile")

    async def _try(
        self, attempt: Attempt, opened: Guard, replicas: list[Replica], doubts: list[str]
    ) -> Done | None:
        """Commit once; None when a counter had moved, which is loaded as it is now."""
        report, plans = await self._planned(attempt, replicas)
        _check(report)
        done = Done(attempt.name, now_ms(), report)
        written = Put(self._keys.done_import(attempt.name), note_of(attempt, done.time_ms, report))
        transaction = joined(plans, opened, written)

        def is_ours(found: Found) -> bool:
            return any(kv.value == written.value for kv in found[0])

        def in_doubt(doubt: Unknown) -> None:
            doubts.append(doubt.why)

        doubts.append("it was sent, and no answer came in time")
        fate = await send(self._store, transaction, f"import {attempt.id}", is_ours, in_doubt)
        doubts.clear()
        if isinstance(fate, Committed) or fate.ours:
            return done
        finished, *heads = fate.found
        if finished:
            return replayed(finished[0], attempt.name, attempt.prepared)
        for replica, head in zip(replicas, heads, strict=True):
            seen = tuple(Guard(kv.key, kv.revision, kv.value) for kv in head)
            if seen != (replica.guard,) and (seen or replica.guard.revision):
                await replica.catch_up((head, ()))
        return None

    async def _find_out(self, attempt: Attempt, opened: Guard, doubt: InDoubt) -> Done:
        """Return what was done after all; else see to it that it never will be."""
        try:
            found = await self._staging.end(opened, attempt.name)
        except StoreError:
            raise doubt from None
        if found and read_note(found[0])["attempt"] == attempt.id:
            return replayed(found[0], attempt.name, attempt.prepared)._replace(replayed=False)
        raise NotCommitted(f"no answer came in time, so it was called off ({doubt})") from None


def _check(report: Report) -> None:
    """Raise RowsRefused or FarAhead for an import that is not possible."""
    if report.errors_total:
        raise RowsRefused(report)
    if report.far:
        raise FarAhead(report)
