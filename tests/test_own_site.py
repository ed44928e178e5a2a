"""What a page of another web site makes a browser ask for changes nothing, at any address."""

from typing import Any

import pytest
from conftest import NodeServer
from http_calls import PLACE, Client, Start, get, issue
from multidict import CIMultiDict

from coordinator.api.own_site import changes

OTHER_SITE = (403, "NB055")


@pytest.fixture
async def node(start_node: Start) -> Client:
    return await start_node()


async def answer_to(node: Client, method: str, path: str, **headers: str) -> tuple[int, Any]:
    names = CIMultiDict((name.replace("_", "-"), value) for name, value in headers.items())
    async with node.request(method, path, params=PLACE, headers=names) as answer:
        return answer.status, (await answer.json()).get("code")


def changing_routes(node: Client) -> list[tuple[str, str]]:
    """Return every address that may change something, with a name for each variable part."""
    assert isinstance(node.server, NodeServer)
    routes = node.server.node.web.router.routes()
    found = {
        (route.method, route.resource.canonical.replace("{", "").replace("}", ""))
        for route in routes
        if route.resource is not None and route.method not in {"*", "HEAD"}
    }
    return sorted(each for each in found if changes(*each))


async def test_every_address_that_changes_something_refuses_it(node: Client) -> None:
    routes = changing_routes(node)
    assert ("GET", "/api/v1/sequence/next") in routes
    assert ("POST", "/api/v1/admin/document-numbering/bulk-import") in routes
    assert len(routes) > 20
    for method, path in routes:
        for site in ("cross-site", "same-site"):  # another port of this host is the latter
            assert await answer_to(node, method, path, Sec_Fetch_Site=site) == OTHER_SITE, path
        assert await answer_to(node, method, path, Origin="https://elsewhere") == OTHER_SITE, path
    assert (await get(node, "stats"))["totalGenerated"] == 0


@pytest.mark.parametrize("site", ["same-origin", "none"])
async def test_a_browser_that_says_it_is_ours_is_believed(node: Client, site: str) -> None:
    path = "/api/v1/sequence/next"
    # Behind a proxy the host may be another than the one in the browser's address.
    headers = {"Sec_Fetch_Site": site, "Origin": "https://numbers.example"}
    assert await answer_to(node, "GET", path, **headers) == (200, None)


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("http://10.0.0.7:8080", "10.0.0.7:8080", 200),
        ("https://numbers.example", "numbers.example", 200),
        ("https://numbers.example", "numbers.example:443", 200),
        ("https://numbers.example:8443", "numbers.example", 200),  # a proxy has taken the port
        ("http://NODE-1:8080", "node-1:8080", 200),
        ("http://10.0.0.7:3000", "10.0.0.7:8080", 403),  # another port is another program
        ("http://node-1", "node-1:8080", 403),
        ("http://node-1:x", "node-1:8080", 403),
        ("http://[::1]:8080", "[::1]:8080", 200),
        ("http://10.0.0.8:8080", "10.0.0.7:8080", 403),
        ("http://10.0.0.7.elsewhere.example", "10.0.0.7:8080", 403),
        ("null", "10.0.0.7:8080", 403),
        ("http://[", "10.0.0.7:8080", 403),
        ("", "10.0.0.7:8080", 403),
    ],
)
async def test_where_it_does_not_say_the_origin_decides(
    node: Client, origin: str, host: str, status: int
) -> None:
    found = await answer_to(node, "GET", "/api/v1/sequence/next", Origin=origin, Host=host)
    assert found == (status, None if status == 200 else "NB055")


async def test_the_refusal_says_who_asked_and_what_to_do(node: Client) -> None:
    headers = {"Origin": "https://elsewhere.example"}
    async with node.post("/api/v1/sequence/next", json=PLACE, headers=headers) as answer:
        problem = await answer.json()
    assert answer.content_type == "application/problem+json"
    assert "https://elsewhere.example" in problem["detail"]
    assert "Nothing was done" in problem["detail"]
    assert problem["request_id"] == answer.headers["X-Request-Id"]


async def test_readers_and_other_callers_are_served(node: Client) -> None:
    await issue(node)
    async with node.get("/api/v1/sequence/stats", headers={"Sec-Fetch-Site": "cross-site"}) as told:
        assert told.status == 200
    assert await answer_to(node, "POST", "/api/v1/sequence/next") == (400, "NB009")  # no body
