"""The page and its stream: shared by tabs, dropped, resumed, stale; and the history it shows."""

import asyncio
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from accessible import LAPTOP, check
from playwright.async_api import BrowserContext, Locator, Page, async_playwright, expect
from support import ROOT, answers, free_port, running_etcd, wait_for
from test_dashboard import CHROMIUM_FLAGS, FIRST_CELL, WAIT_MS, Operator, chromium

TABS = 8
NO_WORKER = "delete window.SharedWorker"


class NodeProcess:
    """A node that a test stops and starts again at the same address."""

    def __init__(self, etcd: str, log: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log
        root = f"/test-{uuid.uuid4().hex[:8]}/"
        self._words = ("--etcd-endpoints", etcd, "--root", root, "--profile", "demonstration")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "coordinator", "serve", "--port", str(self.port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *self._words], cwd=ROOT, stdout=log, stderr=log
            )
        wait_for(lambda: answers(f"{self.url}/readyz"), 20, "the node is ready")

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(timeout=10)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    with running_etcd(tmp_path) as etcd:
        node = NodeProcess(etcd, tmp_path / "node.log")
        node.start()
        yield node
        node.send(signal.SIGCONT)
        node.stop()


@pytest.fixture
async def context(node: NodeProcess) -> AsyncIterator[BrowserContext]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_FLAGS)
        yield await browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-US")
        await browser.close()


async def opened(context: BrowserContext, node: NodeProcess, address: str = "") -> Operator:
    """Open the page in a new tab."""
    operator = Operator(await context.new_page(), node.url)
    operator.refusals_expected = True
    await operator.page.goto(f"{node.url}/dashboard{address}")
    await expect(state_of(operator.page)).to_have_text(re.compile("^Live"), timeout=WAIT_MS)
    return operator


def state_of(page: Page) -> Locator:
    return page.locator("#live-text")


def rows_of(page: Page, chart: str) -> Locator:
    return page.locator(f'[data-table-of="{chart}"] tbody tr')


async def open_table(page: Page, chart: str) -> None:
    await page.locator(f'[data-table-of="{chart}"] summary').click()


async def test_eight_tabs_share_one_stream_and_all_show_what_happens(context, node) -> None:
    tabs = [await opened(context, node) for _ in range(TABS)]
    await tabs[0].has_streams(1)
    number = await tabs[0].issue(FIRST_CELL)
    for tab in tabs:
        await expect(tab.figure("currentCounter")).to_have_attribute(
            "data-value", str(number), timeout=WAIT_MS
        )
    await tabs[-1].has_streams(1)
    for tab in tabs:
        assert tab.errors == []
    for tab in tabs[:-1]:
        await tab.page.close()
    await tabs[-1].refreshes(2)
    await tabs[-1].has_streams(1)


async def test_a_page_survives_the_restart_of_its_node(context, node) -> None:
    operator = await opened(context, node)
    number = await operator.issue(FIRST_CELL)
    figure = operator.figure("currentCounter")
    await expect(figure).to_have_attribute("data-value", str(number))
    node.stop()
    await expect(state_of(operator.page)).to_have_text("Reconnecting", timeout=WAIT_MS)
    await expect(operator.page.locator("#live-age")).to_contain_text("old")
    await expect(figure).to_have_attribute("data-value", str(number))  # it stays to be seen
    await asyncio.sleep(6)  # so long that it asks instead
    node.start()
    await expect(state_of(operator.page)).to_have_text("Live", timeout=WAIT_MS)
    assert await operator.issue(FIRST_CELL) == number + 1
    await expect(figure).to_have_attribute("data-value", str(number + 1))


async def test_a_silent_node_makes_the_page_stale_with_the_age_of_its_figures(
    context, node
) -> None:
    operator = await opened(context, node)
    node.send(signal.SIGSTOP)
    state, age = state_of(operator.page), operator.page.locator("#live-age")
    await expect(state).to_have_text("Stale", timeout=WAIT_MS)
    await expect(age).to_have_text(re.compile(r"figures are \d+ s old"))
    await expect(operator.page.locator("#matrix")).to_have_class(re.compile("stale"))
    await check(operator.page, LAPTOP)  # what is old stays readable
    node.send(signal.SIGCONT)
    await expect(state).to_have_text("Live", timeout=2 * WAIT_MS)
    await expect(age).to_have_text("")


