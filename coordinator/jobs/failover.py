"""Breaking a node or a member of etcd under load, and proving that nothing was lost or doubled."""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import aiohttp

from coordinator.config import Settings
from coordinator.jobs.callers import PAUSE_S, Failed, Nodes, places_of, session
from coordinator.jobs.control import Control, ControlRefused, ControlSilent
from coordinator.jobs.leading import LeaderWatch
from coordinator.jobs.load import Load
from coordinator.jobs.running import Run, Script
from coordinator.jobs.strikes import Strikes
from coordinator.jobs.timeline import BUCKET_S
from coordinator.overview import NodeSeen
from coordinator.store import StoreError
from coordinator.store.members import Members

STRIKE_AFTER_S = 2.0
PAGE_RECORDS = 1_000
PAGE_TRIES = 60
PROOF_S_MAX = 120.0
CHECKS = ("all answered", "nothing twice", "nothing lost", "ledger proven")
NEXT_CURSOR = "X-Next-Cursor"
_OK = 200


class Plan(NamedTuple):
    """What to do: numbers a second, for how long, and whom to strike.

    Without a target nobody is struck but by hand. ``away_s``: how long it shall be away; None: as
    long as its launcher takes to start it again (stop: until someone restarts it).
    """

    rate: float
    seconds: float
    target: str = ""
    action: str = "kill"
    away_s: float | None = None


class Failover:
    """Makes the script. ``seen`` reads the nodes that are known."""

    def __init__(
        self,
        settings: Settings,
        seen: Callable[[], Awaitable[tuple[NodeSeen, ...]]],
        control: Control,
        members: Members,
    ) -> None:
        self._settings = settings
        self._seen = seen
        self._control = control
        self._members = members
        self._places = places_of(settings)

    def script(self, plan: Plan) -> Script:
        """Return the demonstration."""

        async def through(run: Run) -> str:
            async with session() as http:
                try:
                    return await self._through(plan, run, http)
                except (Failed, StoreError, ControlSilent, ControlRefused) as failed:
                    run.check("run", ok=False, detail=str(failed))
                    return f"Stopped: {failed}"

        return through

    async def _through(self, plan: Plan, run: Run, http: aiohttp.ClientSession) -> str:
        run.total, run.planned = round(plan.seconds * 10), CHECKS
        run.unit = "tenths of a second"
        names = {node.url: node.node for node in await self._seen() if node.active}
        if not names:
            raise Failed("no node is registered; wait a moment, then try again")
        nodes = Nodes(http, tuple(names))
        before = await nodes.read("stats")
        load = Load(nodes, names, self._places, plan.rate, f"demo-{secrets.token_hex(6)}")
        leading = LeaderWatch(self._members, self._settings.etcd_endpoints)
        strikes = Strikes(self._control, leading, load.heard)
        show = _Shown(load, strikes)
        run.more = show.more
        await strikes.look()
        watching = [
            asyncio.create_task(work)
            for work in (
                leading.run(),
                strikes.run(),
                self._strike(plan, leading, strikes, run),
                _count_time(run, load),
            )
        ]
        try:
            await load.run(plan.seconds, run.stopping)
            await strikes.look()
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
        show.end()
        run.done = run.total
        run.sequences.extend(load.told.values())
        run.check(*_all_answered(load))
        run.check(*_nothing_twice(load, before, await nodes.read("stats")))
        try:
            async with asyncio.timeout(PROOF_S_MAX):
                await self._compare_with_ledger(http, nodes, load, before, run)
                proof = await nodes.read("validate")
        except TimeoutError:
            raise Failed(f"the ledger could not be read within {PROOF_S_MAX:g} s") from None
        run.check("ledger proven", proof["valid"], proof["summary"])
        return _summary(load, show.strikes)

    async def _strike(self, plan: Plan, leading: LeaderWatch, strikes: Strikes, run: Run) -> None:
        if not plan.target:
            return
        await asyncio.sleep(STRIKE_AFTER_S)
        name = plan.target
        if name == "leader":
            name = "" if leading.leader is None else strikes.name_of(leading.leader.url)
        try:
            await self._control.act(name, plan.action, plan.away_s)
        except (ControlRefused, ControlSilent) as failed:
            run.check(f"{plan.action} {name}", ok=False, detail=str(failed))
        else:
            run.check(
                f"{plan.action} {name}", ok=True, detail=f"{STRIKE_AFTER_S:g} s into the load"
            )

    async def _compare_with_ledger(
        self,
        http: aiohttp.ClientSession,
        nodes: Nodes,
        load: Load,
        before: dict[str, Any],
        run: Run,
    ) -> None:
        """Compare every number that a caller was told with what the ledger has under its key."""
        found: dict[str, list[int]] = {}
        cursor: str | None = ""
        while cursor is not None:
            records, cursor = await _page(http, nodes, cursor)
            for record in records:
                key = record["requestId"] or ""
                if key.startswith(load.prefix) and record["operationType"] in {
                    "GENERATE",
                    "RECOVER",
                }:
                    found.setdefault(key, []).append(record["sequenceNumber"])
            if records and records[-1]["timestamp"] < before["statisticsTime"]:
                break
        lost = [key for key, number in load.told.items() if found.get(key) != [number]]
        unheard = found.keys() - load.told.keys()
        detail = f"{len(load.told) - len(lost)} of {len(load.told)} numbers told to callers stand "
        detail += "in the ledger, each once, under the key of its request"
        if lost:
            detail += f"; not so: {', '.join(str(load.told[key]) for key in lost[:10])}"
        if unheard:
            detail += f"; {len(unheard)} more were issued to requests that were given up"
        run.check("nothing lost", not lost, detail)


