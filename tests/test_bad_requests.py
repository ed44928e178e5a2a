"""Bad requests of every kind: one problem, one line of the log, and nothing changed."""

import asyncio
import gzip
import json
import logging
import re
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from aiohttp import web
from bad_requests import BAD_REQUESTS, GOOD, ISSUE, NEXT, RELEASE, TAKE_BACK, Bad, get, post, raw
from conftest import NodeServer
from support import free_port
from wire import Answer, answer_on, ask

from coordinator.api import server
from coordinator.api.connections import PRIVATE, Connection
from coordinator.api.sparing import SparingLog
from coordinator.app import NodeApp
from coordinator.config import Settings
from coordinator.store.memory import MemoryStore

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTLES_S = 0.01
"""For a second line of the log, or a late write, to show."""


class Target(NamedTuple):
    """A node that has issued one number, and the store that nothing may change in."""

    port: int
    store: MemoryStore

    @property
    def revision(self) -> int:
        """Return what moves with every write of any kind."""
        return self.store._revision

    async def stats(self) -> dict[str, Any]:
        """Return the statistics but for what moves with the clock."""
        stats = json.loads((await ask(self.port, get("/api/v1/sequence/stats"))).body)
        clocks = {"statisticsTime", "uptime", "requestsPerSecond"}
        return {name: value for name, value in stats.items() if name not in clocks}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target() -> AsyncIterator[Target]:
    """One node for the whole table, which tells of every refusal at once."""
    store, port = MemoryStore(), free_port()
    node = NodeApp(Settings(profile="demonstration", port=port), store)
    node.refusals._lines = SparingLog(logging.getLogger("coordinator.api.refusals"), every_s=0)
    await node.membership.join()
    server = NodeServer(node, port)
    await server.start_server()
    assert (await ask(port, get(GOOD))).status == 200
    yield Target(port, store)
    await server.close()
    await node.stop()


async def refusal(target: Target, sent: bytes, caplog: pytest.LogCaptureFixture) -> Answer:
    """Send a bad request; return its answer, after what holds for every one of them."""
    caplog.set_level(logging.INFO)
    stats, revision = await target.stats(), target.revision
    caplog.clear()
    answer = await ask(target.port, sent)
    await asyncio.sleep(SETTLES_S)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1, lines
    assert not caplog.records[0].exc_info
    assert "\n" not in lines[0]
    assert len(lines[0]) < 800
    assert len(answer.body) < 10_000, "an answer that is larger than its request helps to flood"
    assert await target.stats() == stats
    assert target.revision == revision
    return answer


@pytest.mark.parametrize("bad", BAD_REQUESTS, ids=lambda bad: bad.name)
async def test_a_bad_request_gets_its_problem_and_changes_nothing(
    target: Target, bad: Bad, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await refusal(target, bad.sent, caplog)
    assert answer.status == bad.status, answer
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] in {"no-store", "no-cache"}
    assert ("allow" in answer.headers) == (bad.status == 405)
    if bad.sent.startswith(b"HEAD"):
        return
    problem = answer.problem
    assert (problem["code"], problem["status"]) == (bad.code, bad.status)
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["success"] is False
    named = [error["field"] for error in problem["errors"]]
    assert any(name.startswith(bad.field) for name in named) or not bad.field, named
    assert problem["detail"]
    assert problem["detail"] == problem["error"]
    assert problem["detail"].isprintable()
    assert "sys." not in problem["detail"], "advice for whoever wrote the program"


async def test_the_names_of_bad_requests_differ() -> None:
    names = [bad.name for bad in BAD_REQUESTS]
    assert len(set(names)) == len(names) > 200


async def test_what_is_only_unusual_is_served(target: Target) -> None:
    body = b"{%s}" % ISSUE
    in_chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    media, first = "Content-Type: application/json", f"POST {NEXT} HTTP/1.1"
    for sent in (
        get(GOOD).replace(b"HTTP/1.1", b"HTTP/1.0"),
        f"GET {GOOD} HTTP/1.0\r\n\r\n".encode(),
        get(f"http://elsewhere{GOOD}"),  # RFC 9112, 3.2.2: every server must take this form
        get(GOOD.replace("site-1", "%73ite-1")),
        get(GOOD.replace("next", "%6Eext")),
        get(GOOD, "X-User: Zoë"),
        raw(first, "Content-Type: application/json", "Transfer-Encoding: Chunked", body=in_chunks),
        post(NEXT, body, media="application/json; charset=UTF-8"),
        post(NEXT, gzip.compress(body), "Content-Encoding: gzip"),
        raw(first, f"Content-Length: {len(body)}", body=body),
        b"\r\n" + get(GOOD),
        get(GOOD, media),
    ):
        answer = await ask(target.port, sent)
        assert answer.status == 200, (sent, answer)
    sent = post(NEXT, body, "Expect: 100-continue")
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
    writer.write(sent)
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert (await answer_on(reader)).status == 200
    writer.close()


@pytest.mark.parametrize(
    "rest", [b"xyz\r\n", b"-1\r\n", b"1\r\n{}\r\n", b"FFFFFFFFFFFFFFFFF\r\n"], ids=repr
)
async def test_a_body_that_breaks_half_way_is_refused_at_once(
    target: Target, rest: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    head = raw(
        f"POST {RELEASE} HTTP/1.1", "Content-Type: application/json", "Transfer-Encoding: chunked"
    )
    caplog.set_level(logging.INFO)
    revision = target.revision
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
    writer.write(head + b"2\r\n{ \r\n")
    await asyncio.sleep(SETTLES_S)
    caplog.clear()
    writer.write(rest)
    answer = await answer_on(reader)
    assert (answer.status, answer.problem["code"]) == (400, "NB009")
    assert await reader.read() == b"", "and the connection is closed"
    writer.close()
    assert len(caplog.records) == 1
    assert not caplog.records[0].exc_info
    assert target.revision == revision


async def test_a_caller_that_leaves_in_the_middle_of_its_request_changes_nothing(
    target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    revision = target.revision
    good = post(RELEASE, b'{%s,"sequenceNumber":1}' % TAKE_BACK)
    caplog.clear()
    for at in range(1, len(good), 7):
        _, writer = await asyncio.open_connection("127.0.0.1", target.port)
        writer.write(good[:at])
        await writer.drain()
        writer.transport.abort()
    await asyncio.sleep(20 * SETTLES_S)
    assert target.revision == revision
    assert not [record for record in caplog.records if record.exc_info]


async def test_no_answer_names_the_software_that_reads_the_request(target: Target) -> None:
    for sent in (get("/nothing"), b"\0\r\n\r\n", get(GOOD, "Expect: foo")):
        answer = await ask(target.port, sent)
        assert not re.search("aiohttp|llhttp|python", answer.body.decode(), re.IGNORECASE)


async def test_what_is_used_of_aiohttp_beyond_its_documentation_is_there(target: Target) -> None:
    for owner, names in (PRIVATE | server.PRIVATE).items():
        for name in names:
            assert hasattr(owner, name), f"{owner.__name__} has no {name} any more"
    overridden = {
        *("connection_made", "connection_lost", "data_received", "pause_writing"),
        *("resume_writing", "handle_error", "finish_response", "log_exception"),
        *("shutdown", "_process_keepalive"),
    }
    assert overridden <= set(vars(Connection))
    assert all(hasattr(web.RequestHandler, name) for name in overridden)
