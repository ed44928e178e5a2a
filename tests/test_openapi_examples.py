"""Every command of the page of calls does what it says, and what comes of it is as described."""

import asyncio
import json
import re
import shlex
from html import unescape
from itertools import pairwise
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import pytest
from conftest import Cluster
from described import operations, watching, wrong_with
from http_calls import Client, Start


class Asked(NamedTuple):
    """What a curl command asks for."""

    method: str
    address: str
    headers: dict[str, str]
    body: str | None

    @classmethod
    def of(cls, command: str) -> "Asked":
        """Read a command, which may be of several lines."""
        words = shlex.split(command.replace("\\\n", " "))
        assert words[0] == "curl"
        after = dict(pairwise(words))
        url = urlsplit(next(word for word in words if word.startswith("http")))
        headers = [after[word].split(": ", 1) for word in words if word == "-H"]
        body = after.get("-d", after.get("--data-binary"))
        method = after.get("-X", "GET")
        return cls(method, f"{url.path}?{url.query}".rstrip("?"), dict(headers), body)


class Visitor:
    """Somebody who tries the commands of the page, one after the other, at a real node."""

    def __init__(self, node: Client, commands: dict[str, str]) -> None:
        self._node = node
        self._commands = commands
        self.tried: set[str] = set()

    async def runs(self, name: str, status: int = 200, /, **put: str) -> Any:
        """Run a command; ``put`` are values by the examples that they stand in place of."""
        text = self._commands[name]
        for example, value in put.items():
            assert example in text
            text = text.replace(example, value)
        asked = Asked.of(text)
        async with self._node.request(
            asked.method, asked.address, headers=asked.headers, data=asked.body
        ) as answer:
            streams = answer.content_type == "text/event-stream"
            content = await (answer.content.readline() if streams else answer.read())
            assert answer.status == status, (name, content)
            path = asked.address.partition("?")[0]
            assert wrong_with(asked.method, path, status, answer.headers, content) == []
        self.tried.add(name)
        return json.loads(content) if answer.content_type.endswith("json") else content


@pytest.fixture
async def visitor(start_node: Start) -> Visitor:
    node = await start_node()
    async with node.get("/docs") as answer:
        html = await answer.text()
    articles = re.findall(
        r'<article class="call" id="(\w+)".*?<pre[^>]*data-curl>(.*?)</pre>', html, re.DOTALL
    )
    return Visitor(node, {name: unescape(command) for name, command in articles})


async def test_each_command_works_and_is_answered_as_described(visitor: Visitor) -> None:
    await takes_numbers(visitor)
    await looks_at_what_happened(visitor)
    await writes_documents(visitor)
    await decides(visitor)
    await imports(visitor)
    await demonstrates(visitor)
    await operates(visitor)
    assert await visitor.runs("reset")
    assert visitor.tried == {operation["operationId"] for _, _, operation in operations()}


async def takes_numbers(visitor: Visitor) -> None:
    assert (await visitor.runs("next"))["sequenceNumbers"] == [1, 2]
    assert (await visitor.runs("nextByQuery"))["sequenceNumbers"] == [3]
    assert (await visitor.runs("release"))["sequenceNumber"] == 1
    assert (await visitor.runs("gaps"))["gaps"] == [1]
    assert (await visitor.runs("stats"))["totalGenerated"] == 3
    assert (await visitor.runs("health"))["status"] == "UP"
    assert (await visitor.runs("validate"))["valid"] is True


async def looks_at_what_happened(visitor: Visitor) -> None:
    assert (await visitor.runs("gapLives"))["open"][0]["released"]["reason"] == "wrong customer"
    assert (await visitor.runs("next"))["gapFilled"] is True
    assert (await visitor.runs("gapLives"))["refilled"][0]["issued"] is not None
    assert {each["operationType"] for each in await visitor.runs("audit")} == {"GENERATE"}
    assert b"# Complete" in await visitor.runs("auditCsv")
    assert [each["sequenceNumber"] for each in await visitor.runs("auditOfNumber")] == [1, 1, 1]
    assert (await visitor.runs("entry"))["recordedHash"]


