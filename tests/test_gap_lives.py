"""The lives of gaps: who released a number, when and why, and who got it next."""

import pytest
from http_calls import ELSEWHERE, PLACE, Client, Start, get, issue, post, release
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
    assert await walked(node, "refilled", limit=2) == [2, 1]  # more of it looks further back


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


async def walked(node: Client, name: str, **query: object) -> list[int]:
    """Return the numbers of one list, read to its end; each answer has no more than its limit."""
    numbers: list[int] = []
    more: dict[str, object] = {}
    for _ in range(100):
        told = await get(node, "gaps/life", **query, **more)
        assert len(told[name]) <= int(str(query["limit"]))
        if more:  # one list at a time
            assert told["open" if name == "refilled" else "refilled"] == []
        numbers += [gap["sequenceNumber"] for gap in told[name]]
        if told[f"{name}Next"] is None:
            return numbers
        more = {name: told[f"{name}Next"]}
    raise AssertionError("it has no end")


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_all_gaps_can_be_read_a_page_at_a_time(start_node: Start, limit: int) -> None:
    node = await start_node()
    await issue(node, count=20)
    for number in range(1, 13):
        await release(node, number)
    await issue(node, count=4)  # one entry that refills several
    await issue(node)
    await issue(node, count=2)
    assert await walked(node, "open", limit=limit) == [8, 9, 10, 11, 12]
    assert await walked(node, "refilled", limit=limit) == [7, 6, 5, 4, 3, 2, 1]


async def test_gaps_of_several_counters_are_read_as_one_list(start_node: Start) -> None:
    node = await start_node(strategy="SITE_SEQUENTIAL")
    for place in (PLACE, ELSEWHERE):
        await issue(node, **place, count=9)
    where = {name: ELSEWHERE[name] for name in ("siteId", "partitionId")}
    for number in range(1, 8):
        await release(node, number)
        await release(node, number, **where)
    for _ in range(3):
        for place in (ELSEWHERE, PLACE):
            await issue(node, **place)
    for limit in (1, 3, 4):
        opened = await walked(node, "open", limit=limit)
        assert opened == [4, 4, 5, 5, 6, 6, 7, 7]
        assert await walked(node, "refilled", limit=limit) == [3, 3, 2, 2, 1, 1]


async def test_a_place_in_a_list_that_is_none_is_refused(start_node: Start) -> None:
    node = await start_node()
    for query in ({"open": "x"}, {"refilled": "1-0.2-0"}, {"open": "1-0", "refilled": "1-0"}):
        assert (await get(node, "gaps/life", 400, **query))["code"] == "NB009"
    far = await get(node, "gaps/life", open="9" * 40 + "-0")
    assert (far["open"], far["openNext"]) == ([], None)
