"""One run of one schedule: the nodes, the clients, the steps, and the quiet at the end."""

import asyncio
import gc
import hashlib
import random
from collections import Counter, deque
from typing import NamedTuple

from coordinator.history import History
from coordinator.replica import ADVICE, Replica
from coordinator.witness import Witness
from simulation import schedule as steps
from simulation.clients import Clients
from simulation.counting import count_what_is_written
from simulation.events import (
    Asked,
    Event,
    Failure,
    Finding,
    Kind,
    Note,
    Outcome,
    Rule,
    Told,
    Wrote,
)
from simulation.knowing import known_of, state_of
from simulation.listening import Listening
from simulation.network import Network, Truth
from simulation.node import KEYS, SimulatedNode, last_number, small_limits
from simulation.oracle import Oracle
from simulation.schedule import Schedule, Step
from simulation.virtual_time import Stuck, VirtualTimeLoop

REST_S = 3.0
"""Quiet after the last fault: longer than any pause between two attempts of a node."""

ANSWERS_S_MAX = 60.0
"""By then everybody has an answer: longer than any deadline."""

ENDED_WITHIN_MS = 2_500
"""So long after its deadline, in a quiet time, a reservation has ended: two looks of each node."""

ENDS_TOLD_AGAIN = 5
"""So many reservations' ends are asked for again, at every node."""

