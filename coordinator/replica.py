"""A node's copy of one counter: loaded at one revision, kept up to date by ledger entries.

It also holds invariant 10: what this node has once seen committed must still be in the store.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

from coordinator.core import head as heads
from coordinator.core import ledger
from coordinator.core.head import Head
from coordinator.core.holds import Holds
from coordinator.core.keys import CounterKeys, number_in
from coordinator.core.marks import decode_digests, decode_mark, decode_voids
from coordinator.core.records import Entry
from coordinator.core.state import CounterState, Gaps
from coordinator.core.transaction import Guard, KeyValue, Range
from coordinator.core.unreadable import Unreadable
from coordinator.faults import Damaged, Rewound
from coordinator.store import Compacted, Store, Unavailable
from coordinator.store.paging import all_of
from coordinator.witness import Seen, Witness

LOAD_TRIES = 5

CATCH_UP_MAX = 256
"""Entries behind the head up to which reading them is quicker than loading the counter anew."""

CATCH_UP_PAGE = 16
"""Entries in one read: at most one MB each, usually some kB."""

SEARCHED_MAX = 10_000
"""Entries that are searched for a batch of this run: a second or so, in which nobody is served."""

LOAD_SLICE = 1_000
"""Gaps that are taken in one go while loading: about two milliseconds."""

KEYS_PAGE = 250
"""Blocks of request keys in one read: from 600 bytes each to 9 kB."""

ADVICE = "no number is issued; `coordinator validate` says what is wrong"


class Replica:
    """One counter's state, and as ``guard`` the head at which that state is complete."""

    def __init__(self, store: Store, keys: CounterKeys, start: int, witness: Witness) -> None:
        self._store = store
        self._keys = keys
        self._start = start
        self._state: CounterState | None = None
        self._witness = witness
        self._name = keys.prefix.decode()
        self.guard = Guard(keys.head)

    async def state(self, accepted: str = "") -> CounterState:
        """Return the counter's state, loading it the first time. Raises StoreError.

        ``accepted`` is the hash of an entry that may be lost: the store is then taken as it is.
        """
        if self._state is None:
            self._state = await self._load(accepted)
        return self._state

    def advance(self, entry: Entry, after: Head, revision: int) -> None:
        """Take over an entry that this node has just committed."""
        if self._state is None:
            raise RuntimeError("an entry was planned on a replica that is not loaded")
        self._state.apply(entry, after)
        self.note(after)
        self.guard = Guard(self._keys.head, revision, heads.encode(after))

    @property
    def head(self) -> Head | None:
        """Return the head at which this replica is; None while the counter is not loaded."""
        return None if self._state is None else self._state.head

    async def catch_up(
        self, found: tuple[tuple[KeyValue, ...], ...], looking_for: str = ""
    ) -> list[Entry]:
        """Take over what a conflict returned: the head, and the entries after ours.

        Returns every new entry that has a part of the run ``looking_for``; but where loading the
        counter anew is quicker than reading on, it is not loaded any more afterwards. Raises
        Rewound when the entries do not continue what this node knows.
        """
        head_found, entries, *_ = found
        if self._state is None or not head_found:
            self.forget()
            return []  # the next load judges it
        state = self._state
        self._state = None  # half-applied entries must not be planned on
        try:
            head = heads.decode(head_found[0].value)
        except Unreadable as broken:
            raise Damaged(f"the head cannot be read: {broken}; {ADVICE}") from broken
        ours = state.head
        if head.index < ours.index or (head.index == ours.index and head.tip != ours.tip):
            raise self._rewound(head)
        if ours.index < head.trimmed:
            return []  # entries that would bring it up to date are gone; it is loaded anew
        found_in: list[Entry] = []
        if entries and number_in(entries[0].key) == state.head.index + 1:
            found_in += self._apply(state, head, entries, looking_for)
        behind = head.index - state.head.index
        if behind > CATCH_UP_MAX:
            self.note(state.head)
            return found_in
        if behind and not await self._read_on(state, head, looking_for, found_in):
            return found_in  # loaded anew
        if state.head != head or len(state.gaps) != head.gaps:
            raise Damaged(f"the head is not what the ledger gives at entry {head.index}; {ADVICE}")
        self._state = state
        self.note(head)
        self.guard = _guard_of(head_found[0])
        return found_in

    async def _read_on(
        self, state: CounterState, head: Head, looking_for: str, found_in: list[Entry]
    ) -> bool:
        """Apply the entries up to a head; False when some have been trimmed since it was read."""
        wanted = Range(self._keys.entry(state.head.index + 1), self._keys.entry(head.index + 1))
        async for page in all_of(self._store, wanted, page=CATCH_UP_PAGE):
            if number_in(page[0].key) != state.head.index + 1:
                return False
            found_in += self._apply(state, head, page, looking_for)
        return state.head.index == head.index

    def _apply(
        self, state: CounterState, head: Head, found: tuple[KeyValue, ...], looking_for: str
    ) -> Iterator[Entry]:
        for kv in found:
            try:
                entry = ledger.decode(kv.value)
                tip = ledger.chain(state.head.tip, kv.value)
                state.apply(entry, heads.advance(state.head, entry, tip))
            except Unreadable as broken:
                raise Damaged(f"an entry cannot be read: {broken}; {ADVICE}") from broken
            except ValueError as broken:  # it does not follow
                raise self._rewound(head) from broken
            if _has_part_of(looking_for, entry):
                yield entry

    def follow(self, found: tuple[tuple[KeyValue, ...], ...], run: str) -> list[Entry]:
        """Take over what another node has committed on what this node had seen.

        Returns those of the entries that have a part of this run. Where entries are missing before
        them the counter is not loaded any more afterwards. Raises Rewound.
        """
        (head_found,), entries = found
        try:
            head = heads.decode(head_found.value)
            decoded = [ledger.decode(kv.value, run) for kv in entries]
        except Unreadable as broken:
            raise Damaged(f"what was committed cannot be read: {broken}; {ADVICE}") from broken
        state, self._state = self._state, None
        ends_there = not decoded or decoded[-1].index == head.index
        if state is not None and ends_there and state.head.index + len(decoded) == head.index:
            self._follow_closely(state, head, entries, decoded)
            self._state = state
            self.guard = _guard_of(head_found)
        if decoded:
            tip = ledger.chain(decoded[-1].previous, entries[-1].value)
            self._witness.note(self._name, Seen(decoded[-1].index, tip))
        return [entry for entry in decoded if _has_part_of(run, entry)]

    def _follow_closely(
        self, state: CounterState, head: Head, entries: tuple[KeyValue, ...], decoded: list[Entry]
    ) -> None:
        """Apply the entries that lead to this head. Raises Rewound or Damaged."""
        for at, entry in enumerate(decoded, 1):
            tip = ledger.chain(state.head.tip, entries[at - 1].value)
            after = replace(state.head, index=entry.index, tip=tip)  # totals matter at the end only
            after = replace(after, next=decoded[at].next_before) if at < len(decoded) else head
            try:
                state.apply(entry, after)
            except ValueError as broken:  # it does not follow
                raise self._rewound(head) from broken
            if after.tip != tip:
                raise Damaged(f"the head does not name entry {entry.index}, the newest; {ADVICE}")
        _check_counts(state, "the ledger gives")

    async def part_of(self, run: str, after: int) -> tuple[Entry | None, bool]:
        """Return the first entry after one that has a part of this run, up to where the state is.

        False besides when that is not known: entries have left the store, or there are too many to
        read. Raises StoreError.
        """
        last = after if self._state is None else self._state.head.index
        missing = last - after
        if missing > SEARCHED_MAX:
            return None, False
        wanted = Range(self._keys.entry(after + 1), self._keys.entry(last + 1))
        async for page in all_of(self._store, wanted, page=CATCH_UP_PAGE):
            for kv in page:
                try:
                    entry = ledger.decode(kv.value)
                except Unreadable as broken:
                    raise Damaged(f"an entry cannot be read: {broken}; {ADVICE}") from broken
                if _has_part_of(run, entry):
                    return entry, True
            missing -= len(page)
        return None, missing <= 0

    @property
    def holds(self) -> Holds:
        """Return the open reservations of this replica; none while the counter is not loaded."""
        return Holds() if self._state is None else self._state.holds

    @property
    def seen(self) -> Seen:
        """Return the newest entry that this node has seen committed."""
        return self._witness.seen(self._name)

    def forget(self) -> None:
        """Load anew before the next plan."""
        self._state = None

    def note(self, head: Head) -> None:
        """Remember that this is known to be committed."""
        self._witness.note(self._name, Seen(head.index, head.tip))

    def _rewound(self, head: Head) -> Rewound:
        return Rewound(*self._witness.seen(self._name), head.index)

    async def _load(self, accepted: str) -> CounterState:
        for _ in range(LOAD_TRIES):
            try:
                return await self._load_at_one_revision(accepted)
            except Compacted:
                continue  # a slow load lost its revision; the next one is quicker
            except Unreadable as broken:
                raise Damaged(
                    f"a key of the counter cannot be read: {broken}; {ADVICE}"
                ) from broken
        raise Unavailable("the counter could not be loaded before its revision was compacted")

    async def _load_at_one_revision(self, accepted: str) -> CounterState:
        keys, start = self._keys, self._start
        seen = self._witness.seen(self._name)
        snapshot = await self._store.read(
            Range(keys.head),
            keys.entries(seen.entry + 1, 1),
            keys.gaps(limit=1),
            keys.all_request_keys(limit=1),
            keys.voids(limit=1),
            keys.all_held(limit=1),
        )
        head_found, next_entry, any_gap, any_key, any_void, any_held = snapshot.found
        head = heads.decode(head_found[0].value) if head_found else Head(start=start, next=start)
        if accepted != seen.tip:
            self._check_continues(seen, head, next_entry)
        await self._check_is_the_end(head, snapshot.revision)
        state = CounterState(head)
        # Both at once: etcd takes longer to read the gaps than this node takes for the keys.
        revision = snapshot.revision
        loading = asyncio.create_task(self._load_gaps(state.gaps, revision, any_gap))
        try:
            await self._load_keys(state, revision, any_key)
            await self._load_voids(state, revision, any_void)
            await self._load_holds(state, revision, any_held)
            await loading
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)  # it may have failed first
        _check_counts(state, "the store has")
        if accepted != seen.tip:  # else only once the ledger has noted that it was accepted
            self.note(head)
        self.guard = _guard_of(head_found[0]) if head_found else Guard(keys.head)
        return state

    async def _load_holds(
        self, state: CounterState, revision: int, first: tuple[KeyValue, ...]
    ) -> None:
        if not first:
            return
        async for page in all_of(self._store, self._keys.all_held(), revision):
            for kv in page:
                state.holds.load(kv.value)

    async def _load_voids(
        self, state: CounterState, revision: int, first: tuple[KeyValue, ...]
    ) -> None:
        if not first:
            return
        async for page in all_of(self._store, self._keys.voids(), revision, page=KEYS_PAGE):
            for kv in page:
                time_ms, runs = decode_voids(kv.value)
                for number, quantity in runs:
                    state.void.add(number, number_in(kv.key), time_ms, quantity)
            await asyncio.sleep(0)

    async def _load_gaps(self, gaps: Gaps, revision: int, first: tuple[KeyValue, ...]) -> None:
        if not first:  # most counters have none
            return
        async for page in all_of(self._store, self._keys.gaps(), revision):
            for at in range(0, len(page), LOAD_SLICE):
                for kv in page[at : at + LOAD_SLICE]:
                    gaps.add(number_in(kv.key), *decode_mark(kv.value))
                await asyncio.sleep(0)  # a node has other counters too

    async def _load_keys(
        self, state: CounterState, revision: int, first: tuple[KeyValue, ...]
    ) -> None:
        if not first:
            return
        wanted = self._keys.all_request_keys()
        async for page in all_of(self._store, wanted, revision, page=KEYS_PAGE):
            for kv in page:
                block = number_in(kv.key)
                state.keys.load(block, decode_digests(block, kv.value))
            await asyncio.sleep(0)

    async def _check_is_the_end(self, head: Head, revision: int) -> None:
        """Raise Damaged unless the ledger ends with the entry that the head names."""
        keys = self._keys
        snapshot = await self._store.read(
            Range(keys.entry(head.index)), keys.entries(head.index + 1, 1), revision=revision
        )
        last, beyond = snapshot.found
        if beyond:
            raise Damaged(
                f"the ledger goes on after entry {head.index}, where the head is; {ADVICE}"
            )
        if not head.index:
            return
        tip = ledger.chain(ledger.decode(last[0].value).previous, last[0].value) if last else None
        if tip != head.tip:
            raise Damaged(f"entry {head.index} is not the one that the head names; {ADVICE}")

    def _check_continues(self, seen: Seen, head: Head, next_entry: tuple[KeyValue, ...]) -> None:
        index, tip = seen
        if head.index < index or (head.index == index and head.tip != tip):
            raise self._rewound(head)
        if index < head.trimmed:
            return  # the entries that would tell are gone: so far behind, it is taken on trust
        if index and head.index > index:
            following = ledger.decode(next_entry[0].value) if next_entry else None
            if following is None or following.previous != tip:
                raise self._rewound(head)


def _check_counts(state: CounterState, who: str) -> None:
    """Raise Damaged when there are more or fewer numbers of a kind than the head counts."""
    head = state.head
    counts = {
        "gaps": (head.gaps, len(state.gaps)),
        "void numbers": (head.void, len(state.void)),
        "open reservations": (head.held, len(state.holds)),
    }
    for kind, (said, there) in counts.items():
        if said != there:
            raise Damaged(f"the head counts {said} {kind}, {who} {there}; {ADVICE}")


def _has_part_of(run: str, entry: Entry) -> bool:
    return any(part.instance == run for part in entry.parts)


def _guard_of(kv: KeyValue) -> Guard:
    return Guard(kv.key, kv.revision, kv.value)
