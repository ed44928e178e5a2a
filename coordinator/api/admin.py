"""What only an operator decides: that the store went back, and that its loss is accepted."""

import asyncio

from aiohttp import web

from coordinator.api import problems
from coordinator.api.answers import iso, json_answer
from coordinator.api.calls import Caller, problem_of
from coordinator.api.inputs import AcceptBody, body_of
from coordinator.api.problems import Problem
from coordinator.core.requests import AcceptLoss, Done
from coordinator.counters import Counters
from coordinator.service import NotServed, OutcomeUnknown


class Admin:
    """Handlers of the operator's decisions."""

    def __init__(self, caller: Caller, counters: Counters) -> None:
        self._caller = caller
        self._counters = counters

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of these handlers."""
        return [web.post("/api/v1/admin/accept-rewind", self.accept_rewind)]

    async def accept_rewind(self, request: web.Request) -> web.Response:
        """Serve again from a store that lost entries which this node had seen committed.

        The hash names the loss, so that no other one can be accepted by mistake; the ledger notes
        who did it and why. Each node that refuses needs this once.
        """
        asked = await body_of(request, AcceptBody)
        accepted: list[dict[str, object]] = []
        when = 0
        for name, rewound in self._counters.rewound.items():
            if not rewound.tip.startswith(asked.lostHash):
                continue
            call = self._caller.call(request, "", "", None, asked.requestId, asked.model_dump())
            note = AcceptLoss(call, rewound.entry, rewound.tip, asked.reason)
            try:
                outcome = await asyncio.shield(self._counters.sequencer(name).accept_loss(note))
            except (NotServed, OutcomeUnknown) as failed:
                raise problem_of(failed, call) from None
            assert isinstance(outcome, Done), "an operator's decision is never refused"  # noqa: S101
            when = outcome.entry.time_ms
            accepted.append({"counter": name, "lostEntry": rewound.entry, "lostHash": rewound.tip})
        if not accepted:
            raise Problem(
                problems.NOTHING_LOST,
                "This node refuses to serve nothing for a loss with that hash. /api/v1/cluster of "
                "each node shows what it misses, as `rewinds`.",
            )
        return json_answer({"success": True, "accepted": accepted, "timestamp": iso(when)})
