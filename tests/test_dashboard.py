"""The dashboard in a real browser, on real nodes and a real etcd, used as an operator would."""

import asyncio
import os
import re
import shlex
import shutil
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from playwright.async_api import (
    APIResponse,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    Route,
    async_playwright,
    expect,
)

WAIT_MS = 15_000
DEMONSTRATION_WAIT_MS = 180_000
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CELL = '[data-site="{}"][data-partition="{}"][data-type="{}"]'
FIRST_CELL = CELL.format("site-1", "partition-a", "on-cycle")
OTHER_CELL = CELL.format("site-2", "partition-b", "off-cycle")


class Operator:
    """A browser at the page, and what it must never see: an error, or another host."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.refusals_expected = False
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._follow)

    def _hear(self, message: ConsoleMessage) -> None:
        refused = "/api/" in message.location["url"] and "Failed to load" in message.text
        if message.type in {"error", "warning"} and not (refused and self.refusals_expected):
            self.errors.append(message.text)

    def _follow(self, request: Request) -> None:
        self.hosts.add(urlsplit(request.url).netloc)

    async def api(self, method: str, path: str, **options: object) -> APIResponse:
        """Call the node beside the page."""
        answer = await self.page.request.fetch(self.url + path, method=method, **options)
        assert answer.ok, await answer.text()
        return answer

    async def stats(self) -> dict[str, int]:
        """Return what the API says now."""
        return await (await self.api("GET", "/api/v1/sequence/stats")).json()

    async def fill_gaps(self) -> None:
        """Take what other tests released, so that the next number is a fresh one."""
        origin = {"siteId": "site-1", "partitionId": "partition-a", "invoiceType": "on-cycle"}
        while gaps := (await self.stats())["availableGaps"]:
            body = {**origin, "count": min(gaps, 10_000)}
            await self.api("POST", "/api/v1/sequence/next", data=body)

    async def issue(self, cell: str) -> int:
        """Click one cell and return the number that appears in it."""
        result = self.page.locator(f".cell{cell} .cell-result")
        before = await result.get_attribute("data-numbers")
        await self.page.locator(f".cell{cell} [data-generate]").click()
        await expect(result).not_to_have_attribute("data-numbers", before or "", timeout=WAIT_MS)
        await expect(result).to_have_attribute("data-numbers", re.compile(r"^\d+$"))
        return int(await result.get_attribute("data-numbers") or "")

    async def refreshes(self, times: int) -> None:
        """Wait until so many more events of the stream have reached the page."""
        live = self.page.locator("#live")
        wanted = int(await live.get_attribute("data-events") or 0) + times
        await self.page.wait_for_function(
            "wanted => Number(document.getElementById('live').dataset.events) >= wanted", arg=wanted
        )

    async def has_streams(self, wanted: int) -> None:
        """Wait until so many event streams are open at the node."""
        async with asyncio.timeout(20):
            while f"numbering_live_streams {wanted}.0" not in await self.metrics():
                await asyncio.sleep(0.2)

    async def metrics(self) -> str:
        """Return the node's metrics."""
        return await (await self.api("GET", "/metrics")).text()

    async def copied(self, button: Locator) -> list[str]:
        """Press "Copy as curl"; return the words of the command."""
        await button.click()
        await expect(button).to_have_text("Copied")
        return shlex.split(await self.page.evaluate("navigator.clipboard.readText()"))

    def figure(self, key: str) -> Locator:
        """Return one figure of the integrity strip."""
        return self.page.locator(f'[data-figure="{key}"]')

    async def value(self, locator: Locator) -> int:
        """Return the exact value behind a formatted one."""
        return int(await locator.get_attribute("data-value") or 0)


