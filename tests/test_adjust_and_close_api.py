"""Counts of documents adjusted and closed over HTTP, on a real etcd and two nodes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from document_calls import (
    COUNTER,
    LAST_YEAR,
    WHY,
    Two,
    adjust,
    ask,
    change,
    close,
    define,
    issue,
    name,
    refused,
    reserve,
    text,
    told,
    two_nodes,
    void,
)
from http_calls import Client, Start, release
from http_calls import issue as issued_here

from coordinator.api.closing import RUNS_SHOWN_MAX, _listed
from coordinator.cli import main


@pytest.fixture
async def nodes(start_node: Start, etcd: str) -> AsyncIterator[Two]:
    """Two nodes that know the series MEM; in the end every ledger must be proven."""
    async with two_nodes(start_node, etcd) as two:
        yield two


@pytest.mark.parametrize("path", ["sequences/adjust", "sequences/close"])
async def test_a_counter_that_cannot_be_is_refused_as_a_reservation_of_it(
    nodes: Two, path: str
) -> None:
    value = {"next_value": 5} if path.endswith("adjust") else {}
    wrong: list[dict[str, Any]] = [
        {"document_type": "RFA", "issue_date": LAST_YEAR},
        {"document_type": "RFA", "scope_value": "A-B", "issue_date": LAST_YEAR},
        {"document_type": "MEM", "scope_value": "A", "issue_date": LAST_YEAR},
        {"document_type": "MEM", "issue_date": "31/12/2025"},
        {"document_type": "XYZ"},
    ]
    for scope in wrong:
        there, _ = await ask(nodes.one, "reserve", scope, 404 if "XYZ" in scope.values() else 422)
        here = await refused(nodes.one, path, scope | value | {"reason": WHY}, there["status"])
        fields = [[e["field"] for e in p["errors"]] for p in (here, there)]
        assert (here["code"], fields[0]) == (there["code"], fields[1])


async def test_a_count_is_named_by_its_scopes_alone(nodes: Two) -> None:
    template = "{PREFIX}-{DISC}-{YYYY}-{SEQ:5}"
    await define(nodes.one, document_type="DIS", template=template, tokens={"DISC": "TEXT:5"})
    data = await adjust(nodes.one, document_type="DIS", next_value=3)
    assert data["counter"] == "documents/DIS/yearly=2025"
    of = {"document_type": "DIS", "scope": {"disc": "ARCH"}}
    assert (await reserve(nodes.other, **of))["document_number"] == "DIS-ARCH-2025-00003"


async def test_a_count_is_adjusted_upwards_only(nodes: Two) -> None:
    await issue(nodes.one)
    data = await adjust(nodes.other, next_value=10)
    assert data["passed_over"] == {"first": 2, "last": 9, "count": 8}
    assert (data["next_value"], data["current_value"]) == (10, 9)
    for value in ({"next_value": 10}, {"next_value": 3}, {"current_value": 9}):
        problem = await adjust(nodes.one, 409, **value)
        assert problem["code"] == "NB035"
        assert "would go out twice" in problem["detail"]
    assert (await adjust(nodes.one, 409, next_value=10**6))["code"] == "NB002"
    assert (await adjust(nodes.one, current_value=10))["next_value"] == 11
    assert (await adjust(nodes.one, new_value=11))["next_value"] == 12
    assert await issue(nodes.other) == text(12)


async def test_a_count_is_closed_when_nothing_is_open_and_tells_what_it_came_to(
    nodes: Two,
) -> None:
    await issue(nodes.one)
    await name(nodes.one, 4)
    await void(nodes.one, text(4))
    open_one = await reserve(nodes.one)
    problem = await close(nodes.other, 409)
    assert (problem["code"], "1 of its numbers" in problem["detail"]) == ("NB034", True)
    await told(nodes.one, "confirm", {"token": open_one["token"]})
    body = {"document_type": "MEM", "reason": WHY, "issue_date": LAST_YEAR, "requestId": "close"}
    first, _ = await ask(nodes.other, "sequences/close", body, X_User="eve")
    assert first["data"]["user"] == "eve"
    assert first["data"]["report"] == {
        "first": 1,
        "last": 6,
        "issued": 3,
        "gaps": {"total": 0, "runs": [], "all_listed": True},
        "void": {"total": 3, "runs": [[2, 4]], "all_listed": True},
    }
    problem = await close(nodes.one, 409)
    assert (problem["code"], first["data"]["closed_at"] in problem["detail"]) == ("NB033", True)
    await void(nodes.one, text(1), replace=False)  # a mistake can still be taken out of the books
    again, headers = await ask(nodes.one, "sequences/close", body)
    assert (again, headers["Idempotent-Replayed"]) == (first, "true")


def test_a_report_reads_no_more_runs_than_it_lists() -> None:
    def single_numbers() -> Iterator[tuple[int, int]]:
        yield from ((2 * at, 1) for at in range(RUNS_SHOWN_MAX + 1))
        raise AssertionError("it reads on")

    listed = _listed(10**9, single_numbers())
    assert (listed["total"], listed["all_listed"]) == (10**9, False)
    assert listed["runs"] == [[2 * at, 2 * at] for at in range(RUNS_SHOWN_MAX)]


async def test_nothing_goes_out_of_a_closed_count(nodes: Two) -> None:
    reserved = await reserve(nodes.one)
    number, token = reserved["document_number"], {"token": reserved["token"]}
    confirmed = await told(nodes.one, "confirm", token)
    await close(nodes.one)
    assert await told(nodes.other, "confirm", token) == confirmed
    assert (await refused(nodes.other, "cancel", token, 409))["code"] == "NB031"
    of = {"document_type": "MEM", "issue_date": LAST_YEAR}
    problems = [
        await refused(nodes.other, "reserve", of, 409),
        await name(nodes.other, 5, 409),
        await adjust(nodes.other, 409, next_value=5),
        await void(nodes.other, number, 409),
    ]
    assert {problem["code"] for problem in problems} == {"NB033"}
    assert (await told(nodes.other, "preview", of))["numbers"] == []
    assert "replace: false" in problems[-1]["detail"]
    assert await issue(nodes.other, issue_date="2024-01-01") == "MEM-2024-00001"
    await void(nodes.other, number, replace=False)


async def test_how_full_a_closed_count_is_worries_nobody_whatever_is_voided_of_it(
    nodes: Two,
) -> None:
    await issue(nodes.one)
    assert await told_to_be_full(nodes.one)
    await close(nodes.one)
    await void(nodes.one, text(1), replace=False)
    assert not await told_to_be_full(nodes.one)


async def test_a_node_hears_that_another_has_closed_the_fullest_count(nodes: Two) -> None:
    await issue(nodes.one)
    assert await told_to_be_full(nodes.one)
    await close(nodes.other)
    assert not await told_to_be_full(nodes.one)
    await reserve(nodes.one, issue_date="2024-07-01")
    assert await told_to_be_full(nodes.one)


async def told_to_be_full(node: Client) -> str:
    async with node.get("/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return "".join(line for line in lines if "utilization{" in line and "MEM" in line)


async def test_a_count_that_has_issued_nothing_is_closed_too(nodes: Two) -> None:
    problem = await refused(
        nodes.one, "sequences/close", {"document_type": "MEM", "reason": WHY}, 422
    )
    assert problem["errors"][0]["field"] == "issue_date"  # never by the clock
    report = (await close(nodes.one))["report"]
    assert (report["first"], report["last"], report["issued"]) == (1, 0, 0)
    await refused(nodes.other, "reserve", {"document_type": "MEM", "issue_date": LAST_YEAR}, 409)


@pytest.mark.parametrize("path", ["sequences/adjust", "sequences/close"])
async def test_under_its_key_no_other_count_is_met_after_a_change_of_the_series(
    nodes: Two, path: str
) -> None:
    body = {"document_type": "MEM", "issue_date": LAST_YEAR, "reason": WHY, "requestId": "k"}
    body |= {"next_value": 9} if path.endswith("adjust") else {}
    first = await told(nodes.one, path, body)
    await change(nodes.one, 1, template="{PREFIX}-{YYYY}-{MM}-{SEQ:5}", scopes=["MONTHLY"])
    assert await told(nodes.other, path, body) == first
    assert await issue(nodes.other) == "MEM-2025-07-00001"


async def test_the_command_line_lets_a_count_go_on(
    nodes: Two, capsys: pytest.CaptureFixture[str]
) -> None:
    url = str(nodes.one.make_url("/"))
    words = ["set", "MEM", "1200", "--issue-date", LAST_YEAR, "--reason", WHY, "--url", url]
    assert await asyncio.to_thread(main, words) == 2
    assert "nothing was changed" in capsys.readouterr().err
    assert await asyncio.to_thread(main, [*words, "--yes"]) == 2
    assert "1200 numbers would become void" in capsys.readouterr().err
    assert await asyncio.to_thread(main, [*words, "--yes", "--pass-over-max", "1200"]) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == f"{COUNTER} goes on with 1201; 1 to 1200 (1200) are void."
    assert await issue(nodes.other) == text(1_201)
    project = ["set", "RFA", "5", "--scope", "project=P1", "--issue-date", LAST_YEAR]
    assert await asyncio.to_thread(main, [*project, "--reason", WHY, "--yes", "--url", url]) == 0
    reserved = await reserve(nodes.one, document_type="RFA", scope_value="P1")
    assert reserved["document_number"] == "RFA-P1-2025-00006"
    for wrong in (["MEM"], [], ["MEM", "5", "--accept-rewind"], ["MEM", "5", "--scope", "project"]):
        assert await asyncio.to_thread(main, ["set", *wrong, "--yes", "--reason", WHY]) == 2


async def test_the_count_of_invoices_is_voided_from_but_never_closed(nodes: Two) -> None:
    invoice = await issued_here(nodes.one)
    assert invoice["sequenceNumbers"] == [1]
    data = await void(nodes.other, "INV-00000001")
    assert data["replacement"]["document_number"] == "INV-00000002"
    await release(nodes.one, 2)  # it is the site's, as the one before
    assert (await issued_here(nodes.one))["sequenceNumbers"] == [2]
    assert (await issued_here(nodes.other))["sequenceNumbers"] == [3]
    body = {"document_type": "invoice", "reason": WHY}
    problem = await refused(nodes.one, "sequences/close", body, 409)
    assert problem["code"] == "NB038"
    assert (await issued_here(nodes.one))["sequenceNumbers"] == [4]
