"""Templates of document numbers: what is refused and why, what is written, and what is read."""

from collections.abc import Mapping

import pytest

from coordinator.core.periods import fiscal_year, period_values
from coordinator.core.template_check import check
from coordinator.core.templates import (
    BadValue,
    Extracted,
    Scope,
    SeriesFormat,
    Template,
    extract,
    matches,
    render,
)
from coordinator.core.tokens import BadTemplate, Kind, kind_of, one_of

USUAL = "{PREFIX}-{PROJECT}-{YYYY}-{SEQ:5}"
SITES = {"SITE": one_of(["site-1", "site-2"])}


def series(
    text: str,
    scopes: str = "",
    prefix: str = "COR",
    max_value: int = 999_999,
    fiscal_month: int = 1,
    tokens: Mapping[str, Kind] | None = None,
    start: int = 1,
) -> SeriesFormat:
    template = Template.parse(text, tokens)
    chosen = frozenset(Scope(scope) for scope in scopes.split())
    return SeriesFormat(template, prefix, chosen, start, max_value, fiscal_month)


def checked(*args, **kwargs) -> SeriesFormat:
    passed = series(*args, **kwargs)
    check(passed)
    return passed


ILL_FORMED = [
    ("INV-2026", "there is no number in the template: add {SEQ:n}, such as {SEQ:5}"),
    ("", "there is no number in the template: add {SEQ:n}, such as {SEQ:5}"),
    ("{SEQ:5}-{SEQ:5}", "{SEQ:5} at position 9 is the second: only one may stand"),
    *(
        (
            f"INV-{token}",
            f"{token} at position 5 needs its least number of digits, 1 to 18: such as {{SEQ:5}}",
        )
        for token in ("{SEQ}", "{SEQ:}", "{SEQ:0}", "{SEQ:05}", "{SEQ:19}", "{SEQ:x}", "{SEQ:-1}")
    ),
    (
        "INV-{YEAR}-{SEQ:5}",
        (
            "{YEAR} at position 5 is unknown: there are {PREFIX} {SITE} {PARTITION} {PROJECT}"
            " {CONTRACT} {YYYY} {YY} {MM} {FY} {SEQ:n}"
        ),
    ),
    ("{yyyy}", "{yyyy} at position 1 is unknown: write {YYYY}, in capitals and without spaces"),
    (
        "{ SEQ:5}",
        "{ SEQ:5} at position 1 is unknown: write {SEQ:n}, in capitals and without spaces",
    ),
    ("{}{SEQ:5}", "{} at position 1 is unknown: there are {PREFIX} "),
    ("{YY:2}{SEQ:5}", "{YY:2} at position 1 takes no option: write {YY}"),
    ("{FY:}{SEQ:5}", "{FY:} at position 1 takes no option: write {FY}"),
    (
        "{{SEQ:5}}",
        (
            "'{' at position 1: no '}' closes it; braces stand around tokens only and cannot be"
            " literal text"
        ),
    ),
    ("INV-{SEQ:5", "'{' at position 5: no '}' closes it; "),
    ("INV-{SEQ:5}}", "'}' at position 12: no '{' opens it; "),
    ("INV}{SEQ:5}", "'}' at position 4: no '{' opens it; "),
    ("INV\n{SEQ:5}", "the character U+000A at position 4: use printable ASCII only"),
    ("INV\x7f{SEQ:5}", "the character U+007F at position 4: use printable ASCII only"),
    ("№-{SEQ:5}", "the character U+2116 at position 1: use printable ASCII only"),
    (" INV-{SEQ:5}", "a space at the beginning or the end cannot be seen: take it away"),
    ("INV-{SEQ:5} ", "a space at the beginning or the end cannot be seen: take it away"),
    ("INV  {SEQ:5}", "two spaces in a row at position 4 read like one: take one away"),
    ("-" * 200 + "{SEQ:5}", "207 characters: a template has at most 200"),
]


