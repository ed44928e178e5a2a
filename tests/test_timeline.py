"""The time of a failover: from the strike to the first later request that succeeds."""

import asyncio
import time
from itertools import count

from coordinator.jobs.control import Control, ControlSilent, Event, Process, Seen
from coordinator.jobs.leading import LeaderSeen, LeaderWatch
from coordinator.jobs.strikes import Strikes
from coordinator.jobs.timeline import BUCKET_S, Heard, Success, callers_at, first_after
from coordinator.store.members import Members

OLD, NEW = "http://127.0.0.1:1", "http://127.0.0.1:2"
serials = count(1)


def test_a_request_that_began_before_the_strike_proves_nothing() -> None:
    successes = [
        Success(1, "node-1", 0.5, 1.1),  # was under way when it struck
        Success(2, "node-2", 1.2, 1.9),
        Success(3, "node-3", 1.3, 1.5),
    ]
    assert first_after(successes, 1.0) == successes[2]
    assert first_after(successes, 1.0, node="node-2") == successes[1]
    assert first_after(successes, 1.0, callers=frozenset({2})) == successes[1]
    assert first_after(successes, 1.4) is None


def test_the_callers_of_a_node_are_those_it_served_last() -> None:
    successes = [
        Success(1, "node-1", 0.0, 0.1),
        Success(2, "node-1", 0.0, 0.1),
        Success(2, "node-2", 0.2, 0.3),
        Success(3, "node-1", 0.9, 1.1),  # after the strike
    ]
    assert callers_at(successes, "node-1", 1.0) == {1}


def test_successes_are_counted_in_short_spans_with_their_holes() -> None:
    heard = Heard(100.0)
    for at_s in (100.1, 100.2, 101.0):
        heard.add(Success(1, "node-1", at_s - 0.05, at_s))
    assert BUCKET_S == 0.25
    assert heard.spans(101.3) == [2, 0, 0, 0, 1]
    assert heard.longest_pause_s(101.3) == 101.0 - 100.2
    assert heard.per_second(101.15) == 2


class Told(Control):
    """A launcher that says what a test puts in its mouth."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9", "")
        self.events: list[Event] = []
        self.silent = False

    async def look(self) -> Seen:
        if self.silent:
            raise ControlSilent("for now")
        members = [
            Process(f"m{n}", "member", u, 1, "running", None, 0) for n, u in enumerate((OLD, NEW))
        ]
        node = Process("node-1", "node", "http://127.0.0.1:3", 1, "running", None, 0)
        return Seen((*members, node), tuple(self.events))

    def tell(self, name: str, what: str, at_s: float) -> None:
        kind = "node" if name.startswith("node") else "member"
        self.events.append(Event(next(serials), at_s, name, kind, what))


class Story:
    """A load of which a test tells what happened when, in seconds."""

    def __init__(self) -> None:
        self.told = Told()
        self.leading = LeaderWatch(Members((OLD, NEW)), (OLD, NEW))
        self.leading.seen.append(LeaderSeen(0.0, OLD, 1))
        self.heard = Heard(0.0)
        self.strikes = Strikes(self.told, self.leading, self.heard)

    def serve(self, began_s: float, ended_s: float, node: str = "node-2", caller: int = 1) -> None:
        self.heard.add(Success(caller, node, began_s, ended_s))

    async def shown(self) -> list[dict]:
        await self.strikes.look()
        return self.strikes.shown(0.0)


async def test_a_killed_leader_kill_new_leader_first_success() -> None:
    story = Story()
    story.told.tell("m1", "kill", 0.5)  # before the load: no strike of it
    assert await story.shown() == []
    story.told.tell("m0", "kill", 2.0)
    story.serve(1.9, 2.05)
    (strike,) = await story.shown()
    assert (strike["wasLeader"], strike["newLeaderMs"], strike["firstSuccessMs"]) == (
        True,
        None,
        None,
    )
    story.told.silent = True
    await story.shown()
    story.told.silent = False
    story.told.tell("m0", "ended", 2.1)
    story.told.tell("m0", "started", 2.3)
    story.leading.seen.append(LeaderSeen(2.7, NEW, 2))
    story.serve(2.1, 2.75)
    (strike,) = await story.shown()
    assert [(m["what"], m["afterMs"]) for m in strike["marks"]] == [
        ("m0 ended", 100),
        ("m0 started again", 300),
        ("new etcd leader: m1", 700),
        ("first success", 750),
    ]


async def test_members_are_watched_keenly_until_there_is_a_new_leader() -> None:
    story, now = Story(), time.monotonic()
    await story.shown()
    story.told.tell("m1", "kill", now)
    await story.shown()
    assert not story.leading.keen.is_set()  # it did not lead
    story.told.tell("m0", "kill", now)
    await story.shown()
    assert story.leading.keen.is_set()
    story.leading.seen.append(LeaderSeen(now + 0.5, NEW, 2))
    await story.shown()
    assert not story.leading.keen.is_set()


async def test_who_is_served_shows_that_there_is_a_leader() -> None:
    story = Story()
    await story.shown()
    story.told.tell("m0", "kill", 2.0)
    story.serve(2.1, 2.6)
    story.leading.seen.append(LeaderSeen(2.62, NEW, 2))  # seen a little late
    (strike,) = await story.shown()
    assert (strike["newLeaderMs"], strike["firstSuccessMs"]) == (600, 600)


async def test_one_that_is_told_to_stop_serves_until_it_has_ended() -> None:
    story = Story()
    await story.shown()
    story.told.tell("m0", "stop", 2.0)
    story.serve(2.01, 2.04)
    assert (await story.shown())[0]["firstSuccessMs"] is None
    story.told.tell("m0", "ended", 2.1)
    story.serve(2.2, 9.0)
    assert (await story.shown())[0]["firstSuccessMs"] == 7000


async def test_a_node_is_struck_its_callers_go_elsewhere_and_it_serves_again() -> None:
    story = Story()
    await story.shown()
    story.serve(1.0, 1.1, "node-1", caller=7)
    story.told.tell("node-1", "pause", 2.0)
    story.serve(2.0, 2.1, "node-2", caller=8)
    story.serve(2.5, 5.2, "node-2", caller=7)
    story.told.tell("node-1", "resumed", 6.0)
    story.serve(5.5, 6.05, "node-1", caller=9)  # was asked before it went on
    story.serve(6.1, 6.2, "node-1", caller=9)
    (strike,) = await story.shown()
    assert {m["what"]: m["afterMs"] for m in strike["marks"]} == {
        "first success": 100,
        "first success of a caller of node-1": 3200,
        "node-1 goes on again": 4000,
        "node-1 serves again": 4200,
    }
    await asyncio.sleep(0)
