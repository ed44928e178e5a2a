"""The sequence API over HTTP, node by node, on a real etcd."""

import asyncio
import subprocess

import pytest
from aiohttp.test_utils import TestClient, TestServer
from http_calls import ELSEWHERE, PLACE, SEQUENCE, Start, get, issue, post, release
from support import free_port

from coordinator.app import NodeApp
from coordinator.config import Settings
from coordinator.jobs.membership import CannotJoin
from coordinator.store.etcd import EtcdStore


async def test_next_answers_with_every_field_of_the_contract(start_node: Start) -> None:
    node = await start_node()
    answer = await issue(node)
    assert set(answer) == {
        "sequenceNumbers",
        "success",
        "error",
        "gapFilled",
        "globalCounter",
        "timestamp",
        "nodeId",
        "instanceId",
        "siteId",
        "partitionId",
        "invoiceType",
        "requestId",
        "processingTimeMs",
        "strategy",
        "metadata",
        "firstSequenceNumber",
        "sequenceCount",
    }
    assert answer["sequenceNumbers"] == [1]
    assert (answer["success"], answer["error"], answer["gapFilled"]) == (True, None, False)
    assert (answer["globalCounter"], answer["sequenceCount"]) == (1, 1)

    body = PLACE | {"count": 10_000, "requestId": "bulk-1", "metadata": {"order": 7}}
    bulk, _ = await post(node, "next", body)
    assert bulk["sequenceNumbers"] == list(range(2, 10_002))
    assert (bulk["requestId"], bulk["metadata"]) == ("bulk-1", {"order": 7})
    assert bulk["firstSequenceNumber"] == 2


async def test_many_numbers_are_answered_as_ranges_to_who_asks_for_that(start_node: Start) -> None:
    node = await start_node()
    await issue(node, count=9)
    for number in (3, 5, 4):
        await release(node, number)
    body = PLACE | {"count": 10_000, "requestId": "many"}
    compact, _ = await post(node, "next", body | {"compact": True})
    listed, headers = await post(node, "next", body)
    assert headers["Idempotent-Replayed"] == "true"
    ranges = compact.pop("sequenceRanges")
    assert [n for first, last in ranges for n in range(first, last + 1)] == listed[
        "sequenceNumbers"
    ]
    assert len(listed.pop("sequenceNumbers")) == 10_000
    assert compact == listed
    assert (compact["firstSequenceNumber"], compact["sequenceCount"]) == (3, 10_000)
    assert ranges[-1] == [10, 10_006]
    assert (await post(node, "next", body | {"compact": 1}, 400))[0]["code"] == "NB009"


async def test_released_numbers_are_reused_lowest_first_across_nodes(start_node: Start) -> None:
    one = await start_node(node_id="node-1")
    two = await start_node(node_id="node-2")
    assert (await issue(one, count=10))["sequenceNumbers"] == list(range(1, 11))
    for number, client in ((7, two), (3, one), (5, two)):
        answer = await release(client, number)
        assert set(answer) == {"success", "sequenceNumber", "message", "timestamp"}
    gaps = await get(two, "gaps")
    assert (gaps["gaps"], gaps["count"], gaps["nextGap"]) == ([3, 5, 7], 3, 3)
    answer = await issue(two, count=4)
    assert (answer["sequenceNumbers"], answer["gapFilled"]) == ([3, 5, 7, 11], True)
    assert (await get(one, "gaps"))["nextGap"] == -1
    assert (await issue(one))["sequenceNumbers"] == [12]


async def test_a_release_that_cannot_be_is_refused_and_changes_nothing(start_node: Start) -> None:
    node = await start_node()
    await issue(node, count=3)
    await release(node, 2)
    before = await get(node, "stats")
    for number, more, status, code in (
        (4, {}, 404, "NB010"),
        (2, {}, 409, "NB011"),
        (1, {"siteId": "site-2"}, 409, "NB012"),
        (1, {"partitionId": "partition-b"}, 409, "NB012"),
        (1, {"siteId": "site-9"}, 404, "NB001"),
    ):
        problem = await release(node, number, status, **more)
        assert problem["code"] == code
        assert problem["success"] is False
    after = await get(node, "stats")
    assert {k: before[k] for k in ("totalRequests", "availableGaps", "totalReleased")} == {
        k: after[k] for k in ("totalRequests", "availableGaps", "totalReleased")
    }