@pytest.mark.parametrize(("text", "sentence"), ILL_FORMED)
def test_a_template_that_is_ill_formed_is_refused_with_the_place_and_a_way_out(text, sentence):
    with pytest.raises(BadTemplate) as refused:
        Template.parse(text)
    assert str(refused.value).startswith(sentence)


AT_LEAST = "the largest number has 9 characters, 10 at least must be: widen {SEQ:n} or add text"
BOUNDS = "they must go up, from 1 at least to 999999999999999999 at most"
TELL_APART = (
    "; separate them by a character that the values cannot hold, such as '-', or declare a token"
    " of fixed width"
)


def yearless(kind: str, one: str, other: str, missing: str) -> str:
    return (
        f"the series counts {kind}, but numbers of {one} and {other} would read alike, which are"
        f" of two counters; add {missing}"
    )


UNFIT = [
    (
        {"text": "{PREFIX}-{YYYY}-{SEQ:5}", "scopes": "PROJECT YEARLY"},
        ("the series counts by PROJECT, but {PROJECT} is not in the template: numbers of two"
        " counters would read alike; add {PROJECT}"),
    ),
    (
        {"text": "{PREFIX}-{MM}-{SEQ:5}", "scopes": "YEARLY"},
        yearless("YEARLY", "2000-01", "2001-01", "{YYYY}"),
    ),
    (
        {"text": "{PREFIX}-{FY}-{SEQ:5}", "scopes": "YEARLY", "fiscal_month": 4},
        yearless("YEARLY", "2000-04", "2001-01", "{YYYY}"),
    ),
    (
        {"text": "{PREFIX}-{YYYY}-{SEQ:5}", "scopes": "MONTHLY"},
        yearless("MONTHLY", "2000-01", "2000-02", "{YYYY} and {MM}"),
    ),
    (
        {"text": "{PREFIX}-{MM}-{SEQ:5}", "scopes": "MONTHLY"},
        yearless("MONTHLY", "2000-01", "2001-01", "{YYYY} and {MM}"),
    ),
    (
        {"text": "{PREFIX}-{YYYY}-{SEQ:5}", "scopes": "FISCAL", "fiscal_month": 10},
        yearless("FISCAL", "2000-01", "2000-10", "{FY}"),
    ),
    ({"text": "{PREFIX}-{SEQ:5}", "max_value": 99_999}, AT_LEAST),
    (
        {"text": "{PROJECT}-{CONTRACT}-{YYYY}-{SEQ:5}"},
        ("numbers can have 53 characters, 50 at most may be ({PROJECT} 20, {CONTRACT} 20, {YYYY} 4,"
        " {SEQ:5} 6): shorten the template, list the values of a token or declare it shorter"
        " (TEXT:8)"),
    ),
    (
        {"text": "{PREFIX}-{SEQ:5}", "prefix": ""},
        ("the prefix '' cannot be written: 1 to 20 characters of printable ASCII, without spaces"
        " and braces"),
    ),
    ({"text": "{PREFIX}-{SEQ:5}", "prefix": "{A}"}, "the prefix '{A}' cannot be written: "),
    ({"text": "INVOICE-{SEQ:5}", "max_value": 0}, f"numbers from 1 to 0: {BOUNDS}"),
    ({"text": "INVOICE-{SEQ:5}", "start": 0}, f"numbers from 0 to 999999: {BOUNDS}"),
    ({"text": "INVOICE-{SEQ:5}", "start": 10**6}, f"numbers from 1000000 to 999999: {BOUNDS}"),
    ({"text": "INVOICE-{SEQ:5}", "max_value": 10**18}, f"numbers from 1 to {10**18}: {BOUNDS}"),
    (
        {"text": "INVOICE-{SEQ:5}", "fiscal_month": 13},
        "13 is no first month of fiscal years: 1 to 12",
    ),
    (
        {"text": "{PREFIX}-{PROJECT}{SEQ:4}"},
        ("{PROJECT}{SEQ:4} can be read in two ways: 'COR-A10001' is PROJECT A1, SEQ 0001, or"
        f" PROJECT A, SEQ 10001{TELL_APART}"),
    ),
    (
        {"text": "{SEQ:3}{CODE}-INV", "tokens": {"CODE": kind_of("TEXT:2")}},
        ("{SEQ:3}{CODE} can be read in two ways: '1111A-INV' is SEQ 111, CODE 1A, or SEQ 1111,"
        f" CODE A{TELL_APART}"),
    ),
    (
        {"text": "{PROJECT}_{SEQ:5}_{CONTRACT}"},
        ("{PROJECT}_{SEQ:5}_{CONTRACT} can be read in two ways: 'A_00001_00001_A' is PROJECT"
        " A_00001, SEQ 00001, CONTRACT A, or PROJECT A, SEQ 00001, CONTRACT 00001_A"),
    ),
    (
        {"text": "{SITE}-{LOT}-{SEQ:5}", "tokens": {
            "SITE": one_of(["a", "a-1"]), "LOT": one_of(["1-1", "1"])}},
        ("{SITE}-{LOT} can be read in two ways: 'a-1-1-00001' is SITE a, LOT 1-1, SEQ 00001, or"
        " SITE a-1, LOT 1, SEQ 00001"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("fixed", "sentence"), UNFIT)
def test_a_template_that_does_not_fit_its_series_is_refused_with_the_reason(fixed, sentence):
    with pytest.raises(BadTemplate) as refused:
        check(series(**fixed))
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize(
    ("declare", "sentence"),
    [
        (lambda: kind_of("TEXT:21"), "'TEXT:21' is too long: a value has at most 20"),
        (lambda: kind_of("DIGITS"), "'DIGITS' is no kind of token: write TEXT, TEXT:n (at most n"),
        (lambda: kind_of("DIGITS:0"), "'DIGITS:0' is no kind of token: "),
        (lambda: kind_of("HEX:4"), "'HEX:4' is no kind of token: "),
        (lambda: one_of([]), "a list of 0 values: a token needs 1 to 1000"),
        (lambda: one_of(map(str, range(1001))), "a list of 1001 values: a token needs 1 to 1000"),
        (lambda: one_of(["a b"]), "the value 'a b' cannot be written: 1 to 20 characters of"),
        (lambda: one_of(["x" * 21]), f"the value '{'x' * 21}' cannot be written: "),
        (lambda: one_of([""]), "the value '' cannot be written: "),
        (lambda: series("{SEQ:5}", tokens={"YYYY": kind_of("TEXT")}), "{YYYY} has its own meaning"),
        (lambda: series("{SEQ:5}", tokens={"SEQ": kind_of("TEXT")}), "{SEQ} has its own meaning"),
        (lambda: series("{SEQ:5}", tokens={"lot": kind_of("TEXT")}), "'lot' cannot name a token: "),
        (
            lambda: series("{SEQ:5}", tokens={"LOT": series("{SEQ:5}").parts[0].kind}),
            "{LOT} cannot count: {SEQ:n} is the only number",
        ),
    ],
)
def test_a_declared_token_that_cannot_be_is_refused_with_the_reason(declare, sentence):
    with pytest.raises(BadTemplate) as refused:
        declare()
    assert str(refused.value).startswith(sentence)


FIT = [
    {"text": USUAL, "scopes": "PROJECT YEARLY"},
    {"text": USUAL},  # more tokens than scopes
    {"text": "{PREFIX}-{YY}-{SEQ:5}", "scopes": "YEARLY"},
    {"text": "{PREFIX}-{FY}-{SEQ:5}", "scopes": "YEARLY"},  # fiscal years are calendar years
    {"text": "{PREFIX}-{FY}{MM}-{SEQ:5}", "scopes": "YEARLY MONTHLY FISCAL", "fiscal_month": 4},
    {"text": "{PREFIX}-{YY}{MM}-{SEQ:5}", "scopes": "FISCAL MONTHLY", "fiscal_month": 4},
    {"text": "{PREFIX}/{FY}/{SEQ:5}", "scopes": "FISCAL", "fiscal_month": 4},
    {"text": "{PREFIX}{PROJECT}{SEQ:4}", "max_value": 9_999},  # the number has a fixed width
    {"text": "{PROJECT}{YYYY}-{SEQ:5}"},
    {"text": "{SEQ:5}{YYYY}{MM}"},
    {"text": "{PROJECT}_{SEQ:5}"},  # only the last '_' can be the separator
    {"text": "{PROJECT}.{LOT}-{SEQ:5}", "tokens": {"LOT": kind_of("LETTERS:2")}},
    {"text": "{PROJECT}-{CONTRACT}-{SEQ:5}", "tokens": {"PROJECT": kind_of("TEXT:8")}},
    {"text": "{SITE}-{SEQ:5}", "scopes": "SITE", "tokens": SITES},
    {"text": "{PREFIX}-{PROJECT}-{SEQ:5}-{PROJECT}", "prefix": "C", "max_value": 99_999},
    {"text": "Invoice {YYYY} No. {SEQ:1}"},
    {"text": "{PREFIX}-{PROJECT}-{CONTRACT}-{SEQ:5}", "prefix": "C"},  # just 50 characters
    {"text": "INV-{SEQ:5}", "start": 999_999},  # just 10 characters
    {"text": "{PREFIX}-{SEQ:18}", "prefix": "-", "max_value": 10**18 - 1},
]


@pytest.mark.parametrize("fixed", FIT, ids=lambda fixed: fixed["text"])
def test_a_template_that_fits_passes(fixed):
    check(series(**fixed))


def test_a_number_is_written_and_read_with_its_values():
    usual = checked(USUAL, "PROJECT YEARLY")
    values = {"PROJECT": "LCBP3", **period_values(2026, 3, 1)}
    text = "COR-LCBP3-2026-00042"
    assert render(usual, values, 42) == text
    assert extract(usual, text) == Extracted(42, {"PROJECT": "LCBP3", "YYYY": "2026"})
    listed = checked("{SITE}-{SEQ:5}", tokens=SITES)
    assert extract(listed, "site-2-123456") == Extracted(123_456, {"SITE": "site-2"})


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("COR-00042", True),
        ("COR-42", False),
        ("COR-000042", False),
        ("COR-00000", False),
        ("COR-123456", True),
        ("COR-500000", True),
        ("COR-500001", False),
        ("COR-1234567", False),
        ("COR-0004२", False),
        ("cor-00042", False),
        ("COR-00042\n", False),
        ("XCOR-00042", False),
        ("", False),
    ],
)
def test_a_number_is_read_only_as_it_is_written(text, read):
    plain = checked("{PREFIX}-{SEQ:5}", max_value=500_000)
    assert matches(plain, text) is read


