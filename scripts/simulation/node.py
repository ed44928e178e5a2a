"""A simulated node: runs of the real product code, one after the other, at one address."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from itertools import count
from unittest.mock import patch

from coordinator import expected, guests, handing, turn
from coordinator import replica as replicas
from coordinator.core import forwarding, records
from coordinator.core import state as states
from coordinator.core.holds import Holds
from coordinator.core.keys import Keys
from coordinator.core.plan import Rules
from coordinator.core.requests import (
    Call,
    Instant,
    Issue,
    Refused,
    Release,
    Reserve,
    Reset,
    Settle,
    Trim,
)
from coordinator.core.requests import Request as Wanted
from coordinator.core.room import Limits
from coordinator.core.templates import writing_of
from coordinator.core.transaction import Guard, Put, Range, Transaction
from coordinator.faults import CANNOT_READ
from coordinator.guests import RunsMet
from coordinator.handing import Company
from coordinator.history import History
from coordinator.jobs.trimming import checkpoint_after
from coordinator.lanes import Lanes
from coordinator.sequencer import Sequencer
from coordinator.service import Answer, Bounds, Node, NotServed, OutcomeUnknown, Watcher
from coordinator.turn import Contact, Seat
from coordinator.witness import SAVE_EVERY_S, Witness
from simulation import operating
from simulation.events import (
    HOW,
    OF_OPERATORS,
    Asked,
    Kind,
    Outcome,
    Saved,
    Told,
    numbers_of,
    said_of,
    token_of,
)
from simulation.expiry import Expiry, series_of
from simulation.knowing import known_of, state_of
from simulation.model import Known
from simulation.network import Edge, Network
from simulation.peers import PeersEdge
from simulation.settings import Settings
from simulation.virtual_time import Process, VirtualTimeLoop, at_once

KEYS = Keys().counter("invoice")
WALL_START_MS = 1_767_225_600_000
"""All clocks begin at the turn of the year 2026."""

REASON = "not needed"
LEASE_S = 2
QUIET = Watcher(lambda _: None, lambda *_: None, lambda: None, lambda: None)


def last_number(settings: Settings) -> int:
    """Return the highest number of the series."""
    return settings.start + settings.series_length - 1


def small_limits(settings: Settings) -> AbstractContextManager[object]:
    """Give the product's fixed bounds the sizes of this schedule."""
    stack = ExitStack()
    bounds = settings.bounds
    places = (
        (replicas, "CATCH_UP_MAX", bounds.catch_up_max),
        (replicas, "CATCH_UP_PAGE", bounds.catch_up_page),
        (states, "FREED_REMEMBERED_MAX", bounds.freed_remembered_max),
        (states, "RUNS_REMEMBERED_MAX", bounds.runs_remembered_max),
        (guests, "RECENT_MAX", bounds.recent_max),
        (guests, "GUESTS_MAX", bounds.guests_max),
        (guests, "HOLDER_WAITS_S", bounds.waits_s),
        (expected, "HOLDER_WAITS_S", bounds.waits_s),
        (expected, "GUEST_WAITS_S", bounds.waits_s / 2),
        (handing, "ASKS_MAX", bounds.asks_max),
        (turn, "AVOIDED_S", bounds.avoided_s),
        (turn, "TRUSTED_S", bounds.trusted_s),
    )
    for module, name, value in places:
        stack.enter_context(patch.object(module, name, value))
    return stack


