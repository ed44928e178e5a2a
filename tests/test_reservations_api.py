"""Reserve, confirm, cancel over HTTP, on a real etcd: the reference's own cases, and four nodes."""

import asyncio
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from http_calls import Client, Start, release
from test_documents_api import TEMPLATES, call, refused

from coordinator.api.reservations import Ticket
from coordinator.registry import RECENT_S

DOCUMENTS = "/api/v1/document-numbering"


async def post(node: Client, path: str, body: Any, status: int = 200, **headers: str) -> Any:
    return await call(node, "POST", f"{DOCUMENTS}/{path}", body, status, **headers)


async def reserve(node: Client, **more: Any) -> Any:
    answer, _ = await post(node, "reserve", {"document_type": "COR"} | more, 201)
    return answer["data"]


def sequence_in(document_number: str) -> int:
    return int(document_number.rpartition("-")[2])


async def test_two_phases_complete(start_node: Start) -> None:
    node = await start_node()
    reserved = await reserve(node, metadata={"project": 7})
    assert re.fullmatch(r"COR-\d{4}-\d{5}", reserved["document_number"])
    left = datetime.fromisoformat(reserved["expires_at"]) - datetime.now(UTC)
    assert 290 < left.total_seconds() <= 300
    assert reserved["metadata"] == {"project": 7}
    body = {"token": reserved["token"]}
    first, headers = await post(node, "confirm", body)
    assert first["data"]["document_number"] == reserved["document_number"]
    assert "Idempotent-Replayed" not in headers
    again, headers = await post(node, "confirm", body)
    assert (again, headers["Idempotent-Replayed"]) == (first, "true")
    problem = await refused(node, "POST", f"{DOCUMENTS}/cancel", body, 409)
    assert problem["code"] == "NB031"


async def test_numbers_follow_each_other_and_cancelled_ones_never_come_again(
    start_node: Start,
) -> None:
    node = await start_node()
    first, second = await reserve(node), await reserve(node)
    body = {"token": second["token"], "reason": "a slip"}
    told, _ = await post(node, "cancel", body)
    assert (await post(node, "cancel", body))[0] == told
    third = await reserve(node)
    each = [sequence_in(one["document_number"]) for one in (first, second, third)]
    assert each == [1, 2, 3]
    problem = await refused(node, "POST", f"{DOCUMENTS}/confirm", {"token": second["token"]}, 409)
    assert problem["code"] == "NB004"
    assert "was cancelled at" in problem["detail"]


async def test_an_exhausted_series_says_so(start_node: Start) -> None:
    node = await start_node()
    small = {"document_type": "TIN", "template": "{PREFIX}-TINY-{SEQ:3}", "max_value": 2}
    await call(node, "POST", TEMPLATES, small | {"reason": "a test"}, 201)
    await asyncio.gather(*(reserve(node, document_type="TIN") for _ in range(2)))
    problem = await refused(node, "POST", f"{DOCUMENTS}/reserve", {"document_type": "TIN"}, 409)
    assert problem["code"] == "NB002"


@pytest.mark.parametrize(
    "token",
    [
        *("x", "e30", "WyJhIiwxLCJiIl0", "WyJkb2N1bWVudHMvQ09SIiwxLCJiIl0"),
        Ticket("documents/COR/2025", 1, "b").token,
        Ticket("documents/COR/yearly=2025", 2**63, "b").token,
    ],
)
async def test_a_token_of_nobody_is_refused(start_node: Start, token: str) -> None:
    node = await start_node()
    problem = await refused(node, "POST", f"{DOCUMENTS}/confirm", {"token": token}, 409)
    assert problem["code"] == "NB004"


async def test_a_token_with_a_number_beyond_all_takes_no_turn_away(start_node: Start) -> None:
    nodes = [await start_node(node_id=f"node-{n}") for n in (1, 2)]
    for node in (*nodes, *nodes):  # the second one hands what it is asked to the first
        await reserve(node, issue_date="2025-06-01")
    before = await turns(nodes[1])
    forged = {"token": Ticket("documents/COR/yearly=2025", 2**63, "b").token}
    await refused(nodes[1], "POST", f"{DOCUMENTS}/confirm", forged, 409)
    assert await turns(nodes[1]) == before


async def turns(node: Client) -> Any:
    async with node.get("/api/v1/cluster") as answer:
        return (await answer.json())["turns"]


