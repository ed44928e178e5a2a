"""Cells of an export that a spreadsheet shows and does not calculate."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.csv_cells import plain_cell, safe_cell


@pytest.mark.parametrize("first", [*"=+-@\t\r\n\0", *"＝＋－＠"])  # noqa: RUF001 - they calculate
def test_what_would_be_calculated_is_text(first: str) -> None:
    assert safe_cell(f"{first}1+1") == f"'{first}1+1"


@pytest.mark.parametrize("text", ["", "42", "INV-1", "a=b", " =1", '"', "№ 1"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert safe_cell(text) == text


@given(st.text(st.sampled_from("'=+-@\t\r\n\0a1;,\"")) | st.text())
def test_nothing_is_calculated_and_all_can_be_undone(text: str) -> None:
    assert safe_cell(text)[:1] not in set("=+-@\t\r\n\0")
    assert plain_cell(safe_cell(text)) == text


def test_a_separator_inside_begins_no_cell_when_all_are_quoted() -> None:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerow([safe_cell('a;=1+"1"')])
    (elsewhere,) = csv.reader([out.getvalue()], delimiter=";")
    assert elsewhere == ['a;=1+"1"']
