"""Schedules by hand, for what chance brings together too seldom between nodes."""

from unittest.mock import patch

from simulation.events import Rule
from simulation.schedule import Backup, Crash, Issue, Restore, Schedule, Step, draw_schedule
from simulation.settings import Network
from simulation.world import run

from coordinator.core.state import CounterState
from coordinator.guests import Guest, Guests, decline

VARIANTS = 12
"""Draws of whether another run of a node lets in who knows the former one."""


def schedule(variant: int, *steps: Step) -> Schedule:
    """Return one with two nodes, on networks without fault."""
    drawn = draw_schedule(1)
    rates = dict.fromkeys(("refused", "request_lost", "reply_lost", "late", "twice"), 0.0)
    network = Network(latency_ms=(0.2, 1.0), attempt_s=0.5, late_s_max=1.0, **rates)
    settings = drawn.settings._replace(
        nodes=2,
        length_ms=3_000,
        network=network,
        between_nodes=network,
        start=1,
        series_length=1_000,
        deadline_s=3.0,
        queue_max=100,
        operations_max=128,
        entry_bytes_max=1_000_000,
        batch_max=8,
        bounds=drawn.settings.bounds._replace(trusted_s=10.0, recent_max=16, guests_max=64),
        restores=True,
    )
    return drawn._replace(settings=settings, steps=steps, variant=variant)


def a_restored_store_that_has_come_as_far(variant: int) -> Schedule:
    """The node with the turn starts anew on a restored store, and leads it as far as before.

    The other node knows the lost entries, and hands it a batch.
    """
    takes = iter(range(1, 100))

    def at(at_ms: int, node: int) -> Issue:
        return Issue(at_ms, f"q{next(takes)}", node, 0, 1)

    first = [at(10, 1), at(100, 0), at(200, 1), at(300, 0)]
    lost = [at(420, 0), at(440, 0), at(460, 0)]
    anew = [at(1_100 + 20 * each, 1) for each in range(8)]
    return schedule(
        variant,
        *(*first, Backup(400), *lost),
        *(Crash(500, 1, 100), Restore(550), *anew, at(2_000, 0)),
    )


def _whatever_was_seen(_: Guests, guest: Guest, state: CounterState) -> bool:
    run, seen = guest.forward.part.instance, guest.forward.seen
    if seen <= state.head.index and state.has_nothing_newer_of(run, seen):
        return True
    decline([guest], "its run has gone on since, or may have")
    return False


def test_a_batch_of_who_knows_another_history_is_not_taken() -> None:
    schedules = [a_restored_store_that_has_come_as_far(variant) for variant in range(VARIANTS)]
    results = [run(each) for each in schedules]
    assert not any(result.findings for result in results)
    assert sum(result.counts["batches declined"] for result in results) > 0
    with patch.object(Guests, "_is_open", _whatever_was_seen):
        findings = [finding for each in schedules for finding in run(each).findings]
    assert findings
    assert {finding.rule for finding in findings} == {Rule.NO_REWIND}
