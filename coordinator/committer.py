"""One round of a counter: plan own requests and guests', commit, and follow where that has led."""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

from coordinator.commit import Overtaken, commit
from coordinator.core.keys import CounterKeys
from coordinator.core.plan import Plan, Rules, plan
from coordinator.core.records import LossAccepted, Part
from coordinator.core.requests import Ask, Done, Instant, Reply
from coordinator.core.state import CounterState
from coordinator.core.transaction import KeyValue
from coordinator.guests import Guest, Guests, RunsMet, decline, fail, report_on
from coordinator.replica import Replica
from coordinator.service import OutcomeUnknown
from coordinator.store import Committed, NotCommitted, Rejected, Store, Unknown


class Sheet(NamedTuple):
    """A planned round: ``replies`` to the first of the own requests, and to those of each guest."""

    planned: Plan
    replies: list[Reply]
    guests: list[tuple[Guest, list[Reply]]]

    def notes_loss(self, tip: str) -> bool:
        """Tell whether it is the ledger's note that the entry with this hash may be lost."""
        first = self.replies[0] if self.replies else None
        record = first.record if isinstance(first, Done) else None
        return isinstance(record, LossAccepted) and record.tip == tip


class Committer:
    """Commits on one replica; ``tell_doubt`` hears why a commit is not certain yet."""

    def __init__(
        self,
        store: Store,
        keys: CounterKeys,
        rules: Rules,
        replica: Replica,
        now: Callable[[], Instant],
        tell_doubt: Callable[[Unknown], None],
        met_before: RunsMet,
    ) -> None:
        self.guests = Guests(met_before)
        self._store = store
        self._keys = keys
        self._rules = rules
        self._replica = replica
        self._now = now
        self._tell_doubt = tell_doubt
        self._guests_sent = 0

    def plan(self, state: CounterState, asks: list[Ask], part: Part) -> Sheet:
        """Plan own requests, as ``part``, together with what guests have handed in."""
        guests = self.guests.take(state)
        groups = [asks]
        for at, guest in enumerate(guests, 1):
            groups.append([Ask(*ask[:3], at) for ask in guest.forward.asks])
        # Each is the first one in its turn: should a batch be too small for all, nobody starves.
        order = [(at + part.serial) % len(groups) for at in range(len(groups))]
        try:
            planned = plan(
                state,
                self._keys,
                self._replica.guard,
                [ask for at in order for ask in groups[at]],
                self._now(),
                (part, *(guest.forward.part for guest in guests)),
                self._rules,
            )
        except Exception:
            decline(guests, "it cannot be planned here")
            raise
        rest = iter(planned.replies)
        replies = {at: list(islice(rest, len(groups[at]))) for at in order}
        return Sheet(planned, replies[0], [(g, replies[at]) for at, g in enumerate(guests, 1)])

    @property
    def has_guests(self) -> bool:
        """Tell whether batches of other nodes wait here, or are being committed."""
        return bool(self.guests) or self._guests_sent > 0

    async def send(self, sheet: Sheet) -> Committed | Overtaken:
        """Commit the round. Raises what ``commit`` raises; guests are told first."""
        guests = [guest for guest, _ in sheet.guests]
        self._guests_sent = len(guests)
        try:
            return await commit(self._store, sheet.planned, self._tell_doubt)
        except (NotCommitted, Rejected) as refusal:
            decline(guests, str(refusal))
            raise
        except BaseException as failed:
            fail(guests, OutcomeUnknown(f"its commit is in doubt: {failed!r}"))
            raise
        finally:
            self._guests_sent = 0

    def committed(self, sheet: Sheet, revision: int) -> None:
        """Take over a round that was committed at once, and tell the guests."""
        planned = sheet.planned
        if planned.entry is not None:
            self._replica.advance(planned.entry, planned.after, revision)
            self.guests.committed(planned.entry_written, planned.entry.previous)
        guard = self._replica.guard
        head = (KeyValue(guard.key, guard.value, guard.revision),)
        for guest, replies in sheet.guests:
            _tell(guest, replies, (head, self.guests.recent(guest.forward.seen)))

    def nodes_back_soon(self, sheet: Sheet) -> int:
        """Return how many nodes will probably be back for the next round at once."""
        return self.guests.told(guest for guest, _ in sheet.guests)

    def overtaken(self, sheet: Sheet, fate: Overtaken) -> None:
        """Tell the guests, or let them wait for the next round."""
        self.guests.overtaken()
        if fate.ours:
            for guest, replies in sheet.guests:
                _tell(guest, replies, fate.found[:2])
        else:
            self.guests.put_back([guest for guest, _ in sheet.guests])


def _tell(guest: Guest, replies: Sequence[Reply], found: tuple[tuple[KeyValue, ...], ...]) -> None:
    if not guest.reply.done():
        guest.reply.set_result(report_on(replies, found))
