"""The audit as CSV: streamed, safe in a spreadsheet, and honest about where it ends."""

import asyncio
import csv
import io
import json
from typing import Any

import pytest
from http_calls import ELSEWHERE, SEQUENCE, Client, Start, get, issue, post, release
from support import until

from coordinator.api import csv_export
from coordinator.csv_cells import plain_cell


async def export(node: Client, status: int = 200, **query: Any) -> tuple[list[list[str]], str]:
    """Return the rows of a CSV export, and its last line."""
    async with node.get(f"{SEQUENCE}/audit.csv", params=query) as answer:
        content = (await answer.read()).decode("utf-8-sig")
        assert answer.status == status, content
        assert answer.headers["X-Request-Id"]
    *rows, last = csv.reader(io.StringIO(content))
    return rows, last[0]


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
