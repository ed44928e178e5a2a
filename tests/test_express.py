"""The short way of calls that wait for one reply: for what is plain, and never to be noticed."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from bad_requests import BAD_REQUESTS, GOOD, ISSUE, NEXT, RELEASE, TAKE_BACK, Bad, get, post, raw
from conftest import NodeServer
from serving import Switch
from support import free_port
from wire import Answer, answer_on, ask

from coordinator.api.express import Express
from coordinator.app import NodeApp
from coordinator.config import Settings
from coordinator.store.memory import MemoryStore

pytestmark = pytest.mark.asyncio(loop_scope="module")

OF_THE_MOMENT = {"date", "x-request-id"}
IDLE_S = 2.0
STOPS_IN_S = 1.5
QUEUE_MAX = 128
"""More requests than aiohttp reads ahead."""


class Target(NamedTuple):
    """A node, and the store on which it can be made to wait."""

    server: NodeServer
    port: int
    switch: Switch

    @property
    def by_aiohttp(self) -> int:
        """Return how many requests have gone the long way."""
        assert self.server.runner.server is not None
        return self.server.runner.server.requests_count


@asynccontextmanager
async def serving(**more: Any) -> AsyncIterator[Target]:
    switch, port = Switch(MemoryStore()), free_port()
    node = NodeApp(Settings(profile="demonstration", port=port, **more), switch)
    await node.membership.join()
    server = NodeServer(node, port)
    await server.start_server(shutdown_timeout=STOPS_IN_S)
    try:
        yield Target(server, port, switch)
    finally:
        await server.close()
        await node.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target() -> AsyncIterator[Target]:
    async with serving(idle_s=IDLE_S) as target:
        assert (await ask(target.port, get(GOOD))).status == 200
        yield target


class Kept(NamedTuple):
    """A connection that has served a request before."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, sent: bytes) -> Answer:
        self.writer.write(sent)
        return await answer_on(self.reader, has_body=not sent.startswith(b"HEAD"))


@asynccontextmanager
async def kept(target: Target) -> AsyncIterator[Kept]:
    connection = Kept(*await asyncio.open_connection("127.0.0.1", target.port))
    try:
        assert (await connection.ask(get("/livez"))).status == 200
        yield connection
    finally:
        connection.writer.transport.abort()


def number_in(answer: Answer) -> int:
    assert answer.status == 200, answer
    (number,) = json.loads(answer.body)["sequenceNumbers"]
    return int(number)


@pytest.mark.parametrize(
    "sent",
    [
        get(GOOD),
        get(GOOD, "Connection: keep-alive", "X-User: Zoë", "Accept: */*"),
        get(GOOD.replace("site-1", "%73ite-1")),
        post(NEXT, b"{%s}" % ISSUE),
        post(NEXT, b"{%s}" % ISSUE, media="application/json; charset=utf-8"),
        raw(f"POST {NEXT} HTTP/1.1", f"Content-Length: {len(ISSUE) + 2}", body=b"{%s}" % ISSUE),
    ],
)
async def test_a_plain_request_goes_the_short_way_and_is_answered_alike(
    target: Target, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Express, "is_for", lambda *_: False)
    first = await ask(target.port, sent)
    monkeypatch.undo()
    async with kept(target) as connection:
        before = target.by_aiohttp
        for number in range(number_in(first) + 1, number_in(first) + 4):
            answer = await connection.ask(sent)
            assert number_in(answer) == number
            names = [set(each.headers) for each in (first, answer)]
            assert names[0] == names[1]
            shown = [json.loads(each.body) for each in (first, answer)]
            assert list(shown[0]) == list(shown[1])
            assert shown[1]["requestId"] == answer.headers["x-request-id"]
        assert target.by_aiohttp == before
        assert (await connection.ask(get("/livez"))).status == 200


