"""The way to another node: only a node's own word counts as a refusal."""

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest
from aiohttp import web

from coordinator.api import problems
from coordinator.api.problems import Kind, Problem
from coordinator.core.forwarding import Forward
from coordinator.core.keys import Keys
from coordinator.core.ledger import NO_HASH
from coordinator.core.records import Part
from coordinator.core.requests import Instant
from coordinator.peers import Declined, HttpPeers, NoReply, Silent
from coordinator.turn import Contact

BATCH = Forward(Part("n", "r", 1), 0, NO_HASH, ())


class Other:
    """A server that answers whatever it is told to."""

    def __init__(self) -> None:
        self.answer = web.Response()
        self.url = ""

    async def say(self, _: web.BaseRequest) -> web.Response:
        return self.answer


@pytest.fixture
async def other() -> AsyncIterator[Other]:
    server = Other()
    runner = web.ServerRunner(web.Server(server.say))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = "http://{}:{}".format(*runner.addresses[0])
    yield server
    await runner.cleanup()


async def hand_over(url: str) -> type[Exception]:
    peers = HttpPeers()
    try:
        holder = Contact("n", "r", url, "token")
        with pytest.raises((Declined, Silent, NoReply)) as said:
            await peers.hand_over(holder, Keys().counter("invoice"), BATCH, Instant(0, 0))
        return said.type
    finally:
        peers.close()


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (problems.DECLINED, Declined),
        (problems.BUSY, Declined),
        (problems.NOT_A_NODE, Silent),
        (problems.OUTCOME_UNKNOWN, NoReply),
        (problems.INTERNAL, NoReply),
        (problems.STORE_UNAVAILABLE, NoReply),
    ],
    ids=lambda value: value.code if isinstance(value, Kind) else "",
)
async def test_what_a_node_says_is_taken_for_what_it_is(
    other: Other, kind: Kind, told: type[Exception]
) -> None:
    other.answer = problems.answer(Problem(kind, "so it is"), "r")
    assert await hand_over(other.url) is told


@pytest.mark.parametrize("status", [200, 403, 404, 409, 502, 503, 504])
@pytest.mark.parametrize("body", [b"", b"upstream reset", b"{}", b"[]", orjson.dumps({"code": 1})])
async def test_what_something_between_says_is_no_reply(
    other: Other, status: int, body: bytes
) -> None:
    other.answer = web.Response(status=status, body=body)
    assert await hand_over(other.url) is NoReply


async def test_a_node_that_is_not_there_got_nothing(other: Other) -> None:
    gone = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = gone.sockets[0].getsockname()[1]
    gone.close()
    await gone.wait_closed()
    assert await hand_over(f"http://127.0.0.1:{port}") is Silent
