"""What callers may send to the demonstrations: bounded, so that none of them is a flood."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from coordinator.api.inputs import Input, Query

PAUSE_S_MAX = 30
AWAY_S_MAX = 120
Process = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Seconds = Annotated[float, Field(ge=0, le=AWAY_S_MAX, allow_inf_nan=False)]


class Nothing(Input):
    """A demonstration without parameters."""


class Concurrent(Input):
    """Parameters of ``concurrent``."""

    threads: Annotated[int, Field(ge=1, le=64)] = 4
    requestsPerThread: Annotated[int, Field(ge=1, le=1_000)] = 25


class LoadTest(Input):
    """Parameters of ``load-test``."""

    totalRequests: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    concurrentThreads: Annotated[int, Field(ge=1, le=256)] = 10


def _check_pause(action: str, seconds: float | None) -> None:
    if action == "pause" and seconds is not None and not 1 <= seconds <= PAUSE_S_MAX:
        raise ValueError(f"a pause takes 1 to {PAUSE_S_MAX} seconds")


class Failover(Input):
    """Parameters of ``failover``; without a target only the load runs, to break things beside."""

    requestsPerSecond: Annotated[int, Field(ge=1, le=500)] = 100
    seconds: Annotated[int, Field(ge=3, le=120)] = 15
    target: Process | None = None
    action: Literal["kill", "stop", "pause"] = "kill"
    awaySeconds: Seconds | None = None
    force: bool = False

    @model_validator(mode="after")
    def _pause_is_short(self) -> "Failover":
        _check_pause(self.action, self.awaySeconds)
        return self


class AnyJob(Input):
    """``POST /api/v1/demo/jobs``, before its parameters are looked at."""

    name: Literal["basic", "concurrent", "gaps", "load-test", "failover"]
    parameters: dict[str, Any] = Field(default_factory=dict)


class BasicJob(AnyJob):
    """``basic`` and ``gaps``."""

    parameters: Nothing = Nothing()  # type: ignore[assignment]


class ConcurrentJob(AnyJob):
    """``concurrent``."""

    parameters: Concurrent = Concurrent()  # type: ignore[assignment]


class LoadTestJob(AnyJob):
    """``load-test``."""

    parameters: LoadTest = LoadTest()  # type: ignore[assignment]


class FailoverJob(AnyJob):
    """``failover``."""

    parameters: Failover = Failover()  # type: ignore[assignment]


JOBS: dict[str, type[AnyJob]] = {
    "basic": BasicJob,
    "gaps": BasicJob,
    "concurrent": ConcurrentJob,
    "load-test": LoadTestJob,
    "failover": FailoverJob,
}


class JobsQuery(Query):
    """``GET /api/v1/demo/jobs``: of all nodes, or of this one."""

    local: bool = False


class StrikeBody(Input):
    """``POST /api/v1/demo/processes/{name}``; ``seconds``: how long it shall be away."""

    action: Literal["kill", "stop", "pause", "restart"]
    seconds: Seconds | None = None
    force: bool = False

    @model_validator(mode="after")
    def _pause_is_short(self) -> "StrikeBody":
        _check_pause(self.action, self.seconds)
        return self