def test_a_token_that_occurs_twice_has_one_value():
    twice = checked("{PROJECT}-{SEQ:5}-{PROJECT}")
    assert matches(twice, "A1-00001-A1")
    assert not matches(twice, "A1-00001-A2")


def test_the_periods_of_a_number_are_of_one_date():
    shown = checked("{PREFIX}-{YYYY}-{YY}-{FY}-{MM}-{SEQ:5}", fiscal_month=4)
    assert matches(shown, "COR-2026-26-2026-03-00001")
    assert not matches(shown, "COR-2026-26-2026-04-00001")
    assert not matches(shown, "COR-2026-25-2026-03-00001")
    assert not matches(shown, "COR-2026-26-2026-13-00001")
    assert not matches(checked("{PREFIX}-{YYYY}-{SEQ:5}"), "COR-0026-00001")
    neighbours = checked("{PREFIX}-{YY}-{FY}-{SEQ:5}", fiscal_month=4)
    assert [matches(neighbours, f"COR-26-{fy}-00001") for fy in range(2025, 2029)] == [
        *(False, True, True, False)
    ]
    with pytest.raises(BadValue, match="no date is of YYYY 2026, YY 26, MM 04, FY 2026: take them"):
        render(shown, {**period_values(2026, 3, 4), "MM": "04"}, 1)


