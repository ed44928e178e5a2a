"""Which rows are wanted, and how rows become pieces: by hand, and against a plain model."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.importing import (
    PIECE_BYTES,
    ImportedRow,
    counters_max,
    decode_rows,
    missing,
    pieces,
    runs_of,
)
from coordinator.core.unreadable import Unreadable
from coordinator.import_files.choice import BadChoice, Choice

NUMBERS = st.sets(st.integers(1, 60))


def test_nothing_chosen_is_everything() -> None:
    assert all(Choice.of(text).takes(row) for text in ("", " ") for row in (1, 2, 1_048_576))


def test_ranges_that_touch_are_one() -> None:
    assert str(Choice.of("15, 2-10,11 ,4-6, 20-21")) == "2-11,15,20-21"


@given(NUMBERS.filter(bool))
def test_each_row_that_is_named_is_taken_and_no_other(rows: set[int]) -> None:
    for text in (",".join(map(str, rows)), ",".join(f"{n}-{n}" for n in sorted(rows)[::-1])):
        assert {row for row in range(70) if Choice.of(text).takes(row)} == rows


@pytest.mark.parametrize(
    "text", ["0", "5-2", "-3", "1-", "a", "1;2", "1,,2", "9999999", "1.5", "٣"]
)
def test_what_is_no_choice_is_refused(text: str) -> None:
    with pytest.raises(BadChoice):
        Choice.of(text)


@given(NUMBERS)
def test_runs_hold_the_same_numbers_and_what_is_missing_is_the_rest(numbers: set[int]) -> None:
    runs = runs_of(sorted(numbers))
    assert [n for first, many in runs for n in range(first, first + many)] == sorted(numbers)
    assert all(a + many < b for (a, many), (b, _) in itertools.pairwise(runs))
    for following in (1, 30):
        left_out = [n for run in missing(following, runs) for n in run]
        assert left_out == sorted(set(range(following, max(numbers, default=0))) - numbers)


def test_rows_come_back_from_their_pieces_whatever_they_hold() -> None:
    rows = [ImportedRow(n, f"N{n}", "", "ä\u2028" * 1_000 * (n % 3)) for n in range(2, 400, 2)]
    found = list(pieces(rows))
    assert len(found) > 1
    assert max(len(content) for _, content in found) <= PIECE_BYTES + 2
    assert [row for _, content in found for row in decode_rows(content)] == rows
    assert [name.first for name, _ in found] == [decode_rows(c)[0].number for _, c in found]
    assert list(pieces(rows)) == found


@pytest.mark.parametrize("content", [b"{", b"[1]", b"[[1,2,3,4]]", b'[["1","","",""]]', b"[[]]"])
def test_what_is_no_piece_of_rows_is_unreadable(content: bytes) -> None:
    with pytest.raises(Unreadable):
        decode_rows(content)


def test_counters_of_an_import_are_bounded_by_the_limits_of_etcd() -> None:
    assert (counters_max(128), counters_max(16)) == (42, 4)
