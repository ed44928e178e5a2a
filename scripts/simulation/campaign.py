"""Many schedules, on all cores: run, count, and report in the order of their seeds."""

import hashlib
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from simulation.bugs import planted
from simulation.events import OF_OPERATORS, Finding
from simulation.schedule import Schedule, draw_schedule
from simulation.shrink import Shrinker
from simulation.world import Result, run

SCHEDULES_AT_ONCE = 8
"""Handed to a worker together."""

SAY_EVERY_S = 5.0

SUMMARY = (
    ("schedules", ("schedules",)),
    ("virtual seconds", ("virtual seconds",)),
    ("requests", ("requests",)),
    ("revisions of the store", ("revisions",)),
    ("numbers issued", ("numbers of issue",)),
    ("numbers released by a request", ("numbers of release",)),
    ("resets", ("reset ANSWERED",)),
    ("replays (same key, same answer)", ("replays",)),
    ("refused", ("issue REFUSED", "release REFUSED", "reserve REFUSED")),
    ("told 'nothing was allocated'", ("issue NOT_SERVED", "release NOT_SERVED")),
    ("told 'it is not known'", ("issue UNKNOWN", "release UNKNOWN", "reset UNKNOWN")),
    ("reservations", ("numbers of reserve",)),
    ("  confirmed", ("reservations confirmed",)),
    ("  cancelled", ("reservations cancelled",)),
    ("  expired", ("reservations expired",)),
    ("numbers void for ever", ("void",)),
    ("numbers that operators named", ("numbers of assign",)),
    ("numbers that they made void", ("Voided",)),
    ("  and had replaced", ("numbers of replace",)),
    ("runs of numbers passed over", ("Passed",)),
    ("counts adjusted", ("adjust ANSWERED",)),
    ("imports", ("Imported",)),
    ("counters closed", ("Closed",)),
    ("what operators are refused", tuple(f"{kind} REFUSED" for kind in sorted(OF_OPERATORS))),
    ("who confirms is told that it has expired", ("confirm told expired",)),
    ("who confirms is told that it was cancelled", ("confirm told cancelled",)),
    ("who cancels is told that it was confirmed", ("cancel told confirmed",)),
    ("looked for too early by a clock that is ahead", ("expire REFUSED",)),
    ("callers who left", ("left",)),
    ("messages to the store", ("messages",)),
    ("conflicts", ("conflicts",)),
    ("messages refused before they were sent", ("refused before it was sent",)),
    ("requests lost", ("request lost",)),
    ("replies lost", ("reply lost",)),
    ("delivered late", ("delivered late",)),
    ("delivered twice", ("delivered twice",)),
    ("'database space exceeded'", ("database space exceeded",)),
    ("cut off", ("cut off",)),
    ("crashes", ("Crash",)),
    ("requests whose node crashed", ("issue BROKEN", "release BROKEN", "reset BROKEN")),
    ("orderly stops", ("Stop",)),
    ("pauses", ("Pause",)),
    ("clock jumps", ("ClockJump",)),
    ("compactions", ("Compact",)),
    ("trims of old entries", ("Trim",)),
    ("restored from a backup", ("Restore",)),
    ("cuts between two nodes", ("CutBetween",)),
    ("turns taken", ("turns taken",)),
    ("two nodes with the turn at once", ("two nodes with the turn at once",)),
    ("batches handed over", ("batches handed over",)),
    ("  by nodes without a replica", ("batches of nodes without a replica",)),
    ("  served", ("batches served",)),
    ("  declined", ("batches declined",)),
    ("  not sent", ("batches not sent",)),
    ("  without a reply", ("batches without a reply",)),
    ("    and committed nevertheless", ("batches committed whose reply was lost",)),
    (
        "  arrived when their sender had gone on",
        ("batches that arrived when their sender had gone on",),
    ),
    ("nodes crashed with guests", ("Crash with guests",)),
    ("nodes paused with guests", ("Pause with guests",)),
    ("nodes stopped in order with guests", ("Stop with guests",)),
    ("nodes cut from the store with guests", ("Cut with guests",)),
)
"""What is counted, and the counts that it is the sum of."""


class Report(NamedTuple):
    """What a worker says of one seed."""

    seed: int
    digest: str
    counts: Counter[str]
    findings: tuple[Finding, ...]


class Total(NamedTuple):
    """What came of all schedules up to the first that failed."""

    counts: Counter[str]
    digest: str
    failed: Report | None
    seconds: float

    def lines(self) -> list[str]:
        """Return the summary, for people."""
        rows = [(name, sum(self.counts[count] for count in counts)) for name, counts in SUMMARY]
        per_s = self.counts["schedules"] / max(self.seconds, 0.001)
        return [
            *(f"{value:>9,}  {name}" for name, value in rows),
            f"{self.seconds:>9.1f}  seconds ({per_s:.0f} schedules/s)",
            f"digest of all histories: {self.digest[:16]}",
        ]


def judge(seed: int, bug: str | None = None) -> Report:
    """Run the schedule of a seed, perhaps with a bug planted."""
    with planted(bug):
        result = run(draw_schedule(seed))
    return Report(seed, result.digest, result.counts, result.findings)


def campaign(first_seed: int, schedules: int, jobs: int, bug: str | None = None) -> Total:
    """Run so many schedules, up to the first that fails."""
    began = said = time.monotonic()
    counts: Counter[str] = Counter()
    digest = hashlib.sha256()
    failed = None
    seeds = range(first_seed, first_seed + schedules)
    with _reports(seeds, jobs, bug) as reports:
        for done, report in enumerate(reports, 1):
            counts += report.counts
            digest.update(report.digest.encode())
            if report.findings:
                failed = report
                break
            if time.monotonic() - said >= SAY_EVERY_S:
                said = time.monotonic()
                print(f"{done} of {schedules} schedules", file=sys.stderr, flush=True)
    return Total(counts, digest.hexdigest(), failed, time.monotonic() - began)


@contextmanager
def _reports(seeds: range, jobs: int, bug: str | None) -> Iterator[Iterator[Report]]:
    judged = partial(judge, bug=bug)
    if jobs == 1 or len(seeds) == 1:
        yield map(judged, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield pool.imap(judged, seeds, chunksize=min(SCHEDULES_AT_ONCE, len(seeds)))


class Shrunk(NamedTuple):
    """The smallest failing schedule that was found, what came of it, and the runs it took."""

    result: Result
    original: Schedule
    runs: int

    def lines(self) -> list[str]:
        """Return the schedule and its history, for people."""
        schedule = self.result.schedule
        steps = f"from {len(self.original.steps)} steps to {len(schedule.steps)}"
        faulty = f"{len(self.result.faulty)} faulty messages"
        return [
            f"shrunk {steps}, with {faulty}, in {self.runs} runs:",
            *(f"    {step}" for step in schedule.steps),
            *(f"    faulty: {node} message {serial}" for node, serial in self.result.faulty),
            f"settings: {schedule.settings}",
            "history:",
            *self.result.history,
            *(f"FOUND  {finding}" for finding in self.result.findings),
        ]


def shrunk(seed: int, bug: str | None = None) -> Shrunk:
    """Shrink the schedule of a seed that fails."""
    original = draw_schedule(seed)
    with planted(bug):
        shrinker = Shrinker(run(original))
        return Shrunk(shrinker.shrink(), original, shrinker.runs)
