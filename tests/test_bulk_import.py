"""Imports over HTTP, on a real etcd: all rows or none, row by row, and once for each key."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from http_calls import Client, Start, issue
from import_calls import COR, PATH, Place, cor, csv_of, send_form, send_raw
from support import until
from test_documents_api import TEMPLATES, call
from test_reservations_api import reserve, sequence_in
from workbooks import saved, workbook

from coordinator.core.records import Imported
from coordinator.imported_rows import row_of
from coordinator.proof import prove
from coordinator.store import Store
from coordinator.store.etcd import EtcdStore


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture
async def store(etcd: str) -> AsyncIterator[Store]:
    opened = EtcdStore((etcd,))
    yield opened
    await opened.close()


async def test_a_dry_run_tells_what_would_be_and_changes_nothing(
    start_node: Start, place: Place, store: Store
) -> None:
    node = await start_node(root=place.root)
    content = csv_of([cor(2), cor(5), cor(3)])
    told, _ = await send_form(node, content, dry_run="true")
    assert told == {
        "success": True,
        "dry_run": True,
        "rows_total": 3,
        "imported": 0,
        "counters": [
            {
                "counter": COR,
                "numbers": 3,
                "lowest": 2,
                "highest": 5,
                "next_value": 6,
                "missing": [{"first": 1, "last": 1}, {"first": 4, "last": 4}],
                "missing_total": 2,
            }
        ],
        "errors": [],
        "errors_total": 0,
    }
    assert await place.head(store) is None
    assert [await place.left(store, what) for what in ("open", "rows", "done")] == [(), (), ()]


async def test_a_dry_run_lists_the_first_rows_that_can_be_read(
    start_node: Start, place: Place
) -> None:
    node = await start_node(root=place.root)
    content = csv_of([cor(9), "no number", cor(7, 2024), cor(8)])
    told, _ = await send_form(node, content, 422, dry_run="true", list_rows="2")
    assert told["rows"] == [
        {
            "row": row,
            "line": row,
            "document_type": "COR",
            "document_number": cor(number, year),
            "counter": f"documents/COR/yearly={year}",
            "sequence_value": number,
        }
        for row, number, year in ((2, 9, 2025), (4, 7, 2024))
    ]
    assert [error["row"] for error in told["errors"]] == [3]
    told, _ = await send_form(node, csv_of([cor(9)]), dry_run="true", list_rows="1000")
    assert [each["document_number"] for each in told["rows"]] == [cor(9)]
    await send_form(node, content, 400, dry_run="true", list_rows="1001")


async def test_numbers_go_on_after_the_highest_and_each_row_can_be_read_back(
    start_node: Start, place: Place, store: Store
) -> None:
    node = await start_node(root=place.root)
    headers = {"X-User": "ann", "X-Request-Id": "req-1"}
    told, _ = await send_form(node, csv_of([cor(2), cor(4)]), headers=headers, reason="the move")
    assert (told["imported"], told["counters"][0]["next_value"]) == (2, 5)
    assert sequence_in((await reserve(node, issue_date="2025-06-01"))["document_number"]) == 5
    assert await place.proven(store) == 3
    (entry, _) = await place.entries(store)
    (record,) = entry.records
    assert isinstance(record, Imported)
    assert (record.cause.origin.user, record.cause.correlation) == ("ann", "req-1")
    assert record.cause.origin.invoice_type == "COR"
    assert '"reason":"the move"' in (record.cause.metadata or "")
    row = await row_of(store, place.keys, record, 4)
    assert row == (4, cor(4), "2025-03-01", f'{{"was": "{cor(4)}"}}')
    assert await row_of(store, place.keys, record, 3) is None
    assert await place.left(store, "open") == ()


async def test_how_full_a_counter_is_by_an_import_is_measured(
    start_node: Start, place: Place
) -> None:
    node = await start_node(root=place.root)
    await send_form(node, csv_of(map(cor, range(1, 8))))
    async with node.get("/metrics") as answer:
        shown = await answer.text()
    labels = f'counter="{COR}",document_type="COR",scope="yearly=2025"'
    assert f"numbering_sequence_current{{{labels}}} 7.0" in shown


async def test_a_node_that_has_imported_knows_it_when_the_store_goes_back(
    start_node: Start, place: Place
) -> None:
    node = await start_node(root=place.root)
    for reserved_before in (False, True):  # the counter is new to it, or in its memory already
        year = 2024 + reserved_before
        if reserved_before:
            await reserve(node, issue_date="2025-06-01")
        await send_form(node, csv_of([cor(5, year)]))
        counter = place.keys.counter(f"documents/COR/yearly={year}").prefix.decode()
        witness = node.server.node.witness  # type: ignore[attr-defined]
        entry = 1 + reserved_before
        await until(lambda w=witness, c=counter, e=entry: w.seen(c).entry == e, "it is noted")


async def test_what_is_issued_void_or_reserved_is_told_by_row_and_nothing_comes_in(
    start_node: Start, place: Place, store: Store
) -> None:
    node = await start_node(root=place.root)
    held = [await reserve(node, issue_date="2025-06-01") for _ in range(3)]
    confirm, cancel = ("/api/v1/document-numbering/" + word for word in ("confirm", "cancel"))
    await call(node, "POST", confirm, {"token": held[0]["token"]})
    await call(node, "POST", cancel, {"token": held[1]["token"], "reason": "a slip"})
    content = csv_of([cor(9), cor(3), "COR-25-1", cor(1), cor(2), cor(9)])
    for dry_run in ("true", "false"):
        told, _ = await send_form(node, content, 422, dry_run=dry_run)
        assert (told["code"], told["success"], told["imported"]) == ("NB043", False, 0)
        assert told["errors_total"] == len(told["errors"]) == 5
        errors = {each["row"]: (each["code"], each["message"]) for each in told["errors"]}
        assert [errors[row][0] for row in (3, 4, 5, 6, 7)] == [
            *("NB005", "NB006", "NB005", "NB005", "NB005")
        ]
        assert "Number 3 of documents/COR/yearly=2025 is reserved here" in errors[3][1]
        assert "is issued here" in errors[5][1]
        assert "is void here" in errors[6][1]
        assert "stands in row 2" in errors[7][1]
        assert told["errors"][0] == {
            "row": 3,
            "line": 3,
            "column": "document_number",
            "value": cor(3),
            "message": errors[3][1],
            "code": "NB005",
        }
    assert (await place.head(store)).next == 4  # type: ignore[union-attr]
    assert await place.left(store, "open") == ()


async def test_only_the_chosen_rows_are_looked_at_and_come_in(
    start_node: Start, place: Place, store: Store
) -> None:
    node = await start_node(root=place.root)
    content = csv_of([cor(1), "nonsense", cor(2), cor(7)])
    await send_form(node, content, 422)
    told, _ = await send_form(node, content, rows="2, 4")
    assert (told["rows_total"], told["imported"]) == (4, 2)
    told, _ = await send_raw(node, content, rows="5")
    assert told["counters"][0]["missing"] == [{"first": 3, "last": 6}]
    assert await place.proven(store) == 3
    problem, _ = await send_form(node, content, 422, rows="90-95")
    assert (problem["code"], "None of the rows 90-95" in problem["detail"]) == ("NB044", True)
    problem, _ = await send_form(node, content, 400, rows="9-2")
    assert "rows" in problem["detail"]


async def test_a_key_imports_once_at_any_node_and_not_another_file(
    start_node: Start, place: Place, store: Store
) -> None:
    nodes = [await start_node(root=place.root, node_id=f"node-{n}") for n in (1, 2)]
    key = {"Idempotency-Key": "move-7"}
    first, headers = await send_form(nodes[0], csv_of([cor(1)]), headers=key)
    assert "Idempotent-Replayed" not in headers
    again, headers = await send_form(nodes[1], csv_of([cor(1)]), headers=key)
    assert (again, headers["Idempotent-Replayed"]) == (first, "true")
    assert (await send_form(nodes[1], csv_of([cor(1)]), requestId="move-7"))[0] == first
    problem, _ = await send_form(nodes[1], csv_of([cor(2)]), 422, headers=key)
    assert problem["code"] == "NB013"
    assert await place.proven(store) == 1


async def test_of_two_at_the_same_time_one_wins_and_the_other_is_refused_row_by_row(
    start_node: Start, place: Place, store: Store
) -> None:
    nodes = [await start_node(root=place.root, node_id=f"node-{n}") for n in (1, 2)]
    content = csv_of(map(cor, range(1, 301)))

    async def send(node: Client) -> Any:
        async with node.post(PATH, data=content, headers={"Content-Type": "text/csv"}) as answer:
            return await answer.json()

    answers = await asyncio.gather(*map(send, nodes))
    won, lost = sorted(answers, key=lambda each: not each["success"])
    assert won["imported"] == 300
    assert {each["code"] for each in lost["errors"]} == {"NB005"}
    assert lost["errors_total"] == 300
    assert await place.proven(store) == 300
    assert await place.left(store, "open") == ()
    assert len({kv.key.split(b"/")[-3] for kv in await place.left(store, "rows")}) == 1


async def test_under_one_key_two_at_the_same_time_are_one(
    start_node: Start, place: Place, store: Store
) -> None:
    nodes = [await start_node(root=place.root, node_id=f"node-{n}") for n in (1, 2)]
    content, key = csv_of(map(cor, range(1, 301))), {"Idempotency-Key": "both"}
    answers = await asyncio.gather(*(send_form(node, content, headers=key) for node in nodes))
    assert answers[0][0] == answers[1][0]
    assert sorted(headers.get("Idempotent-Replayed", "") for _, headers in answers) == ["", "true"]
    assert await place.proven(store) == 300


async def test_reservations_at_two_nodes_go_on_during_an_import_and_after_it(
    start_node: Start, place: Place, store: Store
) -> None:
    nodes = [await start_node(root=place.root, node_id=f"node-{n}") for n in (1, 2)]
    over = asyncio.Event()

    async def keep_reserving(node: Client) -> list[int]:
        taken = []
        while not over.is_set() or len(taken) < 30:
            reserved = await reserve(node, issue_date="2025-06-01")
            taken.append(sequence_in(reserved["document_number"]))
            await asyncio.sleep(0.005)
        return taken

    busy = [asyncio.create_task(keep_reserving(node)) for node in nodes]
    await asyncio.sleep(0.2)
    highest = 20_000
    told, _ = await send_form(
        nodes[0], csv_of(map(cor, range(10_001, highest + 1))), pass_over_max="10000"
    )
    over.set()
    taken = [number for numbers in await asyncio.gather(*busy) for number in numbers]
    taken += [sequence_in((await reserve(n, issue_date="2025-06-01"))["document_number"])
              for n in nodes]  # fmt: skip
    assert told["imported"] == 10_000
    assert len(set(taken)) == len(taken)
    assert not [number for number in taken if 10_000 < number <= highest]
    assert max(taken) > highest
    assert await place.proven(store) == len(taken) + 10_000


async def test_a_workbook_and_several_counters_come_in_as_one(
    start_node: Start, place: Place, store: Store
) -> None:
    node = await start_node(root=place.root)
    rows = [("COR", cor(2)), ("COR", cor(1, 2024)), ("RFA", "RFA-P1-2025-00001")]
    book = saved(workbook(*rows, header=("document_type", "document_number")))
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    told, _ = await send_raw(node, book, kind=kind, reason="all of it")
    assert [each["counter"] for each in told["counters"]] == [
        "documents/COR/yearly=2024", COR, "documents/RFA/project=P1/yearly=2025"
    ]  # fmt: skip
    entries = [(await place.entries(store, each["counter"]))[0] for each in told["counters"]]
    assert len({entry.parts[0].instance for entry in entries}) == 1
    (found,) = (await store.read(place.keys.counters)).found
    heads = [kv.revision for kv in found if kv.key.endswith(b"/head")]
    assert len(heads) == 3
    assert len(set(heads)) == 1
    for each in told["counters"]:
        await place.proven(store, each["counter"])


async def test_invoices_come_in_where_the_sequence_api_counts_them(
    start_node: Start, place: Place, store: Store
) -> None:
    node = await start_node(root=place.root, first_number=1_000)
    problem, _ = await send_form(node, csv_of(["INV-00000999"], "invoice"), 422)
    assert "below the first number" in problem["errors"][0]["message"]
    await send_form(node, csv_of(["INV-00001001", "INV-00001002"], "invoice"))
    assert (await issue(node))["sequenceNumbers"] == [1_003]
    verdict = await prove(store, place.keys.counter("invoice"), 1_000)
    assert (verdict.valid, verdict.issued_now) == (True, 3)


async def test_invoices_that_are_counted_by_site_are_no_documents(
    start_node: Start, place: Place, store: Store
) -> None:
    node = await start_node(root=place.root, strategy="SITE_SEQUENTIAL")
    problem, _ = await send_form(node, csv_of(["INV-00000001"], "invoice"), 422)
    assert [each["code"] for each in problem["errors"]] == ["NB001"]
    assert await place.head(store, "invoice") is None


async def test_more_counters_than_one_commit_takes_are_refused(
    start_node: Start, place: Place, store: Store
) -> None:
    node = await start_node(root=place.root)
    content = csv_of(cor(1, year) for year in range(1950, 1993))
    for dry_run in ("true", "false"):
        problem, _ = await send_form(node, content, 422, dry_run=dry_run)
        assert problem["code"] == "NB045"
        assert "43 counters; one commit takes 42. Split it by counter" in problem["detail"]
    told, _ = await send_form(node, content, rows="2-43")
    assert told["imported"] == 42
    assert await place.proven(store, "documents/COR/yearly=1950") == 1
    assert await place.head(store, "documents/COR/yearly=1992") is None


async def test_a_caller_who_leaves_while_the_file_is_read_makes_room_for_the_next(
    start_node: Start, place: Place, store: Store
) -> None:
    node = await start_node(root=place.root)
    content = csv_of(map(cor, range(1, 50_001)))

    async def come_to(status: int, body: bytes) -> None:
        deadline = time.monotonic() + 20
        while True:
            async with node.post(PATH, data=body, headers={"Content-Type": "text/csv"}) as answer:
                if answer.status == status:
                    return
            assert time.monotonic() < deadline, f"no answer {status}"
            await asyncio.sleep(0.02)

    leaving = asyncio.create_task(come_to(200, content))  # the empty one may be there first
    await come_to(503, b"")
    leaving.cancel()
    await come_to(422, b"")
    assert await place.head(store) is None
    assert await place.left(store, "open") == ()


async def test_a_row_valid_alone_is_refused_beside_another(start_node: Start) -> None:
    node = await start_node()
    let = {"document_type": "LET", "template": "{PREFIX}-{YYYY}{MM}-{SEQ:5}", "scopes": "YEARLY"}
    await call(node, "POST", TEMPLATES, let | {"reason": "letters"}, 201)
    content = csv_of(["LET-202501-00010", "LET-202503-00010", "XYZ-1"], "LET")
    told, _ = await send_form(node, content, 422)
    assert [(each["row"], each["code"]) for each in told["errors"]] == [(3, "NB005"), (4, "NB006")]
    assert "as row 2 is" in told["errors"][0]["message"]
    told, _ = await send_form(node, csv_of(["NO-1"], "NO"), 422)
    assert told["errors"][0]["code"] == "NB001"


async def test_a_node_that_reads_a_file_goes_on_serving_and_takes_no_second_one(
    start_node: Start,
) -> None:
    node = await start_node()
    content = csv_of(map(cor, range(1, 50_001)))
    sending = asyncio.create_task(send_form(node, content, dry_run="true"))
    slowest, refused_as = 0.0, set()
    while not sending.done():
        before = time.monotonic()
        await reserve(node, issue_date="2024-06-01")
        slowest = max(slowest, time.monotonic() - before)
        async with node.post(PATH, data=b"", headers={"Content-Type": "text/csv"}) as answer:
            refused_as.add(answer.status)
        await asyncio.sleep(0.01)
    assert (await sending)[0]["success"]
    assert 503 in refused_as
    assert slowest < 2
