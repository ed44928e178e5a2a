"""Demonstrations as jobs: started, watched, cancelled, found again, and proven by the ledger."""

import asyncio
from typing import Any

import pytest
from http_calls import PLACE, Client, Start, get, issue, release

from coordinator.jobs import load as loads
from coordinator.jobs.running import KEPT_MAX, Busy, JobBook, Run, State

JOBS = "/api/v1/demo/jobs"
PROCESSES = "/api/v1/demo/processes"


async def ask(client: Client, method: str, path: str, status: int, body: Any = None) -> Any:
    async with client.request(method, path, json=body) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


async def start(client: Client, name: str, status: int = 202, **parameters: Any) -> Any:
    return await ask(client, "POST", JOBS, status, {"name": name, "parameters": parameters})


async def ended(client: Client, job: Any) -> Any:
    async with asyncio.timeout(60):
        while True:
            job = await ask(client, "GET", f"{JOBS}/{job['id']}", 200)
            if job["state"] != "running":
                return job
            await asyncio.sleep(0.02)


async def test_each_demonstration_runs_as_a_job_and_turns_green(start_node: Start) -> None:
    node = await start_node()
    for name, parameters, numbers in (
        ("basic", {}, 16),
        ("concurrent", {"threads": 4, "requestsPerThread": 10}, 40),
        ("gaps", {}, 2),
        ("load-test", {"totalRequests": 50, "concurrentThreads": 5}, 50),
    ):
        job = await start(node, name, **parameters)
        assert (job["state"], job["node"], job["name"]) == ("running", "node-1", name)
        job = await ended(node, job)
        assert (job["state"], job["pending"], job["numbers"]) == ("succeeded", [], numbers), job
        assert job["done"] == job["total"] > 0
        assert job["steps"]
        assert all(step["ok"] for step in job["steps"])
        assert job["endedAt"] >= job["startedAt"]
    listed = (await ask(node, "GET", JOBS, 200))["jobs"]
    assert [job["name"] for job in listed] == ["load-test", "gaps", "concurrent", "basic"]


async def test_the_result_is_a_file_with_everything(start_node: Start) -> None:
    node = await start_node()
    job = await ended(node, await start(node, "basic"))
    async with node.get(f"{JOBS}/{job['id']}/result") as answer:
        assert answer.status == 200
        named = answer.headers["Content-Disposition"]
        whole = await answer.json()
    assert named == f'attachment; filename="demonstration-{job["id"]}.json"'
    assert whole["result"]["success"]
    assert whole["result"]["sequences"] == list(range(1, 17))
    assert whole["steps"] == whole["result"]["steps"] == job["steps"]


async def test_one_runs_at_a_time_and_old_clients_wait_their_turn(start_node: Start) -> None:
    node = await start_node()
    first = await start(node, "load-test", totalRequests=100_000)
    problem = await start(node, "basic", 409)
    assert problem["code"] == "NB049"
    assert first["id"] in problem["detail"]
    old = asyncio.create_task(node.post("/api/v1/demo/basic"))
    await asyncio.sleep(0.2)
    assert not old.done()
    await ask(node, "POST", f"{JOBS}/{first['id']}/cancel", 202)
    async with await old as answer:
        assert answer.status == 200
        assert (await answer.json())["success"]
    assert (await ended(node, first))["state"] == "cancelled"


async def test_a_cancelled_one_asks_nothing_new_and_checks_what_it_was_told(
    start_node: Start,
) -> None:
    node = await start_node()
    job = await start(node, "load-test", totalRequests=100_000)
    while not job["done"]:
        job = await ask(node, "GET", f"{JOBS}/{job['id']}", 200)
    assert job["pending"] == ["all answered", "in the ledger", "no number twice", "no gap"]
    for _ in range(2):
        await ask(node, "POST", f"{JOBS}/{job['id']}/cancel", 202)
    job = await ended(node, job)
    assert (job["state"], job["pending"]) == ("cancelled", [])
    assert 0 < job["numbers"] < 100_000
    assert all(step["ok"] for step in job["steps"])
    assert (await get(node, "stats"))["totalGenerated"] == job["numbers"]
    assert (await ask(node, "POST", f"{JOBS}/{job['id']}/cancel", 202))["state"] == "cancelled"
    await ended(node, await start(node, "basic"))


