"""The demonstrations over HTTP. They issue numbers, so only the demonstration profile has them.

They run as jobs of one node, one at a time. Every node shows the jobs of all: the name of its node
is part of a job's id.
"""

import asyncio
from typing import Any

import orjson
from aiohttp import hdrs, web

from coordinator.api import problems
from coordinator.api.answers import iso, json_answer
from coordinator.api.demo_inputs import JOBS, AnyJob, Concurrent, Failover, JobsQuery, LoadTest
from coordinator.api.demo_processes import ROOT, ProcessesApi, allow
from coordinator.api.elsewhere import ID, ask_owner, node_of
from coordinator.api.inputs import (
    ConcurrentQuery,
    LoadTestQuery,
    NothingQuery,
    body_of,
    validated,
)
from coordinator.api.problems import Problem
from coordinator.clock import now_ms
from coordinator.config import Settings
from coordinator.jobs import failover
from coordinator.jobs.demonstrations import Demonstrations
from coordinator.jobs.neighbours import Neighbours, Unreachable
from coordinator.jobs.running import KEPT_MAX, Busy, Job, JobBook, Outcome, Script

SEQUENCES_SHOWN = 10_000
WAIT_S_MAX = 300.0
"""How long an old client waits for the demonstration before its own."""


class DemoApi:
    """Handlers of the demonstrations."""

    def __init__(
        self,
        settings: Settings,
        demonstrations: Demonstrations,
        failovers: failover.Failover,
        book: JobBook,
        neighbours: Neighbours,
        processes: ProcessesApi,
    ) -> None:
        self._settings = settings
        self._demonstrations = demonstrations
        self._failovers = failovers
        self._book = book
        self._neighbours = neighbours
        self._processes = processes

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of these handlers."""
        return [
            web.post(f"{ROOT}/basic", self.basic),
            web.post(f"{ROOT}/concurrent", self.concurrent),
            web.post(f"{ROOT}/gaps", self.gaps),
            web.post(f"{ROOT}/load-test", self.load_test),
            web.post(f"{ROOT}/jobs", self.start),
            web.get(f"{ROOT}/jobs", self.jobs),
            web.get(f"{ROOT}/jobs/{{id}}", self.job),
            web.post(f"{ROOT}/jobs/{{id}}/cancel", self.cancel),
            web.get(f"{ROOT}/jobs/{{id}}/result", self.result),
        ]

    # --- as old clients know them: asked, and waited for ------------------------------------------

    async def basic(self, request: web.Request) -> web.StreamResponse:
        """Run ``basic``."""
        allow(self._settings)
        NothingQuery.parse(request.rel_url)
        return await self._run("basic", {}, self._demonstrations.basic())

    async def concurrent(self, request: web.Request) -> web.StreamResponse:
        """Run ``concurrent``."""
        allow(self._settings)
        asked = ConcurrentQuery.parse(request.rel_url)
        script = self._demonstrations.concurrent(asked.threads, asked.requestsPerThread)
        return await self._run("concurrent", asked.model_dump(), script)

    async def gaps(self, request: web.Request) -> web.StreamResponse:
        """Run ``gaps``."""
        allow(self._settings)
        NothingQuery.parse(request.rel_url)
        return await self._run("gaps", {}, self._demonstrations.gaps())

    async def load_test(self, request: web.Request) -> web.StreamResponse:
        """Run ``load-test``."""
        allow(self._settings)
        asked = LoadTestQuery.parse(request.rel_url)
        script = self._demonstrations.load_test(asked.totalRequests, asked.concurrentThreads)
        return await self._run("load-test", asked.model_dump(), script)

    async def _run(
        self, name: str, parameters: dict[str, Any], script: Script
    ) -> web.StreamResponse:
        job = await self._start_in_turn(name, parameters, script)
        try:
            await self._book.wait(job)
        except asyncio.CancelledError:
            self._book.cancel(job)
            raise
        return json_answer(_shown(job.outcome))

    async def _start_in_turn(self, name: str, parameters: dict[str, Any], script: Script) -> Job:
        try:
            async with asyncio.timeout(WAIT_S_MAX):
                while True:
                    try:
                        return self._book.start(name, parameters, script)
                    except Busy as busy:
                        await self._book.wait(busy.job)
        except TimeoutError:
            detail = f"Other demonstrations ran for {WAIT_S_MAX:g} s. Try again."
            raise Problem(problems.DEMO_BUSY, detail) from None

    # --- as jobs ----------------------------------------------------------------------------------

    async def start(self, request: web.Request) -> web.StreamResponse:
        """Start a demonstration; answer at once, with its id."""
        allow(self._settings)
        NothingQuery.parse(request.rel_url)
        named = await body_of(request, AnyJob)
        asked = validated(JOBS[named.name], named.model_dump(exclude_unset=True))
        parameters = asked.parameters
        if isinstance(parameters, Failover) and parameters.target is not None:
            target, action, force = parameters.target, parameters.action, parameters.force
            if target == "leader":
                await self._processes.may_strike_leader(action, force=force)
            else:
                await self._processes.may_strike(target, action, force=force)
            if parameters.target == self._settings.node_id:
                return await self._start_elsewhere(named)
        try:
            job = self._book.start(
                asked.name, _dumped(parameters), self._script(asked.name, parameters)
            )
        except Busy as busy:
            detail = f"{busy.job.run.name} runs on this node, as {busy.job.id}. Wait for its end, "
            detail += "or cancel it, then start again."
            raise Problem(problems.DEMO_BUSY, detail) from None
        answer = json_answer(self._job(job), 202)
        answer.headers[hdrs.LOCATION] = f"{ROOT}/jobs/{job.id}"
        return answer

    def _script(self, name: str, parameters: object) -> Script:
        match parameters:
            case Concurrent():
                return self._demonstrations.concurrent(
                    parameters.threads, parameters.requestsPerThread
                )
            case LoadTest():
                return self._demonstrations.load_test(
                    parameters.totalRequests, parameters.concurrentThreads
                )
            case Failover():
                return self._failovers.script(
                    failover.Plan(
                        parameters.requestsPerSecond,
                        parameters.seconds,
                        parameters.target or "",
                        parameters.action,
                        parameters.awaySeconds,
                    )
                )
        return self._demonstrations.gaps() if name == "gaps" else self._demonstrations.basic()

    async def _start_elsewhere(self, named: AnyJob) -> web.StreamResponse:
        """Have another node run what will strike this one."""
        why = "no other node is up"
        for node in await self._neighbours.others():
            try:
                status, body = await self._neighbours.ask(
                    node.node, "POST", f"{ROOT}/jobs", named.model_dump(exclude_unset=True)
                )
            except Unreachable as silent:
                why = str(silent)
                continue
            if status == problems.DEMO_BUSY.status:
                why = f"{node.node}: {body.get('detail')}"
                continue
            return json_answer(body, status)
        detail = f"{self._settings.node_id} is the target, so another node must run this, but {why}"
        raise Problem(problems.DEMO_BUSY, detail)

    async def jobs(self, request: web.Request) -> web.StreamResponse:
        """Return the newest jobs, of all nodes or of this one, without their results."""
        allow(self._settings)
        asked = JobsQuery.parse(request.rel_url)
        found = [self._listed(job) for job in self._book.jobs]
        if not asked.local:
            others = await self._neighbours.others()
            lists = await asyncio.gather(*(self._jobs_of(node.node) for node in others))
            found += [job for jobs in lists for job in jobs]
        found.sort(key=lambda job: str(job["startedAt"]), reverse=True)
        return json_answer({"jobs": found[:KEPT_MAX], "timestamp": iso(now_ms())})

    async def _jobs_of(self, node: str) -> list[dict[str, Any]]:
        try:
            path = f"{ROOT}/jobs?local=true"
            return list((await self._neighbours.ask(node, "GET", path, within_s=1.0))[1]["jobs"])
        except (Unreachable, KeyError, TypeError):
            return []

    async def job(self, request: web.Request) -> web.StreamResponse:
        """Return how a job is: its steps so far, how much is done, its result when it has ended."""
        job = self._find(request)
        if job is None:
            return await self._ask_owner(request)
        return json_answer(self._job(job))

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """Bring a job to an early end; again, or after its end, is no error."""
        job = self._find(request)
        if job is None:
            return await self._ask_owner(request)
        self._book.cancel(job)
        return json_answer(self._job(job), 202)

    async def result(self, request: web.Request) -> web.StreamResponse:
        """Return everything about a job, as a file."""
        job = self._find(request)
        if job is None:
            answer = await self._ask_owner(request)
        else:
            whole = self._job(job) | {"result": _shown(job.outcome)}
            text = orjson.dumps(whole, option=orjson.OPT_INDENT_2)
            answer = web.Response(body=text, content_type="application/json")
        if answer.status == 200:  # noqa: PLR2004 - HTTP's OK
            name = f'attachment; filename="demonstration-{request.match_info["id"]}.json"'
            answer.headers[hdrs.CONTENT_DISPOSITION] = name
        return answer

    def _find(self, request: web.Request) -> Job | None:
        """Return a job of this node; None: another node may have it. Raises Problem."""
        allow(self._settings)
        NothingQuery.parse(request.rel_url)
        job_id = request.match_info["id"]
        job = self._book.find(job_id)
        if not ID.fullmatch(job_id):
            raise Problem(problems.NO_SUCH_JOB, "Ids of jobs look like node-1.0a1b2c3d.")
        if job is None and node_of(job_id) in {"", self._settings.node_id}:
            detail = (
                f"This node has no such job. It keeps its newest {KEPT_MAX}, until it restarts."
            )
            raise Problem(problems.NO_SUCH_JOB, detail)
        return job

    async def _ask_owner(self, request: web.Request) -> web.StreamResponse:
        lost = "The numbers it took are in the ledger."
        return await ask_owner(self._neighbours, request, problems.NO_SUCH_JOB, lost)

    def _listed(self, job: Job) -> dict[str, Any]:
        run = job.run
        return {
            "id": job.id,
            "name": run.name,
            "parameters": job.parameters,
            "node": self._settings.node_id,
            "state": job.state.value,
            "stopping": run.stopping.is_set(),
            "done": run.done,
            "total": run.total,
            "unit": run.unit,
            "summary": job.summary,
            "startedAt": iso(job.started_ms),
            "endedAt": None if job.ended_ms is None else iso(job.ended_ms),
            "durationMs": (job.ended_ms or now_ms()) - job.started_ms,
        }

    def _job(self, job: Job) -> dict[str, Any]:
        run = job.run
        made = {step.name for step in run.steps}
        return (
            self._listed(job)
            | run.more()
            | {
                "url": self._settings.url,
                "steps": [step._asdict() for step in run.steps],
                "pending": [name for name in run.planned if name not in made],
                "repeated": run.repeated,
                "numbers": len(run.sequences),
            }
        )


def _dumped(parameters: Any) -> dict[str, Any]:
    return dict(parameters.model_dump())


def _shown(outcome: Outcome) -> dict[str, Any]:
    return {
        "name": outcome.name,
        "steps": [step._asdict() for step in outcome.steps],
        "sequences": outcome.sequences[:SEQUENCES_SHOWN],
        "sequencesTotal": len(outcome.sequences),
        "success": outcome.success,
        "summary": outcome.summary,
        "timestamp": iso(now_ms()),
    }
