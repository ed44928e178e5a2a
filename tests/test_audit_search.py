"""The audit as an auditor searches it: filters, time, and single entries."""

import asyncio
import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from etcd_members import alter
from http_calls import ELSEWHERE, SEQUENCE, Client, Start, get, issue, post, release
from numbering import COUNTER, confirmed, text

from coordinator.api import audit


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


async def between() -> str:
    """Return a moment, in ms as the ledger has them, that no commit before or after it shares."""
    await asyncio.sleep(0.005)
    moment = now()
    await asyncio.sleep(0.005)
    return moment


def numbers(records: list[dict[str, Any]]) -> list[int]:
    return [record["sequenceNumber"] for record in records]


async def page(node: Client, **query: Any) -> tuple[Any, Any]:
    async with node.get(f"{SEQUENCE}/audit", params=query) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json(), answer.headers


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
    moments = [await between()]
    for _ in range(3):
        for _ in range(40):
            await issue(node)
        moments.append(await between())
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
    middle = await between()
    for _ in range(300):
        await issue(node)
    _, headers = await page(node, to=middle, limit=5)
    assert int(headers["X-Entries-Read"]) < 20
    _, headers = await page(node, **{"from": await between()})
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
