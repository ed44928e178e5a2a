"""Counters of documents and open reservations over HTTP, on a real etcd."""

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest
from http_calls import Client, Start, issue
from import_calls import csv_of, send_form
from numbering import (
    COUNTER,
    DATE,
    MAX,
    SEQUENCES,
    WHY,
    WRITING,
    by,
    confirmed,
    do,
    number,
    operations,
    read,
    text,
)
from test_documents_api import TEMPLATES, call
from test_reservations_api import DOCUMENTS, post, reserve

from coordinator.core.requests import Adjust, Close, Void

AUDIT = "/api/v1/sequence/audit"
VALIDATE = "/api/v1/sequence/validate"
RESERVATIONS = f"{DOCUMENTS}/reservations"


async def sequences(node: Client, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await read(node, SEQUENCES, **query))["data"]["sequences"]
    return found


async def test_a_counter_tells_how_full_it_is_and_how_long_it_lasts(start_node: Start) -> None:
    node = await start_node()
    small = {"document_type": "TIN", "template": "TIN-TINY-{SEQ:4}", "max_value": 200, "start": 101}
    await call(node, "POST", TEMPLATES, small | {"reason": "a test"}, 201)
    for _ in range(10):
        await reserve(node, document_type="TIN")
    (tin,) = await sequences(node)
    assert (tin["counter"], tin["document_type"], tin["scope"]) == ("documents/TIN", "TIN", {})
    assert (tin["current_value"], tin["document_number"], tin["max_value"]) == (
        110,
        "TIN-TINY-0110",
        200,
    )
    assert (tin["utilization"], tin["left"], tin["open_reservations"]) == (10.0, 90, 10)
    assert (tin["per_day"], tin["window_days"], tin["closed"]) == (10.0, 30, False)
    assert tin["observed_days"] < 1
    left = (await read(node, SEQUENCES))["data"]["timestamp"][:10]
    assert tin["runs_out_on"] > left


async def test_counters_are_paged_in_order_and_filtered(start_node: Start) -> None:
    node = await start_node()
    more = {"document_type": "COR.X", "template": "CX-MORE-{SEQ:4}", "reason": "a test"}
    await call(node, "POST", TEMPLATES, more, 201)
    for year in range(2020, 2027):
        await reserve(node, issue_date=f"{year}-01-01")
    await reserve(node, document_type="RFA", scope_value="P1", issue_date=DATE)
    await reserve(node, document_type="COR.X")
    paged: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        data = (await read(node, SEQUENCES, limit=2, **cursor))["data"]
        paged += [each["counter"] for each in data["sequences"]]
        if data["next_cursor"] is None:
            break
        assert len(data["sequences"]) == 2
        cursor = {"cursor": data["next_cursor"]}
    assert sorted(paged) == sorted(
        [
            *(f"documents/COR/yearly={year}" for year in range(2020, 2027)),
            *("documents/COR.X", "documents/RFA/project=P1/yearly=2025"),
        ]
    )
    assert [each["counter"] for each in await sequences(node, document_type="COR.X")] == [
        "documents/COR.X"
    ]
    of_cor = [each["scope_value"] for each in await sequences(node, document_type="COR")]
    assert of_cor == [str(year) for year in range(2020, 2027)]
    assert (await read(node, SEQUENCES, 404, document_type="XYZ"))["code"] == "NB001"


async def test_a_series_keeps_the_counters_of_its_former_scopes(start_node: Start) -> None:
    node = await start_node()
    body = {"document_type": "GLB", "template": "GLB-TINY-{SEQ:4}", "reason": "a test"}
    await call(node, "POST", TEMPLATES, body, 201)
    await reserve(node, document_type="GLB")
    change = {"template": "GLB-S-{SITE}-{SEQ:4}", "scopes": ["SITE"], "reason": "x", "version": 1}
    await call(node, "PUT", f"{TEMPLATES}/GLB", change)
    other = await start_node(node_id="node-2")  # which has not read the series yet
    await reserve(other, document_type="GLB", scope_value="site-1")
    found = await sequences(other, document_type="GLB")
    assert [(each["counter"], each["document_number"]) for each in found] == [
        ("documents/GLB/site=site-1", "GLB-S-site-1-0001"), ("documents/GLB", None)
    ]  # fmt: skip
    (rest,) = await sequences(other, document_type="GLB", cursor=found[0]["counter"])
    assert rest["counter"] == "documents/GLB"


