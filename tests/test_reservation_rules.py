"""The oracle's rules for reservations, by themselves."""

import pytest
from simulation.events import Asked, Kind, Outcome, Rule, Told, Wrote, token_of
from simulation.oracle import Oracle
from simulation.settings import Reserving

from coordinator.core import head as heads
from coordinator.core import ledger
from coordinator.core.head import Head
from coordinator.core.holds import Hold, encode_holds
from coordinator.core.keys import Keys
from coordinator.core.marks import Voids, encode_voids
from coordinator.core.records import (
    Cause,
    Entry,
    Held,
    How,
    Issued,
    Origin,
    Part,
    Record,
    Reused,
    Settled,
)
from coordinator.core.requests import Why

KEYS = Keys().counter("invoice")
SITE = Origin("site-1", "partition-a")
HOW = {Kind.CONFIRM: How.CONFIRMED, Kind.CANCEL: How.CANCELLED, Kind.EXPIRE: How.EXPIRED}
NOW_MS = 5_000
LASTS_S = 2
UNTIL_MS = NOW_MS + 1_000 * LASTS_S


class Story:
    """Tells an oracle a story in which r1 has reserved number 1, and r2 number 2."""

    def __init__(self, *, voids: bool = True) -> None:
        self.voids = voids
        self.oracle = Oracle(KEYS, 1, 9, Reserving(reservations=1, voids=voids, lasts_s=LASTS_S))
        self.head = Head(start=1, next=1)
        self.now_ms = NOW_MS
        self.held: dict[int, Hold] = {}
        for number in (1, 2):
            self.reserve(f"r{number}", number)

    def reserve(self, request: str, number: int, *reused: Reused) -> None:
        self.oracle.hear(Asked(request, "node-1", Kind.RESERVE, "site-1"))
        held = Held(token_of(request), self.now_ms + 1_000 * LASTS_S, str(number))
        self.held[number] = Hold(number, self.head.index + 1, held)
        fresh = 0 if reused else 1
        self.write(Issued(Cause(SITE, request), self.head.next, fresh, reused, held))

    def ask(self, request: str, kind: Kind, number: int = 1) -> None:
        token = token_of(f"r{number}")
        asked = Asked(request, "node-1", kind, "site-1", number=number, token=token)
        self.oracle.hear(asked)

    def settle(self, request: str, how: How, number: int = 1, **more: object) -> None:
        hold = self.held.pop(number)
        is_void = self.voids and how is not How.CONFIRMED
        record = Settled(Cause(SITE, request), number, hold.issued_in, how, hold.held, "", is_void)
        self.write(record._replace(**more))

    def write(self, record: Record) -> None:
        before, index = self.head, self.head.index + 1
        part = Part("node-1", "node-1.1", index)
        entry = Entry(index, before.tip, self.now_ms, before.next, (part,), (record,))
        content = ledger.encode(entry)
        self.head = heads.advance(before, entry, ledger.chain(before.tip, content))
        held = encode_holds(self.held[number] for number in sorted(self.held))
        changes: list[tuple[bytes, bytes | None]] = [
            *((KEYS.entry(index), content), (KEYS.head, heads.encode(self.head))),
            (KEYS.held(0), held if self.held else None),
        ]
        if isinstance(record, Settled) and record.is_void:
            changes.append((KEYS.void(index), encode_voids(Voids(0, ((record.number, 1),)))))
        elif isinstance(record, Settled) and record.frees:
            changes.append((KEYS.gap(record.number), b"{}"))
        elif isinstance(record, Issued) and record.reused:
            changes.append((KEYS.gap(record.reused[0].first), None))
        self.oracle.hear(Wrote(index + 1, tuple(changes)))

    def tell(self, request: str, how: How, number: int = 1) -> None:
        told = Told(request, "node-1.1", Outcome.ANSWERED, (number,), said=how)
        self.oracle.hear(told)

    def refuse(self, request: str, why: Why) -> None:
        self.oracle.hear(Told(request, "node-1.1", Outcome.REFUSED, (), why))

    @property
    def broken(self) -> set[Rule]:
        return {finding.rule for finding in self.oracle.findings}


@pytest.fixture
def story() -> Story:
    """Return the story so far, which is right."""
    told = Story()
    assert not told.broken
    return told


