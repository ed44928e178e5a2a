"""The counters that this node serves: a sequencer and a reader for each, made on first use."""

import asyncio
import itertools
from collections.abc import Callable
from typing import NamedTuple

from coordinator.clock import now
from coordinator.core.keys import Keys
from coordinator.core.plan import Rules
from coordinator.faults import Rewound
from coordinator.handing import Company
from coordinator.history import History
from coordinator.sequencer import Sequencer
from coordinator.service import Bounds, Node, Watcher
from coordinator.store import Store
from coordinator.witness import Witness


class Terms(NamedTuple):
    """What holds for every counter of this node."""

    rules: Rules
    bounds: Bounds


class Counters:
    """Sequencers and histories by counter name."""

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
        self._sequencers: dict[str, Sequencer] = {}

    def sequencer(self, counter: str) -> Sequencer:
        """Return the counter's sequencer, started."""
        found = self._sequencers.get(counter)
        if found is None:
            found = Sequencer(
                self._store,
                self._keys.counter(counter),
                self._node,
                self._terms.rules,
                self._terms.bounds,
                now,
                self._watcher(counter),
                self._witness,
                self._next_serial,
                self._company,
            )
            found.start()
            self._sequencers[counter] = found
        return found

    def history(self, counter: str) -> History:
        """Return the reader of a counter's ledger."""
        return History(self._store, self._keys.counter(counter))

    @property
    def trouble(self) -> str:
        """Return why some counter cannot commit just now; empty when all can."""
        return next((s.trouble for s in self._sequencers.values() if s.trouble), "")

    @property
    def rewound(self) -> dict[str, Rewound]:
        """Return the counters that this node refuses to serve because their store went back."""
        return {name: s.rewound for name, s in self._sequencers.items() if s.rewound is not None}

    async def stop(self, grace_s: float) -> None:
        """Stop all sequencers, each within the grace."""
        await asyncio.gather(*(s.stop(grace_s) for s in self._sequencers.values()))
