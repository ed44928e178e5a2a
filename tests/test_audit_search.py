"""The audit as an auditor searches it: filters, time, single entries, CSV, and the life of gaps."""

import asyncio
import base64
import csv
import hashlib
import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from etcd_members import alter
from http_calls import ELSEWHERE, SEQUENCE, Client, Start, get, issue, post, release
from numbering import COUNTER, DATE, confirmed, text
from support import until
from test_documents_api import TEMPLATES
from test_reservations_api import post as document_call
from test_reservations_api import reserve

from coordinator.api import audit, csv_export
from coordinator.csv_cells import plain_cell


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def numbers(records: list[dict[str, Any]]) -> list[int]:
    return [record["sequenceNumber"] for record in records]


async def page(node: Client, **query: Any) -> tuple[Any, Any]:
    async with node.get(f"{SEQUENCE}/audit", params=query) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json(), answer.headers


async def export(node: Client, status: int = 200, **query: Any) -> tuple[list[list[str]], str]:
    """Return the rows of a CSV export, and its last line."""
    async with node.get(f"{SEQUENCE}/audit.csv", params=query) as answer:
        content = (await answer.read()).decode("utf-8-sig")
        assert answer.status == status, content
        assert answer.headers["X-Request-Id"]
    *rows, last = csv.reader(io.StringIO(content))
    return rows, last[0]


async def test_every_filter_finds_its_own(start_node: Start) -> None:
    node = await start_node()
    await issue(node, count=5)
    await post(node, "next", ELSEWHERE, X_User="ann", X_Request_Id="trace-1")
    await release(node, 2)
    await post(node, "next", ELSEWHERE | {"requestId": "key-7"}, X_User="bob")
    for query, found in (
        ({"user": "ann"}, [6]),
        ({"user": "nobody"}, []),
        ({"requestId": "trace-1"}, [6]),
        ({"requestId": "key-7"}, [2]),
        ({"siteId": "site-2"}, [2, 6]),
        ({"siteId": "site-2", "user": "bob"}, [2]),
        ({"partitionId": "partition-a", "operationType": "RELEASE"}, [2]),
        ({"invoiceType": "off-cycle"}, [2, 6]),
        ({"number": 2}, [2, 2, 2]),
        ({"number": 2, "siteId": "site-2"}, [2]),
        ({"number": 2, "operationType": "RELEASE"}, [2]),
        ({"number": 99}, []),
    ):
        assert numbers(await get(node, "audit", **query)) == found, query


async def test_a_numbers_records_are_paged_too(start_node: Start) -> None:
    node = await start_node()
    await issue(node)
    for _ in range(3):
        await release(node, 1)
        await issue(node)
    whole = await get(node, "audit/1")
    found, cursor = [], {}
    while True:
        records, headers = await page(node, number=1, limit=2, **cursor)
        found += records
        if "X-Next-Cursor" not in headers:
            break
        assert len(records) == 2
        cursor = {"cursor": headers["X-Next-Cursor"]}
    assert found == whole[::-1]


async def test_a_document_is_found_by_how_it_reads(start_node: Start) -> None:
    node = await start_node()
    await confirmed(node, 2)
    records = await get(node, "audit", documentNumber=text(2))
    assert [(r["operationType"], r["counter"]) for r in records] == [
        ("CONFIRM", COUNTER),
        ("RESERVE", COUNTER),
    ]
    assert await get(node, "audit", documentNumber=text(9)) == []
    unreadable = await get(node, "audit", 404, documentNumber="what is this")
    assert unreadable["code"] == "NB010"
    both = await get(node, "audit", 400, documentNumber=text(2), number=2)
    assert both["code"] == "NB009"


async def test_a_time_is_found_by_halving(start_node: Start) -> None:
    node = await start_node()
    moments = [now()]
    for _ in range(3):
        for _ in range(40):
            await issue(node)
        moments.append(now())
    for at, found in ((0, range(40, 0, -1)), (1, range(80, 40, -1)), (2, range(120, 80, -1))):
        time = {"from": moments[at], "to": moments[at + 1]}
        assert numbers(await get(node, "audit", **time)) == list(found)
    assert numbers(await get(node, "audit", to=moments[2], limit=2)) == [80, 79]
    assert await get(node, "audit", to=moments[0]) == []
    assert await get(node, "audit", **{"from": moments[3]}) == []
    today = datetime.now(UTC).date().isoformat()
    assert len(await get(node, "audit", **{"from": today, "to": today}, limit=500)) == 120
    assert await get(node, "audit", to="2020-12-31") == []