async def test_invoices_are_a_series_of_documents_too(start_node: Start) -> None:
    node = await start_node(max_value=1_000)
    await issue(node, count=10)
    reserved = await reserve(node, document_type="invoice")
    await reserve(node, issue_date=DATE)
    assert [each["counter"] for each in await sequences(node)] == [COUNTER, "invoice"]
    (invoices,) = await sequences(node, document_type="invoice")
    assert (invoices["current_value"], invoices["max_value"]) == (11, 1_000)
    assert (invoices["utilization"], invoices["open_reservations"]) == (1.1, 1)
    data = (await read(node, RESERVATIONS, document_type="invoice"))["data"]
    assert [each["document_number"] for each in data["reservations"]] == ["INV-00000011"]
    assert (await number(node, "INV-00000011"))["state"] == "RESERVED"
    told = await number(node, "INV-00000007")
    assert (told["state"], operations(told["history"])) == ("CONFIRMED", [("GENERATE", "ACTIVE")])
    await post(node, "cancel", {"token": reserved["token"]})
    assert (await number(node, "INV-00000011"))["state"] == "FREE"
    assert (await read(node, AUDIT, documentType="invoice"))[0]["operationType"] == "CANCEL"
    proven = await read(node, "/api/v1/sequence/validate", counter="invoice")
    assert proven["valid"], proven["findings"]


async def test_a_little_of_a_huge_series_is_not_nothing_nor_is_most_of_it_all(
    start_node: Start,
) -> None:
    node = await start_node()
    await issue(node, count=10)
    (invoices,) = await sequences(node, document_type="invoice")
    assert invoices["utilization"] == pytest.approx(1_000 / invoices["max_value"], abs=0)
    far = {"next_value": invoices["max_value"] - 2, "pass_over_max": 10**15, "reason": WHY}
    await call(node, "POST", f"{SEQUENCES}/adjust", {"document_type": "invoice"} | far)
    (invoices,) = await sequences(node, document_type="invoice")
    assert (invoices["utilization"] < 100, invoices["left"]) == (True, 3)


async def test_the_day_on_which_a_series_ends_is_one_of_its_zone(start_node: Start) -> None:
    node = await start_node()
    days = []
    for kind, zone in (("EAS", "Pacific/Kiritimati"), ("WES", "Etc/GMT+12")):  # 26 hours apart
        small = {"document_type": kind, "template": "{PREFIX}-TINY-{SEQ:4}", "max_value": 200}
        await call(node, "POST", TEMPLATES, small | {"time_zone": zone, "reason": "a test"}, 201)
        await reserve(node, document_type=kind)
        days.append((await sequences(node, document_type=kind))[0]["runs_out_on"])
    assert days[0] > days[1]


async def test_a_closed_counter_with_void_numbers_runs_out_never(start_node: Start) -> None:
    node = await start_node()
    await confirmed(node, 2)
    await do(node, Void(by(), 1, text(1), WHY), Adjust(by(), 40_000, WHY, MAX, 40_000))
    (cor,) = await sequences(node, document_type="COR")
    assert cor["runs_out_on"] is not None
    await do(node, Close(by(), "over"))
    (cor,) = await sequences(node, document_type="COR")
    assert (cor["closed"], cor["runs_out_on"], cor["voided"], cor["current_value"]) == (
        True, None, 39_998, 39_999
    )  # fmt: skip


async def test_open_reservations_count_down_without_their_tokens(start_node: Start) -> None:
    node = await start_node()
    quick = {"document_type": "QCK", "template": "QCK-{SEQ:4}", "reservation_s": 60}
    await call(node, "POST", TEMPLATES, quick | {"reason": "a test"}, 201)
    body = {"document_type": "COR", "issue_date": DATE, "metadata": {"form": 1}}
    first, _ = await post(node, "reserve", body, 201, X_User="ann", X_Request_Id="form-1")
    second = await reserve(node, issue_date=DATE)
    soonest = await reserve(node, document_type="QCK")
    done = await reserve(node, document_type="QCK")
    await post(node, "confirm", {"token": done["token"]})
    data = (await read(node, RESERVATIONS))["data"]
    assert [each["document_number"] for each in data["reservations"]] == [
        soonest["document_number"], text(1), text(2)
    ]  # fmt: skip
    told = data["reservations"][1]
    assert (told["user"], told["request_id"], told["metadata"]) == ("ann", "form-1", {"form": 1})
    assert told["expires_at"] == first["data"]["expires_at"]
    assert 250 < told["seconds_left"] <= 300
    assert (data["total"], data["all_seen"]) == (3, True)
    for token in (first["data"]["token"], second["token"], soonest["token"]):
        assert token not in str(data)

    page = (await read(node, RESERVATIONS, limit=2))["data"]
    rest = (await read(node, RESERVATIONS, limit=2, cursor=page["next_cursor"]))["data"]
    both = [*page["reservations"], *rest["reservations"]]
    assert [each["document_number"] for each in both] == [
        each["document_number"] for each in data["reservations"]
    ]
    assert rest["next_cursor"] is None
    of_qck = (await read(node, RESERVATIONS, document_type="QCK"))["data"]["reservations"]
    assert [each["document_type"] for each in of_qck] == ["QCK"]
    assert (await read(node, RESERVATIONS, 400, cursor="x"))["code"] == "NB009"


