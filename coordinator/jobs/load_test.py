"""A load test through the public HTTP API of the nodes, which checks what it claims.

Pairs of reserve and confirm, or reservations alone, or numbers of the default series. Whatever
happens on the way, each reservation that was made is settled before the end.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import aiohttp

from coordinator.core.catalogue import Series
from coordinator.core.templates import Scope, extract
from coordinator.jobs.load_checks import Claim, Standing, claims_of
from coordinator.jobs.load_client import CALL_TIMEOUT_S, Nodes, NotKnown, Refused, Times

DOCUMENTS = "/api/v1/document-numbering"
SEQUENCE = "/api/v1/sequence"
INVOICE = "invoice"
REASON = "load test"
WAITING = "numbers that had come back wait, and are issued before fresh ones"
REPEATED_MAX = 100
"""Confirmations that are repeated at other nodes in the end."""

ODD = (KeyError, TypeError, IndexError, ValueError)
NOT_OURS = "an answer is none of this product's: does the address lead to a node?"

FAILURES_IN_A_ROW_MAX = 50
"""After so many, none answered between, nothing more is asked for."""


class Plan(NamedTuple):
    """What to do. ``asked`` is the body of each request for a number."""

    urls: tuple[str, ...]
    series: str
    requests: int
    concurrency: int
    only_reserve: bool
    asked: dict[str, Any]

    @property
    def is_invoice(self) -> bool:
        """Tell whether the default series is meant."""
        return self.series == INVOICE


class CannotBegin(Exception):
    """The load test cannot be made as it was asked for; the message says why and what to do."""


@dataclass
class Done:
    """What became of it so far."""

    numbers: list[int] = field(default_factory=list)
    confirmed: list[tuple[str, str]] = field(default_factory=list)
    """Token and document number of each."""
    open: dict[str, str] = field(default_factory=dict)
    """The same of those that are not settled yet."""
    answered: int = 0
    failed: int = 0
    failed_in_a_row: int = 0
    unknown: int = 0
    wrong: list[str] = field(default_factory=list)
    """Confirmations that answered another number than was reserved."""
    cancelled: int = 0
    last_refusal: str = ""


class Report(NamedTuple):
    """What a load test came to."""

    plan: Plan
    done: Done
    seconds: float
    times: dict[str, Times]
    errors: dict[str, int]
    claims: list[Claim]
    interrupted: bool

    @property
    def found(self) -> bool:
        """Tell whether anything that must hold does not."""
        return any(claim.ok is False for claim in self.claims)

    @property
    def complete(self) -> bool:
        """Tell whether everything that was asked for was answered."""
        return self.done.answered == self.plan.requests and not self.done.unknown


class LoadTest:
    """One load test. ``stop`` ends it early: open reservations are cancelled first."""

    def __init__(self, plan: Plan, nodes: Nodes, stop: asyncio.Event) -> None:
        self._plan = plan
        self._nodes = nodes
        self._stop = stop
        self._series: Series | None = None
        self.done = Done()

    async def run(self) -> Report:
        """Do it. Raises CannotBegin."""
        try:
            before = await self._standing()
        except (Refused, NotKnown) as refused:
            raise CannotBegin(str(refused)) from None
        self._check_room(before)
        began = time.monotonic()
        work = iter(range(self._plan.requests))
        workers = min(self._plan.concurrency, self._plan.requests)
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._work(work))
        seconds = time.monotonic() - began
        claims = await self._judge(before)
        errors, times = dict(self._nodes.errors), self._nodes.times()
        is_early = self._stop.is_set()
        return Report(self._plan, self.done, seconds, times, errors, claims, is_early)

    def _check_room(self, before: Standing) -> None:
        if self._series is None:
            return
        left = self._series.max_value - before.next + 1
        if left < self._plan.requests:
            raise CannotBegin(
                f"{before.counter} has {max(0, left):,} numbers left, up to "
                f"{self._series.max_value:,}; ask for fewer, or try another series"
            )

    async def _work(self, work: Iterator[int]) -> None:
        for at in work:
            if self._stop.is_set() or self.done.failed_in_a_row >= FAILURES_IN_A_ROW_MAX:
                return
            try:
                await (self._issue(at) if self._plan.is_invoice else self._pair(at))
            except Refused as refused:
                self.done.failed += 1
                self.done.failed_in_a_row += 1
                self.done.last_refusal = str(refused)
            except (NotKnown, *ODD) as lost:
                self.done.unknown += 1
                self.done.failed_in_a_row += 1
                self.done.last_refusal = f"{lost}" if isinstance(lost, NotKnown) else NOT_OURS
            else:
                self.done.answered += 1
                self.done.failed_in_a_row = 0

    async def _issue(self, at: int) -> None:
        answer = await self._nodes.post(f"{SEQUENCE}/next", self._plan.asked, at, "next")
        self.done.numbers.append(int(answer["sequenceNumbers"][0]))

    async def _pair(self, at: int) -> None:
        """Reserve, and confirm at another node; or leave it open, to be cancelled in the end."""
        began = time.monotonic()
        answer = await self._nodes.post(f"{DOCUMENTS}/reserve", self._plan.asked, at, "reserve")
        token, text = answer["data"]["token"], answer["data"]["document_number"]
        self.done.open[token] = text
        self.done.numbers.append(self._number_in(text))
        if self._plan.only_reserve or self._stop.is_set():
            return
        await self._confirm(token, text, at + 1)
        self._nodes.timed("pair", began)

    async def _confirm(self, token: str, text: str, at: int) -> None:
        answer = await self._nodes.post(f"{DOCUMENTS}/confirm", {"token": token}, at, "confirm")
        said = answer["data"]["document_number"]
        if said != text:
            self.done.wrong.append(f"{text!r} was reserved, {said!r} confirmed")
        self.done.confirmed.append((token, text))
        del self.done.open[token]

    async def _cancel_open(self) -> None:
        """Settle what is open. What is refused or not known stays so."""
        gate = asyncio.Semaphore(self._plan.concurrency)

        async def cancel(at: int, token: str) -> None:
            async with gate:
                try:
                    body = {"token": token, "reason": REASON}
                    await self._nodes.post(f"{DOCUMENTS}/cancel", body, at, "cancel")
                except (Refused, NotKnown) as why:
                    self.done.last_refusal = str(why)
                    return
            del self.done.open[token]
            self.done.cancelled += 1

        async with asyncio.TaskGroup() as group:
            for at, token in enumerate(list(self.done.open)):
                group.create_task(cancel(at, token))

    async def _judge(self, before: Standing) -> list[Claim]:
        done = self.done
        asked = self._plan.requests
        detail = f"{done.answered:,} of {asked:,} requests"
        claims = [Claim("all answered", True if done.answered == asked else None, detail)]
        try:
            after = await self._standing()
        except (Refused, NotKnown) as refused:
            claims.append(Claim("no number twice", None, f"the counter cannot be read: {refused}"))
        else:
            claims += claims_of(done.numbers, before, after)
        if self._plan.is_invoice:
            return claims
        detail = f"{len(done.confirmed):,} confirmed" + "".join(f"; {w}" for w in done.wrong[:5])
        claims.append(Claim("confirmed as reserved", not done.wrong, detail))
        if done.confirmed:
            claims.append(await self._confirmed_everywhere())
        await self._cancel_open()
        left = len(done.open)
        detail = f"{len(done.confirmed):,} confirmed, {done.cancelled:,} cancelled, {left:,} open"
        if done.unknown:
            detail += f"; of {done.unknown:,} requests it is not known: theirs would expire"
        is_known = None if done.unknown and not left else not left
        claims.append(Claim("no reservation left open", is_known, detail))
        return claims

    async def _confirmed_everywhere(self) -> Claim:
        """Confirm some once more, each at another node than before: they must answer the same."""
        some = self.done.confirmed[:: max(1, len(self.done.confirmed) // REPEATED_MAX)]
        wrong = 0
        for at, (token, text) in enumerate(some):
            try:
                answer = await self._nodes.post(f"{DOCUMENTS}/confirm", {"token": token}, at)
            except (Refused, NotKnown) as refused:
                said = f"a confirmation could not be repeated: {refused}"
                is_lost = isinstance(refused, Refused)
                return Claim("confirmed for good", False if is_lost else None, said)
            wrong += answer["data"]["document_number"] != text
        said = f"{len(some) - wrong:,} of {len(some):,} repeated confirmations answer the same"
        return Claim("confirmed for good", not wrong, said)

    async def _standing(self) -> Standing:
        """Return where the counter is. Raises Refused or NotKnown."""
        if self._plan.is_invoice:
            stats = await self._nodes.get(f"{SEQUENCE}/stats")
            unclear = WAITING if stats["availableGaps"] else ""
            if stats["currentStrategy"] != "GLOBAL_SEQUENTIAL":
                unclear = f"with {stats['currentStrategy']} statistics are of several counters"
            return Standing(INVOICE, stats["currentCounter"] + 1, unclear, stats["totalReleased"])
        wanted = {k: v for k, v in self._plan.asked.items() if k != "metadata"}
        data = (await self._nodes.post(f"{DOCUMENTS}/preview", wanted))["data"]
        self._series = _series_of(data["template"])
        following = data["sequence"]
        if not following:
            raise Refused(f"{data['counter']} is exhausted")
        run = list(range(following[0], following[0] + len(following)))
        reuses = data["template"]["gap_policy"] == "reuse"
        unclear = WAITING if reuses and following != run else ""
        return Standing(data["counter"], following[0], unclear)

    def _number_in(self, text: str) -> int:
        assert self._series is not None, "the standing was read first"  # noqa: S101
        read = extract(self._series.format, text)
        if read is None:
            self.done.wrong.append(f"{text!r} does not read like {self._series.template}")
            return 0
        return read.number


def _series_of(shown: dict[str, Any]) -> Series:
    """Return a definition as the API shows it, as far as its numbers are read by it."""
    return Series(
        document_type=shown["document_type"],
        template=shown["template"],
        prefix=shown["prefix"],
        scopes=tuple(Scope(scope) for scope in shown["scopes"] if scope != "GLOBAL"),
        start=shown["start"],
        max_value=shown["max_value"],
        fiscal_month=shown["fiscal_month"],
        tokens=tuple(
            (name, values if isinstance(values, str) else tuple(values))
            for name, values in shown["tokens"].items()
        ),
    )


async def load_test(
    plan: Plan, stop: asyncio.Event, begun: Callable[[Done], None], *, may_spend: bool
) -> Report:
    """Make a load test; ``begun`` is given what is counted on the way. Raises CannotBegin.

    Outside of demonstrations it takes a word that the numbers may be spent (``may_spend``).
    """
    timeout = aiohttp.ClientTimeout(total=CALL_TIMEOUT_S)
    connector = aiohttp.TCPConnector(limit=0)  # the workers are counted
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        nodes = Nodes(session, plan.urls)
        try:
            profile = (await nodes.get("/api/v1/cluster"))["profile"]
        except Refused as nobody:
            raise CannotBegin(f"{nobody}. Is a node running there?") from None
        except ODD:
            raise CannotBegin(NOT_OURS) from None
        if profile != "demonstration" and not may_spend:
            raise CannotBegin(
                f"these nodes run with profile {profile!r}, and a load test spends real numbers: "
                f"--yes says that {plan.requests:,} numbers of {plan.series} may be spent"
            )
        test = LoadTest(plan, nodes, stop)
        begun(test.done)
        return await test.run()