PERIODS = {
    "FISCAL": ("{PREFIX}-{FY}-{SEQ:5}", ["2026-00001", "2027-00001", "2027-00002", "2026-00002"]),
    "MONTHLY": (
        "{PREFIX}-{YYYY}{MM}-{SEQ:5}",
        ["202603-00001", "202604-00001", "202604-00002", "202504-00001"],
    ),
    "YEARLY": ("{PREFIX}-{YYYY}-{SEQ:5}", ["2026-00001", "2026-00002", "2026-00003", "2025-00001"]),
}


@pytest.mark.parametrize("scope", PERIODS)
async def test_a_document_is_counted_in_the_period_of_its_issue_date(
    start_node: Start, scope: str
) -> None:
    nodes = [await start_node(node_id=f"node-{n}") for n in (1, 2)]
    template, written = PERIODS[scope]
    series = {"document_type": "PER", "template": template, "scopes": [scope], "fiscal_month": 4}
    series |= {"time_zone": "Asia/Bangkok", "reason": "a test"}
    await call(nodes[0], "POST", TEMPLATES, series, 201)
    dates = ("2026-03-31", "2026-04-01", "2026-03-31T18:00:00Z", "2025-04-30")  # the last is late
    for at, (date, number) in enumerate(zip(dates, written, strict=True)):
        told = await reserve(nodes[at % 2], document_type="PER", issue_date=date)
        assert told["document_number"] == f"PER-{number}", date


async def test_a_key_reserves_once_at_any_node(start_node: Start) -> None:
    nodes = [await start_node(node_id=f"node-{n}") for n in (1, 2)]
    asked = {"document_type": "COR", "requestId": "order-7"}
    answers = [await post(node, "reserve", asked, 201) for node in nodes]
    assert answers[0][0] == answers[1][0]


async def test_names_in_another_order_are_the_same_request(start_node: Start) -> None:
    node = await start_node()
    scope = {"project": "P1", "contract": "C1"}
    asked = {"document_type": "DRW", "requestId": "order-8", "metadata": {"b": 1, "a": 2}}
    first, _ = await post(node, "reserve", asked | {"scope": scope}, 201)
    turned = {name: scope[name] for name in reversed(scope)}
    again, headers = await post(node, "reserve", asked | {"scope": turned}, 201)
    assert (again, headers["Idempotent-Replayed"]) == (first, "true")


