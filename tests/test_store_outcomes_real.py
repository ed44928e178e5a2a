"""Answers of etcd that must be provoked: no leader, no login, no space, paused and killed members.

Nothing here is forged. What the table says of each answer is held against what etcd then holds.
"""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from batches import Batch, Sending, a_batch, certain
from etcd_members import Members, running_members
from support import wait_for
from tcp_proxy import TcpProxy

from coordinator.commit import commit
from coordinator.core.transaction import Range
from coordinator.store import Committed, NotCommitted, StoreError, Unknown
from coordinator.store.etcd import EtcdStore

ATTEMPTS_TO_OVERFILL = 10


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Members]:
    with running_members(tmp_path_factory.mktemp("members")) as members:
        yield members


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """What is opened on it is closed when the test is over."""
    async with AsyncExitStack() as open_things:
        yield open_things


async def store_at(stack: AsyncExitStack, *urls: str, commit_s: float = 1.0) -> EtcdStore:
    store = EtcdStore(urls, commit_s=commit_s)
    stack.push_async_callback(store.close)
    return store


async def way_to(stack: AsyncExitStack, url: str, header: str) -> str:
    """Return the address of a way that gives every request a header line."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    way = await TcpProxy(parts.hostname, parts.port).start()
    stack.push_async_callback(way.stop)
    way.header = header.encode()
    return way.url


async def is_resolved(sending: Sending, batch: Batch, url: str) -> None:
    """Check that what is found out of a batch agrees with what etcd holds: it is there once."""
    fate = await sending.fate()
    assert isinstance(fate, Committed) or fate.ours
    assert batch.times_committed(url) == 1


async def test_a_deadline_passed_at_a_paused_leader_is_unknown(
    three: Members, stack: AsyncExitStack
) -> None:
    leader, follower = three.leader(), three.followers()[0]
    hurried = await way_to(stack, follower.url, "Grpc-Timeout: 200m")
    batch = a_batch()
    leader.pause()
    try:
        store = await store_at(stack, hurried, commit_s=3.0)
        sending = Sending(store, batch)
        why = await sending.in_doubt()
        assert "deadline exceeded" in why or "request timed out" in why, "codes 4 and 14, by chance"
    finally:
        leader.resume()
    await is_resolved(sending, batch, follower.url)


async def test_a_member_without_a_majority_answers_unknown(
    three: Members, stack: AsyncExitStack
) -> None:
    leader, followers = three.leader(), three.followers()
    store = await store_at(stack, leader.url, commit_s=15.0)
    batch = a_batch()
    for follower in followers:
        follower.pause()
    try:
        sending = Sending(store, batch)
        assert "request timed out" in await sending.in_doubt()
    finally:
        for follower in followers:
            follower.resume()
    await is_resolved(sending, batch, leader.url)


@pytest.mark.parametrize("gently", [False, True])
async def test_a_leader_lost_in_mid_commit_leaves_it_unknown_and_the_others_resolve_it(
    three: Members,
    stack: AsyncExitStack,
    gently: bool,  # noqa: FBT001
) -> None:
    """Whether the entry reached the followers before the leader died is chance: both are right."""
    leader, followers = three.leader(), three.followers()
    store = await store_at(stack, leader.url, *(follower.url for follower in followers))
    batch = a_batch()
    for follower in followers:
        follower.pause()
    try:
        sending = Sending(store, batch)
        await asyncio.sleep(0.3)
        if gently:
            leader.stop()
        leader.kill()
        why = await sending.in_doubt()
        assert "connection lost" in why or "transport is closing" in why
    finally:
        for follower in followers:
            follower.resume()
        leader.start(three.names)
    await is_resolved(sending, batch, followers[0].url)
    three.wait_until_well()


async def test_a_frozen_member_is_left_and_what_it_was_sent_commits_once(
    three: Members, stack: AsyncExitStack
) -> None:
    frozen, other = three.followers()
    store = await store_at(stack, frozen.url, other.url, commit_s=0.3)
    batch = a_batch()
    frozen.pause()
    try:
        sending = Sending(store, batch)
        assert "no reply within" in await sending.in_doubt()
        await is_resolved(sending, batch, other.url)
    finally:
        frozen.resume()  # only now it takes the first sending off its socket
    three.wait_until_well()
    assert batch.times_committed(frozen.url) == 1


def etcdctl(url: str, *words: str) -> None:
    told = os.environ | {"ETCDCTL_API": "3"}
    flags = ["etcdctl", f"--endpoints={url}"]
    subprocess.run([*flags, *words], env=told, check=True, capture_output=True)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Members]:
    """One member that wants a login: root may all, bob nothing."""
    with running_members(tmp_path_factory.mktemp("guarded"), count=1) as members:
        url = members[0].url
        for user in ("root", "bob"):
            etcdctl(url, "user", "add", f"{user}:secret")
        etcdctl(url, "user", "grant-role", "root", "root")
        etcdctl(url, "auth", "enable")
        yield members


@pytest.mark.parametrize(
    ("login", "said"),
    [
        ("nobody", "user name is empty"),
        ("forged", "invalid auth token"),
        ("bob", "permission denied"),
    ],
)
async def test_members_that_want_a_login_take_nothing_and_the_operator_is_told_what_to_do(
    guarded: Members, stack: AsyncExitStack, login: str, said: str
) -> None:
    """The node has no login at all; the other answers are those of a proxy that adds one."""
    member, header = guarded[0], "X-Nothing: nothing"
    if login == "forged":
        header = "Authorization: no-such-token"
    if login == "bob":
        token = member.ask("auth/authenticate", name="bob", password="secret")["token"]
        header = f"Authorization: {token}"
    store = await store_at(stack, await way_to(stack, member.url, header))
    batch = a_batch()
    with pytest.raises(NotCommitted, match=f"{said}.*etcdctl auth disable"):
        await commit(store, batch.plan, certain)
    with pytest.raises(StoreError, match=f"{said}.*etcdctl auth disable"):
        await store.read(Range(batch.keys.head))
    seen = subprocess.run(
        ["etcdctl", f"--endpoints={member.url}", "--user=root:secret", "get", "--prefix", "/"],
        env=os.environ | {"ETCDCTL_API": "3"},
        check=True,
        capture_output=True,
    )
    assert seen.stdout == b""


LARGE = '{"note":"%s"}' % (60_000 * "x")
QUOTA = ("--quota-backend-bytes", "400000", "--backend-batch-limit", "1")
"""A quota that a handful of large batches fills; its use is measured after every write."""


async def test_no_space_is_unknown_for_it_may_have_been_applied_and_may_not(
    stack: AsyncExitStack, tmp_path: Path
) -> None:
    """Members check the space when they take a transaction, and again when they apply it: what
    fails only then is applied all the same. Many at once pass the first check together, if the
    member is quick enough to take a second one before it has applied the first.
    """
    with ExitStack() as clusters:
        for attempt in range(ATTEMPTS_TO_OVERFILL):
            folder = tmp_path / str(attempt)
            folder.mkdir()
            member = clusters.enter_context(running_members(folder, *QUOTA, count=1))[0]
            store = await store_at(stack, member.url, commit_s=5.0)
            batches = [a_batch(metadata=LARGE) for _ in range(20)]
            outcomes = await asyncio.gather(*(store.commit(b.plan.transaction) for b in batches))
            refused = [b for b, o in zip(batches, outcomes, strict=True) if isinstance(o, Unknown)]
            assert all("etcdctl alarm disarm" in o.why for o in outcomes if isinstance(o, Unknown))
            for batch, outcome in zip(batches, outcomes, strict=True):
                if isinstance(outcome, Committed):
                    assert batch.times_committed(member.url) == 1
            if sum(batch.times_committed(member.url) for batch in refused):
                break
        else:
            raise AssertionError("what was refused for want of space was never applied")

        def alarms() -> Any:
            return member.ask("maintenance/alarm", action="GET").get("alarms")

        wait_for(alarms, 10, "the alarm")
        late = a_batch()  # this one is refused before it is proposed
        sendings = [Sending(store, batch) for batch in (refused[0], late)]
        for sending in sendings:
            assert "database space exceeded" in await sending.in_doubt()
        assert late.times_committed(member.url) == 0

        member.kill()
        member.flags = ()
        member.start(f"{member.name}={member.peer}")
        wait_for(alarms, 10, "the alarm")
        etcdctl(member.url, "alarm", "disarm")
        for sending, batch in zip(sendings, (refused[0], late), strict=True):
            await is_resolved(sending, batch, member.url)
