"""Why a counter cannot commit just now: trouble that passes, and trouble that needs a person."""

import logging

from coordinator.faults import Rewound
from coordinator.service import OutcomeUnknown, StoreDown, TooLate
from coordinator.store import NeedsOperator, StoreError, Unknown
from coordinator.waiting import Pending

log = logging.getLogger(__name__)

ALARM_AFTER_S = 2.0
"""A commit that is in doubt for longer is an error in the log."""


class Trouble:
    """Of one counter. All is well while ``why`` is empty."""

    def __init__(self, counter: str) -> None:
        self._counter = counter
        self._doubt_since: float | None = None
        self._told = False
        self.why = ""
        self.needs_person = False
        """Waiting does not help: nobody is let wait for the end of it."""
        self.rewound: Rewound | None = None
        """How the store has gone back behind what this node has seen, if that is the trouble."""

    def doubt(self, doubt: Unknown, now_s: float) -> None:
        """Note that a commit is in doubt; most are made good within milliseconds."""
        why = f"a commit is in doubt: {doubt.why}"
        self._doubt_since = now_s if self._doubt_since is None else self._doubt_since
        lasts = now_s > self._doubt_since + ALARM_AFTER_S
        self._note(why, needs_person=doubt.needs_operator, tell=lasts or doubt.needs_operator)

    def failed(self, error: StoreError, what: str = "") -> None:
        """Note that the store cannot be read or written."""
        if isinstance(error, Rewound):  # and it stays so while the store cannot be asked
            self.rewound = error
        needs_person = isinstance(error, NeedsOperator)
        self._note(f"{what}{error}", needs_person=needs_person, tell=True)

    def certain(self, pending: Pending) -> Exception:
        """Return what to tell a caller whose deadline has passed."""
        if pending.in_doubt:
            return OutcomeUnknown("the commit was still in doubt at the deadline")
        why = pending.trouble or self.why
        return StoreDown(why) if why else TooLate("other requests took the time")

    def over(self) -> None:
        """Note that a commit went through."""
        if self._told:
            log.info("%s: committing again", self._counter)
        self.why, self.rewound, self._doubt_since = "", None, None
        self._told = self.needs_person = False

    def _note(self, why: str, *, needs_person: bool, tell: bool) -> None:
        if tell and (not self._told or needs_person > self.needs_person):
            log.error("%s: nothing can be committed: %s", self._counter, why)
            self._told = True
        self.why, self.needs_person = why, needs_person
