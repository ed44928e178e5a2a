"""One document number over HTTP, on a real etcd: its whole life, its chain, and who never was."""

from typing import Any

import pytest
from document_calls import void
from http_calls import PLACE, Client, Start
from import_calls import csv_of, send_form
from numbering import (
    COUNTER,
    DATE,
    MAX,
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
from test_documents_api import TEMPLATES, call, deep
from test_reservations_api import DOCUMENTS, post, reserve
from yarl import URL

from coordinator.core.requests import Adjust, Assign, Void


async def test_a_whole_life_is_told_the_same_by_every_node(start_node: Start) -> None:
    one, other = await start_node(), await start_node(node_id="node-2")
    body = {"document_type": "COR", "issue_date": DATE, "metadata": {"project": 7}}
    answer, _ = await post(one, "reserve", body, 201, X_User="ann", X_Request_Id="form-1")
    reserved = answer["data"]
    told = await number(other, text(1))
    assert (told["state"], told["document_type"], told["counter"]) == ("RESERVED", "COR", COUNTER)
    assert (told["scope"], told["scope_value"], told["sequence_value"]) == (
        {"yearly": "2025"}, "2025", 1
    )  # fmt: skip
    assert told["expires_at"] == reserved["expires_at"]
    assert 250 < told["seconds_left"] <= 300
    assert reserved["token"] not in str(told)

    await post(other, "confirm", {"token": reserved["token"]}, X_User="bob")
    await do(one, Void(by("eve"), 1, text(1), WHY, WRITING))
    told, same = await number(one, text(1)), await number(other, text(1))
    assert told == same
    assert (told["state"], told["reason"], told["replaced_by"]) == ("VOID", WHY, text(2))
    assert (told["expires_at"], told["seconds_left"]) == (None, None)
    assert operations(told["history"]) == [
        ("RESERVE", "VOID"),
        ("CONFIRM", "VOID"),
        ("VOID", "VOID"),
    ]
    assert [record["user"] for record in told["history"]] == ["ann", "bob", "eve"]
    assert told["history"][0]["requestId"] == "form-1"
    assert told["history"][0]["metadata"] == {"project": 7}
    assert [record["entryIndex"] for record in told["history"]] == [1, 2, 3]
    assert all(len(record["entryHash"]) == 64 for record in told["history"])
    assert told["history_complete"]


async def test_a_chain_is_told_in_texts_from_each_of_its_numbers(start_node: Start) -> None:
    node = await start_node()
    await confirmed(node)
    await do(node, *(Void(by(), n, text(n), WHY, WRITING) for n in (1, 2)))
    each = [await number(node, text(n)) for n in (1, 2, 3)]
    assert [told["chain"] for told in each] == [[text(1), text(2), text(3)]] * 3
    assert [(told["replaces"], told["replaced_by"]) for told in each] == [
        (None, text(2)), (text(1), text(3)), (text(2), None)
    ]  # fmt: skip
    assert each[2]["state"] == "CONFIRMED"
    await confirmed(node)
    assert (await number(node, text(4)))["chain"] == []


async def test_what_operators_did_is_told(start_node: Start) -> None:
    node = await start_node()
    await send_form(node, csv_of([text(2), text(3)]), reason=WHY)
    await do(node, Assign(by(), 6, text(6), WHY, MAX), Adjust(by(), 9, WHY, MAX))
    told = {n: await number(node, text(n)) for n in range(1, 9)}
    assert [told[n]["state"] for n in told] == [
        *("VOID", "IMPORTED", "IMPORTED", "VOID", "VOID", "OVERRIDDEN", "VOID", "VOID")
    ]
    imported = told[2]["imported"]
    assert (imported["created_at"], imported["metadata"]) == ("2025-03-01", {"was": text(2)})
    assert told[1]["imported"] is None
    assert "left out" in told[1]["reason"]
    assert text(6) in told[4]["reason"]
    assert operations(told[6]["history"]) == [("MANUAL_OVERRIDE", "ACTIVE")]
    assert operations(told[8]["history"]) == [("ADJUST", "VOID")]
    await do(node, Void(by(), 3, text(3), WHY, WRITING))
    assert (await number(node, text(9)))["chain"] == [text(3), text(9)]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("nonsense", "reads like no document number. There are COR ({PREFIX}-{YYYY}-{SEQ:5})"),
        ("COR-2025-00002", "has not come to 2 yet"),
        ("COR-1999-00001", "was never issued"),
        ("COR-2025-000001", "reads like no document number"),
        ("x" * 5_000, "reads like no document number"),
        ("%F0%9F%92%A5%0Aforged", "reads like no document number"),
        ("%ff%fe", "reads like no document number"),
        ("%ed%a0%80", "reads like no document number"),
        ("COR-2025-00001%00", "reads like no document number"),
    ],
)
async def test_what_was_never_issued_is_not_found(
    start_node: Start, written: str, said: str
) -> None:
    node = await start_node()
    await confirmed(node)
    path = URL(f"{DOCUMENTS}/numbers/{written}", encoded=True)
    async with node.get(path) as answer:
        problem = await answer.json()
    assert (answer.status, problem["code"]) == (404, "NB010")
    assert said in problem["detail"]
    assert len(problem["detail"]) < 1_000


