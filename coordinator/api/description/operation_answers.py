"""What the calls of operators and of demonstrations answer."""

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict


class NodeShown(TypedDict):
    """One node that is known."""

    nodeId: str
    instanceId: str
    url: str
    site: str
    partition: str
    active: bool
    startedAt: str


class Turn(TypedDict):
    """Which node commits for the others."""

    counter: str
    nodeId: str


class StoreMember(TypedDict):
    """One member of etcd, as it was last seen."""

    url: str
    answers: bool
    leader: NotRequired[bool]
    databaseBytes: NotRequired[int]
    usedBytes: NotRequired[int]


class StoreShown(TypedDict):
    """The store as this node sees it."""

    endpoints: list[str]
    version: str
    healthy: bool
    members: list[StoreMember]


class Rewind(TypedDict):
    """Entries that this node had seen committed, and that the store does not have."""

    counter: str
    lostEntry: int
    lostHash: str
    why: str


class ClusterShown(TypedDict):
    """All nodes, the store, and warnings that an operator must see."""

    nodes: list[NodeShown]
    turns: list[Turn]
    store: StoreShown
    rewinds: list[Rewind]
    warnings: list[str]
    profile: Literal["production", "demonstration"]
    timestamp: str


class MarkerShown(TypedDict):
    """Something that happened to the cluster."""

    time: int
    kind: str
    who: str


class TimelineShown(TypedDict):
    """A part of the history that this node keeps: the names of the fields once, then values."""

    fields: list[str]
    points: list[list[int]]
    markers: list[MarkerShown]
    timestamp: str


class StepShown(TypedDict):
    """One thing that a demonstration did or checked."""

    name: str
    ok: bool
    detail: str


class DemoResult(TypedDict):
    """What a demonstration did, and whether every check held."""

    name: str
    steps: list[StepShown]
    sequences: list[int]
    sequencesTotal: int
    success: bool
    summary: str
    timestamp: str


class JobListed(TypedDict):
    """A demonstration: how far it is."""

    id: str
    name: str
    parameters: dict[str, Any]
    node: str
    state: Literal["running", "succeeded", "failed", "cancelled"]
    stopping: bool
    done: int
    total: int
    unit: str
    summary: str
    startedAt: str
    endedAt: str | None
    durationMs: int


class JobList(TypedDict):
    """The newest demonstrations, without their results."""

    jobs: list[JobListed]
    timestamp: str


class LoadFigures(TypedDict):
    """What came of the load of a failover so far."""

    asked: int
    answered: int
    waiting: int
    failed: int
    retried: int
    attemptsFailed: int
    perSecond: float
    lastTrouble: str


class Mark(TypedDict):
    """What happened after a strike, and how long after it."""

    what: str
    afterMs: int


class StrikeShown(TypedDict):
    """What was done to a process in mid-load, and what its callers noticed."""

    name: str
    kind: str
    action: str
    atMs: int
    wasLeader: bool
    firstSuccessMs: int | None
    newLeaderMs: int | None
    marks: list[Mark]


class JobShown(JobListed):
    """A demonstration with its steps; a failover also shows its load and what was struck."""

    url: str
    steps: list[StepShown]
    pending: list[str]
    repeated: int
    numbers: int
    load: NotRequired[LoadFigures]
    strikes: NotRequired[list[StrikeShown]]
    spans: NotRequired[list[int]]
    spanMs: NotRequired[int]
    longestPauseMs: NotRequired[int]


class JobWithResult(JobShown):
    """Everything about a demonstration."""

    result: DemoResult


class ProcessShown(TypedDict):
    """One process that the launcher has started."""

    name: str
    kind: Literal["node", "member"]
    url: str
    pid: int | None
    state: str
    backInMs: int | None
    deaths: int
    leader: bool
    thisNode: bool
    runsJob: str | None
    risk: str | None


class ProcessList(TypedDict):
    """Who runs, who leads, and what it would mean to take each of them away."""

    configured: bool
    how: str | None
    processes: list[ProcessShown]
    timestamp: NotRequired[str]


class Struck(TypedDict):
    """What is done to a process."""

    success: Literal[True]
    name: str
    kind: Literal["node", "member"]
    action: str
    seconds: float | None
    thisNode: bool
    timestamp: str