async def test_every_node_shows_the_jobs_of_all(start_node: Start) -> None:
    one, two = await start_node(), await start_node(node_id="node-2")
    job = await start(two, "load-test", totalRequests=100_000)
    assert job["id"].startswith("node-2.")
    seen = await ask(one, "GET", f"{JOBS}/{job['id']}", 200)
    assert (seen["state"], seen["node"]) == ("running", "node-2")
    assert [j["id"] for j in (await ask(one, "GET", JOBS, 200))["jobs"]] == [job["id"]]
    assert (await ask(one, "GET", f"{JOBS}?local=true", 200))["jobs"] == []
    own = await start(one, "basic")  # one at a time on each node
    await ask(one, "POST", f"{JOBS}/{job['id']}/cancel", 202)
    assert (await ended(one, job))["state"] == "cancelled"
    assert (await ended(two, own))["name"] == "basic"
    async with one.get(f"{JOBS}/{job['id']}/result") as answer:
        assert job["id"] in answer.headers["Content-Disposition"]
    for unknown in ("node-1.00000000", "node-2.00000000", "node-9.00000000", "x", "a%2Fb.c"):
        problem = await ask(one, "GET", f"{JOBS}/{unknown}", 404)
        assert problem["code"] in {"NB050", "NB016"}, unknown


@pytest.mark.parametrize(
    ("name", "parameters", "field"),
    [
        ("nothing", {}, "name"),
        ("basic", {"threads": 1}, "parameters.threads"),
        ("concurrent", {"threads": 65}, "parameters.threads"),
        ("concurrent", {"requestsPerThread": 0}, "parameters.requestsPerThread"),
        ("load-test", {"totalRequests": 100_001}, "parameters.totalRequests"),
        ("load-test", {"concurrentThreads": 257}, "parameters.concurrentThreads"),
        ("load-test", {"totalRequests": "10"}, "parameters.totalRequests"),
        ("failover", {"requestsPerSecond": 501}, "parameters.requestsPerSecond"),
        ("failover", {"seconds": 121}, "parameters.seconds"),
        ("failover", {"action": "explode"}, "parameters.action"),
        ("failover", {"action": "pause", "awaySeconds": 31}, "parameters"),
        ("failover", {"awaySeconds": 121}, "parameters.awaySeconds"),
        ("failover", {"target": "../x"}, "parameters.target"),
    ],
)
async def test_parameters_have_bounds(
    start_node: Start, name: str, parameters: dict[str, Any], field: str
) -> None:
    node = await start_node()
    problem = await start(node, name, 400, **parameters)
    assert (problem["code"], problem["errors"][0]["field"]) == ("NB009", field)
    assert (await ask(node, "GET", JOBS, 200))["jobs"] == []


async def test_they_are_for_demonstrations_only(start_node: Start) -> None:
    node = await start_node(profile="production", root="/production-jobs/")
    for method, path in (
        ("POST", JOBS),
        ("GET", JOBS),
        ("GET", f"{JOBS}/node-1.0"),
        ("POST", f"{JOBS}/node-1.0/cancel"),
        ("GET", PROCESSES),
        ("POST", f"{PROCESSES}/node-1"),
    ):
        body = {"name": "basic", "action": "kill"}
        assert (await ask(node, method, path, 403, body))["code"] == "NB015"


async def test_nodes_started_by_hand_say_how_to_be_broken(start_node: Start) -> None:
    node = await start_node()
    shown = await ask(node, "GET", PROCESSES, 200)
    assert (shown["configured"], shown["processes"]) == (False, [])
    assert "START-POC.sh" in shown["how"]
    problem = await ask(node, "POST", f"{PROCESSES}/node-1", 409, {"action": "kill"})
    assert problem["code"] == "NB051"
    assert "START-POC.sh" in problem["detail"]
    assert (await start(node, "failover", 409, target="node-1"))["code"] == "NB051"
    silent = await start_node(node_id="node-2", control_url="http://127.0.0.1:9")
    assert (await ask(silent, "GET", PROCESSES, 503))["code"] == "NB052"


