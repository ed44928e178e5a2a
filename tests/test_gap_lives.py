"""The lives of gaps: who released a number, when and why, and who got it next."""

import pytest
from http_calls import ELSEWHERE, Start, get, issue, post, release
from numbering import DATE
from test_documents_api import TEMPLATES
from test_reservations_api import post as document_call
from test_reservations_api import reserve


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
