"""Pages to be read only: nothing on them changes anything, and all that there is can be read."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from documents_page import API
from first_page import browser, open_first_page, operator
from playwright.async_api import Browser, Page, Request, expect
from support import ask, running_node
from test_dashboard import WAIT_MS, Operator

__all__ = ["browser", "operator"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLACE = {"siteId": "site-1", "partitionId": "partition-a", "invoiceType": "on-cycle"}
READS = {
    "Verify now", "Try now", "As a table", "Template", "Look up", "Search", "Clear", "More",
    "Earlier rows", "Later rows", "Copy as curl", "1 min", "5 min", "15 min", "1 h", "6 h",
    "All", "Open", "Refilled", "Close",
}  # fmt: skip
SUBMITTING = "form:not(#search, #lookup, #editor, dialog form)"
PAGES = ("/dashboard", "/dashboard/documents", "/dashboard/audit")


@asynccontextmanager
async def only_reads(page: Page) -> AsyncIterator[None]:
    """Check that the page sends nothing that could change anything; previews only try."""
    sent: list[str] = []

    def see(request: Request) -> None:
        if request.method != "GET" and not request.url.endswith("/preview"):
            sent.append(f"{request.method} {request.url}")

    page.on("request", see)
    yield
    assert sent == []


async def test_no_page_has_a_control_that_changes_anything(operator: Operator) -> None:
    page = operator.page
    await operator.api("POST", "/api/v1/sequence/next", data=PLACE)
    await operator.api("POST", f"{API}/reserve", data={"document_type": "COR"})
    async with only_reads(page):
        for path in PAGES:
            await page.goto(f"{operator.url}{path}?read-only")
            await expect(page.locator("#read-only")).to_have_text("read only")
            if path == "/dashboard":
                await expect(page.locator("#processes li")).to_have_count(7)
                await expect(page.locator("#entries tr").first).to_be_visible()
            if path == "/dashboard/documents":
                await expect(page.locator("#reservations > li").first).to_be_visible()
                await expect(page.locator("#series .series-head").first).to_be_visible()
            shown = await page.locator("button:visible").evaluate_all(
                "all => all.map(each => each.textContent.trim().replace(/\\s+/g, ' '))"
            )
            kinds = await page.locator("#series .toggle").all_inner_texts()
            assert set(shown) - READS - set(kinds) == set(), path
            await expect(page.locator(SUBMITTING)).to_have_count(0)
            await expect(page.locator("[data-generate], #release, #void, #import")).to_have_count(0)


async def test_everything_can_still_be_read(operator: Operator) -> None:
    page = operator.page
    number = (await (await operator.api("POST", "/api/v1/sequence/next", data=PLACE)).json())[
        "globalCounter"
    ]
    await open_first_page(operator, "?read-only")
    await expect(page.locator("#matrix .cell-count")).to_have_count(16)
    await expect(operator.figure("currentCounter")).to_have_attribute("data-value", str(number))
    await page.locator("#verify").click()
    await expect(page.locator("#proof")).to_have_attribute("data-state", "good", timeout=WAIT_MS)
    body = {"name": "basic", "parameters": {}}
    job = await (await operator.api("POST", "/api/v1/demo/jobs", data=body)).json()
    await page.goto(f"{operator.url}/dashboard?read-only#job={job['id']}")
    await page.reload()  # only what is after the # differs
    outcome = page.locator('[data-demo="basic"] .outcome')
    await expect(outcome).to_have_attribute("data-state", "good", timeout=WAIT_MS)
    made = await (
        await operator.api("POST", f"{API}/reserve", data={"document_type": "COR"})
    ).json()
    written = made["data"]["document_number"]
    await page.get_by_role("link", name="Documents").click()
    await page.get_by_role("button", name="Template of series COR").click()
    await expect(page.locator("#preview-numbers li")).to_have_count(3)
    row = page.locator(f'#reservations > [data-key="{written}"]')
    await expect(row.get_by_role("button")).to_have_text(["Look up"])
    await row.get_by_role("button").click()
    await expect(page.locator("#found-state")).to_have_text("reserved")


async def test_links_stay_read_only(operator: Operator) -> None:
    page = operator.page
    await operator.api("POST", "/api/v1/sequence/next", data=PLACE)
    await open_first_page(operator, "?read-only")
    for name in ("Audit", "Documents", "Numbers"):
        await page.get_by_role("link", name=name, exact=True).click()
        await expect(page.locator("#read-only")).to_be_visible()
    await page.locator("#entries td.num a").first.click()
    await expect(page.locator("#drawer-title")).to_contain_text("Number")
    await expect(page).to_have_url(re.compile(r"read-only"))
    await page.locator("#drawer-close").click()
    await expect(page.locator("#drawer")).to_be_hidden()
    await page.locator("#search [name=user]").fill("nobody")
    await page.get_by_role("button", name="Search").click()
    await expect(page).to_have_url(re.compile(r"user=nobody"))
    await page.reload()
    await expect(page.locator("#read-only")).to_be_visible()


async def test_a_setting_makes_all_pages_of_a_node_so_but_not_its_api(
    etcd: str, tmp_path: Path, browser: Browser
) -> None:
    with running_node(tmp_path, etcd, "--root", "/wall/", "--dashboard-read-only") as url:
        page = await browser.new_page()
        for path in PAGES:
            await page.goto(f"{url}{path}")
            await expect(page.locator("#read-only")).to_have_text("read only")
            await expect(page.locator(SUBMITTING)).to_have_count(0)
        await page.close()
        assert ask(url, "next", PLACE)[0] == 200
