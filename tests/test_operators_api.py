"""What operators do to document numbers over HTTP, on a real etcd and two nodes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
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
    define,
    issue,
    name,
    proven,
    refused,
    reserve,
    text,
    told,
    two_nodes,
    void,
)
from etcd_members import running_members
from http_calls import Client, Start

from coordinator.api.orders import refusal
from coordinator.core.keys import Keys
from coordinator.core.records import Issued, Voided
from coordinator.core.requests import Refused, Why
from coordinator.history import History
from coordinator.store.etcd import EtcdStore


@pytest.fixture
async def nodes(start_node: Start, etcd: str) -> AsyncIterator[Two]:
    """Two nodes that know the series MEM; in the end every ledger must be proven."""
    async with two_nodes(start_node, etcd) as two:
        yield two


async def metric(node: Client, line: str) -> str:
    async with node.get("/metrics") as answer:
        text_of = await answer.text()
    return next((each.split()[-1] for each in text_of.splitlines() if each.startswith(line)), "")


async def test_an_operator_names_a_number_and_the_count_goes_on_after_it(nodes: Two) -> None:
    body = {
        "document_type": "MEM",
        "document_number": text(5),
        "reason": WHY,
        "skip_validation": True,
    }
    data = await told(nodes.one, "manual-override", body, 201, X_User="ann")
    assert data.pop("issued_at").startswith("20")
    assert data == {
        "document_number": text(5),
        "document_type": "MEM",
        "number": 5,
        "reason": WHY,
        "passed_over": {"first": 1, "last": 4, "count": 4},
        "validated": True,
        "user": "ann",
    }
    assert (await name(nodes.other, 6))["passed_over"] is None
    assert (await reserve(nodes.other))["document_number"] == text(7)
    assert await metric(nodes.one, 'numbering_manual_overrides_total{document_type="MEM"}') == "1.0"


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (text(1), "NB005", "is issued already"),
        (text(2), "NB005", "is reserved"),
        (text(3), "NB005", "is void"),
        ("MEM-2025-0007", "NB006", "does not read like a number of MEM, {PREFIX}-{YYYY}-{SEQ:5}"),
        ("COR-2025-00007", "NB006", "reads like one of COR"),
        (text(1_005), "NB036", "1001 numbers would become void"),
    ],
)
async def test_a_number_that_cannot_be_given_out_is_refused(
    nodes: Two, number: str, code: str, said: str
) -> None:
    await issue(nodes.one)
    await reserve(nodes.one)
    cancelled = await reserve(nodes.one)
    await told(nodes.one, "cancel", {"token": cancelled["token"]})
    body = {"document_type": "MEM", "document_number": number, "reason": WHY}
    for node in nodes[:2]:
        for skip in (True, False):
            asked = body | {"skip_validation": skip}
            status = 422 if code == "NB006" else 409
            problem = await refused(node, "manual-override", asked, status)
            assert (problem["code"], said in problem["detail"]) == (code, True), problem
    assert (await reserve(nodes.other))["document_number"] == text(4)


async def test_a_number_that_waits_is_reserved_not_named(nodes: Two) -> None:
    await define(nodes.one, document_type="FRE", gap_policy="reuse")
    of = {"document_type": "FRE"}
    for token in [(await reserve(nodes.one, **of))["token"] for _ in range(2)]:
        await told(nodes.one, "cancel", {"token": token})
    problem = await name(nodes.other, 2, 409, **of, document_number=text(2, "FRE"))
    assert problem["code"] == "NB005"
    assert "is free" in problem["detail"]
    assert "Reserve" in problem["detail"]


async def test_a_number_below_the_start_is_none_of_the_series(nodes: Two) -> None:
    await define(nodes.one, document_type="HIG", start=100)
    of = {"document_type": "HIG"}
    problem = await name(nodes.one, 7, 422, **of, document_number=text(7, "HIG"))
    assert (problem["code"], "below the start" in problem["detail"]) == ("NB006", True)
    await name(nodes.one, 100, **of, document_number=text(100, "HIG"))


async def test_a_slip_of_the_pen_voids_nothing_and_who_means_it_says_so(nodes: Two) -> None:
    problem = await name(nodes.one, 90_001, 409)
    assert problem["code"] == "NB036"
    assert "pass_over_max: 90000" in problem["detail"]
    await name(nodes.one, 90_001, 409, pass_over_max=89_999)
    data = await name(nodes.one, 90_001, pass_over_max=90_000)
    assert data["passed_over"]["count"] == 90_000
    assert (await adjust(nodes.other, 409, next_value=99_999))["code"] == "NB036"


def test_every_refusal_of_the_core_has_a_code_and_a_sentence() -> None:
    for why in Why:
        problem = refusal(Refused(why, "4711"))
        assert problem.kind.code.startswith("NB")
        assert len(problem.detail) > 20
        assert "{" not in problem.detail


async def test_a_series_that_does_not_allow_it_gets_no_number_by_hand(nodes: Two) -> None:
    body = {"document_type": "COR", "document_number": text(1, "COR"), "reason": WHY}
    await refused(nodes.one, "manual-override", body | {"skip_validation": True}, 403)
    problem = await refused(nodes.one, "manual-override", body, 403)
    assert problem["code"] == "NB007"
    assert "allow_manual_override" in problem["detail"]
    problem = await refused(nodes.one, "manual-override", body | {"document_type": "XYZ"}, 404)
    assert problem["code"] == "NB001"
    assert await metric(nodes.one, 'numbering_errors_total{code="NB007"}') == "2.0"


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("manual-override", {"document_type": "MEM", "document_number": text(1)}, "reason"),
        ("void-and-replace", {"document_number": text(1), "reason": "too short"}, "reason"),
        ("sequences/adjust", {"document_type": "MEM", "next_value": 5}, "reason"),
        ("sequences/adjust", {"document_type": "MEM", "reason": WHY}, "body"),
        (
            "sequences/adjust",
            {"document_type": "MEM", "reason": WHY, "next_value": 5, "new_value": 4},
            "body",
        ),
        ("sequences/close", {"document_type": "MEM", "issue_date": LAST_YEAR}, "reason"),
    ],
)
async def test_what_is_missing_is_named(nodes: Two, path: str, body: Any, field: str) -> None:
    problem = await refused(nodes.one, path, body, 400)
    assert problem["code"] == "NB009"
    assert [error["field"] for error in problem["errors"]] == [field]


async def test_a_wrong_number_is_void_and_another_one_takes_its_place(nodes: Two) -> None:
    first = await issue(nodes.one)
    body = {"document_number": first, "reason": WHY}
    answer, _ = await ask(nodes.other, "void-and-replace", body, X_User="bob")
    assert answer["data"] == {name: answer[name] for name in ("voided", "replacement")}
    voided, replacement = answer["voided"], answer["replacement"]
    assert (voided["document_number"], voided["replaced_by"]) == (text(1), text(2))
    assert (voided["reason"], voided["user"]) == (WHY, "bob")
    assert (replacement["document_number"], replacement["replaces"]) == (text(2), text(1))
    problem = await void(nodes.one, first, 409)
    assert problem["code"] == "NB032"
    assert voided["voided_at"] in problem["detail"]
    assert f"replaced by {text(2)}" in problem["detail"]
    data = await void(nodes.one, text(2), replace=False)
    assert (data["voided"]["replaced_by"], data["replacement"]) == (None, None)
    assert await issue(nodes.other) == text(3)


async def test_a_chain_of_replacements_is_read_from_each_of_them(nodes: Two, etcd: str) -> None:
    a = await issue(nodes.one)
    b = (await void(nodes.other, a))["replacement"]["document_number"]
    c = (await void(nodes.one, b))["replacement"]["document_number"]
    assert [a, b, c] == [text(1), text(2), text(3)]
    store = EtcdStore((etcd,))
    history = History(store, Keys(nodes.root.encode()).counter(COUNTER))
    links = []
    for number in (1, 2, 3):
        for event in (await history.life(number)).events:
            match event.record:
                case Issued(given=given) if given is not None:
                    links.append((number, "replaces", given.replaces))
                case Voided(replaced_by=other):
                    links.append((number, "replaced by", other))
                case _:
                    pass
    await store.close()
    assert links == [
        *((1, "replaced by", 2), (2, "replaces", 1)),
        *((2, "replaced by", 3), (3, "replaces", 2)),
    ]


async def test_only_a_number_in_use_is_voided(nodes: Two) -> None:
    await define(nodes.one, document_type="FRE", gap_policy="reuse")
    await reserve(nodes.one)
    free, cancelled = await reserve(nodes.one, document_type="FRE"), await reserve(nodes.one)
    for reserved in (free, cancelled):
        await told(nodes.one, "cancel", {"token": reserved["token"], "reason": "a slip"})
    await name(nodes.one, 5)
    for number, status, code, said in (
        (text(1), 409, "NB032", "is reserved only"),
        (text(2), 409, "NB032", "its reservation was cancelled, 'a slip'"),
        (text(3), 409, "NB032", f"it never went out, 'passed over by {text(5)}'"),
        (text(1, "FRE"), 409, "NB011", "waits to be issued again"),
        (text(9), 404, "NB010", "was never issued"),
        ("MEM-1", 422, "NB006", "any series"),
    ):
        problem = await void(nodes.other, number, status)
        assert (problem["code"], said in problem["detail"]) == (code, True), problem


async def test_a_number_is_voided_as_it_was_written_and_replaced_as_the_series_writes_now(
    nodes: Two,
) -> None:
    old = await issue(nodes.one)
    await change(nodes.one, 1, template="{PREFIX}-{YYYY}-{SEQ:6}")
    problem = await void(nodes.other, "MEM-2025-000001", 409)
    assert (problem["code"], old in problem["detail"]) == ("NB037", True)
    data = await void(nodes.other, old)
    assert data["replacement"]["document_number"] == "MEM-2025-000002"
    problem = await name(nodes.one, 7, 422)
    assert "as it was, {PREFIX}-{YYYY}-{SEQ:5}" in problem["detail"]
    # What the old text does not say cannot be written: the replacement reads like what it replaces.
    await change(nodes.one, 2, template="{PREFIX}-{YYYY}{MM}-{SEQ:6}")
    data = await void(nodes.other, "MEM-2025-000002")
    assert data["replacement"]["document_number"] == "MEM-2025-000003"


async def test_a_replacement_beyond_the_end_of_the_series_voids_nothing(nodes: Two) -> None:
    await define(nodes.one, document_type="END", max_value=1)
    number = await issue(nodes.one, document_type="END")
    problem = await void(nodes.one, number, 409)
    assert (problem["code"], "replace: false" in problem["detail"]) == ("NB002", True)
    await void(nodes.one, number, replace=False)


@pytest.mark.parametrize("how", ["header", "requestId"])
async def test_a_key_does_it_once_and_every_node_answers_the_same(nodes: Two, how: str) -> None:
    number = await issue(nodes.one)
    calls: list[tuple[str, dict[str, Any], int]] = [
        ("manual-override", {"document_type": "MEM", "document_number": text(4)}, 201),
        ("void-and-replace", {"document_number": number}, 200),
        (
            "sequences/adjust",
            {"document_type": "MEM", "issue_date": LAST_YEAR, "next_value": 9},
            200,
        ),
        ("sequences/close", {"document_type": "MEM", "issue_date": LAST_YEAR}, 200),
    ]
    for path, fields, status in calls:
        headers = {"Idempotency_Key": path} if how == "header" else {}
        body = fields | {"reason": WHY} | ({} if headers else {"requestId": path})
        first, _ = await ask(nodes.one, path, body, status, **headers)
        for node in (nodes.other, nodes.one):
            again, given = await ask(node, path, body, status, **headers)
            assert (again, given["Idempotent-Replayed"]) == (first, "true")
        other = body | {"reason": "another reason"}
        assert (await refused(nodes.other, path, other, 422, **headers))["code"] == "NB013"
    for allowed, template in ((False, "{PREFIX}-{YYYY}-{SEQ:5}"), (True, "M-{YYYY}-{SEQ:6}")):
        version = 1 if not allowed else 2
        await change(nodes.one, version, allow_manual_override=allowed, template=template)
        path, fields, status = calls[0]
        body = fields | {"reason": WHY}
        again, given = await ask(nodes.other, path, body | {"requestId": path}, status)
        assert given["Idempotent-Replayed"] == "true"
        code = (await refused(nodes.other, path, body, 422 if allowed else 403))["code"]
        assert code == ("NB006" if allowed else "NB007")


async def test_of_two_who_name_the_same_number_at_the_same_time_one_gets_it(nodes: Two) -> None:
    async def one(n: int, number: int) -> int:
        body = {"document_type": "MEM", "document_number": text(number), "reason": WHY}
        answer = await nodes[n].post("/api/v1/admin/document-numbering/manual-override", json=body)
        told_of = await answer.json()
        assert answer.status == 201 or told_of["code"] == "NB005", told_of
        return int(answer.status)

    for number in range(2, 42, 2):
        ended = await asyncio.gather(*(one(n % 2, number) for n in range(4)))
        assert sorted(ended) == [201, 409, 409, 409]


async def test_numbers_are_voided_while_others_are_reserved(nodes: Two, etcd: str) -> None:
    numbers = [await issue(nodes.one) for _ in range(10)]
    gate = asyncio.Semaphore(32)

    async def one(n: int) -> str:
        async with gate:
            if n % 10 == 0:
                data = await void(nodes[n % 2], numbers[n // 10])
                return str(data["replacement"]["document_number"])
            return await issue(nodes[n % 2])

    given = await asyncio.gather(*map(one, range(100)))
    assert sorted(given) == [text(number) for number in range(11, 111)]
    assert await proven(etcd, nodes.root) == 100


async def test_what_operators_do_survives_the_death_of_the_leader(
    start_node: Start, tmp_path: Path
) -> None:
    with running_members(tmp_path) as members:
        urls = ",".join(member.url for member in members)
        node = await start_node(etcd_endpoints=urls, root="/ops/")
        await define(node)
        done = []
        for number in range(3, 63, 3):
            if number == 30:
                members.leader().kill()
            body = {"document_type": "MEM", "document_number": text(number), "reason": WHY}
            body |= {"requestId": f"name-{number}"}
            for _ in range(20):
                answer = await node.post(
                    "/api/v1/admin/document-numbering/manual-override", json=body
                )
                if answer.status not in {503, 504}:
                    break
            assert answer.status == 201, await answer.text()
            done.append((await answer.json())["data"]["passed_over"]["count"])
        assert done == [2] * 20
        alive = next(m.url for m in members if m._process and m._process.poll() is None)
        assert await proven(alive, "/ops/") == 20