async def writes_documents(visitor: Visitor) -> None:
    assert len((await visitor.runs("templates"))["data"]["templates"]) == 5
    assert (await visitor.runs("template"))["data"]["template"]["document_type"] == "RFA"
    number = (await visitor.runs("preview"))["data"]["numbers"][0]
    reserved = (await visitor.runs("reserve", 201))["data"]
    assert reserved["document_number"] == number == "RFA-LCBP3-2026-00001"
    assert (await visitor.runs("reservations"))["data"]["total"] == 1
    assert (await visitor.runs("number"))["data"]["state"] == "RESERVED"
    token = {"the-token-of-the-reservation": reserved["token"]}
    assert (await visitor.runs("confirm", **token))["data"]["document_number"] == number
    again = (await visitor.runs("reserve", 201))["data"]["token"]
    assert await visitor.runs("cancel", **{"the-token-of-the-reservation": again})
    assert (await visitor.runs("number"))["data"]["state"] == "CONFIRMED"
    assert (await visitor.runs("sequences"))["data"]["sequences"][0]["current_value"] == 2


async def decides(visitor: Visitor) -> None:
    assert (await visitor.runs("createTemplate", 201))["data"]["version"] == 1
    assert (await visitor.runs("changeTemplate"))["data"]["reservation_s"] == 900
    assert (await visitor.runs("template", **{"templates/RFA": "templates/MEM"}))["data"]["changes"]
    assert (await visitor.runs("adjust"))["data"]["passed_over"]["last"] == 99
    assert (await visitor.runs("override", 201))["data"]["number"] == 200
    told = await visitor.runs("voidAndReplace")
    assert told["replacement"]["document_number"] == "MEM-2026-00201"
    assert (await visitor.runs("close"))["data"]["report"]["issued"] == 0
    assert (await visitor.runs("acceptRewind", 409))["code"] == "NB024"


async def imports(visitor: Visitor) -> None:
    assert (await visitor.runs("bulkImport"))["success"] is True
    assert (await visitor.runs("bulkImport", **{"?dry_run=true": ""}))["imported"] == 1
    listed = (await visitor.runs("imports"))["data"]
    assert [each["phase"] for each in listed] == ["done", "done"]
    assert await visitor.runs("import", **{"node-1.0a1b2c3d": listed[0]["id"]})
    wrong = await visitor.runs("bulkImport", 422, **{"RFA-OLD1-2019-00001": "nonsense"})
    assert wrong["errors_total"] == 1


async def demonstrates(visitor: Visitor) -> None:
    for name in ("demoBasic", "demoConcurrent", "demoGaps", "demoLoadTest"):
        assert (await visitor.runs(name))["success"] is True
    job = {"node-1.0a1b2c3d": (await visitor.runs("startJob", 202))["id"]}
    assert (await visitor.runs("cancelJob", 202, **job))["id"] == job["node-1.0a1b2c3d"]
    assert (await visitor.runs("jobs"))["jobs"]
    assert await visitor.runs("job", **job)
    assert (await visitor.runs("jobResult", **job))["result"]["name"] == "concurrent"
    assert (await visitor.runs("processes"))["configured"] is False
    assert (await visitor.runs("strike", 409))["code"] == "NB051"


async def operates(visitor: Visitor) -> None:
    assert await visitor.runs("livez") == b"ok\n"
    assert b"etcd: ok" in await visitor.runs("readyz")
    assert b"numbering_sequence_current" in await visitor.runs("metrics")
    assert (await visitor.runs("cluster"))["profile"] == "demonstration"
    assert (await visitor.runs("timeline"))["fields"][0] == "time_ms"
    assert await visitor.runs("events") == b"event: hello\r\n"
    assert (await visitor.runs("openapi"))["openapi"] == "3.1.0"
    assert b"<!doctype html>" in await visitor.runs("docs")


async def test_what_a_launcher_lets_be_broken_is_answered_as_described(cluster4: Cluster) -> None:
    root = f"{cluster4.urls[0]}/api/v1/demo/processes"
    async with aiohttp.ClientSession(trace_configs=[watching()]) as session:

        async def look() -> dict[str, str]:
            async with session.get(root) as answer:
                processes = (await answer.json())["processes"]
            return {each["name"]: each["state"] for each in processes}

        async with session.post(f"{root}/node-4", json={"action": "pause", "seconds": 1}) as answer:
            assert (await answer.json())["name"] == "node-4"
        assert (await look())["node-4"] == "paused"
        async with asyncio.timeout(20):
            while set((await look()).values()) != {"running"}:
                await asyncio.sleep(0.2)
        async with session.post(f"{root}/nobody", json={"action": "kill"}) as answer:
            assert (await answer.json())["code"] == "NB001"