async def test_a_stream_goes_on_where_it_broke(context, node) -> None:
    await context.add_init_script(NO_WORKER)  # so that the page's own requests can be seen
    operator = await opened(context, node)
    page, asked = operator.page, []
    await operator.refreshes(2)
    page.on("request", lambda request: asked.append(request.url))
    hide = """hidden => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    await page.evaluate(hide, True)
    await operator.has_streams(0)
    await page.evaluate(hide, False)
    await expect(state_of(page)).to_have_text("Live", timeout=WAIT_MS)
    streams = [url for url in asked if "/api/v1/events" in url]
    assert len(streams) == 1
    assert re.search(r"\?lastEventId=[0-9a-f]+-\d+$", streams[0])
    number = await operator.issue(FIRST_CELL)
    await expect(operator.figure("currentCounter")).to_have_attribute("data-value", str(number))


async def test_where_no_stream_comes_through_the_page_asks(context, node) -> None:
    await context.add_init_script(NO_WORKER)
    await context.route("**/api/v1/events*", lambda route: route.abort())
    operator = await opened(context, node)
    await expect(state_of(operator.page)).to_have_text("Live (polling)")
    number = await operator.issue(FIRST_CELL)
    await expect(operator.figure("currentCounter")).to_have_attribute(
        "data-value", str(number), timeout=WAIT_MS
    )
    assert "numbering_live_streams 0.0" in await operator.metrics()


async def test_a_reload_keeps_the_history_of_the_charts(context, node) -> None:
    operator = await opened(context, node)
    page = operator.page
    await page.locator("#count").fill("40")
    await page.locator(f".cell{FIRST_CELL} [data-generate]").click()
    await open_table(page, "throughput")
    busy = rows_of(page, "throughput").filter(has_text=re.compile(r"(\d\d|\d\.\d)$"))
    await expect(busy.first).to_be_visible(timeout=WAIT_MS)
    when = await busy.first.locator("th").inner_text()
    before = await rows_of(page, "throughput").count()
    await operator.refreshes(4)
    await page.reload()
    await expect(state_of(page)).to_have_text("Live", timeout=WAIT_MS)
    await open_table(page, "throughput")
    await expect(rows_of(page, "throughput").filter(has_text=when).first).to_be_visible()
    assert await rows_of(page, "throughput").count() >= before
    await expect(rows_of(page, "throughput").filter(has_text="node-1 up")).to_have_count(1)
    await open_table(page, "latency")
    await expect(rows_of(page, "latency").filter(has_text=when).first).to_contain_text(
        re.compile(r"\d\.?\d*\d*$")
    )


async def test_the_range_is_part_of_the_address(context, node) -> None:
    operator = await opened(context, node)
    page = operator.page
    pressed = page.locator('[data-range][aria-pressed="true"]')
    await expect(pressed).to_have_text("5 min")
    await page.get_by_role("button", name="1 h", exact=True).click()
    await expect(page).to_have_url(re.compile(r"\?range=1h$"))
    await page.reload()
    await expect(pressed).to_have_text("1 h")
    await page.get_by_role("button", name="6 h").click()
    await page.go_back()
    await expect(pressed).to_have_text("1 h")
    other = await opened(context, node, "?range=nonsense")
    await expect(other.page.locator('[data-range][aria-pressed="true"]')).to_have_text("5 min")
    assert operator.errors == other.errors == []


async def test_the_ribbon_follows_numbers_that_leave_no_gap(context, node) -> None:
    operator = await opened(context, node)
    squares = operator.page.locator("#ribbon .square:not(.empty)")
    for wanted in (1, 2, 3):
        await operator.issue(FIRST_CELL)
        await expect(squares).to_have_count(wanted)
        await expect(operator.page.locator("#ribbon .fresh")).to_have_count(1)


async def test_the_strip_tells_what_was_proven_and_who_leads(context, node) -> None:
    operator = await opened(context, node)
    await operator.issue(FIRST_CELL)
    await expect(operator.page.locator("#proof-detail")).to_have_text(
        re.compile(r"up to entry \d+, \d+ s ago"), timeout=WAIT_MS
    )
    await expect(operator.figure("duplicates")).to_have_attribute("data-value", "0")
    await expect(operator.figure("watermark")).to_have_attribute("data-value", "1")
    etcd = operator.figure("etcd")
    await expect(etcd.locator(".value")).to_have_text("1 of 1")
    await expect(etcd.locator(".unit")).to_have_text(re.compile(r"leader :\d+"))
    await expect(operator.figure("latency").locator(".value")).to_have_text(
        re.compile(r"^[\d.]+ / [\d.]+$"), timeout=WAIT_MS
    )
