"""The composition root: builds the parts of a node, runs them, and takes them down again."""

import asyncio
import gc
import logging
import secrets
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from aiohttp import web

import dashboard.docs
import dashboard.view
from coordinator import __version__
from coordinator.api.admin import Admin
from coordinator.api.audit_calls import Audit
from coordinator.api.bulk_import import BulkImport
from coordinator.api.calls import Caller
from coordinator.api.demo import DemoApi
from coordinator.api.demo_processes import ProcessesApi
from coordinator.api.document_calls import DocumentCalls
from coordinator.api.documents import Documents
from coordinator.api.events import Events
from coordinator.api.express import BODY_BYTES_MAX, Express, Place
from coordinator.api.gap_calls import Gaps
from coordinator.api.import_progress import ImportProgress
from coordinator.api.last_numbers import LastNumbers
from coordinator.api.live_view import LiveView
from coordinator.api.numbers import Numbers
from coordinator.api.openapi import OpenApi
from coordinator.api.operations import Operations
from coordinator.api.operators import Operators
from coordinator.api.orders import placing
from coordinator.api.own_site import changes
from coordinator.api.refusals import Refusals, nothing_here
from coordinator.api.reservations import Reservations
from coordinator.api.sequence import SequenceApi
from coordinator.api.sequences import Sequences
from coordinator.api.server import Runner
from coordinator.api.server import Terms as ConnectionTerms
from coordinator.api.templates import Templates
from coordinator.api.turn import TurnApi
from coordinator.api.views import Views
from coordinator.api.which import Which
from coordinator.config import Settings
from coordinator.core.documents import INVOICE
from coordinator.core.keys import Keys
from coordinator.core.plan import Rules
from coordinator.core.room import Limits
from coordinator.core.series import counter_names
from coordinator.counters import Counters, Terms
from coordinator.document_counters import DocumentCounters
from coordinator.guests import RunsMet
from coordinator.handing import Company
from coordinator.importing.book import ImportBook
from coordinator.importing.importer import Importer
from coordinator.jobs.control import Control
from coordinator.jobs.demonstrations import Demonstrations
from coordinator.jobs.expiry import Expiry
from coordinator.jobs.failover import Failover
from coordinator.jobs.forgotten import Search
from coordinator.jobs.live import Live
from coordinator.jobs.membership import CannotJoin, Membership
from coordinator.jobs.neighbours import Neighbours
from coordinator.jobs.running import JobBook
from coordinator.jobs.struck import Struck
from coordinator.jobs.trimming import Trimming
from coordinator.jobs.upkeep import Upkeep
from coordinator.lanes import Lanes
from coordinator.metrics import Metrics
from coordinator.open_files import room
from coordinator.overview import Installation
from coordinator.peers import HttpPeers
from coordinator.registry import Registry
from coordinator.service import Bounds, Node
from coordinator.store import Store
from coordinator.store.etcd import EtcdStore
from coordinator.store.members import Members
from coordinator.timeline import Timeline
from coordinator.turn import Contact, Seat
from coordinator.witness import Witness, WitnessUnreadable
from coordinator.workplace import clear_left

log = logging.getLogger(__name__)

GC_THRESHOLDS = (20_000, 20, 20)
"""Requests leave hardly any cycles behind: looking for them 30 times less often saves 2 %."""

PROBED_MAX = 64
"""Counters that are loaded at start; more of them are loaded when they are asked for."""

ANSWERS_GRACE_S = 2.0
"""For requests that are being answered when the stop comes."""

QUEUE_GRACE_S = 1.0
"""For what still waits after that. With leaving (1 s), a stop takes 4 s at most."""


