"""The oracle's rules for what operators do, by themselves."""

from dataclasses import replace
from typing import Any

import pytest
from simulation.events import Asked, Kind, Outcome, Rule, Told, Wrote, token_of
from simulation.model import Known
from simulation.operating import OFFICE, text_of
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
    Closed,
    Entry,
    Given,
    Held,
    Imported,
    Issued,
    Origin,
    Part,
    Passed,
    Record,
    Released,
    Reused,
    Rows,
    Voided,
    voids_of,
)
from coordinator.core.requests import Why

KEYS = Keys().counter("invoice")
LAST = 30
WHY = "so decided"
ROWS = (Rows(5, "0" * 64),)


def cause(request: str, site: str = OFFICE) -> Cause:
    return Cause(Origin(site, "partition-a"), request)


def assigned(number: int, text: str = "", site: str = OFFICE) -> Issued:
    return Issued(cause("o1", site), number, 1, given=Given(text or text_of(number), WHY))


def passed(first: int, quantity: int, request: str = "o1") -> Passed:
    return Passed(cause(request), first, quantity, WHY)


def in_place_of(number: int, by: int, site: str = "site-1") -> Issued:
    return Issued(cause("o1", site), by, 1, given=Given(text_of(by), WHY, number))


def voided(number: int, replaced_by: int = 0, request: str = "o1") -> Voided:
    return Voided(cause(request), number, number, text_of(number), WHY, replaced_by)


class Story:
    """Tells an oracle a story in which site-1 has the numbers 1 to 3, and 2 is a gap again."""

    def __init__(self) -> None:
        self.oracle = Oracle(KEYS, 1, LAST, Reserving(reservations=1, lasts_s=1))
        self.head = Head(start=1, next=1)
        for number in (1, 2, 3):
            self.oracle.hear(Asked(f"q{number}", "node-1", Kind.ISSUE, "site-1"))
            self.write(Issued(cause(f"q{number}", "site-1"), number, 1))
        self.oracle.hear(Asked("back", "node-1", Kind.RELEASE, "site-1", number=2))
        self.write(Released(cause("back", "site-1"), 2, 2, "not needed"), gaps="+2")

    def ask(self, kind: Kind, number: int = 0, request: str = "o1", **more: Any) -> None:
        asked = Asked(request, "node-1", kind, OFFICE, number=number, text=text_of(number))
        self.oracle.hear(asked._replace(**more))

    def write(self, *records: Record, gaps: str = "", **head: int) -> None:
        before, index = self.head, self.head.index + 1
        part = Part("node-1", "node-1.1", index)
        entry = Entry(index, before.tip, 5_000, before.next, (part,), records)
        content = ledger.encode(entry)
        self.head = heads.advance(before, entry, ledger.chain(before.tip, content))
        changes: list[tuple[bytes, bytes | None]] = [
            (KEYS.entry(index), content),
            (KEYS.head, heads.encode(replace(self.head, **head))),
        ]
        void = tuple(run for record in records for run in voids_of(record))
        if void:
            changes.append((KEYS.void(index), encode_voids(Voids(0, void))))
        if gaps:
            changes.append((KEYS.gap(int(gaps[1:])), b"{}" if gaps[0] == "+" else None))
        for record in records:
            if isinstance(record, Issued) and record.held:
                holds = [Hold(record.first, index, record.held)]
                changes.append((KEYS.held(0), encode_holds(holds)))
        self.oracle.hear(Wrote(index + 1, tuple(changes)))

    def refuse(self, why: Why, said: str = "", request: str = "o1") -> None:
        self.oracle.hear(Told(request, "node-1.1", Outcome.REFUSED, (), why, said=said))

    @property
    def broken(self) -> set[Rule]:
        return {finding.rule for finding in self.oracle.findings}


@pytest.fixture
def story() -> Story:
    """Return the story so far, which is right."""
    told = Story()
    assert not told.broken
    return told


def test_what_operators_may_do_is_found_right(story: Story) -> None:
    story.ask(Kind.ASSIGN, 6)
    story.write(passed(4, 2), assigned(6))
    story.ask(Kind.ADJUST, 9, "o2")
    story.write(passed(7, 2, "o2"))
    story.ask(Kind.IMPORT, 10, "o3", runs=((10, 2), (14, 1)))
    story.write(Imported(cause("o3"), 9, ((10, 2), (14, 1)), "import", ROWS))
    story.ask(Kind.VOID, 1, "o4")
    story.write(voided(1, request="o4"))
    story.ask(Kind.CLOSE, 0, "o5")
    story.write(Closed(cause("o5"), WHY))
    story.ask(Kind.VOID, 3, "o6")
    story.write(voided(3, request="o6"))
    assert not story.broken, story.oracle.findings
    void = [1, 3, 4, 5, 7, 8, 9, 12, 13]
    story.oracle.knows("node-1", Known(story.head.index, 15, [2], void, []))
    assert not story.broken
    story.oracle.knows("node-1", Known(story.head.index, 15, [2], sorted([*void, 12]), []))
    assert story.broken == {Rule.AGREES}


