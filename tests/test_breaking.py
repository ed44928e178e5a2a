"""Breaking a real cluster by the API of its nodes: four nodes, three members of etcd."""

import json
import time
import urllib.error
import urllib.request
from typing import Any

import pytest
from conftest import Cluster
from support import ask, wait_for

JOBS = "../demo/jobs"
PROCESSES = "../demo/processes"


def processes(cluster: Cluster, at: int = 0) -> dict[str, dict[str, Any]]:
    status, body = ask(cluster.urls[at], PROCESSES)
    assert status == 200, body
    assert body["configured"]
    return {each["name"]: each for each in body["processes"]}


def all_up(cluster: Cluster) -> bool:
    seen = processes(cluster)
    ready = [ask(url, "health") for url in cluster.urls]
    leaders = [each["name"] for each in seen.values() if each["leader"]]
    return (
        all(each["state"] == "running" for each in seen.values())
        and len(leaders) == 1
        and all(status == 200 for status, _ in ready)
    )


@pytest.fixture
def cluster(cluster4: Cluster) -> Any:
    """The cluster, well before and after."""
    wait_for(lambda: all_up(cluster4), 30, "everything is up")
    yield cluster4
    for name, each in processes(cluster4, at=3).items():
        if each["state"] != "running":
            strike(cluster4, name, "restart", at=3)
    wait_for(lambda: all_up(cluster4), 30, "everything is up again")


def strike(cluster: Cluster, name: str, action: str, at: int = 0, **more: Any) -> tuple[int, Any]:
    return ask(cluster.urls[at], f"{PROCESSES}/{name}", {"action": action, **more})


def start(cluster: Cluster, at: int = 0, **parameters: Any) -> dict[str, Any]:
    status, job = ask(
        cluster.urls[at],
        JOBS,
        {"name": "failover", "parameters": {"requestsPerSecond": 60} | parameters},
    )
    assert status == 202, job
    return dict(job)


def ended(cluster: Cluster, job: dict[str, Any], at: int = 0) -> dict[str, Any]:
    def look() -> Any:
        status, seen = ask(cluster.urls[at], f"{JOBS}/{job['id']}")
        return seen if status == 200 and seen["state"] != "running" else None

    return dict(wait_for(look, 90, "the demonstration has ended"))


def test_every_node_shows_who_runs_and_who_leads(cluster: Cluster) -> None:
    for at in range(4):
        seen = processes(cluster, at)
        assert list(seen) == [
            *(f"member-{n}" for n in (1, 2, 3)),
            *(f"node-{n}" for n in range(1, 5)),
        ]
        assert [name for name, each in seen.items() if each["thisNode"]] == [f"node-{at + 1}"]
        assert all(each["risk"] is None for each in seen.values())


def test_the_token_of_the_launcher_is_in_no_command_line(cluster: Cluster) -> None:
    record = json.loads((cluster.data / "cluster.json").read_text("utf-8"))
    pid = next(each["pid"] for each in record["processes"] if each["name"] == "node-1")
    with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123 - proc is Linux's
        environment = dict(x.split(b"=", 1) for x in file.read().split(b"\0") if b"=" in x)
    token = environment[b"COORDINATOR_CONTROL_TOKEN"].decode()
    url = environment[b"COORDINATOR_CONTROL_URL"].decode()
    assert len(token) == 32
    assert url.startswith("http://127.0.0.1:")
    assert token not in json.dumps(record)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{url}/processes", timeout=5)
    member = next(each["pid"] for each in record["processes"] if each["kind"] == "member")
    with open(f"/proc/{member}/environ", "rb") as file:  # noqa: PTH123
        assert token.encode() not in file.read()


def test_a_killed_member_is_started_again(cluster: Cluster) -> None:
    before = processes(cluster)["member-2"]
    status, body = strike(cluster, "member-2", "kill")
    assert (status, body["kind"]) == (202, "member"), body

    def back() -> bool:
        now = processes(cluster)["member-2"]
        return now["state"] == "running" and now["pid"] not in {None, before["pid"]}

    wait_for(back, 15, "member-2 runs again")
    assert processes(cluster)["member-2"]["deaths"] == before["deaths"] + 1


def test_a_node_can_have_itself_struck_and_says_so_first(cluster: Cluster) -> None:
    pid = processes(cluster)["node-1"]["pid"]
    status, body = strike(cluster, "node-1", "kill")
    assert (status, body["thisNode"]) == (202, True)
    wait_for(
        lambda: processes(cluster, 1)["node-1"]["pid"] not in {None, pid}, 15, "node-1 is back"
    )


