"""Calls of the sequence API, as tests write them."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient

Client = TestClient[web.Request, web.Application]
Start = Callable[..., Awaitable[Client]]

SEQUENCE = "/api/v1/sequence"
PLACE = {"siteId": "site-1", "partitionId": "partition-a", "invoiceType": "on-cycle"}
ELSEWHERE = {"siteId": "site-2", "partitionId": "partition-b", "invoiceType": "off-cycle"}


async def get(client: Client, path: str, status: int = 200, **query: Any) -> Any:
    async with client.get(f"{SEQUENCE}/{path}", params=query) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


async def issue(client: Client, **more: Any) -> Any:
    return await get(client, "next", **(PLACE | more))


async def post(
    client: Client, path: str, body: Any, status: int = 200, **headers: str
) -> tuple[Any, Any]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.post(f"{SEQUENCE}/{path}", json=body, headers=names) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json(), answer.headers


async def release(client: Client, number: int, status: int = 200, **more: Any) -> Any:
    body = {"sequenceNumber": number, "siteId": "site-1", "partitionId": "partition-a"}
    return (await post(client, "release", body | {"reason": "wrong customer"} | more, status))[0]