@pytest.mark.parametrize(
    ("records", "rule"),
    [
        ((passed(4, 2), assigned(6, "COR-6")), Rule.ASSIGNED),
        ((passed(4, 2), assigned(6, site="site-1")), Rule.ASSIGNED),
        ((passed(4, 1), assigned(5)), Rule.ASSIGNED),
        ((passed(4, 1), assigned(6)), Rule.COMPLETE),
        ((assigned(6),), Rule.COMPLETE),
        ((passed(3, 3), assigned(6)), Rule.COMPLETE),
    ],
)
def test_who_names_a_number_gets_that_and_all_before_it_is_void(
    story: Story, records: tuple[Record, ...], rule: Rule
) -> None:
    story.ask(Kind.ASSIGN, 6)
    story.write(*records)
    assert rule in story.broken


def test_a_gap_cannot_be_named(story: Story) -> None:
    story.ask(Kind.ASSIGN, 2)
    gap = Reused(2, 4, 5_000)
    story.write(assigned(4)._replace(fresh=0, reused=(gap,), given=Given(text_of(2), WHY)))
    assert Rule.ASSIGNED in story.broken


@pytest.mark.parametrize(
    ("records", "rule"),
    [
        ((in_place_of(1, 4), voided(1, 4)), Rule.LOWEST),  # 2 is a gap
        ((in_place_of(1, 4), voided(1)), Rule.REPLACES),
        ((voided(1, 4),), Rule.REPLACES),
        ((in_place_of(3, 4), voided(1, 4)), Rule.REPLACES),
        ((in_place_of(1, 4, OFFICE), voided(1, 4)), Rule.OWNER),
        ((in_place_of(2, 4), voided(2, 4)), Rule.REPLACES),
    ],
)
def test_a_number_and_the_one_in_its_place_name_each_other(
    story: Story, records: tuple[Record, ...], rule: Rule
) -> None:
    story.ask(Kind.REPLACE, records[-1].number)
    story.write(*records)
    assert rule in story.broken


def test_a_replacement_takes_the_lowest_gap(story: Story) -> None:
    story.ask(Kind.REPLACE, 1)
    gap = Reused(2, 4, 5_000)
    place = in_place_of(1, 4)._replace(fresh=0, reused=(gap,), given=Given(text_of(2), WHY, 1))
    story.write(place, voided(1, 2), gaps="-2")
    assert not story.broken, story.oracle.findings


@pytest.mark.parametrize(
    ("again", "rule"),
    [
        (voided(1, request="o2"), Rule.GIVEN_UP),
        (Released(cause("o2", "site-1"), 1, 1, WHY), Rule.COMPLETE),
        (Issued(cause("o2", "site-1"), 4, 0, (Reused(1, 5, 5_000),)), Rule.GIVEN_UP),
    ],
)
def test_a_void_number_is_void_for_ever(story: Story, again: Record, rule: Rule) -> None:
    story.ask(Kind.VOID, 1)
    story.write(voided(1))
    assert not story.broken
    story.ask(Kind.VOID, 1, "o2")
    story.write(again)
    assert rule in story.broken


def test_only_what_somebody_has_for_good_is_voided(story: Story) -> None:
    story.ask(Kind.VOID, 2)
    story.write(voided(2))
    assert Rule.COMPLETE in story.broken


def test_the_count_never_goes_back(story: Story) -> None:
    story.ask(Kind.ADJUST, 9)
    story.write(passed(4, 5))
    story.ask(Kind.VOID, 1, "o2")
    story.write(voided(1, request="o2"), next=5)
    assert Rule.FORWARD in story.broken


def test_an_import_is_what_the_file_has(story: Story) -> None:
    story.ask(Kind.IMPORT, 5, runs=((5, 1), (8, 1)))
    story.write(Imported(cause("o1"), 4, ((5, 4),), "import", ROWS))
    assert story.broken == {Rule.ASKED}


@pytest.mark.parametrize(
    "record",
    [
        Issued(cause("o2"), 4, 0, (Reused(2, 4, 5_000),)),
        Released(cause("o2", "site-1"), 1, 1, WHY),
        passed(4, 2, "o2"),
        Imported(cause("o2"), 4, ((4, 1),), "import", ROWS),
        Closed(cause("o2"), WHY),
    ],
)
def test_nothing_goes_out_or_comes_back_after_a_close(story: Story, record: Record) -> None:
    story.ask(Kind.CLOSE)
    story.write(Closed(cause("o1"), WHY))
    assert not story.broken
    story.ask(Kind.ADJUST, 6, "o2")
    story.write(record)
    assert story.oracle.findings[0].rule is Rule.CLOSED