async def test_every_node_answers_the_same_and_a_restart_changes_nothing(
    start_node: Start,
) -> None:
    one = await start_node(node_id="node-1")
    two = await start_node(node_id="node-2")
    await asyncio.gather(*(issue(client) for client in (one, two) * 20))
    await get(one, "next", **ELSEWHERE)
    await release(two, 9)
    three = await start_node(node_id="node-1")  # the same node, started anew

    moving = {"statisticsTime", "uptime", "longestGapDuration", "requestsPerSecond"}
    stats = [await get(client, "stats") for client in (one, two, three)]
    same = [{k: v for k, v in each.items() if k not in moving} for each in stats]
    assert same[0] == same[1] == same[2]
    assert same[0]["currentCounter"] == 41
    assert same[0]["sequencesBySitePartition"] == {
        "site-1:partition-a": 40,
        "site-2:partition-b": 1,
    }
    assert same[0]["watermark"] == 8
    for path in ("audit", "audit/9", "audit/41"):
        audits = [await get(client, path) for client in (one, two, three)]
        assert audits[0] == audits[1] == audits[2]
    assert (await issue(three))["sequenceNumbers"] == [9]
    assert (await issue(two))["sequenceNumbers"] == [42]


async def test_stats_have_every_field_of_the_contract(start_node: Start) -> None:
    stats = await get(await start_node(), "stats")
    wanted = (
        "currentCounter totalGenerated totalReleased availableGaps nextAvailableGap "
        "averageLatencyMs peakLatencyMs requestsPerSecond totalRequests sequencesBySite "
        "sequencesByPartition sequencesByInvoiceType sequencesBySitePartition totalGapsCreated "
        "totalGapsRecovered gapRecoveryRate longestGapDuration systemHealthy uptime "
        "currentStrategy lastSequenceTime statisticsTime activeNodes totalNodes primaryNode "
        "clusterHealthy gapPercentage activeSequences clusterAvailability watermark "
        "openReservations voided"
    )
    assert set(wanted.split()) <= set(stats)
    assert (stats["currentCounter"], stats["nextAvailableGap"], stats["watermark"]) == (0, -1, 0)
    assert (stats["activeNodes"], stats["clusterHealthy"]) == (1, True)


async def test_the_audit_tells_a_numbers_whole_life(start_node: Start) -> None:
    node = await start_node()
    await issue(node, count=3)
    await release(node, 2)
    body = ELSEWHERE | {"metadata": {"why": "test"}}
    _, headers = await post(node, "next", body, X_Request_Id="trace-1", X_User="ann")
    assert headers["X-Request-Id"] == "trace-1"

    life = await get(node, "audit/2")
    assert [r["operationType"] for r in life] == ["GENERATE", "RELEASE", "RECOVER"]
    assert [r["status"] for r in life] == ["RELEASED", "RECOVERED", "ACTIVE"]
    assert life[1]["reason"] == "wrong customer"
    assert life[1]["recoveryTime"] == life[2]["timestamp"] == life[2]["recoveryTime"]
    last = life[2]
    assert (last["siteId"], last["user"], last["correlationId"]) == ("site-2", "ann", "trace-1")
    assert last["metadata"] == {"why": "test"}
    assert len(last["entryHash"]) == 64
    wanted = (
        "auditId sequenceNumber siteId partitionId invoiceType operationType status reason "
        "description timestamp releaseTime recoveryTime nodeId instanceId strategy gapFilled "
        "globalCounter requestId correlationId processingTimeMs metadata user ipAddress userAgent "
        "entryIndex entryHash"
    )
    assert set(wanted.split()) <= set(last)
    assert (await get(node, "audit/4", status=404))["code"] == "NB010"


async def test_the_audit_is_paged_filtered_and_newest_first(start_node: Start) -> None:
    node = await start_node()
    await issue(node, count=7)
    await get(node, "next", **ELSEWHERE)
    await release(node, 4)
    await issue(node, count=2)

    everything = await get(node, "audit", limit=1000)
    numbers = [record["sequenceNumber"] for record in everything]
    assert numbers == [9, 4, 4, 8, 7, 6, 5, 4, 3, 2, 1]
    assert [r["status"] for r in everything if r["sequenceNumber"] == 4] == [
        "ACTIVE",
        "RECOVERED",
        "RELEASED",
    ]
    paged, cursor = [], {}
    while True:
        async with node.get(f"{SEQUENCE}/audit", params={"limit": "3"} | cursor) as answer:
            page = await answer.json()
            paged += page
            if "X-Next-Cursor" not in answer.headers:
                break
            assert len(page) == 3
            cursor = {"cursor": answer.headers["X-Next-Cursor"]}
    assert paged == everything
    released = await get(node, "audit", operationType="RELEASE")
    assert [record["sequenceNumber"] for record in released] == [4]
    assert [r["sequenceNumber"] for r in await get(node, "audit", siteId="site-2")] == [8]