@pytest.mark.parametrize("kind", HOW)
def test_a_reservation_ends_and_all_who_ask_are_told_the_same(story: Story, kind: Kind) -> None:
    story.now_ms = UNTIL_MS if kind is Kind.EXPIRE else UNTIL_MS - 1
    story.ask("s1", kind)
    story.settle("s1", HOW[kind])
    story.tell("s1", HOW[kind])
    for other in HOW:
        story.ask(f"s2-{other}", other)
        story.tell(f"s2-{other}", HOW[kind])
    assert not story.broken
    told_otherwise = How.CANCELLED if kind is Kind.CONFIRM else How.CONFIRMED
    story.ask("s3", Kind.CONFIRM)
    story.tell("s3", told_otherwise)
    assert story.broken == {Rule.ENDS_ONCE}


def test_who_confirms_too_late_hears_that_it_has_expired(story: Story) -> None:
    story.now_ms = UNTIL_MS
    story.ask("s1", Kind.CONFIRM)
    story.settle("s1", How.EXPIRED)
    story.tell("s1", How.EXPIRED)
    assert not story.broken


@pytest.mark.parametrize(
    ("kind", "now_ms"), [(Kind.CONFIRM, UNTIL_MS), (Kind.EXPIRE, UNTIL_MS - 1)]
)
def test_a_deadline_is_kept_to_the_millisecond(story: Story, kind: Kind, now_ms: int) -> None:
    story.now_ms = now_ms
    story.ask("s1", kind)
    story.settle("s1", HOW[kind])
    assert story.broken == {Rule.DEADLINE}


def test_it_ends_once(story: Story) -> None:
    again = story.held[1]
    for request in ("s1", "s2"):
        story.ask(request, Kind.CONFIRM)
        story.settle(request, How.CONFIRMED)
        assert story.broken == (set() if request == "s1" else {Rule.ENDS_ONCE, Rule.COMPLETE})
        story.held[1] = again


def test_another_one_s_token_settles_nothing(story: Story) -> None:
    story.ask("s1", Kind.CONFIRM, number=2)
    story.settle("s1", How.CONFIRMED, number=1)
    assert story.broken == {Rule.ASKED}


@pytest.mark.parametrize("voids", [True, False])
def test_what_is_given_up_is_what_its_series_says(voids: bool) -> None:  # noqa: FBT001
    for is_void in (voids, not voids):
        story = Story(voids=voids)
        story.ask("s1", Kind.CANCEL)
        story.settle("s1", How.CANCELLED, is_void=is_void)
        assert story.broken == (set() if is_void is voids else {Rule.GIVEN_UP})


def test_a_gap_goes_out_again_and_a_void_number_never() -> None:
    for voids in (False, True):
        story = Story(voids=voids)
        story.ask("s1", Kind.CANCEL)
        story.settle("s1", How.CANCELLED)
        assert not story.broken
        if voids:
            story.oracle.hear(Asked("r3", "node-1", Kind.ISSUE, "site-1"))
            story.write(Issued(Cause(SITE, "r3"), 1, 1))
            assert Rule.GIVEN_UP in story.broken
        else:
            story.reserve("r3", 1, Reused(1, story.head.index, NOW_MS))
            assert not story.broken


def test_keys_that_are_not_what_the_ledger_gives_are_found(story: Story) -> None:
    del story.held[2]  # a neighbour that the block does not have any more
    story.ask("s1", Kind.CANCEL)
    story.settle("s1", How.CANCELLED)
    assert story.broken == {Rule.COMPLETE}
    alone = Story()
    alone.oracle.hear(Wrote(9, ((KEYS.held(0), None),)))
    assert alone.broken == {Rule.ONE_COMMIT}


def test_refusals_must_have_been_true(story: Story) -> None:
    story.ask("s1", Kind.EXPIRE)
    story.refuse("s1", Why.NOT_DUE)
    assert not story.broken
    story.ask("s2", Kind.CONFIRM)
    story.refuse("s2", Why.NO_RESERVATION)
    assert story.broken == {Rule.TRUE_REFUSAL}


def test_what_is_over_ends_by_itself(story: Story) -> None:
    story.oracle.at_rest(set(), UNTIL_MS - 1)
    assert not story.broken
    story.oracle.at_rest(set(), UNTIL_MS)
    assert story.broken == {Rule.RECOVERS}
