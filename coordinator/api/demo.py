"""The demonstrations over HTTP. They issue numbers, so only the demonstration profile has them."""

from aiohttp import web

from coordinator.api import problems
from coordinator.api.answers import iso, json_answer
from coordinator.api.inputs import ConcurrentQuery, LoadTestQuery, NothingQuery
from coordinator.api.problems import Problem
from coordinator.clock import now_ms
from coordinator.config import Profile, Settings
from coordinator.jobs.demonstrations import Demonstrations, Outcome

SEQUENCES_SHOWN = 10_000


class DemoApi:
    """Handlers of the demonstrations."""

    def __init__(self, settings: Settings, demonstrations: Demonstrations) -> None:
        self._settings = settings
        self._demonstrations = demonstrations

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of these handlers."""
        root = "/api/v1/demo"
        return [
            web.post(f"{root}/basic", self.basic),
            web.post(f"{root}/concurrent", self.concurrent),
            web.post(f"{root}/gaps", self.gaps),
            web.post(f"{root}/load-test", self.load_test),
        ]

    async def basic(self, request: web.Request) -> web.StreamResponse:
        """Run ``basic``."""
        self._allow()
        NothingQuery.parse(request.rel_url)
        return _answer(await self._demonstrations.basic())

    async def concurrent(self, request: web.Request) -> web.StreamResponse:
        """Run ``concurrent``."""
        self._allow()
        asked = ConcurrentQuery.parse(request.rel_url)
        return _answer(
            await self._demonstrations.concurrent(asked.threads, asked.requestsPerThread)
        )

    async def gaps(self, request: web.Request) -> web.StreamResponse:
        """Run ``gaps``."""
        self._allow()
        NothingQuery.parse(request.rel_url)
        return _answer(await self._demonstrations.gaps())

    async def load_test(self, request: web.Request) -> web.StreamResponse:
        """Run ``load-test``."""
        self._allow()
        asked = LoadTestQuery.parse(request.rel_url)
        return _answer(
            await self._demonstrations.load_test(asked.totalRequests, asked.concurrentThreads)
        )

    def _allow(self) -> None:
        if self._settings.profile is not Profile.DEMONSTRATION:
            detail = "Demonstrations issue numbers: they run in the demonstration profile only."
            raise Problem(problems.FORBIDDEN, detail)


def _answer(outcome: Outcome) -> web.StreamResponse:
    return json_answer(
        {
            "name": outcome.name,
            "steps": [step._asdict() for step in outcome.steps],
            "sequences": outcome.sequences[:SEQUENCES_SHOWN],
            "sequencesTotal": len(outcome.sequences),
            "success": outcome.success,
            "summary": outcome.summary,
            "timestamp": iso(now_ms()),
        }
    )