class _Shown:
    """What a failover shows of itself, while it goes and afterwards."""

    def __init__(self, load: Load, strikes: Strikes) -> None:
        self._load = load
        self._strikes = strikes
        self._last: dict[str, Any] | None = None

    def end(self) -> None:
        """Keep what there is: the load is over."""
        seconds = time.monotonic() - self._load.began_s
        self._last = self._now()
        self._last["load"]["perSecond"] = round(len(self._load.told) / seconds, 1)

    def more(self) -> dict[str, Any]:
        """Return the figures, the strikes and the successes in short spans."""
        return self._last or self._now()

    @property
    def strikes(self) -> list[dict[str, Any]]:
        """Return the strikes."""
        return list(self.more()["strikes"])

    def _now(self) -> dict[str, Any]:
        load, now = self._load, time.monotonic()
        return {
            "load": load.figures(),
            "strikes": self._strikes.shown(load.began_s),
            "spans": load.heard.spans(now),
            "spanMs": round(BUCKET_S * 1000),
            "longestPauseMs": round(load.heard.longest_pause_s(now) * 1000),
        }


async def _count_time(run: Run, load: Load) -> None:
    while True:
        run.done = min(run.total, int((time.monotonic() - load.began_s) * 10))
        await asyncio.sleep(PAUSE_S)


async def _page(
    http: aiohttp.ClientSession, nodes: Nodes, cursor: str
) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of the audit from whichever node answers, and where the next one begins."""
    query = {"limit": str(PAGE_RECORDS)} | ({"cursor": cursor} if cursor else {})
    why = ""
    for attempt in range(PAGE_TRIES):
        url = nodes.urls[attempt % len(nodes.urls)]
        try:
            async with http.get(f"{url}/api/v1/sequence/audit", params=query) as answer:
                if answer.status == _OK:
                    return await answer.json(), answer.headers.get(NEXT_CURSOR)
                why = f"{url}: {answer.status}"
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as lost:
            why = f"{url}: {str(lost) or type(lost).__name__}"
        await asyncio.sleep(PAUSE_S * 2)
    raise Failed(f"the ledger cannot be read just now: {why}")


def _all_answered(load: Load) -> tuple[str, bool, str]:
    counts = load.counts
    detail = (
        f"{len(load.told)} of {counts['asked']} requests; {counts['retried']} needed more than "
    )
    detail += f"one attempt, {len(load.failed)} got no answer in the end"
    return "all answered", not load.failed, detail


def _nothing_twice(
    load: Load, before: dict[str, Any], after: dict[str, Any]
) -> tuple[str, bool, str]:
    twice = [number for number, times in Counter(load.told.values()).items() if times > 1]
    released = after["totalReleased"] != before["totalReleased"]
    detail = f"{len(set(load.told.values()))} different numbers of {len(load.told)}"
    if released:
        detail += "; others released numbers meanwhile, which may rightly be issued again"
    return "nothing twice", not twice or released, detail


def _summary(load: Load, strikes: list[dict[str, Any]]) -> str:
    told = f"{len(load.told):,} numbers, {len(load.failed):,} requests failed, "
    told += f"{load.counts['retried']:,} retried."
    for strike in strikes:
        first = strike["firstSuccessMs"]
        served = "nobody was served after it" if first is None else f"served again after {first} ms"
        told += f" {strike['name']}, {strike['action']}: {served}."
    return told