class SimulatedNode:
    """One node, up or down."""

    def __init__(
        self, name: str, settings: Settings, loop: VirtualTimeLoop, network: Network
    ) -> None:
        self.name = name
        self.is_paused = False
        self.is_stopping = False
        self._is_up = False
        self._settings = settings
        self._loop = loop
        self._edge = Edge(name, network)
        self._peers = PeersEdge(name, network, lambda: self.state() is not None)
        self._network = network
        self._lease = 0
        self._observe = network.observe
        self._witness = Witness()
        self._disk = self._witness
        """What the node has written of its witness: it outlives the runs."""
        self._runs = 0
        self._wall_offset_ms = 0
        self._process = Process(name)
        self._series = series_of(settings)
        self._looked_at: object = None

    @property
    def run(self) -> str | None:
        """Return the name of the present run; None while the node is down."""
        return self._run_name if self._is_up else None

    @property
    def _run_name(self) -> str:
        return f"{self.name}.{self._runs}"

    @property
    def process(self) -> Process:
        """Return the process of the present run, or of the last one."""
        return self._process

    def start(self) -> None:
        """Start a run with an empty memory."""
        self._runs += 1
        self._is_up = True
        self._process = self._loop.new_process(self.name)
        self._sequencer = self._process.context.run(self._build, self._run_name)

    def _build(self, run: str) -> Sequencer:
        """Make the real parts of a node: the one place where that is done."""
        settings = self._settings
        self._witness = self._disk.copy()
        self._loop.call_later(SAVE_EVERY_S, self._keep_saving)
        self._lease = 0
        self._stay_seen()
        limits = Limits(settings.operations_max, settings.entry_bytes_max, settings.batch_max)
        sequencer = Sequencer(
            self._edge,
            KEYS,
            Node(self.name, run),
            Rules(settings.start, last_number(settings), limits),
            Bounds(settings.queue_max, settings.deadline_s),
            self._now,
            QUIET,
            self._witness,
            count(1).__next__,
            Company(
                Seat(Contact(self.name, run, self.name, run), lambda: self._lease),
                self._peers,
                RunsMet(),
                Lanes(),
            ),
        )
        sequencer.start()
        self.expiry = Expiry(
            settings.reserving, self._holds, self._now, self._observe, self._expire
        )
        self.expiry.start(self.name, run)
        return sequencer

    async def _expire(self, asked: Asked) -> None:
        def tell(told: Told) -> None:
            self._network.counts[f"{asked.kind} {told.outcome.name}"] += 1
            self._observe(told)

        await self.serve(asked, tell)

    def _holds(self) -> Holds:
        """Return the open reservations as this node knows them; none while it knows nothing."""
        state = self._sequencer._replica._state  # noqa: SLF001 - as the job that expires them does
        return Holds() if state is None or self.is_stopping else state.holds

    def _keep_saving(self) -> None:
        self._save()
        self._loop.call_later(SAVE_EVERY_S, self._keep_saving)

    def _stay_seen(self) -> None:
        """Keep a lease, as membership does; that is quick and never fails here."""
        truth = self._network.truth
        if not (self._lease and at_once(truth.keep_alive(self._lease))):
            self._lease = at_once(truth.grant(LEASE_S))
        self._loop.call_later(LEASE_S / 3, self._stay_seen)

    async def take_in(self, content: bytes) -> bytes:
        """Serve a batch of another node, as the HTTP edge does. Runs in the process."""
        forward = forwarding.decode(content, self._now())
        return forwarding.encode_report(await self._sequencer.reception.take_in(forward))

    def _save(self) -> None:
        self._disk = self._witness.copy()
        entry, _ = self._disk.seen(KEYS.prefix.decode())
        self._observe(Saved(self.name, entry))

    def kill(self) -> None:
        """End the run at once."""
        self._process.kill()
        self.is_stopping = False
        self._is_up = False
        self.is_paused = False

    async def stop(self, grace_s: float) -> None:
        """End the run as a signal does: serve what waits for so long, tell the others."""
        self.is_stopping = True
        await self._sequencer.stop(grace_s)
        self._save()

    def pause(self) -> None:
        """Stop the process for a while."""
        self._process.pause()
        self.is_paused = True

    def resume(self) -> None:
        """Let the process go on."""
        self._process.resume(self._loop)
        self.is_paused = False

    def set_clock(self, by_ms: int) -> None:
        """Move the wall clock. The monotonic clock goes on as it was."""
        self._wall_offset_ms += by_ms

    def trim(self, kept: int) -> None:
        """Do what the job that trims does, once."""
        if self._is_up and not self.is_stopping:
            self._loop.create_task(self._trim(kept), context=self._process.context)

    async def _trim(self, kept: int) -> None:
        edge, start = self._edge, self._settings.start
        try:
            head = await History(edge, KEYS).head()
            if head is None or head.index - kept <= head.trimmed:
                return
            checkpoint = await checkpoint_after(edge, KEYS, start, head.index - kept)
            call = Call(records.Origin("", ""), f"trim-{self._run_name}", 0)
            await self._sequencer.submit(Trim(call, checkpoint))
        except (*CANNOT_READ, NotServed, OutcomeUnknown):
            pass  # the next turn will do it

    @property
    def now_ms(self) -> int:
        """Return the time on its wall clock."""
        return self._now().wall_ms

    def _now(self) -> Instant:
        passed_s = self._loop.time()
        wall_ms = WALL_START_MS + self._wall_offset_ms + int(passed_s * 1_000)
        return Instant(wall_ms, int(passed_s * 1_000_000))

    async def serve(self, asked: Asked, tell: Callable[[Told], None]) -> None:
        """Serve a request as the HTTP edge does, and tell the client. Runs in the process."""
        run, request = self._run_name, asked.request
        if asked.kind is Kind.IMPORT:
            self._put_rows(asked)
        try:
            answer = await self._answer(self._wanted(asked))
        except NotServed as none:
            tell(Told(request, run, Outcome.NOT_SERVED, why=f"{type(none).__name__}: {none}"))
        except OutcomeUnknown as unknown:
            tell(Told(request, run, Outcome.UNKNOWN, why=str(unknown)))
        except Exception as bug:  # noqa: BLE001 - a finding
            tell(Told(request, run, Outcome.FAILED, why=repr(bug)))
        else:
            if isinstance(answer, Refused):
                about = answer.subject if asked.kind in OF_OPERATORS else ""
                tell(Told(request, run, Outcome.REFUSED, why=answer.why, said=about))
                return
            said, numbers = said_of(answer.record), numbers_of(answer.record)
            tell(Told(request, run, Outcome.ANSWERED, numbers, "", answer.replayed, said))

    def _put_rows(self, asked: Asked) -> None:
        """Put down the rows of an import before the commit that names them; it never fails."""
        _, content = operating.rows_of(asked)
        key = KEYS.installation.import_rows(asked.request, 0)
        put = Transaction(Guard(key), (Put(key, content),), (Range(key),))
        at_once(self._network.truth.commit(put))

    async def _answer(self, wanted: Wanted) -> Answer:
        reply = self._sequencer.submit(wanted)
        try:
            return await reply
        except asyncio.CancelledError:
            self._sequencer.caller_left(wanted, reply)
            if reply.done() and not reply.cancelled() and reply.exception() is not None:
                return await reply
            raise

    def _wanted(self, asked: Asked) -> Wanted:
        site = "" if asked.kind is Kind.RESET else asked.site
        origin = records.Origin(site, "partition-a", "on-cycle")
        call = Call(origin, asked.request, self._now().monotonic_us, asked.key, asked.payload)
        match asked.kind:
            case Kind.ISSUE:
                return Issue(call, asked.quantity, asked.at_once)
            case Kind.RELEASE:
                return Release(call, asked.number, REASON)
            case Kind.RESET:
                return Reset(call)
            case Kind.RESERVE:
                writing = writing_of(self._series.format, ())
                kept_s = self._series.reservation_s
                return Reserve(call, writing, kept_s, token_of(asked.request))
            case Kind.CONFIRM | Kind.CANCEL | Kind.EXPIRE as kind:
                voids = self._settings.reserving.voids
                return Settle(call, asked.number, asked.token, HOW[kind], voids, REASON)
            case _:
                return operating.wanted(call, asked, self._series)

    @property
    def gives_back(self) -> bool:
        """Tell whether numbers of callers who have left are still to be given back."""
        return self._sequencer._unheard.is_busy  # noqa: SLF001 - it shows in nothing else yet

    def state(self) -> tuple[object, ...] | None:
        """Return what this node knows of the counter, to compare it with the other nodes."""
        state = self._sequencer._replica._state  # noqa: SLF001 - no one else needs to see it
        return None if state is None else state_of(state)

    def newly_loaded(self) -> Known | None:
        """Return what this node knows of every number, if it has loaded it since the last time."""
        state = self._sequencer._replica._state  # noqa: SLF001 - no one else needs to see it
        if state is None or state is self._looked_at:
            return None
        self._looked_at = state
        return known_of(state)
