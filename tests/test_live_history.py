"""The history of the live view: what decimation keeps, how much it takes, what counts as news."""

import itertools
from statistics import quantiles

from hypothesis import given
from hypothesis import strategies as st

from coordinator import timeline as timelines
from coordinator.latencies import Latencies, bucket_of, middle_of
from coordinator.timeline import (
    COARSE_FOR_MS,
    COARSE_MS,
    FINE_FOR_MS,
    FINE_MS,
    MARKERS_MAX,
    Marker,
    Point,
    Seen,
    Timeline,
    changes,
    later,
)

START_MS = 1_800_000_000_000
EVER = (0, 2**62)


def filled(steps: list[tuple[int, int]]) -> tuple[Timeline, list[Point]]:
    """Return a history and all its points: so many ms after the one before, with this latency."""
    history, all_points, time_ms = Timeline(), [], START_MS
    for at, (pause_ms, p99_us) in enumerate(steps):
        time_ms += pause_ms
        point = Point(time_ms, highest=at, issued=at, p50_us=p99_us // 2, p99_us=p99_us)
        history.add(point)
        all_points.append(point)
    return history, all_points


STEPS = st.lists(st.tuples(st.integers(1, 400_000), st.integers(0, 10**7)), min_size=1, max_size=80)


@given(STEPS, st.integers(timelines.POINTS_MIN, 40))
def test_decimation_keeps_order_totals_and_the_worst_latency(steps, limit) -> None:
    history, every = filled(steps)
    found = history.points(*EVER, limit)
    assert len(found) <= limit
    times = [point.time_ms for point in found]
    assert times == sorted(set(times))
    kept = [p for p in every if p.time_ms > every[-1].time_ms - COARSE_FOR_MS - FINE_FOR_MS]
    recent = [p for p in every if p.time_ms > every[-1].time_ms - COARSE_FOR_MS + COARSE_MS]
    totals = {point.time_ms: point.issued for point in every}
    assert all(totals[point.time_ms] == point.issued for point in found)
    assert found[-1]._replace(p50_us=0, p99_us=0) == every[-1]._replace(p50_us=0, p99_us=0)
    worst = max(point.p99_us for point in found)
    assert max(p.p99_us for p in recent) <= worst <= max(p.p99_us for p in kept)


@given(STEPS, st.integers(0, 10**6), st.integers(0, 10**6))
def test_only_what_was_asked_for_is_told(steps, after, length) -> None:
    history, _ = filled(steps)
    since = START_MS + after
    found = history.points(since, since + length, 1_000)
    assert all(since <= point.time_ms <= since + length for point in found)
    assert set(found) <= set(history.points(*EVER, 1_000))


@given(st.lists(st.integers(0, 20_000_000), min_size=1, max_size=60))
def test_a_clock_that_is_set_back_leaves_times_in_order(offsets_ms) -> None:
    history = Timeline()
    for at, offset_ms in enumerate(offsets_ms):
        history.add(Point(START_MS + offset_ms, issued=at))
        times = [point.time_ms for point in history.points(*EVER, 1_000)]
        assert times == sorted(set(times))
    assert history.newest is not None
    assert history.newest.issued == len(offsets_ms) - 1


def test_a_day_of_two_points_a_second_takes_bounded_memory() -> None:
    history = Timeline()
    for at in range(2 * 86_400):
        history.add(Point(START_MS + 500 * at, issued=at, p99_us=at % 977))
    every = history.points(*EVER, 10**9)
    assert len(every) <= FINE_FOR_MS // FINE_MS + COARSE_FOR_MS // COARSE_MS + 2
    pauses = {b.time_ms - a.time_ms for a, b in itertools.pairwise(every)}
    assert pauses <= {FINE_MS, COARSE_MS, *range(FINE_MS, COARSE_MS + FINE_MS, 500)}
    assert every[-1].time_ms - every[0].time_ms > COARSE_FOR_MS - 2 * COARSE_MS
    history.mark(Marker(at, "node-gone", "n") for at in range(10_000))
    assert len(history.markers) == MARKERS_MAX
    assert history.happened(9_990, 9_995)[0].time_ms == 9_990


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=300))
def test_percentiles_are_at_most_a_sixteenth_wrong(waits_us) -> None:
    latencies = Latencies()
    for at in range(0, len(waits_us), 7):
        latencies.answered(waits_us[at : at + 7])
    told = latencies.take()
    ordered = sorted(waits_us)
    assert told.answers == len(waits_us)
    for percent, said in ((50, told.p50_us), (99, told.p99_us)):
        exact = ordered[-(-len(ordered) * percent // 100) - 1]
        assert abs(said - exact) <= exact / 16
    assert latencies.take() == (0, 0, 0)


def test_percentiles_agree_with_the_library_on_many_answers() -> None:
    waits_us = [int(800 * 1.0007**at) for at in range(5_000)]
    latencies = Latencies()
    latencies.answered(waits_us)
    told, exact = latencies.take(), quantiles(waits_us, n=100)
    assert abs(told.p50_us / exact[49] - 1) < 0.06
    assert abs(told.p99_us / exact[98] - 1) < 0.06


def test_a_latency_beyond_all_bounds_counts_as_the_longest() -> None:
    latencies = Latencies()
    latencies.answered([-5, -100_000, 2**70])
    assert latencies.take() == (3, 0, middle_of(bucket_of(2**32 - 1)))


def news(before: Seen, after: Seen) -> list[tuple[str, str]]:
    return [(marker.kind, marker.who) for marker in changes(before, after, 7)]


def test_what_went_and_came_is_news() -> None:
    before = Seen({"n1": "a", "n2": "b"}, {"m1": True, "m2": False}, "m1", {"invoice": "n1"})
    after = Seen({"n1": "c", "n3": "d"}, {"m1": False, "m2": True}, "m2", {"invoice": "n3"})
    assert news(before, after) == [
        *(("node-gone", "n2"), ("node-came", "n1"), ("node-came", "n3")),
        *(("member-gone", "m1"), ("member-came", "m2"), ("new-leader", "m2")),
        ("turn-moved", "n3"),
    ]
    assert news(after, after) == []


def test_the_first_look_and_a_look_at_a_part_are_no_news() -> None:
    whole = Seen({"n1": "a"}, {"m1": True}, "m1", {"invoice": "n1"})
    assert news(Seen(), whole) == []
    assert news(whole, Seen(nodes={"n1": "a"})) == []
    assert later(whole, Seen(nodes={})) == whole._replace(nodes={})
    assert news(whole, Seen(leader="")) == []