async def test_all_of_many_reservations_are_listed_and_read_once_for_all(start_node: Start) -> None:
    node = await start_node()
    made = await asyncio.gather(*(reserve(node, issue_date=DATE) for _ in range(200)))
    pages = await asyncio.gather(*(read(node, RESERVATIONS, limit=500) for _ in range(5)))
    data = pages[0]["data"]
    assert data["total"] == 200
    assert {each["document_number"] for each in data["reservations"]} == {
        each["document_number"] for each in made
    }
    assert all(each["request_id"] for each in data["reservations"])
    assert [page["data"]["total"] for page in pages] == [200] * 5
    await post(node, "confirm", {"token": made[0]["token"]})

    async def left() -> int:
        return int((await read(node, RESERVATIONS))["data"]["total"])

    async with asyncio.timeout(20):
        while await left() == 200:
            await asyncio.sleep(0.2)
    assert await left() == 199


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        (SEQUENCES, {"limit": 0}, "limit"),
        (SEQUENCES, {"limit": 201}, "limit"),
        (SEQUENCES, {"cursor": "x" * 301}, "cursor"),
        (SEQUENCES, {"type": "COR"}, "type"),
        (RESERVATIONS, {"limit": 501}, "limit"),
        (RESERVATIONS, {"cursor": "1 2"}, "cursor"),
        (RESERVATIONS, {"cursor": "\u0661 2 documents/COR"}, "cursor"),
        (AUDIT, {"counter": "a\nb"}, "counter"),
        (AUDIT, {"operationType": "STEAL"}, "operationType"),
    ],
)
async def test_what_is_malformed_names_its_field(
    start_node: Start, path: str, query: dict[str, Any], field: str
) -> None:
    problem = await read(await start_node(), path, 400, **query)
    assert problem["code"] == "NB009"
    assert [error["field"] for error in problem["errors"]] == [field]


async def test_a_page_after_the_last_counter_is_empty(start_node: Start) -> None:
    node = await start_node()
    await reserve(node, issue_date=DATE)
    assert await sequences(node, cursor="zzz") == []
    assert await sequences(node, cursor="documents/COR", document_type="COR") == []
    assert len(await sequences(node, cursor="a")) == 1


async def test_the_audit_and_the_proof_cover_counters_of_documents(start_node: Start) -> None:
    node = await start_node()
    await confirmed(node, 2)
    reserved = await reserve(node, issue_date="2024-01-01")
    await post(node, "cancel", {"token": reserved["token"], "reason": "a slip"})
    await do(node, Void(by(), 1, text(1), WHY, WRITING))
    await send_form(node, csv_of([text(5)]), reason=WHY)
    rows = await read(node, AUDIT, counter=COUNTER)
    assert [(r["sequenceNumber"], r["operationType"], r["status"]) for r in rows] == [
        (5, "IMPORT", "ACTIVE"), (4, "IMPORT", "VOID"), (1, "VOID", "VOID"),
        (3, "GENERATE", "ACTIVE"), (2, "CONFIRM", "ACTIVE"), (2, "RESERVE", "ACTIVE"),
        (1, "CONFIRM", "VOID"), (1, "RESERVE", "VOID"),
    ]  # fmt: skip
    of_type = await read(node, AUDIT, documentType="COR")
    assert len(of_type) == len(rows) + 2
    cancelled = await read(node, AUDIT, documentType="COR", operationType="CANCEL")
    assert [(r["status"], r["reason"]) for r in cancelled] == [("VOID", "a slip")]
    life = await read(node, f"{AUDIT}/1", counter=COUNTER)
    assert [r["operationType"] for r in life] == ["RESERVE", "CONFIRM", "VOID"]
    assert await read(node, AUDIT) == []
    proven = await read(node, "/api/v1/sequence/validate", counter=COUNTER)
    assert proven["valid"], proven["findings"]
    assert list(proven["tips"]) == [COUNTER]
    proven = await read(node, "/api/v1/sequence/validate", documentType="COR")
    assert (proven["valid"], len(proven["tips"])) == (True, 2)
    for path in (AUDIT, "/api/v1/sequence/validate"):
        assert (await read(node, path, 404, counter="documents/COR"))["code"] == "NB001"
        assert (await read(node, path, 404, counter="etcd"))["code"] == "NB001"
        assert (await read(node, path, 400, counter="x", documentType="COR"))["code"] == "NB009"


