"""The processes of a demonstration over HTTP: who runs, and to kill, stop, pause or restart one.

The node asks its launcher, who alone can do it. What would stop all numbers, or end the load that
runs, is not done by the way: it is refused with what it means, and done with ``force``.
"""

import asyncio
import contextlib
from typing import Any

from aiohttp import web

from coordinator.api import problems
from coordinator.api.answers import iso, json_answer
from coordinator.api.demo_inputs import StrikeBody
from coordinator.api.inputs import NothingQuery, body_of
from coordinator.api.problems import Problem
from coordinator.clock import now_ms
from coordinator.config import Profile, Settings
from coordinator.jobs.control import Control, ControlRefused, ControlSilent, Process, Seen
from coordinator.jobs.leading import leader_of
from coordinator.jobs.neighbours import Neighbours, Unreachable
from coordinator.jobs.running import JobBook
from coordinator.store.members import Members

ROOT = "/api/v1/demo"
NEIGHBOUR_S_MAX = 0.5
ANSWER_FIRST_S = 0.1
"""A node that is to be struck itself says so before it goes."""

HOW = (
    "The nodes were started by hand, so nobody here can kill or restart them. Start the cluster "
    "with ./START-POC.sh (or python -m cluster up): its launcher takes such requests, on this "
    "machine only, from the nodes that it has started."
)


