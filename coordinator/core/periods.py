"""Periods of an issue date as a document number shows them: year, month and fiscal year."""

from collections.abc import Iterator, Mapping

PERIOD_TOKENS = ("YYYY", "YY", "MM", "FY")

FIRST_YEAR, LAST_YEAR = 1000, 9998
"""Years of issue dates: they and their fiscal years have four digits."""

CENTURY = 2000
"""{YY} stands for the years of this century alone; so no two of them read alike."""

MONTHS = range(1, 13)


def fiscal_year(year: int, month: int, fiscal_month: int) -> int:
    """Return the fiscal year of a calendar month, when fiscal years begin with ``fiscal_month``.

    It is named after the calendar year in which it ENDS, as the governments of the United States,
    Australia and Thailand name theirs: with April as its first month, March and April 2026 are of
    2026 and 2027. The U.S. Senate's glossary: "designated by the calendar year in which it ends".
    With January it is the calendar year. This function is the only place that knows.
    """
    return year + (fiscal_month > 1 and month >= fiscal_month)


def period_values(year: int, month: int, fiscal_month: int) -> dict[str, str]:
    """Return what YYYY, YY, MM and FY are for an issue date, each in its full width.

    YY is left out for years that are not 2000 to 2099. Raises ValueError for what is no month, or
    a year that is not 1000 to 9998.
    """
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise ValueError(f"{year} is no year from {FIRST_YEAR} to {LAST_YEAR}")
    if month not in MONTHS or fiscal_month not in MONTHS:
        raise ValueError(f"{month} or {fiscal_month} is no month: 1 to 12")
    values = {
        "YYYY": f"{year}",
        "MM": f"{month:02}",
        "FY": f"{fiscal_year(year, month, fiscal_month)}",
    }
    if CENTURY <= year < CENTURY + 100:
        values["YY"] = f"{year - CENTURY:02}"
    return values


def some_date_has(values: Mapping[str, str], fiscal_month: int) -> bool:
    """Tell whether there is an issue date that shows just these period tokens like this."""
    return any(True for _ in _dates_with(values, fiscal_month))


def told_by(values: Mapping[str, str], fiscal_month: int) -> dict[str, str]:
    """Return every period token that these tell: of all dates that show them, the same value.

    YY tells YYYY; FY and MM tell it together; FY alone does not, but with January first.
    """
    dates = list(_dates_with(values, fiscal_month))
    first = dates[0] if dates else {}
    return {
        token: value
        for token, value in first.items()
        if all(date.get(token) == value for date in dates)
    }


def _dates_with(values: Mapping[str, str], fiscal_month: int) -> Iterator[dict[str, str]]:
    """Yield the period tokens of each month that shows these."""
    shown = {token: values[token] for token in PERIOD_TOKENS if token in values}
    years = [CENTURY]
    if "YYYY" in shown:
        years = [int(shown["YYYY"])]
    elif "YY" in shown:
        years = [CENTURY + int(shown["YY"])]
    elif "FY" in shown:
        years = [int(shown["FY"]) - 1, int(shown["FY"])]
    for year in years:
        for month in MONTHS if FIRST_YEAR <= year <= LAST_YEAR else ():
            found = period_values(year, month, fiscal_month)
            if shown.items() <= found.items():
                yield found
