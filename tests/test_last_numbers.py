"""The last number of each place is told as the ledger has it, or not at all."""

import asyncio
from typing import Any

import pytest
from conftest import NodeServer
from http_calls import ELSEWHERE, Client, Start, issue, post, release

from coordinator.api import last_numbers
from coordinator.api.last_numbers import LastNumbers
from coordinator.overview import Installation

HERE, THERE = "site-1:partition-a:on-cycle", "site-2:partition-b:off-cycle"


class Looker:
    """Looks at the counters of a node as the live view does."""

    def __init__(self, node: Client) -> None:
        assert isinstance(node.server, NodeServer)
        app: Any = node.server.node
        self._lasts = LastNumbers(app._counters)
        self._installation = Installation(app._store, app._keys, app._names)

    async def look(self) -> dict[str, int]:
        return await self._lasts.of(await self._installation.overview())


@pytest.mark.parametrize("strategy", ["GLOBAL_SEQUENTIAL", "SITE_SEQUENTIAL"])
async def test_it_is_the_last_one_of_its_place(start_node: Start, strategy: str) -> None:
    node = await start_node(strategy=strategy)
    looker = Looker(node)
    assert await looker.look() == {}
    for count in (1, 7):
        here = (await issue(node, count=count))["sequenceNumbers"][-1]
        there = (await issue(node, **ELSEWHERE, count=3))["sequenceNumbers"][-1]
        assert await looker.look() == {HERE: here, THERE: there}
    await release(node, 1)
    await issue(node)
    assert await looker.look() == {HERE: 1, THERE: there}  # a gap that was issued again


async def test_nothing_is_told_of_what_was_too_long_ago(
    start_node: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(last_numbers, "ENTRIES_MAX", 8)
    monkeypatch.setattr(last_numbers, "ENTRIES_READ_FIRST", 1)
    node = await start_node()
    await issue(node, **ELSEWHERE)
    watching, late = Looker(node), Looker(node)
    assert await watching.look() == {THERE: 1}
    for _ in range(12):
        number = (await issue(node))["sequenceNumbers"][0]
    assert await late.look() == {HERE: number}
    assert await watching.look() == {HERE: number, THERE: 1}  # its count has not changed
    await issue(node, **ELSEWHERE)
    assert await late.look() == {HERE: number, THERE: number + 1}


async def test_of_many_counters_those_that_changed_last_are_looked_into(
    start_node: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(last_numbers, "COUNTERS_MAX", 1)
    node = await start_node(strategy="SITE_SEQUENTIAL")
    watching, late = Looker(node), Looker(node)
    await issue(node, **ELSEWHERE, count=2)
    assert await watching.look() == {THERE: 2}
    await asyncio.sleep(0.01)  # or nobody could tell which one was later
    await issue(node)
    assert await watching.look() == {HERE: 1, THERE: 2}
    assert await late.look() == {HERE: 1}


async def test_a_reset_forgets_them(start_node: Start) -> None:
    node = await start_node()
    looker = Looker(node)
    await issue(node, count=3)
    await issue(node)
    await release(node, 1)
    await issue(node)
    assert await looker.look() == {HERE: 1}
    await post(node, "reset", {})
    assert await looker.look() == {}
    await issue(node, count=5)
    assert await looker.look() == {HERE: 5}