async def test_a_page_of_another_site_cannot_start_anything(start_node: Start) -> None:
    node = await start_node(control_url="http://127.0.0.1:9")
    headers = {"Sec-Fetch-Site": "cross-site"}
    for path, body in ((f"{PROCESSES}/node-1", {"action": "kill"}), (JOBS, {"name": "basic"})):
        async with node.post(path, json=body, headers=headers) as answer:
            assert answer.status == 403
            assert (await answer.json())["code"] == "NB055"


async def test_a_load_without_a_strike_is_proven_by_the_ledger(start_node: Start) -> None:
    node = await start_node()
    await issue(node, count=3)
    job = await start(node, "failover", requestsPerSecond=50, seconds=3)
    others = await issue(node, **PLACE)  # served beside it: no trouble of the load's
    job = await ended(node, job)
    assert job["state"] == "succeeded", job["steps"]
    assert [step["name"] for step in job["steps"]] == [
        *("all answered", "nothing twice", "nothing lost", "ledger proven")
    ]
    load = job["load"]
    assert load["asked"] == load["answered"] == job["numbers"] >= 50
    assert (load["failed"], load["waiting"], job["strikes"]) == (0, 0, [])
    assert sum(job["spans"]) <= load["answered"]
    assert others["sequenceNumbers"][0] <= job["numbers"] + 4


async def test_a_number_that_the_ledger_lacks_turns_it_red(
    start_node: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = loads.Load.run

    async def lie(self: loads.Load, seconds: float, stopping: asyncio.Event) -> None:
        await run(self, seconds, stopping)
        key = next(iter(self.told))
        self.told[key] += 1_000_000

    monkeypatch.setattr(loads.Load, "run", lie)
    node = await start_node()
    job = await ended(node, await start(node, "failover", requestsPerSecond=20, seconds=3))
    assert job["state"] == "failed"
    wrong = [step for step in job["steps"] if not step["ok"]]
    assert [step["name"] for step in wrong] == ["nothing lost"]
    assert "1000001" in wrong[0]["detail"]


async def test_the_same_number_told_twice_turns_it_red(
    start_node: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = loads.Load.run

    async def lie(self: loads.Load, seconds: float, stopping: asyncio.Event) -> None:
        await run(self, seconds, stopping)
        one, two, *_ = self.told
        self.told[one] = self.told[two]

    monkeypatch.setattr(loads.Load, "run", lie)
    node = await start_node()
    first = await issue(node)
    await release(node, first["sequenceNumbers"][0])  # before it: excuses nothing
    job = await ended(node, await start(node, "failover", requestsPerSecond=20, seconds=3))
    wrong = [step["name"] for step in job["steps"] if not step["ok"]]
    assert wrong == ["nothing twice", "nothing lost"]


# --- the book of jobs -----------------------------------------------------------------------------


async def quick(run: Run) -> str:
    run.check("done", ok=True, detail="")
    return "quick"


async def test_the_book_keeps_the_newest() -> None:
    book = JobBook("node-1")
    ids = []
    for _ in range(KEPT_MAX + 5):
        job = book.start("quick", {}, quick)
        await book.wait(job)
        ids.append(job.id)
    assert [job.id for job in book.jobs] == ids[: -KEPT_MAX - 1 : -1]
    assert book.find(ids[0]) is None


async def test_an_error_in_a_demonstration_is_told_and_frees_its_place() -> None:
    async def broken(run: Run) -> str:
        raise ZeroDivisionError

    book = JobBook("node-1")
    job = book.start("broken", {}, broken)
    with pytest.raises(Busy):
        book.start("quick", {}, quick)
    await book.wait(job)
    assert job.state is State.FAILED
    assert "ZeroDivisionError" in job.summary
    assert not job.outcome.success
    await book.wait(book.start("quick", {}, quick))


async def test_a_node_that_stops_breaks_off_what_runs() -> None:
    async def endless(run: Run) -> str:
        await asyncio.sleep(3_600)
        return ""

    book = JobBook("node-1")
    job = book.start("endless", {}, endless)
    await asyncio.sleep(0)
    await book.stop()
    assert (job.state, job.ended_ms is not None) == (State.CANCELLED, True)
    await book.stop()