async def test_a_key_reserves_once_also_when_the_year_has_ended_or_the_series_was_changed(
    start_node: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [await start_node(node_id=f"node-{n}", strategy="SITE_SEQUENTIAL") for n in (1, 2)]
    end = int(datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp() * 1000)

    async def again(node: Client, kind: str, key: str) -> Any:
        asked = {"document_type": kind, "requestId": key}
        answer, headers = await post(node, "reserve", asked, 201)
        return headers.get("Idempotent-Replayed"), answer["data"]["document_number"]

    for later_s, replayed, year in ((0, None, 2025), (2, "true", 2025), (-30, "true", 2025)):
        monkeypatch.setattr("coordinator.api.documents.now_ms", lambda s=later_s: end + 1_000 * s)
        assert await again(nodes[later_s > 0], "COR", "a") == (replayed, f"COR-{year}-00001")
    monkeypatch.setattr("coordinator.api.documents.now_ms", lambda: end + 2_000)
    assert await again(nodes[0], "COR", "b") == (None, "COR-2026-00001")
    monkeypatch.setattr("coordinator.api.documents.now_ms", lambda: end)  # a clock that is behind
    assert await again(nodes[1], "COR", "b") == ("true", "COR-2026-00001")
    change = {"template": "C-{YYYY}-{MM}-{SEQ:5}", "scopes": ["MONTHLY"], "reason": "by month"}
    await call(nodes[0], "PUT", f"{TEMPLATES}/COR", change | {"version": 1})
    more = {"template": "C-{PROJECT}-{SEQ:5}", "scopes": ["PROJECT"], "reason": "by project"}
    await call(nodes[0], "PUT", f"{TEMPLATES}/COR", more | {"version": 2})
    scopes = {"template": "INV-{YYYY}-{SEQ:5}", "scopes": ["YEARLY"], "reason": "by year"}
    await call(nodes[0], "PUT", f"{TEMPLATES}/invoice", scopes | {"version": 1})
    await asyncio.sleep(RECENT_S)  # then every node knows
    assert await again(nodes[0], "COR", "a") == ("true", "COR-2025-00001")
    other = {"document_type": "COR", "requestId": "a", "metadata": {"other": 1}}
    assert (await refused(nodes[0], "POST", f"{DOCUMENTS}/reserve", other, 422))["code"] == "NB013"
    assert await again(nodes[0], "invoice", "a") == (None, "INV-2025-00001")


async def test_a_thousand_at_once_from_four_nodes_get_one_to_a_thousand(start_node: Start) -> None:
    nodes = [await start_node(node_id=f"node-{n}") for n in range(1, 5)]
    gate = asyncio.Semaphore(64)

    async def one(n: int) -> dict[str, Any]:
        async with gate:
            reserved: dict[str, Any] = await reserve(nodes[n % 4])
            return reserved

    reserved = await asyncio.gather(*map(one, range(1_000)))
    assert sorted(sequence_in(each["document_number"]) for each in reserved) == list(
        range(1, 1_001)
    )

    async def confirm(at: int) -> str:
        async with gate:
            answer, _ = await post(nodes[(at + 1) % 4], "confirm", {"token": reserved[at]["token"]})
            number: str = answer["data"]["document_number"]
            return number

    confirmed = await asyncio.gather(*map(confirm, range(1_000)))
    assert confirmed == [each["document_number"] for each in reserved]


async def test_invoices_in_two_steps_and_in_one_come_from_the_same_numbers(
    start_node: Start,
) -> None:
    node = await start_node()
    origin = {"siteId": "site-1", "partitionId": "partition-a", "invoiceType": "on-cycle"}
    first, _ = await call(node, "POST", "/api/v1/sequence/next", origin)
    held = await reserve(node, document_type="invoice")
    third, _ = await call(node, "POST", "/api/v1/sequence/next", origin)
    assert (first["sequenceNumbers"], third["sequenceNumbers"]) == ([1], [3])
    assert held["document_number"] == "INV-00000002"
    stats, _ = await call(node, "GET", "/api/v1/sequence/stats")
    assert (stats["currentCounter"], stats["watermark"]) == (3, 1)
    assert (stats["openReservations"], stats["voided"]) == (1, 0)
    assert stats["sequencesBySite"] == {"site-1": 2, "documents": 1}
    await post(node, "confirm", {"token": (await reserve(node, document_type="invoice"))["token"]})
    problem = await release(node, 4, 409)
    assert (problem["code"], "void-and-replace" in problem["detail"]) == ("NB012", True)
    await post(node, "cancel", {"token": held["token"]})
    again, _ = await call(node, "POST", "/api/v1/sequence/next", origin)
    assert (again["sequenceNumbers"], again["gapFilled"]) == ([2], True)
    proof, _ = await call(node, "GET", "/api/v1/sequence/validate")
    assert proof["valid"], proof


async def test_invoices_that_are_counted_by_site_have_no_document_numbers(
    start_node: Start,
) -> None:
    node = await start_node(strategy="SITE_SEQUENTIAL")
    problem = await refused(node, "POST", f"{DOCUMENTS}/reserve", {"document_type": "invoice"}, 404)
    assert problem["code"] == "NB001"
    assert "/api/v1/sequence/next" in problem["detail"]


async def test_a_key_is_used_up_by_what_it_has_done_not_by_hearing_of_it(
    start_node: Start,
) -> None:
    """README, Limits: otherwise every repetition under a new key would be an entry for ever."""
    nodes = [await start_node(node_id=f"node-{n}") for n in (1, 2)]
    token = {"token": (await reserve(nodes[0]))["token"]}
    first, _ = await post(nodes[0], "confirm", token | {"requestId": "did-it"})
    for node in nodes:
        again, headers = await post(node, "confirm", token | {"requestId": "heard-of-it"})
        assert (again, headers["Idempotent-Replayed"]) == (first, "true")
    for node in nodes:
        other = {"document_type": "COR", "requestId": "did-it"}
        problem = await refused(node, "POST", f"{DOCUMENTS}/reserve", other, 422)
        assert problem["code"] == "NB013"
    reserved = await reserve(nodes[1], requestId="heard-of-it")
    assert sequence_in(reserved["document_number"]) == 2
    assert await reserve(nodes[0], requestId="heard-of-it") == reserved
    confirm = token | {"requestId": "heard-of-it"}
    problem = await refused(nodes[0], "POST", f"{DOCUMENTS}/confirm", confirm, 422)
    assert problem["code"] == "NB013"
