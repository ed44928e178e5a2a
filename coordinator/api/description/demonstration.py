"""The calls of demonstrations: only nodes of the demonstration profile take them."""

from coordinator.api import problems as p
from coordinator.api.demo_inputs import (
    BasicJob,
    ConcurrentJob,
    FailoverJob,
    JobsQuery,
    LoadTestJob,
    Process,
    StrikeBody,
)
from coordinator.api.description.call import DEMONSTRATING, Answer, Body, Call, Tag
from coordinator.api.description.operation_answers import (
    DemoResult,
    JobList,
    JobShown,
    JobWithResult,
    ProcessList,
    Struck,
)
from coordinator.api.inputs import ConcurrentQuery, LoadTestQuery, NothingQuery

ROOT = "/api/v1/demo"
_JOB = {"id": "node-1.0a1b2c3d"}
_RESULT = (Answer(200, "What it did, and whether every check held.", DemoResult),)
_WAITS = (
    " It goes through the public API of all nodes, and the answer comes when it has ended; it "
    "waits up to five minutes for one that runs already."
)
_REFUSED = (p.DEMO_BUSY, *DEMONSTRATING)
_FINDING = (p.FORBIDDEN, p.NO_SUCH_JOB, p.OUT_OF_REACH)

CALLS = (
    Call(
        Tag.DEMONSTRATION,
        "demoBasic",
        "POST",
        f"{ROOT}/basic",
        "Take a few numbers",
        f"One number of each site, partition and type.{_WAITS}",
        _RESULT,
        _REFUSED,
        query=NothingQuery,
    ),
    Call(
        Tag.DEMONSTRATION,
        "demoConcurrent",
        "POST",
        f"{ROOT}/concurrent",
        "Many callers at once",
        f"Spread over all nodes; checks that no number went out twice.{_WAITS}",
        _RESULT,
        _REFUSED,
        query=ConcurrentQuery,
        asked={"threads": 4, "requestsPerThread": 25},
    ),
    Call(
        Tag.DEMONSTRATION,
        "demoGaps",
        "POST",
        f"{ROOT}/gaps",
        "Release, and see the gaps taken again",
        f"Releases a number at one node; the next call at another gets the lowest gap.{_WAITS}",
        _RESULT,
        _REFUSED,
        query=NothingQuery,
    ),
    Call(
        Tag.DEMONSTRATION,
        "demoLoadTest",
        "POST",
        f"{ROOT}/load-test",
        "A load, and what became of it",
        f"Tells the rate, and checks that no number went out twice.{_WAITS}",
        _RESULT,
        _REFUSED,
        query=LoadTestQuery,
        asked={"totalRequests": 200, "concurrentThreads": 10},
    ),
    Call(
        Tag.DEMONSTRATION,
        "startJob",
        "POST",
        f"{ROOT}/jobs",
        "Start a demonstration",
        "Answers at once, with an id to ask for. `name` is `basic`, `gaps`, `concurrent`, "
        "`load-test` or `failover`; `parameters` are those of that one. A `failover` is a steady "
        "load in which `target` is struck: a node, a member of etcd, or `leader`; without a target "
        "only the load runs. One demonstration at a time on each node.",
        (Answer(202, "It runs.", JobShown, headers=("Location",)),),
        (p.DEMO_BUSY, p.UNKNOWN_NAME, p.CANNOT_STRIKE, p.OUT_OF_REACH, *DEMONSTRATING),
        query=NothingQuery,
        bodies=(
            Body(
                BasicJob | ConcurrentJob | LoadTestJob | FailoverJob,
                {"name": "concurrent", "parameters": {"threads": 4, "requestsPerThread": 25}},
            ),
        ),
    ),
    Call(
        Tag.DEMONSTRATION,
        "jobs",
        "GET",
        f"{ROOT}/jobs",
        "The newest demonstrations",
        "Of all nodes, or of the one that you ask; without their results.",
        (Answer(200, "The demonstrations.", JobList),),
        (p.FORBIDDEN,),
        query=JobsQuery,
    ),
    Call(
        Tag.DEMONSTRATION,
        "job",
        "GET",
        f"{ROOT}/jobs/{{id}}",
        "How a demonstration is",
        "Its steps so far and how much is done. Any node may be asked: the id names the one that "
        "has it.",
        (Answer(200, "The demonstration.", JobShown),),
        _FINDING,
        query=NothingQuery,
        in_path={"id": str},
        asked=_JOB,
    ),
    Call(
        Tag.DEMONSTRATION,
        "cancelJob",
        "POST",
        f"{ROOT}/jobs/{{id}}/cancel",
        "End a demonstration early",
        "What was asked is still answered and checked. Again, or after its end, is no error.",
        (Answer(202, "It comes to its end.", JobShown),),
        (*_FINDING, p.OTHER_SITE),
        query=NothingQuery,
        in_path={"id": str},
        asked=_JOB,
    ),
    Call(
        Tag.DEMONSTRATION,
        "jobResult",
        "GET",
        f"{ROOT}/jobs/{{id}}/result",
        "Everything about a demonstration, as a file",
        "With every number that its callers were told, up to 10,000.",
        (Answer(200, "The file.", JobWithResult, headers=("Content-Disposition",)),),
        _FINDING,
        query=NothingQuery,
        in_path={"id": str},
        asked=_JOB,
    ),
    Call(
        Tag.DEMONSTRATION,
        "processes",
        "GET",
        f"{ROOT}/processes",
        "Who runs",
        "Nodes and members of etcd that the launcher has started, who leads, and what it would "
        "mean to take each of them away. `configured: false` where no launcher can be asked.",
        (Answer(200, "The processes.", ProcessList),),
        (p.FORBIDDEN, p.OUT_OF_REACH, p.CANNOT_STRIKE),
        query=NothingQuery,
    ),
    Call(
        Tag.DEMONSTRATION,
        "strike",
        "POST",
        f"{ROOT}/processes/{{name}}",
        "Kill, stop, pause or restart a process",
        "What would stop all numbers, or end a load that runs, is refused with what it means, and "
        "done with `force: true`. What is killed or paused comes back after `seconds`, or when its "
        "launcher starts it again; what is stopped stays away until somebody restarts it.",
        (Answer(202, "It is done, or about to be.", Struck),),
        (p.UNKNOWN_NAME, p.CANNOT_STRIKE, p.OUT_OF_REACH, *DEMONSTRATING),
        query=NothingQuery,
        in_path={"name": Process},
        bodies=(Body(StrikeBody, {"action": "pause", "seconds": 2}),),
        asked={"name": "node-3"},
    ),
)
