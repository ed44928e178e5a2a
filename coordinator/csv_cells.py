"""Cells of a CSV export that a spreadsheet shows, and never calculates.

A spreadsheet takes a cell that begins with ``=`` and some other characters for a formula, whoever
wrote it (OWASP, *CSV Injection*; ASVS 1.2.10). An apostrophe before it makes it text. Whoever wants
the value itself takes away that one apostrophe: a cell that begins with one on its own account gets
another, so that ``plain_cell(safe_cell(text))`` is the text, whatever it is.

To quote such cells is the CSV writer's business: with ``csv.QUOTE_ALL`` no separator in a cell can
begin another cell in a spreadsheet that separates otherwise. JSON needs none of this.
"""

APOSTROPHE = "'"
CALCULATED = frozenset("=+-@\t\r\n\0＝＋－＠")  # noqa: RUF001 - the wide ones calculate too
"""What a cell that is calculated can begin with."""


def safe_cell(text: str) -> str:
    """Return the text as a cell of a CSV file that no spreadsheet calculates."""
    return APOSTROPHE + text if text[:1] in CALCULATED or text[:1] == APOSTROPHE else text


def plain_cell(cell: str) -> str:
    """Return the text that ``safe_cell`` was given."""
    return cell.removeprefix(APOSTROPHE)
