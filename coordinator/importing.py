"""Numbers issued elsewhere come into the books: all rows of a file in one commit, or none.

The rows are put down first (``staging``). One transaction then compares the heads of all counters
that the file touches, and makes the ledger entry of each, which names the rows by their SHA-256.
Sequencers that have such a counter loaded lose their next compare, and catch up.
"""

import asyncio
import secrets
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from coordinator.clock import now, now_ms
from coordinator.commit import Found, send
from coordinator.core import importing
from coordinator.core.documents import INVOICE
from coordinator.core.importing import Clash, TooLarge, clashes, joined
from coordinator.core.keys import Keys
from coordinator.core.legacy import DUPLICATE, UNKNOWN_TYPE
from coordinator.core.plan import NUMBERS_MAX, Plan, Rules, plan
from coordinator.core.records import Part
from coordinator.core.requests import Ask, Call, Import, Why
from coordinator.core.room import Limits
from coordinator.core.transaction import Guard, KeyValue, Put, Range
from coordinator.faults import Damaged
from coordinator.imports import ERRORS_KEPT, Column, RowError
from coordinator.preparing import Prepared, Share
from coordinator.registry import InDoubt
from coordinator.replica import Replica
from coordinator.staging import Phase, Piece, Progress, Staging
from coordinator.store import Committed, NotCommitted, Store, StoreError, Unknown
from coordinator.witness import Witness

COMMITTED_WITHIN_S = 15.0
TRIES_MAX = 300
MISSING_SHOWN = 50
EXHAUSTED, CLOSED = "NB002", "NB033"


def in_silence(_what: Phase, _done: int, _total: int) -> None:
    """Tell nobody."""


class KeyReused(Exception):
    """The idempotency key has imported another file, or other rows of it."""


class Counted(NamedTuple):
    """What an import makes of one counter.

    ``missing`` are the first runs, (first, last), of the numbers that will be void then.
    """

    counter: str
    numbers: int
    lowest: int
    highest: int
    next_value: int
    missing: tuple[tuple[int, int], ...]
    missing_total: int


class Report(NamedTuple):
    """What an import would do; it is possible when ``errors_total`` is 0."""

    rows_total: int
    counters: tuple[Counted, ...]
    errors: tuple[RowError, ...] = ()
    errors_total: int = 0

    @property
    def numbers(self) -> int:
        """Return how many numbers come in."""
        return sum(counted.numbers for counted in self.counters)


class RowsRefused(Exception):
    """Rows are wrong, or clash with what is issued by now; nothing was changed."""

    def __init__(self, report: Report) -> None:
        super().__init__(f"{report.errors_total} errors")
        self.report = report


class Done(NamedTuple):
    """An import that is in the books: its name, when that was (wall clock, ms), what it did."""

    name: str
    time_ms: int
    report: Report
    replayed: bool = False


class _Attempt(NamedTuple):
    """One try. ``name`` is what the import is known by: that of its key, or of this try."""

    id: str
    name: str
    prepared: Prepared
    call: Call
    reason: str


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
        self, prepared: Prepared, call: Call, progress: Progress = in_silence
    ) -> Report:
        """Return what an import would do now. Raises TooLarge, StoreError."""
        report, _ = await self._fitting(_attempt(prepared, call, ""), progress)
        return report

    async def earlier(self, prepared: Prepared, call: Call) -> Done | None:
        """Return what was imported under this call's key. Raises KeyReused, StoreError."""
        if call.key is None:
            return None
        name = _attempt(prepared, call, "").name
        (found,) = (await self._store.read(Range(self._keys.done_import(name)))).found
        return _replayed(found[0], name, prepared) if found else None

    async def run(
        self,
        prepared: Prepared,
        rows_file: Path,
        call: Call,
        reason: str,
        progress: Progress = in_silence,
    ) -> Done:
        """Import the file, once for the key of the call.

        Raises RowsRefused, TooLarge, KeyReused, TooMany, and StoreError when nothing was changed;
        InDoubt when that is not known.
        """
        earlier = await self.earlier(prepared, call)
        if earlier:
            return earlier
        attempt = _attempt(prepared, call, reason)
        try:
            return await self._run(attempt, rows_file, progress)
        except RowsRefused:  # by another one under this key, perhaps, which came first
            earlier = await self.earlier(prepared, call)
            if earlier:
                return earlier
            raise

    async def _run(self, attempt: _Attempt, rows_file: Path, progress: Progress) -> Done:
        report, replicas = await self._fitting(attempt, progress)
        if report.errors_total:
            raise RowsRefused(report)
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

    def _pieces(self, attempt: _Attempt) -> list[Piece]:
        return [
            Piece(self._keys.import_rows(_source(attempt, at), n), rows, length)
            for at, share in enumerate(attempt.prepared.shares)
            for n, (rows, length) in enumerate(share.pieces)
        ]

    async def _fitting(self, attempt: _Attempt, progress: Progress) -> tuple[Report, list[Replica]]:
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
            joined(plans, Guard(b""), Put(b"", _encode(attempt, 0, report)))
        return report, replicas

    async def _planned(
        self, attempt: _Attempt, replicas: list[Replica], progress: Progress = in_silence
    ) -> tuple[Report, list[Plan]]:
        """Return what the import does to the newest states known; no plans when rows are wrong."""
        plans: list[Plan] = []
        counters: list[Counted] = []
        prepared = attempt.prepared
        errors, total = list(prepared.errors), prepared.errors_total
        checked, to_check = 0, sum(len(share.numbers) for share in prepared.shares)
        for at, (share, replica) in enumerate(zip(prepared.shares, replicas, strict=True)):
            state = await replica.state()
            many, found = clashes(state, share.numbers, self._last_of(share))
            if share.counter == INVOICE and self._invoices_from is None:
                many = len(share.numbers)
                found = (Clash(at, Why.OTHER_OWNER) for at in range(many))
            errors += [_error_of(share, clash) for clash in islice(found, ERRORS_KEPT)]
            total += many
            counters.append(_counted(share, state.head.next))
            if not total:
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
        report = Report(prepared.rows_total, tuple(counters), tuple(errors[:ERRORS_KEPT]), total)
        return report, [] if total else plans

    def _start_of(self, share: Share) -> int:
        return (share.counter == INVOICE and self._invoices_from) or share.start

    def _last_of(self, share: Share) -> int:
        is_bounded = share.counter == INVOICE
        return min(share.max_value, self._invoices_max) if is_bounded else share.max_value

    def _request(self, attempt: _Attempt, at: int) -> Import:
        share = attempt.prepared.shares[at]
        note = orjson.dumps({"import": attempt.name, "reason": attempt.reason}).decode()
        origin = attempt.call.origin._replace(invoice_type=share.document_type)
        call = attempt.call._replace(origin=origin, key=None, payload=None, metadata=note)
        rows = tuple(rows for rows, _ in share.pieces)
        return Import(call, share.runs, _source(attempt, at), rows, self._last_of(share))

    async def _commit(self, attempt: _Attempt, opened: Guard, replicas: list[Replica]) -> Done:
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
        self, attempt: _Attempt, opened: Guard, replicas: list[Replica], doubts: list[str]
    ) -> Done | None:
        """Commit once; None when a counter had moved, which is loaded as it is now."""
        report, plans = await self._planned(attempt, replicas)
        if report.errors_total:
            raise RowsRefused(report)
        done = Done(attempt.name, now_ms(), report)
        written = Put(self._keys.done_import(attempt.name), _encode(attempt, done.time_ms, report))
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
            return _replayed(finished[0], attempt.name, attempt.prepared)
        for replica, head in zip(replicas, heads, strict=True):
            seen = tuple(Guard(kv.key, kv.revision, kv.value) for kv in head)
            if seen != (replica.guard,) and (seen or replica.guard.revision):
                await replica.catch_up((head, ()))
        return None

    async def _find_out(self, attempt: _Attempt, opened: Guard, doubt: InDoubt) -> Done:
        """Return what was done after all; else see to it that it never will be."""
        try:
            found = await self._staging.end(opened, attempt.name)
        except StoreError:
            raise doubt from None
        if found and _read(found[0])["attempt"] == attempt.id:
            return _replayed(found[0], attempt.name, attempt.prepared)._replace(replayed=False)
        raise NotCommitted(f"no answer came in time, so it was called off ({doubt})") from None


