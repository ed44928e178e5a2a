"""One run of one schedule: the nodes, the clients, the steps, and the quiet at the end."""

import asyncio
import gc
import hashlib
import logging
from collections import Counter
from typing import NamedTuple, Self

from coordinator.history import History
from simulation import schedule as steps
from simulation.events import (
    Asked,
    Event,
    Failure,
    Finding,
    Kind,
    Left,
    Note,
    Outcome,
    Rule,
    Told,
    Wrote,
)
from simulation.network import Network, Truth
from simulation.node import KEYS, SimulatedNode, last_number, small_limits
from simulation.oracle import Oracle
from simulation.schedule import Schedule, Step
from simulation.virtual_time import RUNNING_IN, Stuck, VirtualTimeLoop

REST_S = 3.0
"""Quiet after the last fault: longer than any pause between two attempts of a node."""

ANSWERS_S_MAX = 60.0
"""By then everybody has an answer: longer than any deadline."""


class Result(NamedTuple):
    """What came of a run: its history, what the oracle found first, what happened how often."""

    schedule: Schedule
    history: tuple[str, ...]
    findings: tuple[Finding, ...]
    counts: Counter[str]
    faulty: tuple[tuple[str, int], ...]

    @property
    def digest(self) -> str:
        """Return a digest of the history: equal for equal runs."""
        return hashlib.sha256("\n".join(self.history).encode()).hexdigest()


def run(schedule: Schedule) -> Result:
    """Run a schedule from start to end, or to the first finding."""
    was_enabled = gc.isenabled()
    gc.disable()  # the collector comes when it likes; what it ends would be part of the run
    try:
        world = World(schedule)
        with small_limits(schedule.settings), _Listening(world):
            world.run_to_end()
        return world.result()
    finally:
        if was_enabled:
            gc.enable()


