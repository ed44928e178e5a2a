"""The chart of a run as text: a Mermaid block, which GitHub draws. No image file is needed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BEGIN = "<!-- bench chart: begin; `scripts/bench.py --update-readme` writes what is between -->"
END = "<!-- bench chart: end -->"

LABELS = {
    "hello": "bare aiohttp hello",
    "one-node": "one node",
    "cluster-one": "one node, 3 members",
    "cluster-four": "four nodes, 3 members",
    "postgres": "PostgreSQL gapless, transaction",
    "postgres-function": "PostgreSQL gapless, function",
    "postgres-nextval": "PostgreSQL nextval, gaps",
}
"""What is charted, in this order. Bulk is not, nor Redis, which keeps no record of whose a number
is: they would dwarf all others. Both stand in the table."""


class NoPlaceError(Exception):
    """The file has no place for the chart; the message says what is missing."""


def chart(per_second: dict[str, float], connections: int) -> str:
    """Return a bar chart of these contenders' requests a second.

    Raises ValueError when none of them is charted.
    """
    shown = {label: per_second[name] for name, label in LABELS.items() if name in per_second}
    if not shown:
        raise ValueError(f"nothing to chart; needs one of {', '.join(LABELS)}")
    names = ", ".join(f'"{label}"' for label in shown)
    bars = ", ".join(f"{value:.0f}" for value in shown.values())
    return "\n".join(
        [
            "```mermaid",
            "xychart-beta horizontal",
            f'    title "Requests a second, {connections} connections"',
            f"    x-axis [{names}]",
            f'    y-axis "a second" 0 --> {_round_up(max(shown.values()))}',
            f"    bar [{bars}]",
            "```",
        ]
    )


def _round_up(value: float) -> int:
    """Return the next number with two digits and zeros."""
    if value <= 0:
        return 1
    unit = int(10 ** max(0, math.floor(math.log10(value)) - 1))
    return math.ceil(value / unit) * unit


def put_between_marks(text: str, block: str) -> str:
    """Return the text with this block between the two marks. Raises NoPlaceError."""
    before, begun, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not begun or not ended:
        raise NoPlaceError(f"no place for the chart: the lines `{BEGIN}` and `{END}` are missing")
    return f"{before}{BEGIN}\n{block}\n{END}{after}"


def update_file(path: Path, block: str) -> None:
    """Write the block between the marks of a file. Raises NoPlaceError."""
    path.write_text(put_between_marks(path.read_text("utf-8"), block), "utf-8")