ALARMS = ("does not continue entry", ADVICE)
"""What the program says only of a store that went back or is damaged."""


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
        with small_limits(schedule.settings), Listening(world.observe, world.judge_alarm):
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
        last, reserving = last_number(settings), settings.reserving
        self._oracle = Oracle(KEYS, settings.start, last, reserving)
        truth = Truth(self._loop.time, self.observe, settings.operations_max)
        self._network = Network(self._loop, schedule, truth, self.observe)
        self._nodes = [
            SimulatedNode(f"node-{number}", settings, self._loop, self._network)
            for number in range(1, settings.nodes + 1)
        ]
        self._network.nodes = {node.name: node for node in self._nodes}
        self._counts: Counter[str] = self._network.counts
        self._clients = Clients(schedule, self._loop, self._nodes, self._counts, self.observe)
        self._strikes: deque[steps.OfNode] = deque()
        """Faults that wait for a node to have guests."""
        self._network.guest_came = self._guest_came
        self._came_true: set[tuple[str, int]] = set()
        """Batches in the ledger that were committed by another node than their own."""

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
        unheard_of = self._came_true - self._network.heard
        counts["batches committed whose reply was lost"] += len(unheard_of)
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
            count_what_is_written(event, self._counts, self._came_true)
        self._oracle.hear(event)
        if isinstance(event, Told):
            self._judge_what_is_known(event.run)
        self._end_with_a_finding()

    def _judge_what_is_known(self, run: str) -> None:
        """Look at what a node has loaded from the store that has just answered somebody."""
        if not self._schedule.restores:  # else it may know another history
            for node in self._nodes:
                if node.run == run and (known := node.newly_loaded()) is not None:
                    self._oracle.knows(node.name, known)

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

    def judge_alarm(self, text: str) -> None:
        """Find an alarm about a store that is as it should be."""
        if not self._schedule.restores and any(words in text for words in ALARMS):
            self._find(Rule.TRUE_ALARM, text)

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
        if isinstance(step, steps.OfClient):
            self._clients.do(step)
            return
        if isinstance(step, steps.OfNode) and step.node == steps.THE_TURN:
            self._strikes.append(step)
            return
        self._counts[type(step).__name__] += 1
        self.observe(Note(f"fault: {step}"))
        if isinstance(step, steps.OfNode):
            self._do_to_node(step, self._nodes[step.node])
        else:
            self._do_to_store(step)

    def _guest_came(self, node: str) -> None:
        """Strike the node that has just taken in another's batch, if that is due."""
        if self._strikes:
            step = self._strikes.popleft()
            busy_s = 2 * self._schedule.settings.network.latency_ms[1] / 1_000
            delay_s = random.Random(f"{self._schedule.seed} {step}").uniform(0, busy_s)  # noqa: S311
            at = next(at for at, each in enumerate(self._nodes) if each.name == node)
            self._network.later(delay_s, self._strike, step._replace(node=at))

    def _strike(self, step: steps.OfNode) -> None:
        if not self._network.is_calm:
            self._do(step)

    def _do_to_node(self, step: steps.OfNode, node: SimulatedNode) -> None:
        if self._network.guests.get(node.name):
            self._counts[f"{type(step).__name__} with guests"] += 1
        match step:
            case steps.Crash(_, _, for_ms):
                self._crash(node, for_ms / 1_000)
            case steps.Stop(_, _, grace_ms, for_ms):
                self._stop_node(node, grace_ms / 1_000, for_ms / 1_000)
            case steps.Pause(_, _, for_ms):
                self._pause(node, for_ms / 1_000)
            case steps.Trim(_, _, kept):
                node.trim(kept)
            case steps.ClockJump(_, _, by_ms):
                node.set_clock(by_ms)
            case steps.Cut(_, _, for_ms):
                self._network.cut.add(node.name)
                self._loop.call_later(for_ms / 1_000, self._network.cut.discard, node.name)

            case steps.CutBetween(_, _, other, for_ms):
                pair = frozenset((node.name, self._nodes[other].name))
                self._network.cut_between[pair] += 1
                self._loop.call_later(for_ms / 1_000, self._reach_again, pair)

    def _reach_again(self, pair: frozenset[str]) -> None:
        self._network.cut_between[pair] -= self._network.cut_between[pair] > 0

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
        self._clients.lose(node.run)
        node.kill()
        self._network.guests.pop(node.name, None)
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

    # The quiet at the end: no more faults; everything must come right by itself

    async def _come_to_rest(self) -> None:
        self.observe(Note("no more faults from here on"))
        self._network.is_calm = True
        self._strikes.clear()
        self._network.cut.clear()
        self._network.cut_between.clear()
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
            await self._all_is_given_back()
            await self._every_node_serves()
            await self._what_is_due_ends()
            await self._every_end_is_told_again()
            await self._all_is_given_back()
            await self._nodes_agree()
            await self._proof_is_valid()
            due_ms = min(node.now_ms for node in self._nodes) - ENDED_WITHIN_MS
            self._oracle.at_rest({node.run for node in self._nodes}, due_ms)
            self._end_with_a_finding()

    async def _everybody_has_an_answer(self) -> None:
        ends_s = self._loop.time() + ANSWERS_S_MAX
        while self._clients.serving and self._loop.time() < ends_s:
            await asyncio.sleep(0.1)
        if self._clients.serving:
            self._find(Rule.RECOVERS, f"never answered: {', '.join(self._clients.serving)}")

    async def _all_is_given_back(self) -> None:
        """Wait for what callers who left did not hear: with small bounds that takes a while."""
        ends_s = self._loop.time() + ANSWERS_S_MAX
        while any(node.gives_back for node in self._nodes) and self._loop.time() < ends_s:
            await asyncio.sleep(0.1)

    async def _repeat_every_key(self) -> None:
        keyed = {
            asked.key: asked for asked in self._clients.asked.values() if asked.key is not None
        }
        for serial, asked in enumerate(list(keyed.values())):
            for node in self._nodes:
                again = asked._replace(request=f"again-{serial}-{node.name}", node=node.name)
                self._clients.ask(again, node)
        await self._everybody_has_an_answer()

    async def _what_is_due_ends(self) -> None:
        """Let the nodes look once more for reservations whose time is over, and then no more."""
        if self._schedule.settings.reserving.reservations:
            await asyncio.sleep(ENDED_WITHIN_MS / 1_000)
        for node in self._nodes:
            node.expiry.stop()
        while any(node.expiry.is_busy for node in self._nodes):
            await asyncio.sleep(0.1)

    async def _every_end_is_told_again(self) -> None:
        """Ask every node to confirm: who was told an end is told it again, whoever asks."""
        for name, (number, token, site) in self._clients.tickets[:ENDS_TOLD_AGAIN]:
            for node in self._nodes:
                asked = Asked(f"end-{name}-{node.name}", node.name, Kind.CONFIRM, site)
                self._clients.ask(asked._replace(number=number, token=token), node)
        await self._everybody_has_an_answer()

    async def _every_node_serves(self) -> None:
        for node in self._nodes:
            # The first may be unknown: its batch met another run where its holder had been.
            for request in (f"last-{node.name}", f"very-last-{node.name}"):
                self._clients.ask(Asked(request, node.name, Kind.ISSUE, "site-0"), node)
                await self._everybody_has_an_answer()
            if self._clients.outcomes[request] not in {Outcome.ANSWERED, Outcome.REFUSED}:
                self._find(Rule.RECOVERS, f"{node.name} does not serve after the faults")

    async def _nodes_agree(self) -> None:
        """Ask each node for a refusal, which is about the newest state; compare what they know."""
        for node in self._nodes:
            self._clients.ask(
                Asked(f"no-such-number-{node.name}", node.name, Kind.RELEASE, "site-0"), node
            )
        await self._everybody_has_an_answer()
        # Who has its batches committed by another node may have let go of its own state.
        known = [state for node in self._nodes if (state := node.state()) is not None]
        known.append(await self._state_in_the_store())
        if any(state != known[0] for state in known):
            self._find(Rule.AGREES, f"the nodes know different things: {known}")

    async def _state_in_the_store(self) -> tuple[object, ...]:
        """Return what a node would know that starts now, and judge it."""
        start = self._schedule.settings.start
        state = await Replica(self._network.truth, KEYS, start, Witness()).state()
        self._oracle.knows("who loads the counter", known_of(state))
        return state_of(state)

    async def _proof_is_valid(self) -> None:
        verdict = await History(self._network.truth, KEYS).prove(self._schedule.settings.start)
        if not verdict.valid:
            self._find(Rule.COMPLETE, f"the proof finds {verdict.findings[:3]}")
