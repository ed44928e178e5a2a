"""A caller whose connection goes before its answer: its number comes back, by the ledger."""

import asyncio
from urllib.parse import urlsplit

import orjson
import pytest
from http_calls import PLACE, SEQUENCE, Client, Start, get, issue, post
from serving import CALL, KEYS, Switch, node, take, until
from tcp_proxy import Fault, TcpProxy

from coordinator.core.requests import Done, Issue, Release
from coordinator.history import History
from coordinator.sequencer import Sequencer
from coordinator.store.memory import MemoryStore
from coordinator.unheard import REASON


async def released(store: MemoryStore) -> int:
    head = await History(store, KEYS).head()
    return head.released if head else 0


async def given_back(store: MemoryStore, count: int) -> None:
    for _ in range(300):
        if await released(store) == count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{await released(store)} numbers came back, not {count}")


async def leave_in_doubt(switch: Switch, serving: Sequencer, quantity: int = 1) -> None:
    """Have a caller leave while its committed transaction is still in doubt."""
    switch.loses_replies = True
    reply = serving.submit(Issue(CALL, quantity))
    await until(lambda: "in doubt" in serving.trouble, "the commit is under way")
    reply.cancel()
    switch.loses_replies = False


async def test_who_leaves_while_its_commit_is_under_way_gives_its_numbers_back() -> None:
    switch = Switch(MemoryStore())
    serving = node(switch)
    await leave_in_doubt(switch, serving, quantity=70)
    await given_back(switch.store, 70)
    assert await take(serving, 2) == [1, 2]
    life = (await History(switch.store, KEYS).life(1)).events
    assert [getattr(event.record, "reason", "") for event in life] == ["", REASON, ""]
    await serving.stop(grace_s=1)


async def test_who_leaves_before_its_answer_is_written_gives_its_numbers_back() -> None:
    store = MemoryStore()
    serving = node(store)
    request = Issue(CALL, 3)
    reply = serving.submit(request)
    await reply
    serving.caller_left(request, reply)
    await given_back(store, 3)
    assert await take(serving, 3) == [1, 2, 3]
    await serving.stop(grace_s=1)


async def test_numbers_under_a_key_are_kept_for_the_caller_who_asks_again() -> None:
    switch = Switch(MemoryStore())
    serving = node(switch)
    keyed = Issue(CALL._replace(key="order 7", payload="aa"))
    switch.loses_replies = True
    reply = serving.submit(keyed)
    await until(lambda: "in doubt" in serving.trouble, "the commit is under way")
    reply.cancel()
    switch.loses_replies = False
    again = await serving.submit(keyed)
    assert isinstance(again, Done)
    assert again.replayed
    assert await take(serving) == [2]
    assert await released(switch.store) == 0
    await serving.stop(grace_s=1)


async def test_a_number_that_went_to_another_caller_meanwhile_is_not_taken_from_it() -> None:
    switch = Switch(MemoryStore())
    serving, other = node(switch), node(switch.store, "node-2")
    request = Issue(CALL)
    reply = serving.submit(request)
    await reply
    await other.submit(Release(CALL, 1, "wrong customer"))
    assert await take(other) == [1]  # it belongs to another request now, of the same site
    serving.caller_left(request, reply)
    await take(serving)
    await asyncio.sleep(0.1)
    assert await released(switch.store) == 1
    assert await take(other) == [3]
    for each in (serving, other):
        await each.stop(grace_s=1)


async def test_numbers_are_given_back_although_the_store_is_away_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("coordinator.unheard.PAUSE_S", 0.01)
    switch = Switch(MemoryStore())
    serving = node(switch, deadline_s=0.2)
    request = Issue(CALL)
    reply = serving.submit(request)
    await reply
    switch.refuses = True
    serving.caller_left(request, reply)
    await asyncio.sleep(0.5)  # beyond the deadline of its first release
    switch.refuses = False
    await given_back(switch.store, 1)
    assert await take(serving) == [1]
    await serving.stop(grace_s=1)


async def test_an_orderly_stop_first_gives_back_what_nobody_has_heard() -> None:
    switch = Switch(MemoryStore())
    serving = node(switch)
    switch.loses_replies = True
    reply = serving.submit(Issue(CALL, 100))
    await until(lambda: "in doubt" in serving.trouble, "the commit is under way")
    reply.cancel()
    stopping = asyncio.create_task(serving.stop(grace_s=5))
    await asyncio.sleep(0.05)
    switch.loses_replies = False
    await stopping
    assert await released(switch.store) == 100


async def send_and_leave(client: Client, body: dict[str, object], *headers: str) -> None:
    """Send a request, wait until its commit is in doubt, and go."""
    content = orjson.dumps(body)
    head = [
        f"POST {SEQUENCE}/next HTTP/1.1",
        *("Host: x", "Content-Type: application/json", f"Content-Length: {len(content)}"),
        *headers,
    ]
    _, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + content)
    for _ in range(200):
        async with client.get("/readyz?verbose") as ready:
            if "a commit is in doubt" in await ready.text():
                break
    else:
        raise AssertionError("no commit is under way")
    writer.transport.abort()
    await asyncio.sleep(0.1)


async def test_over_http_the_ledger_tells_of_the_client_that_disconnected(
    start_node: Start, etcd: str
) -> None:
    parts = urlsplit(etcd)
    assert parts.hostname
    assert parts.port
    way = await TcpProxy(parts.hostname, parts.port).start()
    node = await start_node(etcd_endpoints=way.url, deadline_s=60)
    assert (await issue(node))["sequenceNumbers"] == [1]
    for body, *headers in ((PLACE, "Idempotency-Key: order-7"), (PLACE | {"count": 3},)):
        await way.set(Fault.LOSE_REPLIES)
        await send_and_leave(node, body, *headers)
        await way.set(Fault.NONE)
        await issue(node)  # a commit goes through again
    for _ in range(100):
        stats = await get(node, "stats")
        if stats["totalReleased"] == 3:
            break
        await asyncio.sleep(0.05)
    assert stats["totalReleased"] == 3
    freed = (await get(node, "gaps"))["gaps"]
    life = await get(node, f"audit/{freed[0]}")
    assert [row["operationType"] for row in life] == ["GENERATE", "RELEASE"]
    assert life[1]["reason"] == "client-disconnected"
    assert life[0]["requestId"] == life[1]["requestId"]
    body, headers = await post(node, "next", PLACE, Idempotency_Key="order-7")
    assert headers["Idempotent-Replayed"] == "true"
    assert body["sequenceNumbers"][0] not in freed
    assert (await get(node, "validate"))["valid"]
    await way.stop()