BAD_VALUES = [
    ({"YYYY": "2026"}, 1, "PROJECT", "{PROJECT} has no value"),
    (
        {"PROJECT": "A-1", "YYYY": "2026"},
        1,
        "PROJECT",
        "{PROJECT} cannot be 'A-1': it takes 1 to 20 characters (letters, digits, '_' and '.')",
    ),
    ({"PROJECT": "", "YYYY": "2026"}, 1, "PROJECT", "{PROJECT} cannot be '': it takes 1 to 20 "),
    (
        {"PROJECT": "A", "YYYY": "26"},
        1,
        "YYYY",
        "{YYYY} cannot be '26': it takes 4 characters (digits)",
    ),
    ({"PROJECT": "A", "YYYY": "0999"}, 1, "YYYY", "no date is of YYYY 0999: take them all from "),
    ({"PROJECT": "A", "YYYY": "2026"}, 0, "SEQ", "number 0: this series goes from 1 to 999999"),
    ({"PROJECT": "A", "YYYY": "2026"}, 10**6, "SEQ", "number 1000000: this series goes from 1 to"),
]


@pytest.mark.parametrize(("values", "number", "token", "sentence"), BAD_VALUES)
def test_a_number_that_cannot_be_written_is_refused(values, number, token, sentence):
    with pytest.raises(BadValue) as refused:
        render(checked(USUAL), values, number)
    assert str(refused.value).startswith(sentence)
    assert refused.value.token == token