async def defined(node: Client, document_type: str, template: str, **more: Any) -> None:
    body = {"document_type": document_type, "template": template, "reason": "a test"}
    await call(node, "POST", TEMPLATES, body | more, 201)


async def test_numbers_with_slashes_are_found_encoded_or_not(start_node: Start) -> None:
    node = await start_node()
    await defined(node, "CORR", "CORR/{YYYY}/{SEQ:1}", scopes=["YEARLY"])
    written = (await reserve(node, document_type="CORR", issue_date=DATE))["document_number"]
    assert written == "CORR/2025/1"
    for path in ("CORR%2F2025%2F1", "CORR/2025/1"):
        async with node.get(URL(f"{DOCUMENTS}/numbers/{path}", encoded=True)) as answer:
            told = (await answer.json())["data"]
        assert (told["document_number"], told["state"]) == (written, "RESERVED")


async def test_only_what_was_really_written_is_found_after_a_change_of_the_series(
    start_node: Start,
) -> None:
    node = await start_node()
    await defined(node, "NCR", "NCR-{SEQ:5}")
    assert (await reserve(node, document_type="NCR"))["document_number"] == "NCR-00001"
    change = {"template": "NCR-{SEQ:6}", "reason": "more digits", "version": 1}
    await call(node, "PUT", f"{TEMPLATES}/NCR", change)
    assert (await number(node, "NCR-00001"))["sequence_value"] == 1
    problem = await number(node, "NCR-000001", 404)
    assert "was written NCR-00001" in problem["detail"]


async def test_an_imported_number_is_found_and_voided_only_as_its_file_wrote_it(
    start_node: Start,
) -> None:
    node = await start_node()
    await send_form(node, csv_of([old := "COR-2025-00001"]))
    change = {"template": "{PREFIX}-{YYYY}-{SEQ:6}", "scopes": ["YEARLY"], "version": 1}
    await call(node, "PUT", f"{TEMPLATES}/COR", change | {"reason": "more digits"})
    for problem in (
        await number(node, "COR-2025-000001", 404),
        await void(node, "COR-2025-000001", 409),
    ):
        assert old in problem["detail"]
    await void(node, old)
    assert (await number(node, old))["state"] == "VOID"


async def test_no_metadata_is_nested_too_deep_to_be_told(start_node: Start) -> None:
    node = await start_node()
    for nested, status in ((deep(30), 200), (deep(31), 400), (deep(250), 400)):
        body = PLACE | {"metadata": nested}
        answer, _ = await call(node, "POST", "/api/v1/sequence/next", body, status)
        assert status == 200 or "32 levels" in answer["detail"]
    older = by()._replace(metadata='{"a":' * 400 + "1" + "}" * 400)  # when there was no bound
    await do(node, Assign(older, 1, text(1), WHY, MAX))
    for path in ("audit", "audit/1"):
        async with node.get(f"/api/v1/sequence/{path}", params={"counter": COUNTER}) as answer:
            assert (answer.status, older.metadata in await answer.text()) == (200, True)
    assert (await number(node, text(1)))["state"] == "OVERRIDDEN"


async def test_readings_take_no_unknown_query(start_node: Start) -> None:
    node = await start_node()
    assert (await read(node, f"{DOCUMENTS}/numbers/COR-2025-00001", 400, x="1"))["code"] == "NB009"
