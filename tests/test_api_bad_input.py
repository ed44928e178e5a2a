"""Bad input of every kind: a problem that names the field, nothing allocated, nothing lost."""

import pytest
from http_calls import PLACE, SEQUENCE, Start, get, issue, post


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({}, "siteId"),
        ({"siteId": ""}, "siteId"),
        ({"siteId": "a b"}, "siteId"),
        ({"siteId": "x" * 65}, "siteId"),
        ({"count": "0"}, "count"),
        ({"count": "101"}, "count"),
        ({"count": "-1"}, "count"),
        ({"count": "1.5"}, "count"),
        ({"count": "many"}, "count"),
        ({"count": "1_0"}, "count"),
        ({"count": "+1"}, "count"),
        ({"count": "\u0661"}, "count"),
        ({"count": "9" * 40}, "count"),
        ({"cuont": "5"}, "cuont"),
        ({"requestId": "a b"}, "requestId"),
    ],
)
async def test_bad_queries_name_the_field_and_allocate_nothing(
    start_node: Start, query: dict[str, str], field: str
) -> None:
    node = await start_node()
    given = PLACE | query if query else {}
    problem = await get(node, "next", 400, **given)
    assert problem["code"] == "NB009"
    assert field in {error["field"] for error in problem["errors"]}
    assert problem["request_id"]
    assert (await get(node, "stats"))["totalRequests"] == 0


@pytest.mark.parametrize("field", ["siteId", "partitionId", "invoiceType"])
async def test_names_that_are_not_configured_are_unknown(start_node: Start, field: str) -> None:
    node = await start_node()
    problem = await get(node, "next", 404, **(PLACE | {field: "elsewhere"}))
    assert (problem["code"], problem["errors"][0]["field"]) == ("NB001", field)
    assert (await get(node, "stats"))["totalRequests"] == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'"text"', 400),
        (b"\xff\xfe", 400),
        (b'{"sequenceNumber":1,"sequenceNumber":2}', 400),
        (b'{"sequenceNumber":"1","siteId":"site-1","partitionId":"partition-a","reason":"x"}', 400),
        (
            b'{"sequenceNumber":true,"siteId":"site-1","partitionId":"partition-a","reason":"x"}',
            400,
        ),
        (b'{"sequenceNumber":1.5,"siteId":"site-1","partitionId":"partition-a","reason":"x"}', 400),
        (b'{"sequenceNumber":0,"siteId":"site-1","partitionId":"partition-a","reason":"x"}', 400),
        (b'{"sequenceNumber":NaN,"siteId":"site-1","partitionId":"partition-a","reason":"x"}', 400),
        (
            (
                b'{"sequenceNumber":9223372036854775808,"siteId":"site-1",'
                b'"partitionId":"partition-a","reason":"x"}'
            ),
            400,
        ),
        (b'{"sequenceNumber":1,"siteId":"site-1","partitionId":"partition-a","reason":" "}', 400),
        (b'{"sequenceNumber":1,"siteId":"site-1","partitionId":"partition-a"}', 400),
        (
            b'{"sequenceNumber":1,"siteId":"site-1","partitionId":"partition-a","reason":"\\ud800"}',
            400,
        ),
        (
            b'{"sequenceNumber":1,"siteId":"site-1","partitionId":"partition-a","reason":"a\\nb"}',
            400,
        ),
        (b'{"sequenceNumber":1,"siteId":null,"partitionId":"partition-a","reason":"x"}', 400),
        (b"[" * 50_000, 400),
        (b"x" * 70_000, 413),
    ],
)
async def test_bad_bodies_get_a_problem_and_change_nothing(
    start_node: Start, body: bytes, status: int
) -> None:
    node = await start_node()
    await issue(node)
    json = {"Content-Type": "application/json"}
    async with node.post(f"{SEQUENCE}/release", data=body, headers=json) as answer:
        assert answer.status == status, await answer.text()
        assert answer.content_type == "application/problem+json"
        problem = await answer.json()
    assert problem["status"] == status
    assert (await get(node, "stats"))["totalRequests"] == 1


async def test_bad_headers_addresses_and_methods_get_a_problem(start_node: Start) -> None:
    node = await start_node()
    next_ = f"{SEQUENCE}/next"
    for headers, name in (
        ({"X-Request-Id": "a b"}, "X-Request-Id"),
        ({"Idempotency-Key": "k" * 200}, "Idempotency-Key"),
        ({"X-User": "x" * 101}, "X-User"),
        ({"X-User": "\udcff"}, "X-User"),
    ):
        async with node.get(next_, params=PLACE, headers=headers) as answer:
            assert answer.status == 400
            assert (await answer.json())["errors"][0]["field"] == name
    body = PLACE | {"requestId": "one"}
    await post(node, "next", body, 400, Idempotency_Key="two")
    for method, path, status in (
        ("GET", f"{SEQUENCE}/nothing", 404),
        ("GET", "/a%0Ab", 404),
        ("DELETE", next_, 405),
        ("HEAD", next_, 405),
        ("GET", f"{SEQUENCE}/audit/zero", 400),
        ("GET", f"{SEQUENCE}/audit/0", 400),
        ("GET", f"{SEQUENCE}/audit/1.0", 400),
        ("GET", f"{SEQUENCE}/audit?operationType=STEAL", 400),
        ("GET", f"{SEQUENCE}/audit?limit=0", 400),
        ("GET", f"{SEQUENCE}/audit?limit=1001", 400),
        ("GET", f"{SEQUENCE}/audit?cursor=nonsense", 400),
        ("GET", f"{SEQUENCE}/gaps?start=-1", 400),
        ("POST", "/api/v1/demo/concurrent?threads=0", 400),
    ):
        async with node.request(method, path) as answer:
            assert answer.status == status, path
            assert answer.content_type == "application/problem+json"
    async with node.post(next_, data="siteId=site-1") as answer:
        assert answer.status == 415
    query = "&".join(f"{name}={value}" for name, value in PLACE.items())
    async with node.get(f"{next_}?{query}&count=1&count=2") as answer:
        assert answer.status == 400
    assert (await get(node, "stats"))["totalRequests"] == 0