def chromium() -> str:
    """Return a Chromium's path. Without one the test fails: a page unseen is a page untested."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    assert found, f"no browser: set CHROMIUM, or install one of {', '.join(names)}"
    return found


@pytest.fixture
async def operator(cluster4) -> AsyncIterator[Operator]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_FLAGS)
        page = await browser.new_page(viewport={"width": 1440, "height": 900}, locale="en-US")
        operator = Operator(page, cluster4.urls[0].rstrip("/"))
        await page.goto(f"{operator.url}/dashboard")
        await expect(page.locator("#live-text")).to_have_text("Live", timeout=WAIT_MS)
        yield operator
        await browser.close()
    assert operator.errors == []
    assert operator.hosts == {urlsplit(operator.url).netloc}


async def test_the_page_shows_the_cluster_as_the_api_tells_it(operator: Operator, cluster4) -> None:
    stats = await operator.stats()
    assert await operator.value(operator.figure("currentCounter")) >= 0
    await expect(operator.figure("nodes").locator(".value")).to_have_text(
        f"{stats['activeNodes']} of {stats['totalNodes']}"
    )
    await expect(operator.page.locator("#matrix .cell")).to_have_count(16)
    nodes = operator.page.locator("#nodes li")
    await expect(nodes).to_have_count(len(cluster4.urls))
    links = await nodes.locator("a").evaluate_all("links => links.map(link => link.href)")
    assert sorted(links) == sorted(f"{url.rstrip('/')}/dashboard" for url in cluster4.urls)


async def test_its_files_are_hardened_revalidated_and_not_listed(operator: Operator) -> None:
    page = await operator.api("GET", "/dashboard")
    module = await operator.api("GET", "/dashboard/static/js/main.js")
    for answer in (page, module):
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
    assert "javascript" in module.headers["content-type"]
    fetch = operator.page.request.fetch
    static = f"{operator.url}/dashboard/static/"
    again = await fetch(f"{static}js/main.js", headers={"If-None-Match": module.headers["etag"]})
    assert again.status == 304
    for unlisted in ("", "js/", "..%2fview.py", "%2e%2e/view.py", "%00", "a" * 5_000):
        assert 400 <= (await fetch(static + unlisted)).status < 500, unlisted


async def test_a_number_is_issued_released_and_issued_again(operator: Operator) -> None:
    page = operator.page
    await operator.fill_gaps()
    await operator.refreshes(2)
    cell = page.locator(f".cell{FIRST_CELL}")
    counted = await operator.value(cell)
    highest = await operator.value(operator.figure("currentCounter"))

    number = await operator.issue(FIRST_CELL)
    assert number == highest + 1
    await expect(operator.figure("currentCounter")).to_have_attribute("data-value", str(number))
    await expect(cell).to_have_attribute("data-value", str(counted + 1))

    await page.locator(f'#entries tr:has-text("{number:,}") button').first.click()
    dialog = page.locator("#release-dialog")
    await expect(dialog).to_contain_text(f"Release number {number:,}?")
    await page.locator("#release-dialog-reason").fill("invoice suppressed")
    await page.locator("#release-do").click()
    await expect(dialog).to_be_hidden()
    gap = page.locator(f'#gaps [data-key="{number}"]')
    await expect(gap).to_be_visible()
    await expect(page.locator('#gaps [data-next="true"]')).to_have_text(f"{number:,}")
    await expect(page.locator("#entries tr").first).to_contain_text("invoice suppressed")

    reissued = await operator.value(operator.figure("totalGapsRecovered"))
    assert await operator.issue(OTHER_CELL) == number
    await expect(page.locator(f".cell{OTHER_CELL} .cell-result")).to_have_class(
        re.compile("reused")
    )
    await expect(gap).to_have_count(0)
    await expect(operator.figure("totalGapsRecovered")).to_have_attribute(
        "data-value", str(reissued + 1)
    )


async def test_each_place_shows_its_last_number(operator: Operator) -> None:
    page = operator.page
    await operator.fill_gaps()
    cell, other = (page.locator(f".cell{each}") for each in (FIRST_CELL, OTHER_CELL))
    number = await operator.issue(FIRST_CELL)
    await expect(cell).to_have_attribute("data-last", str(number))
    place = {"siteId": "site-2", "partitionId": "partition-b", "invoiceType": "off-cycle"}
    await operator.api("POST", "/api/v1/sequence/next", data={**place, "count": 7})
    await expect(other.locator(".cell-last")).to_have_text(f"last {number + 7:,}")
    await page.reload()
    await expect(cell).to_have_attribute("data-last", str(number))
    await expect(other).to_have_attribute("data-last", str(number + 7))


async def test_bulk_issues_as_many_as_asked_and_refuses_more(operator: Operator) -> None:
    page = operator.page
    before = (await operator.stats())["totalGenerated"]
    await page.locator("#count").fill("101")
    await page.locator(f".cell{FIRST_CELL} [data-generate]").click()
    await page.locator("#count").fill("25")
    await page.locator(f".cell{FIRST_CELL} [data-generate]").click()
    result = page.locator(f".cell{FIRST_CELL} .cell-result")
    await expect(result).to_have_attribute("data-numbers", re.compile(r"^(\d+ ){24}\d+$"))
    await expect(operator.figure("totalGenerated")).to_have_attribute(
        "data-value", str(before + 25)
    )


async def test_a_lost_answer_is_settled_by_the_same_request_again(operator: Operator) -> None:
    page = operator.page
    operator.refusals_expected = True
    before = (await operator.stats())["totalGenerated"]
    keys: list[str] = []

    async def lose_the_first(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) > 1:
            await route.continue_()
            return
        await route.fetch()  # the node commits it; only the answer never arrives
        await route.abort()

    await page.route("**/api/v1/sequence/next", lose_the_first)
    await page.locator(f".cell{FIRST_CELL} [data-generate]").click()
    problem = page.locator("#matrix-problems .problem")
    await expect(problem).to_contain_text("unknown")
    facts = await problem.locator(".problem-facts").inner_text()
    request = facts.removeprefix("request ")  # nobody has answered, and yet it can be looked for
    found = await operator.api("GET", f"/api/v1/sequence/audit?requestId={request}")
    assert len(await found.json()) == 1
    await problem.get_by_role("button", name="Try again").click()
    await expect(page.locator(f".cell{FIRST_CELL} .cell-result")).to_have_attribute(
        "data-numbers", re.compile(r"^\d+$")
    )
    assert len(keys) == 2
    assert keys[0] == keys[1]
    assert (await operator.stats())["totalGenerated"] == before + 1


async def test_a_refused_release_explains_itself_until_dismissed(operator: Operator) -> None:
    page = operator.page
    operator.refusals_expected = True
    never = (await operator.stats())["currentCounter"] + 1_000_000
    await page.locator("#release-number").fill(str(never))
    await page.locator("#release-reason").fill("a slip of the finger")
    await page.locator("#release button[type=submit]").click()
    await page.locator("#release-do").click()
    problem = page.locator("#release-dialog .problem")
    await expect(problem).to_contain_text(re.compile(r"code NB\d{3} · HTTP 404 · request \S+"))
    await operator.refreshes(2)
    await problem.get_by_role("button", name="Dismiss").click()
    await expect(problem).to_have_count(0)
    await page.locator("#release-keep").click()
    await expect(page.locator("#release-reason")).to_have_value("a slip of the finger")


async def test_the_four_demonstrations_succeed(operator: Operator) -> None:
    page = operator.page
    await page.locator("[name=totalRequests]").fill("400")
    for name in ("basic", "concurrent", "gaps", "load-test"):
        demonstration = page.locator(f'[data-demo="{name}"]')
        await demonstration.get_by_role("button", name="Run").click()
        outcome = demonstration.locator(".outcome")
        await expect(outcome).to_be_visible()
        await expect(outcome).not_to_have_attribute(
            "data-state", "running", timeout=DEMONSTRATION_WAIT_MS
        )
        assert await outcome.get_attribute("data-state") == "good", await outcome.inner_text()
        await expect(outcome.locator('.steps li[data-ok="true"]').first).to_be_visible()
        await expect(outcome.locator('.steps li[data-ok="false"]')).to_have_count(0)


async def test_only_one_demonstration_runs_at_a_time(operator: Operator) -> None:
    page = operator.page
    held = asyncio.Event()

    async def hold(route: Route) -> None:
        await held.wait()
        await route.continue_()

    await page.route("**/api/v1/demo/**", hold)
    await page.locator('[data-demo="basic"] [type=submit]').click()
    await expect(page.locator(".demo [type=submit]:disabled")).to_have_count(4)
    held.set()
    await expect(page.locator(".demo [type=submit]:enabled")).to_have_count(4, timeout=WAIT_MS)


async def test_the_ledger_is_proven_on_request(operator: Operator) -> None:
    await operator.page.locator("#verify").click()
    await expect(operator.page.locator("#proof")).to_have_attribute(
        "data-state", "good", timeout=WAIT_MS
    )


async def test_refreshes_leave_focus_and_typing_alone(operator: Operator) -> None:
    page = operator.page
    reason = page.locator("#release-reason")
    await reason.press_sequentially("half a wrd")
    await page.keyboard.press("ArrowLeft")
    await page.keyboard.press("ArrowLeft")
    await operator.issue(FIRST_CELL)
    await reason.focus()
    await operator.refreshes(2)
    await expect(reason).to_be_focused()
    await page.keyboard.type("o")
    await expect(reason).to_have_value("half a word")


async def test_records_stand_still_under_the_pointer(operator: Operator) -> None:
    page = operator.page
    number = await operator.issue(FIRST_CELL)
    first = page.locator("#entries tr").first
    await expect(first.locator("td.num")).to_have_text(f"{number:,}")
    await first.hover()
    held = await first.get_attribute("data-key")
    origin = {"siteId": "site-2", "partitionId": "partition-a", "invoiceType": "simulated"}
    await operator.api("POST", "/api/v1/sequence/next", data=origin)
    await expect(page.locator("#entries-state")).to_have_text("held · 1 newer")
    assert await first.get_attribute("data-key") == held
    await page.mouse.move(5, 5)
    await expect(first).not_to_have_attribute("data-key", held or "")


async def test_a_hidden_page_asks_nothing(operator: Operator) -> None:
    page = operator.page
    show = """hidden => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    await page.evaluate(show, True)
    await expect(page.locator("#live-text")).to_have_text("Paused while hidden")
    await operator.has_streams(0)
    await page.evaluate(show, False)
    await expect(page.locator("#live-text")).to_have_text("Live")
