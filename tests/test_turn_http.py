"""Batches of other nodes over HTTP: who may hand one in, and what is no batch; with real nodes."""

import asyncio
import urllib.request
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from http_calls import PLACE, Client, Start, get, issue
from support import ask, running_node

from coordinator.api import turn as api
from coordinator.core import forwarding, ledger
from coordinator.core.forwarding import Forward
from coordinator.core.keys import Keys
from coordinator.core.ledger import NO_HASH
from coordinator.core.records import Origin, Part
from coordinator.core.requests import Ask, Call, Instant, Issue
from coordinator.peers import PATH

ORIGIN = Origin("site-1", "partition-a", "on-cycle")
RIGHT = "0" * 32
SERIALS = count(1)


def batch(seen: int = 0, tip: str = NO_HASH, quantity: int = 1) -> bytes:
    asks = (Ask(Issue(Call(ORIGIN, "r", 0), quantity)),)
    part = Part("node-9", "run-9", next(SERIALS))
    return forwarding.encode(Forward(part, seen, tip, asks), Instant(0, 0))


async def hand_in(
    client: Client, content: bytes, counter: str = "invoice", token: str = RIGHT
) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with client.post(f"{PATH}?{counter}", data=content, headers=headers) as answer:
        body = await answer.read()
        if answer.status == web.HTTPOk.status_code:
            return answer.status, forwarding.decode_report(body, Keys().counter("invoice"))
        return answer.status, (await answer.json())["code"]


@pytest.fixture
async def node(start_node: Start, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setattr("coordinator.app.secrets.token_hex", lambda _: RIGHT)
    client = await start_node()
    await issue(client)
    return client


async def test_only_who_reads_the_store_may_hand_in(node: Client) -> None:
    for token in ("", "wrong", RIGHT[:-1]):
        assert await hand_in(node, batch(), token=token) == (403, "NB026")
    assert (await get(node, "stats"))["currentCounter"] == 1


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", batch()[:-5]])
async def test_what_is_no_batch_is_refused(node: Client, content: bytes) -> None:
    assert await hand_in(node, content) == (400, "NB009")
    assert (await get(node, "stats"))["currentCounter"] == 1


async def test_a_counter_that_does_not_exist_and_a_batch_that_is_too_large(
    node: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await hand_in(node, batch(), counter="other") == (404, "NB001")
    assert await hand_in(node, batch(), counter="invoice%2Fx") == (404, "NB001")
    monkeypatch.setattr(api, "BYTES_MAX", 100_000)
    assert await hand_in(node, b"[" * 3_000_000) == (413, "NB018")
    assert (await get(node, "stats"))["currentCounter"] == 1


async def test_a_batch_is_taken_once_and_only_on_the_history_that_its_sender_has_seen(
    node: Client,
) -> None:
    async with node.get("/api/v1/sequence/audit") as answer:
        (first,) = await answer.json()
    good = batch(1, first["entryHash"], 3)
    status, done = await hand_in(node, good)
    assert status == 200
    assert forwarding_entry(done).records[0].numbers() == [2, 3, 4]
    assert await hand_in(node, good) == (504, "NB014")  # whatever became of it, the ledger tells
    assert await hand_in(node, batch(1, first["entryHash"])) == (409, "NB027")  # it has gone on
    assert await hand_in(node, batch(2, "ab" * 32)) == (409, "NB027")  # another history
    assert await hand_in(node, batch(7, "ab" * 32)) == (409, "NB027")  # not there yet
    assert (await get(node, "stats"))["currentCounter"] == 4
    assert (await get(node, "validate"))["valid"]


def forwarding_entry(report: forwarding.Report) -> Any:
    return ledger.decode(report.found[1][-1].value)


async def test_nodes_that_share_a_counter_lose_few_compares(etcd: str, tmp_path: Path) -> None:
    """Real nodes, real connections: every number once, and hardly a compare lost."""
    with ExitStack() as stack:
        urls = []
        for name in ("node-1", "node-2", "node-3"):
            (tmp_path / name).mkdir()
            node = running_node(tmp_path / name, etcd, "--root", "/shared/", "--node-id", name)
            urls.append(stack.enter_context(node))

        def take(url: str) -> list[int]:
            calls = [ask(url, "next", PLACE) for _ in range(60)]
            assert {status for status, _ in calls} == {200}
            return [number for _, answer in calls for number in answer["sequenceNumbers"]]

        takers = (asyncio.to_thread(take, url) for url in urls * 4)
        numbers = [number for some in await asyncio.gather(*takers) for number in some]
        assert sorted(numbers) == list(range(1, 721))
        lost = handed = 0.0
        for url in urls:
            text = metrics_of(url)
            lost += metric(text, "numbering_lock_failures_total")
            handed += metric(text, "numbering_batches_handed_over_total")
        assert handed > lost
        _, cluster = ask(urls[0], "../cluster")
        assert [turn["counter"] for turn in cluster["turns"]] == ["invoice"]


def metrics_of(url: str) -> str:
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:
        return str(answer.read().decode())


def metric(text: str, name: str) -> float:
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))


async def test_nodes_that_share_a_count_of_documents_lose_few_compares(
    etcd: str, tmp_path: Path
) -> None:
    """Reservations are handed over like single numbers, and so is what ends them."""
    with ExitStack() as stack:
        urls = []
        for name in ("node-1", "node-2", "node-3"):
            (tmp_path / name).mkdir()
            node = running_node(tmp_path / name, etcd, "--root", "/papers/", "--node-id", name)
            urls.append(stack.enter_context(node))

        def reserve_and_confirm(url: str) -> list[str]:
            taken = []
            for _ in range(30):
                wanted = {"document_type": "COR", "issue_date": "2026-03-01"}
                status, reserved = ask(url, "../document-numbering/reserve", wanted)
                assert status == 201, reserved
                token = {"token": reserved["data"]["token"]}
                status, confirmed = ask(url, "../document-numbering/confirm", token)
                assert status == 200, confirmed
                taken.append(confirmed["data"]["document_number"])
            return taken

        takers = (asyncio.to_thread(reserve_and_confirm, url) for url in urls * 4)
        taken = [text for some in await asyncio.gather(*takers) for text in some]
        assert sorted(taken) == [f"COR-2026-{number:05}" for number in range(1, 361)]
        lost = handed = 0.0
        for url in urls:
            text = metrics_of(url)
            lost += metric(text, "numbering_lock_failures_total")
            handed += metric(text, "numbering_batches_handed_over_total")
        assert handed > lost
