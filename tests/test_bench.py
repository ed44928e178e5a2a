"""The parts of the benchmark that decide what its figures mean."""

import asyncio
import itertools
import json
import random
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "scripts"))

from bench import rows
from bench.chart import BEGIN, END, NoPlaceError, chart, put_between_marks
from bench.figures import figures
from bench.generator import Arrivals, Load, Plan, Source, Target
from bench.histogram import Histogram
from bench.lab import Lab, Sizes
from bench.loads import Sample
from bench.options import parse
from bench.pairs import NEXT_BESIDE, PAIRS_FOR_ONE, pair_of
from bench.progress import Progress, Share
from bench.report import figure_rows
from bench.results import Figure, NotMeasuredError, Results, Verdict
from bench.rows import ROWS, usable
from bench.tally import LOST, TRANSACTIONS, costs, sum_of

STALL_S = 0.4
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def sample(per_second: float, **facts: float) -> Sample:
    return Sample(per_second, 5.0, 8.0, 12.0, 20.0, 5.5, 100, 0, facts)


def lab() -> Lab:
    sizes = Sizes(memory_numbers=100, growth_numbers=100, growth_gaps=10)
    return Lab(Path(), 1.0, 1, 64, sizes, Progress({}))


# The histogram


@pytest.mark.parametrize("seed", range(5))
def test_percentiles_are_right_to_a_hundredth_and_never_flatter(seed):
    draw = random.Random(seed)
    values = [int(draw.lognormvariate(8, 2)) for _ in range(5_000)]
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    values.sort()
    for percent in (0.1, 10, 50, 90, 99, 99.9, 100):
        rank = max(1, -(-len(values) * percent // 100))
        true = values[int(rank) - 1]
        assert true <= histogram.percentile_us(percent) <= true * (1 + 1 / 128)
    assert histogram.max_us == values[-1]
    assert histogram.mean_us == pytest.approx(sum(values) / len(values))


def test_short_latencies_are_exact():
    histogram = Histogram()
    for value in range(256):
        histogram.record(value)
    assert [histogram.percentile_us(100 * (n + 1) / 256) for n in range(256)] == list(range(256))


def test_histograms_add_up_also_by_way_of_json():
    both, one, other = Histogram(), Histogram(), Histogram()
    for value in (3, 1_000, 40_000):
        one.record(value)
        both.record(value)
    other.record(999_999, 7)
    both.record(999_999, 7)
    one.add(Histogram.from_json(**other.as_json()))
    assert one.as_json() == both.as_json()
    assert one.total == 10


def test_an_empty_histogram_has_no_percentile():
    with pytest.raises(ValueError, match="nothing"):
        Histogram().percentile_us(50)


# Arrivals do not wait for answers


def test_requests_are_due_at_a_constant_rate_however_late_they_are_taken():
    arrivals = Arrivals(began=100.0, rate=10.0, seconds=1.0)
    assert arrivals.take(99.9) is None
    due = []
    while (at := arrivals.take(100.55)) is not None:
        due.append(at)
    assert due == pytest.approx([100.0, 100.1, 100.2, 100.3, 100.4, 100.5])
    assert arrivals.next_at == pytest.approx(100.6)
    assert arrivals.left() == pytest.approx([100.6, 100.7, 100.8, 100.9])
    assert arrivals.take(200.0) is None


async def loaded(plan_of, answer) -> list[Source]:
    """Load a server that answers each request by `answer()`; returns what was counted."""

    async def serve(reader, writer):
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(await answer())
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    load = Load(plan_of(Target(port, "GET / HTTP/1.1\r\nHost: test\r\n\r\n")))
    try:
        await load.run()
    finally:
        server.close()
    return load.sources


def stalling_after(requests: int):
    """Return answers that all come to a standstill once, for STALL_S."""
    counted = itertools.count()
    until = 0.0

    async def answer() -> bytes:
        nonlocal until
        now = asyncio.get_running_loop().time()
        if next(counted) == requests:
            until = now + STALL_S
        await asyncio.sleep(max(0.0, until - now))
        return OK

    return answer


async def test_a_stall_is_charged_for_everybody_who_came_meanwhile():
    rate, seconds = 200.0, 1.0
    sources = await loaded(
        lambda target: Plan("open", (target,), 2, seconds, rate), stalling_after(60)
    )
    latencies = sources[0].latencies
    assert latencies.total == rate * seconds
    slow = sum(times for bucket, times in latencies.counts.items() if _above(bucket, 100_000))
    # All but the last 100 ms of those who came during the stall waited for longer than that.
    assert slow >= 0.8 * rate * (STALL_S - 0.1)
    assert latencies.percentile_us(80) > 100_000
    assert latencies.max_us >= STALL_S * 1e6 * 0.95


async def test_a_closed_loop_does_not_see_the_same_stall():
    sources = await loaded(lambda target: Plan("closed", (target,), 2, 1.0), stalling_after(60))
    # One for each connection, of hundreds: this is what the open loop is for.
    assert sources[0].latencies.percentile_us(90) < 100_000


def _above(bucket: int, bound_us: int) -> bool:
    one = Histogram()
    one.record(bound_us)
    return bucket > next(iter(one.counts))


async def test_what_is_never_answered_counts_with_its_wait(monkeypatch):
    monkeypatch.setattr("bench.generator.GRACE_SECONDS", 0.2)

    async def never() -> bytes:
        await asyncio.sleep(60)
        return OK

    sources = await loaded(lambda target: Plan("open", (target,), 1, 0.2, 50.0), never)
    assert sources[0].answered_well == 0
    assert sources[0].errors == 10
    assert sources[0].latencies.total == 10
    assert sources[0].latencies.max_us >= 350_000


async def test_a_refusal_is_an_error_and_no_latency():
    async def refuse() -> bytes:
        return b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"

    sources = await loaded(lambda target: Plan("closed", (target,), 2, 5.0, requests=10), refuse)
    assert (sources[0].errors, sources[0].latencies.total) == (10, 0)


def test_bodies_count_up_and_say_how_long_they_are():
    source = Source(Target(1, 'POST / HTTP/1.1\r\n\r\n{"n": %d}', first=95, step=5))
    assert source.request() == b'POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"n": 95}'
    assert source.request() == b'POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n{"n": 100}'


async def paired(connections: int, requests: int, answer) -> list[Source]:
    """Load a server of reservations; ``answer(path, body)`` is the status and the token."""

    async def serve(reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.partition(b"Content-Length: ")[2].split()[0])
                path, body = head.split()[1].decode(), await reader.readexactly(length)
                status, token = answer(path, json.loads(body))
                said = json.dumps({"data": {"token": token}}).encode()
                start = f"HTTP/1.1 {status} X\r\nContent-Length: {len(said)}\r\n\r\n"
                writer.write(start.encode() + said)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    target = pair_of(server.sockets[0].getsockname()[1])
    load = Load(Plan("closed", (target,) * connections, connections, 5.0, requests=requests))
    try:
        await load.run()
    finally:
        server.close()
    return load.sources


async def test_each_connection_confirms_its_own_reservation_and_leaves_none_half_done():
    counted, tokens = itertools.count(), set()

    def answer(path: str, body: dict[str, str]) -> tuple[int, str]:
        if path.endswith("/reserve"):
            tokens.add(token := f"t{next(counted)}")
            return 201, token
        tokens.remove(body["token"])  # raises for one that is not open
        return 200, ""

    sources = await paired(5, 27, answer)
    assert (next(counted), tokens) == (27, set())
    assert sum(source.answered_well for source in sources) == 27
    assert sum(source.errors for source in sources) == 0
    assert sum(source.latencies.total for source in sources) == 27


async def test_a_refused_half_is_one_error_and_no_pair():
    for answer in (
        lambda path, _: (409 if path.endswith("/confirm") else 201, "t"),
        lambda *_: (503, ""),
        lambda *_: (200, "t"),  # what a reservation never answers
    ):
        sources = await paired(2, 9, answer)
        assert sum(source.answered_well + source.latencies.total for source in sources) == 0
        assert sum(source.errors for source in sources) == 9


# Ratios, goals, costs


def test_a_ratio_is_the_median_of_the_ratios_within_rounds():
    results = Results({"a": [sample(10), sample(40), sample(90)], "b": [sample(20)] * 3})
    assert results.ratio("a", "b") == 2.0
    # The machine was ten times as fast in one round: the ratio does not notice.
    results = Results(
        {"a": [sample(10), sample(100), sample(10)], "b": [sample(20), sample(200), sample(20)]}
    )
    assert results.ratio("a", "b") == 0.5
    with pytest.raises(NotMeasuredError):
        results.ratio("a", "missing")


def test_a_goal_is_reached_missed_or_not_measured():
    results = Results({"a": [sample(17)], "b": [sample(20)]})

    def cells(bound: str, limit: float, name: str = "a") -> list[str]:
        figure = Figure(
            "what", lambda r: r.ratio(name, "b"), bound, limit, beside=lambda _: "17:20"
        )
        return figure_rows(results, (figure,))[0]

    assert cells("at least", 0.85) == ["what", "17:20", "0.85", "at least 0.85", "reached"]
    assert cells("at least", 0.86)[-1] == "MISSED"
    assert cells("at most", 0.84)[-1] == "MISSED"
    assert cells("", 0)[-2:] == ["", ""]
    assert cells("at least", 1, "missing") == ["what", "not measured", "", "at least 1", ""]


def test_every_figure_can_do_without_its_rows():
    for figure in figures(lab()):
        assert figure.judge(Results()).value is None, figure.what


def test_the_best_form_of_postgresql_is_the_one_that_is_quicker():
    results = Results(
        {"one-node": [sample(60)], "postgres": [sample(5)], "postgres-function": [sample(10)]}
    )
    best = next(f for f in figures(lab()) if "best form" in f.what)
    assert (best.judge(results).value, best.judge(results).beside) == (6.0, "60/s : 10/s")


def test_pairs_have_to_be_half_as_many_as_single_calls_in_the_same_rounds():
    facts = {PAIRS_FOR_ONE: 0.5, NEXT_BESIDE: 10.0}
    results = Results({"reserve-confirm": [replace(sample(5), facts=facts)]})
    figure = next(f for f in figures(lab()) if "reserve and confirm" in f.what)
    assert figure.judge(results) == Verdict(0.5, "5/s : 10/s", ok=True)


def test_costs_are_for_each_number_and_lost_compares_for_each_that_was_tried():
    spent = {"transactions": 20.0, "written": 0.0, "batches": 15.0, "lost": 5.0}
    assert costs(spent, 1_000) == {TRANSACTIONS: 20.0, LOST: 25.0}
    assert costs({}, 0) == {}


def test_a_metric_is_summed_over_its_labels():
    text = 'up 1\ndone_total{m="Txn",c="OK"} 2\ndone_total{m="Range"} 4\ndone_total_more 8\n'
    assert sum_of(text, "done_total", 'm="Txn"') == 2
    assert sum_of(text, "done_total") == 6
    assert sum_of(text, "up") == 1


# The chart, the command line


def test_the_chart_is_mermaid_and_knows_the_highest_bar():
    block = chart({"one-node": 11_400.4, "hello": 25_312.0, "bulk": 1e6}, 64)
    assert block.splitlines() == [
        "```mermaid",
        "xychart-beta horizontal",
        '    title "Requests a second, 64 connections"',
        '    x-axis ["bare aiohttp hello", "one node"]',
        '    y-axis "a second" 0 --> 26000',
        "    bar [25312, 11400]",
        "```",
    ]
    with pytest.raises(ValueError, match="nothing"):
        chart({"bulk": 1.0}, 64)


def test_the_chart_replaces_what_is_between_the_marks_and_nothing_else():
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    new = put_between_marks(text, "new")
    assert new == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    assert put_between_marks(new, "new") == new
    with pytest.raises(NoPlaceError):
        put_between_marks("before\nafter\n", "new")


def test_the_readme_has_a_place_for_the_chart():
    readme = (ROOT / "README.md").read_text("utf-8")
    assert f"{BEGIN}\nnew\n{END}" in put_between_marks(readme, "new")


def test_what_is_missing_is_said_with_its_package_and_redis_is_optional(monkeypatch, capsys):
    monkeypatch.setattr(rows, "find_tool", lambda name: None if name == "redis-server" else name)
    kept, left_out = usable(list(ROWS))
    assert set(ROWS) - set(kept) == {"redis"} == set(left_out)
    assert left_out["redis"] == "redis-server is missing: apt install redis-server"

    monkeypatch.setattr(rows, "find_tool", lambda name: None if name == "pgbench" else name)
    assert usable(["hello", "postgres"])[0] == []
    assert "apt install postgresql" in capsys.readouterr().err


def test_the_command_line_has_sizes_and_refuses_nonsense(capsys):
    assert parse(["--full"], "").sizes == Sizes(1_000_000, 10_000_000, 100_000)
    given = parse(["--growth-numbers", "50", "--growth-gaps", "5", "--only", "growth,hello"], "")
    assert (given.sizes.growth_numbers, given.sizes.growth_gaps) == (50, 5)
    assert given.only == ["growth", "hello"]
    for words in (["--only", "nonsense"], ["--rounds", "-1"], ["--growth-numbers", "1"]):
        with pytest.raises(SystemExit):
            parse(words, "")
    capsys.readouterr()


def test_the_time_left_follows_the_plan_and_how_it_goes(capsys):
    progress = Progress({"a": Share(2, 20.0), "b": Share(1, 10.0)})
    assert progress.left_s(0.0) == 30.0
    progress.sampled("a", "said")
    assert progress.left_s(10.0) == pytest.approx(20.0)
    assert progress.left_s(20.0) == pytest.approx(40.0)  # half as quick as planned
    progress.finished("a")
    progress.finished("b")
    assert progress.left_s(99.0) == 0.0
    assert "[1/3, " in capsys.readouterr().err