@pytest.mark.parametrize(
    "sent",
    [
        get(GOOD).replace(b"HTTP/1.1", b"HTTP/1.0"),
        get(GOOD, "Connection: close"),
        get(f"http://elsewhere{GOOD}"),
        get(GOOD.replace("next", "%6Eext")),
        get(GOOD, "Expect: 100-continue"),
        post(NEXT, gzip.compress(b"{%s}" % ISSUE), "Content-Encoding: gzip"),
        post(NEXT, b"{%s}" % ISSUE, media="application/octet-stream"),
        raw(
            f"POST {NEXT} HTTP/1.1",
            *("Content-Type: application/json", "Transfer-Encoding: chunked"),
            body=b"%x\r\n{%s}\r\n0\r\n\r\n" % (len(ISSUE) + 2, ISSUE),
        ),
    ],
)
async def test_what_is_not_plain_goes_the_long_way(target: Target, sent: bytes) -> None:
    async with kept(target) as connection:
        before = target.by_aiohttp
        connection.writer.write(sent)
        if b"Expect" in sent:
            assert await connection.reader.readuntil(b"\r\n\r\n")
        assert number_in(await answer_on(connection.reader)) > 0
        assert target.by_aiohttp == before + 1


@pytest.mark.parametrize("bad", BAD_REQUESTS, ids=lambda bad: bad.name)
async def test_both_ways_refuse_alike(
    target: Target, bad: Bad, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Express, "is_for", lambda *_: False)
    first = await ask(target.port, bad.sent)
    monkeypatch.undo()
    async with kept(target) as connection:
        again = await connection.ask(bad.sent)
    assert (again.status, *headers_of(again)) == (first.status, *headers_of(first))
    if not bad.sent.startswith(b"HEAD"):
        for problem in (first.problem, again.problem):
            problem["request_id"] = "-"
        assert again.problem | {"request_id": "-"} == first.problem | {"request_id": "-"}


def headers_of(answer: Answer) -> list[tuple[str, str]]:
    left_out = OF_THE_MOMENT | {"content-length"}  # the request's id is in the body too
    return sorted((n, value) for n, value in answer.headers.items() if n not in left_out)


async def test_a_body_that_comes_in_pieces_and_a_release(target: Target) -> None:
    async with kept(target) as connection:
        number = number_in(await connection.ask(get(GOOD)))
        sent = post(RELEASE, b'{"sequenceNumber":%d,%s}' % (number, TAKE_BACK))
        connection.writer.write(sent[:-10])
        await asyncio.sleep(0.05)
        answer = await connection.ask(sent[-10:])
        assert (answer.status, json.loads(answer.body)["sequenceNumber"]) == (200, number)
        again = await connection.ask(sent)
        assert (again.status, again.problem["code"]) == (409, "NB011")
        assert number_in(await connection.ask(get(GOOD))) == number


async def test_requests_sent_in_a_row_are_answered_in_their_order(target: Target) -> None:
    stats = get("/api/v1/sequence/stats")
    async with kept(target) as connection:
        connection.writer.write(get(GOOD) + post(NEXT, b"{%s}" % ISSUE) + stats + get(GOOD))
        await asyncio.sleep(0.05)
        connection.writer.write(get(GOOD))
        first, second = [number_in(await answer_on(connection.reader)) for _ in range(2)]
        counted = json.loads((await answer_on(connection.reader)).body)["currentCounter"]
        last = [number_in(await answer_on(connection.reader)) for _ in range(2)]
        assert [second, counted, *last] == [first + 1, first + 1, first + 2, first + 3]


async def test_a_request_that_comes_while_one_is_under_way_waits_for_it(target: Target) -> None:
    async with kept(target) as connection:
        target.switch.refuses = True
        connection.writer.write(get(GOOD))
        await asyncio.sleep(0.05)
        connection.writer.write(get("/livez") + get(GOOD))
        await asyncio.sleep(0.05)
        target.switch.refuses = False
        number = number_in(await answer_on(connection.reader))
        assert (await answer_on(connection.reader)).body != b""
        assert number_in(await answer_on(connection.reader)) == number + 1


async def test_a_repetition_says_so(target: Target) -> None:
    sent = get(GOOD, "Idempotency-Key: order-7")
    async with kept(target) as connection:
        first, again = await connection.ask(sent), await connection.ask(sent)
    assert number_in(first) == number_in(again)
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"


async def test_who_leaves_meanwhile_gives_the_number_back(target: Target) -> None:
    async with kept(target) as connection:
        number = number_in(await connection.ask(get(GOOD)))
        target.switch.loses_replies = True
        connection.writer.write(get(GOOD))
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.05)
    target.switch.loses_replies = False
    async with kept(target) as connection, asyncio.timeout(5):
        sent = get(f"/api/v1/sequence/audit/{number + 1}")
        while b"client-disconnected" not in (await connection.ask(sent)).body:
            await asyncio.sleep(0.02)
        assert number_in(await connection.ask(get(GOOD))) == number + 1


