"""A node's copy of one counter: loaded at one revision, kept up to date by ledger entries.

It also holds invariant 10: what this node has once seen committed must still be in the store.
"""

from collections.abc import AsyncIterator, Iterator

from coordinator.core import head as heads
from coordinator.core import ledger
from coordinator.core.head import Head
from coordinator.core.keys import CounterKeys, number_in
from coordinator.core.ledger import Entry
from coordinator.core.marks import decode_digests, decode_mark
from coordinator.core.state import CounterState
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
        self._note(after)
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
        found_in: list[Entry] = []
        if entries and number_in(entries[0].key) == state.head.index + 1:
            found_in += self._apply(state, head, entries, looking_for)
        behind = head.index - state.head.index
        if behind > CATCH_UP_MAX:
            return found_in
        if behind:
            wanted = Range(self._keys.entry(state.head.index + 1), self._keys.entry(head.index + 1))
            async for page in all_of(self._store, wanted, page=CATCH_UP_PAGE):
                found_in += self._apply(state, head, page, looking_for)
        if state.head != head or len(state.gaps) != head.gaps:
            raise Damaged(f"the head is not what the ledger gives at entry {head.index}; {ADVICE}")
        self._state = state
        self._note(head)
        self.guard = _guard_of(head_found[0])
        return found_in

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
        state, self._state = self._state, None
        if not entries or (state and number_in(entries[0].key) == state.head.index + 1):
            return self._follow_closely(state, head_found, entries, run) if state else []
        try:
            decoded = [ledger.decode(kv.value) for kv in entries]
        except Unreadable as broken:
            raise Damaged(f"an entry cannot be read: {broken}; {ADVICE}") from broken
        newest = decoded[-1]
        tip = ledger.chain(newest.previous, entries[-1].value)
        self._witness.note(self._name, Seen(newest.index, tip))
        return [entry for entry in decoded if _has_part_of(run, entry)]

    def _follow_closely(
        self, state: CounterState, head_found: KeyValue, entries: tuple[KeyValue, ...], run: str
    ) -> list[Entry]:
        try:
            head = heads.decode(head_found.value)
        except Unreadable as broken:
            raise Damaged(f"the head cannot be read: {broken}; {ADVICE}") from broken
        own = list(self._apply(state, head, entries, run))
        if state.head == head:
            self._state = state
            self._note(head)
            self.guard = _guard_of(head_found)
        return own

    async def parts_of(self, run: str, after: int) -> list[Entry]:
        """Return the entries after one that have a part of this run, as far as this node has seen.

        Raises StoreError.
        """
        last = self._witness.seen(self._name).entry
        wanted = Range(self._keys.entry(after + 1), self._keys.entry(last + 1))
        own: list[Entry] = []
        async for page in all_of(self._store, wanted, page=CATCH_UP_PAGE):
            for kv in page:
                entry = ledger.decode(kv.value)
                if _has_part_of(run, entry):
                    own.append(entry)
        return own

    @property
    def seen(self) -> Seen:
        """Return the newest entry that this node has seen committed."""
        return self._witness.seen(self._name)

    def forget(self) -> None:
        """Load anew before the next plan."""
        self._state = None

    def note(self) -> None:
        """Remember that the state as it is loaded is known to be committed."""
        if self._state is not None:
            self._note(self._state.head)

    def _note(self, head: Head) -> None:
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
        )
        head_found, next_entry, any_gap, any_key = snapshot.found
        head = heads.decode(head_found[0].value) if head_found else Head(start=start, next=start)
        if accepted != seen.tip:
            self._check_continues(seen, head, next_entry)
        await self._check_is_the_end(head, snapshot.revision)
        state = CounterState(head)
        async for page in self._all_if(any_gap, keys.gaps(), snapshot.revision):
            for kv in page:
                state.gaps.add(number_in(kv.key), *decode_mark(kv.value))
        async for page in self._all_if(any_key, keys.all_request_keys(), snapshot.revision):
            for kv in page:
                index = number_in(kv.key)
                for digest in decode_digests(kv.value):
                    state.keys.add(digest, index)
        if len(state.gaps) != head.gaps:
            gaps = len(state.gaps)
            raise Damaged(f"the head counts {head.gaps} gaps, the store has {gaps}; {ADVICE}")
        if accepted != seen.tip:  # else only once the ledger has noted that it was accepted
            self._note(head)
        self.guard = _guard_of(head_found[0]) if head_found else Guard(keys.head)
        return state

    async def _all_if(
        self, found: tuple[KeyValue, ...], wanted: Range, revision: int
    ) -> AsyncIterator[tuple[KeyValue, ...]]:
        """Yield the pages of a range in which something was found; most counters have none."""
        if found:
            async for page in all_of(self._store, wanted, revision):
                yield page

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
        if index and head.index > index:
            following = ledger.decode(next_entry[0].value) if next_entry else None
            if following is None or following.previous != tip:
                raise self._rewound(head)


def _has_part_of(run: str, entry: Entry) -> bool:
    return any(part.instance == run for part in entry.parts)


def _guard_of(kv: KeyValue) -> Guard:
    return Guard(kv.key, kv.revision, kv.value)