async def test_of_many_counters_all_are_proven_and_what_is_listed_says_that_it_is_not_all(
    start_node: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.api.which.LISTED_MAX", 2)
    node = await start_node()
    for year in (2021, 2022, 2023):
        await reserve(node, issue_date=f"{year}-07-01")
    proven = await read(node, VALIDATE, documentType="COR")
    assert (proven["valid"], len(proven["tips"])) == (True, 3)
    monkeypatch.setattr("coordinator.api.views.PROVEN_MAX", 2)
    problem = await read(node, VALIDATE, 400, documentType="COR")
    assert "coordinator validate proves them all" in problem["detail"]
    query = {"documentType": "COR", "limit": "1"}
    async with node.get(AUDIT, params=query) as answer:
        assert len(await answer.json()) == 1
        assert answer.headers["X-Narrow-By"] == "counter"
        query["cursor"] = answer.headers["X-Next-Cursor"]
    assert len(await read(node, AUDIT, **query)) == 1
    problem = await read(node, f"{AUDIT}/1", 400, documentType="COR")
    assert problem["errors"][0]["field"] == "counter"
    assert len(await read(node, f"{AUDIT}/1", counter="documents/COR/yearly=2023")) == 1


async def test_many_who_ask_for_one_proof_share_it(start_node: Start) -> None:
    node = await start_node()
    await confirmed(node)
    path = "/api/v1/sequence/validate"
    answers = await asyncio.gather(*(read(node, path, counter=COUNTER) for _ in range(8)))
    assert all(answer["valid"] for answer in answers)


async def test_metrics_have_counters_of_documents(start_node: Start) -> None:
    node = await start_node()
    small = {"document_type": "TIN", "template": "TIN-{SITE}-{SEQ:4}", "scopes": ["SITE"]}
    await call(node, "POST", TEMPLATES, small | {"max_value": 10, "reason": "a test"}, 201)
    for site in ("site-1", "site-1", "site-2"):
        await reserve(node, document_type="TIN", scope_value=site)
    async with node.get("/metrics") as answer:
        shown = await answer.text()
    labels = 'counter="documents/TIN/site=site-1",document_type="TIN",scope="site=site-1"'
    assert f"numbering_sequence_current{{{labels}}} 2.0" in shown
    assert 'numbering_sequence_utilization{document_type="TIN"} 20.0' in shown


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "coordinator", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("as_json", [False, True])
async def test_status_shows_a_series(start_node: Start, as_json: bool) -> None:  # noqa: FBT001
    node = await start_node()
    url, more = f"http://127.0.0.1:{node.port}", ["--json"] * as_json
    fresh = await asyncio.to_thread(run, "status", "COR", "--url", url)
    assert "No number has been given out yet" in fresh.stdout
    await confirmed(node, 3)
    done = await asyncio.to_thread(run, "status", "COR", "--url", url, *more)
    assert done.returncode == 0, done.stderr
    if as_json:
        assert json.loads(done.stdout)["sequences"][0]["current_value"] == 3
        return
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    for line in (
        "Format: {PREFIX}-{YYYY}-{SEQ:5}",
        f"Current value: 3 ({text(3)})",
        "Max value: 999,999",
        "Utilization: < 0.01 %",
        "Manual override: no",
    ):
        assert line in lines, done.stdout
    unknown = await asyncio.to_thread(run, "status", "XYZ", "--url", url)
    assert unknown.returncode == 2


async def test_proof_and_export_read_a_series_that_begins_elsewhere(
    start_node: Start, etcd: str, tmp_path: Any
) -> None:
    root = "/read-cli/"
    node = await start_node(root=root)
    late = {"document_type": "LAT", "template": "LAT-{SEQ:4}", "start": 500, "reason": "a test"}
    await call(node, "POST", TEMPLATES, late, 201)
    await reserve(node, document_type="LAT")
    source = ["--etcd-endpoints", etcd, "--root", root]
    proven = await asyncio.to_thread(run, "validate", *source)
    assert proven.returncode == 0, proven.stdout + proven.stderr
    assert "documents/LAT" in proven.stdout
    file = str(tmp_path / "lat.jsonl")
    command = ["audit-export", *source, "--counter", "documents/LAT", "-o", file]
    assert (await asyncio.to_thread(run, *command)).returncode == 0
    checked = await asyncio.to_thread(run, "validate", "--file", file)
    assert checked.returncode == 0, checked.stdout
    url = f"http://127.0.0.1:{node.port}"
    named = await asyncio.to_thread(run, "validate", "--url", url, "--counter", "documents/LAT")
    assert named.returncode == 0, named.stdout + named.stderr