class NodeApp:
    """One node: its store, counters, jobs and HTTP routes. Make it inside a running loop."""

    def __init__(self, settings: Settings, store: Store) -> None:
        """Raise CannotJoin when what this node remembers cannot be read."""
        self._settings = settings
        self._store = store
        self._keys = Keys(settings.root.encode())
        node = Node(settings.node_id, secrets.token_hex(4))
        limits = Limits(operations=settings.etcd_operations_max)
        rules = Rules(settings.first_number, settings.max_value, limits)
        bounds = Bounds(settings.queue_max, settings.deadline_s)
        self._names = counter_names(
            settings.series, settings.strategy, settings.sites, settings.partitions
        )
        first, last = settings.first_number, settings.max_value
        self._metrics = Metrics(last, self._names, settings.series, first)
        self.witness = _witness(settings)
        self.membership = Membership(store, self._keys, settings, node)
        self._members = Members(settings.etcd_endpoints)
        self.upkeep = Upkeep(store, self._members, self._keys, settings)
        self._control = Control(settings.control_url, settings.control_token)
        self._book = JobBook(settings.node_id)
        self._peers = HttpPeers()
        self._token = secrets.token_hex(16)
        me = Contact(*node, settings.url, self._token)
        terms = Terms(rules, bounds, settings.counter_idle_s, settings.counters_max)
        self._counters = Counters(
            *(store, self._keys, node, terms, self._metrics.watcher, self.witness),
            Company(Seat(me, lambda: self.membership.lease), self._peers, RunsMet(), Lanes()),
        )
        self._registry = Registry(store, self._keys)
        joined = self.membership.has_joined
        self.expiry = Expiry(self._counters, self._registry, joined)
        self.search = Search(
            *(store, self._keys, settings.node_id, self._counters, self._registry),
            *(joined, self._metrics.saw_reserved),
        )
        self._caller = Caller(settings, node.instance)
        self.refusals = Refusals(self._caller.name_request, self._metrics.refused)
        self.web = self._web(node)

    def _web(self, node: Node) -> web.Application:
        settings = self._settings
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        installation = Installation(self._store, self._keys, self._names)
        self._neighbours = Neighbours(settings.node_id, installation.nodes)
        measured = Installation(self._store, self._keys, self._metrics.shown)
        counters, membership, registry = self._counters, self.membership, self._registry
        calls = DocumentCalls(registry, counters, self._names, membership)
        found = DocumentCounters(self._store, self._keys)
        which = Which(settings, installation, found)
        audit = Audit(settings, self._store, self._keys, counters, registry, which)
        app.on_shutdown.append(audit.end)
        timeline = Timeline()
        views = Views(settings, installation, counters, membership, which)
        operations = Operations(
            *(settings, measured, counters, membership, self.upkeep, self._metrics),
            *(registry, found),
        )
        about = (settings, node.instance, views, audit, operations, timeline)
        view = LiveView(*about, LastNumbers(counters))
        latencies = self._metrics.latencies
        self.live = Live(
            installation, self.upkeep, latencies, timeline, view, Struck(self._control)
        )
        app.on_shutdown.append(view.end)
        self._metrics.show_streams(lambda: view.broadcast.readers)
        page, openapi = self._page(node), OpenApi(settings)
        reservations = Reservations(self._caller, calls)
        numbers = SequenceApi(settings, self._caller, counters, membership)
        turns = TurnApi(self._token, self._names, counters, registry)
        self._short_way = self._express(numbers, turns, reservations)
        routes = [
            *numbers.routes(),
            *views.routes(),
            *audit.routes(),
            *Gaps(settings, self._store, self._keys, which).routes(),
            *operations.routes(),
            *Events(view, timeline).routes(),
            *self._demonstrations(installation),
            *turns.routes(),
            *Admin(self._caller, counters, self._names).routes(),
            *Templates(settings, self._caller, registry).routes(),
            *Documents(settings, self._store, self._keys, registry).routes(),
            *reservations.routes(),
            *Operators(self._caller, calls, self._store, self._keys).routes(),
            *self._imports(node, registry),
            *Numbers(settings, self._store, self._keys, registry, counters).routes(),
            *Sequences(settings, self._store, self._keys, registry, found).routes(),
            *openapi.routes(),
            web.get("/docs", dashboard.docs.showing(page, settings.url, openapi.document)),
        ]
        guard = self.refusals.guard
        for route in routes:
            handler = guard(route.handler, changes=changes(route.method, route.path))
            app.router.add_route(route.method, route.path, handler)
        dashboard.view.add_routes(app, page)
        app.router.add_route("*", "/{anything:(?s:.*)}", guard(nothing_here))
        return app

    def _express(self, numbers: SequenceApi, turns: TurnApi, reservations: Reservations) -> Express:
        calls: dict[tuple[str, str], Place] = {**turns.placed(), **reservations.placed()}
        calls |= {call: placing(order_of) for call, order_of in numbers.orders().items()}
        return Express(calls, self._caller.name, self.refusals)

    def _page(self, node: Node) -> dashboard.view.PageFacts:
        settings = self._settings
        return dashboard.view.PageFacts(
            settings.sites,
            settings.partitions,
            settings.invoice_types,
            settings.node_id,
            node.instance,
            __version__,
            settings.profile.value,
            settings.dashboard_read_only,
        )

    def _imports(self, node: Node, registry: Registry) -> list[web.RouteDef]:
        settings = self._settings
        invoices_from = settings.first_number if INVOICE in self._names else None
        bounds = (invoices_from, settings.etcd_operations_max, settings.max_value)
        importer = Importer(self._store, self._keys, node.node, self.witness, *bounds)
        book = ImportBook(node.node)
        shared = (self._caller, registry, self._counters, self.membership)
        api = BulkImport(*shared, importer, book, self._metrics)
        return [*api.routes(), *ImportProgress(book, self._neighbours).routes()]

    def _demonstrations(self, installation: Installation) -> list[web.RouteDef]:
        settings, book, control = self._settings, self._book, self._control
        processes = ProcessesApi(settings, control, self._members, self._neighbours, book)
        demonstrations = Demonstrations(settings, installation.live_urls)
        failover = Failover(settings, installation.nodes, control, self._members)
        api = DemoApi(settings, demonstrations, failover, book, self._neighbours, processes)
        return [*api.routes(), *processes.routes()]

    def jobs(self) -> list[Coroutine[Any, Any, None]]:
        """Return what runs beside the requests until cancelled. The first may raise CannotJoin."""
        jobs = [
            self._be_a_member(),
            self._counters.keep_forgetting(),
            self.witness.keep_saving(),
            self.upkeep.run(),
            self.expiry.run(),
            self.search.run(),
            self.live.run(),
        ]
        if self._settings.entries_kept:
            jobs.append(self._trimming().run())
        return jobs

    def _trimming(self) -> Trimming:
        first, kept = self._settings.first_number, self._settings.entries_kept
        counters, role = self._counters, self.upkeep.is_our_role
        return Trimming(self._store, self._keys, first, kept, counters, self._names, role)

    async def _be_a_member(self) -> None:
        await self.membership.join()
        for name in self._names[:PROBED_MAX]:  # a store that went back is known before a request
            self._counters.sequencer(name).probe()
        await self.membership.stay_seen()

    def runner(self, connections_max: int, **more: Any) -> Runner:
        """Return what serves this node to its callers."""
        settings = self._settings
        terms = ConnectionTerms(connections_max, settings.head_s, settings.idle_s)
        return Runner(self.web, terms, self.refusals, self._short_way, **more)

    async def _save_witness(self) -> None:
        try:
            await asyncio.to_thread(self.witness.save)
        except OSError as failed:
            log.warning("what this node has seen cannot be written: %s", failed)

    async def stop(self) -> None:
        """Serve what waits, leave the installation, let go of the store."""
        await self._book.stop()
        await self._save_witness()  # now too: a stop that takes long may be cut short
        await self._counters.stop(QUEUE_GRACE_S)
        await self._save_witness()
        await self.membership.leave()
        self._peers.close()
        await self._control.close()
        await self._neighbours.close()
        await self._store.close()
        self.upkeep.close()


