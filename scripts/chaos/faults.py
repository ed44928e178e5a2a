"""The faults: what each does to the cluster, and how it is healed.

To add one: write a function that takes a ``Strike``, calls ``begins`` at the moment of the fault,
returns when all is well again with its target, and name it in the table at the end.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from tcp_proxy import Fault as Way

from chaos.members import Gateway, GatewayError, NoSpaceError

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from chaos.installation import Installation

T = TypeVar("T")

LEADER_PAUSE_S = 3.0
NODE_BLINK_S = 3.0
NODE_PAUSE_S = 12.0  # longer than a caller's deadline in the node, and than its lease
CUT_S_MIN, CUT_S_MAX = 3.0, 9.0
DROP_S_MIN, DROP_S_MAX = 1.0, 4.0
SLOW_S = 0.3
HOLD_S = 0.05  # holds a commit on its way, so that a kill falls into the middle of a batch
CLOCK_S_MIN, CLOCK_S_MAX = 4.0, 10.0
CLOCK_JUMPS = ("-3m", "+7m", "-90m", "+5h", "-30h", "+26h")
FULL_S_MIN, FULL_S_MAX = 3.0, 7.0
JUNK = b"/junk/"
JUNK_BYTES = 1_000_000
JUNK_PUTS_MAX = 2_000
PUTS_AT_ONCE = 4
STEP_TRIES_MAX = 120
STEP_PAUSE_S = 0.25
DOOR_FAULTS = (*(Way.REFUSE, Way.LOSE_REQUESTS, Way.LOSE_REPLIES, Way.BLACK_HOLE, Way.DROP_REPLY),)


class CannotStrikeError(Exception):
    """The fault could not be injected or not be healed; the message says why."""


class Strike(NamedTuple):
    """One fault under way."""

    installation: Installation
    target: str  # a node's name, or "members"
    draw: random.Random
    begins: Callable[..., None]
    """Called with who is struck and a word on how, at the moment of the fault."""


class Fault(NamedTuple):
    """A kind of fault."""

    strikes: str  # "node", "members", or "turn": the node that commits for the others
    run: Callable[[Strike], Awaitable[None]]
    says: str


async def kill_leader(strike: Strike) -> None:
    """Kill the member that leads."""
    await _kill_members(strike, [await _leader(strike)])


async def kill_follower(strike: Strike) -> None:
    """Kill a member that does not lead."""
    leader = await _leader(strike)
    others = sorted(set(strike.installation.members) - {leader})
    await _kill_members(strike, [strike.draw.choice(others)])


async def kill_majority(strike: Strike) -> None:
    """Kill two members at once: nothing can be committed until one is back."""
    names = sorted(strike.installation.members)
    await _kill_members(strike, strike.draw.sample(names, 2))


async def _kill_members(strike: Strike, names: list[str]) -> None:
    strike.begins(" ".join(names))
    for name in names:
        strike.installation.send(name, signal.SIGKILL)
    await _members_well(strike)


async def pause_leader(strike: Strike) -> None:
    """Stop the leader's process for a while: it wakes up and thinks that it leads still."""
    name = await _leader(strike)
    strike.begins(name, f"for {LEADER_PAUSE_S:g} s")
    await _pause(strike, name, LEADER_PAUSE_S)
    await _members_well(strike)


async def kill_node(strike: Strike) -> None:
    """Kill a node while a batch of its is on the way."""
    ways = strike.installation.ways[strike.target].values()
    for way in ways:
        way.delay_s = HOLD_S
    await asyncio.sleep(1.5 * HOLD_S)
    strike.begins(strike.target, "in the middle of a batch")
    strike.installation.send(strike.target, signal.SIGKILL)
    for way in ways:
        way.delay_s = 0.0
    await _nodes_well(strike)


async def stop_node(strike: Strike) -> None:
    """Stop a node in good order, as for an update; it is started again at once."""
    strike.begins(strike.target, "by SIGTERM")
    before = strike.installation.deaths(strike.target)
    strike.installation.send(strike.target, signal.SIGTERM)
    for _ in range(STEP_TRIES_MAX):
        if strike.installation.deaths(strike.target) > before:
            break
        await asyncio.sleep(STEP_PAUSE_S)
    await _nodes_well(strike)


async def pause_node(strike: Strike) -> None:
    """Stop a node's process for longer than all its timeouts."""
    strike.begins(strike.target, f"for {NODE_PAUSE_S:g} s")
    await _pause(strike, strike.target, NODE_PAUSE_S)
    await _nodes_well(strike)


