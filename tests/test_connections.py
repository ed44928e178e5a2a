"""The bounds of connections, one by one: unread answers, sparing logs, open files."""

import asyncio
import json
import logging
import re
import socket
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.web_urldispatcher import UrlMappingMatchInfo
from bad_requests import get
from http_calls import Start, issue
from wire import answer_on, ask

from coordinator import open_files
from coordinator.api import connections, server
from coordinator.api.answers import json_answer
from coordinator.api.express import Express
from coordinator.api.problems import MALFORMED, Problem
from coordinator.api.refusals import Refusals
from coordinator.api.server import Runner, Terms
from coordinator.api.sparing import SparingLog
from coordinator.open_files import OTHERS, Room, room_for

LARGE = b"x" * 8_000_000
"""More than the kernel keeps of an answer that nobody reads."""


async def serve(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Runner:
    """Serve one handler at /, on a free port."""
    app = web.Application()
    app.router.add_get("/", handler)
    return await serve_app(app)


async def serve_app(app: web.Application) -> Runner:
    """Serve an application, on a free port."""
    refusals = Refusals(lambda _: "-", lambda _: None)
    express = Express({}, lambda _: "-", refusals)
    runner = Runner(app, Terms(100, 5.0, 5.0), refusals, express)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner


async def large(_: web.Request) -> web.Response:
    return web.Response(body=LARGE)


def caller(runner: Runner) -> socket.socket:
    """Return a connection whose caller asks and then reads nothing."""
    each = socket.create_connection(runner.addresses[0])
    each.sendall(get("/"))
    return each


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_caller_that_does_not_take_its_answer_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "UNREAD_S", 0.3)
    runner = await serve(large)
    with caller(runner):
        await until(lambda: runner.server.unread_bytes > 0)
        assert runner.server.open == 1
        await until(lambda: runner.server.open == 0)
        assert (runner.server.unread_bytes, runner.server.unread) == (0, {})
    await runner.cleanup()


async def test_a_caller_that_takes_its_answer_slowly_gets_all_of_it() -> None:
    runner = await serve(large)
    reader, writer = await asyncio.open_connection(*runner.addresses[0], limit=4096)
    writer.write(get("/"))
    await until(lambda: runner.server.unread_bytes > 0)
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(len(LARGE)) == LARGE
    await until(lambda: runner.server.unread_bytes == 0)
    assert runner.server.open == 1
    writer.close()
    await runner.cleanup()


async def test_unread_answers_are_bounded_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "UNREAD_BYTES_MAX", 2 * len(LARGE))
    runner = await serve(large)
    callers = []
    for count in range(1, 11):
        callers.append(caller(runner))
        await until(lambda count=count: runner.server.requests_count >= count)
        await asyncio.sleep(0.02)
        assert runner.server.unread_bytes <= server.UNREAD_BYTES_MAX
    assert 1 <= runner.server.open <= 4
    for each in callers:
        each.close()
    await runner.cleanup()


async def test_requests_sent_in_a_row_without_reading_any_answer_are_not_all_taken() -> None:
    served = 0

    async def small(_: web.Request) -> web.Response:
        nonlocal served
        served += 1
        return web.Response(body=LARGE[:10_000])

    runner = await serve(small)
    with socket.create_connection(runner.addresses[0]) as greedy:
        greedy.setblocking(False)
        loop = asyncio.get_running_loop()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop.sock_sendall(greedy, get("/") * 1_000_000), 1.5)
        assert served < 5_000
        stood_at = served
        await asyncio.sleep(0.2)
        assert served == stood_at
    await runner.cleanup()


def as_aiohttp_writes(body: bytes, status: int) -> web.Response:
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return web.Response(body=body, status=status, headers=headers)