def _attempt(prepared: Prepared, call: Call, reason: str) -> _Attempt:
    own = secrets.token_hex(16)
    name = own if call.key is None else sha256(call.key.encode()).hexdigest()[: len(own)]
    return _Attempt(own, name, prepared, call, reason)


def _source(attempt: _Attempt, at: int) -> str:
    """Return the name that the ledger has for the rows of a counter, by its place in the file."""
    return f"{attempt.id}/{at:03}"


def _counted(share: Share, following: int) -> Counted:
    missing = importing.missing(following, share.runs)
    lowest, highest = share.numbers[0], share.numbers[-1]
    shown = tuple((run[0], run[-1]) for run in missing[:MISSING_SHOWN])
    next_value = max(following, highest + 1)
    total = sum(map(len, missing))
    return Counted(share.counter, len(share.numbers), lowest, highest, next_value, shown, total)


def _error_of(share: Share, clash: Clash) -> RowError:
    at, why, there = clash
    number, text = share.numbers[at], share.texts[at]
    match why:
        case Why.CLOSED:
            code = CLOSED
            message = f"{share.counter} is closed. Import no number of it."
        case Why.OTHER_OWNER:
            code = UNKNOWN_TYPE
            message = "Invoices are counted by site here, not as documents. Remove the row."
        case Why.EXHAUSTED:
            code = EXHAUSTED
            message = f"The series ends at {there}. Raise its max_value first, or remove the row."
        case _:
            code = DUPLICATE
            message = (
                f"Number {number} of {share.counter} is {there} here. Only numbers above all that "
                "are known here can come in: remove the row, or correct it."
            )
    return RowError(
        share.rows[at], share.lines[at], Column.DOCUMENT_NUMBER.value, text, message, code
    )


def _encode(attempt: _Attempt, done_ms: int, report: Report) -> bytes:
    call = attempt.call
    return orjson.dumps(
        {
            "attempt": attempt.id,
            "digest": attempt.prepared.digest,
            "time_ms": done_ms,
            "by": list(call.origin),
            "correlation": call.correlation,
            "reason": attempt.reason,
            "rows_total": report.rows_total,
            "counters": [list(counted) for counted in report.counters],
        }
    )


def _read(kv: KeyValue) -> dict[str, Any]:
    try:
        fields: dict[str, Any] = orjson.loads(kv.value)
        counters = tuple(
            Counted(name, many, low, high, following, tuple(map(tuple, missing)), total)
            for name, many, low, high, following, missing, total in fields["counters"]
        )
        return fields | {"report": Report(fields["rows_total"], counters)}
    except (ValueError, KeyError, TypeError, IndexError) as broken:
        raise Damaged(f"{kv.key.decode()} is no note of an import: {broken}") from broken


def _replayed(kv: KeyValue, name: str, prepared: Prepared) -> Done:
    fields = _read(kv)
    if fields["digest"] != prepared.digest:
        raise KeyReused
    return Done(name, fields["time_ms"], fields["report"], replayed=True)