async def serve(settings: Settings) -> None:
    """Run a node until SIGINT or SIGTERM. Raises CannotJoin, also for a port in use."""
    clear_left()
    store = EtcdStore(settings.etcd_endpoints, commit_s=settings.etcd_attempt_s)
    node = NodeApp(settings, store)
    fitting = room(settings.connections_max)
    runner = node.runner(
        fitting.connections_max,
        handle_signals=False,
        handler_cancellation=True,  # who has left needs no number
        shutdown_timeout=ANSWERS_GRACE_S / 2,  # aiohttp waits for it twice
    )
    await runner.setup()
    stopping = asyncio.Event()
    _stop_on_signals(stopping)
    jobs = {asyncio.create_task(job) for job in node.jobs()}
    try:
        site = web.TCPSite(runner, settings.host, settings.port, backlog=fitting.backlog)
        try:
            await site.start()
        except OSError as failed:
            raise CannotJoin(f"cannot serve on {settings.url}: {failed}") from failed
        log.info("listening on %s", settings.url)
        gc.freeze()  # what is loaded by now stays: no collection needs to walk it again
        gc.set_threshold(*GC_THRESHOLDS)
        waiting = asyncio.create_task(stopping.wait())
        done, _ = await asyncio.wait({waiting, *jobs}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        for ended in done & jobs:
            ended.result()  # raises CannotJoin
        log.info("stopping")
    finally:
        for job in jobs:
            job.cancel()
        await runner.cleanup()
        await node.stop()


def _witness(settings: Settings) -> Witness:
    if not settings.state_dir:
        return Witness()
    try:
        return Witness(Path(settings.state_dir) / f"{settings.node_id}.json")
    except (WitnessUnreadable, OSError) as broken:
        raise CannotJoin(f"What this node has seen cannot be read: {broken}") from broken


def _stop_on_signals(stopping: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is None:
            continue
        try:
            loop.add_signal_handler(number, stopping.set)
        except NotImplementedError:  # Windows: its event loop has no signal handlers
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stopping.set))


__all__ = ["CannotJoin", "serve"]