async def test_old_entries_are_not_read_to_find_older_ones(
    start_node: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "CLOCKS_APART_MS", 0)
    node = await start_node()
    for _ in range(30):
        await issue(node)
    middle = now()
    for _ in range(300):
        await issue(node)
    _, headers = await page(node, to=middle, limit=5)
    assert int(headers["X-Entries-Read"]) < 20
    _, headers = await page(node, **{"from": now()})
    assert int(headers["X-Entries-Read"]) == 0


@pytest.mark.parametrize(
    "query",
    [
        {"from": "yesterday"},
        {"from": "2026-01-31T10:00:00"},
        {"to": "2026-02-30"},
        {"to": "20260131"},
        {"to": "9999-12-31"},
        {"from": "2026-02-01", "to": "2026-01-01"},
        {"number": "0"},
        {"user": ""},
        {"from_ms": "7"},
    ],
)
async def test_what_cannot_be_searched_for_is_refused(
    start_node: Start, query: dict[str, str]
) -> None:
    node = await start_node()
    for path in ("audit", "audit.csv"):
        problem = await get(node, path, 400, **query)
        assert problem["code"] == "NB009"
        assert problem["errors"]


async def test_a_search_that_finds_little_says_how_far_it_looked(
    start_node: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.api.audit_calls.ENTRIES_READ_MAX", 64)
    node = await start_node()
    await post(node, "next", ELSEWHERE, X_User="ann")
    for _ in range(150):
        await issue(node)
    found, looked_at, calls, cursor = [], 0, 0, {}
    while True:
        records, headers = await page(node, user="ann", **cursor)
        found += records
        looked_at += int(headers["X-Entries-Read"])
        calls += 1
        if "X-Next-Cursor" not in headers:
            break
        assert headers["X-Looked-Back-To"] < now()
        cursor = {"cursor": headers["X-Next-Cursor"]}
    assert (numbers(found), looked_at, calls) == ([1], 151, 3)


async def test_records_of_other_counters_wait_for_one_that_is_not_looked_through(
    start_node: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.api.audit_calls.ENTRIES_READ_MAX", 128)
    node = await start_node(strategy="SITE_SEQUENTIAL")
    await issue(node)
    await post(node, "next", ELSEWHERE, X_User="ann")
    await post(node, "next", ELSEWHERE, X_User="ann")
    for _ in range(100):
        await issue(node)
    await post(node, "next", ELSEWHERE, X_User="ann")
    times, cursor = [], {}
    while True:
        records, headers = await page(node, user="ann", **cursor)
        times += [record["timestamp"] for record in records]
        if "X-Next-Cursor" not in headers:
            break
        cursor = {"cursor": headers["X-Next-Cursor"]}
    assert len(times) == 3
    assert times == sorted(times, reverse=True)


async def test_entries_are_told_as_the_bytes_of_their_hash(start_node: Start) -> None:
    node = await start_node()
    await issue(node, count=3)
    await release(node, 2)
    life = await get(node, "audit/2")
    tip = "0" * 64
    for index in (1, 2):
        entry = await get(node, f"entries/{index}")
        content = base64.b64decode(entry["contentBase64"])
        assert entry["previousHash"] == tip == json.loads(content)["p"]
        tip = hashlib.sha256(bytes.fromhex(tip) + content).hexdigest()
        assert entry["hash"] == tip == life[index - 1]["entryHash"]
        assert entry["recordedHash"] == tip
        assert entry["recordedHash"] == tip
        assert entry["recordedIn"] == (2 if index == 1 else "head")
        assert (entry["counter"], entry["newestIndex"]) == ("invoice", 2)
        assert entry["recordedIn"] == (2 if index == 1 else "head")
    assert entry["newestHash"] == tip
    assert (await get(node, "entries/3", 404))["code"] == "NB053"
    assert (await get(node, "entries/0", 400))["code"] == "NB009"
    assert (await get(node, "entries/1", 404, counter="nobody"))["code"] == "NB001"


@pytest.mark.parametrize("index", [2, 3], ids=["in the middle", "the newest"])
async def test_an_altered_entry_differs_from_what_was_recorded_of_it(
    start_node: Start, etcd: str, index: int
) -> None:
    root = f"/altered-{index}/"
    node = await start_node(root=root)
    await issue(node, count=3)
    for number in (2, 3):
        await release(node, number, reason=f"reason {number}")
    before = [await get(node, f"entries/{at}") for at in (1, 2, 3)]
    prefix = f"{root}c/invoice/entry/".encode()
    alter(etcd, prefix, b"reason %d" % index, b"reason of another")
    for at, was in enumerate(before, 1):
        entry = await get(node, f"entries/{at}")
        assert entry["recordedHash"] == was["hash"]
        assert (entry["hash"] == entry["recordedHash"]) == (at != index)


async def test_an_entry_that_nobody_can_read_is_told_as_it_stands(
    start_node: Start, etcd: str
) -> None:
    node = await start_node(root="/unreadable/")
    await issue(node, count=3)
    await release(node, 2)
    before = await get(node, "entries/1")
    alter(etcd, b"/unreadable/c/invoice/entry/", b'"n":3', b'"n":')
    entry = await get(node, "entries/1")
    assert b'"n":' in base64.b64decode(entry["contentBase64"])
    assert (entry["previousHash"], entry["hash"]) == (None, None)
    assert entry["recordedHash"] == before["hash"]
    alter(etcd, b"/unreadable/c/invoice/entry/", b'"o":"release"', b'"o":"')
    assert (await get(node, "entries/1"))["recordedHash"] is None


async def test_it_is_said_of_which_counter_an_entry_is(start_node: Start) -> None:
    node = await start_node(strategy="SITE_SEQUENTIAL")
    await issue(node)
    assert (await get(node, "entries/1", 400))["errors"][0]["field"] == "counter"
    (record,) = await get(node, "audit")
    entry = await get(node, "entries/1", counter=record["counter"])
    assert entry["hash"] == record["entryHash"]


async def test_an_export_has_what_the_listing_has(
    start_node: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_export, "RECORDS_PER_PIECE", 7)
    node = await start_node()
    await issue(node, count=20)
    await release(node, 5, reason='=HYPERLINK("http://x";"a, b")')
    await release(node, 6, reason="'tis plain")
    await post(node, "next", ELSEWHERE | {"metadata": {"why": "ünï"}}, X_User="@ann")
    listed = await get(node, "audit", limit=1000)
    (columns, *rows), last = await export(node)
    assert last == f"# Complete: {len(listed)} records."
    assert len(rows) == len(listed) == 23
    for row, record in zip(rows, listed, strict=True):
        told = dict(zip(columns, row, strict=True))
        assert all(not cell or cell[0] not in "=+-@\t\r" for cell in row)
        for name in ("reason", "user", "timestamp", "entryHash", "counter", "description"):
            assert plain_cell(told[name]) == (record[name] or ""), name
        assert told["sequenceNumber"] == str(record["sequenceNumber"])
    assert json.loads(rows[0][columns.index("metadata")]) == {"why": "ünï"}
    (_, only), last = await export(node, user="@ann")
    assert only[columns.index("user")] == "'@ann"
    assert last == "# Complete: 1 records."


async def test_an_export_with_a_limit_says_where_to_go_on(start_node: Start) -> None:
    node = await start_node()
    await issue(node, count=10)
    (_, *first), last = await export(node, limit=4)
    assert last.startswith("# INCOMPLETE: the limit of 4 records is reached")
    cursor = last.rpartition("cursor=")[2].split()[0]
    (_, *second), last = await export(node, cursor=cursor)
    assert [int(row[1]) for row in first + second] == list(range(10, 0, -1))
    assert last == "# Complete: 6 records."
    assert (await get(node, "audit.csv", 400, limit=100_001))["code"] == "NB009"
    assert (await get(node, "audit.csv", 400, cursor="1-0.1-0"))["code"] == "NB009"


async def test_who_leaves_an_export_frees_its_place_and_others_are_bounded(
    start_node: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_export, "RECORDS_PER_PIECE", 100)
    node = await start_node(deadline_s=0.5)
    for _ in range(5):
        await post(node, "next", {**ELSEWHERE, "count": 10_000, "metadata": {"a": "x" * 3_000}})
    answers = [await node.get(f"{SEQUENCE}/audit.csv") for _ in range(2)]  # nobody reads them
    for answer in answers:
        answer.content._protocol.pause_reading()  # type: ignore[attr-defined]
    busy = await get(node, "audit.csv", 503)
    assert busy["code"] == "NB003"
    assert len(await get(node, "audit", limit=5)) == 5, "a slow export keeps nobody else waiting"
    for answer in answers:
        answer.close()
    place: list[int] = []

    async def ask() -> None:
        while not place:
            async with node.get(f"{SEQUENCE}/audit.csv", params={"limit": 1}) as answer:
                if answer.status == 200:
                    place.append(answer.status)

    asking = asyncio.create_task(ask())
    await until(lambda: place, "there is a place again")
    await asking


async def test_a_stopping_node_ends_its_exports_and_says_so(
    start_node: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_export, "RECORDS_PER_PIECE", 100)
    node = await start_node()
    await post(node, "next", {**ELSEWHERE, "count": 10_000, "metadata": {"a": "x" * 3_000}})
    answer = await node.get(f"{SEQUENCE}/audit.csv")
    await node.server.app.shutdown()  # type: ignore[union-attr] # as a stop begins
    content = (await answer.read()).decode("utf-8-sig")
    last = content.splitlines()[-1]
    assert "INCOMPLETE after" in last
    assert "the node stops. Go on with cursor=" in last


async def test_gaps_are_told_from_release_to_reissue(start_node: Start) -> None:
    node = await start_node()
    empty = await get(node, "gaps/life")
    assert (empty["open"], empty["refilled"], empty["openTotal"]) == ([], [], 0)
    await issue(node, count=6)
    for number, reason in ((2, "first"), (4, "second"), (5, "third")):
        await release(node, number, reason=reason)
    await post(node, "next", ELSEWHERE, X_User="ann")
    told = await get(node, "gaps/life")
    assert told["openTotal"] == 2
    assert [(g["sequenceNumber"], g["released"]["reason"], g["issued"]) for g in told["open"]] == [
        (4, "second", None),
        (5, "third", None),
    ]
    (again,) = told["refilled"]
    assert (again["sequenceNumber"], again["released"]["reason"]) == (2, "first")
    assert again["released"]["siteId"] == "site-1"
    assert (again["issued"]["siteId"], again["issued"]["user"]) == ("site-2", "ann")
    assert again["released"]["at"] == again["releasedAt"] <= again["issued"]["at"]

    await issue(node, count=2)
    told = await get(node, "gaps/life", limit=2)
    assert told["open"] == []
    assert [gap["sequenceNumber"] for gap in told["refilled"]] == [5, 4]


async def test_reuse_is_found_far_back(start_node: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordinator.gap_lives.WINDOW", 4)
    monkeypatch.setattr("coordinator.gap_lives.WINDOWS_PER_READ", 3)
    node = await start_node()
    await issue(node, count=3)
    for number in (1, 2):
        await release(node, number)
        await issue(node)
    for _ in range(60):
        await issue(node)
    told = await get(node, "gaps/life")
    assert [gap["sequenceNumber"] for gap in told["refilled"]] == [2, 1]
    for _ in range(60):
        await issue(node)
    told = await get(node, "gaps/life")
    assert told["refilled"] == []
    assert told["lookedBackTo"]["invoice"] > 5


async def test_a_cancelled_reservation_is_a_gap_with_its_text(start_node: Start) -> None:
    node = await start_node()
    memo = {
        "document_type": "MEM",
        "template": "{PREFIX}-{YYYY}-{SEQ:5}",
        "scopes": ["YEARLY"],
        "gap_policy": "reuse",
        "reason": "memoranda",
    }
    async with node.post(TEMPLATES, json=memo) as answer:
        assert answer.status == 201, await answer.text()
    reserved = await reserve(node, document_type="MEM", issue_date=DATE)
    await document_call(node, "cancel", {"token": reserved["token"], "reason": "a slip"})
    told = await get(node, "gaps/life", documentType="MEM")
    (gap,) = told["open"]
    assert (gap["released"]["reason"], gap["released"]["documentNumber"]) == (
        "a slip",
        reserved["document_number"],
    )
    assert (await get(node, "gaps/life", 404, documentType="NOBODY"))["code"] == "NB001"
