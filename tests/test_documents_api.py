"""Series of documents over HTTP, on a real etcd: defined, changed, previewed, refused."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from http_calls import Client, Start

TEMPLATES = "/api/v1/admin/document-numbering/templates"
PREVIEW = "/api/v1/document-numbering/preview"
NCR = {
    "document_type": "NCR",
    "template": "{PREFIX}-{PROJECT}-{SEQ:5}",
    "scopes": ["PROJECT"],
    "reason": "nonconformance reports",
}


async def call(
    node: Client, method: str, path: str, body: Any = None, status: int = 200, **headers: str
) -> tuple[Any, Any]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    async with node.request(method, path, json=body, headers=names) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json(), answer.headers


async def refused(node: Client, method: str, path: str, body: Any, status: int) -> Any:
    problem, _ = await call(node, method, path, body, status)
    assert (problem["success"], problem["status"]) == (False, status)
    return problem


async def preview(node: Client, **body: Any) -> list[str]:
    answer, _ = await call(node, "POST", PREVIEW, body)
    numbers: list[str] = answer["data"]["numbers"]
    return numbers


async def test_the_starter_set_is_there_and_reads_as_clients_expect(start_node: Start) -> None:
    node = await start_node()
    listed, _ = await call(node, "GET", TEMPLATES)
    kinds = [each["document_type"] for each in listed["data"]["templates"]]
    assert kinds == ["COR", "DRW", "RFA", "TRN", "invoice"]
    year = datetime.now(UTC).year
    assert await preview(node, document_type="COR") == [f"COR-{year}-0000{n}" for n in (1, 2, 3)]
    assert await preview(
        node, document_type="RFA", scope_value="LCBP3", issue_date="2025-12-31"
    ) == [f"RFA-LCBP3-2025-0000{n}" for n in (1, 2, 3)]
    scope = {"project": "LCBP3", "contract": "C2"}
    assert (await preview(node, document_type="DRW", scope=scope))[0] == "DRW-LCBP3-C2-000001"


async def test_a_series_is_defined_and_changed_and_every_node_knows(start_node: Start) -> None:
    one, other = await start_node(), await start_node(node_id="node-2")
    made, _ = await call(one, "POST", TEMPLATES, NCR, 201, X_User="ann")
    assert made["data"]["version"] == 1
    assert (made["data"]["gap_policy"], made["data"]["reservation_s"]) == ("void", 300)
    assert await preview(other, document_type="NCR", scope_value="P1") == [
        *("NCR-P1-00001", "NCR-P1-00002", "NCR-P1-00003")
    ]
    rest = {name: value for name, value in NCR.items() if name != "document_type"}
    change = rest | {
        "template": "{PREFIX}-{PROJECT}-{SEQ:6}",
        "reason": "more digits",
        "version": 1,
    }
    changed, _ = await call(other, "PUT", f"{TEMPLATES}/NCR", change, X_User="bob")
    assert changed["data"]["version"] == 2
    problem = await refused(one, "PUT", f"{TEMPLATES}/NCR", change, 409)
    assert (problem["code"], "version 2" in problem["detail"]) == ("NB030", True)
    assert (await preview(one, document_type="NCR", scope_value="P1"))[0] == "NCR-P1-000001"

    told, _ = await call(one, "GET", f"{TEMPLATES}/NCR")
    assert told["data"]["template"] == changed["data"]
    audit = [(each["user"], each["reason"], each["version"]) for each in told["data"]["changes"]]
    assert audit == [("bob", "more digits", 2), ("ann", "nonconformance reports", 1)]


async def test_a_key_makes_one_change_and_gets_one_answer(start_node: Start) -> None:
    nodes = await start_node(), await start_node(node_id="node-2")
    answers = await asyncio.gather(
        *(call(nodes[n % 2], "POST", TEMPLATES, NCR, 201, Idempotency_Key="k") for n in range(6))
    )
    assert len({str(answer) for answer, _ in answers}) == 1
    replayed = [headers.get("Idempotent-Replayed") for _, headers in answers]
    assert sorted(replayed, key=str) == [None] + ["true"] * 5
    in_body, _ = await call(nodes[1], "POST", TEMPLATES, NCR | {"requestId": "k"}, 201)
    assert in_body == answers[0][0]
    other = NCR | {"reason": "another"}
    problem, _ = await call(nodes[0], "POST", TEMPLATES, other, 422, Idempotency_Key="k")
    assert problem["code"] == "NB013"


async def test_one_of_many_at_the_same_moment_is_first(start_node: Start) -> None:
    nodes = await start_node(), await start_node(node_id="node-2")

    async def define(n: int) -> int:
        async with nodes[n % 2].post(TEMPLATES, json=NCR) as answer:
            return answer.status

    assert sorted(await asyncio.gather(*map(define, range(8)))) == [201] + [409] * 7


@pytest.mark.parametrize(
    ("other", "field", "said"),
    [
        ({"template": "{PREFIX}-{SEQ:5}"}, "template", "{PROJECT} is not in the template"),
        ({"template": "{PREFIX}-{PROJECT}{SEQ:5}"}, "template", "can be read in two ways"),
        ({"template": "{PREFIX}-{PROJEKT}-{SEQ:5}"}, "template", "{PROJEKT}"),
        ({"time_zone": "Mars/Olympus"}, "time_zone", "Europe/Berlin"),
        ({"max_value": 0}, "max_value", "numbers go up"),
        ({"template": "COR-{PROJECT}-{SEQ:5}"}, "template", "could be a number of COR"),
    ],
)
async def test_a_definition_is_refused_before_anything_is_stored(
    start_node: Start, other: dict[str, Any], field: str, said: str
) -> None:
    node = await start_node()
    problem = await refused(node, "POST", TEMPLATES, NCR | other, 422)
    assert problem["code"] == "NB028"
    assert [error["field"] for error in problem["errors"]] == [field]
    assert said in problem["detail"]
    assert "Nothing was changed" in problem["detail"]
    listed, _ = await call(node, "GET", TEMPLATES)
    assert listed["data"]["version"] == 0


def deep(levels: int) -> dict[str, Any]:
    inner: Any = 1
    for _ in range(levels):
        inner = [inner]
    return {"a": inner}


@pytest.mark.parametrize(
    ("other", "field"),
    [
        ({"metadata": deep(250)}, "metadata"),
        ({"scopes": ["GLOBAL", "PROJECT"]}, "scopes"),
        ({"scopes": ["YEARLYY"]}, "scopes"),
        ({"tokens": {"PROJECT": 5}}, "tokens.PROJECT"),
    ],
)
async def test_what_no_definition_can_be_is_malformed(
    start_node: Start, other: dict[str, Any], field: str
) -> None:
    node = await start_node()
    problem = await refused(node, "POST", TEMPLATES, NCR | other, 400)
    assert {error["field"].removesuffix(".0") for error in problem["errors"]} == {field}
    fine, _ = await call(node, "POST", TEMPLATES, NCR | {"metadata": deep(30)}, 201)
    assert fine["data"]["metadata"] == deep(30)
    await call(node, "GET", TEMPLATES)


async def test_invoices_are_previewed_as_the_sequence_api_counts_them(start_node: Start) -> None:
    node = await start_node()
    place = {"siteId": "site-1", "partitionId": "partition-a", "invoiceType": "on-cycle"}
    async with node.get("/api/v1/sequence/next", params=place) as answer:
        assert answer.status == 200
    assert (await preview(node, document_type="invoice"))[0] == "INV-00000002"


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({"document_type": "COR", "prefix": "Z", "max_value": 5}, 400, "NB009", "body"),
        ({}, 400, "NB009", "document_type"),
        ({"document_type": "XYZ"}, 404, "NB001", None),
        ({"document_type": "RFA"}, 422, "NB006", "PROJECT"),
        ({"document_type": "RFA", "scope_value": "A-B"}, 422, "NB006", "PROJECT"),
        ({"document_type": "COR", "scope_value": "A"}, 422, "NB006", "scope_value"),
        ({"document_type": "COR", "issue_date": "31/12/2025"}, 422, "NB006", "issue_date"),
        ({"template": "{SEQ:3}"}, 422, "NB028", "template"),
    ],
)
async def test_a_preview_says_what_is_missing(
    start_node: Start, body: dict[str, Any], status: int, code: str, field: str | None
) -> None:
    problem = await refused(await start_node(), "POST", PREVIEW, body, status)
    assert problem["code"] == code
    assert [error["field"] for error in problem["errors"]] == ([] if field is None else [field])


async def test_a_template_can_be_tried_out(start_node: Start) -> None:
    node = await start_node()
    body = {"template": "Q-{SITE}-{FY}-{SEQ:4}", "scopes": ["SITE", "FISCAL"], "fiscal_month": 10}
    values = {"scope": {"site": "site-2"}, "issue_date": "2025-10-01"}
    assert await preview(node, **body, **values, start=7) == [
        *("Q-site-2-2026-0007", "Q-site-2-2026-0008", "Q-site-2-2026-0009")
    ]
    assert await preview(node, **body, **values, start=9, max_value=9_999) == [
        *("Q-site-2-2026-0009", "Q-site-2-2026-0010", "Q-site-2-2026-0011")
    ]


async def test_at_new_year_two_nodes_say_the_year_of_the_series_zone(
    start_node: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = int(datetime(2025, 12, 31, 17, 30, tzinfo=UTC).timestamp() * 1000)
    monkeypatch.setattr("coordinator.api.documents.now_ms", lambda: moment)
    nodes = await start_node(), await start_node(node_id="node-2")
    for zone, year in (("Asia/Bangkok", 2026), ("America/New_York", 2025)):
        name = zone[:2].upper()
        body = NCR | {"document_type": name, "time_zone": zone, "scopes": ["YEARLY"]}
        body |= {"template": "{PREFIX}-{YYYY}-{SEQ:5}"}
        await call(nodes[0], "POST", TEMPLATES, body, 201)
        for node in nodes:
            assert (await preview(node, document_type=name))[0] == f"{name}-{year}-00001"
