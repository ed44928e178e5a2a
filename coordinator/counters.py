"""The counters that this node serves: a sequencer for each, made on first use, forgotten when idle.

What a forgotten counter must remember, the store and the witness know. Only how long its last
answers took, which its next entry would have recorded, goes with it: one batch in the statistics.
"""

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import NamedTuple

from coordinator.clock import now
from coordinator.core.documents import is_of_documents, type_of
from coordinator.core.keys import Keys
from coordinator.core.plan import NUMBERS_MAX, Rules
from coordinator.faults import Rewound
from coordinator.handing import Company
from coordinator.history import History
from coordinator.sequencer import Sequencer
from coordinator.service import Bounds, Node, Watcher
from coordinator.store import Store
from coordinator.witness import Witness

KEPT_MIN = 64
"""So many stay in memory however idle: loading one that remembers a million keys takes seconds."""

LOOKED_AT_MAX = 16
"""Counters that are considered to be forgotten in one go: it takes well below a millisecond."""


class Terms(NamedTuple):
    """What holds for every counter of this node, and how many of them are kept in memory."""

    rules: Rules
    bounds: Bounds
    idle_s: float = 60.0
    loaded_max: int = 10_000


class Counters:
    """Sequencers and histories by counter name.

    Counters are forgotten when nobody has asked for them for ``idle_s`` to twice that, all but a
    few, and sooner when ``loaded_max`` are in memory; those asked for longest ago go first. One
    that is in use or in trouble is kept, however many those are: callers wait for it, and their
    number is bounded.
    """

    def __init__(
        self,
        store: Store,
        keys: Keys,
        node: Node,
        terms: Terms,
        watcher: Callable[[str], Watcher],
        witness: Witness,
        company: Company,
    ) -> None:
        self._store = store
        self._keys = keys
        self._node = node
        self._terms = terms
        self._watcher = watcher
        self._witness = witness
        self._company = company
        self._next_serial = itertools.count(1).__next__
        self._recent: OrderedDict[str, Sequencer] = OrderedDict()
        self._older: OrderedDict[str, Sequencer] = OrderedDict()  # not asked for since a while

    def __len__(self) -> int:
        return len(self._recent) + len(self._older)

    def sequencer(self, counter: str, start: int | None = None) -> Sequencer:
        """Return the counter's sequencer, started. Use it at once: it is not kept for long.

        ``start`` is the first number of a counter that has one of its own, if it is new.
        """
        found = self._recent.get(counter)
        if found is None:
            found = self._older.pop(counter, None) or self._new(counter, start)
            self._recent[counter] = found
        return found

    def _new(self, counter: str, start: int | None) -> Sequencer:
        rules = self._terms.rules
        if is_of_documents(counter):  # it ends where its series says, not with the invoices
            rules = rules._replace(max_value=NUMBERS_MAX)
        for _ in range(LOOKED_AT_MAX):
            if len(self) >= self._terms.loaded_max:
                self._forget_one_of(self._older or self._recent)
        sequencer = Sequencer(
            self._store,
            self._keys.counter(counter),
            self._node,
            rules if start is None else rules._replace(start=start),
            self._terms.bounds,
            now,
            self._watcher(counter),
            self._witness,
            self._next_serial,
            self._company,
        )
        sequencer.start()
        return sequencer

    async def keep_forgetting(self) -> None:
        """Forget counters when they have been idle for long, until cancelled."""
        while True:
            await asyncio.sleep(self._terms.idle_s)
            while self._older and len(self) > KEPT_MIN:
                for _ in range(min(LOOKED_AT_MAX, len(self._older))):
                    self._forget_one_of(self._older)
                await asyncio.sleep(0)  # numbers go first
            self._older.update(self._recent)
            self._recent = OrderedDict()

    def _forget_one_of(self, counters: OrderedDict[str, Sequencer]) -> None:
        """Forget the one asked for longest ago, unless it is in use."""
        name, sequencer = counters.popitem(last=False)
        if sequencer.is_idle:
            sequencer.retire()
        else:
            self._recent[name] = sequencer

    def of_documents(self) -> list[tuple[str, Sequencer]]:
        """Return the counters in memory that count documents. Use them at once."""
        return [each for each in self._all() if type_of(each[0]) is not None]

    def _all(self) -> Iterator[tuple[str, Sequencer]]:
        yield from self._older.items()
        yield from self._recent.items()

    def history(self, counter: str) -> History:
        """Return the reader of a counter's ledger."""
        return History(self._store, self._keys.counter(counter))

    @property
    def trouble(self) -> str:
        """Return why some counter cannot commit just now; empty when all can."""
        return next((s.trouble for _, s in self._all() if s.trouble), "")

    @property
    def rewound(self) -> dict[str, Rewound]:
        """Return the counters that this node refuses to serve because their store went back."""
        return {name: s.rewound for name, s in self._all() if s.rewound is not None}

    async def stop(self, grace_s: float) -> None:
        """Stop all sequencers, each within the grace."""
        await asyncio.gather(*(sequencer.stop(grace_s) for _, sequencer in self._all()))