class ProcessesApi:
    """Handlers of the processes."""

    def __init__(
        self,
        settings: Settings,
        control: Control,
        members: Members,
        neighbours: Neighbours,
        book: JobBook,
    ) -> None:
        self._settings = settings
        self._control = control
        self._members = members
        self._neighbours = neighbours
        self._book = book
        self._later: set[asyncio.Task[None]] = set()

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of these handlers."""
        return [
            web.get(f"{ROOT}/processes", self.processes),
            web.post(f"{ROOT}/processes/{{name}}", self.strike),
        ]

    async def processes(self, request: web.Request) -> web.StreamResponse:
        """Return who runs, who leads, and what it would mean to take each of them away."""
        allow(self._settings)
        NothingQuery.parse(request.rel_url)
        if not self._control.configured:
            return json_answer({"configured": False, "how": HOW, "processes": []})
        seen, leader, running = await asyncio.gather(
            self.look(),
            leader_of(self._members, self._settings.etcd_endpoints),
            self._running_jobs(),
        )
        body = {
            "configured": True,
            "how": None,
            "processes": [
                {
                    "name": each.name,
                    "kind": each.kind,
                    "url": each.url,
                    "pid": each.pid,
                    "state": each.state,
                    "backInMs": None if each.back_in_s is None else round(each.back_in_s * 1000),
                    "deaths": each.deaths,
                    "leader": each.url == leader,
                    "thisNode": each.name == self._settings.node_id,
                    "runsJob": running.get(each.name),
                    "risk": risk(seen, each, running),
                }
                for each in seen.processes
            ],
            "timestamp": iso(now_ms()),
        }
        return json_answer(body)

    async def strike(self, request: web.Request) -> web.StreamResponse:
        """Kill, stop, pause or restart a process."""
        allow(self._settings)
        NothingQuery.parse(request.rel_url)
        asked = await body_of(request, StrikeBody)
        name = request.match_info["name"]
        process = await self.may_strike(name, asked.action, force=asked.force)
        if name == self._settings.node_id:
            task = asyncio.create_task(self._strike_soon(name, asked))
            self._later.add(task)
            task.add_done_callback(self._later.discard)
        else:
            try:
                await self._control.act(name, asked.action, asked.seconds)
            except ControlRefused as refused:
                raise Problem(problems.CANNOT_STRIKE, f"{refused}.") from None
            except ControlSilent as silent:
                raise Problem(problems.OUT_OF_REACH, f"{silent}.") from None
        body = {
            "success": True,
            "name": name,
            "kind": process.kind,
            "action": asked.action,
            "seconds": asked.seconds,
            "thisNode": name == self._settings.node_id,
            "timestamp": iso(now_ms()),
        }
        return json_answer(body, 202)

    async def _strike_soon(self, name: str, asked: StrikeBody) -> None:
        await asyncio.sleep(ANSWER_FIRST_S)
        with contextlib.suppress(ControlRefused, ControlSilent):
            await self._control.act(name, asked.action, asked.seconds)

    async def look(self) -> Seen:
        """Return who runs. Raises Problem."""
        if not self._control.configured:
            raise Problem(problems.CANNOT_STRIKE, HOW)
        try:
            return await self._control.look()
        except (ControlSilent, ControlRefused) as silent:
            detail = f"The processes cannot be seen: {silent}. Look at the launcher's terminal."
            raise Problem(problems.OUT_OF_REACH, detail) from None

    async def may_strike(self, name: str, action: str, *, force: bool) -> Process:
        """Return the process. Raises Problem if it is none, or it takes ``force``."""
        seen = await self.look()
        process = seen.find(name)
        if process is None:
            known = ", ".join(each.name for each in seen.processes)
            raise Problem(problems.UNKNOWN_NAME, f"{name} is none of {known}.")
        if force or (action == "restart" and not process.is_up):
            return process
        danger = risk(seen, process, await self._running_jobs())
        if danger is not None:
            detail = f"{danger} Nothing was done. Send force: true to do it all the same."
            raise Problem(problems.CANNOT_STRIKE, detail)
        return process

    async def may_strike_leader(self, action: str, *, force: bool) -> None:
        """Raise Problem unless the leader of etcd can be struck, as `may_strike` says."""
        seen = await self.look()
        url = await leader_of(self._members, self._settings.etcd_endpoints)
        leader = next((each for each in seen.processes if each.url == url), None)
        if leader is None:
            detail = "etcd has no leader just now, or this launcher did not start it."
            raise Problem(problems.CANNOT_STRIKE, f"{detail} Nothing was done.")
        await self.may_strike(leader.name, action, force=force)

    async def _running_jobs(self) -> dict[str, str]:
        """Return by node the job that runs there, as far as the nodes tell."""

        async def of(name: str) -> tuple[str, str | None]:
            try:
                status, jobs = await self._neighbours.ask(
                    name, "GET", f"{ROOT}/jobs?local=true", within_s=NEIGHBOUR_S_MAX
                )
                running = (j["id"] for j in jobs["jobs"] if j["state"] == "running")
                return name, next(running, None) if status == 200 else None  # noqa: PLR2004
            except (Unreachable, KeyError, TypeError):
                return name, None

        others = await self._neighbours.others()
        found: dict[str, Any] = dict(await asyncio.gather(*(of(node.node) for node in others)))
        own = self._book.running
        found[self._settings.node_id] = None if own is None else own.id
        return {name: job for name, job in found.items() if job is not None}


def risk(seen: Seen, process: Process, running: dict[str, str]) -> str | None:
    """Return what it would mean to take a process away; None: the others go on without it."""
    if not process.is_up:
        return None
    alike = [each for each in seen.processes if each.kind == process.kind]
    left = sum(each.is_up for each in alike) - 1
    if process.kind == "member":
        majority = len(alike) // 2 + 1
        if left >= majority:
            return None
        return (
            f"Without {process.name}, {left} of {len(alike)} members of etcd would be up, and a "
            f"majority is {majority}. Until it is back nobody gets a number: requests wait, or "
            "hear that nothing was allocated or that the outcome is unknown. Nothing is lost and "
            "nothing given out twice: callers repeat with their keys."
        )
    if process.name in running:
        return (
            f"{process.name} runs the demonstration {running[process.name]}, which would end "
            "without a result. The numbers it has taken stay in the ledger. A failover that names "
            f"{process.name} as its target runs on another node."
        )
    if not left:
        return f"{process.name} is the last node that is up: nobody could be asked any more."
    return None


def allow(settings: Settings) -> None:
    """Raise Problem unless this is a demonstration."""
    if settings.profile is not Profile.DEMONSTRATION:
        detail = "Demonstrations issue numbers: they run in the demonstration profile only."
        raise Problem(problems.FORBIDDEN, detail)
