"""The clients of one run: what they ask, what they are told, what they believe to hold."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextvars import copy_context

from coordinator.core.records import How
from simulation import schedule as steps
from simulation.events import OF_OPERATORS, Asked, Event, Kind, Left, Outcome, Told
from simulation.node import SimulatedNode
from simulation.operating import Operate, Operators, asks_again
from simulation.reserving import (
    TRY_AGAIN_S,
    Reserve,
    Settle,
    Ticket,
    Tickets,
    ask_to_settle,
    asked_again,
)
from simulation.schedule import Schedule


class Clients:
    """All of them; ``serving`` are the requests without an answer."""

    def __init__(
        self,
        schedule: Schedule,
        loop: asyncio.AbstractEventLoop,
        nodes: list[SimulatedNode],
        counts: Counter[str],
        observe: Callable[[Event], None],
    ) -> None:
        self._schedule = schedule
        self._loop = loop
        self._nodes = nodes
        self._counts = counts
        self._observe = observe
        self.serving: dict[str, tuple[str, asyncio.Task[None]]] = {}
        """Requests without an answer: the run of the node, and its task that serves them."""
        self._held: dict[str, list[int]] = {}
        """What each site believes to hold."""
        self.asked: dict[str, Asked] = {}
        self.outcomes: dict[str, Outcome] = {}
        self._released_by_key: dict[str, tuple[str, int]] = {}
        self._tickets = Tickets()
        self._operators = Operators(schedule.settings.start)
        self._context = copy_context()
        """Of no node: clients go on when a node has died that has answered them."""

    def do(self, step: steps.OfClient) -> None:
        """Ask what the schedule says."""
        asked = self._question(step)
        if asked is None:
            return
        self.ask(asked, self._nodes[step.node])
        if not isinstance(step, steps.Reset) and step.leaves_ms is not None:
            self._loop.call_later(step.leaves_ms / 1_000, self._leave, step.name)

    @property
    def tickets(self) -> list[tuple[str, Ticket]]:
        """Return the reservations that clients know of, by the name of their step."""
        return list(self._tickets)

    def lose(self, run: str) -> None:
        """Break the connections of all who wait at this run of a node."""
        for request, (run_of_node, _) in list(self.serving.items()):
            if run_of_node == run:
                self._told(Told(request, run, Outcome.BROKEN))

    def _question(self, step: steps.OfClient) -> Asked | None:
        node = self._nodes[step.node].name
        if isinstance(step, steps.Reset):
            return Asked(step.name, node, Kind.RESET, "")
        if isinstance(step, Settle):
            ticket = self._tickets.of(step)
            return None if ticket is None else ask_to_settle(step, node, ticket)
        if isinstance(step, Operate):
            return self._operators.question(step, node, self._held)
        site = f"site-{step.site}"
        if isinstance(step, Reserve):
            payload = f"reserve {site}" if step.key else None
            return Asked(step.name, node, Kind.RESERVE, site, key=step.key, payload=payload)
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

    def ask(self, asked: Asked, node: SimulatedNode) -> None:
        """Send a request to a node."""
        self._counts["requests"] += 1
        self.asked[asked.request] = asked
        self._observe(asked)
        if node.run is None:
            self._told(Told(asked.request, "", Outcome.NO_NODE))
            return
        serving = self._loop.create_task(
            node.serve(asked, self._reply), context=node.process.context
        )
        self.serving[asked.request] = (node.run, serving)

    def _reply(self, told: Told) -> None:
        if told.request in self.serving:
            self._told(told)
        elif told.outcome is Outcome.UNKNOWN:  # its caller has left, and would have heard no more
            self._observe(told)

    def _told(self, told: Told) -> None:
        self.serving.pop(told.request, None)
        asked = self.asked[told.request]
        self.outcomes[told.request] = told.outcome
        self._counts[f"{asked.kind} {told.outcome.name}"] += 1
        self._counts["replays"] += told.replayed
        is_kept = (asked.kind is Kind.ISSUE and not asked.at_once) or told.said == How.CONFIRMED
        is_kept |= asked.kind in {Kind.ASSIGN, Kind.IMPORT}
        if told.outcome is Outcome.ANSWERED and is_kept:
            held = self._held.setdefault(asked.site, [])
            held += [number for number in told.numbers if number not in held]
        self._operators.hear(asked, told, self._held)
        if told.outcome is Outcome.ANSWERED and not told.replayed:
            self._counts[f"numbers of {asked.kind}"] += len(told.numbers)
        self._observe(told)
        if asked.kind is Kind.RESERVE and told.outcome is Outcome.ANSWERED:
            for step in self._tickets.answered(asked, told):
                self._loop.call_soon(self.do, step, context=self._context)
        elif asked.token:
            if told.outcome is Outcome.ANSWERED:
                self._counts[f"{asked.kind} told {told.said}"] += 1
            self._go_on(asked, asked_again(asked, told))
        elif asked.kind in OF_OPERATORS:
            self._go_on(asked, asks_again(asked, told))

    def _go_on(self, asked: Asked, again: Asked | None) -> None:
        """Go on with a client: who was not told what came of it asks again, at the next node."""
        if again is not None:
            names = [node.name for node in self._nodes]
            node = self._nodes[(names.index(asked.node) + 1) % len(names)]
            again = again._replace(node=node.name)
            self._loop.call_later(TRY_AGAIN_S, self.ask, again, node, context=self._context)

    def _leave(self, request: str) -> None:
        if request in self.serving:
            run_of_node, serving = self.serving.pop(request)
            node = next(node for node in self._nodes if node.run == run_of_node)
            self._counts["left"] += 1
            self._observe(Left(request, run_of_node))
            self._loop.call_soon(serving.cancel, context=node.process.context)
