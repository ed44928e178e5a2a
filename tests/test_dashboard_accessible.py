"""The first page has no findings of axe-core: empty, under load, with its dialogs open."""

import re
from pathlib import Path

import pytest
from accessible import LAPTOP, PHONE, check
from conftest import Cluster
from first_page import browser, open_first_page, operator
from playwright.async_api import Browser, expect
from support import running_node, wait_for
from test_dashboard import FIRST_CELL, WAIT_MS, Operator
from test_dashboard_demonstrations import END_MS, process, well

__all__ = ["browser", "operator"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_when_it_is_empty(etcd: str, tmp_path: Path, browser: Browser) -> None:
    flags = ("--root", "/nothing-yet/", "--profile", "demonstration")
    with running_node(tmp_path, etcd, *flags) as url:
        operator = Operator(await browser.new_page(), url)
        await open_first_page(operator)
        await expect(operator.page.locator("#processes-how")).to_be_visible()
        await expect(operator.page.locator("#entries-empty")).to_be_visible()
        await check(operator.page, LAPTOP, PHONE)
        await open_first_page(operator, "?read-only")
        await check(operator.page, LAPTOP)
        assert operator.errors == []
        await operator.page.close()


async def test_under_load_with_every_table_open(operator: Operator, cluster4: Cluster) -> None:
    page = operator.page
    operator.refusals_expected = True
    wait_for(lambda: well(cluster4), 30, "everything is up")
    form = page.locator("#failover")
    await form.locator("[name=requestsPerSecond]").fill("40")
    await form.locator("[name=seconds]").fill("18")
    await form.get_by_role("button", name="Start the load").click()
    await page.locator('[data-demo="gaps"]').get_by_role("button", name="Run").click()
    await expect(page.locator('[data-demo="gaps"] .problem')).to_be_visible()  # one at a time
    await process(page, "member-2").get_by_role("button", name="Pause").click()
    outcome = page.locator("#failover-outcome")
    await expect(outcome.locator(".strikes > li")).to_be_visible(timeout=WAIT_MS)
    for details in await page.locator("details").all():
        await details.locator("summary").click()
    await expect(outcome).to_have_attribute("data-state", "running")
    await check(page, LAPTOP, PHONE)
    await expect(outcome).to_have_attribute("data-state", "good", timeout=END_MS)
    await check(page, LAPTOP)


async def test_with_each_dialog_open(operator: Operator, cluster4: Cluster) -> None:
    page = operator.page
    operator.refusals_expected = True
    wait_for(lambda: well(cluster4), 60, "nobody else takes numbers")
    await operator.fill_gaps()
    number = await operator.issue(FIRST_CELL)
    await page.locator("#issued li").first.get_by_role("button", name="Release…").click()
    await page.locator("#release-dialog-reason").fill("a slip")
    await operator.api(
        "POST",
        "/api/v1/sequence/release",
        data={
            "sequenceNumber": number,
            "siteId": "site-1",
            "partitionId": "partition-a",
            "reason": "somebody was faster",
        },
    )
    await page.locator("#release-do").click()
    await expect(page.locator("#release-dialog .problem")).to_be_visible()
    await check(page, LAPTOP, PHONE)
    await page.locator("#release-keep").click()

    await page.locator("#count").fill("40")
    await page.locator(f".cell{FIRST_CELL} [data-generate]").click()
    row = page.locator("#issued li").first
    await expect(row).to_contain_text(re.compile(r"[\d,]+\u2013[\d,]+"))
    await row.get_by_role("button", name="Release…").click()
    await check(page, LAPTOP, PHONE)
    await page.route("**/api/v1/sequence/release", lambda route: route.abort())
    await page.locator("#many-reason").fill("a slip")
    await page.locator("#many-go").click()
    await expect(page.locator("#many-refused li")).to_have_count(40)
    await check(page, LAPTOP, PHONE)
    await page.keyboard.press("Escape")

    await process(page, "node-1").get_by_role("button", name="Kill").click()
    await expect(page.locator("#strike-dialog")).to_be_visible()
    await check(page, LAPTOP, PHONE)
