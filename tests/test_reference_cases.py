"""The test cases of the older system's guide (section 6), each by its name, over HTTP.

Four nodes as processes of their own on three etcd members, as the start command brings them up. The
guide's cases look into its database and its cache; here everything is asked of the nodes, and of a
node other than the one that has done it. Each case has a year of its own, hence a counter.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession, ClientTimeout, TCPConnector
from conftest import Cluster

from coordinator.registry import RECENT_S

DOCUMENTS = "/api/v1/document-numbering"
TEMPLATES = "/api/v1/admin/document-numbering/templates"
REASONS: dict[str, dict[str, str]] = {"confirm": {}, "cancel": {"reason": "a test"}}


class Nodes:
    """The four nodes, asked in turns."""

    def __init__(self, urls: list[str], session: ClientSession) -> None:
        self._urls = urls
        self._session = session
        self._asked = 0

    async def post(self, path: str, body: Any, status: int, at: int | None = None) -> Any:
        found, answer = await self.ask(path, body, at)
        assert found == status, answer
        return answer

    async def ask(self, path: str, body: Any, at: int | None = None) -> tuple[int, Any]:
        """Ask the node at this position, or the next one; return status and answer."""
        if at is None:
            self._asked += 1
            at = self._asked
        url = self._urls[at % len(self._urls)] + path
        async with self._session.post(url, json=body) as answer:
            return answer.status, await answer.json()

    async def reserve(self, year: int, at: int | None = None, **more: Any) -> Any:
        body = {"document_type": "COR", "issue_date": f"{year}-06-30"} | more
        return (await self.post(f"{DOCUMENTS}/reserve", body, 201, at))["data"]

    async def settle(self, how: str, token: str, status: int = 200) -> Any:
        return await self.post(f"{DOCUMENTS}/{how}", {"token": token, **REASONS[how]}, status)

    async def next_numbers(self, year: int) -> list[int]:
        """Return what every node says that the next numbers are; they say the same."""
        body = {"document_type": "COR", "issue_date": f"{year}-01-01"}
        path = f"{DOCUMENTS}/preview"
        said = [await self.post(path, body, 200, at) for at in range(len(self._urls))]
        each = [answer["data"]["sequence"] for answer in said]
        assert each.count(each[0]) == len(each), each
        numbers: list[int] = each[0]
        return numbers


@pytest.fixture
async def nodes(cluster4: Cluster) -> AsyncIterator[Nodes]:
    """Without a bound on connections: a thousand at once are a thousand at once."""
    timeout = ClientTimeout(total=60)
    async with ClientSession(timeout=timeout, connector=TCPConnector(limit=0)) as session:
        yield Nodes(cluster4.urls, session)


def sequence_in(reserved: Any) -> int:
    """The guide's extractSeq."""
    return int(reserved["document_number"].rpartition("-")[2])


# 6.1 Unit


async def test_should_generate_sequential_numbers(nodes: Nodes) -> None:
    first, second = await nodes.reserve(2041), await nodes.reserve(2041)
    assert (sequence_in(first), sequence_in(second)) == (1, 2)
    for reserved in (first, second):
        await nodes.settle("confirm", reserved["token"])
    assert await nodes.next_numbers(2041) == [3, 4, 5]


async def test_should_skip_cancelled_numbers(nodes: Nodes) -> None:
    """The guide marks 2 as cancelled, and expects 1 and 3; so it is when 2 was cancelled first."""
    first, second = await nodes.reserve(2042), await nodes.reserve(2042)
    await nodes.settle("cancel", second["token"])
    third = await nodes.reserve(2042)
    assert [sequence_in(first), sequence_in(third)] == [1, 3]
    await nodes.settle("cancel", third["token"])
    assert await nodes.next_numbers(2042) == [4, 5, 6]