async def test_gaps_are_paged(start_node: Start) -> None:
    node = await start_node()
    await issue(node, count=20)
    await asyncio.gather(*(release(node, number) for number in range(3, 12)))
    first = await get(node, "gaps", limit=5)
    assert (first["gaps"], first["count"], first["nextStart"]) == ([3, 4, 5, 6, 7], 9, 8)
    second = await get(node, "gaps", limit=5, start=first["nextStart"])
    assert (second["gaps"], second["nextStart"], second["nextGap"]) == ([8, 9, 10, 11], None, 3)


async def test_the_ledger_is_proven_and_the_proof_notices_tampering(
    start_node: Start, etcd: str
) -> None:
    node = await start_node(root="/tampered/")
    await issue(node, count=5)
    await release(node, 2)
    await issue(node)
    verdict = await get(node, "validate")
    assert (verdict["valid"], verdict["duplicates"], verdict["gaps"]) == (True, [], [])

    key = "/tampered/c/invoice/entry/" + "0" * 19 + "1"
    flags = ["etcdctl", f"--endpoints={etcd}"]
    told = {"ETCDCTL_API": "3", "PATH": "/usr/bin:/usr/local/bin"}
    read = subprocess.run(
        [*flags, "get", "--print-value-only", key], env=told, capture_output=True, check=True
    )
    forged = read.stdout.strip().replace(b'"n":5', b'"n":4')
    assert forged != read.stdout.strip()
    subprocess.run([*flags, "put", key, forged], env=told, check=True, capture_output=True)
    verdict = await get(node, "validate")
    assert verdict["valid"] is False
    assert "hash chain broken" in {finding["kind"] for finding in verdict["findings"]}


async def test_the_same_key_gets_the_same_answer_from_any_node(start_node: Start) -> None:
    one = await start_node(node_id="node-1")
    two = await start_node(node_id="node-2")
    first, headers = await post(one, "next", PLACE, Idempotency_Key="order-7")
    assert "Idempotent-Replayed" not in headers
    for node in (one, two):
        again, headers = await post(node, "next", PLACE, Idempotency_Key="order-7")
        assert again == first
        assert headers["Idempotent-Replayed"] == "true"
    as_body, headers = await post(two, "next", PLACE | {"requestId": "order-7"})
    assert (as_body, headers["Idempotent-Replayed"]) == (first, "true")
    problem, _ = await post(two, "next", PLACE | {"count": 2}, 422, Idempotency_Key="order-7")
    assert problem["code"] == "NB013"
    both = await asyncio.gather(
        *(post(node, "next", PLACE, Idempotency_Key="order-8") for node in (one, two) * 5)
    )
    assert {tuple(body["sequenceNumbers"]) for body, _ in both} == {(2,)}

    body = {"sequenceNumber": 1, "siteId": "site-1", "partitionId": "partition-a", "reason": "x"}
    first, _ = await post(one, "release", body, Idempotency_Key="undo-1")
    again, headers = await post(two, "release", body, Idempotency_Key="undo-1")
    assert (again, headers["Idempotent-Replayed"]) == (first, "true")


async def test_suppressed_invoices_can_be_released_by_themselves(start_node: Start) -> None:
    node = await start_node(release_suppressed="true")
    answer = await issue(node, invoiceType="suppressed", count=3)
    assert answer["sequenceNumbers"] == [1, 2, 3]
    assert (await get(node, "gaps"))["gaps"] == [1, 2, 3]
    assert (await issue(node))["sequenceNumbers"] == [1]
    assert (await get(node, "validate"))["valid"]


async def test_simulated_invoices_can_be_switched_off(start_node: Start) -> None:
    node = await start_node(simulated_enabled="false")
    problem = await get(node, "next", 409, **(PLACE | {"invoiceType": "simulated"}))
    assert problem["code"] == "NB020"
    assert (await issue(node))["sequenceNumbers"] == [1]


async def test_one_sequence_for_each_site_and_partition(start_node: Start) -> None:
    node = await start_node(strategy="PARTITION_SEQUENTIAL")
    for _ in range(2):
        await issue(node)
    assert (await get(node, "next", **ELSEWHERE))["sequenceNumbers"] == [1]
    await release(node, 1)
    assert (await get(node, "next", **ELSEWHERE))["sequenceNumbers"] == [2]
    assert (await issue(node))["sequenceNumbers"] == [1]
    records, cursor = [], {}
    while True:
        async with node.get(f"{SEQUENCE}/audit", params={"limit": "2"} | cursor) as answer:
            records += await answer.json()
            if "X-Next-Cursor" not in answer.headers:
                break
            cursor = {"cursor": answer.headers["X-Next-Cursor"]}
    assert len(records) == 6
    assert [r["timestamp"] for r in records] == sorted(
        (r["timestamp"] for r in records), reverse=True
    )
    assert (await get(node, "validate"))["valid"]