async def all_that_comes(port: int, sent: bytes) -> bytes:
    """Send a request; return its answer without the date, and what becomes of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    came, then = await reader.readuntil(b"\r\n\r\n"), b"[open]"
    try:
        async with asyncio.timeout(0.2):
            while part := await reader.read(65_536):
                came += part
            then = b"[end]"
    except TimeoutError:
        pass
    writer.close()
    date = rb"\r\nDate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n"
    undated, dates = re.subn(date, b"\r\n", came)
    assert dates == 1, came
    return undated + then


@pytest.mark.parametrize("status", [200, 503])
@pytest.mark.parametrize("more", [(), ("Connection: close",), ("Connection: keep-alive",)])
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_json_answer_is_byte_for_byte_what_aiohttp_would_write(
    method: str, version: bytes, more: tuple[str, ...], status: int
) -> None:
    answers = [json_answer({"a": "ö"}, status), as_aiohttp_writes('{"a":"ö"}'.encode(), status)]
    written = []
    for each in answers:

        async def handler(_: web.Request, answer: web.StreamResponse = each) -> web.StreamResponse:
            answer.headers["X-Request-Id"] = "7"
            return answer

        runner = await serve(handler)
        sent = get("/", *more, method=method).replace(b"HTTP/1.1", version, 1)
        written.append(await all_that_comes(runner.addresses[0][1], sent))
        await runner.cleanup()
    assert written[0] == written[1]
    assert (b"[open]" in written[0]) == (
        more == ("Connection: keep-alive",) or (version == b"HTTP/1.1" and not more)
    )


async def test_the_short_way_and_the_router_come_to_the_same_handler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        return json_answer({})

    app = web.Application()
    app.router.add_get("/a/b", handler)
    resolve, routed = app.router.resolve, []

    async def noted(request: web.Request) -> UrlMappingMatchInfo:
        routed.append(request.rel_url.raw_path)
        return await resolve(request)

    monkeypatch.setattr(app.router, "resolve", noted)
    runner = await serve_app(app)
    port = runner.addresses[0][1]
    for sent in (get("/a/b"), get("/a/b?c=d"), get("http://x/a/b"), get("/a/b", method="HEAD")):
        assert (await ask(port, sent)).status == 200
    assert routed == []
    assert (await ask(port, get("/a/%62"))).status == 200
    assert (await ask(port, get("/a/b/"))).status == 404
    assert (await ask(port, get("/a/b", "Expect: nothing"))).status == 417
    assert (await ask(port, get("/a/b", method="DELETE"))).status == 405
    assert routed == ["/a/%62", "/a/b/", "/a/b", "/a/b"]
    await runner.cleanup()


async def test_a_json_answer_may_be_the_last_one_of_its_connection() -> None:
    async def last(_: web.Request) -> web.StreamResponse:
        answer = json_answer({})
        answer.force_close()
        return answer

    runner = await serve(last)
    came = await all_that_comes(runner.addresses[0][1], get("/"))
    assert b"\r\nConnection: close\r\n" in came
    assert came.endswith(b"{}[end]")
    await runner.cleanup()


async def test_json_answers_come_in_the_order_of_their_requests_and_wait_for_the_reader() -> None:
    served = 0

    async def numbered(_: web.Request) -> web.StreamResponse:
        nonlocal served
        served += 1
        return json_answer({"number": served, "much": "x" * 100_000})

    runner = await serve(numbered)
    reader, writer = await asyncio.open_connection(*runner.addresses[0], limit=4096)
    asked = 200
    writer.write(get("/") * asked)
    await until(lambda: runner.server.unread_bytes > 0)
    stood_at = served
    await asyncio.sleep(0.1)
    assert served == stood_at < asked
    for number in range(1, asked + 1):
        answer = await answer_on(reader)
        assert json.loads(answer.body)["number"] == number
    writer.close()
    await runner.cleanup()


async def test_a_failure_outside_any_handler_of_ours_is_a_problem_with_its_stack_trace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(_: web.Request) -> web.Response:
        raise ZeroDivisionError

    runner = await serve(broken)
    answer = await ask(runner.addresses[0][1], get("/"))
    assert (answer.status, answer.problem["code"]) == (500, "NB099")
    assert caplog.records[0].exc_info[0] is ZeroDivisionError
    await runner.cleanup()


async def test_a_request_that_nobody_can_name_is_refused_for_its_name() -> None:
    async def never(_: web.Request) -> web.Response:
        raise AssertionError

    runner = await serve(never)

    def unnamed(_: web.Request) -> str:
        raise Problem(MALFORMED, "no name")

    runner.server.refusals._name_request = unnamed
    answer = await ask(runner.addresses[0][1], get("/nothing"))
    assert (answer.status, answer.problem["detail"]) == (400, "no name")
    await runner.cleanup()


async def test_a_node_that_stops_lets_idle_connections_go(start_node: Start) -> None:
    node = await start_node()
    await issue(node)
    with socket.create_connection((node.host, node.port)) as idle:
        await node.close()
        idle.settimeout(5)
        assert idle.recv(1) == b""


async def test_a_line_comes_at_once_and_what_follows_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    sparing = SparingLog(logging.getLogger("test"), every_s=0.1)
    sparing.info("a", "first %d", 1)
    for _ in range(1_000):
        sparing.info("a", "never seen")
    sparing.info("b", "another kind")
    assert caplog.messages == ["first 1", "another kind"]
    await asyncio.sleep(0.15)
    assert caplog.messages[2:] == ["and 1000 more a within 0.1 s"]
    sparing.info("a", "held back, for a count has just been told")
    await asyncio.sleep(0.3)
    assert caplog.messages[3:] == ["and 1 more a within 0.1 s"]
    sparing.info("a", "first again")
    assert caplog.messages[4:] == ["first again"]


@pytest.mark.parametrize(
    ("wanted", "files", "fitting"),
    [
        (20_000, None, Room(20_000, 1_024)),
        (20_000, 1_048_576, Room(20_000, 1_024)),
        (20_000, 20_000, Room(15_776, 1_024)),
        (20_000, 1_024, Room(640, 64)),
        (100, 1_024, Room(100, 64)),
        (20_000, 16, Room(1, 1)),
    ],
)
def test_connections_fit_into_the_open_files(wanted: int, files: int | None, fitting: Room) -> None:
    assert room_for(wanted, files) == fitting
    if files is not None and files > 200:
        used = fitting.connections_max + 4 * fitting.backlog + OTHERS
        assert used <= files


def test_where_files_are_few_it_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(open_files, "raise_limit", lambda: 1_024)
    assert open_files.room(20_000) == Room(640, 64)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "ulimit" in caplog.messages[0]
    caplog.clear()
    assert open_files.room(100) == Room(100, 64)
    assert [record.levelname for record in caplog.records] == ["INFO"]