def test_nothing_is_reserved_at_a_close(story: Story) -> None:
    story.oracle.hear(Asked("r1", "node-1", Kind.RESERVE, "site-1"))
    story.ask(Kind.ADJUST, 4, "o2")
    held = Held(token_of("r1"), 6_000, text_of(4))
    story.ask(Kind.CLOSE)
    reserved = Issued(cause("r1", "site-1"), 4, 1, held=held)
    story.write(reserved, Closed(cause("o1"), WHY))
    assert Rule.CLOSED in story.broken


@pytest.mark.parametrize(
    ("kind", "number", "why", "said", "is_true"),
    [
        (Kind.ASSIGN, 3, Why.TAKEN, "issued", True),
        (Kind.ASSIGN, 2, Why.TAKEN, "free", True),
        (Kind.ASSIGN, 2, Why.TAKEN, "issued", True),  # that it was in the question's time
        (Kind.ASSIGN, 0, Why.TAKEN, "below the start", True),
        (Kind.ASSIGN, 3, Why.TAKEN, "void", False),
        (Kind.ASSIGN, 4, Why.TAKEN, "issued", False),
        (Kind.ADJUST, 4, Why.NOT_AHEAD, "4", True),
        (Kind.ADJUST, 5, Why.NOT_AHEAD, "4", False),
        (Kind.ADJUST, 8, Why.FAR_AHEAD, "4", True),
        (Kind.ADJUST, 7, Why.FAR_AHEAD, "3", False),
        (Kind.ASSIGN, LAST + 1, Why.EXHAUSTED, str(LAST), True),
        (Kind.ASSIGN, LAST, Why.EXHAUSTED, str(LAST), False),
        (Kind.VOID, 2, Why.ALREADY_FREE, "2", True),
        (Kind.VOID, 1, Why.VOID, "1", False),
        (Kind.VOID, 1, Why.OTHER_TEXT, text_of(1), False),
        (Kind.CLOSE, 0, Why.OPEN_RESERVATIONS, "1", False),
        (Kind.CLOSE, 0, Why.CLOSED, "", False),
    ],
)
def test_what_an_operator_is_refused_for_was_so(
    story: Story,
    kind: Kind,
    number: int,
    why: Why,
    said: str,
    is_true: bool,  # noqa: FBT001 - a column of the table
) -> None:
    if (number, said) == (2, "issued"):
        story = Story.__new__(Story)
        story.oracle, story.head = Oracle(KEYS, 1, LAST), Head(start=1, next=1)
        story.oracle.hear(Asked("q", "node-1", Kind.ISSUE, "site-1", quantity=2))
        story.ask(kind, number)
        story.write(Issued(cause("q", "site-1"), 1, 2))
    else:
        story.ask(kind, number, pass_over_max=3)
    story.refuse(why, said)
    assert story.broken == (set() if is_true else {Rule.TRUE_REFUSAL})


@pytest.mark.parametrize(("said", "is_true"), [("4", True), ("2", False)])
def test_an_import_that_would_pass_over_too_many_was_so(
    story: Story,
    said: str,
    is_true: bool,  # noqa: FBT001 - a column of the table
) -> None:
    story.ask(Kind.IMPORT, 6, runs=((6, 1), (9, 1)), pass_over_max=3)  # the next is 4
    story.refuse(Why.FAR_AHEAD, said)
    assert story.broken == (set() if is_true else {Rule.TRUE_REFUSAL})


def test_an_imported_number_is_written_as_the_file_says(story: Story) -> None:
    story.ask(Kind.IMPORT, 4, runs=((4, 1),))
    story.write(Imported(cause("o1"), 4, ((4, 1),), "import", ROWS))
    story.ask(Kind.VOID, 4, "o2", text="no 4")
    story.refuse(Why.OTHER_TEXT, text_of(4), request="o2")
    assert not story.broken


def test_a_refusal_after_a_close_and_of_a_void_number_is_true(story: Story) -> None:
    story.ask(Kind.VOID, 1)
    story.write(voided(1))
    story.ask(Kind.CLOSE, 0, "o2")
    story.write(Closed(cause("o2"), WHY))
    story.ask(Kind.ASSIGN, 9, "o3")
    story.refuse(Why.CLOSED, request="o3")
    story.ask(Kind.VOID, 1, "o4")
    story.refuse(Why.VOID, "1", request="o4")
    assert not story.broken
