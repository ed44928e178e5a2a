"""Whole nodes on a real etcd, over HTTP, behind ways that lose: a caller hears of success, or that
nothing was allocated, or that it is not known; and whichever it is, that is true ever after.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import pytest
from etcd_members import Members, held, running_members
from http_calls import ELSEWHERE, PLACE, SEQUENCE, Client, Start, get, issue, post
from support import until
from tcp_proxy import Fault, TcpProxy

from coordinator.core import ledger


class Site(NamedTuple):
    """A node, the way it has to etcd, and what etcd holds past that way."""

    node: Client
    way: TcpProxy
    ledger: Callable[[], list[ledger.Entry]]


Open = Callable[..., Awaitable[Site]]


async def proxy_to(url: str) -> TcpProxy:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return await TcpProxy(parts.hostname, parts.port).start()


@pytest.fixture
async def ways() -> AsyncIterator[list[TcpProxy]]:
    """The ways that a test opens; they are closed after its nodes have left."""
    opened: list[TcpProxy] = []
    yield opened
    for way in opened:
        await way.stop()


@pytest.fixture
async def open_site(ways: list[TcpProxy], start_node: Start, etcd: str) -> AsyncIterator[Open]:
    """Start nodes that each have a way of their own to the same etcd.

    Each has issued a number; the one that was opened last knows the newest state.
    """
    root = f"/outcomes-{uuid.uuid4().hex[:8]}/"

    def entries() -> list[ledger.Entry]:
        prefix = f"{root}c/invoice/entry/".encode()
        return [ledger.decode(each.value) for _, each in sorted(held(etcd, prefix).items())]

    async def open_one(deadline_s: float = 10.0) -> Site:
        way = await proxy_to(etcd)
        ways.append(way)
        node = await start_node(
            root=root,
            node_id=f"node-{len(ways)}",
            etcd_endpoints=way.url,
            etcd_attempt_s=0.3,
            deadline_s=deadline_s,
        )
        await issue(node)
        return Site(node, way, entries)

    yield open_one
    for way in ways:
        await way.set(Fault.NONE)  # so that the nodes can leave in peace


def causes(entries: list[ledger.Entry], name: str) -> list[ledger.Record]:
    """Return what the ledger has of a request, by its id or its key."""
    records = [record for entry in entries for record in entry.records]
    return [r for r in records if name in {r.cause.correlation, r.cause.key}]


def asked(site: Site, **headers: str) -> "asyncio.Task[tuple[int, Any, Any]]":
    """Ask for a number by POST; nothing between us and the node repeats that."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}

    async def ask() -> tuple[int, Any, Any]:
        async with site.node.post(f"{SEQUENCE}/next", json=PLACE, headers=names) as answer:
            return answer.status, await answer.json(), answer.headers

    return asyncio.create_task(ask())


async def again(site: Site, key: str) -> tuple[list[int], bool]:
    """Repeat with the same key, until it is no longer unknown or refused."""
    for _ in range(20):
        status, body, headers = await asked(site, Idempotency_Key=key)
        if status == 200:
            return body["sequenceNumbers"], headers.get("Idempotent-Replayed") == "true"
        assert status in {503, 504}, body
        await asyncio.sleep(0.1)
    raise AssertionError("the node does not come back")


async def proven(site: Site) -> None:
    assert (await get(site.node, "validate"))["valid"]


@pytest.mark.parametrize("fault", [Fault.DROP_REPLY, Fault.LOSE_REPLIES, Fault.FORGE_REPLY])
async def test_a_reply_lost_for_a_while_is_no_matter_to_the_caller(
    open_site: Open, fault: Fault
) -> None:
    site = await open_site()
    await site.way.set(fault)
    asking = asked(site, X_Request_Id="once")
    await until(lambda: causes(site.ledger(), "once"), "it is committed")
    assert not asking.done(), "nothing leaves before the commit is known"
    await site.way.set(Fault.NONE)
    status, body, _ = await asking
    assert (status, body["sequenceNumbers"]) == (200, [2])
    assert len(causes(site.ledger(), "once")) == 1
    assert (await issue(site.node))["sequenceNumbers"] == [3]
    await proven(site)


async def test_a_way_cut_for_longer_than_the_deadline_allocates_nothing_ever(
    open_site: Open,
) -> None:
    site = await open_site(deadline_s=0.5)
    await site.way.set(Fault.REFUSE)
    status, body, headers = await asked(site, X_Request_Id="refused", Idempotency_Key="later")
    assert (status, body["success"], body["retryable"]) == (503, False, True)
    assert "othing was allocated" in body["detail"]
    assert headers["Retry-After"]
    await site.way.set(Fault.NONE)
    await until_well(site)
    assert causes(site.ledger(), "refused") == []
    number, replayed = await again(site, "later")
    assert not replayed
    assert len(causes(site.ledger(), "later")) == 1
    assert number == [site.ledger()[-1].next_before]
    await proven(site)


async def until_well(site: Site) -> None:
    """Wait until the node serves again, with requests that are not to be counted."""
    for _ in range(50):
        status, _, _ = await asked(site)
        if status == 200:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the node does not come back")