async def _pause(strike: Strike, name: str, seconds: float) -> None:
    pid = strike.installation.send(name, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        strike.installation.send(name, signal.SIGCONT, pid)


async def blink_node(strike: Strike) -> None:
    """Stop a node's process for less than its lease lasts: it comes back with what it had."""
    strike.begins(strike.target, f"for {NODE_BLINK_S:g} s")
    await _pause(strike, strike.target, NODE_BLINK_S)
    await _nodes_well(strike)


async def shut_door(strike: Strike) -> None:
    """Cut a node off from the other nodes; each of them reaches the store, and clients them all."""
    fault = strike.draw.choice(DOOR_FAULTS)
    seconds = strike.draw.uniform(DROP_S_MIN, DROP_S_MAX)
    strike.begins(strike.target, f"{fault.name} between nodes, {seconds:.1f} s")
    door = strike.installation.doors[strike.target]
    try:
        await door.set(fault)
        await asyncio.sleep(seconds)
    finally:
        await door.set(Way.NONE)
        door.reset()
    await _nodes_well(strike)


async def drop_replies(strike: Strike) -> None:
    """Deliver what the node sends, and break the connection at the reply."""
    seconds = strike.draw.uniform(DROP_S_MIN, DROP_S_MAX)
    await _spoil(strike, Way.DROP_REPLY, seconds, everywhere=True)


async def lose_requests(strike: Strike) -> None:
    """Cut one way: what the node sends vanishes."""
    await _cut(strike, Way.LOSE_REQUESTS)


async def lose_replies(strike: Strike) -> None:
    """Cut the other way: what the members answer vanishes."""
    await _cut(strike, Way.LOSE_REPLIES)


async def cut(strike: Strike) -> None:
    """Cut both ways, in silence."""
    await _cut(strike, Way.BLACK_HOLE)


async def refuse(strike: Strike) -> None:
    """Refuse connections and break the open ones."""
    await _cut(strike, Way.REFUSE)


async def _cut(strike: Strike, way: Way) -> None:
    seconds = strike.draw.uniform(CUT_S_MIN, CUT_S_MAX)
    await _spoil(strike, way, seconds, everywhere=strike.draw.random() < 0.5)  # noqa: PLR2004


async def _spoil(strike: Strike, fault: Way, seconds: float, *, everywhere: bool) -> None:
    ways = strike.installation.ways[strike.target]
    names = sorted(ways) if everywhere else strike.draw.sample(sorted(ways), 2)
    to = "all members" if everywhere else " and ".join(names)
    strike.begins(strike.target, f"from {to}, {seconds:.1f} s")
    try:
        for name in names:
            await ways[name].set(fault)
        await asyncio.sleep(seconds)
    finally:
        for name in names:
            await ways[name].set(Way.NONE)
            ways[name].reset()  # what was swallowed must not look like the middle of an answer
    await _nodes_well(strike)


async def slow(strike: Strike) -> None:
    """Hold everything between a node and the members back."""
    seconds = strike.draw.uniform(CUT_S_MIN, CUT_S_MAX)
    ways = strike.installation.ways[strike.target].values()
    strike.begins(strike.target, f"by {SLOW_S:g} s each way, {seconds:.1f} s")
    try:
        for way in ways:
            way.delay_s = SLOW_S
        await asyncio.sleep(seconds)
    finally:
        for way in ways:
            way.delay_s = 0.0


async def jump_clock(strike: Strike) -> None:
    """Move a node's wall clock, and back after a while."""
    jump = strike.draw.choice(CLOCK_JUMPS)
    strike.begins(strike.target, jump)
    strike.installation.set_clock(strike.target, jump)
    try:
        await asyncio.sleep(strike.draw.uniform(CLOCK_S_MIN, CLOCK_S_MAX))
    finally:
        strike.installation.set_clock(strike.target, "+0")


async def defragment(strike: Strike) -> None:
    """Compact the store to its newest revision, and defragment one member."""
    members = strike.installation.members
    name = strike.draw.choice(sorted(members))
    gateway = members[name]
    revision = (await _step("status", gateway.status)).revision
    strike.begins(name, f"compaction to revision {revision}, then defragmentation")
    await _step("compaction", lambda: gateway.compact(revision))
    await _step("defragmentation", gateway.defragment)
    await _members_well(strike)


async def fill(strike: Strike) -> None:
    """Fill the store with somebody else's keys until etcd refuses writes; then clear up."""
    members = strike.installation.members
    gateway = members[await _leader(strike)]
    puts = 0
    try:
        while puts < JUNK_PUTS_MAX:
            await asyncio.gather(*(_junk(gateway, puts + n) for n in range(PUTS_AT_ONCE)))
            puts += PUTS_AT_ONCE
        strike.begins("members", f"was not full after {puts} MB: the quota is too large")
    except NoSpaceError:
        strike.begins("members", f"NOSPACE after about {puts} MB of junk")
        await asyncio.sleep(strike.draw.uniform(FULL_S_MIN, FULL_S_MAX))
    except GatewayError as trouble:
        raise CannotStrikeError(f"filling the store: {trouble}") from trouble
    finally:
        await _clear_up(strike)
    await _members_well(strike)


async def _junk(gateway: Gateway, number: int) -> None:
    await gateway.put(JUNK + b"%06d" % number, b"\0" * JUNK_BYTES)


async def _clear_up(strike: Strike) -> None:
    """Do what the manual says about NOSPACE: delete, compact, defragment, disarm."""
    members = strike.installation.members
    any_member = members[await _leader(strike)]
    revision = await _step("deletion", lambda: any_member.delete_prefix(JUNK))
    await _step("compaction", lambda: any_member.compact(revision))
    for gateway in members.values():
        await _step("defragmentation", gateway.defragment)
    await _step("disarming", any_member.disarm)


async def _step(what: str, do: Callable[[], Awaitable[T]]) -> T:
    """Repeat a step of an operator's until it is done."""
    why = ""
    for _ in range(STEP_TRIES_MAX):
        try:
            return await do()
        except GatewayError as trouble:
            why = str(trouble)
            await asyncio.sleep(STEP_PAUSE_S)
    raise CannotStrikeError(f"{what} did not succeed: {why}")


async def _leader(strike: Strike) -> str:
    for _ in range(STEP_TRIES_MAX):
        with suppress(GatewayError):
            name = await strike.installation.leader()
            if name is not None:
                return name
        await asyncio.sleep(STEP_PAUSE_S)
    raise CannotStrikeError("the members have no leader")


async def _members_well(strike: Strike) -> None:
    installation = strike.installation
    await installation.wait_until("all members are well again", installation.members_are_healthy)


async def _nodes_well(strike: Strike) -> None:
    installation = strike.installation
    await installation.wait_until(
        f"{strike.target} is ready again", lambda: installation.is_ready(strike.target)
    )


FAULTS: dict[str, Fault] = {
    "kill-leader": Fault("members", kill_leader, "kill -9 the etcd leader"),
    "kill-follower": Fault("members", kill_follower, "kill -9 another etcd member"),
    "kill-majority": Fault("members", kill_majority, "kill -9 two of three etcd members"),
    "pause-leader": Fault("members", pause_leader, "stop the etcd leader's process for 3 s"),
    "defragment": Fault("members", defragment, "compact the store, defragment a member"),
    "no-space": Fault("members", fill, "fill the store up to its quota, clear it up later"),
    "kill-node": Fault("node", kill_node, "kill -9 a node in the middle of a batch"),
    "stop-node": Fault("node", stop_node, "stop a node in good order; it is started again"),
    "pause-node": Fault("node", pause_node, "stop a node's process for 12 s"),
    "drop-replies": Fault("node", drop_replies, "deliver, then break off at the reply"),
    "lose-requests": Fault("node", lose_requests, "a cut one way, node to members"),
    "lose-replies": Fault("node", lose_replies, "a cut one way, members to node"),
    "cut": Fault("node", cut, "a cut both ways between a node and members"),
    "refuse": Fault("node", refuse, "connections between a node and members refused"),
    "slow": Fault("node", slow, "everything between a node and the members 0.3 s late"),
    "turn-kill": Fault("turn", kill_node, "kill -9 the node with the turn"),
    "turn-stop": Fault("turn", stop_node, "stop the node with the turn in good order"),
    "turn-pause": Fault("turn", blink_node, "stop its process for 3 s"),
    "turn-cut": Fault("turn", shut_door, "the other nodes do not reach it, or hear nothing"),
    "clock": Fault("node", jump_clock, "a node's wall clock jumps by minutes or hours"),
}
