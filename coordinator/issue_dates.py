"""Which month a document belongs to: by its issue date, in the time zone of its series.

The clock of the node that happens to answer has no say in it. Only a document without an issue date
is of today, and today is a matter of the zone too.
"""

import re
from datetime import UTC, date, datetime
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

YEARS = range(1900, 2200)
"""Anything else is a slip of the pen."""


_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT = re.compile(rf"{_DAY.pattern}[Tt ].*")
"""A day and a time of it. Python takes any character between them, so that 2026-01-31-05:00, a day
with an offset, were five o'clock."""


class Month(NamedTuple):
    """A month of the calendar, from 1 on."""

    year: int
    month: int


class BadDate(ValueError):
    """An issue date that is none; the message says what is expected."""


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone by its name in the tz database. Raises ValueError."""
    if name not in _zones():
        said = f"{name!r} is no time zone; use a name like Europe/Berlin, Asia/Bangkok or UTC"
        raise ValueError(said)
    return ZoneInfo(name)


@cache
def _zones() -> set[str]:
    """Return the zones that are the same on every machine."""
    return available_timezones() - {"Factory", "localtime", "posixrules"}


def month_of(issue_date: str | None, zone: ZoneInfo, now_ms: int) -> Month:
    """Return the month of a document.

    ``issue_date`` is a date, or a moment; one without an offset is meant in the zone. Without any,
    the document is of now. Raises BadDate.
    """
    if issue_date is None:
        day = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(zone).date()
    else:
        day = _day_of(issue_date, zone)
    if day.year not in YEARS:
        raise BadDate(f"{issue_date}: years from {YEARS[0]} to {YEARS[-1]} are accepted")
    return Month(day.year, day.month)


def _day_of(issue_date: str, zone: ZoneInfo) -> date:
    try:
        if _DAY.fullmatch(issue_date):
            return date.fromisoformat(issue_date)
        if not _MOMENT.fullmatch(issue_date):
            raise ValueError("no year, month, day and time")
        moment = datetime.fromisoformat(issue_date)
        return (moment if moment.tzinfo is None else moment.astimezone(zone)).date()
    except (ValueError, OverflowError) as bad:
        said = f"{issue_date!r} is no date; write 2026-01-31, or 2026-01-31T23:30:00+01:00"
        raise BadDate(said) from bad
