"""Demonstrations under way and those that ended: bounded, one at a time, told apart by name."""

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from coordinator.clock import now_ms

log = logging.getLogger(__name__)

KEPT_MAX = 20
CANCEL_GRACE_S = 30.0
"""For the requests that are under way when a demonstration is cancelled, and for its checks."""


class Step(NamedTuple):
    """One thing that was done or checked."""

    name: str
    ok: bool
    detail: str


class Outcome(NamedTuple):
    """What a demonstration did, and whether every check held."""

    name: str
    steps: list[Step]
    sequences: list[int]
    summary: str

    @property
    def success(self) -> bool:
        """Tell whether every step held."""
        return all(step.ok for step in self.steps)


@dataclass
class Run:
    """A demonstration as it goes: it writes here, and whoever watches it reads here."""

    name: str
    steps: list[Step] = field(default_factory=list)
    sequences: list[int] = field(default_factory=list)
    planned: tuple[str, ...] = ()
    """The checks that will come, by name, so that they can be shown before they are made."""
    done: int = 0
    total: int = 0
    unit: str = "requests"
    repeated: int = 0
    """Attempts that came to nothing and were repeated."""
    more: Callable[[], dict[str, Any]] = dict
    """What else there is to see of it."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it shall come to an early end: what was asked is still answered and checked."""

    def check(self, name: str, ok: bool, detail: str) -> None:  # noqa: FBT001
        """Write down a step."""
        self.steps.append(Step(name, ok, detail))


Script = Callable[[Run], Awaitable[str]]
"""A demonstration: it writes into its run, and returns a summary."""


class State(StrEnum):
    """How a job is."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass
class Job:
    """One demonstration that was asked for; times in milliseconds since 1970."""

    id: str
    parameters: dict[str, Any]
    run: Run
    started_ms: int
    ended_ms: int | None = None
    state: State = State.RUNNING
    summary: str = ""
    task: asyncio.Task[None] | None = None

    @property
    def outcome(self) -> Outcome:
        """Return what it came to, so far."""
        return Outcome(self.run.name, self.run.steps, self.run.sequences, self.summary)


class Busy(Exception):
    """Another demonstration runs; ``job`` is that one."""

    def __init__(self, job: Job) -> None:
        super().__init__(job.id)
        self.job = job


class JobBook:
    """The jobs of one node. They are kept in memory: a restart forgets them."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._jobs: OrderedDict[str, Job] = OrderedDict()

    @property
    def jobs(self) -> list[Job]:
        """Return all jobs, the newest first."""
        return list(reversed(self._jobs.values()))

    @property
    def running(self) -> Job | None:
        """Return the job that runs now, if one does."""
        return next((job for job in self.jobs if job.state is State.RUNNING), None)

    def find(self, job_id: str) -> Job | None:
        """Return a job by its id."""
        return self._jobs.get(job_id)

    def start(self, name: str, parameters: dict[str, Any], script: Script) -> Job:
        """Run a demonstration. Raises Busy while another one runs."""
        other = self.running
        if other is not None:
            raise Busy(other)
        job = Job(f"{self._node}.{secrets.token_hex(4)}", parameters, Run(name), now_ms())
        self._jobs[job.id] = job
        while len(self._jobs) > KEPT_MAX:
            self._jobs.popitem(last=False)
        job.task = asyncio.create_task(self._through(job, script))
        return job

    async def _through(self, job: Job, script: Script) -> None:
        run = job.run
        try:
            job.summary = await script(run)
            ended = State.SUCCEEDED if job.outcome.success else State.FAILED
            job.state = State.CANCELLED if run.stopping.is_set() else ended
        except asyncio.CancelledError:
            job.summary = "Broken off in the middle: what was under way is not accounted for."
            job.state = State.CANCELLED
            raise
        except Exception as failed:
            run.check("run", ok=False, detail=f"an error in the program: {failed!r}")
            job.summary, job.state = f"Stopped: {failed!r}", State.FAILED
            log.exception("demonstration %s failed", job.id)
        finally:
            job.ended_ms = now_ms()

    def cancel(self, job: Job) -> None:
        """Bring a job to an early end: nothing new is asked, what was asked is checked."""
        if job.state is State.RUNNING and job.task is not None and not job.run.stopping.is_set():
            job.run.stopping.set()
            task = job.task
            asyncio.get_running_loop().call_later(CANCEL_GRACE_S, task.cancel)

    async def wait(self, job: Job) -> None:
        """Wait until a job has ended."""
        if job.task is not None:
            await asyncio.wait({job.task})

    async def stop(self) -> None:
        """Break off what runs."""
        job = self.running
        if job is not None and job.task is not None:
            job.task.cancel()
            await asyncio.wait({job.task})