def test_a_text_too_long_is_refused_even_in_a_format_that_nobody_has_checked():
    long = series("{PROJECT}-{CONTRACT}-{YYYY}-{SEQ:5}")
    values = {"PROJECT": "P" * 19, "CONTRACT": "C" * 19, "YYYY": "2026"}
    assert len(render(long, values, 99_999)) == 50
    with pytest.raises(BadValue, match="has 51 characters: at most 50 fit") as refused:
        render(long, values, 100_000)
    assert refused.value.token == ""
    assert matches(long, render(long, values, 99_999))
    assert not matches(long, f"{'P' * 20}-{'C' * 19}-2026-00001")


def test_values_of_a_list_are_named_in_the_refusal():
    listed = series("{SITE}-{SEQ:5}", tokens={"SITE": one_of(f"site-{n}" for n in range(8))})
    with pytest.raises(BadValue, match=r"it takes one of site-0, .*, site-4 and 3 more$"):
        render(listed, {"SITE": "site-9"}, 1)


def test_two_digits_of_a_year_stand_for_one_century():
    short = checked("{PREFIX}-{YY}-{SEQ:5}", "YEARLY")
    assert render(short, period_values(2000, 1, 1), 1) == "COR-00-00001"
    assert render(short, period_values(2099, 1, 1), 1) == "COR-99-00001"
    for year in (1999, 2100):
        with pytest.raises(BadValue, match=f"stands for 2000 to 2099, and the year is {year}; use"):
            render(short, period_values(year, 1, 1), 1)


@pytest.mark.parametrize(
    ("date", "fiscal_month", "named"),
    [
        ((2026, 1), 1, 2026),
        ((2026, 12), 1, 2026),
        ((2026, 3), 4, 2026),
        ((2026, 4), 4, 2027),
        ((2025, 9), 10, 2025),
        ((2025, 10), 10, 2026),  # as the United States count
        ((2026, 11), 12, 2026),
        ((2026, 12), 12, 2027),
    ],
)
def test_a_fiscal_year_is_named_after_the_year_in_which_it_ends(date, fiscal_month, named):
    assert fiscal_year(*date, fiscal_month) == named
    assert period_values(*date, fiscal_month)["FY"] == str(named)


def test_periods_have_their_full_width_and_only_dates_have_them():
    assert period_values(2026, 3, 4) == {"YYYY": "2026", "YY": "26", "MM": "03", "FY": "2026"}
    for date in [(999, 1, 1), (9999, 1, 1), (2026, 0, 1), (2026, 13, 1), (2026, 1, 0)]:
        with pytest.raises(ValueError, match="is no "):
            period_values(*date)
