"""``coordinator load-test``: against real nodes, and against one that does not say the truth."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from conftest import ROOT
from http_calls import Start, issue, release
from support import ask, running_etcd, running_node, wait_for

from coordinator.cli import main
from coordinator.core.keys import Keys
from coordinator.jobs.load_checks import Claim, Standing, claims_of
from coordinator.jobs.load_test import CannotBegin, Done, Plan, Report, load_test
from coordinator.store.etcd import EtcdStore

DOCUMENTS = "/api/v1/document-numbering"


class Two:
    """Two nodes as processes of their own."""

    def __init__(self, etcd: str, urls: list[str]) -> None:
        self.etcd = etcd
        self.urls = urls
        self.words = [word for url in urls for word in ("--url", url)]

    def run(self, *words: str) -> Any:
        command = [sys.executable, "-m", "coordinator", "load-test", *self.words, *words]
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )

    def held(self) -> int:
        """Blocks of open reservations in the store, of all counters of documents."""

        async def count() -> int:
            store = EtcdStore((self.etcd,))
            try:
                found = (await store.read(Keys().counters)).found[0]
            finally:
                await store.close()
            return sum(b"/held/" in kv.key for kv in found)

        return asyncio.run(count())


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    folder = tmp_path_factory.mktemp("load")
    with contextlib.ExitStack() as stack:
        etcd = stack.enter_context(running_etcd(folder))
        urls = []
        for name in ("node-1", "node-2"):
            of_node = folder / name
            of_node.mkdir()
            flags = ("--node-id", name, "--profile", "demonstration")
            urls.append(stack.enter_context(running_node(of_node, etcd, *flags)))
        yield Two(etcd, urls)


def claims(done: Any) -> dict[str, Any]:
    return {claim["name"]: claim["ok"] for claim in json.loads(done.stdout)["claims"]}


def test_pairs_are_spread_over_the_nodes_and_all_claims_hold(two: Two) -> None:
    words = ("--issue-date", "2031-05-01", "--requests", "300", "--concurrency", "40")
    done = two.run("--type", "COR", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "300 pairs of COR in" in done.stdout
    assert "true  consecutive: 1 to 300, nobody else was served" in done.stdout
    assert "true  confirmed for good: 100 of 100" in done.stdout
    assert "true  no reservation left open: 300 confirmed, 0 cancelled, 0 open" in done.stdout
    assert two.held() == 0


def test_reservations_alone_are_cancelled_in_the_end(two: Two) -> None:
    words = ("--type", "RFA", "--scope", "project=P1", "--only-reserve", "--requests", "50")
    done = two.run(*words, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert answer["numbers"] == [1, 50]
    assert set(answer["latency"]) == {"reserve", "cancel"}
    assert two.held() == 0


def test_invoice_numbers_are_taken_one_by_one(two: Two) -> None:
    done = two.run("--type", "invoice", "--requests", "200", "--json")
    assert (done.returncode, claims(done)) == (
        0,
        {"all answered": True, "no number twice": True, "consecutive": True},
    )
    assert json.loads(done.stdout)["latency"]["next"]["calls"] == 200


def test_a_word_ends_it_and_what_is_open_is_cancelled(two: Two) -> None:
    words = ("--type", "COR", "--issue-date", "2032-05-01", "--requests", "100000", "--json")
    command = [sys.executable, "-m", "coordinator", "load-test", *two.words, *words]
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        wait_for(two.held, 20, "reservations are open")
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=20)
    finally:
        running.kill()
    assert running.returncode == 130, err
    assert b"open reservations are cancelled" in err
    answer = json.loads(out)
    assert answer["interrupted"] is True
    assert 0 < answer["answered"] < 100_000
    told = {claim["name"]: claim["ok"] for claim in answer["claims"]}
    assert told.pop("all answered") is None
    assert set(told.values()) == {True}
    assert two.held() == 0
    assert ask(two.urls[0], "validate")[1]["valid"] is True


def test_a_node_that_is_down_is_passed_by_and_counted(two: Two) -> None:
    down = "http://127.0.0.1:1"
    words = ("--type", "COR", "--issue-date", "2033-05-01", "--requests", "20", "--url", down)
    done = two.run(*words, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["errors"]["no answer"] > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--type", "NOPE"), "No series 'NOPE'"),
        (("--type", "RFA"), "needs a value for PROJECT"),
        (("--type", "COR", "--scope", "project"), "NAME=VALUE"),
        (("--type", "invoice", "--only-reserve"), "leave them out"),
        (("--type", "COR", "--requests", "0"), "1 to 100,000"),
        (("--type", "COR", "--concurrency", "1001"), "1 to 1,000"),
        (("--type", "COR", "--url", "nonsense"), "no address"),
        ((), "--type"),
    ],
)
def test_what_cannot_begin_is_refused_clearly(two: Two, words: tuple[str, ...], said: str) -> None:
    done = two.run(*words)
    assert done.returncode == 2
    assert said in done.stderr


def test_without_a_node_nothing_begins(capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    assert main(["load-test", "--type", "COR", "--url", "http://127.0.0.1:1"]) == 2
    assert "Is a node running there?" in capsys.readouterr().err
    assert time.monotonic() - began < 20


async def loaded(*urls: str, may_spend: bool = False, **more: Any) -> Report:
    chosen: dict[str, Any] = {
        "series": "COR",
        "requests": 40,
        "concurrency": 8,
        "only_reserve": False,
    }
    chosen |= {"asked": {"document_type": "COR", "scope": {}}} | more
    begun: list[Done] = []
    return await load_test(Plan(urls, **chosen), asyncio.Event(), begun.append, may_spend=may_spend)


def wrong(report: Report) -> list[str]:
    return [claim.name for claim in report.claims if claim.ok is False]


async def test_real_numbers_are_spent_only_with_a_word_that_they_may_be(start_node: Start) -> None:
    node = await start_node(profile="production")
    url = str(node.make_url("")).rstrip("/")
    with pytest.raises(CannotBegin, match="--yes"):
        await loaded(url)
    assert not wrong(await loaded(url, may_spend=True))


async def test_more_numbers_than_a_series_has_are_not_begun(start_node: Start) -> None:
    node = await start_node()
    small = {"document_type": "TIN", "template": "{PREFIX}-TINY-{SEQ:3}", "max_value": 5}
    async with node.post(
        "/api/v1/admin/document-numbering/templates", json=small | {"reason": "x"}
    ) as made:
        assert made.status == 201
    url = str(node.make_url("")).rstrip("/")
    asked = {"document_type": "TIN", "scope": {}}
    with pytest.raises(CannotBegin, match="5 numbers left"):
        await loaded(url, series="TIN", asked=asked, requests=6)
    assert not wrong(await loaded(url, series="TIN", asked=asked, requests=5))


async def test_others_who_are_served_meanwhile_are_no_hole(start_node: Start) -> None:
    node = await start_node()
    url = str(node.make_url("")).rstrip("/")
    one, other = await asyncio.gather(loaded(url, requests=200), loaded(url, requests=200))
    for report in (one, other):
        told = {claim.name: claim for claim in report.claims}
        assert told["consecutive"].ok is not False
        assert (told["no number twice"].ok, report.complete) == (True, True)
    assert any("others were served" in str(claim.detail) for claim in one.claims + other.claims)


async def test_waiting_gaps_of_invoices_are_not_taken_for_holes(start_node: Start) -> None:
    node = await start_node()
    await issue(node)
    await release(node, 1)
    url = str(node.make_url("")).rstrip("/")
    place = {"siteId": "site-1", "partitionId": "partition-a", "invoiceType": "on-cycle"}
    report = await loaded(url, series="invoice", asked=place)
    told = {claim.name: claim.ok for claim in report.claims}
    assert told == {"all answered": True, "no number twice": True, "consecutive": None}


@contextlib.asynccontextmanager
async def liar(url: str, lie: Any) -> AsyncIterator[str]:
    """A way to a node that changes answers: ``lie`` is given path and answer, and returns one."""
    async with ClientSession() as session:

        async def forward(request: web.Request) -> web.Response:
            body = await request.read()
            headers = {"Content-Type": "application/json"}
            if "Idempotency-Key" in request.headers:
                headers["Idempotency-Key"] = request.headers["Idempotency-Key"]
            way = session.request(request.method, url + request.path_qs, data=body, headers=headers)
            async with way as answer:
                status, said = lie(request.path, answer.status, await answer.json())
                return web.json_response(said, status=status)

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", forward)
        async with TestServer(app) as server:
            yield str(server.make_url("")).rstrip("/")


async def test_a_number_that_came_twice_is_told(start_node: Start) -> None:
    node = await start_node()
    seen: list[Any] = []

    def lie(path: str, status: int, said: Any) -> tuple[int, Any]:
        if path.endswith("/next"):
            seen.append(said)
            return status, seen[0] if len(seen) == 5 else said
        return status, said

    place = {"siteId": "site-1", "partitionId": "partition-a", "invoiceType": "on-cycle"}
    async with liar(str(node.make_url("")).rstrip("/"), lie) as url:
        report = await loaded(url, series="invoice", asked=place)
    assert (wrong(report), report.found) == (["no number twice"], True)


async def test_another_number_confirmed_than_reserved_is_told(start_node: Start) -> None:
    node = await start_node()

    def lie(path: str, status: int, said: Any) -> tuple[int, Any]:
        if path.endswith("/confirm") and said["data"]["document_number"].endswith("7"):
            said["data"]["document_number"] = "COR-0000-00000"
        return status, said

    async with liar(str(node.make_url("")).rstrip("/"), lie) as url:
        report = await loaded(url)
    assert wrong(report) == ["confirmed as reserved", "confirmed for good"]


async def test_a_reservation_that_cannot_be_settled_is_told(start_node: Start) -> None:
    node = await start_node()

    def lie(path: str, status: int, said: Any) -> tuple[int, Any]:
        if path.endswith("/cancel"):
            return 409, {"code": "NB000", "detail": "no"}
        return status, said

    async with liar(str(node.make_url("")).rstrip("/"), lie) as url:
        report = await loaded(url, only_reserve=True)
    assert wrong(report) == ["no reservation left open"]
    assert (report.errors, len(report.done.open)) == ({"NB000": 40}, 40)


async def test_a_lost_answer_is_asked_for_again_and_takes_no_second_number(
    start_node: Start,
) -> None:
    node = await start_node()
    lost: list[Any] = []

    def lie(path: str, status: int, said: Any) -> tuple[int, Any]:
        if path.endswith("/reserve") and len(lost) < 5:
            lost.append(said)
            return 504, {"code": "NB010", "detail": "unknown"}
        return status, said

    async with liar(str(node.make_url("")).rstrip("/"), lie) as url:
        report = await loaded(url)
    told = {claim.name: claim.ok for claim in report.claims}
    assert (set(told.values()), report.errors) == ({True}, {"NB010": 5})
    assert sorted(report.done.numbers) == list(range(1, 41))


async def test_answers_of_something_else_end_it_and_are_not_taken_for_numbers(
    start_node: Start, etcd: str
) -> None:
    with pytest.raises(CannotBegin, match="a node"):
        await loaded(etcd)
    node = await start_node()

    def lie(path: str, status: int, said: Any) -> tuple[int, Any]:
        return status, {} if path.endswith("/reserve") else said

    async with liar(str(node.make_url("")).rstrip("/"), lie) as url:
        report = await loaded(url, requests=500)
    assert (report.complete, report.done.answered) == (False, 0)
    assert 50 <= report.done.unknown < 100
    told = {claim.name: claim.ok for claim in report.claims}
    assert told["no reservation left open"] is None


@pytest.mark.parametrize(
    ("numbers", "after", "expected"),
    [
        ([5, 6, 7], Standing("c", 8), (True, True)),
        ([7, 5, 6], Standing("c", 9), (True, None)),
        ([5, 6, 6], Standing("c", 7), (False, True)),
        ([5, 6, 6], Standing("c", 7, released=1), (None, None)),
        ([4, 5, 6], Standing("c", 7), (True, False)),
        ([5, 6, 7], Standing("c", 7), (True, False)),
        ([5, 6, 7], Standing("d", 8), (True, None)),
        ([5, 6, 7], Standing("c", 8, "gaps wait"), (True, None)),
        ([], Standing("c", 5), (True, True)),
    ],
)
def test_claims_follow_from_the_counter_before_and_after(
    numbers: list[int], after: Standing, expected: tuple[bool | None, ...]
) -> None:
    found: list[Claim] = claims_of(numbers, Standing("c", 5), after)
    assert tuple(claim.ok for claim in found) == expected


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["load-test", "--help"])
    assert "coordinator load-test --type COR --requests 1000" in capsys.readouterr().out
