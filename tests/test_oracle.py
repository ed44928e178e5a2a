"""The oracle and the virtual time of the simulator, by themselves."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from simulation.events import Asked, Kind, Left, Outcome, Rule, Saved, Told, WentBack, Wrote
from simulation.oracle import CLIENT_LEFT, Oracle
from simulation.virtual_time import Stuck, VirtualTimeLoop, at_once

from coordinator.core import head as heads
from coordinator.core import ledger
from coordinator.core.head import Head
from coordinator.core.keys import Keys
from coordinator.core.records import Cause, Entry, Issued, Origin, Part, Record, Released
from coordinator.core.requests import Why

KEYS = Keys().counter("invoice")


class Story:
    """Tells an oracle a story, and keeps the ledger of it."""

    def __init__(self) -> None:
        self.oracle = Oracle(KEYS, start=1, last=9)
        self.head = Head(start=1, next=1)
        self.gaps: set[int] = set()

    def ask(self, request: str, kind: Kind = Kind.ISSUE, **more: Any) -> None:
        self.oracle.hear(Asked(request, "node-1", kind, "site-1", **more))

    def tell(self, request: str, outcome: Outcome, *numbers: int, why: str = "") -> None:
        self.oracle.hear(Told(request, "node-1.1", outcome, numbers, why))

    def write(self, *records: Record, gaps: str = "", by: str = "node-1.1") -> None:
        index = self.head.index + 1
        before = self.head
        entry = Entry(*(index, before.tip, 0, before.next, (Part("node-1", by, index),), records))
        content = ledger.encode(entry)
        self.head = heads.advance(before, entry, ledger.chain(before.tip, content))
        changes = [(KEYS.entry(index), content), (KEYS.head, heads.encode(self.head))]
        changes += [
            (KEYS.gap(int(change[1:])), b"{}" if change[0] == "+" else None)  # type: ignore[misc]
            for change in gaps.split()
        ]
        self.oracle.hear(Wrote(index + 1, tuple(changes)))

    @property
    def broken(self) -> set[Rule]:
        return {finding.rule for finding in self.oracle.findings}


def cause(request: str, key: str | None = None, payload: str | None = None) -> Cause:
    return Cause(Origin("site-1", "partition-a"), request, 0, key, payload)


@pytest.fixture
def story() -> Story:
    """A story in which q1 got number 1, and q2 number 2."""
    told = Story()
    for request, number in (("q1", 1), ("q2", 2)):
        told.ask(request)
        told.write(Issued(cause(request), number, 1))
        told.tell(request, Outcome.ANSWERED, number)
    assert not told.broken
    return told


def test_a_number_of_who_left_comes_back_by_itself(story: Story) -> None:
    story.oracle.hear(Left("q1", "node-1.1"))
    story.write(Released(cause("q1"), 1, 1, CLIENT_LEFT), gaps="+1")
    assert not story.broken


def test_a_number_of_who_stayed_does_not_come_back_by_itself(story: Story) -> None:
    story.write(Released(cause("q1"), 1, 1, CLIENT_LEFT), gaps="+1")
    assert story.broken == {Rule.OWNER}


def test_a_keyed_number_of_who_left_stays_for_its_key() -> None:
    story = Story()
    story.ask("q1", key="k", payload="p")
    story.oracle.hear(Left("q1", "node-1.1"))
    story.write(Issued(cause("q1", "k", "p"), 1, 1))
    story.write(Released(cause("q1"), 1, 1, CLIENT_LEFT), gaps="+1")
    assert story.broken == {Rule.OWNER}


def test_a_number_skipped_or_taken_out_of_order_is_found(story: Story) -> None:
    story.ask("r", Kind.RELEASE, number=1)
    story.write(Released(cause("r"), 1, 1, "x"), gaps="+1")
    story.ask("q3")
    story.write(Issued(cause("q3"), 3, 1))
    assert story.broken == {Rule.LOWEST}
    story.ask("q4", quantity=1)
    story.write(Issued(cause("q4"), 7, 1))
    assert Rule.COMPLETE in story.broken


def test_a_gap_key_without_its_entry_is_found(story: Story) -> None:
    story.oracle.hear(Wrote(9, ((KEYS.gap(2), b"{}"),)))
    assert story.broken == {Rule.ONE_COMMIT}


def test_nobody_is_answered_before_the_commit_or_with_what_another_holds(story: Story) -> None:
    story.ask("q3")
    story.tell("q3", Outcome.ANSWERED, 3)
    assert story.broken == {Rule.NOT_EARLY}
    story.ask("q4")
    story.tell("q4", Outcome.ANSWERED, 2)
    assert Rule.UNIQUE in story.broken


@pytest.mark.parametrize("told_first", [False, True])
def test_who_was_told_that_nothing_was_allocated_is_never_in_the_ledger(
    story: Story,
    told_first: bool,  # noqa: FBT001
) -> None:
    story.ask("q3")
    tell = [lambda: story.tell("q3", Outcome.NOT_SERVED)]
    write = [lambda: story.write(Issued(cause("q3"), 3, 1))]
    for event in tell + write if told_first else write + tell:
        event()
    assert story.broken == {Rule.NOT_FAILED}


def test_a_key_has_one_answer_and_one_payload(story: Story) -> None:
    story.ask("q3", key="k", payload="p")
    story.write(Issued(cause("q3", "k", "p"), 3, 1))
    for request, payload in (("q4", "p"), ("q5", "other")):
        story.ask(request, key="k", payload=payload)
    story.tell("q4", Outcome.ANSWERED, 3)
    story.tell("q5", Outcome.REFUSED, why=Why.KEY_REUSED)
    assert not story.broken
    story.ask("q6", key="k", payload="p")
    story.tell("q6", Outcome.ANSWERED, 2)
    assert story.broken == {Rule.ONCE}


def test_a_refusal_must_have_been_true_since_it_was_asked(story: Story) -> None:
    story.ask("r1", Kind.RELEASE, number=3)
    story.ask("q3")
    story.write(Issued(cause("q3"), 3, 1))
    story.tell("r1", Outcome.REFUSED, why=Why.NEVER_ISSUED)
    assert not story.broken
    story.ask("r2", Kind.RELEASE, number=3)
    story.tell("r2", Outcome.REFUSED, why=Why.NEVER_ISSUED)
    assert story.broken == {Rule.TRUE_REFUSAL}


@pytest.mark.parametrize(("by", "broken"), [("node-1.1", {Rule.NO_REWIND}), ("node-2.1", set())])
def test_who_has_acknowledged_more_than_a_restored_store_has_writes_nothing(
    by: str, broken: set[Rule]
) -> None:
    story = Story()
    story.ask("q1")
    story.write(Issued(cause("q1"), 1, 1))
    before = story.head
    story.ask("q2")
    story.write(Issued(cause("q2"), 2, 1))
    story.tell("q2", Outcome.ANSWERED, 2)
    story.oracle.hear(WentBack(1))
    story.head = before
    story.ask("q3")
    story.write(Issued(cause("q3"), 2, 1), by=by)
    assert story.broken == broken


def test_a_number_whose_caller_left_must_come_back(story: Story) -> None:
    story.oracle.hear(Left("q1", "node-1.1"))
    story.oracle.at_rest({"node-1.2"})
    assert not story.broken  # its node died: nobody could know
    story.oracle.at_rest({"node-1.1"})
    assert story.broken == {Rule.UNHEARD}


@pytest.mark.parametrize(("saved", "broken"), [(1, set()), (2, {Rule.NO_REWIND})])
def test_what_a_node_has_written_down_binds_its_next_run_too(saved: int, broken: set[Rule]) -> None:
    story = Story()
    story.ask("q1")
    story.write(Issued(cause("q1"), 1, 1))
    before = story.head
    story.ask("q2")
    story.write(Issued(cause("q2"), 2, 1))
    story.oracle.hear(Saved("node-1", saved))
    story.oracle.hear(WentBack(1))
    story.head = before
    story.ask("q3")
    story.write(Issued(cause("q3"), 2, 1), by="node-1.2")
    assert story.broken == broken


def run(loop: VirtualTimeLoop, work: Coroutine[Any, Any, Any]) -> Any:
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


def test_virtual_time_passes_by_itself() -> None:
    loop = VirtualTimeLoop()

    async def sleep_long() -> float:
        await asyncio.sleep(86_400)
        return loop.time()

    assert run(loop, sleep_long()) == pytest.approx(86_400)


def test_what_can_never_end_is_said() -> None:
    loop = VirtualTimeLoop()
    with pytest.raises(Stuck):
        loop.run_until_complete(loop.create_future())
    loop.close()


def test_a_paused_process_is_late_and_a_killed_one_never_runs_again() -> None:
    loop = VirtualTimeLoop()
    beats: list[tuple[str, float]] = []

    async def beat(name: str) -> None:
        try:
            while True:
                await asyncio.sleep(1)
                beats.append((name, loop.time()))
        finally:
            beats.append((name, -1.0))

    async def live() -> list[tuple[str, float]]:
        processes = {name: loop.new_process(name) for name in ("paused", "killed")}
        for name, process in processes.items():
            loop.create_task(beat(name), context=process.context)
        await asyncio.sleep(1.5)
        processes["paused"].pause()
        processes["killed"].kill()
        await asyncio.sleep(2)
        processes["paused"].resume(loop)
        await asyncio.sleep(1.2)
        return list(beats)

    seen = run(loop, live())
    assert seen == [("paused", 1), ("killed", 1), ("paused", 3.5), ("paused", 4.5)]


def test_a_coroutine_that_waits_is_not_run_at_once() -> None:
    with pytest.raises(RuntimeError, match="waits"):
        at_once(asyncio.sleep(0))