async def test_cancelled_numbers_are_skipped_however_many_were_open(nodes: Nodes) -> None:
    reserved = [await nodes.reserve(2043) for _ in range(6)]
    for at in (1, 2, 4):
        await nodes.settle("cancel", reserved[at]["token"])
    later = [await nodes.reserve(2043) for _ in range(3)]
    assert [sequence_in(each) for each in later] == [7, 8, 9]


async def test_should_throw_on_sequence_exhausted(nodes: Nodes) -> None:
    """The last number still goes out; a cancelled one gives no room; other years have their own."""
    series = {"document_type": "XHS", "template": "{PREFIX}-{YYYY}-{SEQ:6}", "scopes": "YEARLY"}
    edge = {"start": 999_998, "max_value": 999_999, "reason": "a test"}
    await nodes.post(TEMPLATES, series | edge, 201)
    await asyncio.sleep(RECENT_S)  # so long a node may go by the definitions it has read before
    body = {"document_type": "XHS", "issue_date": "2044-01-01"}
    first, last = [await nodes.reserve(2044, document_type="XHS") for _ in range(2)]
    assert (sequence_in(first), sequence_in(last)) == (999_998, 999_999)
    await nodes.settle("cancel", last["token"])
    for at in range(4):
        problem = await nodes.post(f"{DOCUMENTS}/reserve", body, 409, at)
        assert (problem["code"], problem["success"]) == ("NB002", False)
    other = await nodes.reserve(2045, document_type="XHS")
    assert sequence_in(other) == 999_998


# 6.2 Integration


async def test_should_complete_two_phase_commit_successfully(nodes: Nodes) -> None:
    reserved = await nodes.reserve(2046)
    assert reserved["token"]
    assert re.fullmatch(r"COR-\d{4}-\d{5}", reserved["document_number"])
    confirmed = await nodes.settle("confirm", reserved["token"])
    assert confirmed["data"]["document_number"] == reserved["document_number"]
    # The guide looks whether the reservation is gone: here nobody can end it otherwise any more.
    refused = await nodes.settle("cancel", reserved["token"], 409)
    assert "was confirmed at" in refused["detail"]
    assert await nodes.settle("confirm", reserved["token"]) == confirmed


async def test_should_handle_cancel_gracefully(nodes: Nodes) -> None:
    reserved = await nodes.reserve(2047)
    told = await nodes.settle("cancel", reserved["token"])
    assert told["success"] is True
    assert await nodes.settle("cancel", reserved["token"]) == told
    refused = await nodes.settle("confirm", reserved["token"], 409)
    assert (refused["code"], refused["success"]) == ("NB004", False)


async def test_confirm_and_cancel_at_once_have_one_outcome(nodes: Nodes) -> None:
    """The guide has no such case, and its cache would let both happen."""
    for _ in range(10):
        token = (await nodes.reserve(2048))["token"]

        async def ask(how: str, token: str = token) -> Any:
            return await nodes.ask(f"{DOCUMENTS}/{how}", {"token": token, **REASONS[how]})

        answers = await asyncio.gather(*(ask(how) for how in ("confirm", "cancel") * 2))
        statuses = [status for status, _ in answers]
        assert statuses in ([200, 409, 200, 409], [409, 200, 409, 200]), answers


# 6.3 Load


async def test_should_handle_1000_concurrent_requests_without_duplicates(nodes: Nodes) -> None:
    reserved = await asyncio.gather(*(nodes.reserve(2049) for _ in range(1_000)))
    assert len({each["document_number"] for each in reserved}) == 1_000
    assert len({each["token"] for each in reserved}) == 1_000
    assert sorted(map(sequence_in, reserved)) == list(range(1, 1_001))
    # And the second phase: half of them confirmed, half cancelled, at any node, all at once.
    halves = ("confirm" if at % 2 else "cancel" for at in range(1_000))
    done = zip(halves, reserved, strict=True)
    answers = await asyncio.gather(*(nodes.settle(how, each["token"]) for how, each in done))
    assert all(answer["success"] for answer in answers)
    assert await nodes.next_numbers(2049) == [1_001, 1_002, 1_003]
