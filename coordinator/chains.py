"""Which document number took the place of which: A, then B, then C."""

from typing import NamedTuple

from coordinator.core.records import Imported, Issued, Record, Voided
from coordinator.core.standing import latest_tenure, text_in
from coordinator.history import History

LINKS_MAX = 32
"""Replacements that are followed each way; a longer chain is read on from its end."""


class Link(NamedTuple):
    """A number of a chain, and how it is written; empty where the ledger does not say."""

    number: int
    text: str


async def chain(history: History, number: int, records: list[Record]) -> list[Link]:
    """Return the numbers that stand for each other, the first one first; just this one alone.

    ``records`` are the number's own. Raises StoreError or Unreadable.
    """
    links = [Link(number, _text(records))]
    before = _replaces(records)
    while before and len(links) <= LINKS_MAX:
        earlier = await _records(history, before)
        links.insert(0, Link(before, _text(earlier)))
        before = _replaces(earlier)
    after, last, limit = _replaced_by(records), number, len(links) + LINKS_MAX
    while after and len(links) < limit:
        later = await _records(history, after)
        tenure = _in_place_of(later, last)
        links.append(Link(after, _text(tenure)))
        last, after = after, _replaced_by(tenure)
    return links


async def _records(history: History, number: int) -> list[Record]:
    return [event.record for event in (await history.life(number)).events]


def _in_place_of(records: list[Record], replaced: int) -> list[Record]:
    """Return the records from where the number took that other's place, until it was free again."""
    kept: list[Record] = []
    for record in records:
        if isinstance(record, Issued | Imported):
            is_it = isinstance(record, Issued) and record.given and record.given.replaces
            if kept:
                break
            if is_it != replaced:
                continue
            kept = [record]
        elif kept:
            kept.append(record)
    return kept


def _text(records: list[Record]) -> str:
    return next(filter(None, map(text_in, latest_tenure(records))), "") if records else ""


def _replaces(records: list[Record]) -> int:
    first = latest_tenure(records)[0] if records else None
    return first.given.replaces if isinstance(first, Issued) and first.given else 0


def _replaced_by(records: list[Record]) -> int:
    last = records[-1] if records else None
    return last.replaced_by if isinstance(last, Voided) else 0