async def test_who_leaves_before_its_commit_is_sent_gets_no_number(target: Target) -> None:
    async with kept(target) as connection:
        number = number_in(await connection.ask(get(GOOD)))
        target.switch.refuses = True
        connection.writer.write(get(GOOD))
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.05)
    target.switch.refuses = False
    async with kept(target) as connection:
        assert number_in(await connection.ask(get(GOOD))) == number + 1


async def test_a_connection_serves_as_many_requests_as_its_caller_likes(target: Target) -> None:
    async with kept(target) as connection:
        numbers = [number_in(await connection.ask(get(GOOD))) for _ in range(3 * QUEUE_MAX)]
        connection.writer.write(2 * get(GOOD))
        numbers += [number_in(await answer_on(connection.reader)) for _ in range(2)]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


async def test_a_connection_that_idles_is_ended_but_none_that_waits(target: Target) -> None:
    async with kept(target) as connection:
        number = number_in(await connection.ask(get(GOOD)))
        target.switch.refuses = True
        connection.writer.write(get(GOOD))
        await asyncio.sleep(1.5 * IDLE_S)
        target.switch.refuses = False
        assert number_in(await answer_on(connection.reader)) == number + 1
        async with asyncio.timeout(4 * IDLE_S):
            assert await connection.reader.read() == b""


async def test_an_error_in_the_program_is_told_and_the_connection_goes_on(
    target: Target, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    async with kept(target) as connection:
        monkeypatch.setattr("coordinator.api.sequence.SequenceApi._next", broken)
        answer = await connection.ask(get(GOOD))
        assert (answer.status, answer.problem["code"]) == (500, "NB099")
        (logged,) = [record for record in caplog.records if record.exc_info]
        assert answer.problem["request_id"] in logged.getMessage()
        monkeypatch.undo()
        number = number_in(await connection.ask(get(GOOD)))
        monkeypatch.setattr("coordinator.api.orders.Placed.told", broken)
        assert (await connection.ask(get(GOOD))).status == 500
        monkeypatch.undo()
        assert number_in(await connection.ask(get(GOOD))) == number + 2


async def test_a_node_that_stops_answers_who_is_under_way() -> None:
    async with serving() as target, kept(target) as connection:
        assert number_in(await connection.ask(get(GOOD))) == 1
        target.switch.refuses = True
        connection.writer.write(get(GOOD))
        await asyncio.sleep(0.05)
        stopping = asyncio.create_task(target.server.close())
        await asyncio.sleep(1.5 * STOPS_IN_S)  # aiohttp waits twice as long for a handler
        target.switch.refuses = False
        assert number_in(await answer_on(connection.reader)) == 2
        assert await connection.reader.read() == b""
        await stopping


async def test_what_a_call_cannot_do_at_once_goes_the_long_way_with_its_body(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with kept(target) as connection:
        before = target.by_aiohttp
        monkeypatch.setattr(Express, "place", lambda *_: None)
        body = b"{%s}" % ISSUE
        assert number_in(await connection.ask(post(NEXT, body))) > 0
        assert number_in(await connection.ask(get(GOOD))) > 0
        assert target.by_aiohttp == before + 2


async def test_reservations_go_the_short_way_while_their_series_is_at_hand(target: Target) -> None:
    path = "/api/v1/document-numbering"
    wanted = b'{"document_type":"COR"}'
    async with kept(target) as connection:
        assert (await connection.ask(post(f"{path}/reserve", wanted))).status == 201
        before = target.by_aiohttp
        for end in ("confirm", "cancel"):
            reserved = await connection.ask(post(f"{path}/reserve", wanted))
            assert reserved.status == 201, reserved
            token = json.dumps({"token": json.loads(reserved.body)["data"]["token"]}).encode()
            first, again = [await connection.ask(post(f"{path}/{end}", token)) for _ in range(2)]
            assert first.status == again.status == 200
            assert again.body == first.body
            assert ("idempotent-replayed" in again.headers) is True
        assert target.by_aiohttp == before