@pytest.mark.parametrize("fault", [Fault.LOSE_REPLIES, Fault.LOSE_REQUESTS, Fault.DROP_REPLY])
async def test_what_stays_unknown_is_told_so_and_the_key_gets_one_answer_from_every_node(
    open_site: Open, fault: Fault
) -> None:
    other, site = await open_site(), await open_site(deadline_s=0.7)
    await site.way.set(fault)
    status, body, headers = await asked(site, Idempotency_Key="order-1")
    assert (status, body["code"], body["retryable"]) == (504, "NB014", True)
    assert "same idempotency key" in body["detail"]
    assert headers["Retry-After"]
    delivered = len(causes(site.ledger(), "order-1"))
    assert delivered == (fault is not Fault.LOSE_REQUESTS)
    number, replayed = await again(other, "order-1")
    assert replayed == bool(delivered)
    await site.way.set(Fault.NONE)
    for each in (site, other, site):
        assert await again(each, "order-1") == (number, True)
    await until_well(site)
    assert len(causes(site.ledger(), "order-1")) == 1
    await proven(other)


async def test_a_repetition_that_is_not_served_does_not_speak_for_the_request_before(
    open_site: Open,
) -> None:
    other, site = await open_site(), await open_site(deadline_s=0.5)
    await site.way.set(Fault.LOSE_REPLIES)
    assert (await asked(site, Idempotency_Key="order-2"))[0] == 504
    status, body, _ = await asked(site, Idempotency_Key="order-2")
    assert status == 503
    assert "an earlier one with the same key may have been served" in body["detail"]
    assert "earlier" not in (await asked(site))[1]["detail"]
    await site.way.set(Fault.NONE)
    number, replayed = await again(other, "order-2")
    assert replayed
    assert await again(site, "order-2") == (number, True)


@pytest.mark.parametrize(
    ("fault", "overtaken", "times"),
    [
        (Fault.LOSE_REPLIES, True, 1),  # it had been committed, whatever others do then
        (Fault.BLACK_HOLE, False, 1),  # sending it again commits it
        (Fault.BLACK_HOLE, True, 0),  # the guard has moved: now it never will be
    ],
)
async def test_the_audit_finds_an_unknown_request_without_a_key_once_or_never(
    open_site: Open,
    fault: Fault,
    overtaken: bool,  # noqa: FBT001
    times: int,
) -> None:
    other, site = await open_site(), await open_site(deadline_s=0.7)
    await site.way.set(fault)
    status, body, _ = await asked(site, X_Request_Id="no-key")
    assert status == 504
    assert "requestId=no-key" in body["detail"]
    if overtaken:
        await get(other.node, "next", **ELSEWHERE)
    await site.way.set(Fault.NONE)
    await until_well(site)
    for each in (site, other):
        found = await get(each.node, "audit", requestId="no-key")
        assert len(found) == times
    await proven(site)


async def test_one_key_at_two_nodes_at_once_gets_one_number_while_replies_are_lost(
    open_site: Open,
) -> None:
    sites = [await open_site(), await open_site()]
    for site in sites:
        await site.way.set(Fault.DROP_REPLY)
    asking = [asked(site, Idempotency_Key="twice") for site in sites]
    await until(lambda: causes(sites[0].ledger(), "twice"), "one of them is committed")
    await asyncio.sleep(0.3)
    for site in sites:
        await site.way.set(Fault.NONE)
    answers = await asyncio.gather(*asking)
    assert [status for status, _, _ in answers] == [200, 200]
    assert answers[0][1] == answers[1][1]
    assert sorted("Idempotent-Replayed" in headers for _, _, headers in answers) == [False, True]
    assert len(causes(sites[0].ledger(), "twice")) == 1
    await proven(sites[0])


async def test_an_answer_that_never_reached_its_caller_is_repeated_by_another_node(
    open_site: Open,
) -> None:
    other, site = await open_site(), await open_site()
    front = await proxy_to(str(site.node.make_url("/")))
    await front.set(Fault.DROP_REPLY)
    async with aiohttp.ClientSession() as caller:
        with pytest.raises(aiohttp.ClientConnectionError):
            await caller.post(
                f"{front.url}{SEQUENCE}/next", json=PLACE, headers={"Idempotency-Key": "lost"}
            )
    await front.stop()
    (record,) = causes(site.ledger(), "lost")
    assert isinstance(record, ledger.Issued)
    for each in (other, site):
        assert await again(each, "lost") == (record.numbers(), True)
    first, _ = await post(other.node, "next", PLACE, Idempotency_Key="lost")
    assert first == (await post(site.node, "next", PLACE, Idempotency_Key="lost"))[0]
    assert len(causes(site.ledger(), "lost")) == 1


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with running_members(tmp_path_factory.mktemp("members")) as members:
        yield members


async def test_what_is_delivered_after_the_node_has_resent_it_elsewhere_counts_once(
    ways: list[TcpProxy], start_node: Start, three: Members
) -> None:
    """Three members, a way to each; all become slow, and then one of them quick again."""
    delay_s = 0.8
    ways += [await proxy_to(member.url) for member in three]
    root = f"/late-{uuid.uuid4().hex[:8]}/"
    endpoints = ",".join(way.url for way in ways)
    node = await start_node(root=root, etcd_endpoints=endpoints, etcd_attempt_s=0.2)
    await issue(node)
    for way in ways:
        way.delay_s = delay_s
    asking = [issue(node, requestId=f"r{number}") for number in range(20)]
    healing = asyncio.get_running_loop().call_later(0.5, lambda: setattr(ways[2], "delay_s", 0.0))
    answers = await asyncio.gather(*asking)
    healing.cancel()
    await asyncio.sleep(2 * delay_s)  # until the last late one has come through
    for way in ways:
        way.delay_s = 0.0
    assert sorted(number for a in answers for number in a["sequenceNumbers"]) == [*range(2, 22)]
    found = held(three[0].url, f"{root}c/invoice/entry/".encode())
    entries = [ledger.decode(each.value) for each in found.values()]
    assert all(len(causes(entries, f"r{number}")) == 1 for number in range(20))
    assert (await get(node, "validate"))["valid"]
