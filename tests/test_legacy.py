"""Numbers that were issued elsewhere: which counters they are of, and what does not fit."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.catalogue import Catalogue, Series
from coordinator.core.documents import counter_of, values_of
from coordinator.core.legacy import Found, Named, sort_out
from coordinator.core.periods import period_values, told_by
from coordinator.core.starter import STARTER
from coordinator.core.templates import Scope, render

MONTHLY_SHOWN = Series("LET", "{PREFIX}-{YYYY}{MM}-{SEQ:5}", "LET", (Scope.YEARLY,), start=10)
CATALOGUE = STARTER.with_new(MONTHLY_SHOWN)


def sorted_out(*texts: str, catalogue: Catalogue = CATALOGUE) -> tuple[list[Found], list[str]]:
    some = [Named(at, text[:3], text) for at, text in enumerate(texts, 2)]
    found, misfits = sort_out(catalogue, some)
    return found, [f"{misfit.place}: {misfit.sentence}" for misfit in misfits]


def test_numbers_are_sorted_by_counter_and_in_each_of_them() -> None:
    found, wrong = sorted_out(
        "COR-2025-00003", "COR-2025-00007", "COR-2024-00001", "RFA-P1-2025-00002", "COR-2025-00001"
    )
    assert not wrong
    assert [(each.counter, each.places) for each in found] == [
        ("documents/COR/yearly=2024", ((1, 4),)),
        ("documents/COR/yearly=2025", ((1, 6), (3, 2), (7, 3))),
        ("documents/RFA/project=P1/yearly=2025", ((2, 5),)),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("XYZ-2025-00001", "no series 'XYZ' is defined; there are COR, DRW, LET, RFA, TRN"),
        ("COR-2025-1", "does not read like {PREFIX}-{YYYY}-{SEQ:5} (NB006)"),
        ("COR-25-00001", "does not read like"),
        ("COR-2025-00000", "does not read like"),
        ("COR-2025-9999999", "does not read like"),
        ("LET-202501-00009", "below 10, where the series starts"),
    ],
)
def test_what_fits_no_series_is_told_by_its_row(text: str, said: str) -> None:
    found, (wrong,) = sorted_out(text)
    assert wrong.startswith("2: ")
    assert said in wrong
    assert not found


def test_of_many_series_a_row_names_only_some() -> None:
    many = tuple(replace(MONTHLY_SHOWN, document_type=f"T{at:03}") for at in range(300))
    _, (wrong,) = sorted_out("XYZ-2025-00001", catalogue=Catalogue(1, many))
    assert wrong.endswith("T018, T019, ...")


def test_a_row_that_is_right_alone_may_be_wrong_beside_another() -> None:
    found, (wrong,) = sorted_out("LET-202501-00010", "LET-202503-00010")
    assert "number 10 of documents/LET/yearly=2025, as row 2 is ('LET-202501-00010')" in wrong
    assert found[0].places == ((10, 2),)


@given(st.integers(2000, 2099), st.integers(1, 12), st.integers(1, 12), st.integers(1, 99_999))
def test_whatever_a_series_writes_is_found_in_its_counter(
    year: int, month: int, fiscal_month: int, number: int
) -> None:
    for scopes, template in (
        ((Scope.YEARLY,), "X-{YY}-{MM}-{SEQ:5}"),
        ((Scope.YEARLY,), "X-{FY}-{MM}-{SEQ:5}"),
        ((Scope.MONTHLY,), "X-{FY}-{MM}-{SEQ:5}"),
        ((Scope.FISCAL,), "X-{YYYY}-{MM}-{SEQ:5}"),
    ):
        series = Series("X", template, "X", scopes, max_value=99_999, fiscal_month=fiscal_month)
        values = values_of(series, {}, year, month)
        text = render(series.format, values, number)
        found, misfits = sort_out(Catalogue(1, (series,)), [Named(2, "X", text)])
        assert not misfits
        assert [(each.counter, each.places) for each in found] == [
            (counter_of(series, values), ((number, 2),))
        ]


def test_what_tells_a_period_and_what_does_not() -> None:
    told = told_by({"FY": "2026"}, 1)
    assert told == {"FY": "2026", "YYYY": "2026", "YY": "26"}
    assert told_by({"FY": "2026"}, 10) == {"FY": "2026"}
    assert told_by({"FY": "2026", "MM": "11"}, 10) == period_values(2025, 11, 10)
    assert told_by({"YY": "31"}, 4)["YYYY"] == "2031"
    assert told_by({"YYYY": "2026", "FY": "2030"}, 4) == {}, "no date has these"


def test_a_series_is_read_by_the_definition_that_is_in_force() -> None:
    changed = CATALOGUE.with_changed(replace(MONTHLY_SHOWN, prefix="LTR"))
    found, misfits = sort_out(changed, [Named(2, "LET", "LTR-202501-00010")])
    assert not misfits
    assert found[0].counter == "documents/LET/yearly=2025"