async def test_the_series_end_is_told_and_nothing_is_lost(start_node: Start) -> None:
    node = await start_node(first_number=100, max_value=102)
    assert (await issue(node, count=2))["sequenceNumbers"] == [100, 101]
    problem = await get(node, "next", 409, **(PLACE | {"count": "2"}))
    assert (problem["code"], problem["retryable"]) == ("NB002", False)
    assert (await issue(node))["sequenceNumbers"] == [102]


async def test_a_reset_is_for_demonstrations_only(start_node: Start) -> None:
    production = await start_node(profile="production", root="/production/")
    await issue(production, count=5)
    problem, _ = await post(production, "reset", None, 403)
    assert problem["code"] == "NB015"
    async with production.post("/api/v1/demo/basic") as answer:
        assert answer.status == 403
    assert (await issue(production))["sequenceNumbers"] == [6]
    with pytest.raises(CannotJoin, match="demonstration"):
        await start_node(root="/production/")

    one, two = await start_node(), await start_node(node_id="node-2")
    await issue(one, count=5)
    first, _ = await post(two, "reset", None, Idempotency_Key="anew")
    assert (await get(one, "stats"))["currentCounter"] == 0
    assert (await issue(one))["sequenceNumbers"] == [1]
    again, headers = await post(one, "reset", None, Idempotency_Key="anew")
    assert (again, headers["Idempotent-Replayed"]) == (first, "true")
    assert (await issue(two))["sequenceNumbers"] == [2]
    (reset,) = await get(one, "audit", operationType="RESET")
    assert (reset["siteId"], reset["partitionId"], reset["sequenceNumber"]) == (None, None, None)
    assert (await get(two, "validate"))["valid"]


async def test_nodes_with_other_settings_may_not_join(start_node: Start) -> None:
    await start_node()
    with pytest.raises(CannotJoin, match="SITE_SEQUENTIAL"):
        await start_node(strategy="SITE_SEQUENTIAL")


async def test_health_and_operations(start_node: Start) -> None:
    node = await start_node()
    await issue(node)
    health = await get(node, "health")
    assert (health["status"], health["healthy"], health["currentCounter"]) == ("UP", True, 1)
    for path in ("/livez", "/readyz", "/readyz?verbose", "/dashboard"):
        async with node.get(path) as answer:
            assert answer.status == 200, path
    async with node.get("/metrics") as answer:
        text = await answer.text()
    labels = 'counter="invoice",document_type="invoice",scope=""'
    assert f"numbering_sequence_current{{{labels}}} 1.0" in text
    for name in ("numbering_sequences_total", "numbering_lock_wait_seconds_bucket"):
        assert name in text
    for name in ("lock_failures_total", "manual_overrides_total", "errors_total"):
        assert f"numbering_{name}" in text
    async with node.get("/api/v1/cluster") as answer:
        cluster = await answer.json()
    assert [(n["nodeId"], n["active"]) for n in cluster["nodes"]] == [("node-1", True)]


async def test_a_node_without_etcd_lives_but_is_not_ready(start_node: Start) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    app = NodeApp(Settings(etcd_endpoints=nowhere), EtcdStore((nowhere,)))
    async with TestClient(TestServer(app.web)) as node:
        for path, status in (("/livez", 200), ("/readyz", 503), (f"{SEQUENCE}/health", 503)):
            async with node.get(path) as answer:
                assert answer.status == status
        problem = await get(node, "next", 503, **PLACE)
        assert (problem["code"], problem["retryable"]) == ("NB008", True)
        async with node.get(f"{SEQUENCE}/next", params=PLACE) as answer:
            assert answer.headers["Retry-After"]
        assert (await get(node, "stats", 503))["code"] == "NB008"
    await app.stop()


async def test_each_demonstration_checks_what_it_claims(start_node: Start) -> None:
    node = await start_node(node_id="node-1")
    await start_node(node_id="node-2")
    for path, numbers in (
        ("basic", 16),
        ("concurrent?threads=4&requestsPerThread=10", 40),
        ("gaps", 2),
        ("load-test?totalRequests=200&concurrentThreads=8", 200),
    ):
        async with node.post(f"/api/v1/demo/{path}") as answer:
            assert answer.status == 200
            shown = await answer.json()
        assert {"name", "steps", "sequences", "success", "summary", "timestamp"} <= set(shown)
        assert shown["success"], shown["steps"]
        assert len(shown["sequences"]) == numbers
        assert all(step["ok"] for step in shown["steps"])
    stats = await get(node, "stats")
    assert stats["currentCounter"] == 16 + 40 + 1 + 200
    assert (await get(node, "validate"))["valid"]
