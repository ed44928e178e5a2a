"""Series whose numbers could read alike are told; what a machine reads is what a kind says."""

import itertools

import pytest

from coordinator.core.likeness import END, Machine
from coordinator.core.template_check import check
from coordinator.core.templates import (
    Scope,
    SeriesFormat,
    Template,
    could_read_alike,
    matches,
)
from coordinator.core.tokens import DIGITS, Chars, Kind, Number, OneOf, kind_of

YEARLY = frozenset({Scope.YEARLY})


def usual(
    text: str = "{PREFIX}-{PROJECT}-{YYYY}-{SEQ:5}",
    prefix: str = "COR",
    scopes: frozenset[Scope] = frozenset({Scope.PROJECT, Scope.YEARLY}),
    max_value: int = 999_999,
    fiscal_month: int = 1,
    tokens: dict[str, Kind] | None = None,
) -> SeriesFormat:
    series = SeriesFormat(Template.parse(text, tokens), prefix, scopes, 1, max_value, fiscal_month)
    check(series)
    return series


def dated(text: str, scope: Scope, fiscal_month: int) -> SeriesFormat:
    return usual(text, scopes=frozenset({scope}), fiscal_month=fiscal_month)


SERIES_APART = [
    (usual(), usual(prefix="RFA"), None),
    (usual(), usual(), "COR-A-1111-00001"),
    (usual(), usual(max_value=99), "COR-A-1111-00001"),
    (usual(), usual("{PREFIX}/{PROJECT}/{YYYY}/{SEQ:5}"), None),
    (usual(), usual("{PREFIX}-{PROJECT}-{YYYY}-{SEQ:6}"), "COR-A-1111-111111"),
    (usual(max_value=99_999), usual("{PREFIX}-{PROJECT}-{YYYY}-{SEQ:6}"), None),
    (
        usual("{PREFIX}-{SEQ:5}", "INV", frozenset()),
        usual("{PREFIX}-{YYYY}-{SEQ:5}", "INV", YEARLY),
        None,
    ),
    (
        usual("{PREFIX}-{SEQ:5}", "INV", frozenset()),
        usual("{PREFIX}{SEQ:5}", "INV-", frozenset()),
        "INV-00001",
    ),
    (
        usual("{PREFIX}-{SEQ:7}", "INV", frozenset()),
        usual("{PREFIX}-{PROJECT}{SEQ:5}", "INV", frozenset(), 99_999),
        "INV-0000001",
    ),
    (
        usual("{PREFIX}-{LOT}-{SEQ:5}", scopes=frozenset(), tokens={"LOT": kind_of("LETTERS:2")}),
        usual("{PREFIX}-{LOT}-{SEQ:5}", scopes=frozenset(), tokens={"LOT": kind_of("DIGITS:2")}),
        None,
    ),
]


@pytest.mark.parametrize(("one", "other", "example"), SERIES_APART)
def test_series_that_could_write_the_same_are_told_with_an_example(one, other, example):
    assert could_read_alike(one, other) == example
    assert (could_read_alike(other, one) is None) == (example is None)
    if example:
        assert matches(one, example)
        assert matches(other, example)


PERIODS_BY_MONTH = "{PREFIX}-{FY}-{MM}-{SEQ:5}"

