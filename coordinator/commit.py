"""The rule about lost replies: what to do until a transaction's fate is certain.

A transaction whose reply was lost is *unknown*, not failed. Its fate is found out by sending the
identical guarded transaction again, to any member:

- it succeeds now: then the first sending was lost on its way, and the guard keeps it lost;
- it conflicts, and the entry right after the one we planned on carries our batch id: an earlier
  sending had committed, and the result is ours;
- it conflicts, and that entry is another's: the guard has moved for good, so that no sending, past
  or still under way, can ever commit. Only now may the batch be planned anew.

A plain read would prove nothing: a sending still under way could commit right after it.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from coordinator.core import ledger
from coordinator.core.plan import Plan
from coordinator.core.records import Entry
from coordinator.core.transaction import KeyValue, Transaction
from coordinator.core.unreadable import Unreadable
from coordinator.faults import EntryMissing
from coordinator.store import Committed, Conflict, NotCommitted, Rejected, Store, Unknown

log = logging.getLogger(__name__)

PAUSE_FIRST_S = 0.02
PAUSE_LONGEST_S = 0.5


Found = tuple[tuple[KeyValue, ...], ...]


class Overtaken(NamedTuple):
    """The guard had moved: ``found`` (head, entries) brings the replica up to date.

    With ``ours`` an earlier sending of this very batch had committed, and its plan is the truth;
    without it nothing of the batch is or ever will be in the store.
    """

    found: Found
    ours: bool


async def commit(
    store: Store, plan: Plan, tell_doubt: Callable[[Unknown], None]
) -> Committed | Overtaken:
    """Send a plan's transaction until its fate is certain, however long that takes.

    ``tell_doubt`` hears why it is not certain yet. Raises NotCommitted or Rejected while no
    sending is in doubt: then nothing was written. Raises EntryMissing when the fate of a sending
    in doubt can never be known: then the batch must not be planned anew.
    """
    ours = partial(_is_ours, plan)
    return await send(store, plan.transaction, _name(plan), ours, tell_doubt)


async def send(
    store: Store,
    transaction: Transaction,
    name: str,
    is_ours: Callable[[Found], bool],
    tell_doubt: Callable[[Unknown], None],
) -> Committed | Overtaken:
    """Send any guarded transaction until its fate is certain, as ``commit`` does for a plan's.

    ``is_ours`` tells from what a conflict has found whether an earlier sending had committed.
    """
    in_doubt = ""
    pause_s = PAUSE_FIRST_S
    while True:
        try:
            outcome = await store.commit(transaction)
        except (NotCommitted, Rejected) as refusal:
            if not in_doubt:
                raise
            outcome = Unknown(str(refusal))  # this sending failed; an earlier one may not have
        match outcome:
            case Committed():
                if in_doubt:
                    log.info("%s: committed now, after: %s", name, in_doubt)
                return outcome
            case Conflict(found):
                ours = bool(in_doubt) and is_ours(found)
                if in_doubt:
                    fate = "it had committed" if ours else "it never will commit"
                    log.info("%s: %s, after: %s", name, fate, in_doubt)
                return Overtaken(found, ours)
            case Unknown(why) as doubt:
                if not in_doubt:
                    log.warning("%s: reply lost, sending the same again: %s", name, why)
                in_doubt = why
                tell_doubt(doubt)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, PAUSE_LONGEST_S)


def _name(plan: Plan) -> str:
    key = plan.transaction.guard.key.decode()
    if plan.entry is None:
        return f"a compare of {key}"
    return f"{_batch(plan.entry)}, entry {plan.entry.index} under {key}"


def _batch(entry: Entry) -> str:
    return f"batch {entry.parts[0].serial} of {entry.parts[0].instance}"


def _is_ours(plan: Plan, found: Found) -> bool:
    """Tell whether the entry that follows our state is this batch's own."""
    if plan.entry is None:
        return False
    entries = found[1]
    try:
        first = ledger.decode(entries[0].value) if entries else None
    except Unreadable as broken:
        raise EntryMissing(
            f"ledger entry {plan.entry.index} cannot be read, so it cannot be known whether "
            f"{_batch(plan.entry)} was committed: {broken}"
        ) from broken
    if first is None or first.index != plan.entry.index:
        raise EntryMissing(
            f"ledger entry {plan.entry.index} is gone, so it cannot be known whether "
            f"{_batch(plan.entry)} was committed"
        )
    return first.parts[0][:3] == plan.entry.parts[0][:3]