def test_the_leader_is_killed_under_load_and_nothing_is_lost(cluster: Cluster) -> None:
    job = ended(cluster, start(cluster, seconds=7, target="leader"))
    assert job["state"] == "succeeded", job["steps"]
    (struck,) = job["strikes"]
    assert (struck["kind"], struck["wasLeader"], struck["action"]) == ("member", True, "kill")
    assert 0 < struck["newLeaderMs"] <= struck["firstSuccessMs"]
    names = [mark["what"] for mark in struck["marks"]]
    assert {f"{struck['name']} ended", f"{struck['name']} started again", "first success"} <= set(
        names
    )
    assert job["load"]["failed"] == 0
    assert job["longestPauseMs"] >= struck["newLeaderMs"] // 2


def test_a_load_that_strikes_a_node_runs_on_another(cluster: Cluster) -> None:
    job = start(cluster, seconds=6, target="node-1")
    assert job["node"] != "node-1"
    job = ended(cluster, job, at=int(job["node"][-1]) - 1)
    assert job["state"] == "succeeded", job["steps"]
    assert job["load"]["failed"] == 0
    (struck,) = job["strikes"]
    assert (struck["name"], struck["newLeaderMs"]) == ("node-1", None)
    assert "first success of a caller of node-1" in {mark["what"] for mark in struck["marks"]}


def test_the_node_that_runs_the_load_is_not_killed_by_the_way(cluster: Cluster) -> None:
    job = start(cluster, at=2, seconds=30)
    status, problem = strike(cluster, "node-3", "kill")
    assert (status, problem["code"]) == (409, "NB051")
    assert job["id"] in problem["detail"]
    assert processes(cluster)["node-3"]["runsJob"] == job["id"]
    assert strike(cluster, "node-3", "kill", force=True)[0] == 202
    wait_for(lambda: processes(cluster)["node-3"]["runsJob"] is None, 15, "it has gone")
    wait_for(lambda: ask(cluster.urls[0], f"{JOBS}/{job['id']}")[0] == 404, 15, "it is forgotten")


def test_without_a_majority_no_number_flows_and_none_is_lost(cluster: Cluster) -> None:
    job = start(cluster, at=1, seconds=12)
    assert strike(cluster, "member-1", "stop")[0] == 202
    wait_for(lambda: processes(cluster)["member-1"]["state"] == "down", 15, "member-1 is down")
    status, problem = strike(cluster, "member-2", "pause", seconds=3)
    assert (status, problem["code"]) == (409, "NB051")
    assert "majority is 2" in problem["detail"]
    assert processes(cluster)["member-2"]["state"] == "running"
    body = {"name": "failover", "parameters": {"target": "leader"}}
    assert ask(cluster.urls[0], JOBS, body)[1]["code"] == "NB051"
    assert strike(cluster, "member-2", "pause", seconds=3, force=True)[0] == 202
    time.sleep(1)
    began = time.monotonic()
    seen = ask(cluster.urls[1], f"{JOBS}/{job['id']}")[1]  # told without etcd
    assert seen["state"] == "running"
    assert processes(cluster)["member-2"]["state"] in {"paused", "running"}
    assert time.monotonic() - began < 10
    job = ended(cluster, job, at=1)
    assert job["state"] == "succeeded", job["steps"]
    assert job["load"]["failed"] == 0
    assert job["longestPauseMs"] > 1_500
    assert processes(cluster)["member-1"]["state"] == "down"  # stopped is not killed
    assert strike(cluster, "member-1", "restart")[0] == 202


@pytest.mark.parametrize(
    ("name", "body", "status", "code"),
    [
        ("node-9", {"action": "kill"}, 404, "NB001"),
        ("node-1", {"action": "explode"}, 400, "NB009"),
        ("node-1", {"action": "pause", "seconds": 31}, 400, "NB009"),
        ("node-1", {"action": "kill", "seconds": 121}, 400, "NB009"),
        ("node-1", {}, 400, "NB009"),
    ],
)
def test_what_cannot_be_done_is_refused(
    cluster: Cluster, name: str, body: dict[str, Any], status: int, code: str
) -> None:
    answered, problem = ask(cluster.urls[0], f"{PROCESSES}/{name}", body)
    assert (answered, problem["code"]) == (status, code)
