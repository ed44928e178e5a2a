"""Which month a document is of: the series' zone decides, not the clock of whoever answers."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.issue_dates import BadDate, Month, month_of, zone_of

BANGKOK, BERLIN, NEW_YORK = map(zone_of, ("Asia/Bangkok", "Europe/Berlin", "America/New_York"))


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize(
    ("zone", "year"), [(BANGKOK, 2026), (BERLIN, 2026), (zone_of("UTC"), 2025), (NEW_YORK, 2025)]
)
def test_at_new_year_the_zone_of_the_series_says_which_year_it_is(zone: object, year: int) -> None:
    moment = "2025-12-31T23:30:00+00:00"
    month = 1 if year == 2026 else 12
    assert month_of(None, zone, ms(moment)) == Month(year, month)  # type: ignore[arg-type]
    assert month_of(moment, zone, 0) == Month(year, month)  # type: ignore[arg-type]


def test_a_date_is_what_it_says_in_every_zone_whenever_it_is_asked() -> None:
    for zone in (BANGKOK, BERLIN, NEW_YORK):
        assert month_of("2025-12-31", zone, ms("2026-02-01T00:00:00+00:00")) == Month(2025, 12)
        assert month_of("2025-12-31T23:59:59", zone, 0) == Month(2025, 12)


@given(st.integers(ms("1950-01-01T00:00:00+00:00"), ms("2100-01-01T00:00:00+00:00")))
def test_a_moment_is_of_the_month_that_its_zone_shows(at_ms: int) -> None:
    moment = datetime.fromtimestamp(at_ms // 1000, UTC)
    for zone in (BANGKOK, BERLIN, NEW_YORK):
        there = moment.astimezone(zone)
        for written in (moment.isoformat(), there.isoformat()):
            assert month_of(written, zone, 0) == Month(there.year, there.month)


NO_DATES = """today|31/12/2025|2025-13-01|2025-02-30|20251231|2026-W01-1|2025-1-1|0001-01-01|
9999-12-31T23:59:59-23:00|2025-12-31T25:00:00|2025-12-31 |2025-12-31-05:00|2025-12-31+14:00|
2025-12-31x10:00"""


@pytest.mark.parametrize("text", ["", *NO_DATES.replace("\n", "").split("|")])
def test_what_is_no_date_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadDate, match=r"2026-01-31|years from"):
        month_of(text, BERLIN, 0)


@pytest.mark.parametrize(
    "name", ["", "localtime", "Factory", "Berlin", "../etc/passwd", "Europe/", "UTC+1", "x" * 500]
)
def test_what_is_no_zone_is_refused_with_an_example(name: str) -> None:
    with pytest.raises(ValueError, match="is no time zone"):
        zone_of(name)