CHANGES = [
    ("the same", usual(), usual(), None),
    ("wider", usual(), usual("{PREFIX}-{PROJECT}-{YYYY}-{SEQ:6}"), None),
    ("narrower", usual("{PREFIX}-{PROJECT}-{YYYY}-{SEQ:6}"), usual(), None),
    ("another prefix", usual(), usual(prefix="RFA"), None),
    ("another separator", usual(), usual("{PREFIX}/{PROJECT}/{YYYY}-{SEQ:5}"), None),
    ("a separator that looks like a value", usual(), usual("{PREFIX}-{PROJECT}-{YYYY}_{SEQ:5}"),
     None),
    ("another order", usual(), usual("{PREFIX}-{YYYY}-{PROJECT}-{SEQ:5}"), "COR-1111-1111-00001"),
    ("a larger maximum", usual(), usual(max_value=10**8), None),
    ("a digit more before it", usual(), usual("{PREFIX}-{PROJECT}-{YYYY}-1{SEQ:5}"),
     "COR-A-1111-100001"),
    ("one more scope", usual(scopes=YEARLY), usual(), "COR-A-1111-00001"),
    ("no more years", usual("{PREFIX}-{YYYY}-{SEQ:6}", scopes=YEARLY),
     usual("{PREFIX}-{SEQ:4}-{SEASON}", scopes=frozenset(), tokens={"SEASON": kind_of("DIGITS:6")}),
     "COR-0001-000001"),
    ("scopes change places", usual("{SITE}.{PROJECT}-{SEQ:9}", scopes=frozenset({Scope.SITE}),
     tokens={"SITE": kind_of("LETTERS:2")}), usual("{PROJECT}.{SITE}-{SEQ:9}",
     scopes=frozenset({Scope.SITE}), tokens={"SITE": kind_of("LETTERS:2")}), "AA.AA-000000001"),
    ("what no scope needs is read anew", usual("{LOT}.{PROJECT}-{SEQ:9}", scopes=frozenset(),
     tokens={"LOT": kind_of("LETTERS:2")}), usual("{PROJECT}.{LOT}-{SEQ:9}", scopes=frozenset(),
     tokens={"LOT": kind_of("LETTERS:2")}), None),
    ("other fiscal years, their months told", dated(PERIODS_BY_MONTH, Scope.YEARLY, 4),
     dated(PERIODS_BY_MONTH, Scope.YEARLY, 7), "COR-1111-01-00001"),
    ("the month first", dated("{FY}{MM}-{SEQ:5}", Scope.YEARLY, 4),
     dated("{MM}{FY}-{SEQ:5}", Scope.YEARLY, 4), "011101-00001"),
    ("the same fiscal years", dated(PERIODS_BY_MONTH, Scope.YEARLY, 4),
     dated(PERIODS_BY_MONTH, Scope.YEARLY, 4), None),
    ("other fiscal years, each by its name", dated(PERIODS_BY_MONTH, Scope.FISCAL, 4),
     dated(PERIODS_BY_MONTH, Scope.FISCAL, 7), None),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other", "example"), [row[1:] for row in CHANGES],
                         ids=[row[0] for row in CHANGES])  # fmt: skip
def test_a_changed_template_may_not_write_what_was_another_number(one, other, example):
    assert could_read_alike(one, other, same_series=True) == example


SOME = {
    "1 and 11": Chars("1", 1, 2),
    "1 and _": Chars("1_", 1, 2),
    "one digit": Chars("12", 1, 1),
    "two of 0A": Chars("0A", 2, 2),
    "list": OneOf(("-", "1", "1-1", "A")),
    "longer list": OneOf(("-1", "1", "11", "1_")),
}


def accepts(machine: Machine, text: str) -> bool:
    states = {machine.begin}
    for character in text:
        steps = itertools.chain.from_iterable(machine.steps[state] for state in states)
        states = {step.state for step in steps if step.characters >> ord(character) & 1}
    return END in states


@pytest.mark.parametrize("name", SOME)
def test_a_machine_reads_the_values_that_a_regular_expression_matches(name):
    kind = SOME[name]
    machine, matcher = Machine([(kind, "")]), Template.parse("{LOT}={SEQ:9}", {"LOT": kind})
    series = SeriesFormat(matcher)
    for length in range(4):
        for characters in itertools.product("01A_-", repeat=length):
            text = "".join(characters)
            assert accepts(machine, text) == matches(series, f"{text}=000000001")
            assert not accepts(machine, text) or kind.shortest <= length <= kind.longest


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("largest", [1, 7, 9, 10, 42, 99, 100, 205])
def test_a_machine_reads_just_the_numbers_up_to_the_largest(width, largest):
    machine = Machine([(Number(width, largest), "SEQ")])
    series = SeriesFormat(Template.parse(f"{{SEQ:{width}}}"), max_value=largest)
    written = {f"{number:0{width}}" for number in range(1, largest + 1)}
    for length in range(5):
        for digits in itertools.product(DIGITS, repeat=length):
            text = "".join(digits)
            assert accepts(machine, text) == (text in written) == matches(series, text)
