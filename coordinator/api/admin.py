"""What only an operator decides: that the store went back, and that its loss is accepted."""

from aiohttp import web

from coordinator.api.answers import iso, json_answer
from coordinator.api.calls import Caller, head_of
from coordinator.api.inputs import AcceptBody, body_of
from coordinator.api.orders import REPLAYED, done_of, problem_of
from coordinator.core.records import LossAccepted
from coordinator.core.requests import AcceptLoss, Done, Refused, Why
from coordinator.counters import Counters
from coordinator.service import NotServed, OutcomeUnknown
from coordinator.shared import shielded


class Admin:
    """Handlers of the operator's decisions."""

    def __init__(self, caller: Caller, counters: Counters, names: tuple[str, ...]) -> None:
        self._caller = caller
        self._counters = counters
        self._names = names

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of these handlers."""
        return [web.post("/api/v1/admin/accept-rewind", self.accept_rewind)]

    async def accept_rewind(self, request: web.Request) -> web.StreamResponse:
        """Serve again from a store that lost entries which this node had seen committed.

        The hash names the loss, so that no other one can be accepted by mistake; the ledger notes
        who did it and why. Each node that refuses needs this once.
        """
        asked = await body_of(request, AcceptBody)
        call = self._caller.call(
            head_of(request), "", "", None, asked.requestId, asked.model_dump()
        )
        rewound = self._counters.rewound
        missed = {n: r for n, r in rewound.items() if r.tip.startswith(asked.lostHash)}
        notes = [
            (name, AcceptLoss(call, lost.entry, lost.tip, asked.reason))
            for name, lost in missed.items()
        ]
        if not notes and (rewound or call.key is None):
            done_of(Refused(Why.NOTHING_LOST))
        if not notes:  # it is refused, unless this repeats what was accepted already
            notes = [
                (name, AcceptLoss(call, 0, asked.lostHash, asked.reason)) for name in self._names
            ]
        done = [await self._accept(name, note) for name, note in notes]
        accepted = [
            {"counter": name, "lostEntry": answer.record.entry, "lostHash": answer.record.tip}
            for (name, _), answer in zip(notes, done, strict=True)
            if isinstance(answer.record, LossAccepted)
        ]
        when = iso(done[-1].entry.time_ms)
        answer = json_answer({"success": True, "accepted": accepted, "timestamp": when})
        if done[-1].replayed:
            answer.headers[REPLAYED] = "true"
        return answer

    async def _accept(self, counter: str, note: AcceptLoss) -> Done:
        try:
            sequencer = self._counters.sequencer(counter)
            return done_of(await shielded(sequencer.accept_loss(note)))
        except (NotServed, OutcomeUnknown) as failed:
            raise problem_of(failed, note.call) from None