class World:
    """All that lives in one run."""

    def __init__(self, schedule: Schedule) -> None:
        settings = schedule.settings
        self._schedule = schedule
        self._loop = VirtualTimeLoop()
        self._loop.set_exception_handler(self._on_error)
        self._is_over = False
        self._events: list[tuple[float, Event]] = []
        self._oracle = Oracle(KEYS, settings.start, last_number(settings))
        truth = Truth(self._loop.time, self.observe, settings.operations_max)
        self._network = Network(self._loop, schedule, truth, self.observe)
        self._nodes = [
            SimulatedNode(f"node-{number}", settings, self._loop, self._network)
            for number in range(1, settings.nodes + 1)
        ]
        self._network.nodes = {node.name: node for node in self._nodes}
        self._counts: Counter[str] = self._network.counts
        self._serving: dict[str, tuple[str, asyncio.Task[None]]] = {}
        """Requests without an answer: the run of the node, and its task that serves them."""
        self._held: dict[str, list[int]] = {}
        """What each site believes to hold."""
        self._asked: dict[str, Asked] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._released_by_key: dict[str, tuple[str, int]] = {}

    def run_to_end(self) -> None:
        """Live through the schedule."""
        try:
            living = self._loop.create_task(self._live())
            living.add_done_callback(self._stop)
            self._loop.run_forever()
            if living.done():
                living.result()
        except Stuck as stuck:
            self.observe(Failure(str(stuck)))
        finally:
            self._is_over = True
            self._loop.close()

    def _stop(self, _: object) -> None:
        if not self._is_over:
            self._loop.stop()

    def result(self) -> Result:
        """Return what came of it."""
        history = tuple(f"{time_s * 1000:12.3f} ms  {event}" for time_s, event in self._events)
        counts = self._counts
        counts["schedules"] += 1
        counts["virtual seconds"] += round(self._loop.time())
        findings = tuple(self._oracle.findings)
        faulty = tuple(self._network.faulty)
        return Result(self._schedule, history, findings, counts, faulty)

    def observe(self, event: Event) -> None:
        """Note an event; end the run when the oracle finds something."""
        if self._is_over:
            return
        self._events.append((self._loop.time(), event))
        if isinstance(event, Wrote):
            self._counts["revisions"] += 1
        self._oracle.hear(event)
        self._end_with_a_finding()

    def _find(self, rule: Rule, what: str) -> None:
        if not self._is_over:
            self._oracle.find(rule, what)
            self._end_with_a_finding()

    def _end_with_a_finding(self) -> None:
        if self._oracle.findings:
            self._is_over = True
            self._loop.stop()

    def _on_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        if "task" in context or "handle" in context:  # not: nobody heard an answer
            self.observe(Failure(f"{context['message']}: {context.get('exception')!r}"))

    # The schedule

    async def _live(self) -> None:
        for node in self._nodes:
            node.start()
        for step in self._schedule.steps:
            await asyncio.sleep(step.at_ms / 1_000 - self._loop.time())
            self._do(step)
        length_s = self._schedule.settings.length_ms / 1_000
        await asyncio.sleep(max(0.0, length_s - self._loop.time()))
        await self._come_to_rest()

    def _do(self, step: Step) -> None:
        if isinstance(step, steps.Issue | steps.Release | steps.Reset):
            self._ask(self._question(step), self._nodes[step.node])
            if not isinstance(step, steps.Reset) and step.leaves_ms is not None:
                self._loop.call_later(step.leaves_ms / 1_000, self._leave, step.name)
            return
        self._counts[type(step).__name__] += 1
        self.observe(Note(f"fault: {step}"))
        if isinstance(step, steps.OfNode):
            self._do_to_node(step, self._nodes[step.node])
        else:
            self._do_to_store(step)

    def _do_to_node(self, step: steps.OfNode, node: SimulatedNode) -> None:
        match step:
            case steps.Crash(_, _, for_ms):
                self._crash(node, for_ms / 1_000)
            case steps.Stop(_, _, grace_ms, for_ms):
                self._stop_node(node, grace_ms / 1_000, for_ms / 1_000)
            case steps.Pause(_, _, for_ms):
                self._pause(node, for_ms / 1_000)
            case steps.ClockJump(_, _, by_ms):
                node.set_clock(by_ms)
            case steps.Cut(_, _, for_ms):
                self._network.cut.add(node.name)
                self._loop.call_later(for_ms / 1_000, self._network.cut.discard, node.name)

    def _do_to_store(self, step: steps.OfStore) -> None:
        match step:
            case steps.Full(_, for_ms):
                self._network.full += 1
                self._loop.call_later(for_ms / 1_000, self._space_again)
            case steps.Compact():
                self._network.truth.compact()
            case steps.Backup():
                self._network.truth.back_up()
            case steps.Restore():
                self._network.restore()

    def _crash(self, node: SimulatedNode, for_s: float) -> None:
        if node.run is None:
            return
        for request, (run_of_node, _) in list(self._serving.items()):
            if run_of_node == node.run:
                self._told(Told(request, run_of_node, Outcome.BROKEN))
        node.kill()
        self._loop.call_later(for_s, self._restart, node)

    def _stop_node(self, node: SimulatedNode, grace_s: float, for_s: float) -> None:
        if node.run is None or node.is_paused or node.is_stopping:
            return
        stopping = self._loop.create_task(node.stop(grace_s), context=node.process.context)
        run_of_node = node.run

        def has_stopped() -> None:
            if node.run == run_of_node:
                self._crash(node, for_s)

        # A step later: those who were told at the last moment hear it.
        stopping.add_done_callback(lambda _: self._loop.call_soon(has_stopped))

    def _restart(self, node: SimulatedNode) -> None:
        if node.run is None:
            node.start()
            self.observe(Note(f"{node.name} starts again, as {node.run}"))

    def _pause(self, node: SimulatedNode, for_s: float) -> None:
        if node.run is None or node.is_paused:
            return
        node.pause()
        self._loop.call_later(for_s, self._resume, node, node.run)

    def _resume(self, node: SimulatedNode, run_of_node: str) -> None:
        if node.run == run_of_node and node.is_paused:
            node.resume()
            self.observe(Note(f"{node.name} goes on"))

    def _space_again(self) -> None:
        self._network.full -= 1

    # The clients

    def _question(self, step: steps.Issue | steps.Release | steps.Reset) -> Asked:
        node = self._nodes[step.node].name
        if isinstance(step, steps.Reset):
            return Asked(step.name, node, Kind.RESET, "")
        site = f"site-{step.site}"
        if isinstance(step, steps.Issue):
            payload = f"issue {site} {step.quantity} {step.at_once}" if step.key else None
            return Asked(
                *(step.name, node, Kind.ISSUE, site, step.quantity, 0, step.at_once),
                *(step.key, payload),
            )
        site, number = self._number_to_release(step, site)
        payload = f"release {site} {number}" if step.key else None
        return Asked(
            step.name, node, Kind.RELEASE, site, number=number, key=step.key, payload=payload
        )

    def _number_to_release(self, step: steps.Release, site: str) -> tuple[str, int]:
        """Return a number and the site that gives it back: this one, or else one that holds any."""
        if step.key is not None and step.key in self._released_by_key:
            return self._released_by_key[step.key]
        site = next((each for each in (site, *self._held) if self._held.get(each)), site)
        held = self._held.get(site, [])
        if step.wild or not held:
            number = max(0, self._schedule.settings.start - 2 + step.pick % 60)
        else:
            number = held[step.pick % len(held)]
            if not step.keeps:
                held.remove(number)
        if step.key is not None:
            self._released_by_key[step.key] = (site, number)
        return site, number

    def _ask(self, asked: Asked, node: SimulatedNode) -> None:
        self._counts["requests"] += 1
        self._asked[asked.request] = asked
        self.observe(asked)
        if node.run is None:
            self._told(Told(asked.request, "", Outcome.NO_NODE))
            return
        serving = self._loop.create_task(
            node.serve(asked, self._reply), context=node.process.context
        )
        self._serving[asked.request] = (node.run, serving)

    def _reply(self, told: Told) -> None:
        if told.request in self._serving:  # else its caller has left
            self._told(told)

    def _told(self, told: Told) -> None:
        self._serving.pop(told.request, None)
        asked = self._asked[told.request]
        self._outcomes[told.request] = told.outcome
        self._counts[f"{asked.kind} {told.outcome.name}"] += 1
        self._counts["replays"] += told.replayed
        if told.outcome is Outcome.ANSWERED and asked.kind is Kind.ISSUE and not asked.at_once:
            held = self._held.setdefault(asked.site, [])
            held += [number for number in told.numbers if number not in held]
        if told.outcome is Outcome.ANSWERED and not told.replayed:
            self._counts[f"numbers of {asked.kind}"] += len(told.numbers)
        self.observe(told)

    def _leave(self, request: str) -> None:
        if request in self._serving:
            run_of_node, serving = self._serving.pop(request)
            node = next(node for node in self._nodes if node.run == run_of_node)
            self._counts["left"] += 1
            self.observe(Left(request, run_of_node))
            self._loop.call_soon(serving.cancel, context=node.process.context)

    # The quiet at the end: no more faults; everything must come right by itself

    async def _come_to_rest(self) -> None:
        self.observe(Note("no more faults from here on"))
        self._network.is_calm = True
        self._network.cut.clear()
        for node in self._nodes:
            if node.is_stopping:
                self._crash(node, 0)
            if node.run is None:
                self._restart(node)
            elif node.is_paused:
                self._resume(node, node.run)
        await self._everybody_has_an_answer()
        await asyncio.sleep(REST_S)
        await self._repeat_every_key()
        if not self._schedule.restores:  # else a person must decide what is true
            await self._every_node_serves()
            await self._nodes_agree()
            await self._proof_is_valid()
            self._oracle.at_rest({node.run for node in self._nodes})
            self._end_with_a_finding()

    async def _everybody_has_an_answer(self) -> None:
        ends_s = self._loop.time() + ANSWERS_S_MAX
        while self._serving and self._loop.time() < ends_s:
            await asyncio.sleep(0.1)
        if self._serving:
            self._find(Rule.RECOVERS, f"never answered: {', '.join(self._serving)}")

    async def _repeat_every_key(self) -> None:
        keyed = {asked.key: asked for asked in self._asked.values() if asked.key is not None}
        for serial, asked in enumerate(list(keyed.values())):
            for node in self._nodes:
                again = asked._replace(request=f"again-{serial}-{node.name}", node=node.name)
                self._ask(again, node)
        await self._everybody_has_an_answer()

    async def _every_node_serves(self) -> None:
        for node in self._nodes:
            request = f"last-{node.name}"
            self._ask(Asked(request, node.name, Kind.ISSUE, "site-0"), node)
            await self._everybody_has_an_answer()
            if self._outcomes[request] not in {Outcome.ANSWERED, Outcome.REFUSED}:
                self._find(Rule.RECOVERS, f"{node.name} does not serve after the faults")

    async def _nodes_agree(self) -> None:
        """Ask each node for a refusal, which is about the newest state; compare what they know."""
        for node in self._nodes:
            self._ask(Asked(f"no-such-number-{node.name}", node.name, Kind.RELEASE, "site-0"), node)
        await self._everybody_has_an_answer()
        # Who has its batches committed by another node may have let go of its own state.
        known = [state for node in self._nodes if (state := node.state()) is not None]
        if any(state != known[0] for state in known):
            self._find(Rule.AGREES, f"the nodes know different things: {known}")

    async def _proof_is_valid(self) -> None:
        verdict = await History(self._network.truth, KEYS).prove(self._schedule.settings.start)
        if not verdict.valid:
            self._find(Rule.COMPLETE, f"the proof finds {verdict.findings[:3]}")


class _Listening(logging.Handler):
    """Takes what the program logs into the history; an error of its own is a finding."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.WARNING)
        self._world = world
        self._logger = logging.getLogger("coordinator")

    def __enter__(self) -> Self:
        self._before = self._logger.propagate, self._logger.level
        self._logger.propagate = False
        self._logger.setLevel(logging.WARNING)
        self._logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        self._logger.propagate, self._logger.level = self._before

    def emit(self, record: logging.LogRecord) -> None:
        process = RUNNING_IN.get()
        who = process.name if process else "the network"
        text = f"{who} says: {record.getMessage()}"
        if record.exc_info and record.exc_info[1]:
            self._world.observe(Failure(f"{text}: {record.exc_info[1]!r}"))
        else:
            self._world.observe(Note(text))
